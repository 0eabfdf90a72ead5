//! The settings of the log.

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Pretty,
    /// One JSON object a line, for log collectors.
    Json,
}

/// The filter and the format of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The filter: levels by target.
    pub filter: String,
    /// The format; `None`: pretty on a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// Whether the path of every thread is logged.
    pub flows: bool,
}
