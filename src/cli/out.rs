//! The one place that writes to stdout and stderr.
//!
//! A missing reader is no reason to fail: a closed pipe ends the output, not the server.

use std::io::{self, Write as _};

use crate::telemetry;

/// Prints a line to stdout.
pub(super) fn line(text: &str) {
    ignore(writeln!(io::stdout().lock(), "{text}"));
}

/// Prints to stdout without ending the line.
pub(super) fn part(text: &str) {
    let mut stdout = io::stdout().lock();
    ignore(write!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Prints a line to stderr, for the person at the terminal; behind the log, if there is one.
pub(super) fn problem(text: &str) {
    let line = format!("rethread: {text}\n");
    if !telemetry::print(&line) {
        ignore(io::stderr().lock().write_all(line.as_bytes()));
    }
}

fn ignore(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::trace!("output is gone: {error}");
    }
}
