//! The reasons why a configuration can't be used: all faults at once, with secrets masked.

use std::fmt;

/// All faults of a configuration. The process ends with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// One line a fault: the setting's name, the source of its value, the value, and the allowed
    /// values.
    pub faults: Vec<String>,
}

impl ConfigError {
    /// Makes an error with a single fault.
    pub fn one(fault: String) -> Self {
        Self { faults: vec![fault] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration can't be used:")?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A line for the log once there is one, such as an alias in use or a short key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether to log a warning rather than a plain line.
    pub warning: bool,
    /// The text of the line.
    pub text: String,
}

impl Notice {
    /// Makes a plain line.
    pub fn info(text: String) -> Self {
        Self { warning: false, text }
    }

    /// Makes a warning.
    pub fn warn(text: String) -> Self {
        Self { warning: true, text }
    }
}
