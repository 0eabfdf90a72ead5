//! A batch in one transaction, and the search for a write that spoils it.

use futures_util::FutureExt;
use sqlx::SqliteConnection;
use std::sync::Arc;

use crate::model::{Incarnation, Timestamp};
use crate::store::{StoreError, Write, WriteOutcome};

use super::SqliteStore;
use super::appends::{AppendRow, append_all};
use super::fault::Fault;
use super::leases::{is_alive, millis};
use super::starts::{StartRow, start_all};
use super::writer::transaction;

/// A write, encoded and owned.
#[derive(Debug)]
enum Row {
    Start(Box<StartRow>),
    Append(Box<AppendRow>),
}

impl SqliteStore {
    /// See [`crate::store::Store::write`].
    pub(super) async fn do_write(
        &self,
        me: Incarnation,
        batch: &[Write],
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let encode = |write: &Write| match write {
            Write::Start(start) => StartRow::encode(start).map(|row| Row::Start(Box::new(row))),
            Write::Append(append) => {
                AppendRow::encode(append).map(|row| Row::Append(Box::new(row)))
            }
        };
        let rows: Arc<[Row]> = batch.iter().map(encode).collect::<Result<_, _>>()?;
        let mut outcomes = vec![WriteOutcome::Refused; batch.len()];
        let mut parts: Vec<_> = std::iter::once(0..rows.len()).collect();
        while let Some(part) = parts.pop() {
            match self.write_part(me, Arc::clone(&rows), part.clone()).await {
                Ok(found) => {
                    for (slot, outcome) in outcomes.iter_mut().skip(part.start).zip(found) {
                        *slot = outcome;
                    }
                }
                Err(Fault::Data(detail)) if part.len() <= 1 => {
                    tracing::warn!(detail, "the database refused a write");
                }
                Err(Fault::Data(_)) => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
                Err(fault @ (Fault::Store(_) | Fault::Disk(_))) => return Err(fault.into()),
            }
        }
        Ok(outcomes)
    }

    async fn write_part(
        &self,
        me: Incarnation,
        rows: Arc<[Row]>,
        part: std::ops::Range<usize>,
    ) -> Result<Vec<WriteOutcome>, Fault> {
        let (now, monotonic) = (self.clock.now(), millis(self.clock.monotonic()));
        let work = transaction(move |connection| {
            async move {
                let part = rows.get(part).unwrap_or_default();
                write_rows(connection, me, (now, monotonic), part).await
            }
            .boxed()
        });
        self.writer.run(work).await
    }
}

async fn write_rows(
    connection: &mut SqliteConnection,
    me: Incarnation,
    (now, monotonic): (Timestamp, i64),
    rows: &[Row],
) -> Result<Vec<WriteOutcome>, Fault> {
    let (mut starts, mut appends) = (Vec::new(), Vec::new());
    for row in rows {
        match row {
            Row::Start(start) => starts.push(&**start),
            Row::Append(append) => appends.push(&**append),
        }
    }
    // Only a start asks: an append is fenced by its owner and epoch.
    let alive = !starts.is_empty() && is_alive(connection, me, monotonic).await?;
    let mut started = start_all(connection, (me, alive), now, &starts).await?.into_iter();
    let mut appended = append_all(connection, me, now, &appends).await?.into_iter();
    let outcome = |row: &Row| match row {
        Row::Start(_) => started.next().unwrap_or(WriteOutcome::Refused),
        Row::Append(_) => appended.next().unwrap_or(WriteOutcome::Refused),
    };
    Ok(rows.iter().map(outcome).collect())
}
