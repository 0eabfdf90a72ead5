//! Takes messages out of a thread's inbox, in the same append as the events that they lead to.

use serde::{Deserialize, Serialize};

use super::commit::Commit;
use super::driver::Driver;
use crate::machine::{Actor, Command, Rejection, Request, Resume};
use crate::model::{Json, Seq, StepId, ThreadStatus};
use crate::runtime::lease::stood::Stood;
use crate::store::Message;

/// The key prefix of messages that report a worker stuck in the thread. The incarnation's number
/// follows, so a thread gets at most one such message of each incarnation.
pub(in crate::runtime) const STOOD_KEY: &str = "stood:";

/// The author of these reports, as people see it.
pub(in crate::runtime) const REPORTER: &str = "rethread";

/// The body of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::runtime) enum MessageBody {
    /// A request of a person or a client.
    Request {
        request: Request<StepId>,
        actor: Actor,
        /// The version of the thread that the caller saw.
        if_match: Option<Seq>,
    },
    /// The watchdog's report: a worker of a replica was stuck in the thread.
    Stood(Stood),
}

/// Returns the record of a stuck worker, if the message is one.
pub(in crate::runtime) fn stood(message: &Message) -> Option<Stood> {
    let body = message.key.starts_with(STOOD_KEY).then(|| message.body.decode::<MessageBody>());
    match body?.ok()? {
        MessageBody::Stood(stood) => Some(stood),
        MessageBody::Request { .. } => None,
    }
}

/// The owner's answer to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::runtime) enum Answer {
    /// Done: the thread's status and head afterwards.
    Done { status: ThreadStatus, last_seq: Seq },
    /// The machine refuses it.
    Refused(Rejection),
    /// Somebody else acted first.
    Changed { last_seq: Seq },
    /// The message cannot be read by this version.
    Unreadable,
}

/// Reads the inbox and decides every message in it. `taken_over` is the journal's head before this
/// commit's takeover. Nobody has acted since, so a request whose `if_match` is that head passes.
pub(in crate::runtime) async fn take(
    driver: &mut Driver,
    commit: &mut Commit,
    taken_over: Option<Seq>,
) {
    let mut messages = match driver.core.store().inbox(&driver.state.thread_id).await {
        Ok(messages) => messages,
        Err(error) => {
            // The messages stay in the inbox; the next append or look reports them again.
            driver.core.availability.failed("the look into an inbox", &error);
            tokio::time::sleep(crate::runtime::settings::POLL_INTERVAL).await;
            return;
        }
    };
    driver.mail = false;
    let taken_over = taken_over.map(|before| (before, driver.state.last_seq));
    messages.retain(|message| !commit.takes(&message.key));
    // Reports of stuck workers go first: any other message may lead to the work they get stuck in.
    messages.sort_by_key(|message| stood(message).is_none());
    for message in messages {
        let answer = match message.body.decode::<MessageBody>() {
            Ok(MessageBody::Stood(stood)) => condemned(driver, stood, commit).await,
            Ok(MessageBody::Request { request, actor, if_match }) => {
                let head = driver.state.last_seq;
                let seen = if_match.filter(|&seen| taken_over != Some((seen, head)));
                if seen.is_some_and(|seen| seen != head) {
                    Answer::Changed { last_seq: head }
                } else {
                    answer(driver, request, actor, commit).await
                }
            }
            Err(error) => {
                tracing::error!(thread = %driver.state.thread_id, %error, "unreadable message");
                Answer::Unreadable
            }
        };
        let answer = Json::of(&answer).unwrap_or_else(|_| Json::null());
        commit.answer(message.key, answer);
        // Hundreds of messages are no one piece of work for their worker.
        tokio::task::yield_now().await;
    }
}

/// Takes the reports of stuck workers, once the thread is paused. They must not be read again after
/// a person has decided, however many other messages there are.
pub(in crate::runtime) async fn take_stood(driver: &Driver, commit: &mut Commit) {
    let state = &driver.state;
    let told = driver.core.store().inbox_of(&state.thread_id, STOOD_KEY).await;
    let told = told.unwrap_or_else(|error| {
        driver.core.availability.failed("the look into an inbox", &error);
        Vec::new()
    });
    for message in told {
        let done = Answer::Done { status: state.status, last_seq: state.last_seq };
        commit.answer(message.key, Json::of(&done).unwrap_or_else(|_| Json::null()));
    }
}

async fn answer(
    driver: &mut Driver,
    request: Request<StepId>,
    actor: Actor,
    commit: &mut Commit,
) -> Answer {
    let request = match request.placed(&driver.state.plan) {
        Ok(request) => request,
        Err(rejection) => return Answer::Refused(rejection),
    };
    let wakes = request == Request::Resume(Resume::default());
    match driver.core.decide(&mut driver.state, Command::Request(request, actor)).await {
        Ok(decided) => {
            driver.unfinished |= decided.unfinished;
            commit.add(decided);
            Answer::Done { status: driver.state.status, last_seq: driver.state.last_seq }
        }
        // It was kept away, and the resume has started it.
        Err(Rejection::WrongState(status)) if wakes && driver.suspect.is_some() => {
            Answer::Done { status, last_seq: driver.state.last_seq }
        }
        Err(rejection) => Answer::Refused(rejection),
    }
}

/// Pauses a thread that a worker was stuck in, unless its adoption did so.
async fn condemned(driver: &mut Driver, stood: Stood, commit: &mut Commit) -> Answer {
    if driver.state.status != ThreadStatus::Paused {
        driver.decide(Command::Condemn { takeover: None, stood: stood.time() }, commit).await;
    }
    Answer::Done { status: driver.state.status, last_seq: driver.state.last_seq }
}
