//! The encoding of records in a journal row, and the checks of a read.
//!
//! One append is one row: the events' compact JSON texts joined by line feeds (compact JSON holds
//! no raw one) with a CRC-32 over the whole. Every store writes and reads rows through here; a row
//! that fails a check is reported as damage.

use crate::model::{Seq, ThreadId, Timestamp};

use super::limits::MAX_READ_BYTES;
use super::{Records, Result, StoreError};

/// A journal row as stored.
#[derive(Debug, Clone)]
pub(super) struct JournalRow {
    /// The number of its last event.
    pub(super) seq: i64,
    /// The number of its first event.
    pub(super) first_seq: i64,
    /// When its events were decided, in milliseconds.
    pub(super) at: i64,
    /// The events.
    pub(super) payload: Vec<u8>,
    /// CRC-32 of the payload, as a signed number.
    pub(super) crc: i32,
}

impl JournalRow {
    /// Encodes records.
    pub(super) fn encode(records: &Records) -> Self {
        let payload = records.events.join("\n").into_bytes();
        Self {
            seq: records.last().cast_signed(),
            first_seq: records.first.cast_signed(),
            at: records.at.millis(),
            crc: crc32fast::hash(&payload).cast_signed(),
            payload,
        }
    }

    fn decode(self, thread: &ThreadId) -> Result<Records> {
        self.decode_row().map_err(|detail| StoreError::Corrupt {
            thread: thread.clone(),
            seq: self.seq.cast_unsigned(),
            detail,
        })
    }

    /// The events, if checksum and numbers match; else the fault.
    pub(super) fn decode_row(&self) -> Result<Records, String> {
        let found = crc32fast::hash(&self.payload).cast_signed();
        if found != self.crc {
            return Err(format!("checksum is {found:08x}, stored is {:08x}", self.crc));
        }
        if self.first_seq < 1 {
            return Err(format!("its first event has the number {}", self.first_seq));
        }
        let text = std::str::from_utf8(&self.payload).map_err(|fault| fault.to_string())?;
        let events: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let records = Records {
            first: self.first_seq.cast_unsigned(),
            events,
            at: Timestamp::from_millis(self.at),
        };
        if records.last().cast_signed() != self.seq {
            return Err(format!(
                "{} events from {} on do not end at {}",
                records.events.len(),
                self.first_seq,
                self.seq
            ));
        }
        Ok(records)
    }
}

/// A row of a read: the journal's head and, if there is one, a journal row.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct ReadRow {
    head: i64,
    /// Set if rows are left out because they are large.
    cut: Option<bool>,
    seq: Option<i64>,
    first_seq: Option<i64>,
    at: Option<i64>,
    crc: Option<i32>,
    payload: Option<Vec<u8>>,
}

impl ReadRow {
    fn journal(self) -> Option<JournalRow> {
        Some(JournalRow {
            seq: self.seq?,
            first_seq: self.first_seq?,
            at: self.at?,
            payload: self.payload?,
            crc: self.crc?,
        })
    }
}

/// Makes the result of [`super::Journal::read`] from journal rows.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    thread: &'a ThreadId,
    next: Seq,
    left: usize,
    bytes: usize,
    found: Vec<Records>,
}

impl<'a> Reader<'a> {
    /// Starts after `after`, for at most `limit` events.
    pub(super) const fn new(thread: &'a ThreadId, after: Seq, limit: usize) -> Self {
        Self { thread, next: after.saturating_add(1), left: limit, bytes: 0, found: Vec::new() }
    }

    /// Reads all rows of one snapshot; no row means no such thread.
    pub(super) fn read(mut self, rows: Vec<ReadRow>) -> Result<Vec<Records>> {
        let Some((head, cut)) = rows.first().map(|row| (row.head, row.cut)) else {
            return Ok(Vec::new());
        };
        for row in rows.into_iter().filter_map(ReadRow::journal) {
            if !self.push(row)? {
                break;
            }
        }
        if cut == Some(true) {
            self.left = 0;
        }
        self.finish(head.cast_unsigned())
    }

    /// Takes the next row; `false` once there are enough events.
    pub(super) fn push(&mut self, row: JournalRow) -> Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        self.bytes = self.bytes.saturating_add(row.payload.len());
        if self.bytes > MAX_READ_BYTES && !self.found.is_empty() {
            self.left = 0;
            return Ok(false);
        }
        let mut records = row.decode(self.thread)?;
        if records.first > self.next || (records.first < self.next && !self.found.is_empty()) {
            return Err(self.missing(&format!("the next row starts at {}", records.first)));
        }
        let known = usize::try_from(self.next - records.first).unwrap_or(usize::MAX);
        records.events.drain(..known.min(records.events.len()));
        records.events.truncate(self.left);
        records.first = self.next;
        if !records.events.is_empty() {
            self.left -= records.events.len();
            self.next = records.last() + 1;
            self.found.push(records);
        }
        Ok(self.left > 0)
    }

    /// Ends the read; `head` is the head of the journal in the same snapshot.
    pub(super) fn finish(self, head: Seq) -> Result<Vec<Records>> {
        if self.left > 0 && self.next <= head {
            return Err(self.missing(&format!("the journal's head is {head}")));
        }
        Ok(self.found)
    }

    fn missing(&self, detail: &str) -> StoreError {
        StoreError::Corrupt {
            thread: self.thread.clone(),
            seq: self.next,
            detail: format!("the record is missing: {detail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_to_what_was_asked_for() {
        let thread = ThreadId::parse("t").unwrap();
        let mut reader = Reader::new(&thread, 1, 3);
        assert!(reader.push(row(1, 3)).unwrap());
        assert!(!reader.push(row(4, 6)).unwrap());
        let found = reader.finish(6).unwrap();
        let numbers: Vec<_> = found.iter().map(|r| (r.first, r.events.join(","))).collect();
        assert_eq!(numbers, [(2, "2,3".to_owned()), (4, "4".to_owned())]);
    }

    #[test]
    fn gaps_and_a_lost_tail_are_damage() {
        let thread = ThreadId::parse("t").unwrap();
        let mut reader = Reader::new(&thread, 0, 10);
        assert!(reader.push(row(2, 2)).is_err());
        let mut reader = Reader::new(&thread, 0, 10);
        assert!(reader.push(row(1, 2)).unwrap());
        assert!(reader.push(row(2, 3)).is_err());
        let mut reader = Reader::new(&thread, 0, 10);
        assert!(reader.push(row(1, 2)).unwrap());
        assert!(matches!(reader.finish(3), Err(StoreError::Corrupt { seq: 3, .. })));
        assert_eq!(Reader::new(&thread, 7, 10).finish(5), Ok(vec![]));
    }

    #[test]
    fn damaged_rows_are_refused() {
        let thread = ThreadId::parse("t").unwrap();
        let mut flipped = row(1, 2);
        flipped.payload[0] ^= 1;
        assert!(Reader::new(&thread, 0, 9).push(flipped).is_err());
        let mut short = row(1, 2);
        short.seq = 3;
        assert!(Reader::new(&thread, 0, 9).push(short).is_err());
    }

    fn row(first: Seq, last: Seq) -> JournalRow {
        let events = (first..=last).map(|n| n.to_string()).collect();
        JournalRow::encode(&Records { first, events, at: Timestamp::from_millis(5) })
    }
}
