//! The sink of a table of files: rows go into staged files at once, and into the table at the commit.
//!
//! A commit with nothing staged moves the stamp only when another incarnation takes over, or a
//! minute of the clock has passed since it last moved, as in a Delta table.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::log::Added;
use super::name::PartName;
use super::table::Shared;
use super::writer::{Staged, Writer, remove};
use crate::delta::{STAMP_INTERVAL, Verdict, judge};

/// Appends to a table.
pub(crate) struct FileSink {
    shared: Arc<Shared>,
    /// The stamp the table held when this sink last looked or committed.
    seen: Option<Stamp>,
    /// Rows that commits of the pipeline have written, where they were counted.
    rows: Option<u64>,
    writer: Option<Writer>,
    /// The first epoch of the next commit that has rows.
    first: Option<Epoch>,
    moved_at: Timestamp,
    /// Whether what others have left behind was removed.
    is_tidy: bool,
}

/// One commit of a sink.
struct Append {
    shared: Arc<Shared>,
    seen: Option<Stamp>,
    stamp: Stamp,
    first: Epoch,
    staged: Vec<Staged>,
    operation: &'static str,
    /// How many rows count as written afterwards, where a person says so.
    rows_total: Option<u64>,
}

/// What a commit has done.
struct Appended {
    rows: u64,
    rows_total: Option<u64>,
}

impl Append {
    /// Commits; none when the table had the epoch already.
    async fn run(self) -> Result<Option<Appended>> {
        let Self { shared, seen, stamp, first, staged, operation, rows_total } = self;
        let (guard, head) = shared.head(false).await?;
        let verdict = judge(head.stamp.as_ref(), seen.as_ref(), &stamp);
        if verdict != Verdict::Commit {
            remove(&shared.place, staged.iter().map(|file| file.path.as_str())).await;
        }
        match verdict {
            Verdict::Commit => {}
            Verdict::Repeated => return Ok(None),
            Verdict::Fenced => return Err(fenced(&shared, head.stamp.as_ref())),
        }
        let is_ours = head.stamp.as_ref().is_none_or(|held| held.incarnation == stamp.incarnation);
        let before = if is_ours { head.rows_total } else { None };
        let rows: u64 = staged.iter().map(|file| file.rows).sum();
        let mut record = shared.record(operation, &head);
        record.rows = rows;
        record.rows_total = rows_total.or_else(|| before.map(|before| before + rows));
        record.add = placed(&shared, &stamp, first, staged);
        record.stamp = Some(stamp.into());
        let rows_total = record.rows_total;
        match shared.commit(guard, &head, record).await? {
            Some(_) => Ok(Some(Appended { rows, rows_total })),
            None => Err(fenced(&shared, None)),
        }
    }
}

/// The places of staged files.
fn placed(shared: &Shared, stamp: &Stamp, first: Epoch, staged: Vec<Staged>) -> Vec<Added> {
    let place = |(number, file): (usize, Staged)| {
        let name =
            PartName { incarnation: stamp.incarnation.clone(), first, last: stamp.epoch, number };
        let folder = shared.layout.folder(&file.values);
        let path = format!("{folder}{name}.{}", shared.options.format.ending());
        Added { staged: file.path, path, rows: file.rows, bytes: file.bytes }
    };
    staged.into_iter().enumerate().map(place).collect()
}

fn fenced(shared: &Shared, held: Option<&Stamp>) -> Error {
    let error = Error::fenced(format!("another writer has been at table `{}`", shared.name));
    match held {
        Some(held) => error.with_detail(format!(
            "It holds epoch {} of incarnation {}.",
            held.epoch, held.incarnation
        )),
        None => error,
    }
}

impl FileSink {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            seen: None,
            rows: None,
            writer: None,
            first: None,
            moved_at: Timestamp::MIN,
            is_tidy: false,
        }
    }

    async fn append(
        &mut self,
        stamp: &Stamp,
        staged: Vec<Staged>,
        operation: &'static str,
        rows_total: Option<u64>,
    ) -> Result<Committed> {
        let append = Append {
            shared: self.shared.clone(),
            seen: self.seen.clone(),
            stamp: stamp.clone(),
            first: self.first.take().unwrap_or(stamp.epoch),
            staged,
            operation,
            rows_total,
        };
        // In a task of its own, a commit that is given up half way still ends before anybody, such
        // as this sink opened again, can look at the head.
        let appended = self.shared.env.spawn(append.run()).await;
        let appended = appended
            .map_err(|error| Error::internal("the commit was cut off").with_source(error))?;
        let Some(Appended { rows, rows_total }) = appended? else {
            return Ok(Committed::default());
        };
        self.rows = rows_total;
        self.seen = Some(stamp.clone());
        self.moved_at = self.shared.env.clock.now();
        if !std::mem::replace(&mut self.is_tidy, true) {
            // Only now: whoever else might have written here is fenced.
            if let Err(error) = self.shared.remove_leftovers(Duration::ZERO).await {
                tracing::debug!(error = error.chain(), "staged files were left behind");
            }
        }
        Ok(Committed { rows_written: rows, rows_superseded: 0 })
    }
}

#[async_trait]
impl Sink for FileSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        self.discard().await;
        let (_guard, head) = self.shared.head(true).await?;
        self.moved_at = self.shared.env.clock.now();
        self.rows = head.rows_total;
        self.seen.clone_from(&head.stamp);
        Ok(head.stamp)
    }

    fn total(&self) -> Option<Committed> {
        let rows_written = self.rows?;
        Some(Committed { rows_written, rows_superseded: 0 })
    }

    fn wants_commit(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::has_full)
    }

    async fn write(&mut self, epoch: Epoch, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() > 0 {
            self.first.get_or_insert(epoch);
        }
        let writer = self.writer.get_or_insert_with(|| self.shared.writer());
        writer.write(rows).await
    }

    async fn commit(&mut self, stamp: &Stamp) -> Result<Committed> {
        let staged = match &mut self.writer {
            Some(writer) => writer.finish().await?,
            None => Vec::new(),
        };
        self.writer = None;
        if staged.is_empty() {
            let is_known =
                self.seen.as_ref().is_some_and(|seen| seen.incarnation == stamp.incarnation);
            let stood_still = self.shared.env.clock.now().since(self.moved_at);
            if is_known && stood_still < STAMP_INTERVAL {
                return Ok(Committed::default());
            }
        }
        self.append(stamp, staged, "append", None).await
    }

    async fn adopt(&mut self, stamp: &Stamp, total: Committed) -> Result<()> {
        self.open().await?;
        self.append(stamp, Vec::new(), "adopt", Some(total.rows())).await.map(drop)
    }

    async fn reset(&mut self) -> Result<()> {
        self.shared.reset().await
    }

    async fn discard(&mut self) {
        self.first = None;
        // What an error left staged is removed by the next commit.
        self.is_tidy = false;
        if let Some(writer) = self.writer.take() {
            writer.discard().await;
        }
    }
}
