//! The `exec` step: one program, started directly and never through a shell.
//!
//! The program leads a process group of its own. Whatever ends the attempt (the program's exit, a
//! dropped future, too much output) kills the whole group, so that nothing it started stays behind
//! unless it left the group on purpose (`setsid`).
//!
//! When this server itself is killed with SIGKILL, its [`guard`] does the same a moment later.
//! What is out of its reach (a program that left its group, one that started in the very instant
//! of the kill) may go on beside the next attempt: the idempotency key in its environment is the
//! same.

mod capture;
mod group;
mod guard;
mod input;
mod outcome;
mod program;

use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::process::Command;

use super::text::too_large;
use super::{Attempt, AttemptError, ExecutorSettings, StepExecutor};
use crate::definition::Action;
use crate::model::{Category, Failure, Json, codes};
use group::Group;
use guard::Guard;
use input::Input;
use program::Program;

pub use guard::guard_programs;
pub use program::exec_allowed;

/// What every http attempt carries as headers, spelled as variables: the key that is the same for
/// every attempt of the step.
const IDEMPOTENCY_KEY: &str = "IDEMPOTENCY_KEY";
/// The number of the attempt.
const ATTEMPT: &str = "X_RETHREAD_ATTEMPT";
/// The W3C trace context, where there is one.
const TRACEPARENT: &str = "TRACEPARENT";

/// Performs `exec` steps.
#[derive(Debug)]
pub(super) struct ExecExecutor {
    settings: ExecutorSettings,
    guard: Option<Arc<Guard>>,
}

#[async_trait]
impl StepExecutor for ExecExecutor {
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        Ok(self.run(&attempt).await?)
    }

    fn target(&self, attempt: &Attempt) -> Option<String> {
        match attempt.action.as_ref() {
            Action::Exec { program, .. } => Some(format!("exec:{program}")),
            Action::Http
            | Action::Transform { .. }
            | Action::Sleep
            | Action::Signal
            | Action::Approval => None,
        }
    }
}

impl ExecExecutor {
    /// Makes the executor.
    pub(super) fn new(settings: ExecutorSettings) -> Self {
        let guard = settings.program_guard.clone().map(Guard::new);
        Self { settings, guard }
    }

    async fn run(&self, attempt: &Attempt) -> Result<Json, Failure> {
        let Action::Exec { program: name, .. } = attempt.action.as_ref() else {
            let message = "an action that is no program was given to its executor";
            return Err(Failure::permanent(codes::INTERNAL, Category::Internal, message));
        };
        let program = Program::find(name, &self.settings)?;
        let input = Input::read(&attempt.with, &self.settings.exec_env)?;
        let limit = self.settings.max_output_bytes;
        if let Some(guard) = &self.guard {
            guard.get_ready();
        }
        let mut group = Group::spawn(self.command(&program, &input, attempt), name)?;
        group.guard(self.guard.as_ref());
        let stdin = input.stdin.as_deref().unwrap_or_default();
        match group.finish(stdin, limit, &attempt.pulse).await? {
            Some(finished) => {
                let bounds = (limit, &*self.settings.redactor);
                outcome::output(name, &finished, input.parse, bounds)
            }
            None => Err(too_large("the output", limit)),
        }
    }

    fn command(&self, program: &Program, input: &Input, attempt: &Attempt) -> Command {
        let mut command = Command::new(&program.path);
        command
            .arg0(&program.name)
            .args(&input.args)
            .env_clear()
            .envs(self.settings.program_env.iter().map(|(name, value)| (name, value)))
            .envs(input.env.iter().map(|(name, value)| (name, value)))
            .env(IDEMPOTENCY_KEY, attempt.idempotency_key())
            .env(ATTEMPT, attempt.number.to_string())
            .stdin(if input.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(context) = attempt.traceparent.as_deref().filter(|text| !text.contains('\0')) {
            command.env(TRACEPARENT, context);
        }
        if let Some(cwd) = &input.cwd {
            command.current_dir(cwd);
        }
        command
    }
}

#[cfg(test)]
mod tests;
