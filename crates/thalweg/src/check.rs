//! Typing a project: every SQL in it against the real columns, before anything starts.
//!
//! `check` and `run` share this path. What comes out is what the server is built from.
//! What panels become is in [`panels`].

mod panels;

pub(crate) mod models;
pub(crate) mod tables;

mod carried;
mod places;
pub(crate) mod routes;
mod trials;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_core::problem::{Place, Problem, Severity, SqlProblem};
use thalweg_core::schema::{source_schema, with_topic};
use thalweg_jobs::Schedule;
use thalweg_project::{
    Emit, Loaded, Mode as SinkMode, Model, Project, Route, Sink, SqlText, Stream, Table,
    TableInput, Target, TaskAction, View, ViewInput,
};
use thalweg_stream::intake::prepare_checks;
use thalweg_stream::program::{self, Shape, StreamQuery, visible};
use thalweg_stream::sql::rewrite::Mode;
use thalweg_stream::sql::{Named, Names, Planner};

use self::models::CheckedModel;
pub(crate) use self::panels::{PanelStream, Panels};
use crate::app::databases;
use crate::app::pipelines::webhook_of;

/// A project whose SQL is typed.
#[derive(Clone)]
pub(crate) struct Checked {
    /// The planner that typed it.
    pub planner: Planner,
    /// Columns of each source, hidden ones too.
    pub sources: BTreeMap<String, SchemaRef>,
    /// Columns of each lookup: a table of files that nothing fills.
    pub lookups: BTreeMap<String, SchemaRef>,
    /// Each stream's query, and each arm's.
    pub streams: BTreeMap<String, StreamQuery>,
    /// Each route's query.
    pub routes: BTreeMap<String, StreamQuery>,
    /// Columns of each table.
    pub tables: BTreeMap<String, SchemaRef>,
    /// Columns of each view.
    pub views: BTreeMap<String, SchemaRef>,
    /// Views of lookups alone, so that they are lookups themselves; each after those it reads.
    pub views_looked_up: Vec<String>,
    /// Each model.
    pub models: BTreeMap<String, CheckedModel>,
    /// Each alert's condition, as a stream.
    pub alerts: BTreeMap<String, StreamQuery>,
    /// Relations of which somebody asks for `latest(x)`.
    pub latest: BTreeSet<String>,
    /// What panels become.
    pub panels: Panels,
}

/// Types everything; problems are added to those that loading found.
pub(crate) fn check(loaded: &mut Loaded) -> Option<Checked> {
    let carried = carried::carry_columns(loaded.project.as_mut()?, &mut loaded.broken);
    loaded.problems.extend(carried);
    let project = loaded.project.as_ref()?;
    let mut typing = Typing {
        project,
        broken: loaded.broken.clone(),
        checked: Checked {
            planner: Planner::new(),
            sources: BTreeMap::new(),
            lookups: BTreeMap::new(),
            streams: BTreeMap::new(),
            routes: BTreeMap::new(),
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            views_looked_up: Vec::new(),
            models: BTreeMap::new(),
            alerts: BTreeMap::new(),
            latest: BTreeSet::new(),
            panels: Panels::default(),
        },
        names: Names::default(),
        models_known: false,
        views_in_order: Vec::new(),
        problems: Vec::new(),
    };
    typing.sources();
    typing.lookups();
    typing.relations();
    typing.features_look_ahead();
    typing.sinks();
    typing.problems.extend(tables::problems_of_use(project));
    typing.dashboards_and_alerts();
    typing.panels();
    typing.schedules();
    typing.trials();
    let Typing { checked, problems, .. } = typing;
    loaded.problems.extend(problems);
    loaded.problems.sort_by_key(|problem| {
        problem.place.as_ref().map_or((true, None, 0), |place| {
            (false, Some(Arc::clone(&place.file)), place.range.start)
        })
    });
    Some(checked)
}

struct Typing<'a> {
    project: &'a Project,
    // Relations that cannot be typed; what reads them is passed over.
    broken: BTreeSet<String>,
    checked: Checked,
    names: Names,
    // Whether every model is typed that can be: a misspelt one waits until all can be suggested.
    models_known: bool,
    // Views that are a query, each after those it reads.
    views_in_order: Vec<String>,
    problems: Vec<Problem>,
}

impl Typing<'_> {
    fn sources(&mut self) {
        for source in self.project.sources.iter().filter(|it| !it.columns.is_empty()) {
            let name = source.name.as_str();
            let schema = source_schema(&source.columns);
            let checks: Vec<(String, String)> = source
                .checks
                .iter()
                .map(|check| (check.name.value.clone(), check.sql.as_str().to_owned()))
                .collect();
            if let Err(problems) = prepare_checks(&self.checked.planner, &schema, &checks) {
                for (check, problem) in problems {
                    if let Some(check) = source.checks.iter().find(|it| it.name.value == check) {
                        self.problems.push(self.project.sql_problem(&check.sql, &problem));
                    }
                }
            }
            let schema = with_topic(&schema);
            self.problems.extend(places::problems(source));
            self.names.insert(name, Named::Rows(Arc::clone(&schema)), source.key.clone());
            if source.is_files() {
                self.names.let_look_up(name);
            }
            self.checked.sources.insert(name.to_owned(), schema);
        }
    }

    /// Tables of files that are only read.
    fn lookups(&mut self) {
        for lookup in self.project.lookups.iter().filter(|it| !it.columns.is_empty()) {
            let name = lookup.name.as_str();
            let schema = visible(&source_schema(&lookup.columns));
            self.problems.extend(places::problems(lookup));
            self.names.insert(name, Named::Rows(Arc::clone(&schema)), Vec::new());
            self.names.let_look_up(name);
            self.checked.lookups.insert(name.to_owned(), schema);
        }
    }

    /// Streams, tables, views and models, each after what it reads.
    fn relations(&mut self) {
        let mut streams: Vec<&Stream> = self.project.streams.iter().collect();
        let mut routes: Vec<&Route> = self.project.routes.iter().collect();
        let mut tables: Vec<&Table> = self.project.tables.iter().collect();
        let mut views: Vec<&View> = self.project.views.iter().collect();
        let mut models: Vec<&Model> = self.project.models.iter().collect();
        self.system();
        let mut is_stuck = false;
        loop {
            self.models_known = models.is_empty() || is_stuck;
            let count = |streams: &[&Stream], routes: &[&Route]| streams.len() + routes.len();
            let left = count(&streams, &routes) + tables.len() + views.len() + models.len();
            streams.retain(|stream| !self.stream(stream));
            routes.retain(|route| !self.route(route));
            tables.retain(|table| !self.table(table));
            views.retain(|view| !self.view(view));
            models.retain(|model| !self.model(model));
            is_stuck = count(&streams, &routes) + tables.len() + views.len() + models.len() == left;
            if is_stuck && self.models_known {
                break;
            }
        }
        if streams.is_empty()
            && routes.is_empty()
            && tables.is_empty()
            && views.is_empty()
            && models.is_empty()
        {
            return;
        }
        // What is left reads each other, or something broken.
        let depends: BTreeMap<String, BTreeSet<String>> = streams
            .iter()
            .map(|it| (it.name.value.clone(), self.reads(&it.sql)))
            .chain(views.iter().filter_map(|view| match &view.input {
                ViewInput::Query(sql) => Some((view.name.value.clone(), self.reads(sql))),
                ViewInput::Merge { .. } => None,
            }))
            .chain(routes.iter().flat_map(|route| self.route_reads(route)))
            .chain(tables.iter().filter_map(|table| {
                let (TableInput::From(filler) | TableInput::BatchOf { stream: filler, .. }) =
                    &table.input
                else {
                    return None;
                };
                Some((table.name.value.clone(), BTreeSet::from([filler.value.clone()])))
            }))
            .chain(models.iter().map(|model| {
                (model.name.value.clone(), BTreeSet::from([model.features.value.clone()]))
            }))
            .collect();
        self.problems.extend(self.project.cycle_problem(&depends));
    }

    /// Relations and models that `sql` names.
    fn reads(&self, sql: &SqlText) -> BTreeSet<String> {
        let planner = &self.checked.planner;
        let relations = planner.reads(sql.as_str()).unwrap_or_default();
        relations.into_iter().chain(planner.models(sql.as_str()).unwrap_or_default()).collect()
    }

    /// Whether everything `sql` reads that the project declares is known by now.
    fn is_ready(&mut self, sql: &SqlText) -> Option<bool> {
        let reads = self.reads(sql);
        if reads.iter().any(|name| self.broken.contains(name)) {
            return None;
        }
        let unknown = |name: &String| {
            self.names.get(name).is_none() && self.project.declaration(name).is_some()
        };
        let is_model = |name: &String| self.project.models.iter().any(|it| it.name.value == *name);
        let models = self.checked.planner.models(sql.as_str()).unwrap_or_default();
        let waits = !self.models_known && !models.iter().all(is_model);
        Some(!waits && !reads.iter().any(unknown))
    }

    /// Types a stream; `false` when it has to wait.
    fn stream(&mut self, stream: &Stream) -> bool {
        let name = stream.name.as_str();
        match self.is_ready(&stream.sql) {
            Some(true) => {}
            Some(false) => return false,
            None => {
                self.broken.insert(name.to_owned());
                return true;
            }
        }
        let update = matches!(stream.emit.as_ref().map(|emit| &emit.value), Some(Emit::Update));
        let planner = self.checked.planner.clone();
        match program::prepare(&planner, stream.sql.as_str(), &self.names, update) {
            Ok(query) if self.checked.sources.contains_key(&query.source) => {
                let key = self.key_of(&query);
                self.names.insert(name, Named::Plan(query.plan.clone()), key);
                self.checked.streams.insert(name.to_owned(), query);
            }
            Ok(query) => {
                let problem = SqlProblem {
                    code: "T0305",
                    message: format!(
                        "a stream reads sources and streams, `{}` is neither",
                        query.source
                    ),
                    label: None,
                    hint: Some("Make it a view, or read the source it comes from.".to_owned()),
                    range: None,
                };
                self.problems.push(self.project.sql_problem(&stream.sql, &problem));
                self.broken.insert(name.to_owned());
            }
            Err(problems) => {
                self.broken.insert(name.to_owned());
                self.add(&stream.sql, &problems);
            }
        }
        true
    }

    fn key_of(&self, query: &StreamQuery) -> Vec<String> {
        if query.shape != Shape::RowWise {
            return query.key.clone();
        }
        let source = self.project.source(&query.source);
        let key = source.map(|source| source.key.clone()).unwrap_or_default();
        let has_all = key.iter().all(|column| query.schema.column_with_name(column).is_some());
        if has_all { key } else { Vec::new() }
    }

    fn table(&mut self, table: &Table) -> bool {
        let name = table.name.as_str();
        let from = match &table.input {
            TableInput::From(from) => from.as_str(),
            TableInput::BatchOf { stream, .. } => stream.as_str(),
            TableInput::ReadOnly => {
                if table.columns.is_empty() {
                    self.broken.insert(name.to_owned());
                    return true;
                }
                let columns = visible(&source_schema(&table.columns));
                self.names.insert(name, Named::Rows(Arc::clone(&columns)), Vec::new());
                self.names.let_look_up(name);
                self.checked.tables.insert(name.to_owned(), columns);
                return true;
            }
        };
        let columns = match (self.checked.sources.get(from), self.checked.streams.get(from)) {
            (Some(source), _) => Arc::clone(source),
            (None, Some(stream)) => stream.visible(),
            (None, None) => {
                if self.broken.contains(from) || self.project.declaration(from).is_none() {
                    self.broken.insert(name.to_owned());
                    return true;
                }
                return false;
            }
        };
        self.problems.extend(tables::problems(table, &columns, &self.checked));
        self.names.insert(name, Named::Rows(tables::with_folders(table, &columns)), Vec::new());
        self.names.let_look_up(name);
        self.checked.tables.insert(name.to_owned(), columns);
        true
    }

    fn view(&mut self, view: &View) -> bool {
        let name = view.name.as_str();
        match &view.input {
            ViewInput::Query(sql) => {
                match self.is_ready(sql) {
                    Some(true) => {}
                    Some(false) => return false,
                    None => {
                        self.broken.insert(name.to_owned());
                        return true;
                    }
                }
                match self.plan(sql) {
                    Some(schema) => {
                        self.names.insert(name, Named::Rows(Arc::clone(&schema)), Vec::new());
                        self.checked.views.insert(name.to_owned(), schema);
                        self.views_in_order.push(name.to_owned());
                        if self.reads(sql).iter().all(|read| self.names.is_lookup(read)) {
                            self.names.let_look_up(name);
                            self.checked.views_looked_up.push(name.to_owned());
                        }
                    }
                    None => {
                        self.broken.insert(name.to_owned());
                    }
                }
                true
            }
            ViewInput::Merge { live, .. } => {
                let Some(query) = self.checked.streams.get(live.as_str()) else {
                    if self.broken.contains(live.as_str()) {
                        self.broken.insert(name.to_owned());
                        return true;
                    }
                    return self.project.declaration(live.as_str()).is_none();
                };
                let visible = query.visible();
                let layer = Field::new("_layer", DataType::Utf8, false);
                let fields = visible.fields().iter().map(|it| it.as_ref().clone()).chain([layer]);
                let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                self.names.insert(name, Named::Rows(Arc::clone(&schema)), query.key.clone());
                self.checked.views.insert(name.to_owned(), schema);
                true
            }
        }
    }

    fn system(&mut self) {
        for (name, schema) in crate::app::system::schemas() {
            self.names.insert(name, Named::Rows(schema), Vec::new());
        }
    }

    fn sinks(&mut self) {
        for sink in &self.project.sinks {
            let from = sink.from.as_str();
            let (columns, shape, key) =
                match (self.checked.sources.get(from), self.checked.streams.get(from)) {
                    (Some(source), _) => (visible(source), Shape::RowWise, Vec::new()),
                    (None, Some(stream)) => (stream.visible(), stream.shape, stream.key.clone()),
                    (None, None) => continue,
                };
            let known = self.problems.len();
            for column in &sink.key {
                if columns.column_with_name(column.as_str()).is_none() {
                    let near = thalweg_core::problem::nearest(
                        column.as_str(),
                        columns.fields().iter().map(|field| field.name().as_str()),
                    );
                    self.problems.push(problem(
                        "T0302",
                        format!("no column `{}` in `{from}`", column.as_str()),
                        near.map(|near| format!("did you mean `{near}`?")),
                        column.place.clone(),
                    ));
                }
            }
            let mode = sink.mode.as_ref().map(|mode| mode.value);
            if mode == Some(SinkMode::Upsert)
                && sink.key.is_empty()
                && key.is_empty()
                && self.project.sink_key(sink).is_empty()
            {
                self.problems.push(problem(
                    "T0305",
                    format!("sink `{}` upserts, but nothing says by which key", sink.name.as_str()),
                    Some("add `key = [\"…\"]`".to_owned()),
                    sink.name.place.clone(),
                ));
            }
            if mode == Some(SinkMode::Append)
                && shape == Shape::Updating
                && !matches!(sink.target, Target::Console { .. })
            {
                self.problems.push(problem(
                    "T0305",
                    format!(
                        "`{from}` changes its rows, so sink `{}` cannot append them",
                        sink.name.as_str()
                    ),
                    Some("use `mode = \"upsert\"`, or `emit = \"final\"` in the stream".to_owned()),
                    sink.name.place.clone(),
                ));
            }
            if self.problems.len() == known {
                let query = self.checked.streams.get(from);
                let rows = databases::Rows { schema: &columns, shape, key: &key, query };
                let found = self.database(sink, &rows).or_else(|| webhook(sink));
                self.problems.extend(found);
            }
        }
    }

    /// What keeps rows from the database they go to, as far as that is known without asking it.
    fn database(&self, sink: &Sink, rows: &databases::Rows<'_>) -> Option<Problem> {
        let table = sink.target.database()?;
        let (error, place) = match databases::url_error(&sink.target) {
            Some(error) => (error, &table.url.place),
            None if table.url.reveal().contains("${") => return None,
            None => {
                let made = databases::sink(self.project, sink, sink.name.as_str(), rows)?;
                (made.err()?, &table.table.place)
            }
        };
        let found = problem("T0315", error.message, error.detail, place.clone());
        Some(Problem { hint: error.hint, ..found })
    }

    fn dashboards_and_alerts(&mut self) {
        let mut texts: Vec<&SqlText> = Vec::new();
        for dashboard in &self.project.dashboards {
            texts.extend(dashboard.filters.iter().map(|filter| &filter.options));
            texts.extend(dashboard.rows.iter().flatten().flat_map(|panel| panel.queries()));
        }
        for alert in &self.project.alerts {
            self.find_latest(&alert.when);
            if self.is_ready(&alert.when) != Some(true) {
                continue;
            }
            let planner = self.checked.planner.clone();
            match program::prepare(&planner, alert.when.as_str(), &self.names, true) {
                Ok(query) => {
                    self.checked.alerts.insert(alert.name.value.clone(), query);
                }
                Err(problems) => self.add(&alert.when, &problems),
            }
        }
        let exports = self.project.jobs.iter().flat_map(|job| &job.tasks);
        texts.extend(exports.filter_map(|task| match &task.action {
            TaskAction::Export { sql, .. } => Some(sql),
            _ => None,
        }));
        let mut seen = BTreeSet::new();
        for sql in texts {
            self.find_latest(sql);
            if seen.insert((sql.whole_place().range.start, sql.as_str()))
                && self.is_ready(sql) == Some(true)
            {
                self.plan(sql);
            }
        }
        for view in &self.project.views {
            if let ViewInput::Query(sql) = &view.input {
                self.find_latest(sql);
            }
        }
    }

    /// Which relations are asked for their latest rows: those are kept up as rows come.
    fn find_latest(&mut self, sql: &SqlText) {
        let text = sql.as_str();
        for (at, _) in text.match_indices("latest(") {
            let rest = &text[at + "latest(".len()..];
            let name: String = rest
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            self.checked.latest.insert(name);
        }
    }

    fn schedules(&mut self) {
        let mut problems = Vec::new();
        let wrong = |error: thalweg_core::Error, place: &Place| {
            problem("T0205", error.message, error.hint, place.clone())
        };
        let zones = self.project.timezone.iter();
        let zones = zones.chain(self.project.jobs.iter().filter_map(|job| job.timezone.as_ref()));
        for zone in zones {
            if let Err(error) = Schedule::parse("@daily", zone.as_str()) {
                problems.push(wrong(error, &zone.place));
            }
        }
        // In a time zone that is always there: a wrong one has been told where it stands.
        let jobs = self.project.jobs.iter().filter_map(|job| job.schedule.as_ref());
        let models = self.project.models.iter().flat_map(|model| {
            let train = model.train.iter().map(|train| &train.schedule);
            train.chain(model.evaluate.iter().map(|evaluate| &evaluate.schedule))
        });
        for schedule in jobs.chain(models) {
            if let Err(error) = Schedule::parse(schedule.as_str(), "UTC") {
                problems.push(wrong(error, &schedule.place));
            }
        }
        self.problems.extend(problems);
    }

    /// Plans a query and gives its columns.
    fn plan(&mut self, sql: &SqlText) -> Option<SchemaRef> {
        match self.checked.planner.plan(sql.as_str(), &self.names, Mode::Query) {
            Ok(planned) => Some(Arc::clone(planned.plan.schema().inner())),
            Err(problems) => {
                self.add(sql, &problems);
                None
            }
        }
    }

    fn add(&mut self, sql: &SqlText, problems: &[SqlProblem]) {
        self.problems.extend(problems.iter().map(|problem| self.project.sql_problem(sql, problem)));
    }
}

/// What keeps rows from the webhook they go to, as far as that is known without asking it.
fn webhook(sink: &Sink) -> Option<Problem> {
    let Target::Webhook(webhook) = &sink.target else { return None };
    let secrets = webhook.headers.iter().map(|(_, value)| value).chain([&webhook.url.value]);
    if secrets.into_iter().any(|secret| secret.reveal().contains("${")) {
        return None;
    }
    let error = webhook_of(sink.name.as_str(), webhook).check().err()?;
    Some(problem("T0205", error.message, error.detail, webhook.url.place.clone()))
}

fn problem(code: &'static str, message: String, label: Option<String>, place: Place) -> Problem {
    Problem {
        code,
        severity: Severity::Error,
        message,
        label,
        hint: None,
        place: Some(place),
        related: Vec::new(),
    }
}
