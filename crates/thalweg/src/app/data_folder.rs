//! The data folder: who owns it, its incarnation, and where the server listens.
//!
//! One process at a time (S27): the lock file holds its pid and is locked by the system, so that it
//! is free again however the process ended. Who only asks a question has the folder for a moment, and
//! is waited for. The incarnation is made once, with the folder (S9).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng as _;
use serde_json::json;
use thalweg_core::env::Env;
use thalweg_core::{Error, Result};

/// How long a question that has the folder is waited for; longer than one may take.
const QUESTION_WAIT: Duration = Duration::from_secs(90);
/// How long a question waits for a server that has the folder to listen.
const SERVER_WAIT: Duration = Duration::from_secs(10);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What a question writes behind its pid.
const QUESTION: &str = "question";

/// What a data folder is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// To run the project, or to change what is there.
    Run,
    /// To answer one question.
    Question,
}

/// A data folder that is ours while this lives.
pub(crate) struct DataFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Id made with the folder.
    pub incarnation: String,
    _lock: File,
}

impl DataFolder {
    /// Takes a folder, making it if need be. Waits for a question that has it; a question waits for
    /// a server that has it to listen.
    ///
    /// # Errors
    ///
    /// `Unavailable` when it cannot be written to, or another process keeps it.
    pub(crate) async fn open(env: &Env, path: &Path, its_use: Use) -> Result<Self> {
        let mut waited = Duration::ZERO;
        let mut holder_before = None;
        loop {
            let holder = match Self::try_open(path, its_use)? {
                Ok(folder) => return Ok(folder),
                Err(holder) => Some(holder),
            };
            let is_question = holder.as_ref().is_some_and(|it| it.ends_with(QUESTION));
            let wait = match its_use {
                _ if is_question => QUESTION_WAIT,
                Use::Question if address_of(path).is_none() => SERVER_WAIT,
                // Who has just taken it may not have said so yet.
                _ if holder != holder_before => waited + LOOK_EVERY,
                _ => Duration::ZERO,
            };
            if waited >= wait || !env.sleep(LOOK_EVERY).await {
                let holder = holder.unwrap_or_default();
                let pid = holder.split_whitespace().next().unwrap_or("that has just begun");
                return Err(Error::unavailable(format!(
                    "the data folder {} is in use by process {pid}",
                    path.display(),
                ))
                .with_hint("Stop that one first, or choose another folder with `--data-dir`."));
            }
            holder_before = holder;
            waited += LOOK_EVERY;
        }
    }

    /// Takes a folder, or says who has it.
    fn try_open(path: &Path, its_use: Use) -> Result<std::result::Result<Self, String>> {
        let cannot = |what: &str, error: std::io::Error| {
            Error::unavailable(format!("cannot {what} in the data folder {}", path.display()))
                .with_source(error)
                .with_hint("Choose another folder with `--data-dir`.")
        };
        std::fs::create_dir_all(path).map_err(|error| cannot("make files", error))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| cannot("write", error))?;
        if lock.try_lock().is_err() {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            return Ok(Err(holder.trim().to_owned()));
        }
        let holder = match its_use {
            Use::Run => std::process::id().to_string(),
            Use::Question => format!("{} {QUESTION}", std::process::id()),
        };
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{holder}"))
            .map_err(|error| cannot("write", error))?;
        let incarnation = incarnation(path).map_err(|error| cannot("write", error))?;
        // Addresses of an earlier process mean nothing.
        let _ = std::fs::remove_file(path.join("addresses.json"));
        Ok(Ok(Self { path: path.to_owned(), incarnation, _lock: lock }))
    }

    /// Says where the server listens, for other commands.
    pub(crate) fn publish_addresses(&self, http: std::net::SocketAddr) -> Result<()> {
        let text = json!({ "http": format!("http://{http}"), "pid": std::process::id() });
        std::fs::write(self.path.join("addresses.json"), text.to_string())
            .map_err(|error| Error::unavailable("cannot write addresses.json").with_source(error))
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path.join("addresses.json"));
    }
}

/// Where the server of a data folder listens, if one runs.
pub(crate) fn address_of(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path.join("addresses.json")).ok()?;
    // One that was killed has left its addresses, but not its lock.
    let lock = File::open(path.join("lock")).ok()?;
    if lock.try_lock_shared().is_ok() {
        return None;
    }
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    value["http"].as_str().map(str::to_owned)
}

fn incarnation(path: &Path) -> std::io::Result<String> {
    let file = path.join("incarnation");
    match std::fs::read_to_string(&file) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    #[expect(clippy::disallowed_methods, reason = "an id that must differ between data folders")]
    let id = format!("{:032x}", rand::rng().random::<u128>());
    let temporary = path.join("incarnation.tmp");
    let mut out = File::create(&temporary)?;
    writeln!(out, "{id}")?;
    out.sync_all()?;
    std::fs::rename(&temporary, &file)?;
    File::open(path)?.sync_all()?;
    Ok(id)
}
