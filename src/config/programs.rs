//! Reads the environment and the bounds of the programs that steps start.

use std::ops::RangeInclusive;

use super::parse;
use super::reader::{Reader, every};
use crate::definition::VariablePolicy;
use crate::executor::ProgramLimits;

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
    /// What each may take.
    pub limits: ProgramLimits,
}

/// Reads all settings before it gives up on any, so that all faults are named.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<ProgramSettings> {
    let names = "names of variables, or PREFIX_*";
    let memory = "a size from 16MiB to 1TiB, or 0 for no bound";
    let file_size = "a size from 64KiB to 1TiB, or 0 for no bound";
    every!(ProgramSettings {
        variables: reader
            .read_or_default("exec_env", names, |text| VariablePolicy::widened(parse::list(text))),
        limits: every!(ProgramLimits {
            memory: reader.read("exec_memory", memory, |text| bound(text, &MEMORY)),
            processes: reader.count("exec_processes", &COUNTS),
            files: reader.count("exec_files", &COUNTS),
            file_size: reader.read("exec_file_size", file_size, |text| bound(text, &FILE_SIZE)),
        }),
    })
}

fn bound(text: &str, allowed: &RangeInclusive<u64>) -> Result<u64, String> {
    if text.trim() == "0" { Ok(0) } else { parse::size(text, allowed) }
}
