//! What replicas tell each other beside the data: hints, nothing more.
//!
//! Whoever acts on a hint looks into the store first, and whoever hears none looks there now and
//! then: a lost, late, repeated or foreign hint may cost time and nothing else.

use crate::model::{Incarnation, Seq, ThreadId};

/// A hint for the other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A thread's journal has come to this event.
    Head(ThreadId, Seq),
    /// A thread has a message: whoever drives it should look into its inbox.
    Mail(ThreadId),
    /// Threads are due that the sender does not take itself.
    Work,
    /// Somebody follows threads at the sender that it does not drive: heads are welcome.
    Followers,
}

/// What [`super::Store::hear`] brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Hints of an incarnation; one's own come back as well.
    News {
        /// Who sent them.
        from: Incarnation,
        /// What it said.
        news: Vec<News>,
    },
    /// From now on hints are heard (again); what was said before is lost: look everywhere.
    Anew,
}

/// How the lease of a lost incarnation came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its session with the database ended before its lease: the process is gone.
    SessionEnded,
    /// Its lease ran out while its session was open: the process stands still.
    Frozen,
    /// Its lease ran out, and nothing else is known.
    Silent,
}

impl Loss {
    /// The name it is stored under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionEnded => "session_ended",
            Self::Frozen => "frozen",
            Self::Silent => "silent",
        }
    }

    /// The loss of this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::SessionEnded, Self::Frozen, Self::Silent]
            .into_iter()
            .find(|loss| loss.as_str() == name)
    }
}
