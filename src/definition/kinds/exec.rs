//! `exec`: a program, started without a shell.
//!
//! - `program` (its name, literal: which program runs is never decided by data)
//! - `args`, `env` (an object), each value a string, number or boolean; `stdin`, `cwd` (text).
//!   Which variables a server passes on is its [`VariablePolicy`](super::super::VariablePolicy).
//! - `parse` (`text` unless given): what its standard output is read as: `text`, `json` or `lines`

use super::members::{is_open, map, scalar, word};
use super::{Kind, Reads};
use crate::definition::Action;
use crate::definition::parse::Fields;
use crate::model::{Faults, Node};

pub(super) const KIND: Kind = Kind {
    name: "exec",
    fields: &["program", "args", "stdin", "env", "cwd", "parse"],
    reads: Reads::With,
    shows_life: true,
    check,
};

fn check(with: &Fields<'_>, faults: &mut Faults) -> Option<Action> {
    let args_at = with.at().key("args");
    match with.get("args") {
        None => {}
        Some(Node::String(text)) if is_open(text) => {}
        Some(_) => {
            for (index, item) in with.list("args", faults).unwrap_or_default().iter().enumerate() {
                scalar(item, &args_at.index(index), faults);
            }
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
    let at = with.at().key("program");
    with.require("program", faults);
    let program = with.text("program", faults)?;
    if is_open(program) {
        faults.add(&at, "program is literal: no template may choose what runs");
    } else if program.is_empty() || program.contains('\0') {
        faults.add(&at, "program is the name of a program");
    }
    Some(Action::Exec { program: program.to_owned(), variables })
}
