//! Keeps the secrets of this process from other processes of the same user, among them the programs
//! that its steps start.
//!
//! Memory: only root can look into a process that is not dumpable. Environment and command line:
//! Linux shows both as they were at the start, whatever a process does to them. So this process
//! starts itself anew, under the same number, with all secrets in an anonymous file that it alone
//! has.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::unistd::close;

use super::supervise::SELF;
use crate::config;

/// The variable that holds the number of the anonymous file in the environment of the second start.
const SEALED: &str = "RETHREAD_SEALED";

/// The arguments and the environment that this process was started with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Started {
    /// The command line, with the program's own name first.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
}

/// Closes this process to others and returns what it was started with. It may start this process
/// anew, so call it before anything else.
pub fn conceal() -> Started {
    close_memory();
    let visible = Started {
        arguments: std::env::args_os().collect(),
        variables: config::process_variables().collect(),
    };
    let sealed = visible.variables.iter().find(|(name, _)| name == SEALED);
    let Some((_, number)) = sealed else {
        if visible.holds_secrets() {
            // A server that shows its secrets is better than one that does not start.
            if let Err(error) = visible.start_anew() {
                tracing::debug!(%error, "secrets stay in the environment");
            }
        }
        return visible;
    };
    let whole = number.to_str().and_then(|number| number.parse().ok()).map(|number| {
        let bytes = unseal(number);
        name_process(visible.arguments.first());
        bytes.map(|bytes| visible.with(&bytes))
    });
    match whole {
        Some(Ok(whole)) => whole,
        Some(Err(_)) | None => visible,
    }
}

/// Makes this process not dumpable. Without this, any process of the same user may read all its
/// memory.
fn close_memory() {
    if let Err(error) = prctl::set_dumpable(false) {
        tracing::warn!(%error, "other processes may look into this one");
    }
}

impl Started {
    fn holds_secrets(&self) -> bool {
        self.variables.iter().any(|(name, value)| config::is_secret(name, value))
            || config::mask_arguments(&self.arguments) != self.arguments
    }

    /// Starts this process anew without its secrets; returns only if that can't be done.
    fn start_anew(&self) -> io::Result<()> {
        let mut file = File::from(memfd_create(c"rethread", MFdFlags::empty())?);
        file.write_all(&self.to_bytes())?;
        let masked = config::mask_arguments(&self.arguments);
        let (name, arguments) = masked.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(SELF);
        command.arg0(name).args(arguments);
        for (name, _) in self.variables.iter().filter(|(name, _)| config::is_ours(name)) {
            command.env_remove(name);
        }
        command.env(SEALED, file.as_raw_fd().to_string());
        Err(command.exec())
    }

    /// Returns the arguments and our variables as bytes, each with its length before it.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |kind: u8, text: &OsStr| {
            bytes.push(kind);
            bytes.extend(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        for argument in &self.arguments {
            put(ARGUMENT, argument);
        }
        for (name, value) in self.variables.iter().filter(|(name, _)| config::is_ours(name)) {
            put(NAME, name);
            put(VALUE, value);
        }
        bytes
    }

    /// Returns these arguments and variables together with the sealed ones. Sealed arguments
    /// replace the visible ones.
    fn with(&self, mut bytes: &[u8]) -> Self {
        let mut whole = Self { arguments: Vec::new(), variables: self.variables.clone() };
        whole.variables.retain(|(name, _)| name != SEALED);
        let mut named = None;
        while let Some((kind, text)) = take(&mut bytes) {
            match (kind, named.take()) {
                (ARGUMENT, _) => whole.arguments.push(text),
                (NAME, _) => named = Some(text),
                (VALUE, Some(name)) => whole.variables.push((name, text)),
                _ => {}
            }
        }
        whole
    }
}

/// The kinds of the pieces in the file.
const ARGUMENT: u8 = b'a';
const NAME: u8 = b'n';
const VALUE: u8 = b'v';

fn take(bytes: &mut &[u8]) -> Option<(u8, OsString)> {
    let (&kind, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some((kind, OsString::from_vec(text.to_vec())))
}

/// Reads the file that an earlier start of this process left, and closes it, so that no program
/// started later inherits it.
fn unseal(number: i32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/self/fd/{number}"));
    file?.read_to_end(&mut bytes)?;
    close(number)?;
    Ok(bytes)
}

/// Names the process after its program. Lists show the name of the file that was started, which is
/// Linux's own name for this one.
fn name_process(program: Option<&OsString>) {
    let name = program.and_then(|program| Path::new(program).file_name());
    let name = name.and_then(|name| CString::new(name.as_bytes()).ok());
    if let Some(name) = name
        && let Err(error) = prctl::set_name(&name)
    {
        tracing::debug!(%error, "the process keeps another name");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(arguments: &[&str], variables: &[(&str, &str)]) -> Started {
        Started {
            arguments: arguments.iter().map(Into::into).collect(),
            variables: variables.iter().map(|(n, v)| (n.into(), v.into())).collect(),
        }
    }

    #[test]
    fn what_was_sealed_comes_back_and_the_rest_stays() {
        let before = started(
            &["rethread", "serve", "--api-keys", "a:b c\n"],
            &[
                ("PATH", "/bin"),
                ("RETHREAD_SECRET_A", "x=\ny"),
                ("DATABASE_URL", "postgres://u:p@h/d"),
            ],
        );
        assert!(before.holds_secrets());
        let visible = started(
            &["rethread", "serve", "--api-keys", "***"],
            &[("PATH", "/bin"), ("RETHREAD_SEALED", "3")],
        );
        assert_eq!(visible.with(&before.to_bytes()), before);
    }

    #[test]
    fn a_process_without_secrets_is_left_alone() {
        let plain = started(
            &["rethread", "serve", "--addr", "127.0.0.1:0"],
            &[("RETHREAD_LOG", "info"), ("DATABASE_URL", "sqlite://a.db")],
        );
        assert!(!plain.holds_secrets());
    }
}
