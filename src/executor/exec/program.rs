//! Checks which programs may be started, and finds the file of a name.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::executor::ExecutorSettings;
use crate::model::{Category, Failure, codes};

/// Returns whether the allow-list has that program: exactly this text, be it a bare name or a path.
/// A name on the list does not allow a path that ends in it.
pub fn exec_allowed(program: &str, allow: &[String]) -> bool {
    !program.is_empty() && allow.iter().any(|allowed| allowed == program)
}

/// A program that may be started.
#[derive(Debug)]
pub(super) struct Program {
    /// Its name as the workflow has it, which the program sees as its own.
    pub(super) name: String,
    /// The file.
    pub(super) path: PathBuf,
}

impl Program {
    /// Finds the file of an allowed program: a path is taken as it is, a bare name is looked for in
    /// the server's `PATH`. A `PATH` in the step's `env` is ignored.
    pub(super) fn find(name: &str, settings: &ExecutorSettings) -> Result<Self, Failure> {
        if !exec_allowed(name, &settings.exec_allow) {
            let message = format!("{name:?} is not on this server's list of allowed programs");
            return Err(Failure::permanent(
                codes::EXEC_NOT_ALLOWED,
                Category::Authorization,
                message,
            ));
        }
        let path = if name.contains('/') {
            std::path::absolute(name).ok()
        } else {
            let paths = settings.program_env.iter().find(|(name, _)| name == "PATH");
            paths.and_then(|(_, paths)| search(name, paths))
        };
        let path = path.filter(|path| is_program(path)).ok_or_else(|| not_found(name))?;
        Ok(Self { name: name.to_owned(), path })
    }
}

fn search(name: &str, paths: &OsStr) -> Option<PathBuf> {
    // Relative entries would depend on where the server was started.
    let folders = std::env::split_paths(paths).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn not_found(name: &str) -> Failure {
    let message = format!("{name:?} was not found, or is not a program");
    Failure::permanent(codes::SPAWN_FAILED, Category::Configuration, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(allow: &[&str]) -> ExecutorSettings {
        ExecutorSettings {
            exec_allow: allow.iter().map(|&name| name.to_owned()).collect(),
            program_env: vec![("PATH".into(), "bin:/nowhere:/usr/bin:/bin".into())],
            ..ExecutorSettings::default()
        }
    }

    #[test]
    fn only_the_listed_text_is_allowed() {
        let allow = ["sh".to_owned(), "/opt/tool".to_owned()];
        for (program, allowed) in
            [("sh", true), ("/opt/tool", true), ("/bin/sh", false), ("tool", false), ("", false)]
        {
            assert_eq!(exec_allowed(program, &allow), allowed, "{program}");
        }
        let refused = Program::find("cat", &settings(&["sh"])).unwrap_err();
        assert_eq!((refused.code.as_str(), refused.recoverable), ("exec_not_allowed", false));
    }

    #[test]
    fn bare_names_are_found_in_the_servers_path_and_paths_taken_as_they_are() {
        let settings = settings(&["sh", "/bin/sh", "no-such-program", "/etc/passwd", ".."]);
        assert!(Program::find("sh", &settings).unwrap().path.is_absolute());
        assert_eq!(Program::find("/bin/sh", &settings).unwrap().path, Path::new("/bin/sh"));
        for missing in ["no-such-program", "/etc/passwd", ".."] {
            let failure = Program::find(missing, &settings).unwrap_err();
            assert_eq!((failure.code.as_str(), failure.recoverable), ("spawn_failed", false));
        }
    }
}
