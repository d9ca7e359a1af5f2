//! The handle of a table of files: how a commit is made (F1 to F3), and what readers are shown.
//!
//! Opening does nothing to the store: a store that is down must not keep the rest from starting. The
//! first call that needs it looks for the newest record, and finishes what it began.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex as SyncMutex, OnceLock, PoisonError};
use std::time::Duration;

use arrow::datatypes::Schema;
use async_trait::async_trait;
use futures::future::try_join_all;
use thalweg_core::env::Env;
use thalweg_core::sink::{Sink, Stamp};
use thalweg_core::table::{Replacement, Table, TableCommit, TableVersion};
use thalweg_core::time::{Day, Timestamp};
use thalweg_core::{Error, Result};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::encode::Format;
use super::layout::{Layout, Partition};
use super::log::{self, Added, COMMITS, OURS, RECORDS_KEPT, Record, STAGED};
use super::name::PartName;
use super::read::PinnedFiles;
use super::sink::FileSink;
use super::writer::Writer;
use crate::delta::TableFile;
use crate::place::Place;
use crate::storage::{file_time, is_staged, unique};

/// Files that are given their places at the same time.
const PUBLISHED_AT_ONCE: usize = 8;

/// How a table of files is laid out and rolled.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// What the files are.
    pub format: Format,
    /// Columns whose values are folders, in order.
    pub partition_by: Vec<Partition>,
    /// Size at which a file is closed, and a commit asked for.
    pub roll_bytes: u64,
}

/// A table of files. Clones are the same table.
#[derive(Clone)]
pub struct FileTable {
    pub(crate) shared: Arc<Shared>,
}

/// What all parts of a table share.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) layout: Arc<Layout>,
    pub(crate) options: FileOptions,
    /// What the store is called in the sessions of queries.
    pub(crate) store_name: String,
    /// Held by whoever commits, until it is done; none until the store was asked, and after an error.
    head: Arc<Mutex<Option<Head>>>,
    /// What readers see; none until they ask, and after an error.
    shown: SyncMutex<Option<Arc<Shown>>>,
}

/// The newest commit.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Its number; 0 before the first.
    pub(crate) number: u64,
    /// The stamp the table holds.
    pub(crate) stamp: Option<Stamp>,
    /// Rows that commits of the pipeline have written, where they were counted.
    pub(crate) rows_total: Option<u64>,
    /// The note of the last replacement.
    pub(crate) note: Option<String>,
    /// The last replacements, the newest first.
    pub(crate) runs: Vec<String>,
}

/// The table at one commit.
pub(crate) struct Shown {
    pub(crate) head: Head,
    pub(crate) parts: Vec<Arc<Part>>,
    /// As it is read, once somebody has.
    pinned: OnceLock<PinnedFiles>,
}

/// A file of the table.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its place below the table's folder.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Its rows, where known.
    pub(crate) rows: Option<u64>,
    /// The values its folder stands for.
    pub(crate) values: Vec<Option<String>>,
}

/// The head, held until the commit is done; it is put back only when all went well.
pub(crate) type Guard = OwnedMutexGuard<Option<Head>>;

impl FileTable {
    /// A table at `place` with the columns of `schema`. Nothing is read or written yet.
    ///
    /// # Errors
    ///
    /// `Invalid` when files of this format cannot hold the columns, or folders not be named by them.
    pub fn new(
        env: &Env,
        place: Place,
        name: &str,
        schema: &Schema,
        options: FileOptions,
    ) -> Result<Self> {
        let layout = Arc::new(Layout::new(schema, options.format, &options.partition_by)?);
        let shared = Shared {
            env: env.clone(),
            name: name.to_owned(),
            place,
            layout,
            options,
            store_name: format!("thalweg-{}://", unique()),
            head: Arc::default(),
            shown: SyncMutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Pins the newest commit for reading. Cheap to call often: the files are listed once.
    ///
    /// # Errors
    ///
    /// As [`Sink::open`].
    pub async fn pin(&self) -> Result<PinnedFiles> {
        let shown = self.shared.shown().await?;
        if let Some(pinned) = shown.pinned.get() {
            return Ok(pinned.clone());
        }
        let pinned = PinnedFiles::new(&self.shared, &shown)?;
        let _ = shown.pinned.set(pinned.clone());
        Ok(pinned)
    }

    /// The files of the newest commit.
    ///
    /// # Errors
    ///
    /// As [`Sink::open`].
    pub async fn files(&self) -> Result<Vec<TableFile>> {
        let shown = self.shared.shown().await?;
        let day = self.shared.layout.day_folder();
        let file = |part: &Arc<Part>| TableFile {
            path: part.path.clone(),
            bytes: part.bytes,
            rows: part.rows,
            day: day.and_then(|day| Day::parse(part.values.get(day)?.as_deref()?)),
        };
        Ok(shown.parts.iter().map(file).collect())
    }
}

#[async_trait]
impl Table for FileTable {
    fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(Box::new(FileSink::new(self.shared.clone())))
    }

    async fn version(&self, _: &str) -> Result<TableVersion> {
        let shown = self.shared.shown().await?;
        let version = i64::try_from(shown.head.number).unwrap_or(i64::MAX);
        Ok(TableVersion { version, stamp: shown.head.stamp.clone() })
    }

    async fn replace_days(&self, replacement: Replacement) -> Result<i64> {
        self.shared.replace_days(replacement).await
    }

    async fn note(&self) -> Result<Option<String>> {
        Ok(self.shared.shown().await?.head.note.clone())
    }

    async fn compact(&self) -> Result<(usize, usize)> {
        let message = format!("table `{}` is plain files: they are not merged", self.shared.name);
        Err(Error::invalid(message).with_hint("A larger `roll` makes fewer files."))
    }

    async fn history(&self, limit: usize) -> Result<Vec<TableCommit>> {
        let newest = log::newest(&self.shared.place).await?;
        let mut commits = Vec::new();
        for number in (1..=newest).rev().take(limit) {
            let Some(record) = log::read(&self.shared.place, number).await? else { break };
            commits.push(TableCommit {
                version: i64::try_from(number).unwrap_or(i64::MAX),
                at: Timestamp(record.at),
                operation: record.operation,
                rows: Some(record.rows),
            });
        }
        Ok(commits)
    }
}

impl Shared {
    /// A writer of new files.
    pub(crate) fn writer(&self) -> Writer {
        let Self { place, layout, options, .. } = self;
        Writer::new(place.clone(), layout.clone(), options.format, options.roll_bytes)
    }

    /// A record of now.
    pub(crate) fn record(&self, operation: &str, head: &Head) -> Record {
        let mut record = Record::new(self.env.clock.now().0, operation, self.layout.described());
        record.stamp = head.stamp.clone().map(Into::into);
        record.rows_total = head.rows_total;
        record.note = head.note.clone();
        record.runs = head.runs.clone();
        record
    }

    /// The head, as it is in the store when nobody has asked yet; `fresh` asks in any case.
    pub(crate) async fn head(&self, fresh: bool) -> Result<(Guard, Head)> {
        let mut guard = self.head.clone().lock_owned().await;
        if fresh {
            *guard = None;
        }
        let head = match guard.take() {
            Some(head) => head,
            None => {
                self.show(None);
                self.load().await?
            }
        };
        *guard = Some(head.clone());
        Ok((guard, head))
    }

    /// Puts a record behind `head`, and gives its files their places. Returns the new head; none when
    /// another writer was there first (F2).
    pub(crate) async fn commit(
        &self,
        mut guard: Guard,
        head: &Head,
        record: Record,
    ) -> Result<Option<Head>> {
        // Back it comes when all went well: after an error the store is asked.
        *guard = None;
        let number = head.number + 1;
        if !log::put(&self.place, number, &record).await? {
            return Ok(None);
        }
        self.publish(&record).await?;
        let head = Head::of(number, &record);
        self.show_after(&head, &record)?;
        *guard = Some(head.clone());
        if let Some(old) = number.checked_sub(RECORDS_KEPT) {
            // One that stays costs nothing but its room.
            if let Err(error) = log::remove(&self.place, old).await {
                tracing::debug!(table = self.name, error = error.chain(), "a record was left");
            }
        }
        Ok(Some(head))
    }

    /// Removes staged files that are older than `age`: what processes that died, and tries that
    /// failed, have left behind.
    pub(crate) async fn remove_leftovers(&self, age: Duration) -> Result<()> {
        let newest = file_time().minus(age).0;
        let mut left = self.place.list(STAGED).await?;
        // A record that was on its way, too.
        let records = self.place.list(COMMITS).await?.into_iter();
        left.extend(records.filter(|record| record.location.filename().is_some_and(is_staged)));
        for object in left {
            let is_old = age.is_zero() || object.last_modified.timestamp_micros() < newest;
            if let Some(path) = self.place.below(&object.location).filter(|_| is_old) {
                self.place.delete(&path).await?;
            }
        }
        Ok(())
    }

    /// Removes every file of the table, and what it knows of who wrote it.
    pub(crate) async fn reset(&self) -> Result<()> {
        let mut guard = self.head.clone().lock_owned().await;
        *guard = None;
        self.show(None);
        for part in self.list().await? {
            self.place.delete(&part.path).await?;
        }
        self.remove_leftovers(Duration::ZERO).await?;
        // The stamp goes last, so a reset that is cut off is seen and made again.
        for number in 1..=log::newest(&self.place).await? {
            log::remove(&self.place, number).await?;
        }
        Ok(())
    }

    /// Reads the newest record, and finishes what it began.
    async fn load(&self) -> Result<Head> {
        let number = log::newest(&self.place).await?;
        let Some(record) = log::read(&self.place, number).await? else {
            return self.unrecorded(number).await;
        };
        let expected = self.layout.described();
        if record.columns != expected {
            return Err(self.other_columns(&record.columns, &expected));
        }
        self.publish(&record).await?;
        Ok(Head::of(number, &record))
    }

    /// The head of a table without records: files may be there, and their names say whose (F3).
    async fn unrecorded(&self, number: u64) -> Result<Head> {
        let mut newest: Option<PartName> = None;
        for part in self.list().await? {
            let name = part.path.rsplit('/').next().unwrap_or_default();
            let name = PartName::parse(name, self.options.format.ending());
            newest = newest.into_iter().chain(name).max_by_key(|name| name.last);
        }
        let stamp = newest.map(|name| Stamp {
            incarnation: name.incarnation,
            pipeline: String::new(),
            epoch: name.last,
        });
        let rows_total = stamp.is_none().then_some(0);
        Ok(Head { number, stamp, rows_total, note: None, runs: Vec::new() })
    }

    /// Gives the files of a record their places, and removes those that go; again, if need be.
    async fn publish(&self, record: &Record) -> Result<()> {
        for files in record.add.chunks(PUBLISHED_AT_ONCE) {
            let mut renames = Vec::with_capacity(files.len());
            for file in files {
                renames.push(self.publish_file(file));
            }
            try_join_all(renames).await?;
        }
        for path in &record.remove {
            self.place.delete(path).await?;
        }
        Ok(())
    }

    async fn publish_file(&self, file: &Added) -> Result<()> {
        if !self.place.rename(&file.staged, &file.path).await?
            && !self.place.has(&file.path).await?
        {
            // It had its place once: only then is it gone from where it was written.
            tracing::warn!(
                table = self.name,
                path = file.path,
                "a file of the table was removed by somebody else"
            );
        }
        Ok(())
    }

    /// What readers see now.
    pub(crate) async fn shown(&self) -> Result<Arc<Shown>> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(shown) = shown {
            return Ok(shown);
        }
        let (_guard, head) = self.head(false).await?;
        self.shown_at(head).await
    }

    /// What readers see, for who holds the head.
    pub(crate) async fn shown_at(&self, head: Head) -> Result<Arc<Shown>> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(shown) = shown {
            return Ok(shown);
        }
        let parts = self.list().await?.into_iter().map(Arc::new).collect();
        let shown = Arc::new(Shown { head, parts, pinned: OnceLock::new() });
        self.show(Some(shown.clone()));
        Ok(shown)
    }

    fn show(&self, shown: Option<Arc<Shown>>) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// Shows readers what a commit has done, if any has asked before.
    fn show_after(&self, head: &Head, record: &Record) -> Result<()> {
        let before = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(before) = before else { return Ok(()) };
        let gone: BTreeSet<&str> = record.remove.iter().map(String::as_str).collect();
        let mut parts: Vec<Arc<Part>> = before
            .parts
            .iter()
            .filter(|part| !gone.contains(part.path.as_str()))
            .cloned()
            .collect();
        for added in &record.add {
            let values = self.layout.values_of(&added.path).ok_or_else(|| {
                Error::internal(format!("{} is in no folder of the table", added.path))
            })?;
            let Added { path, bytes, rows, .. } = added.clone();
            parts.push(Arc::new(Part { path, bytes, rows: Some(rows), values }));
        }
        let pinned = OnceLock::new();
        self.show(Some(Arc::new(Shown { head: head.clone(), parts, pinned })));
        Ok(())
    }

    /// The files of the table, in order.
    async fn list(&self) -> Result<Vec<Part>> {
        let ending = self.options.format.ending();
        let mut parts = Vec::new();
        for object in self.place.list("").await? {
            let Some(path) = self.place.below(&object.location) else { continue };
            let name = object.location.filename().unwrap_or_default();
            let is_ours = !path.starts_with(OURS) && PartName::parse(name, ending).is_some();
            let Some(values) = self.layout.values_of(&path).filter(|_| is_ours) else { continue };
            parts.push(Part { path, bytes: object.size, rows: None, values });
        }
        parts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(parts)
    }

    fn other_columns(&self, found: &[String], expected: &[String]) -> Error {
        let missing = expected.iter().filter(|column| !found.contains(column));
        let missing = missing.map(|column| format!("`{column}` is not there"));
        let stray = found.iter().filter(|column| !expected.contains(column));
        let stray = stray.map(|column| format!("`{column}` is too many"));
        let mut differences: Vec<String> = missing.chain(stray).collect();
        if differences.is_empty() {
            differences.push(format!("the order is {}", found.join(", ")));
        }
        Error::invalid(format!("table `{}` is not what lies at {}", self.name, self.place))
            .with_detail(format!("In the table there: {}.", differences.join("; ")))
            .with_hint("Name another folder, or declare the columns that are there.")
    }
}

impl Head {
    fn of(number: u64, record: &Record) -> Self {
        Self {
            number,
            stamp: record.stamp(),
            rows_total: record.rows_total,
            note: record.note.clone(),
            runs: record.runs.clone(),
        }
    }
}
