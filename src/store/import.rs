//! The import of threads from another store: whole or not at all, and safe to repeat.

use async_trait::async_trait;

use super::archive::JOURNAL_PAGE;
use super::{Archive, Result, StoreError, StoredDefinition, StoredWorkflow, ThreadDump};

/// The result of [`Import::import`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// It was imported whole.
    Whole,
    /// It was imported, but its idempotency key belongs to another thread here and stays with it.
    WithoutKey,
    /// The very same thread was here already, and may have gone on since.
    Identical,
    /// Another thread has its id, or the same one with another history: nothing was written.
    Conflict(String),
}

/// Writes rows of another store.
#[async_trait]
pub trait Import: Archive {
    /// Inserts a thread with all rows of its dump, in one transaction, owned by nobody: due at once if
    /// somebody drove it, else when it wanted to be claimed. `None`: the id is taken, and nothing was
    /// written; else whether its idempotency key was inserted.
    async fn insert(&self, dump: &ThreadDump) -> Result<Option<bool>>;

    /// Inserts a definition unless its hash is known.
    async fn import_definition(&self, definition: &StoredDefinition) -> Result<()>;

    /// Inserts a version of a workflow as the newest one, and returns its number here. `None`: it was
    /// imported before, or the newest one here has the same definition.
    async fn import_workflow(&self, version: &StoredWorkflow) -> Result<Option<i64>>;

    /// Inserts a thread, or compares it with the one that has its id.
    async fn import(&self, dump: &ThreadDump) -> Result<Imported> {
        match self.insert(dump).await? {
            Some(true) => Ok(Imported::Whole),
            Some(false) => Ok(Imported::WithoutKey),
            None => Ok(difference(self, dump)
                .await?
                .map_or(Imported::Identical, |what| Imported::Conflict(what.to_owned()))),
        }
    }
}

/// The difference between a dump and the thread that has its id; `None` if they are the same.
async fn difference<A: Archive + ?Sized>(
    archive: &A,
    dump: &ThreadDump,
) -> Result<Option<&'static str>> {
    let id = &dump.row.thread_id;
    let Some(found) = archive.stored_thread(id).await? else {
        return Err(StoreError::Unavailable(format!("thread {id} has just been deleted")));
    };
    if found.request_hash != dump.row.request_hash || found.created_at != dump.row.created_at {
        return Ok(Some("another thread has its id"));
    }
    let mut after = i64::MIN;
    let mut known = dump.journal.iter();
    while known.len() > 0 {
        let page = archive.stored_records(id, after, JOURNAL_PAGE.min(known.len())).await?;
        let Some(last) = page.last() else { return Ok(Some("its history here is shorter")) };
        after = last.seq;
        if page.iter().any(|records| known.next() != Some(records)) {
            return Ok(Some("its history here is another"));
        }
    }
    Ok(None)
}
