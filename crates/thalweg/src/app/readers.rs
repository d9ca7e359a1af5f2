//! What SQL reads: every relation of the project, and the tables of the lake.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use thalweg_core::table::Table as _;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use thalweg_lake::LakeTable;
use thalweg_project::{Project, ViewInput};
use thalweg_stream::engine::{
    Entry, Merged, Panels, PinnedTable, Readable, Records, RefreshNote, TableReader,
};
use thalweg_stream::operators::outcomes;
use thalweg_stream::pipeline::Pipeline;
use thalweg_stream::program::{Shape, arm_sql};
use thalweg_stream::replay::History;
use thalweg_stream::sql::rewrite::Mode;

use super::lookups::{self, Wiring};
use super::pipelines::{LATEST, RESULTS};
use crate::check::models::{Predictions, pipeline_name};
use crate::check::routes::conditions;
use crate::check::{Checked, tables};

/// A table of the lake as the engine reads it.
pub(super) struct LakeReader {
    table: Arc<LakeTable>,
    schema: SchemaRef,
    // Who feeds it, to know the epoch it holds.
    pipeline: Option<String>,
}

impl LakeReader {
    pub(super) fn new(table: &Arc<LakeTable>, schema: SchemaRef, pipeline: Option<&str>) -> Self {
        Self { table: Arc::clone(table), schema, pipeline: pipeline.map(str::to_owned) }
    }
}

#[async_trait]
impl TableReader for LakeReader {
    async fn pin(&self) -> Result<PinnedTable> {
        let pinned = self.table.pin().await?;
        let epoch = self
            .pipeline
            .as_ref()
            .and_then(|name| pinned.stamps.iter().find(|stamp| stamp.pipeline == *name))
            .map_or(0, |stamp| stamp.epoch);
        Ok(PinnedTable { provider: pinned.provider, epoch, note: pinned.note })
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Up to where the batch tables of merged views have come; live keeps what is not below it.
#[derive(Clone, Default)]
pub(super) struct Boundaries {
    // By stream; the boundary of each of its readers.
    by_stream: BTreeMap<String, Vec<(String, Arc<AtomicI64>)>>,
}

impl Boundaries {
    pub(super) async fn open(
        project: &Project,
        tables: &BTreeMap<String, Arc<LakeTable>>,
    ) -> Result<Self> {
        let mut boundaries = Self::default();
        for view in &project.views {
            let ViewInput::Merge { batch, live, .. } = &view.input else { continue };
            let Some(table) = tables.get(batch.as_str()) else { continue };
            let boundary = match table.note().await? {
                Some(note) => RefreshNote::parse(&note)?.boundary(),
                None => None,
            };
            let boundary = Arc::new(AtomicI64::new(boundary.unwrap_or(Timestamp::MIN).0));
            let readers = boundaries.by_stream.entry(live.value.clone()).or_default();
            readers.push((batch.value.clone(), boundary));
        }
        Ok(boundaries)
    }

    /// The earliest boundary among a stream's readers, now and whenever it is asked.
    pub(super) fn of(&self, stream: &str) -> Option<Arc<dyn Fn() -> Timestamp + Send + Sync>> {
        let readers = self.by_stream.get(stream)?.clone();
        Some(Arc::new(move || {
            let earliest =
                readers.iter().map(|(_, boundary)| boundary.load(Ordering::Acquire)).min();
            earliest.map_or(Timestamp::MIN, Timestamp)
        }))
    }

    /// A refresh of `table` was committed.
    pub(super) fn moved(&self, table: &str, boundary: Option<Timestamp>) {
        let Some(boundary) = boundary else { return };
        for (_, at) in self.by_stream.values().flatten().filter(|(name, _)| name == table) {
            at.fetch_max(boundary.0, Ordering::AcqRel);
        }
    }
}

/// What panels show, kept by their hidden streams.
pub(super) fn panels(checked: &Checked, pipelines: &[Arc<Pipeline>]) -> Panels {
    let mut panels = Panels { by_sql: checked.panels.by_sql.clone(), ..Panels::default() };
    for (name, panel) in &checked.panels.streams {
        let pipeline = pipelines.iter().find(|pipeline| pipeline.name() == name);
        let kept = pipeline.and_then(|it| it.kept.iter().find(|kept| kept.name == RESULTS));
        if let Some(kept) = kept {
            panels.results.insert(panel.fingerprint.clone(), Arc::clone(&kept.results));
            panels.sources.insert(panel.query.source.clone());
        }
    }
    panels
}

/// The relations of a project, by name.
pub(super) fn entries(
    wiring: &Wiring<'_>,
    pipelines: &[Arc<Pipeline>],
) -> Result<BTreeMap<String, Entry>> {
    let Wiring { project, checked, tables, .. } = *wiring;
    let mut entries = BTreeMap::new();
    let pipeline = |name: &str| {
        pipelines
            .iter()
            .find(|pipeline| pipeline.name() == name)
            .ok_or_else(|| Error::internal(format!("no pipeline `{name}`")))
    };
    let kept = |pipeline: &Pipeline, name: &str| {
        pipeline.kept.iter().find(|kept| kept.name == name).map(|kept| Arc::clone(&kept.results))
    };
    let table_of = |name: &str| -> Option<Arc<dyn TableReader>> {
        let table = tables::lossless(project, name)?;
        let kept = tables.get(table.name.as_str())?;
        let schema = Arc::clone(&checked.tables[table.name.as_str()]);
        Some(Arc::new(LakeReader::new(kept, schema, Some(name))))
    };
    for source in &project.sources {
        let name = source.name.as_str();
        let pipeline = pipeline(name)?;
        let tail = pipeline.tail.clone().ok_or_else(|| Error::internal("a source has no tail"))?;
        entries.insert(
            name.to_owned(),
            Entry {
                kind: "source",
                readable: Readable::Records(Records {
                    tail,
                    table: table_of(name),
                    history: Some(Arc::clone(pipeline) as Arc<dyn History>),
                    sql: None,
                }),
                key: source.key.clone(),
                latest: kept(pipeline, LATEST),
                columns: Arc::clone(&checked.sources[name]),
            },
        );
    }
    for stream in &project.streams {
        let name = stream.name.as_str();
        let query = &checked.streams[name];
        let pipeline = pipeline(name)?;
        let source_key = project.source(&query.source).map(|it| it.key.clone()).unwrap_or_default();
        let (readable, key) = match (query.shape, kept(pipeline, RESULTS)) {
            // What it has predicted, by those who answered then.
            (Shape::RowWise, _) if !query.models.is_empty() => {
                let tail = pipeline.tail.clone();
                let tail = tail.ok_or_else(|| Error::internal("a stream has no tail"))?;
                let history = Some(Arc::clone(pipeline) as Arc<dyn History>);
                let records = Records { tail, table: table_of(name), history, sql: None };
                (Readable::Records(records), source_key)
            }
            (Shape::RowWise, _) => {
                let sql = stream.sql.as_str().to_owned();
                let readable = match (table_of(name), pipeline.tail.clone()) {
                    (Some(table), Some(tail)) => Readable::Records(Records {
                        tail,
                        table: Some(table),
                        history: Some(Arc::clone(pipeline) as Arc<dyn History>),
                        sql: Some(sql),
                    }),
                    _ => Readable::Sql { sql, mode: Mode::Stream },
                };
                (readable, source_key)
            }
            (_, Some(results)) => (Readable::Results(results), query.key.clone()),
            (_, None) => {
                let tail = pipeline.tail.clone();
                let missing = || Error::internal(format!("stream `{name}` has no results"));
                let (tail, table) = (tail.ok_or_else(missing)?, table_of(name));
                let records = Records { tail, table, history: None, sql: None };
                (Readable::Records(records), query.key.clone())
            }
        };
        let latest = kept(pipeline, LATEST);
        let columns = Arc::clone(&query.schema);
        entries.insert(name.to_owned(), Entry { kind: "stream", readable, key, latest, columns });
    }
    for route in &project.routes {
        let conditions = conditions(route);
        for (number, arm) in route.arms.iter().enumerate() {
            let name = arm.name.as_str();
            let query = &checked.streams[name];
            let key = project.source(&query.source).map(|it| it.key.clone()).unwrap_or_default();
            let sql = arm_sql(route.from.as_str(), &conditions, number);
            let readable = Readable::Sql { sql, mode: Mode::Stream };
            let columns = Arc::clone(&query.schema);
            let entry = Entry { kind: "stream", readable, key, latest: None, columns };
            entries.insert(name.to_owned(), entry);
        }
    }
    for lookup in &project.lookups {
        let reader = lookups::reader(wiring, lookup);
        let columns = reader.schema();
        let readable = Readable::Table(reader);
        let entry = Entry { kind: "table", readable, key: Vec::new(), latest: None, columns };
        entries.insert(lookup.name.value.clone(), entry);
    }
    for table in &project.tables {
        let name = table.name.as_str();
        let (Some(delta), Some(columns)) = (tables.get(name), checked.tables.get(name)) else {
            continue;
        };
        let reader = LakeReader::new(delta, Arc::clone(columns), None);
        entries.insert(
            name.to_owned(),
            Entry {
                kind: "table",
                readable: Readable::Table(Arc::new(reader)),
                key: Vec::new(),
                latest: None,
                columns: tables::with_folders(table, columns),
            },
        );
    }
    for view in &project.views {
        let name = view.name.as_str();
        let Some(columns) = checked.views.get(name) else { continue };
        let (readable, key) = match &view.input {
            ViewInput::Query(sql) => {
                let sql = sql.as_str().to_owned();
                (Readable::Sql { sql, mode: Mode::Query }, Vec::new())
            }
            ViewInput::Merge { batch, live, on } => {
                let query = &checked.streams[live.as_str()];
                let live = kept(pipeline(live.as_str())?, RESULTS)
                    .ok_or_else(|| Error::internal("a merged view has no live side"))?;
                let delta = &tables[batch.as_str()];
                let schema = Arc::clone(&checked.tables[batch.as_str()]);
                let batch = Arc::new(LakeReader::new(delta, schema, None));
                let merged = Merged { batch, live, on: on.value.clone() };
                (Readable::Merged(merged), query.key.clone())
            }
        };
        let columns = Arc::clone(columns);
        entries
            .insert(name.to_owned(), Entry { kind: "view", readable, key, latest: None, columns });
    }
    for model in &project.models {
        let name = model.name.as_str();
        let checked = &checked.models[name];
        let readable = match &checked.predictions {
            Predictions::Followed(_) => {
                let results = kept(pipeline(&pipeline_name(name))?, RESULTS);
                let missing = || Error::internal(format!("model `{name}` has no results"));
                Readable::Results(results.ok_or_else(missing)?)
            }
            Predictions::Asked(sql) => Readable::Sql { sql: sql.clone(), mode: Mode::Query },
        };
        let columns = outcomes::schema(&checked.columns.key);
        let key = outcomes::row_key(&checked.columns.key);
        entries
            .insert(name.to_owned(), Entry { kind: "model", readable, key, latest: None, columns });
    }
    Ok(entries)
}
