//! Facts about a thread besides its state.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::definition::StepIx;
use crate::model::{Seq, ThreadId, ThreadStatus, Timeouts, Timestamp};

/// The facts that the runtime has found out, at one moment.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The thread.
    pub thread_id: ThreadId,
    /// Its status, by its row.
    pub status: ThreadStatus,
    /// The head of its journal, by its row.
    pub last_seq: Seq,
    /// The time at which its last event was written.
    pub updated_at: Timestamp,
    /// The time.
    pub now: Timestamp,
    /// The replica that answers.
    pub replica: Answering,
    /// The ownership of the thread.
    pub hands: Hands,
    /// The time from which it is due for a claim, by its row.
    pub wake_at: Option<Timestamp>,
    /// The number of times it was taken from a lost replica since it last got on.
    pub claims: u32,
    /// The replicas that were lost with it, if it waits for its turn on the answering one for that.
    pub waits: Option<u32>,
    /// The number of replicas whose lease holds.
    pub replicas: u32,
    /// The number of threads that are claimed before it.
    pub ahead: usize,
    /// The messages in its inbox, oldest first.
    pub mail: Vec<PendingMessage>,
    /// The reason for which it could not be rebuilt just now, if it could not.
    pub unreadable: Option<String>,
    /// The reason for which its last recovery failed, if nothing has happened since.
    pub failed_recovery: Option<String>,
    /// The circuits of steps that wait for their next attempt, as the answering replica knows them,
    /// by the step's position.
    pub circuits: BTreeMap<StepIx, KnownCircuit>,
    /// The time since the last sign of life of attempts under way on the answering replica, by the
    /// step's position; only for attempts that are ended when they fall silent.
    pub silences: BTreeMap<StepIx, Duration>,
}

/// The replica that answers.
#[derive(Debug, Clone)]
pub struct Answering {
    /// Its name.
    pub name: String,
    /// Whether it may drive threads now.
    pub holds: bool,
    /// Whether it is shutting down.
    pub draining: bool,
    /// The number of threads that it drives.
    pub driving: usize,
    /// The number of threads that it may drive.
    pub max_running: usize,
    /// Whether it has no room for another thread of this namespace.
    pub full: bool,
    /// Its timeouts of work, with their multiplier.
    pub timeouts: Timeouts,
}

/// The ownership of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hands {
    /// Nobody owns it: it is claimed when it is due, or when a message comes.
    Nobody,
    /// The answering replica drives it.
    Here,
    /// The answering replica owns it and does not drive it yet.
    TakenUpHere,
    /// Another replica owns it, and its lease holds.
    Elsewhere {
        /// Its name.
        replica: String,
        /// The end of its lease if that is not renewed.
        lease_until: Timestamp,
        /// The time since it renewed its lease, if that is longer than it should be.
        silent: Option<Duration>,
    },
    /// The lease of the replica that owns it has run out.
    Lost {
        /// Its name, if it is still known.
        replica: Option<String>,
        /// The time at which the lease ran out, if that is known.
        since: Option<Timestamp>,
    },
}

/// A message that waits in a thread's inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMessage {
    /// The request that it carries.
    pub asks: &'static str,
    /// The name of its sender.
    pub by: String,
}

/// The circuit of a target, as a replica knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCircuit {
    /// The name of the circuit.
    pub key: String,
    /// `closed`, `open` or `half_open`; `None` if this replica has not called it.
    pub state: Option<&'static str>,
    /// The number of failures in a row.
    pub failures: u32,
    /// The time at which it opened.
    pub opened_at: Option<Timestamp>,
    /// The time from which it lets a probe through.
    pub retry_at: Option<Timestamp>,
    /// The time until which the target asked to be left alone.
    pub cools_until: Option<Timestamp>,
}

impl Facts {
    /// Returns whether a living replica drives the thread.
    pub(super) fn is_driven(&self) -> bool {
        match &self.hands {
            Hands::Here => self.replica.holds,
            Hands::Elsewhere { silent, .. } => silent.is_none(),
            Hands::Nobody | Hands::TakenUpHere | Hands::Lost { .. } => false,
        }
    }

    /// Returns the name of the replica that owns the thread.
    pub(super) fn owner(&self) -> Option<String> {
        match &self.hands {
            Hands::Here | Hands::TakenUpHere => Some(self.replica.name.clone()),
            Hands::Elsewhere { replica, .. } => Some(replica.clone()),
            Hands::Lost { replica, .. } => replica.clone(),
            Hands::Nobody => None,
        }
    }
}
