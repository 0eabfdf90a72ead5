//! The settings of the log.

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line, for log collectors.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A filter of levels by target.
    pub filter: String,
    /// The look; `None`: pretty on a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// Whether the path of every thread is logged.
    pub flows: bool,
}
