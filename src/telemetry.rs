//! Sets up logging once, at the start.
//!
//! Logs go to stderr: stdout belongs to `listening on …` and to what commands print. The JSON
//! form has one object a line with the fields of the enclosing spans, as log collectors read it.
//! Called by `cli` only; everything else just uses `tracing`.

mod writer;

use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, LogFormat, LogSettings, Notice};

use self::writer::LogWriter;

/// Target of the lines that trace every thread's path through its steps.
pub const FLOW_TARGET: &str = "rethread::flow";

/// Target of the lines about the configuration, which is read before there is a log.
const CONFIG_TARGET: &str = "rethread::config";

/// The libraries that log what a peer sends, as much as it likes, or a line for each connection that a
/// database ends, unless the setting names them.
const QUIET_LIBRARIES: &str = "h2=error,hyper=error,hyper_util=error,rustls=error,\
     sqlx::postgres=error,sqlx::pool=error,sqlx_core::pool=error";

/// The longest time that the end of the process waits for the last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Sets another filter; made by [`init`], which alone knows the type of what it started.
type SetFilter = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;
static STARTED: OnceLock<(SetFilter, LogWriter)> = OnceLock::new();

/// Starts logging, also of panics; every line goes through `redact`. A second call in one process
/// is refused.
pub fn init(
    settings: &LogSettings,
    redact: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> Result<(), ConfigError> {
    let failed = |error: &dyn std::fmt::Display| {
        ConfigError::one(format!("logging can't be started: {error}"))
    };
    let terminal = io::stderr().is_terminal();
    let format =
        settings.format.unwrap_or(if terminal { LogFormat::Pretty } else { LogFormat::Json });
    let filter = filter(settings)?;
    let log = LogWriter::start(io::stderr(), Arc::new(redact)).map_err(|error| failed(&error))?;
    let writer = log.clone();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        // It would print what it cannot format, and printing may fail.
        .log_internal_errors(false)
        .with_ansi(terminal);
    let (started, set): (_, SetFilter) = match format {
        LogFormat::Pretty => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| handle.reload(filter).is_ok()))
        }
        LogFormat::Json => {
            let builder = builder
                .json()
                .flatten_event(true)
                // The list has it already.
                .with_current_span(false)
                .with_span_list(true)
                .with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| handle.reload(filter).is_ok()))
        }
    };
    started.map_err(|error| failed(&error))?;
    drop(STARTED.set((set, log)));
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Logs by another filter from now on; the format stays.
pub fn reload(settings: &LogSettings) -> Result<(), ConfigError> {
    let filter = filter(settings)?;
    match STARTED.get() {
        Some((set, _)) if set(filter) => Ok(()),
        Some(_) | None => Err(ConfigError::one("nothing is logged that could change".to_owned())),
    }
}

/// Writes a line of the program itself in its place among the lines of the log; `false` if logging
/// was not started.
pub fn print(line: &str) -> bool {
    STARTED.get().map(|(_, log)| log.line(line.as_bytes())).is_some()
}

/// Waits until the log is written, for at most [`LAST_LINES`]: to be called before the process ends.
pub fn finish() {
    if let Some((_, log)) = STARTED.get() {
        log.flush(LAST_LINES);
    }
}

/// Returns the number of lines of the log that could not be written.
pub fn dropped_lines() -> u64 {
    STARTED.get().map_or(0, |(_, log)| log.dropped_lines())
}

/// Logs a panic. The default hook writes to stderr itself, and waits there for a reader that
/// stands.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(target: "rethread::panic", location, thread, %backtrace, "panicked: {message}");
}

fn filter(settings: &LogSettings) -> Result<EnvFilter, ConfigError> {
    let mut text = format!("{QUIET_LIBRARIES},{}", settings.filter);
    if settings.flows {
        text = format!("{text},{FLOW_TARGET}=debug");
    }
    EnvFilter::try_new(&text)
        .map_err(|error| ConfigError::one(format!("RETHREAD_LOG = {text:?}: {error}")))
}

/// Logs what the configuration had to say before there was a log.
pub fn log_notices(notices: &[Notice]) {
    for notice in notices {
        if notice.warning {
            tracing::warn!(target: CONFIG_TARGET, "{}", notice.text);
        } else {
            tracing::info!(target: CONFIG_TARGET, "{}", notice.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_flows_raises_the_flow_target() {
        let settings = LogSettings { filter: "warn".to_owned(), format: None, flows: true };
        assert!(filter(&settings).unwrap().to_string().contains("rethread::flow=debug"));
    }

    #[test]
    fn libraries_are_quiet_unless_the_setting_names_them() {
        let read = |text: &str| {
            let settings = LogSettings { filter: text.to_owned(), format: None, flows: false };
            filter(&settings).unwrap().to_string()
        };
        assert!(read("trace").contains("h2=error"), "{}", read("trace"));
        let named = read("info,h2=debug");
        assert!(named.contains("h2=debug") && !named.contains("h2=error"), "{named}");
    }
}
