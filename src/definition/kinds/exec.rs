//! `exec`: a program, started without a shell.
//!
//! Which variables a server passes on is its [`VariablePolicy`](super::super::VariablePolicy).

use super::members::{is_open, is_template, map, scalar, word};
use super::{Kind, Reads};
use crate::contract::Fields;
use crate::definition::Action;
use crate::model::Faults;

pub(super) const KIND: Kind = Kind {
    name: "exec",
    about: "a program, started without a shell",
    members: &[
        ("program", "its name, without a template: data never decides which program runs"),
        ("args", "a list; an item is a string, number or boolean"),
        ("stdin", "text"),
        ("env", "an object; a value is a string, number or boolean"),
        ("cwd", "the folder it runs in"),
        ("parse", "what its standard output is read as: `text` unless given, `json` or `lines`"),
    ],
    reads: Reads::With,
    shows_life: true,
    check,
};

fn check(with: &Fields<'_>, faults: &mut Faults) -> Option<Action> {
    if !with.get("args").is_some_and(is_template) {
        let at = with.at().key("args");
        for (index, item) in with.list("args", faults).into_iter().flatten().enumerate() {
            scalar(item, &at.index(index), faults);
        }
    }
    let mut variables = Vec::new();
    map(with, "env", faults, |name, value, at, faults| {
        variables.push(name.to_owned());
        if name.is_empty() || name.contains(['=', '\0']) {
            faults.add(at, "not the name of an environment variable");
        }
        scalar(value, at, faults);
    });
    with.text("stdin", faults);
    with.text("cwd", faults);
    word(with, "parse", &["text", "json", "lines"], faults);
    with.require("program", faults);
    let program = with.text("program", faults)?;
    if is_open(&program) {
        with.fault("program", "program is literal: no template may choose what runs", faults);
    } else if program.is_empty() || program.contains('\0') {
        with.fault("program", "program is the name of a program", faults);
    }
    Some(Action::Exec { program: program.into_owned(), variables })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::definition::testing::assert_with;

    #[test]
    fn its_with_is_checked() {
        assert_with(
            "exec",
            &[
                (json!({"program": "ls"}), &[]),
                (
                    json!({"program": "ls", "args": "{input}", "env": {"A": "{secrets.A}", "B": 1}, "stdin": "x", "cwd": "/", "parse": "json"}),
                    &[],
                ),
                (json!({}), &[""]),
                (json!({"program": "{input.p}"}), &["/program"]),
                (json!({"program": ["ls"]}), &["/program"]),
                (
                    json!({"program": "", "args": "x", "env": {"A=B": "x", "C": null}, "stdin": 1, "cwd": 1, "parse": "yaml"}),
                    &["/args", "/env/A=B", "/env/C", "/stdin", "/cwd", "/parse", "/program"],
                ),
                (json!({"program": "ls", "args": ["a", null, {}]}), &["/args/1", "/args/2"]),
            ],
        );
    }
}
