//! Reads the configuration: flags over environment over `rethread.toml` over defaults.
//!
//! [`ServerArgs`] defines every setting once; [`Values`] lays the layers over each other as text;
//! [`Settings`] holds the checked values for the other layers. Only this module reads the
//! environment. It starts nothing: `cli` calls it, and `app` maps it to the layers.

mod alias;
mod args;
mod audit;
mod database;
mod edge;
mod environment;
mod error;
mod example;
mod file;
mod keys;
mod log;
mod oidc;
mod parse;
mod programs;
mod quota;
mod reader;
mod reload;
mod secret;
mod setting;
mod settings;
mod values;

pub use args::ServerArgs;
pub use audit::AuditSettings;
pub use database::{Database, Fallback, mask_url};
pub use edge::{CorsOrigins, EdgeSettings};
pub use environment::{Environment, SECRET_PREFIX, process_variables};
pub use error::{ConfigError, Notice};
pub use example::env_example;
pub use keys::ApiKey;
pub use log::{LogFormat, LogSettings};
pub use oidc::OidcSettings;
pub use parse::{Egress, ListenAddress};
pub use programs::ProgramSettings;
pub use quota::QuotaSettings;
pub use reload::{Reload, Reloaded};
pub use secret::{is_ours, is_secret, mask_arguments};
pub use setting::{Setting, settings_list};
pub use settings::{Settings, read_address};
pub use values::{Source, Value, Values, flags_of};

#[cfg(test)]
mod fuzz;
