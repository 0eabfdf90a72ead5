//! Causes around a thread: its owner, the owner's lease, the queue, the inbox.

use std::time::Duration;

use serde_json::json;

use super::case::Case;
use super::facts::{Facts, Hands};
use super::format::{at, list, since, span};
use crate::contract::{Advice, Cause, CauseKind, Operation};
use crate::machine::ThreadState;
use crate::model::{Timestamp, signed_millis};

/// The name of a signal that nothing waits for: the replica that takes it looks at the whole
/// thread.
const NUDGE: &str = "rethread-look";

/// Returns the causes that hold the thread up whatever its steps wait for. A thread that has ended
/// has at most the one that it cannot be read.
pub(super) fn causes(state: Option<&ThreadState>, facts: &Facts) -> Vec<Cause> {
    let status = state.map_or(facts.status, |state| state.status);
    let mut causes = Vec::new();
    if state.is_none() {
        causes.push(unreadable(facts));
    }
    if status.is_terminal() {
        return causes;
    }
    if !facts.mail.is_empty() {
        causes.push(mail(facts));
    }
    match &facts.hands {
        Hands::Here => causes.extend(driver(facts)),
        Hands::TakenUpHere => causes.push(taking_up(facts)),
        Hands::Elsewhere { replica, lease_until, silent } => {
            let late = silent.map(|silent| late(facts, replica, (*lease_until, silent)));
            causes.extend(late);
        }
        Hands::Lost { replica, since } => causes.push(lost(facts, replica.as_deref(), *since)),
        Hands::Nobody => causes.extend(state.and_then(|state| nobody(&Case { state, facts }))),
    }
    causes
}

/// Explains that the thread cannot be rebuilt from what is stored.
fn unreadable(facts: &Facts) -> Cause {
    let why = facts.unreadable.as_deref().or(facts.failed_recovery.as_deref());
    let why = why.unwrap_or("it is not said why");
    let again = facts.wake_at.filter(|_| facts.hands == Hands::Nobody);
    let tried = again
        .map_or_else(String::new, |due| format!("; a replica tries again {}", at(due, facts.now)));
    let tried_again = !facts.status.is_terminal();
    let cause = Cause::new(
        CauseKind::Unreadable,
        format!("The thread cannot be rebuilt from what is stored: {why}{tried}."),
        "whoever repairs what is stored (`rethread verify` names it), or a server of a version that \
         can read it; it is tried again by itself",
    )
    .since(Some(facts.updated_at))
    .detail(json!({ "error": why, "triedAgainAt": again }));
    // Nobody goes on with a thread that has ended, so nobody tries again.
    if tried_again { cause.by_itself(again) } else { cause }
}

/// Explains what keeps the answering replica, which drives the thread, from going on.
fn driver(facts: &Facts) -> Option<Cause> {
    let name = &facts.replica.name;
    if !facts.replica.holds {
        return Some(
            Cause::new(
                CauseKind::Authority,
                format!(
                    "Replica {name} drives it, and its heartbeats do not reach the store: it starts \
                     nothing until they do."
                ),
                "the store's answer: the replica goes on, or registers anew, or another takes over",
            )
            .by_itself(None)
            .detail(json!({ "replica": name })),
        );
    }
    facts.replica.draining.then(|| {
        Cause::new(
            CauseKind::Shutdown,
            format!(
                "Replica {name} drives it and is shutting down: it starts nothing more, and gives \
                 the thread back when its attempts have ended."
            ),
            "another replica, or this one's next start, takes the thread",
        )
        .by_itself(None)
        .detail(json!({ "replica": name, "otherReplicas": facts.replicas.saturating_sub(1) }))
    })
}

fn taking_up(facts: &Facts) -> Cause {
    let name = &facts.replica.name;
    if let Some(losses) = facts.waits {
        let lost = match losses {
            1 => "One replica was lost while it was at work".to_owned(),
            more => format!("{more} replicas were lost while it was at work"),
        };
        return Cause::new(
            CauseKind::TakingUp,
            format!(
                "{lost}, so it may be what ends them: replica {name} starts it apart from others, \
                 within half a minute."
            ),
            "its turn; a resume starts it at once",
        )
        .by_itself(None)
        .detail(json!({ "replica": name, "losses": losses }));
    }
    Cause::new(
        CauseKind::TakingUp,
        format!("Replica {name} has claimed it and is about to take it up."),
        "the replica, as soon as it has loaded the thread",
    )
    .by_itself(None)
    .detail(json!({ "replica": name, "claims": facts.claims }))
}

/// Explains that the owner should have renewed its lease.
fn late(facts: &Facts, replica: &str, (lease_until, silent): (Timestamp, Duration)) -> Cause {
    let heirs = facts.replicas.saturating_sub(1);
    Cause::new(
        CauseKind::Lease,
        format!(
            "Replica {replica} owns it and has not been heard of for {}; if it stays silent, \
             another replica takes over {}.",
            span(silent),
            at(lease_until, facts.now)
        ),
        "the replica's next heartbeat, or the end of its lease: then another replica takes over",
    )
    .since(Some(Timestamp::from_millis(facts.now.millis().saturating_sub(signed_millis(silent)))))
    .by_itself(Some(lease_until))
    .detail(json!({ "replica": replica, "leaseUntil": lease_until, "otherReplicas": heirs }))
}

/// Explains that the owner is lost.
fn lost(facts: &Facts, replica: Option<&str>, gone: Option<Timestamp>) -> Cause {
    let actor = replica.map_or_else(
        || "The replica that owned it is gone".to_owned(),
        |name| format!("Replica {name} owned it, and its lease has run out"),
    );
    Cause::new(
        CauseKind::Lease,
        format!("{actor}{}; it waits for {}.", since(gone, facts.now), taker(facts)),
        "any replica with room takes it over",
    )
    .since(gone)
    .by_itself(None)
    .detail(json!({ "replica": replica, "leaseUntil": gone, "replicas": facts.replicas,
                    "driving": facts.replica.driving, "maxRunning": facts.replica.max_running }))
}

/// Names the replicas that could take a thread, and says what keeps the answering one from it.
fn taker(facts: &Facts) -> String {
    let Facts { replica, replicas, .. } = facts;
    let others = replicas.saturating_sub(u32::from(replica.holds));
    let here = if !replica.holds {
        format!("{} cannot reach the store with its heartbeats", replica.name)
    } else if replica.draining {
        format!("{} is shutting down", replica.name)
    } else if replica.full && replica.driving >= replica.max_running {
        format!("{} drives {} threads, as many as it may", replica.name, replica.driving)
    } else if replica.full {
        format!("{} has no memory for more of its namespace", replica.name)
    } else {
        return format!("{} or another replica to take it, which is due now", replica.name);
    };
    let others = match others {
        0 => "no other replica is alive".to_owned(),
        1 => "one other replica is alive".to_owned(),
        more => format!("{more} other replicas are alive"),
    };
    format!("a replica with room: {here}, and {others}")
}

/// Explains why a thread that nobody owns stands still; `None` if its steps tell.
fn nobody(case: &Case<'_>) -> Option<Cause> {
    let Case { state, facts } = case;
    match facts.wake_at {
        Some(due) if due <= facts.now => Some(queued(facts, due)),
        Some(due) if facts.failed_recovery.is_some() || state.next_wake() != Some(due) => {
            Some(set_aside(facts, due))
        }
        None if case.is_ready() || state.has_running() || state.next_wake().is_some() => {
            Some(stranded(facts))
        }
        Some(_) | None => None,
    }
}

/// Explains that the thread is due and that no replica has taken it.
fn queued(facts: &Facts, due: Timestamp) -> Cause {
    let before = match facts.ahead {
        0 => "it is the next".to_owned(),
        1 => "one thread is before it".to_owned(),
        more => format!("{more} threads are before it"),
    };
    Cause::new(
        CauseKind::Queued,
        format!("It is due since {due} and waits for {}; {before}.", taker(facts)),
        "a place on a replica: a thread there ends or is parked, RETHREAD_MAX_RUNNING is raised, or \
         another replica is started",
    )
    .since(Some(due))
    .by_itself(None)
    .detail(json!({ "ahead": facts.ahead, "replicas": facts.replicas, "dueAt": due,
                    "driving": facts.replica.driving, "maxRunning": facts.replica.max_running }))
}

/// Explains that the thread was released until a moment.
fn set_aside(facts: &Facts, until: Timestamp) -> Cause {
    let why = match (&facts.failed_recovery, facts.claims) {
        (Some(detail), _) => format!("Its last recovery failed ({detail}), and it rests"),
        (None, 0) => "Its last replica could not go on with it and has set it aside".to_owned(),
        (None, 1) => {
            "It was lost with its replica, and rests before it is taken up again".to_owned()
        }
        (None, more) => format!(
            "It was lost with {more} replicas since it last got on, and rests before it is taken up \
             again"
        ),
    };
    let nudge =
        nudge(facts, "sends a signal that nothing waits for: a replica takes the thread up now");
    Cause::new(
        CauseKind::SetAside,
        format!("{why}: a replica claims it {}.", at(until, facts.now)),
        "its time: a replica claims it then, or as soon as a message comes",
    )
    .by_itself(Some(until))
    .advice(Some(nudge))
    .detail(json!({ "losses": facts.claims, "claimedAt": until, "error": facts.failed_recovery }))
}

/// Explains that nobody drives the thread, that it could go on, and that nothing wakes it. No known
/// path leads here.
fn stranded(facts: &Facts) -> Cause {
    let does = "sends a signal that nothing waits for: a replica takes the thread up to read it";
    Cause::new(
        CauseKind::Stranded,
        "Nobody drives it, it could go on, and it has no time at which it would be claimed."
            .to_owned(),
        "nothing by itself; any message to it",
    )
    .since(Some(facts.updated_at))
    .advice(Some(nudge(facts, does)))
}

fn nudge(facts: &Facts, does: &str) -> Advice {
    Advice::new(&facts.thread_id, Operation::Signal { name: NUDGE.to_owned() }, does)
}

/// Explains that the inbox has messages that were not taken yet.
fn mail(facts: &Facts) -> Cause {
    let asked: Vec<String> =
        facts.mail.iter().map(|letter| format!("{} by {}", letter.asks, letter.by)).collect();
    let letters: Vec<_> =
        facts.mail.iter().map(|letter| json!({ "asks": letter.asks, "by": letter.by })).collect();
    Cause::new(
        CauseKind::Mail,
        format!("In its inbox, not taken yet: {}.", list(&asked)),
        "whoever drives it takes it with its next append, or the replica that claims it",
    )
    .by_itself(None)
    .detail(json!({ "messages": letters }))
}
