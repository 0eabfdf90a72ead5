//! Removes the folder of a program, whatever the program has left in it.
//!
//! A program may nest folders too deep for the stack or the descriptors of this process, under
//! paths too long for the system. So the removal does not descend: it moves nested folders to the
//! top folder and empties them there one by one. It needs a handful of descriptors, and only names
//! of one part.

use std::ffi::CStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, fstat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;

/// The rights that an owner needs to empty a folder.
const RIGHTS: u32 = 0o700;

/// Removes a folder and its contents, even those closed to the program's own user; returns whether
/// it was removed.
pub(super) fn remove(folder: &Path) -> bool {
    let removed = Removal::of(folder).and_then(|mut removal| removal.finish(folder));
    if let Err(error) = &removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, folder = %folder.display(), "a program's folder stays");
    }
    removed.is_ok()
}

/// The removal of one folder.
struct Removal {
    top: OwnedFd,
    /// The number of names tried for folders moved up.
    names: u64,
    /// Whether the pass under way has removed or moved anything.
    changed: bool,
    /// The first error of the pass under way.
    fault: Option<Errno>,
}

impl Removal {
    fn of(folder: &Path) -> io::Result<Self> {
        Ok(Self { top: open(CWD, folder)?, names: 0, changed: false, fault: None })
    }

    /// Empties the top folder in passes, and removes it. A pass may miss folders that it moved up;
    /// one without changes is the last.
    fn finish(&mut self, folder: &Path) -> io::Result<()> {
        loop {
            (self.changed, self.fault) = (false, None);
            let passed = self.pass();
            self.note(passed.map(|()| false));
            match fs::remove_dir(folder) {
                Err(_) if self.changed => {}
                Err(error) => return Err(self.fault.map_or(error, io::Error::from)),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn pass(&mut self) -> Result<(), Errno> {
        for entry in entries(open(&self.top, c".")?)? {
            let entry = entry?;
            let removed = if is_folder(&self.top, &entry)? {
                self.dissolve(entry.file_name())
            } else {
                unlinkat(&self.top, entry.file_name(), AtFlags::empty())
            };
            self.note(removed.map(|()| true));
        }
        Ok(())
    }

    /// Removes a folder in the top folder, after moving its folders up.
    fn dissolve(&mut self, name: &CStr) -> Result<(), Errno> {
        let folder = open(&self.top, name)?;
        for entry in entries(open(&folder, c".")?)? {
            let entry = entry?;
            let left = if is_folder(&folder, &entry)? {
                self.move_up(folder.as_fd(), entry.file_name())
            } else {
                unlinkat(&folder, entry.file_name(), AtFlags::empty())
            };
            self.note(left.map(|()| true));
        }
        unlinkat(&self.top, name, AtFlags::REMOVEDIR)
    }

    /// Moves a folder to the top folder, under a name that is free there.
    fn move_up(&mut self, from: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        // Moving a folder requires the right to write to it.
        open(from, name)?;
        loop {
            self.names += 1;
            match renameat(from, name, &self.top, self.names.to_string()) {
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                moved => return moved,
            }
        }
    }

    /// Records a step's result: whether it changed anything, or a fault.
    fn note(&mut self, result: Result<bool, Errno>) {
        match result {
            Ok(changed) => self.changed |= changed,
            Err(fault) => self.fault = self.fault.or(Some(fault)),
        }
    }
}

/// Gives a folder's owner all rights and opens it, never by a symbolic link.
fn open(at: impl AsFd, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(&at, name, flags | OFlags::PATH, Mode::empty())?;
    if fstat(&found)?.st_mode & RIGHTS != RIGHTS {
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        if let Err(error) = fs::set_permissions(path, Permissions::from_mode(RIGHTS)) {
            tracing::debug!(%error, "a program's folder cannot be opened up");
        }
    }
    openat(&found, c".", flags | OFlags::RDONLY, Mode::empty())
}

/// Reads the entries of a folder except `.` and `..`.
fn entries(folder: OwnedFd) -> Result<impl Iterator<Item = Result<DirEntry, Errno>>, Errno> {
    let is_entry = |entry: &DirEntry| ![c".", c".."].contains(&entry.file_name());
    Ok(Dir::new(folder)?.filter(move |entry| entry.as_ref().map_or(true, is_entry)))
}

/// Whether an entry is a folder; a symbolic link to one is not.
fn is_folder(at: impl AsFd, entry: &DirEntry) -> Result<bool, Errno> {
    let mut kind = entry.file_type();
    if kind == FileType::Unknown {
        let found = statat(at, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        kind = FileType::from_raw_mode(found.st_mode);
    }
    Ok(kind == FileType::Directory)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::mkdirat;

    use super::*;

    /// Returns a folder that a test fills and removes.
    fn folder() -> PathBuf {
        tempfile::tempdir().unwrap().keep()
    }

    /// Nests this many folders.
    fn nest(top: &Path, levels: usize) {
        let mut at = open(CWD, top).unwrap();
        for _ in 0..levels {
            mkdirat(&at, c"a", Mode::from_raw_mode(0o700)).unwrap();
            at = open(&at, c"a").unwrap();
        }
    }

    /// Counts the descriptors of this process that lead into a folder.
    fn descriptors(folder: &Path) -> usize {
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.filter(|target| target.starts_with(folder)).count()
    }

    #[test]
    fn a_folder_of_any_depth_is_removed_with_a_handful_of_descriptors() {
        let folder = folder();
        nest(&folder, 3_000);
        // The names that folders are moved to are taken, by a folder and by a file.
        fs::create_dir_all(folder.join("1/x")).unwrap();
        fs::write(folder.join("2"), "x").unwrap();
        let ended = AtomicBool::new(false);
        let most = std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut most = 0;
                while !ended.load(Ordering::Relaxed) {
                    most = most.max(descriptors(&folder));
                }
                most
            });
            assert!(remove(&folder));
            ended.store(true, Ordering::Relaxed);
            watch.join().unwrap()
        });
        assert!(!folder.exists());
        assert!(most < 16, "{most}");
    }

    #[test]
    fn a_wide_folder_is_removed() {
        let folder = folder();
        for name in 0..40 {
            let below = folder.join(format!("{name}/{name}/{name}"));
            fs::create_dir_all(&below).unwrap();
            (0..40).for_each(|file| fs::write(below.join(file.to_string()), "x").unwrap());
        }
        assert!(remove(&folder));
        assert!(!folder.exists());
    }

    #[test]
    fn a_folder_that_was_closed_is_removed_all_the_same() {
        let folder = folder();
        fs::create_dir_all(folder.join("a/b/c")).unwrap();
        fs::write(folder.join("a/b/c/d"), "x").unwrap();
        for closed in ["a/b/c", "a/b", "a", ""] {
            fs::set_permissions(folder.join(closed), Permissions::from_mode(0o000)).unwrap();
        }
        assert!(remove(&folder));
        assert!(!folder.exists());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let (folder, outside) = (folder(), folder());
        fs::write(outside.join("kept"), "x").unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o500)).unwrap();
        fs::create_dir_all(folder.join("a/b")).unwrap();
        for link in ["link", "a/link", "a/b/link"] {
            std::os::unix::fs::symlink(&outside, folder.join(link)).unwrap();
        }
        assert!(remove(&folder));
        assert!(!folder.exists());
        assert_eq!(outside.metadata().unwrap().permissions().mode() & 0o777, 0o500);
        assert!(outside.join("kept").exists());
        let link = folder;
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        assert!(!remove(&link), "the top is no folder");
        assert!(outside.join("kept").exists());
        fs::remove_file(&link).unwrap();
        assert!(remove(&outside));
    }

    #[test]
    fn a_folder_that_is_not_there_was_not_removed() {
        let folder = folder();
        assert!(remove(&folder));
        assert!(!remove(&folder));
    }
}
