//! The secrets of the settings, and the redactor that keeps them out of the log.

use std::borrow::Cow;

use crate::config::Settings;
use crate::executor::Secrets;

/// Returns the secrets of the settings.
pub(super) fn secrets(settings: &Settings) -> Secrets {
    let secrets = settings.secrets.iter();
    Secrets::new(secrets.map(|(name, value)| (name.clone(), value.clone())))
}

/// Logs a warning with the names of the secrets that are too short to be redacted.
pub(super) fn warn_of_short_ones(secrets: &Secrets) {
    for name in secrets.too_short() {
        tracing::warn!(
            name,
            "a secret of less than 4 bytes is not redacted where a target repeats it"
        );
    }
}

/// Returns the function that redacts secrets in a line of the log; it returns `None` if the line
/// has none.
pub fn log_redaction(settings: &Settings) -> impl Fn(&str) -> Option<String> + use<> {
    let redactor = secrets(settings).redactor();
    move |line| match redactor.redact(line) {
        Cow::Borrowed(_) => None,
        Cow::Owned(clean) => Some(clean),
    }
}
