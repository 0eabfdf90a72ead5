//! Which environment variables a step may give its program.
//!
//! An allow-list of programs is worth nothing if a variable turns an allowed one into any other:
//! by loading a library or a module, by naming a file of start-up commands or a helper that is
//! run. Any ordinary name is allowed but for those; the table holds what `sudo` takes away, and
//! what the usual interpreters, build tools, pagers and clients read in the same way.
//!
//! No table knows every program. But programs name their variables after themselves, so of names that
//! begin like the program itself only those are allowed whose ending says that they hold data. An
//! operator widens all this (`RETHREAD_EXEC_ENV`).

mod refused;

use refused::REFUSED;

/// Endings of variables that hold data, also if they begin with the name of their program.
const DATA: &[&str] = &[
    "_ID",
    "_KEY",
    "_NAME",
    "_PASSPHRASE",
    "_PASSWORD",
    "_REGION",
    "_REPO",
    "_SECRET",
    "_TOKEN",
    "_USER",
    "_USERNAME",
    "_VERSION",
];
/// The shortest name of a program after which its variables need no `_`, in characters: any word may begin
/// with a shorter one (`go`, `goal`).
const LONG_NAME: usize = 4;

/// Variables of the language, whose values may name files: only plain words are passed on.
const PLAIN: &[&str] = &["LANG", "LANGUAGE", "LC_*", "LINGUAS", "TERM", "COLORTERM"];

/// The names that an operator allows beyond the ordinary ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VariablePolicy {
    /// Names, or beginnings of names with a `*` behind.
    allowed: Vec<String>,
}

impl VariablePolicy {
    /// A policy that allows these names as well; a `*` at the end stands for any rest. The error
    /// is an entry that is none.
    pub fn widened(allowed: Vec<String>) -> Result<Self, String> {
        let is_entry = |entry: &str| {
            let name = entry.strip_suffix('*').unwrap_or(entry);
            !name.is_empty() && !name.contains(['*', '=', '\0'])
        };
        match allowed.iter().find(|entry| !is_entry(entry)) {
            None => Ok(Self { allowed }),
            Some(entry) => Err(format!("{entry:?} is neither a name nor PREFIX_*")),
        }
    }

    /// Why a variable of that name is not passed on to that program; `None` if it is.
    pub fn refusal(&self, program: &str, name: &str) -> Option<String> {
        if self.allowed.iter().any(|pattern| matches(pattern, name)) {
            return None;
        }
        if REFUSED.iter().any(|pattern| matches(pattern, name)) {
            return Some(format!(
                "{name} can make a program run other code; the operator allows it with \
                 RETHREAD_EXEC_ENV"
            ));
        }
        if is_own(program, name) && !DATA.iter().any(|ending| name.ends_with(ending)) {
            return Some(format!(
                "{name} is a setting of {program} itself, which can make it run other code; the \
                 operator allows it with RETHREAD_EXEC_ENV"
            ));
        }
        let mut letters = name.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if first && letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        Some(format!(
            "{name:?} is not an ordinary name of a variable: letters, digits and '_'; the operator \
             allows others with RETHREAD_EXEC_ENV"
        ))
    }

    /// Why a variable with that value is not passed on, whose name is.
    pub fn value_refusal(&self, name: &str, value: &str) -> Option<String> {
        if self.allowed.iter().any(|pattern| matches(pattern, name)) {
            return None;
        }
        let one_of = |table: &[&str]| table.iter().any(|pattern| matches(pattern, name));
        let names_a_file = (one_of(PLAIN) && value.contains(['/', '%']))
            || (name == "TZ" && (value.starts_with(['/', ':']) || value.contains("..")));
        if names_a_file {
            return Some(format!("the value of {name} may not name a file"));
        }
        // How shells pass functions on.
        value.starts_with("()").then(|| format!("the value of {name} is a function of a shell"))
    }
}

/// Whether a variable's name begins with that of a program, without the program's folder and version.
/// A program with an ending (`report.sh`) is a script, whose writer knows what its variables do.
fn is_own(program: &str, name: &str) -> bool {
    let file = program.rsplit('/').next().unwrap_or_default();
    let stem = file.trim_end_matches(|c: char| c.is_ascii_digit() || ".-_".contains(c));
    if stem.is_empty() || stem.contains('.') {
        return false;
    }
    let stem = stem.replace('-', "_").to_ascii_uppercase();
    let name = name.to_ascii_uppercase();
    let rest = name.strip_prefix(&stem);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_') || stem.len() >= LONG_NAME)
}

/// Whether a name is the pattern, or begins (or ends) as it does up to its `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(beginning), _) => name.starts_with(beginning),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loads_other_code_is_refused_and_ordinary_names_are_not() {
        let policy = VariablePolicy::default();
        for name in [
            "http_proxy",
            "CLOUDSDK_PYTHON_ARGS",
            "JAVACMD",
            "HGRCPATH",
            "APT_CONFIG",
            "VALGRIND_LIB",
            "SSH_PKCS11_HELPER",
            "SPARK_SUBMIT_OPTS",
            "BASH_ENV",
            "BASH_FUNC_ls%%",
            "ENV",
            "PS4",
            "IFS",
            "LD_PRELOAD",
            "LD_AUDIT",
            "DYLD_INSERT_LIBRARIES",
            "GLIBC_TUNABLES",
            "GCONV_PATH",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "PERL5OPT",
            "PERL5LIB",
            "RUBYOPT",
            "NODE_OPTIONS",
            "JAVA_TOOL_OPTIONS",
            "_JAVA_OPTIONS",
            "JDK_JAVA_OPTIONS",
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_COUNT",
            "PAGER",
            "GIT_PAGER",
            "MANPAGER",
            "SYSTEMD_EDITOR",
            "SSH_ASKPASS",
            "PATH",
            "HOME",
            "XDG_CONFIG_HOME",
            "npm_config_node_options",
            "NPM_CONFIG_PREFIX",
            "DOTNET_STARTUP_HOOKS",
            "COMPlus_EnableDiagnostics",
            "RUSTC_WRAPPER",
            "CARGO_HOME",
            "KUBECONFIG",
            "OPENSSL_CONF",
            "LUA_INIT",
            "TCLLIBPATH",
            "R_PROFILE",
            "PHP_INI_SCAN_DIR",
        ] {
            assert!(policy.refusal("env", name).is_some(), "{name}");
        }
        for name in [
            "MINE", "GREETING", "LANG", "LC_ALL", "TZ", "_x1", "API_URL", "FLAGS", "GOAL", "REPO",
            "TMPDIR",
        ] {
            assert_eq!(policy.refusal("env", name), None, "{name}");
        }
        for name in ["", "1A", "a-b", "a.b", "a b", "{input.name}", "ÄPFEL"] {
            assert!(policy.refusal("env", name).is_some(), "{name}");
        }
    }

    #[test]
    fn settings_of_clients_that_run_others_are_refused_for_any_program() {
        let policy = VariablePolicy::default();
        for name in [
            "BORG_PASSCOMMAND",
            "BORG_RSH",
            "GH_BROWSER",
            "KUBECTL_EXTERNAL_DIFF",
            "AZURE_EXTENSION_DIR",
            "LIBMYSQL_PLUGIN_DIR",
            "NMAPDIR",
            "shell_escape",
            "shell_escape_commands",
            "JUPYTER_CONFIG_DIR",
            "IPYTHONDIR",
            "MAILRC",
            "MAILCAPS",
            "CC",
            "LD",
            "CGO_LDFLAGS",
            "MAKEFLAGS",
            "GOFLAGS",
        ] {
            assert!(policy.refusal("env", name).is_some(), "{name}");
        }
    }

    #[test]
    fn of_names_that_begin_like_the_program_only_those_of_data_are_passed_on() {
        let policy = VariablePolicy::default();
        for (program, name) in [
            ("frob", "FROB_HOOK"),
            ("/usr/bin/frob-2.1", "FROB_HOOK"),
            ("frob", "frob_hook"),
            ("frob", "FROBDIR"),
            ("frob", "FROB"),
            ("my-tool3", "MY_TOOL_BACKEND"),
            ("gh", "GH_HOST"),
        ] {
            let refusal = policy.refusal(program, name).unwrap_or_default();
            assert!(refusal.contains("a setting of"), "{program} {name}: {refusal}");
        }
        for (program, name) in [
            ("gh", "GH_TOKEN"),
            ("borg", "BORG_PASSPHRASE"),
            ("go", "GOAL"),
            ("other", "FROB_HOOK"),
            ("./report.sh", "REPORT_DATE"),
            ("", "FROB_HOOK"),
            ("7", "FROB_HOOK"),
        ] {
            assert_eq!(policy.refusal(program, name), None, "{program} {name}");
        }
        let widened = VariablePolicy::widened(vec!["FROB_*".to_owned()]).unwrap();
        assert_eq!(widened.refusal("frob", "FROB_HOOK"), None);
    }

    #[test]
    fn values_of_the_language_name_no_file_and_none_is_a_function() {
        let policy = VariablePolicy::default();
        for (name, value) in [
            ("LANG", "/tmp/x"),
            ("LC_ALL", "%n"),
            ("TZ", "/etc/passwd"),
            ("TZ", ":/x"),
            ("TZ", "a/../../b"),
            ("TERM", "../x"),
            ("MINE", "() { :; }; id"),
        ] {
            assert!(policy.value_refusal(name, value).is_some(), "{name}={value}");
        }
        for (name, value) in [("LANG", "de_DE.UTF-8"), ("TZ", "Europe/Berlin"), ("MINE", "/a%b")] {
            assert_eq!(policy.value_refusal(name, value), None, "{name}={value}");
        }
    }

    #[test]
    fn an_operator_allows_names_and_beginnings_of_names() {
        let entries = ["HOME", "GIT_AUTHOR_*", "my-name"].map(str::to_owned).to_vec();
        let policy = VariablePolicy::widened(entries).unwrap();
        for name in ["HOME", "GIT_AUTHOR_NAME", "my-name"] {
            assert_eq!(policy.refusal("env", name), None, "{name}");
        }
        for name in ["HOMER_", "GIT_SSH_COMMAND", "your-name", "PATH"] {
            assert_eq!(policy.refusal("env", name).is_some(), name != "HOMER_", "{name}");
        }
        for bad in ["*", "A=B", "*_X", "A*B"] {
            assert!(VariablePolicy::widened(vec![bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
