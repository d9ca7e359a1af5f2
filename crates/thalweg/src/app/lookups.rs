//! Lookups of a project: what streams look up in, read whole (S11).
//!
//! Files that nothing fills, sources of files, tables of the lake, filled here or by others, and views of
//! those.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::TryStreamExt as _;
use thalweg_core::env::{Clock, Env};
use thalweg_core::log::Log;
use thalweg_core::source::{Chunk, ReadLimit};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use thalweg_lake::LakeTable;
use thalweg_project::{Project, Source, ViewInput};
use thalweg_stream::engine::{PinnedTable, TableReader};
use thalweg_stream::intake::Intake;
use thalweg_stream::lookups::{Lookup, LookupRows, Lookups};
use thalweg_stream::program::visible;
use thalweg_stream::sql::rewrite::Mode;
use thalweg_stream::sql::{Named, Names, Planner};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::sources::{self, Places};
use crate::check::Checked;
use crate::check::tables::with_folders;

/// Of `runtime.memory`, what one lookup may take.
const MEMORY_PARTS: u64 = 8;
/// Frames read at a time.
const FRAMES_MAX: usize = 16_384;
/// Bytes read at a time.
const BYTES_MAX: usize = 4 << 20;
/// How long one read waits for a file that may still be written.
const WAIT: Duration = Duration::from_millis(100);

/// What the lookups of a project share.
pub(super) struct Wiring<'a> {
    pub project: &'a Project,
    pub checked: &'a Checked,
    pub env: &'a Env,
    pub log: &'a Arc<dyn Log>,
    pub tables: &'a BTreeMap<String, Arc<LakeTable>>,
    pub places: &'a Places,
}

/// Everything that a stream of the project can look up in.
pub(super) fn lookups(wiring: &Wiring<'_>) -> Lookups {
    let Wiring { project, checked, .. } = *wiring;
    let mut all: BTreeMap<String, Arc<dyn Lookup>> = BTreeMap::new();
    for source in project.sources.iter().filter(|source| source.is_files()) {
        all.insert(source.name.value.clone(), Arc::new(files(wiring, source, false)));
    }
    for lookup in &project.lookups {
        all.insert(lookup.name.value.clone(), Arc::new(files(wiring, lookup, true)));
    }
    for table in &project.tables {
        let name = &table.name.value;
        let kept = wiring.tables.get(name).zip(checked.tables.get(name));
        let Some((kept, columns)) = kept else { continue };
        let table = KeptRows {
            name: name.clone(),
            table: Arc::clone(kept),
            schema: with_folders(table, columns),
            planner: checked.planner.clone(),
            clock: wiring.env.clock.clone(),
            bytes_max: bytes_max(project),
        };
        all.insert(name.clone(), Arc::new(table));
    }
    // A view is typed after what it reads, so what it reads is there.
    for name in &checked.views_looked_up {
        let view = project.views.iter().find(|view| view.name.as_str() == name);
        let Some(ViewInput::Query(sql)) = view.map(|view| &view.input) else { continue };
        let reads = checked.planner.reads(sql.as_str()).unwrap_or_default();
        let reads: BTreeMap<String, Arc<dyn Lookup>> = reads
            .into_iter()
            .filter_map(|name| Some((name.clone(), all.get(&name)?.clone())))
            .collect();
        let (planner, clock) = (checked.planner.clone(), wiring.env.clock.clone());
        let (sql, bytes_max) = (sql.as_str().to_owned(), bytes_max(project));
        let view = View { name: name.clone(), sql, reads, planner, clock, bytes_max };
        all.insert(name.clone(), Arc::new(view));
    }
    Arc::new(all)
}

fn bytes_max(project: &Project) -> usize {
    usize::try_from(project.runtime.memory_bytes / MEMORY_PARTS).unwrap_or(usize::MAX)
}

fn too_large(name: &str, bytes_max: usize) -> Error {
    Error::invalid(format!("`{name}` is too large to be looked up in: more than {bytes_max} bytes"))
        .with_hint("A lookup is held in memory; it may take an eighth of `runtime.memory`.")
}

fn files(wiring: &Wiring<'_>, source: &Source, must_decode: bool) -> LookupFiles {
    let mut env = wiring.env.clone();
    if wiring.places.are_given() {
        // What a test expects is read when its run is over.
        env.shutdown = CancellationToken::new();
    }
    LookupFiles {
        source: source.clone(),
        must_decode,
        planner: wiring.checked.planner.clone(),
        env,
        log: Arc::clone(wiring.log),
        places: wiring.places.clone(),
        bytes_max: bytes_max(wiring.project),
        newest: Mutex::new(None),
    }
}

/// Files, read whole.
pub(super) struct LookupFiles {
    source: Source,
    // Whether a row that does not decode is an error; a source's own pipeline has it in quarantine.
    must_decode: bool,
    planner: Planner,
    env: Env,
    log: Arc<dyn Log>,
    places: Places,
    bytes_max: usize,
    // What was read last: several streams and queries ask for the same.
    newest: Mutex<Option<LookupRows>>,
}

/// The files of a lookup that nothing fills, for queries.
pub(super) fn reader(wiring: &Wiring<'_>, lookup: &Source) -> Arc<dyn TableReader> {
    let schema = Arc::clone(&wiring.checked.lookups[lookup.name.as_str()]);
    Arc::new(FilesReader { files: files(wiring, lookup, true), schema })
}

struct FilesReader {
    files: LookupFiles,
    schema: SchemaRef,
}

#[async_trait]
impl TableReader for FilesReader {
    async fn pin(&self) -> Result<PinnedTable> {
        let rows = self.files.read().await?;
        Ok(PinnedTable { provider: rows.table()?, epoch: 0, note: None })
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl LookupFiles {
    async fn read_all(&self, version: String) -> Result<LookupRows> {
        let name = self.source.name.as_str();
        let (inputs, mut intake) = match self.places.given(name) {
            Some(given) => given.input_and_intake(&self.planner)?,
            None => {
                let used = self.places.used(name).unwrap_or(0);
                let (env, reader) = (&self.env, sources::Reader::Query);
                sources::input_and_intake(
                    &self.source,
                    &self.planner,
                    env,
                    &self.log,
                    reader,
                    used,
                )?
            }
        };
        // Of a source all columns, hidden ones too: so it stands in the plans of streams.
        let schema = match self.must_decode {
            true => visible(intake.schema()),
            false => Arc::clone(intake.schema()),
        };
        let mut batches = Vec::new();
        let mut bytes = 0;
        for mut input in inputs.into_values() {
            let mut at = input.start().await?;
            loop {
                let limit = ReadLimit {
                    frames_max: FRAMES_MAX,
                    bytes_max: BYTES_MAX,
                    until: None,
                    is_rerun: false,
                    wait: WAIT,
                };
                let chunk = input.read(at, limit).await?;
                at = chunk.next;
                let rows = self.take(&mut intake, &chunk)?;
                bytes += rows.get_array_memory_size();
                if bytes > self.bytes_max {
                    return Err(too_large(name, self.bytes_max));
                }
                if rows.num_rows() > 0 {
                    batches.push(shown(&rows, &schema)?);
                }
                if chunk.at_end {
                    break;
                }
                if self.env.shutdown.is_cancelled() {
                    return Err(Error::unavailable("the process stops"));
                }
            }
        }
        Ok(LookupRows { version, schema, batches })
    }

    fn take(&self, intake: &mut Intake, chunk: &Chunk) -> Result<RecordBatch> {
        let taken = intake.take(chunk)?;
        match taken.refused.first() {
            Some(first) if self.must_decode => {
                let place =
                    first.place.clone().unwrap_or_else(|| format!("offset {}", first.offset));
                Err(Error::invalid(format!(
                    "a row of lookup `{}` cannot be read: {place}: {}",
                    self.source.name, first.reason
                ))
                .with_hint("A lookup with a hole would send rows astray; mend the file."))
            }
            _ => Ok(taken.rows),
        }
    }
}

/// The columns of `schema`, by name.
fn shown(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let failed = |error| Error::internal("rows of a lookup do not fit").with_source(error);
    let columns: std::result::Result<Vec<usize>, _> =
        schema.fields().iter().map(|field| rows.schema_ref().index_of(field.name())).collect();
    let rows = rows.project(&columns.map_err(failed)?).map_err(failed)?;
    RecordBatch::try_new(Arc::clone(schema), rows.columns().to_vec()).map_err(failed)
}

#[async_trait]
impl Lookup for LookupFiles {
    async fn version(&self) -> Result<String> {
        match self.places.given(self.source.name.as_str()) {
            // What a test gives stays as it is.
            Some(_) => Ok("given".to_owned()),
            None => sources::state(&self.source, &self.env, &self.places).await,
        }
    }

    async fn read(&self) -> Result<LookupRows> {
        let mut newest = self.newest.lock().await;
        // Before it is read: what is written meanwhile is noticed the next time.
        let version = self.version().await?;
        if let Some(rows) = newest.as_ref().filter(|rows| rows.version == version) {
            return Ok(rows.clone());
        }
        let rows = self.read_all(version).await?;
        *newest = Some(rows.clone());
        Ok(rows)
    }
}

/// A table of the lake.
struct KeptRows {
    name: String,
    table: Arc<LakeTable>,
    schema: SchemaRef,
    planner: Planner,
    clock: Clock,
    bytes_max: usize,
}

#[async_trait]
impl Lookup for KeptRows {
    async fn version(&self) -> Result<String> {
        Ok(self.table.pin().await?.version.to_string())
    }

    async fn read(&self) -> Result<LookupRows> {
        let pinned = self.table.pin().await?;
        let mut names = Names::default();
        names.insert("looked_up", Named::Table(pinned.provider), Vec::new());
        let columns: Vec<String> = (self.schema.fields().iter())
            .map(|field| format!("\"{}\"", field.name().replace('"', "\"\"")))
            .collect();
        let sql = format!("SELECT {} FROM looked_up", columns.join(", "));
        let asking = Asking {
            name: &self.name,
            planner: &self.planner,
            now: self.clock.now(),
            bytes_max: self.bytes_max,
        };
        asking.run(&sql, &names, pinned.version.to_string()).await
    }
}

/// A view of other lookups.
struct View {
    name: String,
    sql: String,
    reads: BTreeMap<String, Arc<dyn Lookup>>,
    planner: Planner,
    clock: Clock,
    bytes_max: usize,
}

#[async_trait]
impl Lookup for View {
    async fn version(&self) -> Result<String> {
        let mut version = String::new();
        for (name, read) in &self.reads {
            version.push_str(&format!("{name}={}\n", read.version().await?));
        }
        Ok(version)
    }

    async fn read(&self) -> Result<LookupRows> {
        let (mut names, mut version) = (Names::default(), String::new());
        for (name, read) in &self.reads {
            let rows = read.read().await?;
            version.push_str(&format!("{name}={}\n", rows.version));
            names.insert(name, Named::Table(rows.table()?), Vec::new());
        }
        let asking = Asking {
            name: &self.name,
            planner: &self.planner,
            now: self.clock.now(),
            bytes_max: self.bytes_max,
        };
        asking.run(&self.sql, &names, version).await
    }
}

/// The query behind a lookup.
struct Asking<'a> {
    name: &'a str,
    planner: &'a Planner,
    now: Timestamp,
    bytes_max: usize,
}

impl Asking<'_> {
    /// The rows of a query over `names`; no more of them are read than may be held.
    async fn run(&self, sql: &str, names: &Names, version: String) -> Result<LookupRows> {
        let planned = self.planner.plan(sql, names, Mode::Query);
        let plan = planned.map_err(|it| thalweg_stream::engine::wrong_sql(sql, it))?.plan;
        let schema = Arc::clone(plan.schema().inner());
        let mut rows =
            thalweg_stream::engine::run_plan(self.planner, plan, self.now).await?.batches;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = rows.try_next().await? {
            bytes += batch.get_array_memory_size();
            if bytes > self.bytes_max {
                return Err(too_large(self.name, self.bytes_max));
            }
            batches.push(batch);
        }
        let schema = batches.first().map_or(schema, RecordBatch::schema);
        Ok(LookupRows { version, schema, batches })
    }
}
