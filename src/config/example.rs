//! Writes `.env.example` from the table of the settings.

use super::{Setting, settings_list};

const HEAD: &str = "\
# Settings of Rethread. Made by `rethread env-example`; a test fails when it drifts.
# Copy to .env for `docker compose` and `rethread dev`. Flags win over these variables, they over
# rethread.toml, that over the defaults, which are shown here.
";

const TAIL: &str = "
# What {secrets.NAME} stands for in a workflow: put in when a step runs, never stored or shown
# RETHREAD_SECRET_NAME=

# A file that holds one of these instead: RETHREAD_API_KEYS_FILE, DATABASE_URL_FILE,
# RETHREAD_SECRET_NAME_FILE
";

/// Returns the text of `.env.example`.
pub fn env_example() -> String {
    let mut text = HEAD.to_owned();
    for setting in settings_list() {
        text.push('\n');
        entry(&mut text, &setting);
    }
    text.push_str(TAIL);
    text
}

fn entry(text: &mut String, setting: &Setting) {
    for line in wrap(&setting.help.replace('`', "")) {
        line_of(text, &format!("# {line}"));
    }
    let default = setting.default.as_deref().unwrap_or_default();
    line_of(text, &format!("# {}={default}", setting.variable));
}

fn line_of(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// The columns of a line, without the `# `.
const WIDTH: usize = 98;

fn wrap(help: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in help.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_example_matches_the_settings() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, env_example(), "run scripts/gen");
    }
}
