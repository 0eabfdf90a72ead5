//! Takes threads of another store in.
//!
//! A thread may be larger than one statement may take time for, so this is the one place that needs
//! a transaction. It runs on a connection of its own, which is put back only after a transaction
//! that was committed or rolled back: a dropped future drops the connection, and nobody can borrow
//! a half-open transaction. Its statements have no names: behind a pooler they would stay behind.

use async_trait::async_trait;
use sqlx::postgres::PgTransaction;
use sqlx::{ConnectOptions, Connection};

use crate::store::{
    Import, Result, StoreError, StoredDefinition, StoredIntervention, StoredKey, StoredRecords,
    StoredWorkflow, ThreadDump,
};

use super::PostgresStore;
use super::fault::answer;

/// Bytes of journal rows in one statement: well within the 10 s that it may take.
const PART_BYTES: usize = 8 << 20;

/// How often to try again when another version is stored at the same moment.
const VERSION_TRIES: u32 = 20;

/// A key that has expired is taken over; one of the same thread is the same key. It comes before the
/// thread's row, as in a start, so that the two never wait for each other.
const INSERT_KEY: &str = "
INSERT INTO @idempotency AS i (key, request_hash, thread_id, expires_at)
VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond')
ON CONFLICT (key) DO UPDATE SET request_hash = EXCLUDED.request_hash,
    thread_id = EXCLUDED.thread_id, expires_at = EXCLUDED.expires_at
    WHERE i.expires_at <= clock_timestamp() OR i.thread_id = EXCLUDED.thread_id";

const INSERT: &str = "
INSERT INTO @threads (thread_id, workflow, workflow_version, definition, request_hash,
    idempotency_key, owner, epoch, last_seq, claims, pending, wake_at, created_at, updated_at,
    completed_at, status, summary, metadata)
VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10, CASE WHEN $18 THEN @now_ms() ELSE $11 END,
    $12, $13, $14, $15, $16, $17)
ON CONFLICT DO NOTHING";

const INSERT_RECORDS: &str = "
INSERT INTO @journal (thread_id, seq, first_seq, epoch, at, crc, payload)
SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[],
    $7::bytea[])";

const INSERT_LABELS: &str = "
INSERT INTO @labels (thread_id, key, value)
SELECT $1, * FROM unnest($2::text[], $3::text[])";

const INSERT_MESSAGE: &str =
    "INSERT INTO @inbox (thread_id, key, body, answer) VALUES ($1, $2, $3, $4)";

/// An id that another thread has stays with that one, as in an append.
const INSERT_INTERVENTIONS: &str = "
INSERT INTO @interventions (id, thread_id, opened_at, resolved_at, body)
SELECT id, $1, opened_at, resolved_at, body
FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bytea[])
    AS i(id, opened_at, resolved_at, body)
ON CONFLICT DO NOTHING";

const INSERT_DEFINITION: &str =
    "INSERT INTO @definitions (hash, text) VALUES ($1, $2) ON CONFLICT DO NOTHING";

const INSERT_VERSION: &str = "
WITH newest AS MATERIALIZED (
    SELECT version, definition FROM @workflows WHERE name = $1 ORDER BY version DESC LIMIT 1),
known AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM @workflows
        WHERE name = $1 AND definition = $2 AND created_at = $3)
        OR EXISTS (SELECT FROM newest WHERE definition = $2) AS known),
made AS (
    INSERT INTO @workflows (name, version, definition, created_at)
    SELECT $1, coalesce((SELECT version FROM newest), 0) + 1, $2, $3
    FROM known WHERE NOT known
    ON CONFLICT DO NOTHING RETURNING version)
SELECT known, (SELECT version FROM made) FROM known";

#[async_trait]
impl Import for PostgresStore {
    async fn insert(&self, dump: &ThreadDump) -> Result<Option<bool>> {
        let mut place = self.door.connection.lock().await;
        let mut connection = match place.take() {
            Some(connection) => connection,
            None => answer(self.door.options.connect()).await?,
        };
        let mut transaction = answer(connection.begin()).await?;
        let put = self.put_in(&mut transaction, dump).await?;
        if put.is_some() {
            answer(transaction.commit()).await?;
        } else {
            answer(transaction.rollback()).await?;
        }
        *place = Some(connection);
        Ok(put)
    }

    async fn import_definition(&self, definition: &StoredDefinition) -> Result<()> {
        let query = sqlx::query(self.sql(INSERT_DEFINITION)).bind(&definition.hash);
        let query = query.bind(&definition.text);
        self.execute(query).await.map(drop)
    }

    async fn import_workflow(&self, version: &StoredWorkflow) -> Result<Option<i64>> {
        for _ in 0..VERSION_TRIES {
            let query = sqlx::query_as(self.sql(INSERT_VERSION))
                .bind(&version.name)
                .bind(&version.definition)
                .bind(version.created_at);
            let (known, made): (bool, Option<i64>) = answer(query.fetch_one(&self.general)).await?;
            if known || made.is_some() {
                return Ok(made);
            }
        }
        Err(StoreError::Unavailable("versions of this workflow keep racing".to_owned()))
    }
}

impl PostgresStore {
    async fn put_in(
        &self,
        transaction: &mut PgTransaction<'_>,
        dump: &ThreadDump,
    ) -> Result<Option<bool>> {
        let key = match &dump.belongings.key {
            Some(key) => self.put_key(transaction, &dump.row.thread_id, key).await?,
            None => true,
        };
        if !self.put_row(transaction, dump).await? {
            return Ok(None);
        }
        let id = &dump.row.thread_id;
        for part in parts(&dump.journal) {
            self.put_records(transaction, id, part).await?;
        }
        let (keys, values): (Vec<&str>, Vec<&str>) =
            dump.belongings.labels.iter().map(|(key, value)| (&**key, &**value)).unzip();
        let query = sqlx::query(self.sql(INSERT_LABELS)).bind(id).bind(keys).bind(values);
        answer(query.persistent(false).execute(&mut **transaction)).await?;
        for message in &dump.belongings.inbox {
            let query = sqlx::query(self.sql(INSERT_MESSAGE)).bind(id).bind(&message.key);
            let query = query.bind(&message.body).bind(&message.answer);
            answer(query.persistent(false).execute(&mut **transaction)).await?;
        }
        self.put_interventions(transaction, id, &dump.belongings.interventions).await?;
        Ok(Some(key))
    }

    async fn put_key(
        &self,
        transaction: &mut PgTransaction<'_>,
        thread: &str,
        key: &StoredKey,
    ) -> Result<bool> {
        let query = sqlx::query(self.sql(INSERT_KEY)).bind(&key.key).bind(&key.request_hash);
        let query = query.bind(thread).bind(key.left_ms);
        let done = answer(query.persistent(false).execute(&mut **transaction)).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn put_row(
        &self,
        transaction: &mut PgTransaction<'_>,
        dump: &ThreadDump,
    ) -> Result<bool> {
        let (row, untaken) = (&dump.row, dump.belongings.untaken());
        let query = sqlx::query(self.sql(INSERT))
            .bind(&row.thread_id)
            .bind(&row.workflow)
            .bind(row.workflow_version)
            .bind(&row.definition)
            .bind(&row.request_hash)
            .bind(&row.idempotency_key)
            .bind(row.epoch)
            .bind(row.last_seq)
            .bind(row.claims)
            .bind(i32::try_from(untaken).unwrap_or(i32::MAX))
            .bind(row.wake_at)
            .bind(row.created_at)
            .bind(row.updated_at)
            .bind(row.completed_at)
            .bind(&row.status)
            .bind(&row.summary)
            .bind(&row.metadata)
            .bind(row.is_due_on_arrival(untaken));
        let done = answer(query.persistent(false).execute(&mut **transaction)).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn put_records(
        &self,
        transaction: &mut PgTransaction<'_>,
        thread: &str,
        part: &[StoredRecords],
    ) -> Result<()> {
        let column = |of: fn(&StoredRecords) -> i64| part.iter().map(of).collect::<Vec<i64>>();
        let query = sqlx::query(self.sql(INSERT_RECORDS))
            .bind(thread)
            .bind(column(|records| records.seq))
            .bind(column(|records| records.first_seq))
            .bind(column(|records| records.epoch))
            .bind(column(|records| records.at))
            .bind(part.iter().map(|records| records.crc).collect::<Vec<i32>>())
            .bind(part.iter().map(|records| records.payload.as_slice()).collect::<Vec<&[u8]>>());
        answer(query.persistent(false).execute(&mut **transaction)).await?;
        Ok(())
    }

    async fn put_interventions(
        &self,
        transaction: &mut PgTransaction<'_>,
        thread: &str,
        all: &[StoredIntervention],
    ) -> Result<()> {
        let query = sqlx::query(self.sql(INSERT_INTERVENTIONS))
            .bind(thread)
            .bind(all.iter().map(|one| one.id.as_str()).collect::<Vec<&str>>())
            .bind(all.iter().map(|one| one.opened_at).collect::<Vec<i64>>())
            .bind(all.iter().map(|one| one.resolved_at).collect::<Vec<Option<i64>>>())
            .bind(all.iter().map(|one| one.body.as_slice()).collect::<Vec<&[u8]>>());
        answer(query.persistent(false).execute(&mut **transaction)).await?;
        Ok(())
    }
}

/// Journal rows in parts of [`PART_BYTES`], or one row that is larger.
fn parts(mut journal: &[StoredRecords]) -> impl Iterator<Item = &[StoredRecords]> {
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |records: &&StoredRecords| {
            bytes = bytes.saturating_add(records.payload.len());
            bytes <= PART_BYTES
        };
        let count = journal.iter().take_while(fits).count().max(1);
        let (part, rest) = journal.split_at(count.min(journal.len()));
        journal = rest;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_row_once_in_order_and_are_bounded() {
        let row = |seq: i64, bytes: usize| StoredRecords {
            seq,
            first_seq: seq,
            epoch: 1,
            at: 0,
            crc: 0,
            payload: vec![0; bytes],
        };
        let sizes = [1, PART_BYTES, PART_BYTES + 1, 5, 6, PART_BYTES / 2, PART_BYTES / 2];
        let journal: Vec<_> = (1..).zip(sizes).map(|(seq, bytes)| row(seq, bytes)).collect();
        let lengths: Vec<_> = parts(&journal).map(<[_]>::len).collect();
        assert_eq!(lengths, [1, 1, 1, 3, 1]);
        let seqs: Vec<_> = parts(&journal).flatten().map(|records| records.seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(parts(&[]).count(), 0);
    }
}
