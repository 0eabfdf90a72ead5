//! The action of a step, and all that follows from its kind alone: a new kind is answered for here.

use super::{Filter, Template};

/// What a step does, as far as it is known before its templates are filled in.
#[derive(Debug)]
pub enum Action {
    /// An HTTP request.
    Http,
    /// A program. Its name is literal: never from a template.
    Exec {
        /// The program's name, as the allow-list has it.
        program: String,
        /// The variables that its `env` names, in the order they were written; none if all of
        /// `env` is a template.
        variables: Vec<String>,
    },
    /// A jq filter over the step's `with` (its `from`, or the whole scope).
    Transform {
        /// The compiled filter.
        filter: Filter,
    },
    /// A wait: an attempt that nobody works at.
    Wait(Wait),
}

/// What a step waits for.
#[derive(Debug)]
pub enum Wait {
    /// A time.
    Sleep,
    /// A payload that somebody sends.
    Signal,
    /// A person's decision.
    Approval {
        /// The callers who may answer (`approvers`, `notBy`), if it says so: these members of its `with` alone,
        /// which are known before all that it asks is.
        terms: Option<Template>,
    },
}

impl Action {
    /// Returns the name of the kind, as workflows write it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Exec { .. } => "exec",
            Self::Transform { .. } => "transform",
            Self::Wait(Wait::Sleep) => "sleep",
            Self::Wait(Wait::Signal) => "signal",
            Self::Wait(Wait::Approval { .. }) => "approval",
        }
    }

    /// Returns whether an attempt opens files of this process, sockets and pipes included.
    pub const fn opens_files(&self) -> bool {
        match self {
            Self::Http | Self::Exec { .. } => true,
            Self::Transform { .. } | Self::Wait(_) => false,
        }
    }

    /// Returns whether an attempt runs a program, which takes memory of its own.
    pub const fn runs_program(&self) -> bool {
        match self {
            Self::Exec { .. } => true,
            Self::Http | Self::Transform { .. } | Self::Wait(_) => false,
        }
    }

    /// Returns about how many bytes its compiled parts take in memory.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Transform { filter } => filter.weight(),
            Self::Http | Self::Exec { .. } | Self::Wait(_) => 0,
        }
    }

    /// Returns the wait of a step that waits instead of being worked at.
    pub const fn wait(&self) -> Option<&Wait> {
        if let Self::Wait(wait) = self { Some(wait) } else { None }
    }

    /// Returns whether steps of this kind wait instead of being worked at.
    pub const fn waits(&self) -> bool {
        self.wait().is_some()
    }

    /// Returns whether it asks a person.
    pub const fn asks(&self) -> bool {
        matches!(self, Self::Wait(Wait::Approval { .. }))
    }
}
