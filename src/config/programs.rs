//! Reads the environment and the bounds of the programs that steps start.

use std::ops::RangeInclusive;

use super::parse;
use super::reader::Reader;
use crate::definition::VariablePolicy;

/// The range of memory, in bytes. Below, hardly an interpreter starts; the upper end is no bound in
/// practice.
const MEMORY: RangeInclusive<u64> = 16 << 20..=1 << 40;
/// The range of the largest file, in bytes. Below, not even a log fits; the upper end is no bound
/// in practice.
const FILE_SIZE: RangeInclusive<u64> = 64 << 10..=1 << 40;
/// The range of processes, and of open files of each; 0 is no bound.
const COUNTS: RangeInclusive<u64> = 0..=1_000_000;

/// The settings of programs. A bound of 0 means no bound.
#[derive(Debug, Clone)]
pub struct ProgramSettings {
    /// The variables that steps may pass to programs.
    pub variables: VariablePolicy,
    /// The bytes of memory that each process of a program may write to.
    pub memory: u64,
    /// The processes of one program at a time.
    pub processes: u64,
    /// The files that each process may have open.
    pub files: u64,
    /// The bytes of the largest file that a program may write.
    pub file_size: u64,
}

/// Reads all settings before it gives up on any, so that all faults are named.
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
