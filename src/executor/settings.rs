//! What the server's configuration says about executors.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::{EgressPolicy, Redactor};
use crate::definition::VariablePolicy;
use crate::observe::Memory;

/// Most bytes of a step's output: the default of `RETHREAD_MAX_EVENT`. An output is one journal
/// record and one frame on every stream, so it has to fit both.
pub const DEFAULT_MAX_OUTPUT_BYTES: usize = 1024 * 1024;

/// Variables of the server's environment that programs see: what finds helpers, a home, scratch
/// space and the language. Nothing else, since the rest holds the server's own credentials.
const INHERITED: [&str; 6] = ["PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ"];

/// Limits and permissions of executors.
#[derive(Debug, Clone)]
pub struct ExecutorSettings {
    /// Where steps may connect (`RETHREAD_EGRESS`).
    pub egress: EgressPolicy,
    /// Programs that `exec` may start (`RETHREAD_EXEC_ALLOW`), as workflows name them. None by
    /// default.
    pub exec_allow: Vec<String>,
    /// Variables that steps may give their programs (`RETHREAD_EXEC_ENV` widens it).
    pub exec_env: VariablePolicy,
    /// Most bytes of one step's output (`RETHREAD_MAX_EVENT`) [1 MiB].
    pub max_output_bytes: usize,
    /// The whole environment of a program before its step's `env`: see
    /// [`ExecutorSettings::environment_for_programs`]. Its `PATH` is where bare names are found.
    pub program_env: Vec<(OsString, OsString)>,
    /// Command line of a process that runs [`supervise_program`](super::supervise_program) on the
    /// arguments that follow; on Linux `/proc/self/exe` and a hidden argument. Absent: programs
    /// have no bounds, and may leave processes behind that left their group.
    pub program_supervisor: Option<Vec<OsString>>,
    /// What a supervised program may use.
    pub program_limits: ProgramLimits,
    /// What memory may be taken for.
    pub memory: Arc<Memory>,
    /// What takes secrets out of a text before it is cut. (Whatever an attempt gives is redacted as a
    /// whole before it is recorded, by whoever asked for the attempt.)
    pub redactor: Arc<Redactor>,
}

/// What a program may use; 0 leaves a bound as the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramLimits {
    /// Bytes that one process may write to in memory (`RETHREAD_EXEC_MEMORY`).
    pub memory: u64,
    /// Processes of one program at a time, itself among them (`RETHREAD_EXEC_PROCESSES`).
    pub processes: u64,
    /// Files that one process may have open (`RETHREAD_EXEC_FILES`).
    pub files: u64,
    /// Bytes of the largest file it may write (`RETHREAD_EXEC_FILE_SIZE`).
    pub file_size: u64,
}

impl Default for ExecutorSettings {
    /// The safest: only public addresses, no programs, an empty environment.
    fn default() -> Self {
        Self {
            egress: EgressPolicy::Public,
            exec_allow: Vec::new(),
            exec_env: VariablePolicy::default(),
            max_output_bytes: DEFAULT_MAX_OUTPUT_BYTES,
            program_env: Vec::new(),
            program_supervisor: None,
            program_limits: ProgramLimits { memory: 0, processes: 0, files: 0, file_size: 0 },
            memory: Arc::new(Memory::boundless()),
            redactor: Arc::default(),
        }
    }
}

impl ExecutorSettings {
    /// Where programs that name no working directory have theirs: their `TMPDIR`, or the usual.
    pub fn temporary_folder(&self) -> PathBuf {
        let told =
            self.program_env.iter().find(|(name, value)| name == "TMPDIR" && !value.is_empty());
        told.map_or_else(|| PathBuf::from("/tmp"), |(_, folder)| PathBuf::from(folder))
    }

    /// Picks from the server's environment what programs may see of it.
    pub fn environment_for_programs(
        server: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let inherited = |name: &OsString| INHERITED.iter().any(|known| name == known);
        server.into_iter().filter(|(name, _)| inherited(name)).collect()
    }
}
