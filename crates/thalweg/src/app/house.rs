//! Keeping house: what the data folder takes of the disk, and what may go (S26).
//!
//! Each second the log is told how much is left for it beside outboxes, checkpoints and the store;
//! beyond that its sources pause. Segments that nobody needs go every few minutes, and at once where
//! room is scarce.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thalweg_core::budget::{Budget, Holding};
use thalweg_core::env::{Disk, Env};
use thalweg_core::log::TopicSettings;
use thalweg_core::{Error, Result};
use thalweg_log::EmbeddedLog;
use thalweg_project::{DiskBudget, Project};

/// How often the folder is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How often old segments go while there is room.
const RETAIN_EVERY: Duration = Duration::from_secs(300);
/// Segments a journal has at least when it keeps all it may: only whole ones can go.
const SEGMENTS_MIN: u64 = 16;
/// Smallest segment.
const SEGMENT_BYTES_MIN: u64 = 256 << 10;

/// How many bytes the data folder may take.
pub(super) fn disk_budget(budget: DiskBudget, disk: &dyn Disk, folder: &Path) -> Result<u64> {
    let percent = match budget {
        DiskBudget::Bytes(bytes) => return Ok(bytes),
        DiskBudget::Percent(percent) => percent,
    };
    let volume = disk.volume_bytes(folder).map_err(|error| {
        Error::unavailable(format!("cannot find the size of the volume of {}", folder.display()))
            .with_source(error)
            .with_hint("Give `runtime.disk` in bytes.")
    })?;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a volume, to a byte or a few"
    )]
    Ok(volume.map_or(u64::MAX, |bytes| (bytes as f64 * percent / 100.0) as u64))
}

/// How the journals of `feeds` live sources are kept: together in half of what there is, so that what
/// nobody needs goes before anybody has to wait.
pub(super) fn journal_settings(disk_bytes: u64, feeds: usize) -> TopicSettings {
    let settings = TopicSettings::default();
    let share = disk_bytes / 2 / (feeds as u64).max(1);
    let kept = settings.retention_bytes.unwrap_or(u64::MAX).min(share);
    let segment = (kept / SEGMENTS_MIN).max(SEGMENT_BYTES_MIN);
    TopicSettings {
        retention_bytes: Some(kept),
        segment_bytes: settings.segment_bytes.min(segment),
        ..settings
    }
}

/// The topics of a project that are no journals, and how each is kept.
pub(super) fn published_topics(project: &Project) -> BTreeMap<String, TopicSettings> {
    let declared = project.topics.iter().map(|topic| topic.name.as_str());
    let published = project.published().map(|(topic, _)| topic.as_str());
    let settings = |name: &str| {
        let Some(topic) = project.topic(name) else { return TopicSettings::default() };
        let segment = (topic.retention_bytes / SEGMENTS_MIN).max(SEGMENT_BYTES_MIN);
        TopicSettings {
            partitions: topic.partitions,
            retention_age: Some(topic.retention_age),
            retention_bytes: Some(topic.retention_bytes),
            segment_bytes: TopicSettings::default().segment_bytes.min(segment),
        }
    };
    declared.chain(published).map(|name| (name.to_owned(), settings(name))).collect()
}

/// Measures the data folder, and lets old segments go.
pub(super) struct House {
    log: Arc<EmbeddedLog>,
    disk: Budget,
    folder: PathBuf,
    of_log: Holding,
    of_others: Holding,
}

impl House {
    pub(super) fn new(log: &Arc<EmbeddedLog>, disk: &Budget, folder: &Path) -> Self {
        Self {
            log: Arc::clone(log),
            disk: disk.clone(),
            folder: folder.to_owned(),
            of_log: disk.holding("the log"),
            of_others: disk.holding("checkpoints, the store and models"),
        }
    }

    /// Until the process stops.
    pub(super) async fn keep(self, env: Env) {
        let mut retained_at = env.clock.now();
        loop {
            self.measure().await;
            let now = env.clock.now();
            let is_scarce = self.disk.used() >= self.disk.limit() / 4 * 3;
            if is_scarce || now.since(retained_at) >= RETAIN_EVERY {
                retained_at = now;
                let log = Arc::clone(&self.log);
                let removed = tokio::task::spawn_blocking(move || log.retain(now)).await;
                if let Ok(Err(error)) = removed {
                    tracing::warn!(error = error.chain(), "retention failed");
                }
            }
            if !env.doze(MEASURE_EVERY).await {
                return;
            }
        }
    }

    async fn measure(&self) {
        let folder = self.folder.clone();
        // The log and the outboxes count what they hold themselves.
        let others = move || {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let others = entries.map(|entry| entry.path()).filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                !matches!(name, Some("log" | "outbox"))
            });
            others.map(|path| bytes_of(&path)).sum::<u64>()
        };
        if let Ok(bytes) = tokio::task::spawn_blocking(others).await {
            self.of_others.set(bytes);
        }
        let log = self.log.usage().iter().map(|partition| partition.bytes).sum();
        self.of_log.set(log);
        let left = self.disk.limit().saturating_sub(self.disk.used().saturating_sub(log));
        self.log.set_budget(Some(left));
    }
}

/// Bytes of a file, or of all files below a folder; what has just gone counts nothing.
fn bytes_of(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| bytes_of(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_share_half_of_the_disk_in_segments_that_can_go() {
        let plenty = journal_settings(u64::MAX, 1);
        assert_eq!(plenty, TopicSettings::default());
        let little = journal_settings(64 << 20, 2);
        assert_eq!((little.retention_bytes, little.segment_bytes), (Some(16 << 20), 1 << 20));
    }
}
