//! What is known about a thread besides its state.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::definition::StepIx;
use crate::model::{Seq, ThreadId, ThreadStatus, Timeouts, Timestamp};

/// What the runtime has found out, at one moment.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The thread.
    pub thread_id: ThreadId,
    /// Where it stands, by its row.
    pub status: ThreadStatus,
    /// The head of its journal, by its row.
    pub last_seq: Seq,
    /// When its last event was written.
    pub updated_at: Timestamp,
    /// The time.
    pub now: Timestamp,
    /// Who answers.
    pub replica: Answering,
    /// Whose hands it is in.
    pub hands: Hands,
    /// When it wants to be claimed, by its row.
    pub wake_at: Option<Timestamp>,
    /// How often it was taken from a lost replica since it last got on.
    pub claims: u32,
    /// Replicas whose lease holds.
    pub replicas: u32,
    /// Threads that are claimed before it.
    pub ahead: usize,
    /// What lies in its inbox, oldest first.
    pub mail: Vec<Letter>,
    /// Why it could not be rebuilt just now.
    pub unreadable: Option<String>,
    /// Why its last recovery failed, if nothing has happened since.
    pub failed_recovery: Option<String>,
    /// What the answering replica knows of the targets of steps that wait for their next attempt,
    /// by the step's position.
    pub circuits: BTreeMap<StepIx, KnownCircuit>,
    /// How long ago attempts under way on the answering replica have shown their last sign of life,
    /// by the step's position; of those that are ended when they fall silent.
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
    /// Threads that it drives.
    pub driving: usize,
    /// Threads that it may drive.
    pub max_running: usize,
    /// What it multiplies bounds of work by.
    pub timeouts: Timeouts,
}

/// Whose hands a thread is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hands {
    /// Nobody's: it is claimed when it is due, or when a message comes.
    Nobody,
    /// The answering replica drives it.
    Here,
    /// The answering replica owns it and does not drive it yet.
    TakenUpHere,
    /// Another replica owns it, and its lease holds.
    Elsewhere {
        /// Its name.
        replica: String,
        /// Until when its lease holds if it is not renewed.
        lease_until: Timestamp,
        /// How long it has not renewed it, if that is longer than it should be.
        silent: Option<Duration>,
    },
    /// The lease of the replica that owns it has run out.
    Lost {
        /// Its name, if it is still known.
        replica: Option<String>,
        /// When the lease ran out, if that is known.
        since: Option<Timestamp>,
    },
}

/// A message that waits in a thread's inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// What it asks for.
    pub asks: &'static str,
    /// Who sent it.
    pub by: String,
}

/// What a replica knows of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCircuit {
    /// What its circuit is called.
    pub key: String,
    /// `closed`, `open` or `half_open`; `None` if this replica has not called it.
    pub state: Option<&'static str>,
    /// Failures in a row.
    pub failures: u32,
    /// When it opened.
    pub opened_at: Option<Timestamp>,
    /// When it lets a probe through.
    pub retry_at: Option<Timestamp>,
    /// Until when the target wants to be left alone.
    pub cools_until: Option<Timestamp>,
}

impl Facts {
    /// Whether somebody who lives drives the thread.
    pub(super) fn is_driven(&self) -> bool {
        match &self.hands {
            Hands::Here => self.replica.holds,
            Hands::Elsewhere { silent, .. } => silent.is_none(),
            Hands::Nobody | Hands::TakenUpHere | Hands::Lost { .. } => false,
        }
    }

    /// The name of the replica that owns the thread.
    pub(super) fn owner(&self) -> Option<String> {
        match &self.hands {
            Hands::Here | Hands::TakenUpHere => Some(self.replica.name.clone()),
            Hands::Elsewhere { replica, .. } => Some(replica.clone()),
            Hands::Lost { replica, .. } => replica.clone(),
            Hands::Nobody => None,
        }
    }
}
