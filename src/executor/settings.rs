//! The part of the server's configuration that is about executors.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::{EgressPolicy, MAX_IDLE_CONNECTIONS, Redactor};
use crate::definition::VariablePolicy;
use crate::observe::Memory;

/// The default of `RETHREAD_MAX_EVENT`, the largest output of a step in bytes. An output is one
/// journal record and one frame on every stream, so it has to fit both.
pub const DEFAULT_MAX_OUTPUT_BYTES: usize = 1024 * 1024;

/// The variables of the server's environment that programs see: those that name helpers, a home,
/// scratch space and the language. No others, since they may hold the server's own credentials.
const INHERITED: [&str; 6] = ["PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ"];

/// Limits and permissions of executors.
#[derive(Debug, Clone)]
pub struct ExecutorSettings {
    /// The policy of where steps may connect (`RETHREAD_EGRESS`).
    pub egress: EgressPolicy,
    /// Programs that `exec` may start (`RETHREAD_EXEC_ALLOW`), as workflows name them. None by
    /// default.
    pub exec_allow: Vec<String>,
    /// The variables that steps may give their programs (`RETHREAD_EXEC_ENV` adds to them).
    pub exec_env: VariablePolicy,
    /// The largest output of one step, in bytes (`RETHREAD_MAX_EVENT`) [1 MiB].
    pub max_output_bytes: usize,
    /// The whole environment of a program before its step's `env`: see
    /// [`ExecutorSettings::environment_for_programs`]. Its `PATH` is where bare names are found.
    pub program_env: Vec<(OsString, OsString)>,
    /// The command line of a process that runs [`supervise_program`](super::supervise_program) on
    /// the arguments that follow; on Linux `/proc/self/exe` and a hidden argument. Absent: programs
    /// have no bounds, and processes that left their group may stay behind.
    pub program_supervisor: Option<Vec<OsString>>,
    /// The limits of a supervised program.
    pub program_limits: ProgramLimits,
    /// The largest number of connections of `http` steps and webhooks that are kept for the next request.
    pub max_idle_connections: usize,
    /// The memory budget that attempts take from.
    pub memory: Arc<Memory>,
    /// The redactor for texts that are cut. (The caller of an attempt redacts its whole outcome
    /// before that is recorded.)
    pub redactor: Arc<Redactor>,
}

/// The limits of a program; 0 leaves a limit as the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramLimits {
    /// The bytes of memory that one process may write to (`RETHREAD_EXEC_MEMORY`).
    pub memory: u64,
    /// The number of processes of one program at a time, itself among them
    /// (`RETHREAD_EXEC_PROCESSES`).
    pub processes: u64,
    /// The number of files that one process may have open (`RETHREAD_EXEC_FILES`).
    pub files: u64,
    /// The size of the largest file that it may write, in bytes (`RETHREAD_EXEC_FILE_SIZE`).
    pub file_size: u64,
}

impl Default for ExecutorSettings {
    /// Returns the safest settings: only public addresses, no programs, an empty environment.
    fn default() -> Self {
        Self {
            egress: EgressPolicy::Public,
            exec_allow: Vec::new(),
            exec_env: VariablePolicy::default(),
            max_output_bytes: DEFAULT_MAX_OUTPUT_BYTES,
            program_env: Vec::new(),
            program_supervisor: None,
            program_limits: ProgramLimits { memory: 0, processes: 0, files: 0, file_size: 0 },
            max_idle_connections: MAX_IDLE_CONNECTIONS,
            memory: Arc::new(Memory::boundless()),
            redactor: Arc::default(),
        }
    }
}

impl ExecutorSettings {
    /// Returns the folder for programs that name no working directory: their `TMPDIR`, or `/tmp`.
    pub fn temporary_folder(&self) -> PathBuf {
        let told =
            self.program_env.iter().find(|(name, value)| name == "TMPDIR" && !value.is_empty());
        told.map_or_else(|| PathBuf::from("/tmp"), |(_, folder)| PathBuf::from(folder))
    }

    /// Returns the variables of the server's environment that programs may see.
    pub fn environment_for_programs(
        server: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let inherited = |name: &OsString| INHERITED.iter().any(|known| name == known);
        server.into_iter().filter(|(name, _)| inherited(name)).collect()
    }
}
