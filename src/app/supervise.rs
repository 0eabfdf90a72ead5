//! The process that stands between this server and a program of a step.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::executor;

/// Hidden command of this binary under which it is a supervisor. It is no command of the parser:
/// every program pays for what happens before it.
pub const SUPERVISE_COMMAND: &str = "supervise-program";

/// Where Linux has the running binary, even if the file was replaced meanwhile.
pub(super) const SELF: &str = "/proc/self/exe";

/// Supervises the program that the arguments name, until it has ended or the server is gone.
pub fn supervise_program(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match executor::supervise_program(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // The server misses the report.
        Err(_) => ExitCode::FAILURE,
    }
}

/// The command line that starts a supervisor; none where there is no `/proc` to see its children.
pub(super) fn supervisor_command() -> Option<Vec<OsString>> {
    std::path::Path::new(SELF).exists().then(|| vec![SELF.into(), SUPERVISE_COMMAND.into()])
}
