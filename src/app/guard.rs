//! The second process that ends running programs when the server is killed.

use std::ffi::OsString;

use crate::executor;

/// Hidden command of this binary under which it is the guard.
pub const GUARD_COMMAND: &str = "guard-programs";

/// Where Linux has the running binary, even if the file was replaced meanwhile.
const SELF: &str = "/proc/self/exe";

/// Guards the programs of the server at the other end of standard input, until that end is gone.
pub fn guard_programs() {
    let killed = executor::guard_programs(std::io::stdin().lock());
    if killed > 0 {
        tracing::warn!(killed, "the server is gone: its programs were killed");
    }
}

/// The command line that starts the guard.
pub(super) fn guard_command() -> Option<Vec<OsString>> {
    let binary = if std::path::Path::new(SELF).exists() {
        SELF.into()
    } else {
        std::env::current_exe().ok()?.into_os_string()
    };
    Some(vec![binary, GUARD_COMMAND.into()])
}
