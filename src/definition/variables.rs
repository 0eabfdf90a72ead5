//! Which environment variables a step may give its program.
//!
//! An allow-list of programs is worth nothing if a variable turns an allowed one into any other:
//! by loading a library or a module, by naming a file of start-up commands or a helper that is
//! run. Any ordinary name is allowed but for those; the table holds what `sudo` takes away, and
//! what the usual interpreters, build tools, pagers and clients read in the same way. An operator
//! widens it (`RETHREAD_EXEC_ENV`).

/// Names that are refused; `*` at the end stands for any rest, at the front for any beginning.
const REFUSED: &[&str] = &[
    // Names that programs of any kind give to such settings.
    "*_ARGS",
    "*_CMD",
    "*JAVACMD",
    "*_COMMAND",
    "*_CONFIG",
    "*_CONFIG_FILE",
    "*_HELPER",
    "*_HOME",
    "*_LIB",
    "*_LIBS",
    "*_OPTIONS",
    "*_OPTS",
    "*_PATH",
    "*RCPATH",
    "*_PLUGIN",
    "*_PLUGINS",
    "*_PRELOAD",
    "*_PROGRAM",
    "*_PROVIDER",
    "*_PYTHON",
    "*_SHELL",
    "*_WRAPPER",
    // Where traffic goes, with whatever credentials the program has.
    "*_PROXY",
    "*_proxy",
    "CLOUDSDK_*",
    "BOTO_*",
    "HGMERGE",
    "HGEDITOR",
    "APT_*",
    "VALGRIND_*",
    "SSH_*",
    // The linker and the C library.
    "LD_*",
    "_RLD*",
    "LDR_*",
    "DYLD_*",
    "LIBPATH",
    "SHLIB_PATH",
    "AUTHSTATE",
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "LOCPATH",
    "NLSPATH",
    "PATH_LOCALE",
    "NIS_PATH",
    "MALLOC_*",
    "MIMALLOC_*",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "RESOLV_*",
    "TZDIR",
    "ASAN_*",
    "LSAN_*",
    "MSAN_*",
    "TSAN_*",
    "UBSAN_*",
    // Where programs and their settings are found.
    "PATH",
    "HOME",
    "SHELL",
    "XDG_*",
    "TERMINFO*",
    "TERMPATH",
    "TERMCAP",
    "INPUTRC",
    // Shells.
    "BASH*",
    "ENV",
    "SHELLOPTS",
    "PS0",
    "PS1",
    "PS2",
    "PS4",
    "IFS",
    "CDPATH",
    "GLOBIGNORE",
    "PROMPT_COMMAND",
    "FPATH",
    "FCEDIT",
    "NULLCMD",
    "READNULLCMD",
    "ZDOTDIR",
    "TMPPREFIX",
    "ZSH_*",
    // Interpreters and run-times.
    "PYTHON*",
    "PERL*",
    "RUBY*",
    "GEM_*",
    "BUNDLE_*",
    "NODE_*",
    "NODENV_*",
    "DENO_*",
    "BUN_*",
    "PHPRC",
    "PHP_*",
    "COMPOSER_*",
    "LUA_*",
    "TCL*",
    "TK_LIBRARY",
    "R_*",
    "RSCRIPT_*",
    "JULIA_*",
    "GUILE_*",
    "ERL_*",
    "ERLANG_*",
    "ELIXIR_*",
    "MIX_*",
    "GHC*",
    "OCAML*",
    "CAML_*",
    "AWKPATH",
    "AWKLIBPATH",
    "JAVA_*",
    "_JAVA_*",
    "JDK_*",
    "JRE_*",
    "CLASSPATH",
    "DOTNET_*",
    "COMPLUS_*",
    "COMPlus_*",
    "CORECLR_*",
    "COR_*",
    "MONO_*",
    "POWERSHELL_*",
    "PSMODULEPATH",
    "PSModulePath",
    "VIRTUAL_ENV",
    "PIP_*",
    "UV_*",
    "CONDA_*",
    "LISP_*",
    "SBCL_*",
    "OCTAVE_*",
    // Build tools.
    "MAKE*",
    "MFLAGS",
    "GNUMAKEFLAGS",
    "CMAKE_*",
    "NINJA_*",
    "PKG_CONFIG*",
    "GCC_*",
    "COMPILER_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "CARGO*",
    "RUST*",
    "GOFLAGS",
    "GOROOT",
    "GOPATH",
    "GOENV",
    "GOBIN",
    "GOAUTH",
    "GOCACHEPROG",
    "GOTOOLCHAIN",
    "GOPACKAGESDRIVER",
    "NPM_*",
    "npm_*",
    "YARN_*",
    "PNPM_*",
    "COREPACK_*",
    "MAVEN_*",
    "MVN_*",
    "GRADLE_*",
    "ANT_*",
    "SBT_*",
    // Editors, pagers and whatever else is run by name.
    "EDITOR",
    "VISUAL",
    "*_EDITOR",
    "PAGER",
    "*PAGER",
    "BROWSER",
    "LESS*",
    "MORE",
    "MANOPT",
    "GIT_*",
    "SVN_SSH",
    "CVS_RSH",
    "RSYNC_*",
    "*ASKPASS",
    "SSH_AUTH_SOCK",
    "TAR_OPTIONS",
    "ZIPOPT",
    "EXINIT",
    "VIM*",
    "GVIMINIT",
    "EMACS*",
    "SCREENRC",
    "SYSSCREENRC",
    // Clients whose settings name commands to run or files to write.
    "CURL_HOME",
    "WGETRC",
    "SYSTEM_WGETRC",
    "PSQL*",
    "PGSYSCONFDIR",
    "PGSERVICEFILE",
    "MYSQL_*",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "KUBECONFIG",
    "KUBE_*",
    "DOCKER_*",
    "HELM_*",
    "TF_*",
    "TERRAFORM_*",
    "ANSIBLE_*",
    "GNUPGHOME",
    "ODBCINI",
    "ODBCSYSINI",
    "KRB5*",
    "SASL_*",
    // Libraries that load plug-ins or write what they know.
    "OPENSSL_*",
    "SSLKEYLOGFILE",
    "GTK_*",
    "GIO_*",
    "GST_*",
    "GDK_*",
    "QT_*",
    "QML*",
    "MAGICK_*",
    "GS_*",
    "GDAL_*",
    "VK_*",
    "OCL_*",
    "LIBGL_*",
    "XLOCALEDIR",
    "P11_*",
    "DBUS_*",
];

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

    /// Why a variable of that name is not passed on; `None` if it is.
    pub fn refusal(&self, name: &str) -> Option<String> {
        if self.allowed.iter().any(|pattern| matches(pattern, name)) {
            return None;
        }
        if REFUSED.iter().any(|pattern| matches(pattern, name)) {
            return Some(format!(
                "{name} can make a program run other code; the operator allows it with \
                 RETHREAD_EXEC_ENV"
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
            assert!(policy.refusal(name).is_some(), "{name}");
        }
        for name in
            ["MINE", "GREETING", "LANG", "LC_ALL", "TZ", "_x1", "API_URL", "GOAL", "REPO", "TMPDIR"]
        {
            assert_eq!(policy.refusal(name), None, "{name}");
        }
        for name in ["", "1A", "a-b", "a.b", "a b", "{input.name}", "ÄPFEL"] {
            assert!(policy.refusal(name).is_some(), "{name}");
        }
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
            assert_eq!(policy.refusal(name), None, "{name}");
        }
        for name in ["HOMER_", "GIT_SSH_COMMAND", "your-name", "PATH"] {
            assert_eq!(policy.refusal(name).is_some(), name != "HOMER_", "{name}");
        }
        for bad in ["*", "A=B", "*_X", "A*B"] {
            assert!(VariablePolicy::widened(vec![bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
