//! A wall clock of a server's own, which a test sets: the real libfaketime. It leaves alone the
//! clocks that nobody can set.
//!
//! Where it can't be had, `RETHREAD_TEST_FAKETIME=missing` leaves out the tests that need it.

use std::path::{Path, PathBuf};

use super::Home;
use super::server::Launch;

/// The wall clock of a server.
#[derive(Debug)]
pub(crate) struct FakeClock {
    library: PathBuf,
    file: PathBuf,
}

impl FakeClock {
    /// A clock that is right so far; `None` if it was said that there can be none.
    pub(crate) fn new(home: &Home) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "tests have no configuration layer")]
        let set = std::env::var("RETHREAD_TEST_FAKETIME").ok();
        if set.as_deref() == Some("missing") {
            println!("left out: there is no libfaketime here");
            return None;
        }
        let library = set.map_or_else(library, PathBuf::from);
        let clock = Self { library, file: home.folder.path().join("clock") };
        clock.set(0);
        Some(clock)
    }

    /// Sets the clock: so many seconds ahead of the true time.
    pub(crate) fn set(&self, ahead: i64) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{ahead:+}\n")).unwrap();
        // A server that reads it meanwhile sees the whole of one or the other.
        std::fs::rename(next, &self.file).unwrap();
    }

    /// The server's clock is this one.
    pub(crate) fn on<'a>(&self, launch: Launch<'a>) -> Launch<'a> {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        launch
            .set("LD_PRELOAD", &path(&self.library))
            .set("FAKETIME_TIMESTAMP_FILE", &path(&self.file))
            // In seconds; without it every look at the clock would read the file.
            .set("FAKETIME_CACHE_DURATION", "1")
            .set("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .set("DONT_FAKE_MONOTONIC", "1")
    }
}

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.exists()).expect(
        "libfaketime is needed and was not found; apt-get install faketime, or set \
         RETHREAD_TEST_FAKETIME=missing to leave the test out",
    )
}
