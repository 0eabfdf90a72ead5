//! The lock file beside the database: one process at a time makes, opens or leaves it.
//!
//! Servers of earlier versions hold nothing else, and there is no database yet to hold when one is
//! made. Its path follows from the database's canonical path, so that every symlink leads to the
//! same lock. Once there is a database, the lock of `hold.rs` is on that too.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::store::OpenError;

use super::private::{self, beside};

/// Symlinks followed to a database that is not there yet: as many as Linux follows.
const LINKS: usize = 40;
/// Longest word that is read from a lock file, in bytes.
const WORD: u64 = 4 << 10;

/// Held for as long as the store lives; the system lets go of it when the process dies.
#[derive(Debug)]
pub(super) struct LockFile {
    file: File,
    database: PathBuf,
}

impl LockFile {
    /// Makes the database's folder if need be and takes the lock.
    pub(super) fn take(database: &Path) -> Result<Self, OpenError> {
        if let Some(folder) = database.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| unfit(folder, &error))?;
        }
        let database = resolve(database).map_err(|error| unfit(database, &error))?;
        let path = beside(&database, ".lock");
        let file = private::open(&path).map_err(|error| unfit(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, database }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked(database.display().to_string())),
            Err(TryLockError::Error(error)) => Err(unfit(&path, &error)),
        }
    }

    /// The database's canonical path.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// Leaves word for the next start that finds no database: why there is none.
    pub(super) fn leave_word(&self, word: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(word.as_bytes(), 0)?;
        self.file.sync_all()
    }

    /// Forgets the word of an earlier server: the database is there.
    pub(super) fn forget_word(&self) -> io::Result<()> {
        if self.file.metadata()?.len() == 0 { Ok(()) } else { self.file.set_len(0) }
    }

    /// Whether the database is to be made: it is not there. Fails if it was there, and nobody has
    /// said that it may be forgotten.
    pub(super) fn lacks_database(&self) -> Result<bool, OpenError> {
        let database = self.database.display();
        if self.database.try_exists().map_err(|error| unfit(&self.database, &error))? {
            return Ok(false);
        }
        let path = beside(&self.database, ".lock");
        let mut word = String::new();
        let read = (&self.file).take(WORD).read_to_string(&mut word);
        read.map_err(|error| unfit(&path, &error))?;
        if !word.is_empty() {
            return Err(OpenError::Unfit(format!(
                "{database} is missing: {word}. Put the file back, or remove {} to begin with an \
                 empty database",
                path.display()
            )));
        }
        for suffix in ["-wal", "-journal"] {
            let log = beside(&self.database, suffix);
            if log.metadata().is_ok_and(|found| found.len() > 0) {
                return Err(OpenError::Unfit(format!(
                    "{database} is missing, but its log {} is there: put the file back, or remove \
                     the log as well to begin with an empty database",
                    log.display()
                )));
            }
        }
        Ok(true)
    }
}

/// The failure of a file that the store needs.
pub(super) fn unfit(path: &Path, error: &io::Error) -> OpenError {
    OpenError::Unfit(format!("{} can't be used: {error}", path.display()))
}

/// The canonical path of a database, which need not be there: symlinks of its folder and of the
/// file itself are followed. Its folder has to be there.
pub(super) fn resolve(database: &Path) -> io::Result<PathBuf> {
    let mut path = database.to_owned();
    for _ in 0..LINKS {
        match path.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new(".")).canonicalize()?;
        let here = folder.join(name);
        let Ok(target) = here.read_link() else { return Ok(here) };
        path = folder.join(target);
    }
    Err(ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_path_to_a_database_is_the_same_before_and_after_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("data")).unwrap();
        symlink("data", root.join("other")).unwrap();
        symlink("data/a.db", root.join("link.db")).unwrap();
        symlink(root.join("link.db"), root.join("data/again.db")).unwrap();
        let wanted = root.join("data/a.db");
        for made in [false, true] {
            if made {
                std::fs::write(&wanted, "").unwrap();
            }
            for path in
                ["data/a.db", "other/a.db", "data/../data/./a.db", "link.db", "other/again.db"]
            {
                assert_eq!(resolve(&root.join(path)).unwrap(), wanted, "{path} {made}");
            }
        }
        assert!(resolve(&root.join("none/a.db")).is_err());
        assert!(resolve(&root.join("..")).is_ok_and(|path| path.is_dir()));
    }

    #[test]
    fn a_database_that_was_taken_away_is_not_made_again_until_somebody_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let lock = LockFile::take(&path).unwrap();
        assert_eq!(lock.lacks_database(), Ok(true));
        lock.leave_word("a long word that is forgotten").unwrap();
        lock.leave_word("it was deleted").unwrap();
        drop(lock);
        let lock = LockFile::take(&path).unwrap();
        let said = lock.lacks_database().unwrap_err().to_string();
        assert!(said.contains("it was deleted. Put") && said.contains("a.db.lock"), "{said}");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(lock.lacks_database(), Ok(false));
        lock.forget_word().unwrap();
        std::fs::remove_file(&path).unwrap();
        drop(lock);
        let lock = LockFile::take(&path).unwrap();
        assert_eq!(lock.lacks_database(), Ok(true));
        std::fs::write(beside(&path, "-wal"), "frames").unwrap();
        let said = lock.lacks_database().unwrap_err().to_string();
        assert!(said.contains("a.db-wal is there"), "{said}");
    }
}
