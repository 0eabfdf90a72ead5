//! The properties of a program that can be found before it runs.

use std::collections::BTreeSet;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Part, Path};

use super::{natives, regex};

/// The functions that repeat or follow paths without a bound: the values that they hold are dropped
/// recursively.
const DEEP: [&str; 8] =
    ["recurse", "repeat", "while", "until", "path", "paths", "path_value", "pick"];

/// The findings about a program.
#[derive(Debug, Default)]
pub(super) struct Survey<'a> {
    /// Whether the program needs a thread of its own: it may need a large stack, or searches with
    /// regular expressions.
    pub(super) apart: bool,
    /// The faults of the program.
    pub(super) faults: Vec<String>,
    /// The names that the program calls, its own definitions among them.
    pub(super) calls: BTreeSet<&'a str>,
    /// The number of terms.
    pub(super) terms: usize,
    /// The enclosing definitions: the name, the number of arguments, and whether one of them is a
    /// filter.
    open: Vec<(&'a str, usize, bool)>,
}

impl<'a> Survey<'a> {
    /// Surveys a program. It is recursive and needs a thread with a large stack.
    pub(super) fn of(term: &'a Term<&'a str>) -> Self {
        let mut survey = Self::default();
        survey.term(term);
        survey
    }

    fn term(&mut self, term: &'a Term<&'a str>) {
        self.terms += 1;
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
            Term::Str(format, parts) => {
                self.calls.extend(format);
                self.parts(parts);
            }
            Term::Arr(inner) => {
                if let Some(inner) = inner {
                    self.term(inner);
                }
            }
            Term::Obj(pairs) => {
                for (key, value) in pairs {
                    self.term(key);
                    if let Some(value) = value {
                        self.term(value);
                    }
                }
            }
            Term::Neg(inner) | Term::Label(_, inner) => self.term(inner),
            Term::BinOp(left, op, right) => {
                if let BinaryOp::Pipe(Some(pattern)) = op {
                    self.pattern(pattern);
                }
                self.term(left);
                self.term(right);
            }
            Term::Fold(_, over, pattern, bodies) => {
                self.term(over);
                self.pattern(pattern);
                for body in bodies {
                    self.term(body);
                }
            }
            Term::TryCatch(inner, catch) => {
                self.term(inner);
                if let Some(catch) = catch {
                    self.term(catch);
                }
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, branch) in branches {
                    self.term(condition);
                    self.term(branch);
                }
                if let Some(branch) = otherwise {
                    self.term(branch);
                }
            }
            Term::Def(defs, rest) => {
                for def in defs {
                    self.def(def);
                }
                self.term(rest);
            }
            Term::Call(name, args) => self.call(name, args),
            Term::Path(of, path) => {
                self.term(of);
                self.path(path);
            }
        }
    }

    fn path(&mut self, path: &'a Path<Term<&'a str>>) {
        self.terms += path.0.len();
        for (part, _) in &path.0 {
            match part {
                Part::Index(index) => self.term(index),
                Part::Range(from, to) => {
                    for end in from.iter().chain(to) {
                        self.term(end);
                    }
                }
            }
        }
    }

    fn parts(&mut self, parts: &'a [StrPart<&'a str, Term<&'a str>>]) {
        self.terms += parts.len();
        for part in parts {
            match part {
                StrPart::Term(term) => self.term(term),
                StrPart::Str(_) | StrPart::Char(_) => {}
            }
        }
    }

    fn pattern(&mut self, pattern: &'a Pattern<&'a str>) {
        match pattern {
            Pattern::Var(_) => {}
            Pattern::Arr(patterns) => {
                for inner in patterns {
                    self.pattern(inner);
                }
            }
            Pattern::Obj(pairs) => {
                for (key, inner) in pairs {
                    self.term(key);
                    self.pattern(inner);
                }
            }
        }
    }

    fn def(&mut self, def: &'a Def<&'a str>) {
        let filters = def.args.iter().any(|arg| !arg.starts_with('$'));
        self.open.push((def.name, def.args.len(), filters));
        self.term(&def.body);
        self.open.pop();
    }

    fn call(&mut self, name: &'a str, args: &'a [Term<&'a str>]) {
        self.calls.insert(name);
        if natives::is_guarded(name) {
            self.faults.push(format!("undefined filter {name}/{}", args.len()));
        }
        let around =
            self.open.iter().find(|(open, arity, _)| *open == name && *arity == args.len());
        if let Some((_, _, filters)) = around {
            self.apart = true;
            if *filters {
                self.faults.push(format!(
                    "{name}/{} calls itself: the parameters of such a definition are values, written $name",
                    args.len()
                ));
            }
        }
        self.apart |= DEEP.contains(&name) || regex::is_made_of(name, args.len());
        for arg in args {
            self.term(arg);
        }
    }
}
