//! Checkpoints: a pipeline's positions, state and ledger at the end of one epoch.
//!
//! A checkpoint is one file, there whole or not at all, named by a row of the store. It is kept
//! until every sink has passed it (S8), since a restart goes back to the newest checkpoint that no
//! sink is behind.
//!
//! ```text
//! "THWGCKPT" · version u32 LE = 1 · head length u64 LE · head (JSON) · per batch of the head, in
//! order: length u64 LE · Arrow IPC stream · at the end CRC-32C of everything before it, u32 LE
//! ```

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use serde_json::json;
use thalweg_core::env::Disk;
use thalweg_core::ledger::{OperatorLedger, RouteLedger, SinkLedger, SourceLedger};
use thalweg_core::model::Serving;
use thalweg_core::sink::Epoch;
use thalweg_core::store::{Expected, Store};
use thalweg_core::topic::Offset;
use thalweg_core::{Error, Result};

use crate::lookups::SnapshotNumber;
use crate::operators::Snapshot;
use crate::operators::expressions::engine_error;
use crate::watermark::Watermark;

#[cfg(test)]
mod tests;

const MAGIC: &[u8; 8] = b"THWGCKPT";
const VERSION: u32 = 1;
const KIND: &str = "checkpoint";

/// Everything a pipeline needs to go on after an epoch.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Small facts.
    pub head: Head,
    /// State of each operator.
    pub operators: Vec<Snapshot>,
    /// Current results, by name.
    pub results: BTreeMap<String, RecordBatch>,
}

/// The small facts of a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The epoch it was taken after.
    pub epoch: Epoch,
    /// Where reading goes on, by partition.
    pub positions: BTreeMap<u32, Position>,
    /// How far event time has come.
    pub watermark: Watermark,
    /// Counts of the source.
    pub source: SourceLedger,
    /// Committed epoch and counts of each sink.
    pub sinks: BTreeMap<String, SinkPosition>,
    /// Counts of each operator, in the order of the flow.
    #[serde(default)]
    pub ledgers: Vec<OperatorLedger>,
    /// First offset of the epoch records behind this checkpoint.
    pub epochs_from: Offset,
    /// First offset of the side topics behind this checkpoint, by topic.
    pub sides_from: BTreeMap<String, Offset>,
    /// Who answered for each model of the pipeline.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, Serving>,
    /// The snapshot of each lookup.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lookups: BTreeMap<String, SnapshotNumber>,
    /// Where the route has sent rows, if the pipeline is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteLedger>,
    /// What the query was; another one cannot take this state.
    pub query: String,
}

/// Where reading goes on in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Next offset.
    pub next: Offset,
    /// The input's manifest.
    pub manifest: Option<String>,
}

/// Where a sink stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkPosition {
    /// The last epoch the target is known to hold.
    pub committed: Epoch,
    /// Its counts up to there.
    pub ledger: SinkLedger,
}

#[derive(Serialize, Deserialize)]
struct FileHead {
    head: Head,
    operators: Vec<OperatorHead>,
    results: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct OperatorHead {
    facts: serde_json::Value,
    batches: Vec<String>,
}

impl Checkpoint {
    /// The bytes of the file.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let file_head = FileHead {
            head: self.head.clone(),
            operators: self
                .operators
                .iter()
                .map(|operator| OperatorHead {
                    facts: operator.facts.clone(),
                    batches: operator.batches.iter().map(|(name, _)| name.clone()).collect(),
                })
                .collect(),
            results: self.results.keys().cloned().collect(),
        };
        let head = serde_json::to_vec(&file_head).map_err(engine_error)?;
        let states = self.operators.iter().flat_map(|operator| &operator.batches);
        let batches: Vec<_> = states.map(|(_, batch)| batch).chain(self.results.values()).collect();
        // Growing by doubling would take twice what is largest in the process again.
        let rows: usize = batches.iter().map(|batch| batch.get_array_memory_size()).sum();
        let mut bytes = Vec::with_capacity(head.len() + rows + rows / 8 + 4096);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(head.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&head);
        for batch in batches {
            let length_at = bytes.len();
            bytes.extend_from_slice(&0_u64.to_le_bytes());
            let mut writer =
                StreamWriter::try_new(&mut bytes, batch.schema_ref()).map_err(engine_error)?;
            writer.write(batch).map_err(engine_error)?;
            writer.finish().map_err(engine_error)?;
            drop(writer);
            let from = length_at + size_of::<u64>();
            let length = (bytes.len() - from) as u64;
            bytes[length_at..from].copy_from_slice(&length.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// `Internal` when they are damaged or of a later version.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::internal("a checkpoint is damaged");
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(damaged());
        }
        let rest = body.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Error::internal("a checkpoint was written by a later version")
                .with_hint("Run the version that wrote it, or a newer one."));
        }
        let mut rest = rest;
        let head = section(&mut rest).ok_or_else(damaged)?;
        let head: FileHead = serde_json::from_slice(head).map_err(|error| {
            Error::internal("a checkpoint's head is damaged").with_source(error)
        })?;
        let mut batch = || -> Result<RecordBatch> {
            let stream = section(&mut rest).ok_or_else(damaged)?;
            let mut reader =
                StreamReader::try_new(Cursor::new(stream), None).map_err(engine_error)?;
            reader.next().ok_or_else(damaged)?.map_err(engine_error)
        };
        let mut operators = Vec::with_capacity(head.operators.len());
        for operator in head.operators {
            let batches = operator.batches.into_iter().map(|name| Ok((name, batch()?)));
            let batches = batches.collect::<Result<_>>()?;
            operators.push(Snapshot { facts: operator.facts, batches });
        }
        let results = head.results.into_iter().map(|name| Ok((name, batch()?)));
        let results = results.collect::<Result<_>>()?;
        Ok(Self { head: head.head, operators, results })
    }
}

fn section<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (section, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(section)
}

/// The query of each pipeline that has a checkpoint under `folder`, by its name.
///
/// # Errors
///
/// Of the store and the disk; `Internal` when a checkpoint is damaged.
pub async fn queries(
    disk: &dyn Disk,
    store: &dyn Store,
    folder: &Path,
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for row in store.list(KIND, "", false, usize::MAX).await? {
        let kept: Vec<Kept> =
            serde_json::from_value(row.value["kept"].clone()).map_err(engine_error)?;
        let Some(newest) = kept.last() else { continue };
        let path = folder.join(&row.id).join(&newest.file);
        let bytes = disk.read(&path).map_err(|error| {
            Error::unavailable(format!("cannot read the checkpoint {}", path.display()))
                .with_source(error)
        })?;
        found.insert(row.id, Checkpoint::decode(&bytes)?.head.query);
    }
    Ok(found)
}

/// The checkpoints of one pipeline.
pub struct Checkpoints {
    disk: Arc<dyn Disk>,
    store: Arc<dyn Store>,
    folder: PathBuf,
    pipeline: String,
    kept: Vec<Kept>,
}

/// A checkpoint that is kept, as its row tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The epoch it was taken after.
    pub epoch: Epoch,
    /// Its file, within the folder.
    pub file: String,
    /// Size of the file.
    pub bytes: u64,
}

/// Checkpoints kept at most; when sinks are far behind, some between are dropped.
const KEPT_MAX: usize = 32;

impl Checkpoints {
    /// The checkpoints of `pipeline` under `folder`.
    pub async fn open(
        disk: Arc<dyn Disk>,
        store: Arc<dyn Store>,
        folder: &Path,
        pipeline: &str,
    ) -> Result<Self> {
        let folder = folder.join(pipeline);
        disk.create_dir_all(&folder).map_err(|error| {
            Error::unavailable(format!("cannot make the folder {}", folder.display()))
                .with_source(error)
        })?;
        let kept = match store.get(KIND, pipeline).await? {
            Some(row) => serde_json::from_value(row.value["kept"].clone()).map_err(engine_error)?,
            None => Vec::new(),
        };
        Ok(Self { disk, store, folder, pipeline: pipeline.to_owned(), kept })
    }

    /// Those that are kept, oldest first.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// The newest checkpoint.
    pub fn newest(&self) -> Result<Option<Checkpoint>> {
        self.kept.last().map(|kept| self.read(kept)).transpose()
    }

    /// The newest checkpoint taken after no later epoch than `epoch`.
    pub fn at_most(&self, epoch: Epoch) -> Result<Option<Checkpoint>> {
        let kept = self.kept.iter().rev().find(|kept| kept.epoch <= epoch);
        kept.map(|kept| self.read(kept)).transpose()
    }

    fn read(&self, kept: &Kept) -> Result<Checkpoint> {
        let path = self.folder.join(&kept.file);
        let bytes = self.disk.read(&path).map_err(|error| {
            Error::unavailable(format!("cannot read the checkpoint {}", path.display()))
                .with_source(error)
        })?;
        Checkpoint::decode(&bytes)
    }

    /// Writes a checkpoint, and forgets those that no restart can need: all before the newest one
    /// that every sink has passed. Returns its size in bytes.
    pub async fn write(&mut self, checkpoint: &Checkpoint) -> Result<u64> {
        let epoch = checkpoint.head.epoch;
        let bytes = checkpoint.encode()?;
        let file = format!("{epoch:020}.ckpt");
        let path = self.folder.join(&file);
        self.disk.write_whole(&path, &bytes).map_err(|error| {
            Error::unavailable(format!("cannot write the checkpoint {}", path.display()))
                .with_source(error)
        })?;
        let size = bytes.len() as u64;
        let mut kept = self.kept.clone();
        kept.retain(|kept| kept.epoch != epoch);
        kept.push(Kept { epoch, file, bytes: size });
        let passed = checkpoint.head.sinks.values().map(|sink| sink.committed).min();
        let first_needed = first_needed(&kept, passed.unwrap_or(epoch));
        let mut dropped: Vec<Kept> = kept.drain(..first_needed).collect();
        if kept.len() > KEPT_MAX {
            // The oldest and the newest matter most; thin out between them.
            let middle = kept.len() / 2;
            dropped.push(kept.remove(middle));
        }
        let value = json!({ "kept": kept });
        self.store.put(KIND, &self.pipeline, Expected::Any, &value).await?;
        self.kept = kept;
        for old in dropped {
            // A file that stays is found by nobody; the next write tries again.
            if let Err(error) = self.disk.remove(&self.folder.join(&old.file)) {
                tracing::debug!(file = old.file, %error, "an old checkpoint stays");
            }
        }
        Ok(size)
    }

    /// Whether a checkpoint that knows that every sink has passed `passed` would make others needless.
    pub fn are_outlived(&self, passed: Epoch) -> bool {
        first_needed(&self.kept, passed) > 0
    }
}

/// The newest one that every sink has passed.
fn first_needed(kept: &[Kept], passed: Epoch) -> usize {
    kept.iter().rposition(|kept| kept.epoch <= passed).unwrap_or(0)
}
