//! One setting, and the list of all, as [`ServerArgs`] defines them.

use clap::Args as _;

use super::ServerArgs;

/// One setting, as [`ServerArgs`] defines it.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The name of its field in [`ServerArgs`].
    pub id: String,
    /// The name of its flag, without the dashes.
    pub flag: String,
    /// The name of its variable.
    pub variable: String,
    /// Its default, if it has one.
    pub default: Option<String>,
    /// The help text.
    pub help: String,
}

impl Setting {
    /// Returns whether a key of the file means this setting.
    pub fn is_called(&self, key: &str) -> bool {
        key == self.variable || key.replace('-', "_") == self.id
    }
}

/// Returns every setting, in the order of their definition.
pub fn settings_list() -> Vec<Setting> {
    let command = ServerArgs::augment_args(clap::Command::new("settings"));
    let text = |os: &std::ffi::OsStr| os.to_string_lossy().into_owned();
    command
        .get_arguments()
        .filter_map(|arg| {
            Some(Setting {
                id: arg.get_id().as_str().to_owned(),
                flag: arg.get_long()?.to_owned(),
                variable: arg.get_env().map(text)?,
                default: arg.get_default_values().first().map(|os| text(os)),
                help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_is_a_setting() {
        let count = ServerArgs::augment_args(clap::Command::new("x")).get_arguments().count();
        assert_eq!(settings_list().len(), count, "an argument has no variable or no flag");
    }
}
