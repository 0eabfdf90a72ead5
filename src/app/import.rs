//! Moves the threads and workflows of a fallback store to the database it stood in for, before the
//! server is ready.
//!
//! Every step may be repeated: a start that is killed in the middle leaves threads in both stores,
//! and the next start finds those that are moved already. None of them is driven from the file
//! again: each is marked there before it is put into the database. When all is done the file is
//! renamed, with all its contents, and never deleted. The log and the new name of the file name the
//! threads that cannot be moved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::Ambient;
use super::patience::{BUDGET, open_with_patience};
use crate::model::hex;
use crate::store::{
    Archive, Import, Imported, OpenError, SqliteStore, Store as _, StoreError, StoredDefinition,
    ThreadDump,
};

/// The versions of workflows read at a time: rows of some hundred bytes.
const PAGE: usize = 500;
/// The number of threads that are marked and moved together. If this process is killed and the file
/// has to stand in for the database again, at most this many wait for the database. Each page costs
/// two commits.
const TOGETHER: usize = 32;
/// The definitions read at a time: each may be as large as a request.
const DEFINITION_PAGE: usize = 16;

/// The counts of a file's threads, by what became of them.
#[derive(Debug, Default)]
struct Count {
    /// Threads moved now.
    moved: u64,
    /// Threads moved by an earlier start.
    known: u64,
    /// Threads left behind.
    left: u64,
}

/// Moves the contents of the file at `path` to `store` and renames the file. Does nothing if there
/// is no file or it is empty. Fails if a store stops answering; the next start goes on.
pub(super) async fn import_file(
    path: &Path,
    store: &dyn Import,
    ambient: &Ambient,
) -> anyhow::Result<()> {
    let name = path.display().to_string();
    if !tokio::fs::try_exists(path).await.unwrap_or(false) {
        return Ok(());
    }
    let file = match SqliteStore::open(path, Arc::clone(&ambient.clock)).await {
        Ok(file) => file,
        Err(OpenError::Locked(_)) => {
            tracing::warn!(
                file = name,
                "another process uses the fallback file: what it holds is moved at a later start"
            );
            return Ok(());
        }
        Err(error) => {
            tracing::error!(
                file = name, %error,
                "the fallback file can't be read: what it holds is NOT in the database"
            );
            return Ok(());
        }
    };
    let hold = file.hold();
    let moved = Importer { from: &file, to: store, ambient }.run().await;
    file.close().await;
    let moved = moved.with_context(|| format!("{name} can't be moved to the database"))?;
    if let Some(moved) = moved {
        let millis = ambient.clock.now().millis();
        rename(path, &moved, millis).await.with_context(|| name.clone())?;
    }
    drop(hold);
    Ok(())
}

/// Renames the file according to what became of its threads.
async fn rename(path: &Path, count: &Count, millis: i64) -> anyhow::Result<()> {
    let log = with_suffix(path, "-wal");
    // A log that could not be folded back belongs to the file, so the next start does everything
    // again.
    if tokio::fs::metadata(&log).await.is_ok_and(|log| log.len() > 0) {
        tracing::warn!(file = %path.display(), "the fallback file is not closed: it stays");
        return Ok(());
    }
    let what = if count.left > 0 { "conflicts" } else { "moved" };
    let kept = with_suffix(path, &format!(".{what}-{millis}"));
    tokio::fs::rename(path, &kept).await.context("can't be renamed")?;
    say(count, &kept);
    Ok(())
}

/// Logs what became of the file.
fn say(count: &Count, kept: &Path) {
    let (Count { moved, known, left }, kept) = (count, kept.display());
    if *left == 0 {
        tracing::warn!(%kept, moved, known, "the fallback file was moved to the database");
        return;
    }
    tracing::error!(
        %kept, moved, known, left,
        "the fallback file was moved to the database, but for what was LEFT BEHIND: the lines \
         above name it, the file is kept"
    );
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

struct Importer<'a> {
    from: &'a SqliteStore,
    to: &'a dyn Import,
    ambient: &'a Ambient,
}

impl Importer<'_> {
    /// Moves everything; `None` if there was nothing.
    async fn run(&self) -> Result<Option<Count>, StoreError> {
        let holds_threads = !self.from.thread_ids("", 1).await?.is_empty();
        if !holds_threads && self.from.stored_workflows(("", 0), 1).await?.is_empty() {
            return Ok(None);
        }
        let mut count = Count::default();
        let unusable = self.definitions().await?;
        self.workflows(&unusable, &mut count).await?;
        let mut after = String::new();
        loop {
            let page = self.from.thread_ids(&after, TOGETHER).await?;
            let Some(last) = page.last() else { return Ok(Some(count)) };
            after.clone_from(last);
            self.threads(&page, &unusable, &mut count).await?;
        }
    }

    /// Moves some threads. The file may have to stand in for the database again before all is done,
    /// so a thread that is in the database, or may be, must not be driven from the file.
    async fn threads(
        &self,
        page: &[String],
        unusable: &BTreeSet<String>,
        count: &mut Count,
    ) -> Result<(), StoreError> {
        self.from.leave(page).await?;
        let mut gone = Vec::with_capacity(page.len());
        for (at, id) in page.iter().enumerate() {
            match self.thread(id, unusable, count).await {
                Ok(true) => gone.push(id.clone()),
                Ok(false) => {}
                Err(error) => {
                    // The thread that failed may be in the database all the same, so it stays
                    // marked.
                    self.from.stay(page.get(at + 1..).unwrap_or_default()).await?;
                    self.from.go(&gone).await?;
                    return Err(error);
                }
            }
        }
        self.from.go(&gone).await
    }

    /// Moves definitions and returns the hashes of those that are damaged.
    async fn definitions(&self) -> Result<BTreeSet<String>, StoreError> {
        let (mut after, mut unusable) = (String::new(), BTreeSet::new());
        loop {
            let page = self.from.stored_definitions(&after, DEFINITION_PAGE).await?;
            let Some(last) = page.last() else { return Ok(unusable) };
            after.clone_from(&last.hash);
            for definition in &page {
                if is_sound(definition) {
                    self.again(|| self.to.import_definition(definition)).await?;
                } else {
                    unusable.insert(definition.hash.clone());
                }
            }
        }
    }

    /// Moves versions of workflows: they become the newest ones, in their order. Threads name their
    /// definition, so another version number changes nothing for running threads.
    async fn workflows(
        &self,
        unusable: &BTreeSet<String>,
        count: &mut Count,
    ) -> Result<(), StoreError> {
        let mut after = (String::new(), 0);
        loop {
            let page = self.from.stored_workflows((&after.0, after.1), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = (last.name.clone(), last.version);
            for row in &page {
                let workflow = format!("{}@{}", row.name, row.version);
                if unusable.contains(&row.definition) {
                    count.left += 1;
                    tracing::error!(workflow, "left behind: its definition is damaged");
                    continue;
                }
                let version = self.again(|| self.to.import_workflow(row)).await?;
                if let Some(version) = version.filter(|version| *version != row.version) {
                    tracing::warn!(workflow, "is version {version} in the database");
                }
            }
        }
    }

    /// Moves a thread and returns whether it is in the database then.
    async fn thread(
        &self,
        id: &str,
        unusable: &BTreeSet<String>,
        count: &mut Count,
    ) -> Result<bool, StoreError> {
        let why = match ThreadDump::read(self.from, id).await {
            Ok(None) => return Ok(false),
            Ok(Some(dump)) if dump.row.is_gone() => {
                // The database's thread may have changed since, or have been deleted; its state
                // there is not known here.
                count.known += 1;
                return Ok(true);
            }
            Ok(Some(dump)) => match dump.damage() {
                Some(damage) => damage,
                None if unusable.contains(&dump.row.definition) => {
                    format!("its definition {} is damaged", dump.row.definition)
                }
                None => match self.again(|| self.to.import(&dump)).await {
                    Ok(taken) => return Ok(took(id, taken, count)),
                    Err(error) if error.is_transient() => return Err(error),
                    Err(error) => error.to_string(),
                },
            },
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => error.to_string(),
        };
        count.left += 1;
        tracing::error!(thread = id, why, "left behind in the fallback file");
        Ok(false)
    }

    /// Runs a step, and repeats it for a limited time while the database does not answer.
    async fn again<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        step: impl FnMut() -> F,
    ) -> Result<T, StoreError> {
        let ambient = (&*self.ambient.clock, &*self.ambient.entropy);
        let may_pass = |error: &StoreError| error.is_transient();
        open_with_patience("moving the fallback file", ambient, (may_pass, BUDGET), step).await
    }
}

/// Counts a thread, logs its id if it did not come whole, and returns whether it came.
fn took(id: &str, taken: Imported, count: &mut Count) -> bool {
    match taken {
        Imported::Whole => count.moved += 1,
        Imported::WithoutKey => {
            count.moved += 1;
            tracing::warn!(
                thread = id,
                "moved without its idempotency key: another thread of the database has it"
            );
        }
        Imported::Identical => count.known += 1,
        Imported::Conflict(why) => {
            count.left += 1;
            tracing::error!(thread = id, why, "left behind in the fallback file: a conflict");
            return false;
        }
    }
    true
}

/// Returns whether a definition is the one that its hash names.
fn is_sound(definition: &StoredDefinition) -> bool {
    hex(&Sha256::digest(&definition.text)) == definition.hash
}

#[cfg(test)]
mod tests;
