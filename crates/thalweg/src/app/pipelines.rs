//! Pipelines of a project: one a source, stream and alert, one a model that has its features from a
//! stream, and the hidden ones of panels.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use thalweg_connect::sinks::console::{ConsoleConfig, ConsoleSink};
use thalweg_connect::sinks::webhook::{WebhookConfig, WebhookSink};
use thalweg_core::table::Table as _;
use thalweg_core::time::micros;
use thalweg_core::{Error, Result};
use thalweg_lake::{Changelog, LakeTable};
use thalweg_project::{Model, Project, Sink, Source, Target};
use thalweg_stream::intake::Intake;
use thalweg_stream::pipeline::{
    Decoding, Drain, Factory, Forget, KeepFrom, Kept, Outlet, Parts, Pipeline, Reader, Reading,
    Settings, Shared,
};
use thalweg_stream::program::{Program, Shape, StreamQuery, visible};
use thalweg_stream::results::Results;
use thalweg_stream::sql::functions::window_of;
use thalweg_stream::tail::Tail;
use thalweg_stream::unique::Unique;

use super::databases;
use super::readers::Boundaries;
use super::sources::{self, Places};
use crate::check::models::{self, CheckedModel};
use crate::check::tables::lossless;
use crate::check::{Checked, PanelStream};

/// Name of the kept results that serve `latest(x)`.
pub(super) const LATEST: &str = "latest";
/// Predictions of a model that stay readable, the newest.
const PREDICTIONS_MAX: usize = 20_000;
/// Name of the kept results of a GROUP BY, and of a model's predictions.
pub(super) const RESULTS: &str = "results";

/// What the names of panels' hidden streams begin with; no name of a project has a dot.
const PANEL: &str = "panel.";

/// Whose pipeline it is.
#[derive(Clone)]
enum Role {
    Source,
    Stream(String),
    Alert(String),
    Model(String),
    Panel(String),
}

struct Parcel {
    project: Arc<Project>,
    checked: Arc<Checked>,
    shared: Shared,
    tables: BTreeMap<String, Arc<LakeTable>>,
    places: Places,
    source: String,
    role: Role,
}

/// Every pipeline of a project, the sources' own first.
pub(super) fn declare(
    project: &Arc<Project>,
    checked: &Arc<Checked>,
    shared: &Shared,
    tables: &BTreeMap<String, Arc<LakeTable>>,
    boundaries: &Boundaries,
    places: &Places,
    drain: Option<&Drain>,
) -> Result<Vec<Arc<Pipeline>>> {
    let mut pipelines = Vec::new();
    let readings: BTreeMap<&str, Arc<Reading>> =
        project.sources.iter().map(|source| (source.name.as_str(), Arc::default())).collect();
    let parcel = |source: &str, role: Role| Parcel {
        project: Arc::clone(project),
        checked: Arc::clone(checked),
        shared: shared.clone(),
        tables: tables.clone(),
        places: places.clone(),
        source: source.to_owned(),
        role,
    };
    for source in &project.sources {
        let name = source.name.as_str();
        let schema = &checked.sources[name];
        let has_table = lossless(project, name).is_some();
        let tail = Arc::new(Tail::new(Arc::clone(schema), has_table));
        let kept = latest(checked, name, schema, &source.key)?;
        pipelines.push(Arc::new(Pipeline::new(
            shared.clone(),
            settings(project, source, name, true, &fingerprint(None, source)),
            &readings[name],
            Box::new(parcel(name, Role::Source)),
            None,
            Some(tail),
            kept,
            drain.cloned(),
        )));
    }
    for stream in &project.streams {
        let name = stream.name.as_str();
        let query = &checked.streams[name];
        let source = project
            .source(&query.source)
            .ok_or_else(|| Error::internal(format!("stream `{name}` has no source")))?;
        let (tail, kept) = match query.shape {
            Shape::RowWise => {
                let has_table = lossless(project, name).is_some();
                let tail = Arc::new(Tail::new(Arc::clone(&query.schema), has_table));
                (Some(tail), latest(checked, name, &query.schema, &source.key)?)
            }
            Shape::Final | Shape::Updating => {
                (None, vec![results(query, boundaries.of(name), places.are_given())?])
            }
        };
        let fingerprint = fingerprint(Some((stream.sql.as_str(), query)), source);
        pipelines.push(Arc::new(Pipeline::new(
            shared.clone(),
            settings(project, source, name, false, &fingerprint),
            &readings[source.name.as_str()],
            Box::new(parcel(&query.source, Role::Stream(name.to_owned()))),
            Some(query.clone()),
            tail,
            kept,
            drain.cloned(),
        )));
    }
    for alert in &project.alerts {
        let name = alert.name.as_str();
        let Some(query) = checked.alerts.get(name) else { continue };
        let source = project
            .source(&query.source)
            .ok_or_else(|| Error::internal(format!("alert `{name}` has no source")))?;
        let fingerprint = fingerprint(Some((alert.when.as_str(), query)), source);
        pipelines.push(Arc::new(Pipeline::new(
            shared.clone(),
            settings(project, source, &format!("alert.{name}"), false, &fingerprint),
            &readings[source.name.as_str()],
            Box::new(parcel(&query.source, Role::Alert(name.to_owned()))),
            Some(query.clone()),
            None,
            Vec::new(),
            drain.cloned(),
        )));
    }
    for model in &project.models {
        let name = model.name.as_str();
        let Some(query) = checked.models.get(name).and_then(CheckedModel::followed) else {
            continue;
        };
        let source = project
            .source(&query.source)
            .ok_or_else(|| Error::internal(format!("model `{name}` has no source")))?;
        let fingerprint = fingerprint(Some((features_sql(project, model), query)), source);
        let results = Arc::new(Results::new(Arc::clone(&query.schema), &query.key)?);
        let forget = Forget::Beyond { column: "for_time".to_owned(), rows: PREDICTIONS_MAX };
        pipelines.push(Arc::new(Pipeline::new(
            shared.clone(),
            settings(project, source, &models::pipeline_name(name), false, &fingerprint),
            &readings[source.name.as_str()],
            Box::new(parcel(&query.source, Role::Model(name.to_owned()))),
            Some(query.clone()),
            None,
            vec![Kept { name: RESULTS.to_owned(), results, forget }],
            drain.cloned(),
        )));
    }
    for (name, panel) in &checked.panels.streams {
        let query = &panel.query;
        let source = project
            .source(&query.source)
            .ok_or_else(|| Error::internal(format!("`{name}` has no source")))?;
        let fingerprint = fingerprint(Some((&panel.fingerprint, query)), source);
        pipelines.push(Arc::new(Pipeline::new(
            shared.clone(),
            settings(project, source, name, false, &fingerprint),
            &readings[source.name.as_str()],
            Box::new(parcel(&query.source, Role::Panel(name.clone()))),
            Some(query.clone()),
            None,
            vec![panel_results(panel)?],
            drain.cloned(),
        )));
    }
    Ok(pipelines)
}

/// What a pipeline computes: with another one its state is made anew.
fn fingerprint(sql: Option<(&str, &StreamQuery)>, source: &Source) -> String {
    let unique = source.unique.as_ref().map_or(String::new(), |unique| format!("{unique:?}"));
    match sql {
        Some((sql, query)) => {
            format!("{sql}\n{:?}{unique}{}", source.columns, models::fingerprint(query))
        }
        None => format!("{:?}{unique}", source.columns),
    }
}

/// What makes the features that a model's pipeline follows: a stream's SQL, or the name of a source.
fn features_sql<'a>(project: &'a Project, model: &'a Model) -> &'a str {
    let features = model.features.as_str();
    project.stream(features).map_or(features, |stream| stream.sql.as_str())
}

/// The fingerprint of every pipeline of a project, by its name.
pub(crate) fn fingerprints(project: &Project, checked: &Checked) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for source in &project.sources {
        all.insert(source.name.value.clone(), fingerprint(None, source));
    }
    let streams = project.streams.iter().filter_map(|stream| {
        let name = stream.name.as_str();
        Some((name.to_owned(), checked.streams.get(name)?, stream.sql.as_str()))
    });
    let alerts = project.alerts.iter().filter_map(|alert| {
        let name = alert.name.as_str();
        Some((format!("alert.{name}"), checked.alerts.get(name)?, alert.when.as_str()))
    });
    let models = project.models.iter().filter_map(|model| {
        let query = checked.models.get(model.name.as_str())?.followed()?;
        let name = models::pipeline_name(model.name.as_str());
        Some((name, query, features_sql(project, model)))
    });
    for (name, query, sql) in streams.chain(alerts).chain(models) {
        if let Some(source) = project.source(&query.source) {
            all.insert(name, fingerprint(Some((sql, query)), source));
        }
    }
    all
}

fn settings(
    project: &Project,
    source: &Source,
    name: &str,
    is_source: bool,
    fingerprint: &str,
) -> Settings {
    Settings {
        name: name.to_owned(),
        source: source.name.value.clone(),
        is_source,
        keeps_late: !name.starts_with(PANEL),
        delay_micros: micros(source.watermark),
        checkpoint_every: project.runtime.checkpoint_every,
        journal: source.is_live().then(|| sources::journal_topic(source.name.as_str())),
        fingerprint: fingerprint.to_owned(),
        keep: (source.keep.age, usize::try_from(source.keep.bytes).unwrap_or(usize::MAX)),
    }
}

fn latest(checked: &Checked, name: &str, schema: &SchemaRef, key: &[String]) -> Result<Vec<Kept>> {
    let has_key = !key.is_empty() && key.iter().all(|it| schema.column_with_name(it).is_some());
    if !checked.latest.contains(name) || !has_key {
        return Ok(Vec::new());
    }
    let results = Arc::new(Results::new(Arc::clone(schema), key)?);
    Ok(vec![Kept { name: LATEST.to_owned(), results, forget: Forget::Nothing }])
}

fn results(
    query: &StreamQuery,
    boundary: Option<Arc<dyn Fn() -> thalweg_core::time::Timestamp + Send + Sync>>,
    keeps_all: bool,
) -> Result<Kept> {
    let results = Arc::new(Results::new(Arc::clone(&query.schema), &query.key)?);
    // What a merged view may still need stays; without such a reader a week of event time does.
    let time = ["window_start", "window_end"]
        .into_iter()
        .find(|column| !keeps_all && query.schema.column_with_name(column).is_some());
    let week = std::time::Duration::from_secs(7 * 86_400);
    let forget = time.map_or(Forget::Nothing, |column| {
        let from: KeepFrom = match boundary {
            Some(boundary) => Arc::new(move |_| boundary()),
            None => Arc::new(move |watermark| watermark.minus(week)),
        };
        Forget::Before { column: column.to_owned(), from }
    });
    Ok(Kept { name: RESULTS.to_owned(), results, forget })
}

/// What a panel shows: without windows a row a key, with them the newest windows of each.
fn panel_results(panel: &PanelStream) -> Result<Kept> {
    let query = &panel.query;
    let results = Arc::new(Results::new(Arc::clone(&query.schema), &query.key)?);
    let is_window = |name: &String| {
        query.schema.field_with_name(name).is_ok_and(|field| window_of(field).is_some())
    };
    let (windows, apart): (Vec<String>, Vec<String>) =
        query.key.iter().cloned().partition(is_window);
    let forget = match windows.into_iter().next() {
        Some(column) => Forget::ButNewest { column, apart, count: panel.windows_kept },
        None => Forget::Nothing,
    };
    Ok(Kept { name: RESULTS.to_owned(), results, forget })
}

#[async_trait]
impl Factory for Parcel {
    async fn parts(&self) -> Result<Parts> {
        let source = self.source()?;
        self.places.decide(source, &self.shared.env, &self.shared.store).await?;
        let decoding = self.decode_as(sources::Reader::Pipeline)?;
        let front = self.reader()?;
        let query = self.query();
        let (name, schema, shape, key) = match (&self.role, query) {
            (Role::Alert(alert), Some(query)) => {
                let outlets = self.notifier(alert, &query.visible())?.into_iter().collect();
                return Ok(Parts { decoding, front, outlets });
            }
            (Role::Panel(_) | Role::Model(_), _) => {
                return Ok(Parts { decoding, front, outlets: Vec::new() });
            }
            (Role::Stream(name), Some(query)) => {
                (name, query.visible(), query.shape, query.key.clone())
            }
            _ => {
                let schema = visible(&self.checked.sources[&self.source]);
                (&self.source, schema, Shape::RowWise, Vec::new())
            }
        };
        let mut outlets = Vec::new();
        let lossless = lossless(&self.project, name).map(|table| table.name.as_str());
        for table in self.project.tables_from(name) {
            let sink = self.tables[table.name.as_str()].sink()?;
            let every = table.roll.every.unwrap_or(self.project.runtime.commit_every);
            outlets.push(Outlet {
                name: table.name.value.clone(),
                sink: if table.is_changelog() { Box::new(Changelog::new(sink)) } else { sink },
                columns: Arc::clone(&self.checked.tables[table.name.as_str()]),
                commit_every: Some(every),
                is_lossless_table: lossless == Some(table.name.as_str()) && shape == Shape::RowWise,
            });
        }
        for sink in self.project.sinks.iter().filter(|sink| sink.from.as_str() == name) {
            outlets.push(Outlet {
                name: sink.name.value.clone(),
                sink: self.sink(sink, name, &schema, shape, &key)?,
                columns: Arc::clone(&schema),
                commit_every: None,
                is_lossless_table: false,
            });
        }
        Ok(Parts { decoding, front, outlets })
    }

    fn decoding(&self) -> Result<Decoding> {
        self.decode_as(sources::Reader::Query)
    }
}

impl Parcel {
    /// The query it runs, unless it is the source's own.
    fn query(&self) -> Option<&StreamQuery> {
        match &self.role {
            Role::Source => None,
            Role::Stream(name) => self.checked.streams.get(name),
            Role::Alert(name) => self.checked.alerts.get(name),
            Role::Model(name) => self.checked.models.get(name)?.followed(),
            Role::Panel(name) => self.checked.panels.streams.get(name).map(|panel| &panel.query),
        }
    }

    fn source(&self) -> Result<&Source> {
        self.project
            .source(&self.source)
            .ok_or_else(|| Error::internal(format!("no source `{}`", self.source)))
    }

    /// The source's input, its intake, and the operators of the query.
    fn decode_as(&self, reader: sources::Reader) -> Result<Decoding> {
        let source = self.source()?;
        let (inputs, intake) = self.inputs(reader)?;
        let unique = source.unique.as_ref();
        let unique = unique.map(|it| Unique::new(intake.schema(), &it.columns, it.within));
        let planner = &self.checked.planner;
        let program = self.query().map(|query| Program::new(planner, query)).transpose()?;
        Ok(Decoding { inputs, intake, unique: unique.transpose()?, program })
    }

    fn inputs(&self, reader: sources::Reader) -> Result<(sources::Inputs, Intake)> {
        let source = self.source()?;
        let (planner, Shared { env, log, .. }) = (&self.checked.planner, &self.shared);
        if let Some(given) = self.places.given(source.name.as_str()) {
            return given.input_and_intake(planner);
        }
        let used = self.places.used(source.name.as_str()).unwrap_or(0);
        sources::input_and_intake(source, planner, env, log, reader, used)
    }

    /// What the pipelines of the source read with, together.
    fn reader(&self) -> Result<Reader> {
        let (inputs, intake) = self.inputs(sources::Reader::Pipeline)?;
        Ok(Reader::new(inputs, intake, &self.shared.env))
    }

    /// Where an alert goes, if it is told to anybody.
    fn notifier(&self, name: &str, schema: &SchemaRef) -> Result<Option<Outlet>> {
        let alert = self.project.alerts.iter().find(|alert| alert.name.as_str() == name);
        let Some(alert) = alert else { return Ok(None) };
        let told = alert.notify.as_ref().or(self.project.notify.as_ref());
        let notify = told.and_then(|told| {
            self.project.notifies.iter().find(|notify| notify.name.as_str() == told.as_str())
        });
        let Some(notify) = notify else { return Ok(None) };
        let config = WebhookConfig {
            url: notify.webhook_url.reveal().to_owned(),
            alert: name.to_owned(),
            per: alert.per.iter().map(|column| column.value.clone()).collect(),
            cooldown: alert.cooldown,
        };
        let sink = WebhookSink::new(config, Arc::clone(schema), self.shared.env.clock.clone())?;
        Ok(Some(Outlet {
            name: format!("alert.{name}"),
            sink: Box::new(sink),
            columns: Arc::clone(schema),
            commit_every: None,
            is_lossless_table: false,
        }))
    }

    fn sink(
        &self,
        sink: &Sink,
        pipeline: &str,
        schema: &SchemaRef,
        shape: Shape,
        key: &[String],
    ) -> Result<Box<dyn thalweg_core::sink::Sink>> {
        let rows = databases::Rows { schema, shape, key, query: self.query() };
        if let Some(made) = databases::sink(&self.project, sink, pipeline, &rows) {
            return Ok(Box::new(made?));
        }
        let config = match sink.target {
            Target::Console { every } => ConsoleConfig { every, ..ConsoleConfig::default() },
            Target::Postgres(_) | Target::Mysql(_) => {
                return Err(Error::internal("a database is no console"));
            }
        };
        Ok(Box::new(ConsoleSink::new(
            config,
            sink.name.as_str(),
            Box::new(std::io::stdout()),
            self.shared.env.clock.clone(),
        )))
    }
}
