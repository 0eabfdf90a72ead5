//! The `exec` step: one program, started directly and never through a shell.
//!
//! Between the server and each program stands a [`supervisor`], the same binary started anew: it
//! bounds the program, and any end of the attempt (the program's exit, a dropped future, too much
//! output, the server's death) ends all processes that the program has started, however they
//! detached themselves. Without a supervisor the program leads a process group, which is killed as
//! a whole.
//!
//! A program runs as the server's user, and so can kill the server. It cannot read the server's
//! memory or environment (`app/conceal.rs`).

mod capture;
mod children;
mod folder;
mod group;
mod input;
mod limits;
mod outcome;
mod program;
mod removal;
mod running;
mod supervised;
mod supervisor;
mod tree;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use async_trait::async_trait;
use tokio::process::Command;

use super::text::too_large;
use super::{Attempt, AttemptError, ExecutorSettings, StepExecutor};
use crate::definition::Action;
use crate::model::{Category, Failure, Json, codes};
use folder::Folder;
use group::Group;
use input::Input;
use program::Program;
use running::{Running, cannot_start};
use supervised::Supervised;
use supervisor::Order;

pub use children::{prepare_programs, tend_programs};
pub use program::exec_allowed;
pub use supervisor::supervise_program;

/// The idempotency key. It and the next two are the headers of http attempts, spelled as variables;
/// it is the same for every attempt of the step.
const IDEMPOTENCY_KEY: &str = "IDEMPOTENCY_KEY";
/// The variable of the attempt's number.
const ATTEMPT: &str = "X_RETHREAD_ATTEMPT";
/// The variable of the W3C trace context, where there is one.
const TRACEPARENT: &str = "TRACEPARENT";

/// Performs `exec` steps.
#[derive(Debug)]
pub(super) struct ExecExecutor {
    settings: ExecutorSettings,
    /// The folder in which programs have their own folders.
    temporary: PathBuf,
}

#[async_trait]
impl StepExecutor for ExecExecutor {
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        Ok(self.run(&attempt).await?)
    }

    fn target(&self, attempt: &Attempt) -> Option<String> {
        let Action::Exec { program, .. } = attempt.action.as_ref() else { return None };
        Some(format!("exec:{program}"))
    }
}

impl ExecExecutor {
    /// Makes the executor.
    pub(super) fn new(settings: ExecutorSettings) -> Self {
        let temporary = settings.temporary_folder();
        Self { settings, temporary }
    }

    async fn run(&self, attempt: &Attempt) -> Result<Json, Failure> {
        let Action::Exec { program: name, .. } = attempt.action.as_ref() else {
            let message = "an action that is no program was given to its executor";
            return Err(Failure::permanent(codes::INTERNAL, Category::Internal, message));
        };
        let program = Program::find(name, &self.settings)?;
        let input = Input::read(&attempt.with, (name, &self.settings.exec_env))?;
        let limit = self.settings.max_output_bytes;
        let folder = self.folder(&input)?;
        let started = match &self.settings.program_supervisor {
            Some(launcher) => {
                let parts = (&program, &input);
                self.supervised(launcher, parts, folder, attempt).map(Running::Supervised)
            }
            None => self.group((&program, &input), folder, attempt).map(Running::Group),
        };
        let running = started.map_err(|error| cannot_start(name, &error))?;
        let stdin = input.stdin.as_deref().unwrap_or_default();
        match running.finish(name, stdin, (limit, &attempt.room, &attempt.pulse)).await? {
            Some(finished) => {
                let bounds = (limit, &*self.settings.redactor);
                outcome::output(name, &finished, input.parse, bounds)
            }
            None => Err(too_large("the output", limit)),
        }
    }

    /// Makes a folder for a program that names none.
    fn folder(&self, input: &Input) -> Result<Option<Folder>, Failure> {
        if input.cwd.is_some() {
            return Ok(None);
        }
        Folder::make(&self.temporary).map(Some).map_err(|error| {
            let message = format!(
                "no folder for the program could be made in {}: {error}",
                self.temporary.display()
            );
            Failure::recoverable(codes::SPAWN_FAILED, Category::Resource, message)
        })
    }

    fn supervised(
        &self,
        launcher: &[OsString],
        (program, input): (&Program, &Input),
        folder: Option<Folder>,
        attempt: &Attempt,
    ) -> io::Result<Supervised> {
        let order = Order {
            pipes: (0, 0),
            limits: self.settings.program_limits,
            folder: folder.as_ref().map(|folder| folder.path().to_owned()),
            program: program.path.clone(),
            name: OsString::from(&program.name),
            arguments: input.args.iter().map(OsString::from).collect(),
        };
        let surround = |command: &mut Command| self.surround(command, input, attempt);
        Supervised::spawn(surround, launcher, (order, folder))
    }

    fn group(
        &self,
        (program, input): (&Program, &Input),
        folder: Option<Folder>,
        attempt: &Attempt,
    ) -> io::Result<Group> {
        let mut command = Command::new(&program.path);
        command.arg0(&program.name).args(&input.args);
        self.surround(&mut command, input, attempt);
        if let Some(folder) = &folder {
            command.current_dir(folder.path());
        }
        Group::spawn(command, folder)
    }

    /// Sets the environment, working directory and streams of a program.
    fn surround(&self, command: &mut Command, input: &Input, attempt: &Attempt) {
        command
            .env_clear()
            .envs(self.settings.program_env.iter().map(|(name, value)| (name, value)))
            .envs(input.env.iter().map(|(name, value)| (name, value)))
            .env(IDEMPOTENCY_KEY, attempt.idempotency_key())
            .env(ATTEMPT, attempt.number.to_string())
            .stdin(if input.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(context) = attempt.traceparent.as_deref().filter(|text| !text.contains('\0')) {
            command.env(TRACEPARENT, context);
        }
        if let Some(cwd) = &input.cwd {
            command.current_dir(cwd);
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
