//! What keeps a table fast and small: checkpoints, the clean-up of its log, and the removal of data
//! files that no version needs.
//!
//! Checkpoints are made aside, never by the one who commits (D4). How often is a trade: a reader
//! replays the commits since the last one, a checkpoint writes down every file. The log keeps the
//! commits of 30 days, at most [`COMMITS_KEPT`], for history and time travel.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake_core::kernel::Version;
use deltalake_core::logstore::commit_uri_from_version;
use deltalake_core::table::state::DeltaTableState;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use thalweg_core::time::{Day, Timestamp};
use thalweg_core::{Error, Result};

use super::log::{Head, Log};
use super::statistics;
use super::table::{Delta, Shared};
use super::writer::is_ours;
use crate::error::fold;
use crate::storage::{file_time, is_staged};

/// Commits after which a checkpoint is due, of a small table and of a large one.
const CHECKPOINT_COMMITS: (u64, u64) = (20, 200);
/// Files for which one more commit may pass before a checkpoint is due.
const FILES_PER_COMMIT: u64 = 50;
const COMMITS_KEPT: u64 = 10_000;
const LOG_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Age from which an uncommitted file is taken for one that nobody will commit any more.
const LEFTOVER_AGE: Duration = Duration::from_secs(86_400);
const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

/// A data file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    /// Its path below the table's folder.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows, where known.
    pub rows: Option<u64>,
    /// The day of its rows, where the table has a day column and they have a day.
    pub day: Option<Day>,
}

/// The data files of a version; `day_column` names their folders.
pub(crate) fn files_of(state: &DeltaTableState, day_column: Option<&str>) -> Vec<TableFile> {
    let files = state.log_data();
    let file = files.iter().map(|file| TableFile {
        path: file.path().into_owned(),
        bytes: u64::try_from(file.size()).unwrap_or(0),
        rows: statistics::rows(file.stats().as_deref()),
        day: day_column
            .and_then(|column| file.partition_values_map().remove(column)?)
            .and_then(|day| Day::parse(&day)),
    });
    file.collect()
}

impl Delta {
    /// The data files of the newest version.
    pub async fn files(&self) -> Result<Vec<TableFile>> {
        let shared = self.shared().await?;
        let version = {
            let mut head = shared.head.lock().await;
            shared.catch_up(&mut head).await?;
            head.version
        };
        let state = shared.snapshots.at(version).await?;
        let day_column = shared.columns.partition.as_ref().map(|by| by.column.as_str());
        Ok(files_of(&state, day_column))
    }

    /// Removes our data files that the newest version does not hold and that left the table, or
    /// were written and never committed, more than `keep` ago; older versions that need them can
    /// then no longer be read. Returns how many were removed.
    pub async fn vacuum(&self, keep: Duration) -> Result<usize> {
        self.shared().await?.remove_unused(keep.max(LEFTOVER_AGE), Some(keep)).await
    }

    /// Makes a checkpoint of the newest version and cleans the log, due or not.
    pub async fn checkpoint(&self) -> Result<()> {
        self.shared().await?.tidy().await
    }
}

impl Shared {
    /// Starts a checkpoint aside when one is due and none is being made.
    pub(crate) fn tidy_when_due(self: &Arc<Self>, head: &Head) {
        let files = self.file_count.load(Ordering::Relaxed) as u64;
        if !is_checkpoint_due(head.version - head.checkpoint.min(head.version), files)
            || self.is_tidying.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let shared = self.clone();
        self.env.spawn(async move {
            if let Err(error) = shared.tidy().await {
                tracing::warn!(table = shared.name, error = error.chain(), "no checkpoint made");
            }
            shared.is_tidying.store(false, Ordering::Release);
        });
    }

    async fn tidy(&self) -> Result<()> {
        let version = {
            let mut head = self.head.lock().await;
            self.catch_up(&mut head).await?;
            head.version
        };
        let cannot_tidy = || format!("cannot make a checkpoint of {}", self.log.place());
        let state = self.snapshots.at(version).await?;
        let files = state.log_data().num_files();
        let mut table = DeltaTable::new(self.log.store.clone());
        table.state = Some(state);
        let made = create_checkpoint(&table, None).await;
        made.map_err(|error| fold(cannot_tidy(), error))?;
        self.file_count.store(files, Ordering::Relaxed);
        {
            let mut head = self.head.lock().await;
            head.checkpoint = head.checkpoint.max(version);
        }
        let cutoff = self.log_cutoff(version).await?;
        let cleaned =
            cleanup_expired_logs_for(version, self.log.store.as_ref(), cutoff.millis(), None).await;
        cleaned.map(|_| ()).map_err(|error| fold(cannot_tidy(), error))
    }

    /// The instant from which the log is kept.
    async fn log_cutoff(&self, version: Version) -> Result<Timestamp> {
        let mut cutoff = file_time().minus(LOG_KEPT);
        if let Some(oldest) = version.checked_sub(COMMITS_KEPT) {
            let commit = commit_uri_from_version(Some(oldest));
            match self.objects().head(&commit).await {
                Ok(file) => cutoff = cutoff.max(modified(&file)),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.cannot_list(error)),
            }
        }
        Ok(cutoff)
    }

    /// Removes what a process that died had written, and nobody will commit.
    pub(crate) async fn remove_leftovers(&self) -> Result<()> {
        self.remove_unused(LEFTOVER_AGE, None).await.map(|_| ())
    }

    async fn remove_unused(
        &self,
        leftover_age: Duration,
        removed_age: Option<Duration>,
    ) -> Result<usize> {
        let objects = self.objects();
        let listed: Vec<ObjectMeta> =
            objects.list(None).try_collect().await.map_err(|error| self.cannot_list(error))?;
        let candidates: Vec<ObjectMeta> = listed.into_iter().filter(is_candidate).collect();
        if candidates.is_empty() {
            return Ok(0);
        }
        // The log is read after the folder: a file committed in between is in it.
        let version = {
            let mut head = self.head.lock().await;
            self.catch_up(&mut head).await?;
            head.version
        };
        let state = self.snapshots.at(version).await?;
        let files = state.log_data();
        let held: HashSet<String> = files.iter().map(|file| file.path().into_owned()).collect();
        let removed: HashMap<String, Timestamp> = state
            .all_tombstones(self.log.store.as_ref())
            .map_ok(|file| {
                let at = Timestamp::from_millis(file.deletion_timestamp().unwrap_or(i64::MAX));
                (file.path().into_owned(), at)
            })
            .try_collect()
            .await
            .map_err(|error| fold(format!("cannot read {}", self.log.place()), error))?;
        let now = file_time();
        let unused: Vec<Path> = candidates
            .into_iter()
            .filter(|file| {
                let path = file.location.as_ref();
                let (since, age) = match removed.get(path) {
                    _ if held.contains(path) => return false,
                    Some(at) => (*at, removed_age),
                    None => (modified(file), Some(leftover_age)),
                };
                age.is_some_and(|age| now.since(since) >= age)
            })
            .map(|file| file.location)
            .collect();
        let locations = futures::stream::iter(unused.into_iter().map(Ok)).boxed();
        let deleted = objects.delete_stream(locations).filter_map(async |deleted| match deleted {
            // Somebody else removed it.
            Err(object_store::Error::NotFound { .. }) => None,
            deleted => Some(deleted),
        });
        let deleted: Result<Vec<Path>, _> = deleted.try_collect().await;
        deleted.map(|deleted| deleted.len()).map_err(|error| self.cannot_list(error))
    }

    fn cannot_list(&self, error: object_store::Error) -> Error {
        fold(format!("cannot clean up {}", self.log.place()), error)
    }
}

/// The version of the last checkpoint; 0 when there is none, or its hint says nothing.
pub(crate) async fn last_checkpoint(log: &Log) -> Result<Version> {
    let cannot_read = || format!("cannot read the log of {}", log.place());
    let bytes = match log.store.object_store(None).get(&Path::from(LAST_CHECKPOINT)).await {
        Ok(file) => file.bytes().await.map_err(|error| fold(cannot_read(), error))?,
        Err(object_store::Error::NotFound { .. }) => return Ok(0),
        Err(error) => return Err(fold(cannot_read(), error)),
    };
    let hint: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(hint["version"].as_u64().unwrap_or(0))
}

fn is_checkpoint_due(commits: u64, files: u64) -> bool {
    let (least, most) = CHECKPOINT_COMMITS;
    commits >= (files / FILES_PER_COMMIT).clamp(least, most)
}

fn is_candidate(file: &ObjectMeta) -> bool {
    file.location.filename().is_some_and(|name| is_ours(name) || is_staged(name))
}

fn modified(file: &ObjectMeta) -> Timestamp {
    Timestamp(file.last_modified.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_table_gets_fewer_checkpoints() {
        assert!(!is_checkpoint_due(19, 3));
        assert!(is_checkpoint_due(20, 3));
        assert!(!is_checkpoint_due(39, 2_000));
        assert!(is_checkpoint_due(40, 2_000));
        assert!(is_checkpoint_due(200, 1_000_000));
    }
}
