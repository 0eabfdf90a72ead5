//! The process between this server and a program of a step.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::executor;

/// The hidden command under which this binary is a supervisor. It is no command of the parser:
/// every program pays for the time before it starts.
pub const SUPERVISE_COMMAND: &str = "supervise-program";

/// The path at which Linux has the running binary, even if its file was replaced meanwhile.
pub(super) const SELF: &str = "/proc/self/exe";

/// Supervises the program that the arguments name, until the program has ended or the server is
/// gone.
pub fn supervise_program(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match executor::supervise_program(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // The server misses the report.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Returns the command line that starts a supervisor; `None` where no `/proc` shows its children.
pub(super) fn supervisor_command() -> Option<Vec<OsString>> {
    std::path::Path::new(SELF).exists().then(|| vec![SELF.into(), SUPERVISE_COMMAND.into()])
}
