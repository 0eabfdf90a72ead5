//! The arguments of the command line.

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::ServerArgs;

/// A durable workflow server: what was accepted gets done, whatever dies on the way.
#[derive(Debug, Parser)]
#[command(name = "rethread", version, propagate_version = true, max_term_width = 100)]
pub(super) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve, and show a first workflow run from end to end
    ///
    /// Keeps threads in ./rethread.db unless told otherwise, takes another port if the usual one
    /// is taken, makes an API key and prints an address with it for a browser, and reads `.env`.
    Dev {
        /// Settings.
        #[command(flatten)]
        server: ServerArgs,
        /// Stop after the first workflow instead of going on serving
        #[arg(long)]
        once: bool,
    },
    /// Serve until SIGTERM or SIGINT
    Serve {
        /// Settings.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Bring the database's schema up to date, take it back, or show where it stands
    Migrate {
        /// Settings.
        #[command(flatten)]
        server: ServerArgs,
        /// What to do.
        #[arg(value_enum, default_value_t = Action::Up)]
        action: Action,
        /// The version that `down` goes back to; 0 undoes everything
        #[arg(long, value_name = "VERSION", required_if_eq("action", "down"))]
        to: Option<i64>,
    },
    /// Write the file of an SQLite database anew, without unused pages; no server may run on it
    ///
    /// It takes the room of the file once more meanwhile. Files of this version shrink by
    /// themselves; one of an earlier version does so once it was written anew.
    Compact {
        /// Settings.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Check every record of the store, and name what is bad; exits with 0 if all is well, else 1
    ///
    /// Reads and never writes; servers may run meanwhile.
    Verify {
        /// Settings.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Ask a server why a thread does not move, and what would end that
    Explain {
        /// Settings; only the address counts.
        #[command(flatten)]
        server: ServerArgs,
        /// The thread
        thread: String,
        /// Address of the server; by default the one it is configured to listen on
        url: Option<String>,
        /// A file that holds the secret of an API key, where the server wants one
        #[arg(long, value_name = "FILE")]
        key_file: Option<std::path::PathBuf>,
    },
    /// Print the OpenAPI document
    Openapi,
    /// Print every setting as a commented .env file
    EnvExample,
    /// Ask a server whether it is alive; exits with 0 if it is, else with 1
    Health {
        /// Settings; only the address counts.
        #[command(flatten)]
        server: ServerArgs,
        /// Address of the server; by default the one it is configured to listen on
        url: Option<String>,
    },
}

/// What `rethread migrate` can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Action {
    /// Apply what is missing
    Up,
    /// Undo migrations: tables they made are dropped with all that is in them
    Down,
    /// Show which migrations are applied
    Status,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn going_back_names_its_goal() {
        assert!(Cli::try_parse_from(["rethread", "migrate", "down"]).is_err());
        let line = ["rethread", "migrate", "down", "--to", "0", "--database-url", "memory:"];
        let cli = Cli::try_parse_from(line).unwrap();
        let Command::Migrate { action, to, .. } = cli.command else { panic!("not migrate") };
        assert_eq!((action, to), (Action::Down, Some(0)));
    }
}
