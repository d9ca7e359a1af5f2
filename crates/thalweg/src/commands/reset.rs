//! `thalweg reset`: everything the project has stored in its data folder, gone.
//!
//! Tables of the lake and targets of sinks are not touched: they hold rows of this folder's
//! incarnation, and the next start says what can be done about each (`sinks adopt`, `sinks reset`).

use std::path::Path;

use thalweg_core::{Error, Result};

use super::place::Place;
use super::{Failure, machine};
use crate::app::data_folder::{DataFolder, Use};

/// What a data folder of ours holds; anything else in it is somebody else's.
const OURS: [&str; 10] = [
    "addresses.json",
    "admin_token",
    "checkpoints",
    "incarnation",
    "log",
    "models",
    "outbox",
    "store.sqlite",
    "store.sqlite-shm",
    "store.sqlite-wal",
];

pub(super) async fn run(place: &Place) -> std::result::Result<u8, Failure> {
    if !place.data.join("incarnation").exists() {
        return Err(Error::invalid(format!("{} is no data folder", place.data.display()))
            .with_hint("`--data-dir` names another one.")
            .into());
    }
    // Nobody may be at work in it, now or while it goes.
    let folder = DataFolder::open(&machine(None), &place.data, Use::Run).await?;
    let mut bytes = 0;
    for name in OURS {
        bytes += size(&folder.path.join(name));
    }
    place.confirm(&format!(
        "{} of journals, checkpoints, state and histories in {} are removed.\n\
         Tables and targets of sinks keep their rows; the next start asks what to do with each.",
        indicatif::HumanBytes(bytes),
        folder.path.display()
    ))?;
    // The incarnation last: while it is there, a reset that was cut off can be done again.
    for name in OURS.iter().filter(|name| **name != "incarnation").chain(["incarnation"].iter()) {
        remove(&folder.path.join(name))?;
    }
    if !place.is_quiet {
        eprintln!("removed");
    }
    Ok(0)
}

fn size(path: &Path) -> u64 {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries.flatten().map(|entry| size(&entry.path())).sum()
}

fn remove(path: &Path) -> Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    removed.map_err(|error| {
        Error::unavailable(format!("cannot remove {}", path.display())).with_source(error)
    })
}
