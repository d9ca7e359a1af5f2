//! Where a verb works: project, data folder, server; and how it speaks.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use serde_json::Value;
use thalweg_core::{Error, ErrorKind};
use thalweg_project::Color;

use super::{Failure, unreachable_server};
use crate::app::data_folder;
use crate::cli::{ColorChoice, Dir, Format, Globals};
use crate::client::Client;

/// What the options that every verb knows come to.
pub(crate) struct Place {
    /// The project's folder.
    pub dir: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// Whether to use colours on standard error.
    pub is_colored: bool,
    /// How the answer is printed, if that was said.
    pub format: Option<Format>,
    /// Say only what went wrong.
    pub is_quiet: bool,
    server: Option<String>,
    yes: bool,
}

impl Place {
    /// The folder behind the verb goes before `--project`.
    pub(super) fn new(globals: &Globals, dir: Dir) -> Self {
        let dir = dir.dir.or_else(|| globals.project.clone()).unwrap_or_else(|| PathBuf::from("."));
        Self {
            data: globals.data_dir.clone().unwrap_or_else(|| dir.join(".thalweg")),
            dir,
            is_colored: is_colored(globals.color),
            format: globals.format,
            is_quiet: globals.quiet,
            server: globals.server.clone(),
            yes: globals.yes,
        }
    }

    /// Where the server is, if there is one.
    pub(super) fn server(&self) -> Option<String> {
        self.server.clone().or_else(|| data_folder::address_of(&self.data))
    }

    /// A client of the running server.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let server = self.server().ok_or_else(|| {
            unreachable_server(
                Error::unavailable("no server runs on this data folder")
                    .with_hint("Start one with `thalweg run`, or name it with `--server`."),
            )
        })?;
        Client::new(&server, &self.data).map_err(unreachable_server)
    }

    /// Asks the running server for an action and prints its answer.
    pub(super) async fn act(&self, path: &str, body: &Value) -> Result<u8, Failure> {
        let answer = self.client()?.post(path, body).await.map_err(of_server)?;
        println!("{answer:#}");
        Ok(0)
    }

    /// Says what will be done and asks for leave; `--yes` gives it.
    ///
    /// # Errors
    ///
    /// Code 4 when leave is not given, or nobody can be asked.
    pub(super) fn confirm(&self, preview: &str) -> Result<(), Failure> {
        eprintln!("{preview}");
        if self.yes {
            return Ok(());
        }
        let refused = |hint: &str| Failure {
            error: Error::invalid("not confirmed, so nothing was changed").with_hint(hint),
            code: 4,
        };
        if !std::io::stdin().is_terminal() {
            return Err(refused("`--yes` does it without asking."));
        }
        eprint!("Go on? [y/N] ");
        // What cannot be shown cannot be answered either.
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match (read, answer.trim()) {
            (Ok(_), "y" | "Y" | "yes") => Ok(()),
            _ => Err(refused("Answer `y`, or give `--yes`.")),
        }
    }
}

/// A server that does not answer is not reachable; what it answers is the verb's failure.
pub(super) fn of_server(error: Error) -> Failure {
    let code = if error.kind == ErrorKind::Unavailable { 3 } else { 1 };
    Failure { error, code }
}

fn is_colored(choice: ColorChoice) -> bool {
    let color = match choice {
        ColorChoice::Auto => Color::Auto,
        ColorChoice::Always => Color::Always,
        ColorChoice::Never => Color::Never,
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    color.is_on(std::io::stderr().is_terminal(), no_color)
}
