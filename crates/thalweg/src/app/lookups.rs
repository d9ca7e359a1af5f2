//! Lookups of a project: what streams look up in, read whole (S11).
//!
//! Files that nothing fills, sources of files, tables of the lake, and views of those.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::TryStreamExt as _;
use thalweg_core::env::Env;
use thalweg_core::log::Log;
use thalweg_core::source::{Chunk, Input as _, ReadLimit};
use thalweg_core::{Error, Result};
use thalweg_lake::delta::Delta;
use thalweg_project::{Project, Source, ViewInput};
use thalweg_stream::engine::{PinnedTable, TableReader};
use thalweg_stream::intake::Intake;
use thalweg_stream::lookups::{Lookup, LookupRows, Lookups};
use thalweg_stream::program::visible;
use thalweg_stream::sql::rewrite::Mode;
use thalweg_stream::sql::{Named, Names, Planner};
use tokio::sync::Mutex;

use super::sources::{self, Places};
use crate::check::Checked;

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
    pub tables: &'a BTreeMap<String, Arc<Delta>>,
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
    for (name, delta) in wiring.tables {
        let Some(columns) = checked.tables.get(name) else { continue };
        let table = LakeTable {
            delta: Arc::clone(delta),
            schema: visible(columns),
            planner: checked.planner.clone(),
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
        let view = View { sql: sql.as_str().to_owned(), reads, planner: checked.planner.clone() };
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
    LookupFiles {
        source: source.clone(),
        must_decode,
        planner: wiring.checked.planner.clone(),
        env: wiring.env.clone(),
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
        let used = self.places.used(name).unwrap_or(0);
        let reader = sources::Reader::Query;
        let (inputs, mut intake) = sources::input_and_intake(
            &self.source,
            &self.planner,
            &self.env,
            &self.log,
            reader,
            used,
        )?;
        let schema = visible(intake.schema());
        let mut batches = Vec::new();
        let mut bytes = 0;
        for mut input in inputs.into_values() {
            let mut at = input.start().await?;
            loop {
                let limit = ReadLimit {
                    frames_max: FRAMES_MAX,
                    bytes_max: BYTES_MAX,
                    until: None,
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
        sources::state(&self.source, &self.env, &self.places).await
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
struct LakeTable {
    delta: Arc<Delta>,
    schema: SchemaRef,
    planner: Planner,
    bytes_max: usize,
}

#[async_trait]
impl Lookup for LakeTable {
    async fn version(&self) -> Result<String> {
        Ok(self.delta.pin(None).await?.version.to_string())
    }

    async fn read(&self) -> Result<LookupRows> {
        let pinned = self.delta.pin(None).await?;
        let mut names = Names::default();
        names.insert("looked_up", Named::Table(pinned.provider), Vec::new());
        let columns: Vec<String> = (self.schema.fields().iter())
            .map(|field| format!("\"{}\"", field.name().replace('"', "\"\"")))
            .collect();
        let sql = format!("SELECT {} FROM looked_up", columns.join(", "));
        let rows = run(&self.planner, &sql, &names, pinned.version.to_string()).await?;
        match rows.bytes() > self.bytes_max {
            true => Err(too_large("the table", self.bytes_max)),
            false => Ok(rows),
        }
    }
}

/// A view of other lookups.
struct View {
    sql: String,
    reads: BTreeMap<String, Arc<dyn Lookup>>,
    planner: Planner,
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
        run(&self.planner, &self.sql, &names, version).await
    }
}

/// The rows of a query over `names`.
async fn run(planner: &Planner, sql: &str, names: &Names, version: String) -> Result<LookupRows> {
    let planned = planner.plan(sql, names, Mode::Query);
    let plan = planned.map_err(|it| thalweg_stream::engine::wrong_sql(sql, it))?.plan;
    let schema = Arc::clone(plan.schema().inner());
    let rows = thalweg_stream::engine::run_plan(planner, plan).await?;
    let batches: Vec<RecordBatch> = rows.batches.try_collect().await?;
    let schema = batches.first().map_or(schema, RecordBatch::schema);
    Ok(LookupRows { version, schema, batches })
}
