//! Takes messages out of a thread's inbox, in the very append that holds what they lead to.

use serde::{Deserialize, Serialize};

use super::commit::Commit;
use super::driver::Driver;
use crate::machine::{Command, Rejection};
use crate::model::{Json, Seq, ThreadStatus};

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// The command.
    pub(super) ask: Ask,
    /// Who asks.
    pub(super) by: String,
    /// Why.
    pub(super) reason: Option<String>,
    /// The version of the thread that the caller saw.
    pub(super) if_match: Option<Seq>,
}

/// A command that reaches a thread through its inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    Resume,
    Abort,
}

/// What the owner answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// Done: the thread's status and head afterwards.
    Done { status: ThreadStatus, last_seq: Seq },
    /// The thread's status does not allow it.
    WrongState { status: ThreadStatus },
    /// Somebody else acted first.
    Changed { last_seq: Seq },
    /// The message cannot be read by this version.
    Unreadable,
}

/// Reads the inbox and decides every message in it.
pub(super) async fn take(driver: &mut Driver, commit: &mut Commit) {
    let messages = match driver.core.store().inbox(&driver.state.thread_id).await {
        Ok(messages) => messages,
        Err(error) => {
            // They stay where they are; the next append, or the next look, tells of them again.
            tracing::warn!(thread = %driver.state.thread_id, %error, "cannot read the inbox");
            tokio::time::sleep(super::settings::POLL_INTERVAL).await;
            return;
        }
    };
    driver.mail = false;
    for message in messages {
        let answer = match message.body.decode::<Letter>() {
            Ok(letter) => answer(driver, letter, commit),
            Err(error) => {
                tracing::error!(thread = %driver.state.thread_id, %error, "unreadable message");
                Answer::Unreadable
            }
        };
        let answer = Json::of(&answer).unwrap_or_else(|_| Json::null());
        commit.answer(message.key, answer);
    }
}

fn answer(driver: &mut Driver, letter: Letter, commit: &mut Commit) -> Answer {
    let last_seq = driver.state.last_seq;
    if letter.if_match.is_some_and(|seen| seen != last_seq) {
        return Answer::Changed { last_seq };
    }
    let Letter { ask, by, reason, .. } = letter;
    let command = match ask {
        Ask::Resume => Command::Resume { by, reason },
        Ask::Abort => Command::Abort { by, reason },
    };
    match driver.core.decide(&mut driver.state, command) {
        Ok(events) => {
            commit.add(events);
            Answer::Done { status: driver.state.status, last_seq: driver.state.last_seq }
        }
        Err(Rejection::WrongState(status)) => Answer::WrongState { status },
        Err(Rejection::Stale) => Answer::Changed { last_seq },
    }
}
