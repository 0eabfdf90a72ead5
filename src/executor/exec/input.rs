//! The input of a program, from its step's `with`.

use std::path::PathBuf;

use crate::definition::VariablePolicy;
use crate::executor::text::{invalid, text_of};
use crate::model::{Failure, Json, Node};

/// The way in which a program's standard output is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parse {
    /// It is read as one string.
    Text,
    /// It is read as one JSON value.
    Json,
    /// It is read as an array of its lines.
    Lines,
}

/// The arguments, input and surroundings of a program.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) args: Vec<String>,
    pub(super) stdin: Option<Vec<u8>>,
    pub(super) env: Vec<(String, String)>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) parse: Parse,
}

impl Input {
    /// Reads an attempt's `with`. Where text is expected, strings are taken as they are and other
    /// values as compact JSON; a `null` in `env` is left out, and a `null` for `stdin` or `cwd`
    /// means none.
    pub(super) fn read(
        with: &Json,
        (program, policy): (&str, &VariablePolicy),
    ) -> Result<Self, Failure> {
        let with = Node::parse(with).map_err(invalid)?;
        let given = |name: &str| with.get(name).filter(|value| **value != Node::Null);
        Ok(Self {
            args: args(given("args"))?,
            stdin: given("stdin").map(|value| text_of(value).into_owned().into_bytes()),
            env: env(given("env"), (program, policy))?,
            cwd: cwd(given("cwd"))?,
            parse: parse(given("parse"))?,
        })
    }
}

fn args(node: Option<&Node>) -> Result<Vec<String>, Failure> {
    let items = match node {
        None => return Ok(Vec::new()),
        Some(Node::Array(items)) => items,
        Some(other) => return Err(invalid(format!("args is {}, not an array", other.type_name()))),
    };
    let argument = |item: &Node| without_nul("args", text_of(item).into_owned());
    items.iter().map(argument).collect()
}

fn env(
    node: Option<&Node>,
    rule: (&str, &VariablePolicy),
) -> Result<Vec<(String, String)>, Failure> {
    let members = match node {
        None => return Ok(Vec::new()),
        Some(Node::Object(members)) => members,
        Some(other) => return Err(invalid(format!("env is {}, not an object", other.type_name()))),
    };
    let given = members.iter().filter(|(_, value)| *value != Node::Null);
    given.map(|(name, value)| variable(name, value, rule)).collect()
}

/// Checks a variable, here as well as at the door: all of `env` may have been a template.
fn variable(
    name: &str,
    value: &Node,
    (program, policy): (&str, &VariablePolicy),
) -> Result<(String, String), Failure> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(invalid(format!("env: {name:?} is not the name of a variable")));
    }
    let value = without_nul("env", text_of(value).into_owned())?;
    match policy.refusal(program, name).or_else(|| policy.value_refusal(name, &value)) {
        Some(refusal) => Err(invalid(format!("env: {refusal}"))),
        None => Ok((name.to_owned(), value)),
    }
}

fn cwd(node: Option<&Node>) -> Result<Option<PathBuf>, Failure> {
    let Some(node) = node else { return Ok(None) };
    let Node::String(text) = node else {
        return Err(invalid(format!("cwd is {}, not a string", node.type_name())));
    };
    let path = PathBuf::from(without_nul("cwd", text.clone())?);
    if path.is_dir() { Ok(Some(path)) } else { Err(invalid("cwd is not a folder")) }
}

fn parse(node: Option<&Node>) -> Result<Parse, Failure> {
    match node.map(text_of).as_deref() {
        None | Some("text") => Ok(Parse::Text),
        Some("json") => Ok(Parse::Json),
        Some("lines") => Ok(Parse::Lines),
        Some(other) => Err(invalid(format!("parse is {other:?}, not text, json or lines"))),
    }
}

fn without_nul(what: &str, text: String) -> Result<String, Failure> {
    if text.contains('\0') {
        return Err(invalid(format!("{what} has a NUL character, which no program can be given")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Input, Failure> {
        Input::read(&Json::parse(text).map_err(invalid)?, ("cat", &VariablePolicy::default()))
    }

    #[test]
    fn what_is_not_text_is_given_as_compact_json() {
        let input = read(r#"{"args":["a b",1.10,true,null,{"k":[1, 2]}],"stdin":{"a":1},"env":{"A":7,"B":null}}"#).unwrap();
        assert_eq!(input.args, ["a b", "1.10", "true", "null", "{\"k\":[1,2]}"]);
        assert_eq!(input.stdin.unwrap(), b"{\"a\":1}");
        assert_eq!(input.env, [("A".to_owned(), "7".to_owned())]);
        assert_eq!((input.cwd, input.parse), (None, Parse::Text));
    }

    #[test]
    fn what_no_program_can_be_given_is_refused_for_good() {
        for bad in [
            r#"{"args":"-l"}"#,
            r#"{"args":["a\u0000b"]}"#,
            r#"{"env":["A=1"]}"#,
            r#"{"env":{"A=B":"1"}}"#,
            r#"{"env":{"":"1"}}"#,
            r#"{"env":{"LD_PRELOAD":"/tmp/x.so"}}"#,
            r#"{"env":{"BASH_ENV":"/tmp/x"}}"#,
            r#"{"env":{"MINE":"() { :; }; id"}}"#,
            r#"{"cwd":"/no/such/folder"}"#,
            r#"{"cwd":7}"#,
            r#"{"parse":"xml"}"#,
        ] {
            let failure = read(bad).unwrap_err();
            assert_eq!(
                (failure.code.as_str(), failure.recoverable),
                ("invalid_configuration", false),
                "{bad}"
            );
        }
    }
}
