//! Fuzz test: the output of a program becomes a bounded output of the step, or a failure that is
//! fit to be shown.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use super::capture::Capture;
use super::input::Parse;
use super::outcome::{Finished, output};
use crate::executor::Redactor;
use crate::fuzz::fuzz;
use crate::model::{Json, Node};

/// The limit of an output in this test, in bytes.
const LIMIT: usize = 4096;
/// The longest message of a failure, in characters: the tail with each character escaped, and the
/// text around it.
const MAX_MESSAGE: usize = 1000 * 10 + 500;
/// A secret that the program was given, and repeats.
const SECRET: &str = "qX7-given-to-the-program";

#[test]
fn any_bytes_of_a_program_are_an_output_in_its_limit_or_a_failure_fit_to_be_shown() {
    let tokens = [SECRET, "\u{1b}[2J", "\r\n", "\u{202e}", "json", "lines", "256", "9"];
    let redactor = Redactor::new([("TOKEN", SECRET)]);
    fuzz("program", &tokens, |bytes| {
        // The parse mode, the wait status, and standard output; a NUL before standard error.
        let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
        let parse = match parts.next() {
            Some(b"json") => Parse::Json,
            Some(b"lines") => Parse::Lines,
            _ => Parse::Text,
        };
        let status = parts.next().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let written = parts.next().unwrap_or_default();
        let mut outputs = written.splitn(2, |byte| *byte == 0).map(<[u8]>::to_vec);
        let (stdout, stderr) =
            (outputs.next().unwrap_or_default(), outputs.next().unwrap_or_default());
        let finished = Finished {
            status: ExitStatus::from_raw(status.unwrap_or(0)),
            written: Capture::of(stdout.clone(), stderr),
        };
        match output("p", &finished, parse, (LIMIT, &redactor)) {
            Ok(json) => {
                assert!(finished.status.success() && json.as_str().len() <= LIMIT);
                assert_eq!(Json::parse(json.as_str()).as_ref(), Ok(&json));
                let text = String::from_utf8_lossy(&stdout).into_owned();
                let said = Node::parse(&json).unwrap().get("stdout").cloned().unwrap();
                match parse {
                    Parse::Text => assert_eq!(said, Node::String(text)),
                    Parse::Json => {
                        assert_eq!(Node::parse(&Json::parse(&text).unwrap()).as_ref(), Ok(&said));
                    }
                    Parse::Lines => assert!(
                        matches!(said, Node::Array(lines) if lines.len() == text.lines().count())
                    ),
                }
                "an output".to_owned()
            }
            Err(failure) => {
                let message = failure.message;
                assert!(message.chars().count() <= MAX_MESSAGE, "{message}");
                assert!(!message.contains(char::is_control), "{message:?}");
                assert!(!message.contains(SECRET), "{message:?}");
                message
            }
        }
    });
}
