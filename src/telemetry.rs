//! Sets up logging once, at the start.
//!
//! Logs go to stderr: stdout belongs to `listening on …` and to what commands print. The JSON
//! form has one object a line with the fields of the enclosing spans, as log collectors read it.
//! Called by `cli` only; everything else just uses `tracing`.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, OnceLock};

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, LogFormat, LogSettings, Notice};

/// Target of the lines that trace every thread's path through its steps.
pub const FLOW_TARGET: &str = "rethread::flow";

/// Target of the lines about the configuration, which is read before there is a log.
const CONFIG_TARGET: &str = "rethread::config";

/// Sets another filter; made by [`init`], which alone knows the type of what it started.
type SetFilter = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;
static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Takes secrets out of a line of the log; `None`: there is none in it.
type Redact = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Standard error, without secrets. Each write is a whole line: `tracing` makes one of each event.
struct RedactedStderr(Redact);

impl Write for RedactedStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let clean = (self.0)(&String::from_utf8_lossy(line));
        let shown = clean.as_ref().map_or(line, |clean| clean.as_bytes());
        io::stderr().lock().write_all(shown)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// Starts logging; every line goes through `redact`. A second call in one process is refused.
pub fn init(
    settings: &LogSettings,
    redact: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> Result<(), ConfigError> {
    let redact: Redact = Arc::new(redact);
    let terminal = io::stderr().is_terminal();
    let format =
        settings.format.unwrap_or(if terminal { LogFormat::Pretty } else { LogFormat::Json });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(settings)?)
        .with_writer(move || RedactedStderr(Arc::clone(&redact)))
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
    started.map_err(|error| ConfigError::one(format!("logging can't be started: {error}")))?;
    drop(SET_FILTER.set(set));
    Ok(())
}

/// Logs by another filter from now on; the format stays.
pub fn reload(settings: &LogSettings) -> Result<(), ConfigError> {
    let filter = filter(settings)?;
    match SET_FILTER.get() {
        Some(set) if set(filter) => Ok(()),
        Some(_) | None => Err(ConfigError::one("nothing is logged that could change".to_owned())),
    }
}

fn filter(settings: &LogSettings) -> Result<EnvFilter, ConfigError> {
    let mut text = settings.filter.clone();
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
}
