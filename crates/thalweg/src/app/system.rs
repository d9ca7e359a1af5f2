//! System tables: what the server knows of itself, as SQL, REST and the screen read it.
//!
//! One list says every table's columns; `check` types queries against the same list.

mod columns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::layers;
use super::models::Forecasting;
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::FutureExt;
use serde_json::{Value, json};
use thalweg_connect::feed::{FeedStatus, GAP_KIND};
use thalweg_core::Result;
use thalweg_core::env::Env;
use thalweg_core::ledger::RouteLedger;
use thalweg_core::store::Store;
use thalweg_core::table::Table as _;
use thalweg_core::time::Timestamp;
use thalweg_jobs::Scheduler;
use thalweg_lake::LakeTable;
use thalweg_log::EmbeddedLog;
use thalweg_project::{Connector, Project, TableInput, ViewInput};
use thalweg_stream::engine::{SystemColumn, SystemTable};
use thalweg_stream::sql::Planner;

use self::columns::declared;
use thalweg_stream::pipeline::Pipeline;
use thalweg_stream::sides::{self, LATE, LateRecord, QUARANTINE, QuarantineRecord};

/// What system tables look at.
pub(super) struct World {
    pub project: Arc<Project>,
    pub planner: Planner,
    pub env: Env,
    pub log: Arc<EmbeddedLog>,
    pub store: Arc<dyn Store>,
    pub pipelines: Vec<Arc<Pipeline>>,
    pub feeds: BTreeMap<String, Arc<FeedStatus>>,
    pub places: super::sources::Places,
    pub tables: BTreeMap<String, Arc<LakeTable>>,
    pub scheduler: OnceLock<Arc<Scheduler>>,
    pub forecasting: Forecasting,
}

/// Commits of a table that are shown.
const HISTORY_MAX: usize = 1_000;

/// Names and columns of every system table.
pub(crate) fn schemas() -> Vec<(&'static str, SchemaRef)> {
    let schema = |columns: &[SystemColumn]| {
        let fields = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    declared().into_iter().map(|table| (table.name, schema(&table.columns))).collect()
}

/// The tables, reading `world`.
pub(super) fn tables(world: &Arc<World>) -> Vec<SystemTable> {
    declared()
        .into_iter()
        .map(|table| {
            let (world, name) = (Arc::clone(world), table.name);
            SystemTable::new(table.name, &table.columns, table.key, move || {
                let world = Arc::clone(&world);
                async move { world.rows(name).await }.boxed()
            })
        })
        .collect()
}

impl World {
    async fn rows(&self, table: &str) -> Result<Vec<Value>> {
        Ok(match table {
            "system.alerts" => self.alerts(),
            "system.gaps" => self.gaps().await?,
            "system.graph" => self.graph(),
            "system.jobs" => self.jobs().await?,
            "system.late" => self.late().await?,
            "system.layer_diff" => layers::rows(self.store.as_ref()).await?,
            "system.ledger" => self.ledger(),
            "system.decisions" => self.decisions().await?,
            "system.evaluations" => self.evaluations().await?,
            "system.model_versions" => self.model_versions().await?,
            "system.models" => self.models().await?,
            "system.quarantine" => self.quarantine().await?,
            "system.runs" => self.runs().await?,
            "system.sinks" => self.sinks(),
            "system.sources" => self.sources().await?,
            "system.streams" => self.streams(),
            "system.table_files" => self.table_files().await?,
            "system.table_history" => self.table_history().await?,
            "system.tables" => self.lake().await?,
            "system.tasks" => self.tasks().await?,
            "system.topics" => self.topics(),
            "system.views" => self.views(),
            _ => Vec::new(),
        })
    }

    fn alerts(&self) -> Vec<Value> {
        let alerts = self.project.alerts.iter();
        alerts
            .map(|alert| {
                json!({
                    "name": alert.name.as_str(),
                    "sql": alert.when.as_str(),
                    "cooldown": format!("{}s", alert.cooldown.as_secs()),
                    "notify": alert.notify.as_ref().map(|notify| notify.as_str()),
                })
            })
            .collect()
    }

    async fn gaps(&self) -> Result<Vec<Value>> {
        let rows = self.store.list(GAP_KIND, "", true, 10_000).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let gap = &row.value;
                json!({
                    "id": row.id, "source": gap["source"], "key": gap["key"],
                    "from": gap["from"], "to": gap["to"], "reason": gap["reason"], "state": gap["state"],
                    "first_id": gap["ids"][0], "last_id": gap["ids"][1],
                })
            })
            .map(|mut row| {
                for column in ["from", "to"] {
                    if let Some(micros) = row[column].as_i64() {
                        row[column] = instant(Timestamp(micros));
                    }
                }
                row
            })
            .collect())
    }

    fn graph(&self) -> Vec<Value> {
        let edge =
            |upstream_kind: &str, upstream: &str, downstream_kind: &str, downstream: &str| {
                json!({
                    "upstream_kind": upstream_kind, "upstream": upstream,
                    "downstream_kind": downstream_kind, "downstream": downstream,
                })
            };
        let kind = |name: &str| self.kind(name).unwrap_or("stream");
        let mut edges = Vec::new();
        for stream in &self.project.streams {
            let name = stream.name.as_str();
            let arms = self.planner.reads(stream.sql.as_str()).unwrap_or_default();
            let mut arms = arms.into_iter().filter(|read| self.project.arm(read).is_some());
            if let Some(arm) = arms.next() {
                edges.push(edge("stream", &arm, "stream", name));
            } else if let Some(pipeline) = self.pipelines.iter().find(|it| it.name() == name) {
                edges.push(edge("source", pipeline.source(), "stream", name));
            }
        }
        for route in &self.project.routes {
            let from = route.from.as_str();
            for arm in &route.arms {
                let name = arm.name.as_str();
                edges.push(edge(kind(from), from, "stream", name));
                if let Some(topic) = &arm.topic {
                    edges.push(edge("stream", name, "sink", topic.as_str()));
                }
                for (kind, upstream) in
                    arm.when.iter().flat_map(|when| self.condition_reads(when.as_str()))
                {
                    edges.push(edge(kind, &upstream, "stream", name));
                }
            }
        }
        for table in &self.project.tables {
            let name = table.name.as_str();
            match &table.input {
                TableInput::From(from) => {
                    edges.push(edge(kind(from.as_str()), from.as_str(), "table", name));
                }
                TableInput::BatchOf { over, .. } => {
                    for (_, history) in over {
                        edges.push(edge("table", history.as_str(), "table", name));
                    }
                }
                TableInput::ReadOnly => {}
            }
        }
        for sink in &self.project.sinks {
            let from = sink.from.as_str();
            edges.push(edge(kind(from), from, "sink", sink.name.as_str()));
        }
        for view in &self.project.views {
            let name = view.name.as_str();
            match &view.input {
                ViewInput::Merge { batch, live, .. } => {
                    edges.push(edge("table", batch.as_str(), "view", name));
                    edges.push(edge("stream", live.as_str(), "view", name));
                }
                ViewInput::Query(sql) => {
                    for (kind, upstream) in self.reads(sql.as_str()) {
                        edges.push(edge(kind, &upstream, "view", name));
                    }
                }
            }
        }
        for alert in &self.project.alerts {
            // Its deliveries are those of a sink of this name.
            let name = format!("alert.{}", alert.name.as_str());
            for (kind, upstream) in self.reads(alert.when.as_str()) {
                edges.push(edge(kind, &upstream, "sink", &name));
            }
        }
        for model in &self.project.models {
            let features = model.features.as_str();
            edges.push(edge(kind(features), features, "model", model.name.as_str()));
        }
        edges
    }

    /// The relations that the condition of an arm looks up in.
    fn condition_reads(&self, condition: &str) -> BTreeSet<(&'static str, String)> {
        self.reads(&format!("SELECT 1 WHERE ({condition}\n)"))
    }

    /// What kind of relation a name of the project is.
    fn kind(&self, name: &str) -> Option<&'static str> {
        let project = &self.project;
        let kinds = [
            (project.source(name).is_some(), "source"),
            (project.stream(name).is_some() || project.arm(name).is_some(), "stream"),
            (project.table(name).is_some() || project.lookup(name).is_some(), "table"),
            (project.views.iter().any(|view| view.name.as_str() == name), "view"),
            (project.models.iter().any(|model| model.name.as_str() == name), "model"),
        ];
        kinds.into_iter().find_map(|(is_it, kind)| is_it.then_some(kind))
    }

    /// The relations of the project that a query reads, each once.
    fn reads(&self, sql: &str) -> BTreeSet<(&'static str, String)> {
        let names = self.planner.reads(sql).unwrap_or_default();
        names.into_iter().filter_map(|name| Some((self.kind(&name)?, name))).collect()
    }

    async fn jobs(&self) -> Result<Vec<Value>> {
        let Some(scheduler) = self.scheduler.get() else { return Ok(Vec::new()) };
        let jobs = scheduler.jobs().await?;
        Ok(jobs
            .iter()
            .map(|job| {
                let last = job.last_run.as_ref();
                let fires: Vec<Value> = job.next_fires.iter().copied().map(instant).collect();
                json!({
                    "job": job.job, "schedule": job.schedule, "timezone": job.timezone,
                    "paused": job.paused, "next_fires": fires, "open_runs": job.open_runs,
                    "last_run": last.map(|run| &run.run),
                    "last_state": last.map(|run| run.state.word()),
                    "tasks": serde_json::to_string(&job.tasks).unwrap_or_default(),
                })
            })
            .collect())
    }

    async fn runs(&self) -> Result<Vec<Value>> {
        let Some(scheduler) = self.scheduler.get() else { return Ok(Vec::new()) };
        let runs = scheduler.runs(None, 1_000).await?;
        Ok(runs
            .iter()
            .map(|run| {
                json!({
                    "run": run.run, "job": run.job, "trigger": run.trigger, "day": run.day,
                    "state": run.state.word(), "reason": run.reason, "cancelling": run.cancelling,
                    "period_start": instant(run.period_start),
                    "period_end": instant(run.period_end), "created_at": instant(run.created_at),
                    "started_at": run.started_at.map(instant), "ended_at": run.ended_at.map(instant),
                    "duration_ms": run.duration_ms, "tasks": run.tasks, "tasks_ended": run.tasks_ended,
                })
            })
            .collect())
    }

    async fn tasks(&self) -> Result<Vec<Value>> {
        let Some(scheduler) = self.scheduler.get() else { return Ok(Vec::new()) };
        let tasks = scheduler.tasks(None, 1_000).await?;
        Ok(tasks
            .iter()
            .map(|task| {
                json!({
                    "run": task.run, "job": task.job, "task": task.task, "state": task.state.word(),
                    "after": task.after.join(", "), "attempt": task.attempt, "note": task.note,
                    "queued_at": task.queued_at.map(instant),
                    "started_at": task.started_at.map(instant),
                    "ended_at": task.ended_at.map(instant), "duration_ms": task.duration_ms,
                })
            })
            .collect())
    }

    async fn late(&self) -> Result<Vec<Value>> {
        let rows: Vec<LateRecord> = sides::read(self.log.as_ref(), LATE).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                json!({
                    "stream": row.pipeline, "epoch": row.epoch, "operator": row.operator,
                    "window_start": instant(row.window_start), "partition": row.partition,
                    "offset": row.offset, "row": row.row, "columns": row.columns.to_string(),
                })
            })
            .collect())
    }

    async fn quarantine(&self) -> Result<Vec<Value>> {
        let rows: Vec<QuarantineRecord> = sides::read(self.log.as_ref(), QUARANTINE).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                json!({
                    "name": row.name, "check": row.check, "reason": row.reason,
                    "partition": row.partition, "offset": row.offset, "row": row.row,
                    "place": row.place,
                    "received_at": instant(row.received_at), "length": row.length,
                    "bytes": String::from_utf8_lossy(&row.frame()), "epoch": row.epoch,
                })
            })
            .collect())
    }

    /// Every count of the ledger, and whether its identity holds (S12).
    pub(super) fn ledger(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        for pipeline in &self.pipelines {
            let reading = pipeline.status().read();
            if pipeline.is_source() {
                let broken = reading.source.broken().join("; ");
                count(&mut rows, "source", &reading.name, &reading.source, &broken);
            }
            for (number, operator) in reading.operators.iter().enumerate() {
                let name = format!("{}.{number}", reading.name);
                let broken = operator.broken().join("; ");
                count(&mut rows, "operator", &name, operator, &broken);
            }
            if let Some(route) = &reading.route {
                let (name, broken) = (&reading.name, route.broken().join("; "));
                self.route_counts(&mut rows, name, route, &broken);
            }
            for delivery in pipeline.deliveries() {
                let broken = delivery.position.ledger.broken().join("; ");
                count(&mut rows, "sink", &delivery.name, &delivery.position.ledger, &broken);
            }
        }
        rows
    }

    /// What went into a route, and the rows of each arm by its name.
    fn route_counts(&self, rows: &mut Vec<Value>, name: &str, route: &RouteLedger, broken: &str) {
        let name = name.strip_prefix("route.").unwrap_or(name);
        let declared = self.project.routes.iter().find(|route| route.name.as_str() == name);
        let arms = declared.into_iter().flat_map(|route| &route.arms).zip(&route.rows_arms);
        let mut counts = serde_json::Map::new();
        counts.insert("rows_in".to_owned(), route.rows_in.into());
        counts.extend(arms.map(|(arm, rows)| (format!("rows_{}", arm.name), (*rows).into())));
        counts.insert("rows_unrouted".to_owned(), route.rows_unrouted.into());
        counts.insert("rows_quarantined".to_owned(), route.rows_quarantined.into());
        count(rows, "route", name, &counts, broken);
    }

    async fn models(&self) -> Result<Vec<Value>> {
        let rows = self.forecasting.registry.models(&self.forecasting.specs).await?;
        Ok(rows
            .iter()
            .map(|row| {
                let training = row.training.as_ref();
                let declared = self.project.models.iter().find(|it| it.name.as_str() == row.model);
                let key: Vec<&str> = declared
                    .map(|model| model.key.iter().map(|column| column.as_str()).collect())
                    .unwrap_or_default();
                let reason = training.map_or_else(
                    || "not trained yet".to_owned(),
                    |training| format!("{} of {} rows to learn from", training.rows, row.rows_min),
                );
                json!({
                    "model": row.model, "key": key.join(", "), "target": row.target,
                    "horizon": format!("{}s", row.horizon_micros / 1_000_000),
                    "state": if row.champion.is_some() { "champion" } else { "no champion" },
                    "champion": row.champion, "serves": row.serving, "reason": reason,
                    "versions": row.versions, "rows_needed": row.rows_min,
                    "rows_seen": training.map(|training| training.rows),
                    "trained_at": training.map(|training| instant(training.at)),
                })
            })
            .collect())
    }

    async fn model_versions(&self) -> Result<Vec<Value>> {
        let registry = &self.forecasting.registry;
        let rows = registry.versions(None, 1_000).await?;
        let models = registry.models(&self.forecasting.specs).await?;
        let is_champion = |model: &str, version: u64| {
            models.iter().any(|row| row.model == model && row.champion == Some(version))
        };
        Ok(rows
            .iter()
            .map(|row| {
                let state = if is_champion(&row.model, row.version) { "champion" } else { "kept" };
                json!({
                    "model": row.model, "version": row.version, "candidate": row.candidate.name(),
                    "state": state, "trained_at": instant(row.at), "from": instant(row.from),
                    "through": instant(row.through), "rows": row.rows, "series": row.series,
                    "run": row.run, "artifact": row.artifact, "artifact_sha256": row.artifact_sha256,
                    "detail": serde_json::to_string(row).unwrap_or_default(),
                })
            })
            .collect())
    }

    async fn evaluations(&self) -> Result<Vec<Value>> {
        let registry = &self.forecasting.registry;
        let rows = registry.evaluations(None, 1_000).await?;
        let decisions = registry.decisions(None, 1_000).await?;
        Ok(rows
            .iter()
            .map(|row| {
                let scores = serde_json::to_value(&row.scores).unwrap_or_default();
                let decision =
                    decisions.iter().find(|it| it.model == row.model && it.run == row.run);
                json!({
                    "model": row.model, "run": row.run, "evaluated_at": instant(row.at),
                    "version": row.version, "candidate": row.candidate.name(),
                    "was_champion": row.was_champion, "rows": scores["rows"],
                    "rmse": scores["rmse"], "mae": scores["mae"], "mase": scores["mase"],
                    "direction": scores["direction"]["accuracy"], "coverage": scores["coverage"][1],
                    "skill_naive": scores["skill_naive"],
                    "skill_strong_naive": scores["skill_strong_naive"],
                    "p_against_strong_naive": row.against_strong_naive.p_second_better,
                    "p_against_champion": row.p_better_than_champion,
                    "decision": decision.map(|it| serde_json::to_value(it.action).unwrap_or_default()),
                    "reason": decision.map(|it| it.reasons.join(" | ")),
                    "detail": scores.to_string(),
                })
            })
            .collect())
    }

    async fn decisions(&self) -> Result<Vec<Value>> {
        let rows = self.forecasting.registry.decisions(None, 1_000).await?;
        Ok(rows
            .iter()
            .map(|row| {
                json!({
                    "model": row.model, "run": row.run, "by": row.by, "at": instant(row.at),
                    "action": serde_json::to_value(row.action).unwrap_or_default(),
                    "before": row.before, "after": row.after, "reasons": row.reasons.join(" | "),
                })
            })
            .collect())
    }

    fn sinks(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        for pipeline in &self.pipelines {
            for delivery in pipeline.deliveries() {
                if self.project.table(&delivery.name).is_some() {
                    continue;
                }
                let sinks = &self.project.sinks;
                let sink = sinks.iter().find(|sink| sink.name.as_str() == delivery.name);
                let mut published = self.project.published();
                let kind = match sink {
                    Some(sink) => sink.target.kind(),
                    None if published.any(|(_, it)| it.as_str() == delivery.name) => "topic",
                    None => "webhook",
                };
                rows.push(json!({
                    "name": delivery.name, "pipeline": delivery.pipeline, "kind": kind,
                    "guarantee": delivery.guarantee.to_string(), "state": delivery.state.word(),
                    "reason": delivery.reason, "epoch": delivery.position.committed,
                    "rows_written": delivery.position.ledger.rows_written,
                    "rows_superseded": delivery.position.ledger.rows_superseded,
                    "rows_waiting": delivery.rows_waiting,
                }));
            }
        }
        rows
    }

    async fn sources(&self) -> Result<Vec<Value>> {
        let now = self.env.clock.now();
        let paused = super::pauses::reasons(self.store.as_ref()).await?;
        let mut rows = Vec::new();
        for source in &self.project.sources {
            let name = source.name.as_str();
            let Some(pipeline) = self.pipelines.iter().find(|it| it.name() == name) else {
                continue;
            };
            let reading = pipeline.status().read();
            let connector = match &source.connector {
                Connector::Finnhub(_) => "finnhub",
                Connector::Websocket(_) => "websocket",
                Connector::File(_) => "file",
                Connector::Http(_) => "http",
                Connector::Binance(_) => "binance",
                Connector::Exchange(exchange) => exchange.channel.venue(),
                Connector::Exec(_) => "exec",
                Connector::Push => "push",
                Connector::Topic(_) => "topic",
            };
            let mut row = json!({
                "name": name, "connector": connector, "reads": self.places.shown(source),
                "state": reading.state.word(),
                "reason": reading.reason, "frames": reading.source.frames_received,
                "rows_valid": reading.source.rows_valid,
                "rows_quarantined": reading.source.rows_quarantined + reading.source.frames_quarantined,
                "watermark": instant(reading.watermark), "lag_records": reading.lag_records,
                "lag_seconds": reading.newest_received_at.map(|at| now.since(at).as_secs_f64()),
                "epoch": reading.epoch,
            });
            if let Some(feed) = self.feeds.get(name) {
                let feed = feed.read(now);
                row["state"] = json!(format!("{:?}", feed.state).to_lowercase());
                row["frames"] = json!(feed.frames.max(reading.source.frames_received));
                row["bytes"] = json!(feed.bytes);
                row["reconnects"] = json!(feed.reconnects);
                row["errors"] = json!(feed.errors);
                row["gap_seconds"] = json!(feed.gap.as_secs_f64());
                row["connected_since"] = feed.connected_since.map_or(Value::Null, instant);
                row["last_frame_at"] = feed.last_frame_at.map_or(Value::Null, instant);
                if let Some((_, error)) = feed.last_errors.last() {
                    row["reason"] = json!(error);
                }
            }
            if let Some(reason) = paused.get(name) {
                row["reason"] = json!(reason);
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn streams(&self) -> Vec<Value> {
        let is_stream =
            |name: &str| self.project.stream(name).is_some() || name.starts_with("route.");
        let streams = self.pipelines.iter().filter(|pipeline| is_stream(pipeline.name()));
        streams
            .map(|pipeline| {
                let reading = pipeline.status().read();
                let sum = |part: fn(&thalweg_core::ledger::OperatorLedger) -> u64| {
                    reading.operators.iter().map(part).sum::<u64>()
                };
                json!({
                    "name": reading.name, "source": pipeline.source(), "state": reading.state.word(),
                    "reason": reading.reason, "epoch": reading.epoch,
                    "watermark": instant(reading.watermark),
                    "rows_in": reading.operators.first().map_or(0, |it| it.rows_in),
                    "rows_out": reading.rows_out, "rows_late": sum(|it| it.rows_late),
                    "rows_quarantined": sum(|it| it.rows_quarantined),
                    "state_bytes": reading.state_bytes, "epoch_micros": reading.epoch_micros,
                    "lag_records": reading.lag_records,
                    "checkpoint_epoch": reading.checkpoint.map(|it| it.0),
                    "checkpoint_bytes": reading.checkpoint.map(|it| it.1),
                    "checkpoint_at": reading.checkpoint.map_or(Value::Null, |it| instant(it.2)),
                })
            })
            .collect()
    }

    async fn lake(&self) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        for table in &self.project.tables {
            let Some(kept) = self.tables.get(table.name.as_str()) else { continue };
            // A store that is away keeps nobody from seeing the others.
            let files = kept.files().await.ok();
            let version = kept.version("").await.map(|it| it.version).unwrap_or(-1);
            let fed_by = match &table.input {
                TableInput::From(from) => Some(from.as_str()),
                TableInput::BatchOf { stream, .. } => Some(stream.as_str()),
                TableInput::ReadOnly => None,
            };
            let delivery = self
                .pipelines
                .iter()
                .flat_map(|pipeline| pipeline.deliveries())
                .find(|delivery| delivery.name == table.name.as_str());
            let state = delivery.map(|delivery| delivery.state.word());
            rows.push(json!({
                "name": table.name.as_str(), "fed_by": fed_by, "state": state,
                "path": table.place.to_string(), "version": version, "files": files.as_ref().map(Vec::len),
                "bytes": files.as_ref().map(|it| it.iter().map(|file| file.bytes).sum::<u64>()),
                "rows": files.map(|it| it.iter().filter_map(|file| file.rows).sum::<u64>()),
            }));
        }
        Ok(rows)
    }

    async fn table_files(&self) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        for (name, table) in &self.tables {
            rows.extend(table.files().await.unwrap_or_default().into_iter().map(|file| {
                json!({
                    "table": name, "path": file.path, "bytes": file.bytes, "rows": file.rows,
                    "day": file.day.map(|day| day.to_string()),
                })
            }));
        }
        Ok(rows)
    }

    async fn table_history(&self) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        for (name, table) in &self.tables {
            rows.extend(table.history(HISTORY_MAX).await.unwrap_or_default().into_iter().map(
                |commit| {
                    json!({
                        "table": name, "version": commit.version, "at": instant(commit.at),
                        "operation": commit.operation, "rows": commit.rows,
                    })
                },
            ));
        }
        Ok(rows)
    }

    fn topics(&self) -> Vec<Value> {
        let usage = self.log.usage();
        usage
            .iter()
            .map(|usage| {
                json!({
                    "name": &*usage.partition.topic, "partition": usage.partition.partition,
                    "log_start": usage.bounds.log_start, "high_watermark": usage.bounds.high_watermark,
                    "log_end": usage.bounds.log_end, "bytes": usage.bytes,
                })
            })
            .collect()
    }

    fn views(&self) -> Vec<Value> {
        let views = self.project.views.iter();
        views
            .map(|view| match &view.input {
                ViewInput::Query(sql) => {
                    json!({ "name": view.name.as_str(), "kind": "query", "sql": sql.as_str() })
                }
                ViewInput::Merge { batch, live, on } => json!({
                    "name": view.name.as_str(), "kind": "merged",
                    "sql": format!("{} below its boundary, {} from it on, by {}", batch.as_str(), live.as_str(), on.as_str()),
                }),
            })
            .collect()
    }
}

/// An instant as JSON; null for the instant before all others.
fn instant(time: Timestamp) -> Value {
    if time == Timestamp::MIN { Value::Null } else { json!(time.to_string()) }
}

/// One row for each count of a part.
fn count(
    rows: &mut Vec<Value>,
    part: &str,
    name: &str,
    ledger: &impl serde::Serialize,
    broken: &str,
) {
    let Ok(Value::Object(counts)) = serde_json::to_value(ledger) else { return };
    for (key, value) in counts {
        rows.push(json!({
            "part": part, "name": name, "count": key, "value": value,
            "balanced": broken.is_empty(), "problem": (!broken.is_empty()).then_some(broken),
        }));
    }
}
