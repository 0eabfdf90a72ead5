//! The outcome of a step whose program has ended.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::capture::Capture;
use super::input::Parse;
use crate::executor::Redactor;
use crate::executor::text::{output_invalid, tail, too_large};
use crate::model::{Category, Failure, Json, codes, quote};

/// The largest number of characters of standard error that a failure's message repeats.
const MAX_TAIL: usize = 1000;

/// A program that has ended, and its output.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    pub(super) written: Capture,
}

/// Returns the output `{exitCode, stdout, stderr}` of a program that succeeded, or the failure of
/// another. Bytes that are not UTF-8 become U+FFFD.
pub(super) fn output(
    name: &str,
    finished: &Finished,
    parse: Parse,
    (limit, redactor): (usize, &Redactor),
) -> Result<Json, Failure> {
    let Capture { stdout, stderr } = &finished.written;
    let (stdout, stderr) = (&stdout.bytes, &stderr.bytes);
    if !finished.status.success() {
        return Err(nonzero(
            name,
            finished.status,
            &redactor.redact(&String::from_utf8_lossy(stderr)),
        ));
    }
    let mut out = String::from("{\"exitCode\":0,\"stdout\":");
    match parse {
        Parse::Text => quote(&String::from_utf8_lossy(stdout), &mut out),
        Parse::Json => out.push_str(json(name, stdout)?.as_str()),
        Parse::Lines => lines(&String::from_utf8_lossy(stdout), &mut out),
    }
    out.push_str(",\"stderr\":");
    quote(&String::from_utf8_lossy(stderr), &mut out);
    out.push('}');
    if out.len() > limit {
        return Err(too_large("the output", limit));
    }
    Json::trusted(out).map_err(|fault| output_invalid(fault.to_string()))
}

fn nonzero(name: &str, status: ExitStatus, stderr: &str) -> Failure {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    };
    let said = tail(stderr, MAX_TAIL);
    let separator = if said.is_empty() { "" } else { ": " };
    let message = format!("{name} ended with {how}{separator}{said}");
    Failure::recoverable(codes::EXIT_NONZERO, Category::Step, message)
}

fn json(name: &str, stdout: &[u8]) -> Result<Json, Failure> {
    let broken = |why: String| output_invalid(format!("what {name} wrote is not JSON: {why}"));
    let text = std::str::from_utf8(stdout).map_err(|fault| broken(fault.to_string()))?;
    Json::parse(text).map_err(|fault| broken(fault.to_string()))
}

fn lines(text: &str, out: &mut String) {
    out.push('[');
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            out.push(',');
        }
        quote(line, out);
    }
    out.push(']');
}
