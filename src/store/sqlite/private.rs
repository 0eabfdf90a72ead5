//! The database's files belong to the server's user alone: they hold payloads and secrets.
//!
//! SQLite makes its log and shared memory with the mode of the database file, so that only that one
//! has to be there before it looks. Called for whatever is made or opened.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Read and written by the owner; nothing for anybody else, whatever the umask.
const MODE: u32 = 0o600;
/// All that others could have.
const OTHERS: u32 = 0o077;

/// Opens a file for reading and writing, made if it is not there, and keeps others out of it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true).mode(MODE);
    let file = options.open(path)?;
    tighten(path);
    Ok(file)
}

/// Keeps others out of a database that is there and of what earlier versions of the server left
/// beside it.
pub(super) fn keep(database: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        tighten(&beside(database, suffix));
    }
}

/// The path of a file that belongs to the database.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Takes rights from others. A file of another user cannot be changed; it stays in use, since an
/// operator may have arranged it so.
fn tighten(path: &Path) {
    let done = path.metadata().and_then(|found| {
        let mode = found.permissions().mode();
        if mode & OTHERS == 0 {
            return Ok(());
        }
        std::fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS))
    });
    if let Err(error) = done
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(file = %path.display(), %error, "other users may be able to read this file");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_of_earlier_versions_are_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        for suffix in ["", "-wal", "-shm"] {
            let path = beside(&database, suffix);
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        }
        keep(&database);
        for suffix in ["", "-wal", "-shm"] {
            assert_eq!(mode(&beside(&database, suffix)), 0o600, "{suffix}");
        }
        assert_eq!(std::fs::read(&database).unwrap(), b"x");
    }
}
