//! The command line: `rethread dev | serve | migrate | verify | explain | openapi | env-example |
//! health`.
//!
//! Exit codes: 0 done; 1 it could not be done (database unreachable, address taken, demo failed,
//! the store is damaged, steps that never end);
//! 2 the command line or the configuration can't be used; 3 workers stood for longer than the lease
//! ([`crate::app::STOOD`]). `main` calls [`main`] and nothing else.

mod args;
mod client;
mod demo;
mod dev;
mod explain;
mod health;
mod migrate;
mod out;
mod render;
mod serve;
mod signals;
mod sse;
mod verify;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::app::{self, Executors, Server};
use crate::config::{self, ConfigError, Environment, Notice, Reload, Settings, Values};
use crate::telemetry;

use args::{Cli, Command};

/// The exit code when something could not be done.
const FAILED: u8 = 1;
/// The exit code when the command line or the configuration can't be used.
const UNUSABLE: u8 = 2;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|command| command == app::SUPERVISE_COMMAND) {
        return app::supervise_program(arguments);
    }
    let started = app::conceal();
    let parsed = Cli::command().try_get_matches_from(started.arguments).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        let flags = matches.subcommand().map(|(_, matches)| config::flags_of(matches));
        Ok((cli, flags.unwrap_or_default()))
    });
    let (cli, flags) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let shown = error.print();
            let code = if error.use_stderr() || shown.is_err() { UNUSABLE } else { 0 };
            return ExitCode::from(code);
        }
    };
    let code = match run(&cli.command, &flags, Environment::of_started(started.variables)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::problem(&format!("{error:#}"));
            let code = if error.is::<ConfigError>() { UNUSABLE } else { FAILED };
            ExitCode::from(code)
        }
    };
    telemetry::finish();
    code
}

/// Serves with executors of the caller's own until a signal, configured by the environment: for
/// programs that embed the server.
pub fn serve_with(executors: Arc<dyn Executors>) -> anyhow::Result<()> {
    let (flags, environment) =
        (BTreeMap::new(), Environment::of_started(config::process_variables()));
    let reload = Reload::new(&flags, &environment);
    let settings = Loaded::read(&flags, &environment)?.start_logging()?;
    let served =
        block_on(serve::serve(&settings, reload, Server::start_with(&settings, executors)));
    telemetry::finish();
    served
}

fn run(
    command: &Command,
    flags: &BTreeMap<String, String>,
    mut environment: Environment,
) -> anyhow::Result<()> {
    // The variables of a `.env` file join before files are read, and only `dev` reads one.
    let color = environment.get("NO_COLOR").is_none();
    if matches!(command, Command::Dev { .. }) {
        environment.add_dotenv(std::path::Path::new(dev::DOTENV))?;
    }
    environment.read_files()?;
    match command {
        Command::Openapi => {
            out::part(&app::openapi_yaml()?);
            Ok(())
        }
        Command::EnvExample => {
            out::part(&config::env_example());
            Ok(())
        }
        Command::Health { url, .. } => {
            let values = Values::resolve(flags, &environment)?;
            block_on(health::check(url.as_deref(), &values))
        }
        Command::Explain { thread, url, key_file, .. } => {
            let values = Values::resolve(flags, &environment)?;
            let asked = explain::Asked { url: url.as_deref(), key_file: key_file.as_deref() };
            block_on(explain::explain(thread, asked, &values))
        }
        Command::Serve { .. } => {
            let reload = Reload::new(flags, &environment);
            let settings = Loaded::read(flags, &environment)?.start_logging()?;
            block_on(serve::serve(&settings, reload, Server::start(&settings)))
        }
        Command::Migrate { action, to, .. } => {
            let settings = Loaded::read(flags, &environment)?.start_logging()?;
            block_on(migrate::migrate(&settings, *action, *to))
        }
        Command::Compact { .. } => {
            let settings = Loaded::read(flags, &environment)?.start_logging()?;
            block_on(async {
                out::line(app::compact(&settings).await?);
                Ok(())
            })
        }
        Command::Verify { .. } => {
            let settings = Loaded::read(flags, &environment)?.start_logging()?;
            block_on(verify::verify(&settings))
        }
        Command::Dev { once, .. } => {
            let mut values = Values::resolve(flags, &environment)?;
            values.set_default("log", dev::QUIET);
            // No load balancer sends requests to it.
            values.set_default("shutdown_delay", "0s");
            let loaded = Loaded::of(values, &environment)?;
            let settings = loaded.start_logging()?;
            let reload = Reload::new(flags, &environment).log_default(dev::QUIET);
            block_on(dev::dev(settings, reload, dev::DevOptions { once: *once, color }))
        }
    }
}

/// The configuration, before anything is logged.
struct Loaded {
    settings: Settings,
    notices: Vec<Notice>,
}

impl Loaded {
    fn read(
        flags: &BTreeMap<String, String>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        Self::of(Values::resolve(flags, environment)?, environment)
    }

    fn of(mut values: Values, environment: &Environment) -> Result<Self, ConfigError> {
        let mut notices = std::mem::take(&mut values.notices);
        let settings = Settings::read(&values, environment, &mut notices)?;
        Ok(Self { settings, notices })
    }

    fn start_logging(self) -> Result<Settings, ConfigError> {
        telemetry::init(&self.settings.log, app::log_redaction(&self.settings))?;
        telemetry::log_notices(&self.notices);
        Ok(self.settings)
    }
}

/// Runs a command on a runtime of its own, and drops the runtime without waiting for tasks that
/// hang.
fn block_on<F: Future<Output = anyhow::Result<()>>>(command: F) -> anyhow::Result<()> {
    app::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}
