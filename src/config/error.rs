//! Why a configuration can't be used: all faults at once, secrets masked.

use std::fmt;

/// Everything that is wrong with the configuration. The process ends with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// One line each: the setting's name, where it came from, the value, and what is allowed.
    pub faults: Vec<String>,
}

impl ConfigError {
    /// An error with a single fault.
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

/// Something worth a line in the log once there is one: an alias in use, a key that is short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether it deserves a warning rather than a plain line.
    pub warning: bool,
    /// What to say.
    pub text: String,
}

impl Notice {
    /// A plain line.
    pub fn info(text: String) -> Self {
        Self { warning: false, text }
    }

    /// A warning.
    pub fn warn(text: String) -> Self {
        Self { warning: true, text }
    }
}
