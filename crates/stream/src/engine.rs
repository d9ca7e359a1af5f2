//! The engine: read-only SQL over everything a project declares (S17a, S29).
//!
//! A query pins one published version of each relation it reads, then plans and runs. Names are
//! looked up here and nowhere else, so SQL from outside reaches no file and no network.
//!
//! - a source, or a row-wise stream with a table: the table's pinned version, what the journal has
//!   behind it, the tail ([`records`]); a stream of closed windows with a table: that, and the tail;
//! - a row-wise stream without a table: its SQL over its source;
//! - any other stream with GROUP BY: its current results;
//! - a view: its SQL; a merged view: batch below the boundary, live from it on (S17).
//!
//! The SQL of a panel is answered from the hidden streams its GROUP BYs are ([`crate::panels`]); what
//! else it reads of sources is their tails, so that no refresh reads a history.

mod merged;
mod records;
mod system;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::temporal_conversions::timestamp_us_to_datetime;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::future::{BoxFuture, FutureExt, select_all};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use thalweg_core::env::Env;
use thalweg_core::problem::SqlProblem;
use thalweg_core::query::{Query, QueryEngine, Relation, Rows};
use thalweg_core::sink::Epoch;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use tokio::sync::watch;

pub use self::merged::{Merged, RefreshNote};
pub use self::records::Records;
pub use self::system::{SystemColumn, SystemTable};
use crate::operators::expressions::engine_error;
use crate::panels::{self, Candidate};
use crate::pipeline::Models;
use crate::program::{carry_hidden, visible};
use crate::results::Results;
use crate::sql::predict::NamedModel;
use crate::sql::rewrite::{Mode, quoted};
use crate::sql::{Named, Names, Planner};

/// A table of the lake, as the engine reads it.
#[async_trait]
pub trait TableReader: Send + Sync {
    /// Pins the newest version for reading.
    async fn pin(&self) -> Result<PinnedTable>;

    /// Columns of the table.
    fn schema(&self) -> SchemaRef;
}

/// A pinned version of a table.
#[derive(Clone)]
pub struct PinnedTable {
    /// Its rows.
    pub provider: Arc<dyn TableProvider>,
    /// The last epoch of the pipeline that feeds it; 0 if none does.
    pub epoch: Epoch,
    /// The note of the newest refresh.
    pub note: Option<String>,
}

/// What a name stands for.
#[derive(Clone)]
pub enum Readable {
    /// A source, or a row-wise stream or one of closed windows with a table.
    Records(Records),
    /// A row-wise stream without a table, or a view.
    Sql {
        /// Its query.
        sql: String,
        /// Whether it is a stream's.
        mode: Mode,
    },
    /// A stream with GROUP BY.
    Results(Arc<Results>),
    /// A table that no pipeline of this process feeds.
    Table(Arc<dyn TableReader>),
    /// A merged view.
    Merged(Merged),
}

/// A relation of the project.
#[derive(Clone)]
pub struct Entry {
    /// `source`, `stream`, `table`, `view` or `model`.
    pub kind: &'static str,
    /// What it reads.
    pub readable: Readable,
    /// Columns that tell its rows apart, or of its entity.
    pub key: Vec<String>,
    /// Its newest row by key, kept up by its pipeline, if somebody asks for `latest(x)`.
    pub latest: Option<Arc<Results>>,
    /// Its visible columns.
    pub columns: SchemaRef,
}

/// What panels show, kept up to date by hidden streams.
#[derive(Clone, Default)]
pub struct Panels {
    /// Fingerprints of the candidates in each panel's SQL.
    pub by_sql: BTreeMap<String, Vec<String>>,
    /// Current rows of each candidate, by fingerprint.
    pub results: BTreeMap<String, Arc<Results>>,
    /// The sources that candidates read.
    pub sources: BTreeSet<String>,
}

/// Runs queries.
pub struct Engine {
    planner: Planner,
    env: Env,
    entries: BTreeMap<String, Entry>,
    system: BTreeMap<String, SystemTable>,
    models: Models,
    panels: Panels,
}

/// How a statement looks at sources and row-wise streams.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// At all of their rows.
    Whole,
    /// At all of their rows, hidden columns too.
    Hidden,
    /// At what is in memory.
    Newest,
}

/// What a statement reads, pinned.
struct Pinned {
    names: Names,
    known: BTreeSet<String>,
    look: Look,
}

impl Engine {
    /// An engine over `entries` by name and the tables of `system`.
    pub fn new(env: Env, entries: BTreeMap<String, Entry>, system: Vec<SystemTable>) -> Self {
        let system = system.into_iter().map(|table| (table.name.to_owned(), table)).collect();
        let (models, panels) = (Models::default(), Panels::default());
        Self { planner: Planner::new(), env, entries, system, models, panels }
    }

    /// The same engine with models that `predict()` can be called with.
    pub fn with_models(self, models: Models) -> Self {
        Self { models, ..self }
    }

    /// The engine, answering the SQL of panels from `panels`.
    pub fn with_panels(self, panels: Panels) -> Self {
        Self { panels, ..self }
    }

    /// As it is, with the session of `planner` and the memory that it may hold.
    #[must_use]
    pub fn with_planner(self, planner: Planner) -> Self {
        Self { planner, ..self }
    }

    /// The relation of that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Runs a query to its end.
    pub async fn collect(&self, query: Query) -> Result<Vec<RecordBatch>> {
        self.query(query).await?.batches.try_collect().await
    }

    /// The relations that are no views and that `relation` reads, down through views; itself if it is
    /// none.
    pub fn inputs(&self, relation: &str) -> BTreeSet<String> {
        let (mut inputs, mut views) = (BTreeSet::new(), BTreeSet::new());
        let mut waiting = vec![relation.to_owned()];
        while let Some(name) = waiting.pop() {
            match self.entries.get(&name).map(|entry| &entry.readable) {
                Some(Readable::Sql { sql, mode: Mode::Query }) if views.insert(name.clone()) => {
                    waiting.extend(self.planner.reads(sql).unwrap_or_default());
                }
                Some(Readable::Sql { mode: Mode::Query, .. }) | None => {}
                Some(_) => {
                    inputs.insert(name);
                }
            }
        }
        inputs
    }

    /// Runs a query that reads `given` where it names these relations, as if it were `now`.
    pub async fn collect_over(
        &self,
        sql: &str,
        given: &BTreeMap<String, RecordBatch>,
        now: Timestamp,
    ) -> Result<Vec<RecordBatch>> {
        let mut pinned = Pinned {
            names: Names::default(),
            known: given.keys().cloned().collect(),
            look: Look::Whole,
        };
        for (name, rows) in given {
            let key = self.entries.get(name).map(|entry| entry.key.clone()).unwrap_or_default();
            pinned.names.insert(name, Named::Table(memory(vec![rows.clone()])?), key);
        }
        for name in self.planner.reads(sql).map_err(|problems| wrong_sql(sql, problems))? {
            self.resolve(name, &mut pinned).await?;
        }
        self.let_answer(sql, &mut pinned.names).await?;
        let planned = self.planner.plan(sql, &pinned.names, Mode::Query);
        let plan = planned.map_err(|problems| wrong_sql(sql, problems))?.plan;
        run_plan(&self.planner, plan, now).await?.batches.try_collect().await
    }

    /// Pins everything a query reads and plans it.
    async fn plan(&self, query: &Query) -> Result<LogicalPlan> {
        let sql = query.sql.as_str();
        let reads = self.planner.reads(sql).map_err(|problems| wrong_sql(sql, problems))?;
        let is_panel = query.is_panel && self.is_answered_by_panels(sql);
        let look = if is_panel {
            Look::Newest
        } else if self.reads_hidden(sql, &mut BTreeSet::new()) {
            Look::Hidden
        } else {
            Look::Whole
        };
        let mut pinned = Pinned { names: Names::default(), known: BTreeSet::new(), look };
        for name in reads {
            self.resolve(name, &mut pinned).await?;
        }
        let mut names = pinned.names;
        self.let_answer(sql, &mut names).await?;
        // Names that were not asked for serve the hint of a misspelt one.
        for (name, entry) in &self.entries {
            if names.get(name).is_none() {
                let columns = Arc::clone(&entry.columns);
                names.insert(name, Named::Rows(columns), entry.key.clone());
            }
        }
        for (name, model) in self.models.iter() {
            if names.model(name).is_none() {
                let columns = model.columns().clone();
                names.insert_model(name, NamedModel { columns, served: None });
            }
        }
        let planned =
            self.planner.plan(sql, &names, Mode::Query).map_err(|it| wrong_sql(sql, it))?;
        if is_panel { self.with_hidden_streams(planned.plan) } else { Ok(planned.plan) }
    }

    /// Whether the hidden streams of a panel's `sql` have begun; before, it is like any other.
    fn is_answered_by_panels(&self, sql: &str) -> bool {
        let has_rows = |it: &String| self.panels.results.get(it).is_some_and(|it| !it.is_empty());
        self.panels.by_sql.get(sql).is_some_and(|all| all.is_empty() || all.iter().any(has_rows))
    }

    /// Puts the results of hidden streams in the place of the GROUP BYs they run.
    fn with_hidden_streams(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let is_source = |name: &str| self.panels.sources.contains(name);
        let mut take = |candidate: &Candidate| {
            let Some(results) = self.panels.results.get(&candidate.fingerprint()) else {
                return Ok(None);
            };
            let external = |error: Error| DataFusionError::External(Box::new(error));
            let rows = results.read().map_err(external)?;
            // Without keys there is a row before the first row came: the GROUP BY makes it.
            if rows.num_rows() == 0 && !results.has_key() {
                return Ok(None);
            }
            memory(vec![rows]).map(Some).map_err(external)
        };
        panels::rewrite(plan, &is_source, &mut take).map_err(engine_failed)
    }

    /// Whether `relation`, or a view it reads, names hidden columns.
    pub fn names_hidden(&self, relation: &str) -> bool {
        self.reads_hidden(&format!("SELECT * FROM {}", quoted(relation)), &mut BTreeSet::new())
    }

    /// Whether `sql`, or a view it reads, names hidden columns.
    fn reads_hidden(&self, sql: &str, known: &mut BTreeSet<String>) -> bool {
        self.planner.names_hidden(sql)
            || self.planner.reads(sql).unwrap_or_default().into_iter().any(|name| {
                match self.entries.get(&name).map(|entry| &entry.readable) {
                    Some(Readable::Sql { sql, .. }) if known.insert(name) => {
                        self.reads_hidden(sql, known)
                    }
                    _ => false,
                }
            })
    }

    /// Pins who answers for the models of `sql`.
    async fn let_answer(&self, sql: &str, names: &mut Names) -> Result<()> {
        pin_models(&self.planner, sql, &self.models, names).await
    }

    /// Runs a plan of [`Engine::plan`].
    pub async fn run(&self, plan: LogicalPlan) -> Result<Rows> {
        run_plan(&self.planner, plan, self.env.clock.now()).await
    }

    fn resolve<'a>(&'a self, name: String, pinned: &'a mut Pinned) -> BoxFuture<'a, Result<()>> {
        async move {
            if !pinned.known.insert(name.clone()) {
                return Ok(());
            }
            if let Some(table) = self.system.get(&name) {
                let rows = table.read().await?;
                pinned.names.insert(name, Named::Table(memory(vec![rows])?), Vec::new());
                return Ok(());
            }
            let Some(entry) = self.entries.get(&name) else { return Ok(()) };
            if let Some(latest) = &entry.latest {
                let rows = Named::Table(memory(vec![latest.read()?])?);
                pinned.names.insert(format!("latest.{name}"), rows, entry.key.clone());
            }
            let named = match &entry.readable {
                Readable::Records(Records { sql: Some(sql), .. }) if pinned.look != Look::Whole => {
                    self.sql_of(sql, Mode::Stream, pinned).await?
                }
                Readable::Records(records) if pinned.look == Look::Newest => {
                    records.newest().await?
                }
                Readable::Records(records) => records.pin().await?,
                Readable::Results(results) => Named::Table(memory(vec![results.read()?])?),
                Readable::Table(table) => Named::Table(table.pin().await?.provider),
                Readable::Merged(merged) => Named::Plan(merged.plan(&self.planner).await?),
                Readable::Sql { sql, mode } => self.sql_of(sql, *mode, pinned).await?,
            };
            pinned.names.insert(name, named, entry.key.clone());
            Ok(())
        }
        .boxed()
    }

    /// A view or stream as the plan of its SQL.
    async fn sql_of(&self, sql: &str, mode: Mode, pinned: &mut Pinned) -> Result<Named> {
        for read in self.planner.reads(sql).map_err(|it| wrong_sql(sql, it))? {
            self.resolve(read, pinned).await?;
        }
        self.let_answer(sql, &mut pinned.names).await?;
        let planned = self.planner.plan(sql, &pinned.names, mode);
        let plan = planned.map_err(|problems| wrong_sql(sql, problems))?.plan;
        Ok(Named::Plan(match mode {
            Mode::Stream => carry_hidden(plan).map_err(engine_error)?,
            Mode::Query => plan,
        }))
    }

    /// Versions of everything `sql` reads, looked through to the bottom.
    fn watched(
        &self,
        sql: &str,
        found: &mut Vec<watch::Receiver<u64>>,
        known: &mut BTreeSet<String>,
    ) -> bool {
        let mut ticks = false;
        for name in self.planner.reads(sql).unwrap_or_default() {
            if !known.insert(name.clone()) {
                continue;
            }
            if self.system.contains_key(&name) {
                ticks = true;
                continue;
            }
            match self.entries.get(&name).map(|entry| &entry.readable) {
                Some(Readable::Records(records)) => found.push(records.tail.changes()),
                Some(Readable::Results(results)) => found.push(results.changes()),
                Some(Readable::Merged(merged)) => found.push(merged.live.changes()),
                Some(Readable::Sql { sql, .. }) => ticks |= self.watched(sql, found, known),
                Some(Readable::Table(_)) => ticks = true,
                None => {}
            }
        }
        ticks
    }
}

#[async_trait]
impl QueryEngine for Engine {
    async fn query(&self, query: Query) -> Result<Rows> {
        let plan = self.plan(&query).await?;
        let params: std::collections::HashMap<
            String,
            datafusion::common::metadata::ScalarAndMetadata,
        > = query.params.iter().map(|(name, value)| (name.clone(), scalar(value).into())).collect();
        let plan = plan
            .with_param_values(ParamValues::Map(params))
            .map_err(|error| Error::invalid(error.strip_backtrace()))?;
        let rows = self.run(plan).await?;
        let deadline = self.env.clock.now().plus(query.limits.time_max);
        let (clock, busy) = (self.env.clock.clone(), self.env.clock.busy());
        let mut left = query.limits.rows_max.unwrap_or(usize::MAX);
        let batches = rows
            .batches
            .and_then(move |batch| {
                let _ = &busy;
                let over_time = clock.now() > deadline;
                let over_rows = batch.num_rows() > left;
                left = left.saturating_sub(batch.num_rows());
                async move {
                    if over_time {
                        return Err(Error::unavailable("the query ran out of time"));
                    }
                    if over_rows {
                        return Err(Error::unavailable("the query gives more rows than allowed")
                            .with_hint("Add a LIMIT, or aggregate."));
                    }
                    Ok(batch)
                }
            })
            .boxed();
        Ok(Rows { schema: rows.schema, batches })
    }

    fn relations(&self) -> Vec<Relation> {
        let public = self.entries.iter().map(|(name, entry)| Relation {
            schema_name: "public".to_owned(),
            name: name.clone(),
            kind: entry.kind,
            columns: visible(&entry.columns),
            key: entry.key.clone(),
        });
        let system = self.system.values().map(SystemTable::relation);
        public.chain(system).collect()
    }

    async fn changes(&self, query: &Query) -> Result<watch::Receiver<u64>> {
        let sql = query.sql.as_str();
        let hidden = self.panels.by_sql.get(sql).filter(|_| query.is_panel).into_iter().flatten();
        let hidden = hidden.filter_map(|candidate| self.panels.results.get(candidate));
        let mut watched: Vec<_> = hidden.map(|results| results.changes()).collect();
        let ticks = self.watched(sql, &mut watched, &mut BTreeSet::new());
        let (version, changes) = watch::channel(0);
        let env = self.env.clone();
        self.env.spawn(async move {
            loop {
                let mut waits: Vec<BoxFuture<'_, bool>> = watched
                    .iter_mut()
                    .map(|version| version.changed().map(|changed| changed.is_ok()).boxed())
                    .collect();
                if ticks || waits.is_empty() {
                    // What has no version of its own is looked at once a second.
                    waits.push(env.doze(Duration::from_secs(1)).boxed());
                }
                let goes_on = tokio::select! {
                    (goes_on, ..) = select_all(waits) => goes_on,
                    () = version.closed() => false,
                    () = env.shutdown.cancelled() => false,
                };
                if !goes_on {
                    return;
                }
                version.send_modify(|version| *version += 1);
            }
        });
        Ok(changes)
    }
}

/// Runs a plan in the session of `planner`; `now()` is `now`.
///
/// # Errors
///
/// What it fails with before its first row; the rest comes with the rows.
pub async fn run_plan(planner: &Planner, plan: LogicalPlan, now: Timestamp) -> Result<Rows> {
    let context = SessionContext::new_with_state(planner.state().clone());
    let frame = context.execute_logical_plan(plan).await.map_err(engine_failed)?;
    let (mut state, plan) = frame.into_parts();
    // `now()` is the instant of the one clock (S3).
    let now = timestamp_us_to_datetime(now.0).map(|now| now.and_utc());
    state.execution_props_mut().query_execution_start_time = now;
    let stream = DataFrame::new(state, plan).execute_stream().await.map_err(engine_failed)?;
    let schema = stream.schema();
    Ok(Rows { schema, batches: stream.map_err(engine_failed).boxed() })
}

/// JSON values as parameters: strings, numbers, booleans, null.
fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::Boolean(Some(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => ScalarValue::Int64(Some(integer)),
            (None, float) => ScalarValue::Float64(float),
        },
        Value::String(text) => ScalarValue::Utf8(Some(text.clone())),
        other => ScalarValue::Utf8(Some(other.to_string())),
    }
}

/// Problems of a statement as one error: the first, with its place, and how many more there are.
pub fn wrong_sql(sql: &str, problems: Vec<SqlProblem>) -> Error {
    let count = problems.len();
    let Some(first) = problems.into_iter().next() else {
        return Error::invalid("the SQL is wrong");
    };
    let mut error = Error::invalid(first.message);
    if let Some(range) = first.range {
        let line = sql[..range.start].matches('\n').count() + 1;
        let column = sql[..range.start].chars().rev().take_while(|it| *it != '\n').count() + 1;
        let more = if count > 1 { format!(" ({} more)", count - 1) } else { String::new() };
        error =
            error.with_detail(format!("At line {line}, column {column}: `{}`{more}.", &sql[range]));
    }
    let hint = match (first.label, first.hint) {
        (Some(label), Some(hint)) => Some(format!("{label} {hint}")),
        (label, hint) => label.or(hint),
    };
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Lets those answer for the models of `sql` who serve now.
pub(crate) async fn pin_models(
    planner: &Planner,
    sql: &str,
    models: &Models,
    names: &mut Names,
) -> Result<()> {
    for name in planner.models(sql).map_err(|problems| wrong_sql(sql, problems))? {
        let is_pinned = names.model(&name).is_some_and(|named| named.served.is_some());
        let Some(model) = models.get(&name).filter(|_| !is_pinned) else { continue };
        let served = Some(model.load(&model.serving().await?).await?);
        names.insert_model(name, NamedModel { columns: model.columns().clone(), served });
    }
    Ok(())
}

/// What DataFusion says, or one of our own errors that came by way of it.
fn engine_failed(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => Error::invalid(inner.to_string()),
        },
        error => Error::invalid(error.strip_backtrace()),
    }
}

fn memory(batches: Vec<RecordBatch>) -> Result<Arc<dyn TableProvider>> {
    let schema = batches
        .first()
        .map(RecordBatch::schema)
        .ok_or_else(|| Error::internal("a relation has no columns"))?;
    memory_of(schema, batches)
}

fn memory_of(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(MemTable::try_new(schema, vec![batches]).map_err(engine_error)?))
}
