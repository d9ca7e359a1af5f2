//! Pipelines of a project: one a source, stream and alert, one a model that has its features from a
//! stream, and the hidden ones of panels.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use thalweg_connect::sinks::console::{ConsoleConfig, ConsoleSink};
use thalweg_connect::sinks::notify::{NotifyConfig, NotifySink};
use thalweg_connect::sinks::topic::{Operation, TopicConfig, TopicSink};
use thalweg_connect::sinks::webhook::{WebhookConfig, WebhookSink};
use thalweg_core::schema::{meta, timestamp_type};
use thalweg_core::table::Table as _;
use thalweg_core::time::micros;
use thalweg_core::{Error, Result};
use thalweg_lake::{Changelog, LakeTable};
use thalweg_project::{Mode, Model, Project, Route, Sink, Source, Spanned, Target, Webhook};
use thalweg_stream::intake::Intake;
use thalweg_stream::pipeline::{
    Decoding, Factory, Forget, KeepFrom, Kept, Outlet, Parts, Pipeline, Reader, Reading, Settings,
    Shared,
};
use thalweg_stream::program::{Program, Shape, StreamQuery, visible};
use thalweg_stream::results::Results;
use thalweg_stream::sql::functions::window_of;
use thalweg_stream::tail::{Older, Tail};
use thalweg_stream::unique::Unique;

use super::databases;
use super::drains::Drains;
use super::readers::Boundaries;
use super::sources::{self, Places};
use crate::check::models::{self, CheckedModel};
use crate::check::routes::conditions;
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

/// What the names of routes' pipelines begin with.
const ROUTE: &str = "route.";

/// Whose pipeline it is.
#[derive(Clone)]
enum Role {
    Source,
    Stream(String),
    Route(String),
    Alert(String),
    Model(String),
    Panel(String),
}

/// What the rows of a relation are.
struct Given {
    /// Columns that a reader sees.
    schema: SchemaRef,
    /// All columns.
    whole: SchemaRef,
    shape: Shape,
    /// The columns of GROUP BY.
    key: Vec<String>,
    /// The columns of the entity a row is about.
    entity: Vec<String>,
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
    drains: &Drains,
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
        let tail = tail(project, name, schema);
        let kept = latest(checked, name, schema, &source.key)?;
        pipelines.push(Arc::new(Pipeline::new(
            shared.clone(),
            settings(project, source, name, true, &fingerprint(None, source)),
            &readings[name],
            Box::new(parcel(name, Role::Source)),
            None,
            Some(tail),
            kept,
            drains.of(source),
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
                let tail = tail(project, name, &query.schema);
                (Some(tail), latest(checked, name, &query.schema, &source.key)?)
            }
            // Batch and live are compared with the results, and a trial has no tables.
            Shape::Final
                if lossless(project, name).is_some()
                    && boundaries.of(name).is_none()
                    && !places.are_given() =>
            {
                (Some(Arc::new(Tail::new(Arc::clone(&query.schema), Older::Table))), Vec::new())
            }
            Shape::Final | Shape::Updating => {
                (None, vec![results(query, boundaries.of(name), places.are_given())?])
            }
        };
        let sql = with_arms(project, checked, stream.sql.as_str());
        let fingerprint = fingerprint(Some((&sql, query)), source);
        pipelines.push(Arc::new(Pipeline::new(
            shared.clone(),
            settings(project, source, name, false, &fingerprint),
            &readings[source.name.as_str()],
            Box::new(parcel(&query.source, Role::Stream(name.to_owned()))),
            Some(query.clone()),
            tail,
            kept,
            drains.of(source),
        )));
    }
    for route in &project.routes {
        let name = route.name.as_str();
        let query = &checked.routes[name];
        let source = project
            .source(&query.source)
            .ok_or_else(|| Error::internal(format!("route `{name}` has no source")))?;
        let fingerprint = route_fingerprint(project, checked, route, query, source);
        pipelines.push(Arc::new(Pipeline::new(
            shared.clone(),
            settings(project, source, &route_pipeline(name), false, &fingerprint),
            &readings[source.name.as_str()],
            Box::new(parcel(&query.source, Role::Route(name.to_owned()))),
            Some(query.clone()),
            None,
            Vec::new(),
            drains.of(source),
        )));
    }
    for alert in &project.alerts {
        let name = alert.name.as_str();
        let Some(query) = checked.alerts.get(name) else { continue };
        let source = project
            .source(&query.source)
            .ok_or_else(|| Error::internal(format!("alert `{name}` has no source")))?;
        let sql = with_arms(project, checked, alert.when.as_str());
        let fingerprint = fingerprint(Some((&sql, query)), source);
        pipelines.push(Arc::new(Pipeline::new(
            shared.clone(),
            settings(project, source, &format!("alert.{name}"), false, &fingerprint),
            &readings[source.name.as_str()],
            Box::new(parcel(&query.source, Role::Alert(name.to_owned()))),
            Some(query.clone()),
            None,
            Vec::new(),
            drains.of(source),
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
            drains.of(source),
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
            drains.of(source),
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

/// Name of the pipeline that runs a route.
pub(super) fn route_pipeline(route: &str) -> String {
    format!("{ROUTE}{route}")
}

/// A query, and the conditions of the routes whose arms it reads: with others it gives other rows.
fn with_arms(project: &Project, checked: &Checked, sql: &str) -> String {
    let mut text = sql.to_owned();
    for read in checked.planner.reads(sql).unwrap_or_default() {
        if let Some((route, _)) = project.arm(&read) {
            text.push_str(&conditions_text(project, checked, route));
        }
    }
    text
}

fn conditions_text(project: &Project, checked: &Checked, route: &Route) -> String {
    let from = route.from.as_str();
    let mut text = format!("\nroute of {from}");
    if let Some((upstream, _)) = project.arm(from) {
        text.push_str(&conditions_text(project, checked, upstream));
    }
    if let Some(stream) = project.stream(from) {
        text.push_str(&with_arms(project, checked, stream.sql.as_str()));
    }
    for condition in conditions(route) {
        text.push_str(&format!("\n{}", condition.unwrap_or_default()));
    }
    text
}

fn route_fingerprint(
    project: &Project,
    checked: &Checked,
    route: &Route,
    query: &StreamQuery,
    source: &Source,
) -> String {
    let text = conditions_text(project, checked, route);
    fingerprint(Some((&text, query)), source)
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
        let sql = with_arms(project, checked, stream.sql.as_str());
        Some((name.to_owned(), checked.streams.get(name)?, sql))
    });
    let alerts = project.alerts.iter().filter_map(|alert| {
        let name = alert.name.as_str();
        let sql = with_arms(project, checked, alert.when.as_str());
        Some((format!("alert.{name}"), checked.alerts.get(name)?, sql))
    });
    let models = project.models.iter().filter_map(|model| {
        let query = checked.models.get(model.name.as_str())?.followed()?;
        let name = models::pipeline_name(model.name.as_str());
        Some((name, query, features_sql(project, model).to_owned()))
    });
    for (name, query, sql) in streams.chain(alerts).chain(models) {
        if let Some(source) = project.source(&query.source) {
            all.insert(name, fingerprint(Some((&sql, query)), source));
        }
    }
    for route in &project.routes {
        let Some(query) = checked.routes.get(route.name.as_str()) else { continue };
        if let Some(source) = project.source(&query.source) {
            let fingerprint = route_fingerprint(project, checked, route, query, source);
            all.insert(route_pipeline(route.name.as_str()), fingerprint);
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
        journal: sources::journal_of(source),
        fingerprint: fingerprint.to_owned(),
        keep: (source.keep.age, usize::try_from(source.keep.bytes).unwrap_or(usize::MAX)),
    }
}

/// The newest rows of a source or row-wise stream.
fn tail(project: &Project, name: &str, schema: &SchemaRef) -> Arc<Tail> {
    let older = match lossless(project, name) {
        Some(_) => Older::TableAndInput,
        None => Older::Input,
    };
    Arc::new(Tail::new(Arc::clone(schema), older))
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

/// A webhook as its sink takes it.
pub(crate) fn webhook_of(name: &str, webhook: &Webhook) -> WebhookConfig {
    let headers = webhook.headers.iter();
    WebhookConfig {
        name: name.to_owned(),
        url: webhook.url.reveal().to_owned(),
        headers: headers.map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect(),
        rows_max: webhook.rows_max,
    }
}

#[async_trait]
impl Factory for Parcel {
    async fn parts(&self) -> Result<Parts> {
        let source = self.source()?;
        self.places.decide(source, &self.shared.env, &self.shared.store).await?;
        let decoding = self.decode_as(sources::Reader::Pipeline)?;
        let front = self.reader()?;
        let query = self.query();
        let name = match (&self.role, query) {
            (Role::Alert(alert), Some(query)) => {
                let outlets = self.notifier(alert, &query.visible())?.into_iter().collect();
                return Ok(Parts { decoding, front, outlets });
            }
            (Role::Panel(_) | Role::Model(_), _) => {
                return Ok(Parts { decoding, front, outlets: Vec::new() });
            }
            (Role::Route(route), _) => {
                let route = self.project.routes.iter().find(|it| it.name.as_str() == route);
                let arms = route.into_iter().flat_map(|route| route.arms.iter().enumerate());
                let mut outlets = Vec::new();
                for (number, arm) in arms {
                    outlets.extend(self.outlets(arm.name.as_str(), Some(number))?);
                    if let Some(topic) = &arm.topic {
                        let from = arm.name.as_str();
                        let (name, mode) = (topic.as_str(), Mode::Append);
                        outlets.push(self.topic(name, name, from, &[], mode, Some(number))?);
                    }
                }
                return Ok(Parts { decoding, front, outlets });
            }
            (Role::Stream(name), Some(_)) => name,
            _ => &self.source,
        };
        let outlets = self.outlets(name, None)?;
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
            Role::Route(name) => self.checked.routes.get(name),
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
        let config = NotifyConfig {
            url: notify.webhook_url.reveal().to_owned(),
            alert: name.to_owned(),
            per: alert.per.iter().map(|column| column.value.clone()).collect(),
            cooldown: alert.cooldown,
        };
        let sink = NotifySink::new(config, Arc::clone(schema), self.shared.env.clock.clone())?;
        Ok(Some(Outlet {
            name: format!("alert.{name}"),
            sink: Box::new(sink),
            columns: Arc::clone(schema),
            arm: None,
            commit_every: None,
            is_lossless_table: false,
        }))
    }

    /// The tables and sinks of a source, stream or arm.
    fn outlets(&self, name: &str, arm: Option<usize>) -> Result<Vec<Outlet>> {
        let Given { schema, shape, key, .. } = self.given(name)?;
        let mut outlets = Vec::new();
        let lossless = lossless(&self.project, name).map(|table| table.name.as_str());
        for table in self.project.tables_from(name) {
            let sink = self.tables[table.name.as_str()].sink()?;
            let every = table.roll.every.unwrap_or(self.project.runtime.commit_every);
            let is_lossless = lossless == Some(table.name.as_str());
            outlets.push(Outlet {
                name: table.name.value.clone(),
                sink: if table.is_changelog() { Box::new(Changelog::new(sink)) } else { sink },
                columns: Arc::clone(&self.checked.tables[table.name.as_str()]),
                arm,
                commit_every: Some(every),
                is_lossless_table: is_lossless && shape != Shape::Updating && arm.is_none(),
            });
        }
        for sink in self.project.sinks.iter().filter(|sink| sink.from.as_str() == name) {
            if let Target::Topic { name: topic } = &sink.target {
                let (of, mode) = (sink.name.as_str(), sink.mode.as_ref().map(|mode| mode.value));
                let mode = mode.unwrap_or(match shape {
                    Shape::Updating => Mode::Upsert,
                    Shape::RowWise | Shape::Final => Mode::Append,
                });
                outlets.push(self.topic(of, topic.as_str(), name, &sink.key, mode, arm)?);
                continue;
            }
            outlets.push(Outlet {
                name: sink.name.value.clone(),
                sink: self.sink(sink, name, &schema, shape, &key)?,
                columns: Arc::clone(&schema),
                arm,
                commit_every: None,
                is_lossless_table: false,
            });
        }
        Ok(outlets)
    }

    /// What the rows of a source, stream or arm are.
    fn given(&self, name: &str) -> Result<Given> {
        if let Some(source) = self.checked.sources.get(name) {
            let key = self.project.source(name).map(|source| source.key.clone());
            return Ok(Given {
                schema: visible(source),
                whole: Arc::clone(source),
                shape: Shape::RowWise,
                key: Vec::new(),
                entity: key.unwrap_or_default(),
            });
        }
        let query = self.checked.streams.get(name);
        let query = query.ok_or_else(|| Error::internal(format!("nothing is called `{name}`")))?;
        let source = self.source()?;
        let has_all = source.key.iter().all(|it| query.schema.column_with_name(it).is_some());
        let entity = match query.shape {
            Shape::RowWise if has_all => source.key.clone(),
            Shape::RowWise => Vec::new(),
            _ => query.key.clone(),
        };
        Ok(Given {
            schema: query.visible(),
            whole: Arc::clone(&query.schema),
            shape: query.shape,
            key: query.key.clone(),
            entity,
        })
    }

    /// A sink of the rows of `from` that publishes to a topic.
    fn topic(
        &self,
        outlet: &str,
        topic: &str,
        from: &str,
        key: &[Spanned<String>],
        mode: Mode,
        arm: Option<usize>,
    ) -> Result<Outlet> {
        let Given { schema, whole, shape, entity, .. } = self.given(from)?;
        let declared = self.project.topic(topic);
        let named = |key: &[Spanned<String>]| key.iter().map(|it| it.value.clone()).collect();
        let key: Vec<String> = match declared {
            _ if !key.is_empty() => named(key),
            Some(topic) if !topic.key.is_empty() => named(&topic.key),
            _ => entity,
        };
        let event_time = self.source()?.event_time.as_str();
        let is_instant = |name: &&str| {
            whole.field_with_name(name).is_ok_and(|field| *field.data_type() == timestamp_type())
        };
        let event_time = [event_time, "window_end", meta::RECEIVED_AT].into_iter().find(is_instant);
        let beside = event_time.filter(|name| schema.column_with_name(name).is_none());
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        let field = beside.and_then(|name| whole.field_with_name(name).ok());
        fields.extend(field.map(|field| Arc::new(field.clone())));
        let columns = Arc::new(Schema::new(fields));
        let config = TopicConfig {
            topic: topic.to_owned(),
            partitions: declared.map_or(1, |topic| topic.partitions),
            key,
            event_time: event_time.map(str::to_owned),
            beside: beside.map(str::to_owned).into_iter().collect(),
            operation: match shape {
                Shape::Updating => Operation::Upsert,
                Shape::RowWise | Shape::Final => Operation::Insert,
            },
            changelog: mode == Mode::Changelog,
        };
        let Shared { log, store, env, .. } = &self.shared;
        let (log, store, clock) = (Arc::clone(log), Arc::clone(store), env.clock.clone());
        let sink = TopicSink::new(config, Arc::clone(&columns), log, store, clock)?;
        Ok(Outlet {
            name: outlet.to_owned(),
            sink: Box::new(sink),
            columns,
            arm,
            commit_every: None,
            is_lossless_table: false,
        })
    }

    fn sink(
        &self,
        sink: &Sink,
        pipeline: &str,
        schema: &SchemaRef,
        shape: Shape,
        key: &[String],
    ) -> Result<Box<dyn thalweg_core::sink::Sink>> {
        let query = self.checked.streams.get(pipeline);
        let rows = databases::Rows { schema, shape, key, query };
        if let Some(made) = databases::sink(&self.project, sink, pipeline, &rows) {
            return Ok(Box::new(made?));
        }
        let config = match &sink.target {
            Target::Console { every } => {
                ConsoleConfig { every: *every, ..ConsoleConfig::default() }
            }
            Target::Webhook(webhook) => {
                let config = webhook_of(sink.name.as_str(), webhook);
                let (schema, env) = (Arc::clone(schema), self.shared.env.clone());
                return Ok(Box::new(WebhookSink::new(config, schema, env)?));
            }
            Target::Postgres(_) | Target::Mysql(_) | Target::Topic { .. } => {
                return Err(Error::internal("this is no console"));
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
