//! Opening what a crash, or a person, may have left: the decisions of recovery.
//!
//! | found | done |
//! |---|---|
//! | a bad batch in the active segment | cut there: it was not synced, or the disk lost it |
//! | a bad batch in a closed segment, a hole, a wrong header | nothing: the log does not open |
//! | an index missing or wrong | made again |
//! | a segment without its name, an index without its segment | removed |
//! | the mark of a failed sync | the active segment is written again: the system may believe that what it holds in memory is on the disk |
//! | anything else that is not ours | left alone and reported |

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thalweg_core::env::{Disk, DiskFile};
use thalweg_core::log::TopicSettings;
use thalweg_core::topic::{Offset, TopicPartition};
use thalweg_core::{Error, Result};

use crate::error::{cannot, damaged};
use crate::index::SegmentIndex;
use crate::partition::{Partition, Parts};
use crate::segment::{self, FileKind};

/// What opening the log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Active segments that were cut.
    pub cut: Vec<CutTail>,
    /// Indexes that were made again.
    pub indexes_rebuilt: Vec<PathBuf>,
    /// Files and folders that are not the log's.
    pub left_alone: Vec<PathBuf>,
}

/// The end of an active segment that was cut off: what was never synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutTail {
    /// Where.
    pub partition: TopicPartition,
    /// Where the partition ends now.
    pub log_end: Offset,
    /// Bytes that were cut off.
    pub bytes: u64,
    /// What was wrong with them.
    pub reason: String,
}

/// Makes the folder of a new partition with its first segment, whose name the caller makes durable.
/// What is there already stays.
pub(crate) fn make_partition(disk: &dyn Disk, folder: &Path) -> Result<()> {
    disk.create_dir_all(folder).map_err(|error| cannot("make", folder, error))?;
    let names = disk.list(folder).map_err(|error| cannot("list", folder, error))?;
    if names.iter().any(|name| matches!(FileKind::of(name), FileKind::Segment(_))) {
        return Ok(());
    }
    segment::create(disk, folder)
        .and_then(|_| disk.rename(&folder.join(segment::UNNAMED), &segment::path(folder, 0)))
        .map_err(|error| cannot("begin a partition in", folder, error))
}

/// Opens the partition in `folder`.
///
/// # Errors
///
/// `Internal` when something is damaged that was synced before.
pub(crate) fn open_partition(
    parts: &Parts,
    name: TopicPartition,
    folder: PathBuf,
    settings: &TopicSettings,
    recovery: &mut Recovery,
) -> Result<Partition> {
    let disk = &*parts.disk;
    let Found { mut segments, sync_failed } = sort_files(disk, &folder, recovery)?;
    let Some(active_base) = segments.pop_last() else {
        return Err(damaged(&folder, "A partition has at least one segment; there is none."));
    };
    // A killed process may have named the active segment and not synced the name.
    disk.sync_dir(&folder).map_err(|error| cannot("sync", &folder, error))?;
    let mut closed = VecDeque::with_capacity(segments.len());
    for base in segments {
        let segment = open_closed(disk, &folder, base, recovery)?;
        check_joins(&folder, closed.back().map(|last: &Arc<SegmentIndex>| last.end), base)?;
        closed.push_back(Arc::new(segment));
    }
    check_joins(&folder, closed.back().map(|last| last.end), active_base)?;
    let (active, file) = open_active(disk, &folder, &name, active_base, sync_failed, recovery)?;
    if sync_failed {
        let mark = folder.join(segment::SYNC_FAILED);
        disk.remove(&mark).map_err(|error| cannot("remove", &mark, error))?;
    }
    Ok(Partition::new(name, folder, parts.clone(), settings.clone(), closed, (active, file)))
}

/// What is in a partition's folder.
struct Found {
    /// Base offsets.
    segments: BTreeSet<Offset>,
    /// Whether a sync failed in the last process.
    sync_failed: bool,
}

/// Looks through a partition's folder and removes leftovers.
fn sort_files(disk: &dyn Disk, folder: &Path, recovery: &mut Recovery) -> Result<Found> {
    let names = disk.list(folder).map_err(|error| cannot("list", folder, error))?;
    let mut segments = BTreeSet::new();
    let mut indexes = Vec::new();
    let mut leftovers = Vec::new();
    let mut sync_failed = false;
    for name in names {
        match FileKind::of(&name) {
            FileKind::Segment(base) => {
                segments.insert(base);
            }
            FileKind::Index(base) => indexes.push(base),
            FileKind::SyncFailed => sync_failed = true,
            FileKind::Unnamed => leftovers.push(folder.join(name)),
            FileKind::Foreign => recovery.left_alone.push(folder.join(name)),
        }
    }
    // Only a closed segment has an index.
    let closed = |base| segments.contains(&base) && segments.last() != Some(&base);
    let stray = indexes.into_iter().filter(|base| !closed(*base));
    leftovers.extend(stray.map(|base| segment::index_path(folder, base)));
    for path in leftovers {
        disk.remove(&path).map_err(|error| cannot("remove", &path, error))?;
    }
    Ok(Found { segments, sync_failed })
}

fn check_joins(folder: &Path, end: Option<Offset>, base: Offset) -> Result<()> {
    match end {
        Some(end) if end != base => Err(damaged(
            &segment::path(folder, base),
            format!("It begins at offset {base}, but the segment before it ends at {end}."),
        )),
        _ => Ok(()),
    }
}

/// Opens a closed segment by its index, or reads all of it to make the index again.
fn open_closed(
    disk: &dyn Disk,
    folder: &Path,
    base: Offset,
    recovery: &mut Recovery,
) -> Result<SegmentIndex> {
    let path = segment::path(folder, base);
    let file = disk.open_to_read(&path).map_err(|error| cannot("open", &path, error))?;
    let length = checked_length(&*file, &path)?;

    let index_path = segment::index_path(folder, base);
    let found = disk.read(&index_path).ok();
    if let Some(index) = found.and_then(|bytes| SegmentIndex::decode(&bytes, base, length)) {
        return Ok(index);
    }

    let mut index = SegmentIndex::new(base);
    let scanned = segment::scan(&*file, length, &mut index);
    if let Some(damage) = scanned.map_err(|error| cannot("read", &path, error))? {
        return Err(damaged(&path, format!("At byte {}: {}.", damage.position, damage.reason)));
    }
    index.write(disk, &index_path);
    recovery.indexes_rebuilt.push(index_path);
    Ok(index)
}

/// Opens the active segment, cuts it where it is torn, and syncs it: what is found is stable then.
fn open_active(
    disk: &dyn Disk,
    folder: &Path,
    name: &TopicPartition,
    base: Offset,
    sync_failed: bool,
    recovery: &mut Recovery,
) -> Result<(SegmentIndex, Arc<dyn DiskFile>)> {
    let path = segment::path(folder, base);
    let file = disk.open(&path, false).map_err(|error| cannot("open", &path, error))?;
    let length = checked_length(&*file, &path)?;

    let mut index = SegmentIndex::new(base);
    let scanned = segment::scan(&*file, length, &mut index);
    if let Some(damage) = scanned.map_err(|error| cannot("read", &path, error))? {
        file.truncate(damage.position).map_err(|error| cannot("cut", &path, error))?;
        recovery.cut.push(CutTail {
            partition: name.clone(),
            log_end: index.end,
            bytes: length - damage.position,
            reason: damage.reason,
        });
    }
    if sync_failed {
        segment::rewrite(&*file, index.length)
            .map_err(|error| cannot("write again", &path, error))?;
    }
    file.sync_data().map_err(|error| {
        segment::mark_sync_failed(disk, folder, &error.to_string());
        Error::internal(format!("cannot sync {}", path.display()))
            .with_hint("Check the disk, then start again.")
            .with_source(error)
    })?;
    Ok((index, Arc::from(file)))
}

/// The length of a segment that has its header.
fn checked_length(file: &dyn DiskFile, path: &Path) -> Result<u64> {
    let wrong = segment::check_header(file).map_err(|error| cannot("read", path, error))?;
    match wrong {
        Some(reason) => Err(damaged(path, reason)),
        None => file.len().map_err(|error| cannot("read", path, error)),
    }
}
