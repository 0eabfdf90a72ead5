//! Journal rows with any bytes are read in full or reported as damaged.

use super::records::{JournalRow, Reader};
use super::{StoreError, Summary};
use crate::fuzz::fuzz;
use crate::model::ThreadId;

/// Rows as text: `seq first_seq payload`, one a line; `,` stands for the line feed between events.
fn rows(bytes: &[u8]) -> Vec<JournalRow> {
    let row = |line: &[u8]| {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut number =
            || std::str::from_utf8(parts.next()?).ok()?.trim_end_matches('!').parse::<i64>().ok();
        let (seq, first_seq) = (number()?, number()?);
        let payload: Vec<u8> =
            parts.next()?.iter().map(|b| if *b == b',' { b'\n' } else { *b }).collect();
        let crc = crc32fast::hash(&payload).cast_signed();
        Some(JournalRow { seq, first_seq, at: 0, payload, crc })
    };
    bytes.split(|byte| *byte == b'\n').filter_map(row).collect()
}

#[test]
fn any_rows_are_a_journal_without_gaps_or_damage() {
    let tokens =
        ["\n1 1 x", "\n3 2 x,y", "9223372036854775807", "-9223372036854775808", "0 0 ", ",,"];
    fuzz("rows", &tokens, |bytes| {
        let rows = rows(bytes);
        let head = rows.last().map_or(0, |row| row.seq.max(0).cast_unsigned());
        let damaged = rows.first().is_some_and(|row| {
            let mut row = row.clone();
            row.crc ^= 1;
            row.decode_row().is_ok()
        });
        assert!(!damaged, "a checksum that does not match");
        let thread = ThreadId::parse("t").unwrap();
        let read = |after, limit| {
            let mut reader = Reader::new(&thread, after, limit);
            for row in &rows {
                if !reader.push(row.clone())? {
                    break;
                }
            }
            reader.finish(head)
        };
        for (after, limit) in [(0, usize::MAX), (0, 2), (1, usize::MAX), (u64::MAX, 1)] {
            match read(after, limit) {
                Ok(found) => {
                    let mut next = after.saturating_add(1);
                    for records in &found {
                        assert_eq!(records.first, next);
                        next = records.last() + 1;
                    }
                    let count: usize = found.iter().map(|records| records.events.len()).sum();
                    assert!(count <= limit);
                    assert!(count == limit || after != 0 || next > head, "a lost tail");
                }
                Err(StoreError::Corrupt { detail, .. }) => return detail,
                Err(other) => panic!("{other}"),
            }
        }
        format!("{} rows", if rows.is_empty() { "no" } else { "some" })
    });
}

#[test]
fn any_summary_of_a_thread_reads_back_or_is_refused() {
    fuzz("summary", &["\"status\":\"paused\"", "\"error\":null", "null"], |bytes| {
        let summary: Summary = match serde_json::from_slice(bytes) {
            Ok(summary) => summary,
            Err(fault) => return fault.to_string(),
        };
        let written = serde_json::to_vec(&summary).unwrap();
        assert_eq!(serde_json::from_slice::<Summary>(&written).unwrap(), summary);
        summary.status.as_str().to_owned()
    });
}
