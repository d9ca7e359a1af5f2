//! Jobs of a project: what their tasks do.

mod export;
mod masked;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thalweg_connect::sources::{Secrets, redact_url};
use thalweg_connect::tasks::call::{Call, CallConfig, Method};
use thalweg_connect::tasks::program::{Program, ProgramConfig};
use thalweg_core::env::Env;
use thalweg_core::log::Log;
use thalweg_core::store::Store;
use thalweg_core::table::{Replacement, Table as _};
use thalweg_core::task::{Task, TaskContext};
use thalweg_core::time::{Day, Timestamp};
use thalweg_core::{Error, Result};
use thalweg_jobs::scheduler::{TaskLookup, Watermarks};
use thalweg_jobs::{JobDefinition, Schedule, Scheduler, TaskDefinition};
use thalweg_lake::LakeTable;
use thalweg_log::EmbeddedLog;
use thalweg_project::{CallMethod, Project, Secret, TableInput, TaskAction, TaskDay};
use thalweg_stream::batch::BatchQuery;
use thalweg_stream::engine::{Engine, RefreshNote};
use thalweg_stream::lookups::Lookups;
use thalweg_stream::pipeline::Pipeline;
use thalweg_stream::sql::Planner;
use thalweg_stream::tail::Tail;

use self::export::Export;
use self::masked::Masked;
use super::layers::{Compared, Layers};
use super::models::{Forecasting, Work};
use super::readers::{Boundaries, LakeReader};
use crate::check::Checked;
use crate::check::tables::{day_source, lossless};

/// The scheduler with every job of the project.
#[expect(clippy::too_many_arguments, reason = "the one place where all of it meets")]
pub(super) fn scheduler(
    project: &Arc<Project>,
    checked: &Arc<Checked>,
    env: &Env,
    store: &Arc<dyn Store>,
    log: &Arc<EmbeddedLog>,
    tables: &BTreeMap<String, Arc<LakeTable>>,
    pipelines: &[Arc<Pipeline>],
    engine: &Arc<Engine>,
    boundaries: &Boundaries,
    forecasting: &Forecasting,
    layers: &Arc<Layers>,
    lookups: &Lookups,
) -> Result<Arc<Scheduler>> {
    let mut definitions = Vec::new();
    let mut bodies: BTreeMap<(String, String), Arc<dyn Task>> = BTreeMap::new();
    for job in &project.jobs {
        let zone = job.timezone.as_ref().map_or(project.timezone_name(), |zone| zone.as_str());
        let mut definition = JobDefinition::new(job.name.as_str());
        definition.schedule =
            job.schedule.as_ref().map(|text| Schedule::parse(text.as_str(), zone)).transpose()?;
        definition.start = job.start;
        definition.catch_up = job.catch_up;
        definition.wait_for = job.wait_for.iter().map(|name| name.value.clone()).collect();
        definition.max_active = job.max_active;
        definition.concurrency_group.clone_from(&job.concurrency_group);
        for task in &job.tasks {
            let mut declared = TaskDefinition::new(task.name.as_str());
            declared.after = task.after.iter().map(|name| name.value.clone()).collect();
            declared.retries = task.retries;
            declared.backoff = task.backoff;
            declared.timeout = Some(task.timeout);
            let body: Option<Arc<dyn Task>> = match &task.action {
                TaskAction::Refresh { table, day } => {
                    declared.does = format!("refresh {}", table.as_str());
                    let day = match day {
                        TaskDay::OfRun => None,
                        TaskDay::Fixed(day) => Some(*day),
                    };
                    Some(Arc::new(refresh(
                        env,
                        project,
                        checked,
                        log,
                        tables,
                        pipelines,
                        boundaries,
                        forecasting,
                        layers,
                        lookups,
                        table.as_str(),
                        day,
                    )?))
                }
                TaskAction::Compact { table } => {
                    declared.does = format!("compact {}", table.as_str());
                    let delta = tables.get(table.as_str()).map(Arc::clone);
                    delta.map(|delta| Arc::new(Compact { delta }) as Arc<dyn Task>)
                }
                TaskAction::Train { model } => {
                    declared.does = format!("train {}", model.as_str());
                    Some(forecasting.task(model.as_str(), Work::Train, engine)?)
                }
                TaskAction::Evaluate { model } => {
                    declared.does = format!("evaluate {}", model.as_str());
                    Some(forecasting.task(model.as_str(), Work::Evaluate, engine)?)
                }
                TaskAction::Export { sql, path, format } => {
                    declared.does = format!("export {}", path.as_str());
                    let path = project.dir.join(path.as_str());
                    let path = std::path::absolute(&path).unwrap_or(path);
                    Some(Arc::new(Export::new(engine, sql.as_str(), path, *format, task.timeout)))
                }
                TaskAction::Shell { command, .. } => {
                    declared.does = format!("run {}", command.join(" "));
                    let (command, folder) = (command.clone(), project.dir.clone());
                    Some(Arc::new(Program::new(ProgramConfig { command, folder })))
                }
                TaskAction::Call { url, method, headers } => {
                    declared.does = format!("call {}", redact_url(url.reveal()));
                    Some(Arc::new(Call::new(&call(url, *method, headers))?))
                }
            };
            if let Some(body) = body {
                bodies.insert((job.name.value.clone(), task.name.value.clone()), body);
            }
            definition.tasks.push(declared);
        }
        definitions.push(definition);
    }
    for (definition, body) in forecasting.jobs(project, engine)? {
        let task = definition.tasks[0].name.clone();
        bodies.insert((definition.name.clone(), task), body);
        definitions.push(definition);
    }
    let secrets = Arc::new(Secrets::of_values(project.secrets.iter().map(Secret::reveal)));
    let lookup: TaskLookup = Arc::new(move |job: &str, task: &str| {
        let task = Arc::clone(bodies.get(&(job.to_owned(), task.to_owned()))?);
        Some(Arc::new(Masked { task, secrets: Arc::clone(&secrets) }))
    });
    let by_name: BTreeMap<String, Arc<Pipeline>> = pipelines
        .iter()
        .map(|pipeline| (pipeline.name().to_owned(), Arc::clone(pipeline)))
        .collect();
    let watermarks: Watermarks =
        Arc::new(move |name: &str| by_name.get(name).map(|it| it.status().read().watermark));
    Scheduler::new(env.clone(), Arc::clone(store), definitions, lookup, watermarks).map_err(
        |errors| errors.into_iter().next().unwrap_or_else(|| Error::invalid("a job is wrong")),
    )
}

fn call(url: &Secret, method: CallMethod, headers: &[(String, Secret)]) -> CallConfig {
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
    CallConfig {
        url: url.reveal().to_owned(),
        method: match method {
            CallMethod::Post => Method::Post,
            CallMethod::Put => Method::Put,
            CallMethod::Get => Method::Get,
        },
        headers: headers.collect(),
    }
}

#[expect(clippy::too_many_arguments, reason = "a refresh reads the history and writes the table")]
fn refresh(
    env: &Env,
    project: &Project,
    checked: &Arc<Checked>,
    log: &Arc<EmbeddedLog>,
    tables: &BTreeMap<String, Arc<LakeTable>>,
    pipelines: &[Arc<Pipeline>],
    boundaries: &Boundaries,
    forecasting: &Forecasting,
    layers: &Arc<Layers>,
    lookups: &Lookups,
    name: &str,
    day: Option<Day>,
) -> Result<Refresh> {
    let missing = |what: &str| Error::internal(format!("table `{name}` has no {what}"));
    let table = project.table(name).ok_or_else(|| missing("declaration"))?;
    let TableInput::BatchOf { stream, over, replace } = &table.input else {
        return Err(Error::invalid(format!(
            "table `{name}` is not a `batch_of`, so nothing refreshes it"
        )));
    };
    let query = checked.streams.get(stream.as_str()).ok_or_else(|| missing("stream"))?;
    let source = project.source(&query.source).ok_or_else(|| missing("source"))?;
    let history = over
        .iter()
        .find(|(source, _)| source.as_str() == query.source)
        .map(|(_, table)| table.value.clone())
        .or_else(|| lossless(project, &query.source).map(|it| it.name.value.clone()))
        .ok_or_else(|| {
            Error::invalid(format!(
                "source `{}` has no table, so `{name}` has no history",
                query.source
            ))
        })?;
    let delta = tables.get(&history).ok_or_else(|| missing("history"))?;
    let schema = Arc::clone(&checked.tables[&history]);
    let reader = LakeReader::new(delta, schema, Some(&query.source));
    let tail = pipelines.iter().find(|it| it.name() == query.source).and_then(|it| it.tail.clone());
    let sql = project.stream(stream.as_str()).map(|it| it.sql.as_str().to_owned());
    let compared = layers.of_table(name, checked, pipelines)?;
    let looked_up = |name: &String| Some((name.clone(), Arc::clone(lookups.get(name)?)));
    Ok(Refresh {
        env: env.clone(),
        name: name.to_owned(),
        compared,
        layers: Arc::clone(layers),
        query: BatchQuery {
            stream: stream.value.clone(),
            sql: sql.ok_or_else(|| missing("SQL"))?,
            source: query.source.clone(),
            history: Arc::new(reader),
            event_time: source.event_time.clone(),
            day_column: day_source(replace.as_str()).unwrap_or_else(|| replace.as_str().to_owned()),
            window_size: query.window_size,
            lookups: query.lookups.iter().filter_map(looked_up).collect(),
            models: Arc::clone(&forecasting.models),
        },
        planner: checked.planner.clone(),
        log: Arc::clone(log) as Arc<dyn Log>,
        target: Arc::clone(tables.get(name).ok_or_else(|| missing("table"))?),
        tail,
        boundaries: boundaries.clone(),
        day,
    })
}

/// How long a commit that is on its way into the history is waited for, and how often it is looked for.
const COMMIT_WAIT: Duration = Duration::from_secs(2);
const COMMIT_TICK: Duration = Duration::from_millis(50);

/// Rebuilds the days of a period from the history, holds them against what live says (S18), and moves
/// the boundary.
struct Refresh {
    env: Env,
    name: String,
    // The merged views whose batch side the table is.
    compared: Vec<Compared>,
    layers: Arc<Layers>,
    query: BatchQuery,
    planner: Planner,
    log: Arc<dyn Log>,
    target: Arc<LakeTable>,
    tail: Option<Arc<Tail>>,
    boundaries: Boundaries,
    day: Option<Day>,
}

#[async_trait]
impl Task for Refresh {
    async fn run(&self, context: &TaskContext) -> Result<String> {
        let (first, last) = match self.day {
            Some(day) => (day, day),
            None => days_over(context.day, context.period_end),
        };
        if let Some(tail) = &self.tail {
            let mut reached = tail.table().watermark;
            let deadline = self.env.clock.now().plus(COMMIT_WAIT);
            while reached < last.end() && self.env.clock.now() < deadline {
                if !self.env.doze(COMMIT_TICK).await {
                    break;
                }
                reached = tail.table().watermark;
            }
            if reached < last.end() {
                return Err(Error::unavailable(format!(
                    "the history of `{}` has come to {reached}, the day {last} is not over in it",
                    self.query.source
                )));
            }
        }
        context.log.line(&format!("reading {first} to {last}"));
        let held = self.query.first_day(&self.planner).await?;
        let rows = self.query.rows(&self.planner, self.log.as_ref(), first, last).await?;
        let count: usize = rows.iter().map(|batch| batch.num_rows()).sum();
        let mut note = match self.target.note().await? {
            Some(text) => RefreshNote::parse(&text)?,
            None => RefreshNote::new(held.unwrap_or(first)),
        };
        if let Some(held) = held {
            note.begins(held);
        }
        // Before the commit: afterwards live may forget them.
        let live_from = note.boundary().unwrap_or(Timestamp::MIN).day().max(first);
        for view in &self.compared {
            for day in live_from.0..=last.0 {
                let found = self.layers.compare(view, Day(day), &rows).await?;
                if found > 0 {
                    context.log.line(&format!(
                        "{found} differences from `{}` on {}: see system.layer_diff",
                        view.name(),
                        Day(day)
                    ));
                }
            }
        }
        note.days.extend(first.0..=last.0);
        let replacement = Replacement {
            run: context.run.clone(),
            day_column: self.query.day_column.clone(),
            first,
            last,
            rows,
            note: Some(note.text()?),
        };
        let version = self.target.replace_days(replacement).await?;
        self.boundaries.moved(&self.name, note.boundary());
        Ok(format!(
            "replaced {first} to {last} of `{}`: {count} rows, version {version}",
            self.name
        ))
    }
}

/// The days a run is about, first and last: from the day of its period's start those that are over
/// when the period ends, the first in any case (S19). So a run at 0:15 leaves the new day alone.
fn days_over(first: Day, period_end: Timestamp) -> (Day, Day) {
    (first, Day(period_end.day().0 - 1).max(first))
}

/// Merges the small files of a table.
struct Compact {
    delta: Arc<LakeTable>,
}

#[async_trait]
impl Task for Compact {
    async fn run(&self, context: &TaskContext) -> Result<String> {
        context.log.line("merging small files");
        let (before, after) = self.delta.compact().await?;
        Ok(format!("merged {before} files into {after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_about_the_days_that_are_over_when_its_period_ends() {
        check("2026-01-04", "2026-01-05T00:00:00Z", "2026-01-04");
        check("2026-01-04", "2026-01-05T00:15:00Z", "2026-01-04");
        check("2026-01-05", "2026-01-12T00:15:00Z", "2026-01-11");
        check("2026-01-05", "2026-01-05T14:00:00Z", "2026-01-05");
    }

    #[track_caller]
    fn check(first: &str, period_end: &str, last: &str) {
        let (first, end) = (Day::parse(first).unwrap(), Timestamp::parse(period_end).unwrap());
        assert_eq!(days_over(first, end), (first, Day::parse(last).unwrap()), "S19");
    }
}
