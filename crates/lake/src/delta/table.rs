//! The handle of a Delta table: opening, what all parts share, and the [`Table`] it is to others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use deltalake_core::kernel::{Metadata, Version};
use deltalake_core::table::state::DeltaTableState;
use object_store::ObjectStore;
use thalweg_core::env::Env;
use thalweg_core::sink::{Sink, Stamp};
use thalweg_core::table::{Replacement, Table, TableCommit, TableVersion};
use thalweg_core::{Error, Result};
use tokio::sync::{Mutex, OnceCell};

use super::columns::Columns;
use super::log::{Head, Log};
use super::read::Snapshots;
use super::sink::DeltaSink;
use super::writer::Writer;
use super::{actions, maintain};
use crate::error::fold;
use crate::place::Place;

/// Default of [`DeltaOptions::file_bytes`].
const FILE_BYTES: u64 = 128 << 20;

/// How a table is laid out and fed.
#[derive(Clone, Debug)]
pub struct DeltaOptions {
    /// A column added for the UTC day of each row; its values are folders.
    pub partition_by: Option<DayPartition>,
    /// The pipeline that feeds the table: whose stamp [`Sink::open`] returns. Needed only when
    /// several feed it.
    pub fed_by: Option<String>,
    /// Size at which a data file is closed and the next begun, and up to which compaction merges.
    /// Default 128 MiB.
    pub file_bytes: u64,
}

impl Default for DeltaOptions {
    fn default() -> Self {
        Self { partition_by: None, fed_by: None, file_bytes: FILE_BYTES }
    }
}

/// A day column: `partition_by = { day = "date(ts)" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayPartition {
    /// Its name, such as `day`: letters, digits and `_`. Rows whose day is null, or in no year from
    /// 1 to 9999, are kept under null.
    pub column: String,
    /// The column of instants or dates it is computed from, such as `ts`.
    pub source: String,
}

/// A Delta table. Clones are the same table.
#[derive(Clone)]
pub struct Delta {
    table: Arc<Lazy>,
}

/// A table as it is declared, and opened by the first call that needs it: a store that is away must
/// not keep the rest from starting.
struct Lazy {
    declared: Declared,
    shared: OnceCell<Arc<Shared>>,
}

/// What is known of a table before it is opened.
#[derive(Clone)]
pub(crate) struct Declared {
    pub(crate) env: Env,
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) columns: Arc<Columns>,
    pub(crate) options: DeltaOptions,
}

/// What all parts of a table share once it is open.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) name: String,
    pub(crate) columns: Arc<Columns>,
    pub(crate) options: DeltaOptions,
    pub(crate) log: Log,
    /// Held by whoever commits, until it is done.
    pub(crate) head: Arc<Mutex<Head>>,
    pub(crate) snapshots: Snapshots,
    /// Whether a checkpoint is being made.
    pub(crate) is_tidying: AtomicBool,
    /// Number of data files when the last checkpoint was made.
    pub(crate) file_count: AtomicUsize,
}

impl Delta {
    /// A table at `place` with the columns of `schema` (and a day column, if the options say so).
    /// Nothing is read or written yet: the first call that needs it opens it, or makes it there,
    /// then removes what a process that died had written and not committed more than a day ago.
    ///
    /// That call fails with `Invalid` when the table there has other columns, each difference in
    /// the detail, or asks of its writers what we do not do; with `Unavailable` when the place
    /// cannot be read or written, and then the next one tries again.
    ///
    /// # Errors
    ///
    /// `Invalid` when a Delta table cannot hold the columns.
    pub fn new(
        env: &Env,
        place: Place,
        name: &str,
        schema: &SchemaRef,
        options: DeltaOptions,
    ) -> Result<Self> {
        let columns = Arc::new(Columns::new(schema, options.partition_by.as_ref())?);
        let declared =
            Declared { env: env.clone(), name: name.to_owned(), place, columns, options };
        Ok(Self { table: Arc::new(Lazy { declared, shared: OnceCell::new() }) })
    }

    /// Opens the table of [`new`](Self::new) now.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new) and of the first call after it.
    pub async fn open_or_create(
        env: &Env,
        place: Place,
        name: &str,
        schema: &SchemaRef,
        options: DeltaOptions,
    ) -> Result<Self> {
        let delta = Self::new(env, place, name, schema, options)?;
        delta.shared().await?;
        Ok(delta)
    }

    /// Its name in the project.
    pub fn name(&self) -> &str {
        &self.declared().name
    }

    /// Removes all rows and forgets who fed the table: `sinks reset`. Returns the new version.
    pub async fn reset(&self) -> Result<i64> {
        self.shared().await?.reset().await
    }

    /// What is known without opening it.
    pub(crate) fn declared(&self) -> &Declared {
        &self.table.declared
    }

    /// The open table.
    pub(crate) async fn shared(&self) -> Result<&Arc<Shared>> {
        let shared = self.table.shared.get_or_try_init(|| Shared::open(self.declared()));
        shared.await
    }
}

#[async_trait]
impl Table for Delta {
    fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(Box::new(DeltaSink::new(self.clone())))
    }

    async fn version(&self, pipeline: &str) -> Result<TableVersion> {
        let shared = self.shared().await?;
        let mut head = shared.head.lock().await;
        shared.catch_up(&mut head).await?;
        let stamp = shared.stamps(&mut head).await?.remove(pipeline);
        Ok(TableVersion { version: signed(head.version), stamp })
    }

    async fn replace_days(&self, replacement: Replacement) -> Result<i64> {
        self.shared().await?.replace_days(replacement).await
    }

    async fn note(&self) -> Result<Option<String>> {
        let shared = self.shared().await?;
        let mut head = shared.head.lock().await;
        shared.catch_up(&mut head).await?;
        Ok(actions::note(&head.metadata).map(str::to_owned))
    }

    async fn compact(&self) -> Result<(usize, usize)> {
        self.shared().await?.compact().await
    }

    async fn history(&self, limit: usize) -> Result<Vec<TableCommit>> {
        let shared = self.shared().await?;
        let newest = {
            let mut head = shared.head.lock().await;
            shared.catch_up(&mut head).await?;
            head.version
        };
        shared.log.history(newest, limit).await
    }
}

impl Shared {
    async fn open(declared: &Declared) -> Result<Arc<Self>> {
        let Declared { env, name, place, columns, options } = declared.clone();
        let log = Log::at(&place)?;
        let state = match existing(&log).await? {
            Some(state) => state,
            None => {
                let partition = columns.partition.as_ref().map(|day| day.column.as_str());
                let at = env.clock.now();
                let creation = actions::creation(&name, &columns.table, partition, at)?;
                // Whether we made it or somebody else just did: from now on it exists.
                log.put(0, &creation).await?;
                existing(&log).await?.ok_or_else(|| {
                    Error::unavailable(format!("the table just made at {place} is gone"))
                })?
            }
        };
        check(&name, &log, &columns, &state)?;
        let checkpoint = maintain::last_checkpoint(&log).await?;
        let head = Head::new(state.version(), state.metadata().clone(), checkpoint);
        let shared = Arc::new(Self {
            env,
            name,
            columns,
            options,
            head: Arc::new(Mutex::new(head)),
            file_count: AtomicUsize::new(state.log_data().num_files()),
            snapshots: Snapshots::new(log.clone(), state),
            log,
            is_tidying: AtomicBool::new(false),
        });
        shared.remove_leftovers().await?;
        Ok(shared)
    }

    /// Reads what other writers committed, and sees to it that it is still the same table.
    pub(crate) async fn catch_up(&self, head: &mut Head) -> Result<()> {
        self.log.catch_up(head).await?;
        if !head.is_checked {
            let state = self.snapshots.at(head.version).await?;
            check(&self.name, &self.log, &self.columns, &state)?;
            head.is_checked = true;
        }
        Ok(())
    }

    /// The version of an application transaction at the head.
    pub(crate) async fn transaction(&self, head: &mut Head, id: String) -> Result<Option<i64>> {
        if let Some(known) = head.transaction(&id) {
            return Ok(known);
        }
        let state = self.snapshots.at(head.version).await?;
        let version = self.transaction_at(&state, &id).await?;
        head.remember(id, version);
        Ok(version)
    }

    /// The stamp of every pipeline that feeds the table, at the head.
    pub(crate) async fn stamps(&self, head: &mut Head) -> Result<BTreeMap<String, Stamp>> {
        let mut stamps = BTreeMap::new();
        for (pipeline, incarnation) in actions::feeds(&head.metadata) {
            let id = actions::feed_id(&incarnation, &pipeline);
            let epoch = self.transaction(head, id).await?.map_or(0, actions::unsigned);
            stamps.insert(pipeline.clone(), Stamp { incarnation, pipeline, epoch });
        }
        Ok(stamps)
    }

    /// Rows that the commits up to a stamp have appended; none when they were not counted.
    pub(crate) async fn rows(&self, head: &mut Head, held: Option<&Stamp>) -> Result<Option<u64>> {
        let Some(held) = held else { return Ok(Some(0)) };
        let id = actions::rows_id(&held.incarnation, &held.pipeline);
        Ok(self.transaction(head, id).await?.map(actions::unsigned))
    }

    /// The stamps that a version held.
    pub(crate) async fn stamps_at(&self, state: &DeltaTableState) -> Result<Vec<Stamp>> {
        let mut stamps = Vec::new();
        for (pipeline, incarnation) in actions::feeds(state.metadata()) {
            let id = actions::feed_id(&incarnation, &pipeline);
            let epoch = self.transaction_at(state, &id).await?.map_or(0, actions::unsigned);
            stamps.push(Stamp { incarnation, pipeline, epoch });
        }
        Ok(stamps)
    }

    async fn transaction_at(&self, state: &DeltaTableState, id: &str) -> Result<Option<i64>> {
        let version = state.transaction_version(self.log.store.as_ref(), id).await;
        version.map_err(|error| fold(format!("cannot read the log of {}", self.log.place()), error))
    }

    /// A writer of new data files.
    pub(crate) fn writer(&self) -> Writer {
        Writer::new(self.objects(), self.columns.clone(), self.options.file_bytes)
    }

    /// The table's folder.
    pub(crate) fn objects(&self) -> Arc<dyn ObjectStore> {
        self.log.store.object_store(None)
    }
}

/// A version as the rest of the system counts.
pub(crate) fn signed(version: Version) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// The newest state of the table, if there is one.
pub(crate) async fn existing(log: &Log) -> Result<Option<DeltaTableState>> {
    let cannot_open = || format!("cannot open the table at {}", log.place());
    let exists = log.store.is_delta_table_location().await;
    if !exists.map_err(|error| fold(cannot_open(), error))? {
        return Ok(None);
    }
    let state = DeltaTableState::try_new(log.store.as_ref(), None).await;
    state.map(Some).map_err(|error| fold(cannot_open(), error))
}

/// Sees to it that a table is the one declared, and that we can write it.
fn check(name: &str, log: &Log, columns: &Columns, state: &DeltaTableState) -> Result<()> {
    let metadata: &Metadata = state.metadata();
    let found = state.schema();
    let differences = columns.differences(&found, metadata.partition_columns());
    if !differences.is_empty() {
        let message = format!("table `{name}` is not what lies at {}", log.place());
        return Err(Error::invalid(message)
            .with_detail(format!("In the table there: {}.", differences.join("; ")))
            .with_hint("Name another folder, or declare the columns that are there."));
    }
    let unsupported = actions::unsupported(state.protocol(), &found);
    if !unsupported.is_empty() {
        let message = format!("table `{name}` at {} cannot be written", log.place());
        return Err(Error::invalid(message).with_detail(format!(
            "It asks of its writers what this program does not do: {}.",
            unsupported.join(", ")
        )));
    }
    Ok(())
}
