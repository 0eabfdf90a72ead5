//! A kind of step, as its row in the list of kinds says.

use crate::contract::Fields;
use crate::definition::Action;
use crate::model::Faults;

/// A kind of step.
pub(in crate::definition) struct Kind {
    /// Its name, as workflows write it.
    pub(in crate::definition) name: &'static str,
    /// The kind in a few words.
    pub(in crate::definition) about: &'static str,
    /// The members of its `with`, each with what it says.
    pub(in crate::definition) members: &'static [(&'static str, &'static str)],
    /// What of its `with` is a template.
    pub(in crate::definition) reads: Reads,
    /// Whether its attempts show signs of life that a `heartbeatTimeout` can wait for. What runs
    /// inside this server shows none.
    pub(in crate::definition) shows_life: bool,
    /// Checks the literal parts of its `with` and says what the step does.
    pub(in crate::definition) check: fn(&Fields<'_>, &mut Faults) -> Option<Action>,
}

/// What of a `with` is a template.
#[derive(Clone, Copy)]
pub(in crate::definition) enum Reads {
    /// All of it.
    With,
    /// All of it, and this member is a URL whose literal text says where it leads.
    Url(&'static str),
    /// All of it, and what it says ends up in the journal: no secrets in it.
    Journalled,
    /// Its `from` alone; the whole scope if there is none.
    From,
}
