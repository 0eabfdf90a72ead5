//! Rows of the tables that SQLite and Postgres share, and what they mean.
//!
//! Both schemas use the same names, so one definition reads both. A row that cannot be decoded was not
//! written by this server: that is [`StoreError::Fatal`], never a guess.

use sha2::{Digest, Sha256};

use crate::model::{Json, ThreadId, Timestamp, hex};

use super::limits::MAX_INDEXED_TEXT;
use super::{
    Claimed, Death, Disposition, Loss, Message, Result, StoreError, Summary, SuspectRow, ThreadRow,
};

/// The columns of [`RawThread`].
pub(super) const THREAD_COLUMNS: &str = "thread_id, workflow, workflow_version, definition, \
    request_hash, metadata, owner, epoch, last_seq, claims, wake_at, summary, created_at, updated_at";

/// A row of `threads`, as far as [`ThreadRow`] shows it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct RawThread {
    thread_id: String,
    workflow: String,
    workflow_version: Option<i64>,
    definition: String,
    request_hash: String,
    metadata: Vec<u8>,
    owner: i64,
    epoch: i64,
    last_seq: i64,
    claims: i32,
    wake_at: Option<i64>,
    summary: Vec<u8>,
    created_at: i64,
    updated_at: i64,
}

impl RawThread {
    /// The row as the runtime sees it.
    pub(super) fn decode(self) -> Result<ThreadRow> {
        let mut summary: Summary = serde_json::from_slice(&self.summary).map_err(unreadable)?;
        let thread_id = thread_id(&self.thread_id)?;
        summary.forked_from = summary.forked_from.map(|point| point.beside(&thread_id));
        Ok(ThreadRow {
            thread_id,
            workflow: self.workflow,
            workflow_version: self.workflow_version.map(version).transpose()?,
            definition: self.definition,
            request_hash: self.request_hash,
            metadata: json(self.metadata)?,
            owner: self.owner,
            epoch: self.epoch,
            last_seq: self.last_seq.cast_unsigned(),
            claims: self.claims.cast_unsigned(),
            wake_at: self.wake_at.map(Timestamp::from_millis),
            summary,
            created_at: Timestamp::from_millis(self.created_at),
            updated_at: Timestamp::from_millis(self.updated_at),
        })
    }
}

/// How the statements that append know a disposition: 0 keeps the thread, 1 releases it, 2 sets it
/// aside; and when it is to be claimed.
pub(super) const fn let_go(disposition: Disposition) -> (i32, Option<Timestamp>) {
    match disposition {
        Disposition::Keep => (0, None),
        Disposition::Release { wake_at } => (1, wake_at),
        Disposition::SetAside { until } => (2, Some(until)),
    }
}

/// A row that a claim returns.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct RawClaim {
    pub(super) thread_id: String,
    epoch: i64,
    last_seq: i64,
    claims: i32,
    pub(super) previous_owner: i64,
    mail: i32,
    /// Where the store does not know it by the row, it fills it in.
    #[sqlx(default)]
    pub(super) lost: Option<String>,
    #[sqlx(default)]
    driven: bool,
}

impl RawClaim {
    /// The claim as the runtime sees it.
    pub(super) fn decode(self) -> Result<Claimed> {
        Ok(Claimed {
            thread_id: thread_id(&self.thread_id)?,
            epoch: self.epoch,
            last_seq: self.last_seq.cast_unsigned(),
            claims: self.claims.cast_unsigned(),
            previous_owner: self.previous_owner,
            mail: self.mail.cast_unsigned(),
            lost: self.lost.as_deref().and_then(Loss::parse),
            driven: self.driven,
        })
    }
}

/// A row of `suspects`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct RawSuspect {
    thread_id: String,
    lost_with: i64,
    exposed_to: i64,
    body: Vec<u8>,
}

impl RawSuspect {
    pub(super) fn decode(self) -> Result<SuspectRow> {
        Ok(SuspectRow {
            thread_id: thread_id(&self.thread_id)?,
            lost_with: self.lost_with,
            exposed_to: self.exposed_to,
            body: json(self.body)?,
        })
    }
}

/// A row of `replicas`, as far as a death shows it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct RawDeath {
    incarnation: i64,
    seen_at: i64,
}

impl RawDeath {
    pub(super) fn decode(self) -> Death {
        Death { incarnation: self.incarnation, seen_at: Timestamp::from_millis(self.seen_at) }
    }
}

/// A message as it lies in `inbox`.
pub(super) fn message((key, body): (String, Vec<u8>)) -> Result<Message> {
    Ok(Message { key, body: json(body)? })
}

/// An id that came out of a database.
pub(super) fn thread_id(text: &str) -> Result<ThreadId> {
    ThreadId::from_key(text).map_err(unreadable)
}

/// JSON that came out of a database.
pub(super) fn json(bytes: Vec<u8>) -> Result<Json> {
    let text = String::from_utf8(bytes).map_err(unreadable)?;
    Json::trusted(text).map_err(unreadable)
}

/// A definition's text.
pub(super) fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(unreadable)
}

/// A shared secret.
pub(super) fn secret(bytes: Vec<u8>) -> Result<[u8; 32]> {
    <[u8; 32]>::try_from(bytes).map_err(|_| unreadable("a secret has 32 bytes"))
}

/// Derived state as it is stored.
pub(super) fn summary(summary: &Summary) -> Result<Vec<u8>> {
    serde_json::to_vec(summary).map_err(unreadable)
}

/// A text as it stands in an index: long ones, and those with a NUL (which Postgres refuses in
/// text), are replaced by their hash.
pub(super) fn indexed(text: &str) -> String {
    if text.len() <= MAX_INDEXED_TEXT && !text.contains('\0') {
        return text.to_owned();
    }
    format!("sha256:{}", hex(&Sha256::digest(text.as_bytes())))
}

/// How many rows to ask for.
pub(super) fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// How many rows there were.
pub(super) fn count(rows: i64) -> usize {
    usize::try_from(rows).unwrap_or(0)
}

/// A version that came out of a database.
pub(super) fn version(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(unreadable)
}

/// The error for a stored value that this server did not write.
pub(super) fn unreadable(fault: impl std::fmt::Display) -> StoreError {
    StoreError::Fatal(format!("a stored row can't be read: {fault}"))
}
