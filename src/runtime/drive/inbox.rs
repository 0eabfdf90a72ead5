//! Takes messages out of a thread's inbox, in the same append as the events that they lead to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::commit::Commit;
use super::driver::Driver;
use crate::machine::{self, Actor, Command, Rejection, Resume};
use crate::model::{Json, Role, Seq, StepId, StepStatus, ThreadStatus};
use crate::runtime::lease::stood::Stood;
use crate::store::Message;

/// The key prefix of messages that report a worker stuck in the thread. The incarnation's number
/// follows, so a thread gets at most one such message of each incarnation.
pub(in crate::runtime) const STOOD_KEY: &str = "stood:";

/// Returns the record of a stuck worker, if the message is one.
pub(in crate::runtime) fn stood(message: &Message) -> Option<Stood> {
    let letter = message.key.starts_with(STOOD_KEY).then(|| message.body.decode::<InboxMessage>());
    match letter?.ok()?.ask {
        InboxRequest::Stood(stood) => Some(stood),
        InboxRequest::Pause
        | InboxRequest::Resume
        | InboxRequest::ResumeWith { .. }
        | InboxRequest::Abort
        | InboxRequest::AbortWith { .. }
        | InboxRequest::Retry { .. }
        | InboxRequest::Skip { .. }
        | InboxRequest::Edit { .. }
        | InboxRequest::Signal { .. }
        | InboxRequest::Resolve { .. } => None,
    }
}

/// The body of a message: a request to the thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runtime) struct InboxMessage {
    /// The request.
    pub(in crate::runtime) ask: InboxRequest,
    /// The actor.
    pub(in crate::runtime) by: String,
    /// The reason.
    pub(in crate::runtime) reason: Option<String>,
    /// The version of the thread that the caller saw.
    pub(in crate::runtime) if_match: Option<Seq>,
    /// The person on whose behalf the caller acts, as the request says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::runtime) on_behalf_of: Option<String>,
    /// The role of the actor's key; absent where no key is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::runtime) role: Option<Role>,
}

/// A request that reaches a thread through its inbox; steps are named by their ids. Messages of
/// earlier versions stay readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::runtime) enum InboxRequest {
    Pause,
    Resume,
    ResumeWith {
        from_step: Option<StepId>,
        skip: Vec<StepId>,
        input: Option<Json>,
    },
    Abort,
    AbortWith {
        grace_ms: u64,
        compensate: bool,
    },
    Retry {
        step: StepId,
    },
    Skip {
        step: StepId,
        output: Option<Json>,
    },
    Edit {
        step: StepId,
        output: Json,
    },
    Signal {
        name: String,
        payload: Json,
    },
    Resolve {
        id: String,
        choice: String,
        #[serde(default)]
        digest: Option<String>,
    },
    /// The watchdog's report, not a caller's request: a worker of a replica was stuck in the
    /// thread.
    Stood(Stood),
}

impl InboxRequest {
    /// Returns the request's name.
    pub(in crate::runtime) const fn word(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume | Self::ResumeWith { .. } => "resume",
            Self::Abort | Self::AbortWith { .. } => "abort",
            Self::Retry { .. } => "retry",
            Self::Skip { .. } => "skip",
            Self::Edit { .. } => "edit",
            Self::Signal { .. } => "signal",
            Self::Resolve { .. } => "resolve",
            Self::Stood(_) => "condemn",
        }
    }
}

/// The owner's answer to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::runtime) enum Answer {
    /// Done: the thread's status and head afterwards.
    Done { status: ThreadStatus, last_seq: Seq },
    /// The thread's status does not allow it.
    WrongState { status: ThreadStatus },
    /// Somebody else acted first.
    Changed { last_seq: Seq },
    /// The workflow has no step of that id.
    NoStep { step: StepId },
    /// The step's status does not allow it.
    WrongStep { step: StepId, status: StepStatus },
    /// The thread has no such intervention.
    NoIntervention,
    /// Somebody has decided the intervention already.
    Resolved { choice: String, by: String },
    /// There is nothing to compensate.
    NothingToCompensate,
    /// The thread was paused while its steps were being compensated.
    Compensating,
    /// The intervention's content differs from what the caller has seen.
    OtherDigest { digest: Option<String> },
    /// Too many signals wait to be taken.
    TooManySignals,
    /// The intervention does not offer this choice.
    NoSuchChoice { choices: Vec<String> },
    /// Somebody else has to answer the approval.
    NotAnApprover { why: String },
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
            tracing::warn!(thread = %driver.state.thread_id, %error, "cannot read the inbox");
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
        let answer = match message.body.decode::<InboxMessage>() {
            Ok(mut letter) => {
                if taken_over == letter.if_match.map(|seen| (seen, driver.state.last_seq)) {
                    letter.if_match = None;
                }
                answer(driver, letter, commit).await
            }
            Err(error) => {
                tracing::error!(thread = %driver.state.thread_id, %error, "unreadable message");
                Answer::Unreadable
            }
        };
        let answer = Json::of(&answer).unwrap_or_else(|_| Json::null());
        commit.answer(message.key, answer);
    }
}

/// Takes the reports of stuck workers, once the thread is paused. They must not be read again after
/// a person has decided, however many other messages there are.
pub(in crate::runtime) async fn take_stood(driver: &Driver, commit: &mut Commit) {
    let state = &driver.state;
    let told = driver.core.store().inbox_of(&state.thread_id, STOOD_KEY).await;
    let told = told.unwrap_or_else(|error| {
        tracing::warn!(thread = %state.thread_id, %error, "cannot read the inbox");
        Vec::new()
    });
    for message in told {
        let done = Answer::Done { status: state.status, last_seq: state.last_seq };
        commit.answer(message.key, Json::of(&done).unwrap_or_else(|_| Json::null()));
    }
}

async fn answer(driver: &mut Driver, letter: InboxMessage, commit: &mut Commit) -> Answer {
    let last_seq = driver.state.last_seq;
    if letter.if_match.is_some_and(|seen| seen != last_seq) {
        return Answer::Changed { last_seq };
    }
    let InboxMessage { ask, by, reason, on_behalf_of, role, if_match: _ } = letter;
    let actor = Actor { by, reason, on_behalf_of, role };
    if let InboxRequest::Stood(stood) = ask {
        return condemned(driver, stood, commit).await;
    }
    let ask = match placed(driver, ask) {
        Ok(ask) => ask,
        Err(step) => return Answer::NoStep { step },
    };
    match driver.core.decide(&mut driver.state, Command::Request(ask, actor)).await {
        Ok(decided) => {
            driver.unfinished |= decided.unfinished;
            commit.add(decided);
            Answer::Done { status: driver.state.status, last_seq: driver.state.last_seq }
        }
        Err(Rejection::WrongState(status)) => Answer::WrongState { status },
        Err(Rejection::Stale) => Answer::Changed { last_seq },
        Err(Rejection::WrongStep(step, status)) => Answer::WrongStep { step, status },
        Err(Rejection::NoIntervention) => Answer::NoIntervention,
        Err(Rejection::Resolved { choice, by }) => Answer::Resolved { choice, by },
        Err(Rejection::NothingToCompensate) => Answer::NothingToCompensate,
        Err(Rejection::Compensating) => Answer::Compensating,
        Err(Rejection::OtherDigest(digest)) => Answer::OtherDigest { digest },
        Err(Rejection::TooManySignals) => Answer::TooManySignals,
        Err(Rejection::NoSuchChoice(choices)) => Answer::NoSuchChoice { choices },
        Err(Rejection::NotAnApprover(why)) => Answer::NotAnApprover { why },
    }
}

/// Pauses a thread that a worker was stuck in, unless its adoption did so.
async fn condemned(driver: &mut Driver, stood: Stood, commit: &mut Commit) -> Answer {
    if driver.state.status != ThreadStatus::Paused {
        driver.decide(Command::Condemn { takeover: None, stood: stood.time() }, commit).await;
    }
    Answer::Done { status: driver.state.status, last_seq: driver.state.last_seq }
}

/// Converts the request's step ids into indices; fails with a step that the plan lacks.
fn placed(driver: &Driver, ask: InboxRequest) -> Result<machine::Request, StepId> {
    let place = |step: StepId| driver.state.plan.find(step.as_str()).ok_or(step);
    Ok(match ask {
        // `condemned` has answered `Stood`, which never gets here.
        InboxRequest::Pause | InboxRequest::Stood(_) => machine::Request::Pause,
        InboxRequest::Resume => machine::Request::Resume(Resume::default()),
        InboxRequest::ResumeWith { from_step, skip, input } => machine::Request::Resume(Resume {
            from_step: from_step.map(place).transpose()?,
            skip: skip.into_iter().map(place).collect::<Result<_, _>>()?,
            input,
        }),
        InboxRequest::Abort => machine::Request::Abort(machine::Abort::default()),
        InboxRequest::AbortWith { grace_ms, compensate } => {
            machine::Request::Abort(machine::Abort {
                grace: Duration::from_millis(grace_ms),
                compensate,
            })
        }
        InboxRequest::Retry { step } => machine::Request::Retry { step: place(step)? },
        InboxRequest::Skip { step, output } => {
            machine::Request::Skip { step: place(step)?, output }
        }
        InboxRequest::Edit { step, output } => {
            machine::Request::Edit { step: place(step)?, output }
        }
        InboxRequest::Signal { name, payload } => machine::Request::Signal { name, payload },
        InboxRequest::Resolve { id, choice, digest } => {
            machine::Request::Resolve { id, choice, digest }
        }
    })
}
