//! A disk that fails when it is told to: a small library before the system's, and files that say what.
//!
//! It stands between the server and libc (`LD_PRELOAD`) and works without a file system of its own,
//! privileges or luck. It is compiled with the C compiler that builds SQLite.

use std::path::PathBuf;
use std::process::Command;

use super::server::Launch;

/// What the disk does while a file of the same name is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// Writes of the database fail with `ENOSPC`.
    Full,
    /// Little is free.
    Low,
    /// `fsync` fails with `EIO`.
    Unsynced,
}

impl Trouble {
    const fn file(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Low => "low",
            Self::Unsynced => "unsynced",
        }
    }
}

/// The library and its files.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: tempfile::TempDir,
}

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int told(const char *what) {
    char path[4096];
    const char *folder = getenv("TEST_DISK");
    if (!folder) return 0;
    snprintf(path, sizeof path, "%s/%s", folder, what);
    return access(path, F_OK) == 0;
}

static int is_database(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, ".db") != NULL && strstr(path, "-shm") == NULL;
}

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

static ssize_t put(const char *name, int fd, const void *bytes, size_t count, off64_t at) {
    typedef ssize_t (*real)(int, const void *, size_t, off64_t);
    if (is_database(fd) && told("full")) { errno = ENOSPC; return -1; }
    return REAL(name, real)(fd, bytes, count, at);
}
ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { return put("pwrite64", fd, b, n, at); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) { return put("pwrite64", fd, b, n, at); }
ssize_t write(int fd, const void *bytes, size_t count) {
    typedef ssize_t (*real)(int, const void *, size_t);
    if (is_database(fd) && told("full")) { errno = ENOSPC; return -1; }
    return REAL("write", real)(fd, bytes, count);
}

static int sync_with(const char *name, int fd) {
    typedef int (*real)(int);
    if (told("unsynced")) { errno = EIO; return -1; }
    return REAL(name, real)(fd);
}
int fsync(int fd) { return sync_with("fsync", fd); }
int fdatasync(int fd) { return sync_with("fdatasync", fd); }

static int room(const char *name, const char *path, struct statvfs *found) {
    typedef int (*real)(const char *, struct statvfs *);
    int done = REAL(name, real)(path, found);
    if (done == 0 && told("low")) found->f_bavail = 1;
    return done;
}
int statvfs(const char *path, struct statvfs *found) { return room("statvfs", path, found); }
#if defined(__x86_64__) || defined(__aarch64__)
int statvfs64(const char *path, struct statvfs64 *found) {
    return room("statvfs64", path, (struct statvfs *)found);
}
#endif
"#;

impl Disk {
    /// Compiles the library.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("disk.c");
        std::fs::write(&source, SOURCE).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.path().join("disk.so"));
        let made = compiler.arg(source).arg("-ldl").output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { folder }
    }

    /// A server on this disk.
    pub(crate) fn under<'a>(&self, launch: Launch<'a>) -> Launch<'a> {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let library = path(self.folder.path().join("disk.so"));
        launch.set("LD_PRELOAD", &library).set("TEST_DISK", &path(self.folder.path().to_owned()))
    }

    /// Trouble begins.
    pub(crate) fn begin(&self, trouble: Trouble) {
        std::fs::write(self.folder.path().join(trouble.file()), "").unwrap();
    }

    /// Trouble ends.
    pub(crate) fn end(&self, trouble: Trouble) {
        std::fs::remove_file(self.folder.path().join(trouble.file())).unwrap();
    }
}
