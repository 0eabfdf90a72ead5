//! What programs that steps start are given and bounded by.

use std::ops::RangeInclusive;

use super::parse;
use super::reader::Reader;
use crate::definition::VariablePolicy;

/// Bytes of memory. Below, hardly an interpreter starts; above is no bound.
const MEMORY: RangeInclusive<u64> = 16 << 20..=1 << 40;
/// Bytes of a file. Below, not even a log fits; above is no bound.
const FILE_SIZE: RangeInclusive<u64> = 64 << 10..=1 << 40;
/// Processes, and open files of each; 0 is no bound.
const COUNTS: RangeInclusive<u64> = 0..=1_000_000;

/// Settings of programs. A bound of 0 is none.
#[derive(Debug, Clone)]
pub struct ProgramSettings {
    /// Variables that steps may give them.
    pub variables: VariablePolicy,
    /// Bytes that each of their processes may write to in memory.
    pub memory: u64,
    /// Processes of one program at a time.
    pub processes: u64,
    /// Files that each process may have open.
    pub files: u64,
    /// Bytes of the largest file that they may write.
    pub file_size: u64,
}

/// Reads everything before it gives up on anything, so that all faults are named.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<ProgramSettings> {
    let variables = reader.read_optional("exec_env", "names of variables, or PREFIX_*", |text| {
        VariablePolicy::widened(parse::list(text))
    });
    let words = "a size from 16MiB to 1TiB, or 0 for no bound";
    let memory = reader.read("exec_memory", words, |text| bound(text, &MEMORY));
    let processes = reader.count("exec_processes", &COUNTS);
    let files = reader.count("exec_files", &COUNTS);
    let words = "a size from 64KiB to 1TiB, or 0 for no bound";
    let file_size = reader.read("exec_file_size", words, |text| bound(text, &FILE_SIZE));
    Some(ProgramSettings {
        variables: variables.ok()?.unwrap_or_default(),
        memory: memory?,
        processes: processes?,
        files: files?,
        file_size: file_size?,
    })
}

fn bound(text: &str, allowed: &RangeInclusive<u64>) -> Result<u64, String> {
    if text.trim() == "0" { Ok(0) } else { parse::size(text, allowed) }
}
