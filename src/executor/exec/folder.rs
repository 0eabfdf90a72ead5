//! The working directory of a program that names none: empty, private, and removed with its
//! attempt.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rustix::process::geteuid;

use super::removal::remove;

/// The link by which Linux names the process namespace: a process id is another process in another
/// container.
const NAMESPACE: &str = "/proc/self/ns/pid";

/// A folder that is removed when this is dropped, unless its removal was handed over.
#[derive(Debug)]
pub(super) struct Folder(Option<PathBuf>);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            remove(path);
        }
    }
}

impl Folder {
    /// Makes an empty folder in `temporary`, for this user alone.
    pub(super) fn make(temporary: &Path) -> io::Result<Self> {
        let prefix = prefix(std::process::id());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).permissions(Permissions::from_mode(0o700));
        builder.tempdir_in(temporary).map(|made| Self(Some(made.keep())))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or_else(|| Path::new(""))
    }

    /// Leaves its removal to the supervisor that was given its path.
    pub(super) fn hand_over(mut self) -> PathBuf {
        self.0.take().unwrap_or_default()
    }
}

/// Removes the folders of processes that are gone, and those of an earlier process that had the
/// number of this one; returns their count. It must be called before this process makes any.
pub(super) fn remove_leftovers(temporary: &Path, own: u32) -> usize {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    let gone = |name: &OsStr| {
        let id = owner(name.to_str()?)?;
        let alive = id != own
            && i32::try_from(id).is_ok_and(|id| kill(Pid::from_raw(id), None) != Err(Errno::ESRCH));
        (!alive).then_some(())
    };
    let ours = |entry: &fs::DirEntry| {
        entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
    };
    let left = entries.filter(|entry| gone(&entry.file_name()).is_some() && ours(entry));
    left.filter(|entry| remove(&entry.path())).count()
}

/// Returns the prefix of the names of a process's folders.
fn prefix(process: u32) -> String {
    format!("{}{process}-", namespace())
}

/// Returns the process that a folder belongs to, if it is a process of this namespace.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(&namespace())?.split_once('-')?.0.parse().ok()
}

fn namespace() -> String {
    let link = fs::read_link(NAMESPACE).unwrap_or_default();
    let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("rethread-exec-{digits}-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_dead_are_removed_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let own = std::process::id();
        // The number of no process: the largest possible one is smaller.
        let dead = temporary.path().join(format!("{}x", prefix(u32::try_from(i32::MAX).unwrap())));
        let earlier = temporary.path().join(format!("{}x", prefix(own)));
        let living = temporary.path().join(format!("{}x", prefix(1)));
        let elsewhere = temporary.path().join("rethread-exec-1-2147483647-x");
        let other = temporary.path().join("somebody-else");
        for folder in [&dead, &earlier, &living, &elsewhere, &other] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), "x").unwrap();
        }
        assert_eq!(remove_leftovers(temporary.path(), own), 2);
        let left = [&dead, &earlier, &living, &elsewhere, &other].map(|folder| folder.exists());
        assert_eq!(left, [false, false, true, true, true]);
    }

    #[test]
    fn a_folder_is_private_and_goes_when_it_is_dropped() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::make(temporary.path()).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(owner(path.file_name().unwrap().to_str().unwrap()), Some(std::process::id()));
        drop(folder);
        assert!(!path.exists());
    }
}
