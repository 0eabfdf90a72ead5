//! The hold on the database file itself: a lock that every name of it leads to, and a look at
//! whether its name still leads to it.
//!
//! The lock is of the open file description (`F_OFD_SETLK`), on a byte that neither SQLite locks nor
//! a database has. Unlike `flock`, which NFS and SMB turn into a lock of the whole file, it is never
//! in SQLite's own way. The file stays open as long as the hold lives: closing any descriptor of it
//! would drop the locks that SQLite has on it in this process.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::OpenError;

use super::lock::{LockFile, unfit};
use super::private;

/// Keeps others away from a database as long as it lives.
#[derive(Debug)]
pub(super) struct Hold {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    lock: LockFile,
}

/// Keeps other processes away from a database file while it lives; see [`super::SqliteStore::hold`].
#[derive(Debug)]
pub struct FileHold(#[expect(dead_code, reason = "held for its lock")] pub(super) Arc<Hold>);

/// The way in which a database lost its name while it was in use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Another name, if it is known, leads to it.
    Moved(Option<PathBuf>),
    /// No name leads to it.
    Deleted,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved(Some(to)) => write!(f, "it was moved to {} while in use", to.display()),
            Self::Moved(None) => f.write_str("it was moved away while in use"),
            Self::Deleted => f.write_str("it was deleted while in use"),
        }
    }
}

impl Hold {
    /// Locks a database that is there, and keeps other users out of its files.
    pub(super) fn take(lock: LockFile) -> Result<Self, OpenError> {
        let path = lock.database();
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|error| unfit(path, &error))?;
        let found = match lock_inode(&file) {
            Ok(()) => file.metadata(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Left open: if the other one is of this process, closing this one drops its locks.
                let _left_open = file.into_raw_fd();
                return Err(OpenError::Locked(path.display().to_string()));
            }
            Err(error) => {
                tracing::warn!(
                    file = %path.display(), %error,
                    "the system does not lock this file: only the lock file beside it keeps other \
                     processes away"
                );
                file.metadata()
            }
        };
        let found = found.map_err(|error| unfit(path, &error))?;
        if found.len() == 0 {
            return Err(empty(path));
        }
        if found.nlink() > 1 {
            tracing::warn!(
                file = %path.display(), links = found.nlink(),
                "this database has several names: its log belongs to this one, and whoever opens \
                 it by another after a crash damages it"
            );
        }
        private::keep(path);
        Ok(Self { identity: identity(&found), file, lock })
    }

    /// The database's canonical path.
    pub(super) fn database(&self) -> &Path {
        self.lock.database()
    }

    /// The lock file beside the database.
    pub(super) fn lock_file(&self) -> &LockFile {
        &self.lock
    }

    /// Whether the database's name leads to another file or to none. What cannot be told is no loss.
    pub(super) fn loss(&self) -> Option<Loss> {
        match self.database().metadata() {
            Ok(found) if identity(&found) == self.identity => return None,
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(_) => return None,
        }
        match self.file.metadata() {
            Ok(found) if found.nlink() > 0 => Some(Loss::Moved(self.name())),
            Ok(_) => Some(Loss::Deleted),
            Err(_) => None,
        }
    }

    /// The present name of the file, where the system tells it.
    fn name(&self) -> Option<PathBuf> {
        use std::os::fd::AsRawFd as _;

        let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        std::fs::read_link(link).ok().filter(|path| path.exists())
    }
}

/// The refusal of a file without contents: SQLite would make a new database of it.
pub(super) fn empty(path: &Path) -> OpenError {
    OpenError::Unfit(format!(
        "{} is empty, which no database is: its contents are lost, or another program made it. \
         Put a backup in its place, or remove the empty file for a new database",
        path.display()
    ))
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(target_os = "linux")]
fn lock_inode(file: &File) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    let short = |number| libc::c_short::try_from(number).map_err(|_| ErrorKind::Unsupported);
    let lock = libc::flock {
        l_type: short(libc::F_WRLCK)?,
        l_whence: short(libc::SEEK_SET)?,
        // Beyond SQLite's locks, which are in the second GiB, and beyond the largest database.
        l_start: libc::off_t::MAX / 2,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(drop).map_err(io::Error::from)
}

/// Elsewhere `flock` would be in the way of SQLite's own locks.
#[cfg(not(target_os = "linux"))]
fn lock_inode(_file: &File) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(path: &Path) -> Result<Hold, OpenError> {
        Hold::take(LockFile::take(path)?)
    }

    #[test]
    fn every_name_of_a_file_leads_to_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let [path, link, hard] =
            ["a.db", "link.db", "hard.db"].map(|name| folder.path().join(name));
        std::fs::write(&path, "x").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::fs::hard_link(&path, &hard).unwrap();
        let hold = take(&path).unwrap();
        let around = folder.path().join("..").join(folder.path().file_name().unwrap()).join("a.db");
        for other in [&path, &link, &hard, &around] {
            assert!(matches!(take(other), Err(OpenError::Locked(_))), "{}", other.display());
        }
        std::fs::remove_file(private::beside(&path, ".lock")).unwrap();
        assert!(matches!(take(&path), Err(OpenError::Locked(_))));
        drop(hold);
        take(&hard).unwrap();
    }

    #[test]
    fn a_file_that_lost_its_name_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["a.db", "b.db"].map(|name| folder.path().join(name));
        std::fs::write(&path, "x").unwrap();
        let hold = take(&path).unwrap();
        assert_eq!(hold.loss(), None);
        std::fs::rename(&path, &other).unwrap();
        let moved = hold.loss();
        assert_eq!(moved, Some(Loss::Moved(Some(other.canonicalize().unwrap()))));
        std::fs::copy(&other, &path).unwrap();
        assert_eq!(hold.loss(), moved);
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(hold.loss(), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(hold.loss(), Some(Loss::Deleted));
        std::fs::write(&path, "x").unwrap();
        assert_eq!(hold.loss(), Some(Loss::Deleted));
    }

    #[test]
    fn an_empty_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        std::fs::write(&path, "").unwrap();
        let said = take(&path).unwrap_err().to_string();
        assert!(said.contains("a.db is empty") && said.contains("remove the empty file"), "{said}");
    }
}
