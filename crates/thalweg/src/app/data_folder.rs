//! The data folder: who owns it, its incarnation, and where the server listens.
//!
//! One process at a time (S27): the lock file holds its pid and is locked by the system, so that it
//! is free again however the process ended. The incarnation is made once, with the folder (S9).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rand::Rng as _;
use serde_json::json;
use thalweg_core::{Error, Result};

/// A data folder that is ours while this lives.
pub(crate) struct DataFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Id made with the folder.
    pub incarnation: String,
    _lock: File,
}

impl DataFolder {
    /// Takes a folder, making it if need be.
    ///
    /// # Errors
    ///
    /// `Unavailable` when it cannot be written to, or another process has it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
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
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            return Err(Error::unavailable(format!(
                "the data folder {} is in use by process {}",
                path.display(),
                pid.trim()
            ))
            .with_hint("Stop that one first, or choose another folder with `--data-dir`."));
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|error| cannot("write", error))?;
        let incarnation = incarnation(path).map_err(|error| cannot("write", error))?;
        // Addresses of an earlier process mean nothing.
        let _ = std::fs::remove_file(path.join("addresses.json"));
        Ok(Self { path: path.to_owned(), incarnation, _lock: lock })
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
