//! Live against batch, for each day that is refreshed: `system.layer_diff` (S18).
//!
//! A day is compared just before the commit that may let live forget it, and once: a day below the
//! boundary is no longer live. Its differences replace those stored for it before, so a refresh that
//! runs again stores them once. In the store, a row of kind `layer_diff` holds up to
//! [`ROWS_PER_CHUNK`] of them, its id being `view/day/chunk`.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::{Value, json};
use thalweg_connect::sinks::notify::{NotifyConfig, NotifySink};
use thalweg_core::env::Env;
use thalweg_core::sink::{Sink as _, Stamp};
use thalweg_core::store::{Expected, Store};
use thalweg_core::time::{Day, Timestamp};
use thalweg_core::{Error, Result};
use thalweg_project::{Project, ViewInput};
use thalweg_stream::layers::{self, Difference};
use thalweg_stream::pipeline::Pipeline;
use thalweg_stream::results::Results;

use super::pipelines::RESULTS;
use crate::check::Checked;

/// Kind of the rows in the store.
const KIND: &str = "layer_diff";
/// Differences of one stored row.
const ROWS_PER_CHUNK: usize = 500;
/// Differences stored of one day; how many there are is told with the alert.
const ROWS_MAX: usize = 100_000;
/// Chunks that one look at `system.layer_diff` reads.
const CHUNKS_READ: usize = 1_000;
/// How long live may take to see the end of the day.
const LIVE_WAIT: Duration = Duration::from_secs(30);
/// How often it is looked at meanwhile.
const LIVE_TICK: Duration = Duration::from_millis(100);

/// A merged view whose batch side is refreshed.
pub(super) struct Compared {
    view: String,
    on: String,
    key: Vec<String>,
    pipeline: Arc<Pipeline>,
    results: Arc<Results>,
}

impl Compared {
    /// Name of the view.
    pub(super) fn name(&self) -> &str {
        &self.view
    }
}

/// Compares layers, keeps what differs and tells it.
pub(super) struct Layers {
    env: Env,
    store: Arc<dyn Store>,
    project: Arc<Project>,
    told: Option<NotifyConfig>,
}

impl Layers {
    /// Differences go to `store`, and to whom `[project] notify` names.
    pub(super) fn new(project: &Arc<Project>, env: &Env, store: &Arc<dyn Store>) -> Self {
        let notify = project.notify.as_ref().and_then(|told| {
            project.notifies.iter().find(|notify| notify.name.as_str() == told.as_str())
        });
        let told = notify.map(|notify| NotifyConfig {
            url: notify.webhook_url.reveal().to_owned(),
            alert: "system.layer_diff".to_owned(),
            per: vec!["view".to_owned(), "day".to_owned()],
            cooldown: Duration::ZERO,
        });
        let (env, store, project) = (env.clone(), Arc::clone(store), Arc::clone(project));
        Self { env, store, project, told }
    }

    /// The merged views whose batch side `table` is.
    pub(super) fn of_table(
        &self,
        table: &str,
        checked: &Checked,
        pipelines: &[Arc<Pipeline>],
    ) -> Result<Vec<Compared>> {
        let mut found = Vec::new();
        for view in &self.project.views {
            let ViewInput::Merge { batch, live, on } = &view.input else { continue };
            if batch.as_str() != table {
                continue;
            }
            let pipeline = pipelines.iter().find(|it| it.name() == live.as_str());
            let kept = pipeline.and_then(|it| it.kept.iter().find(|kept| kept.name == RESULTS));
            let (Some(pipeline), Some(kept)) = (pipeline, kept) else {
                return Err(Error::internal("a merged view has no live side"));
            };
            found.push(Compared {
                view: view.name.value.clone(),
                on: on.value.clone(),
                key: checked.streams[live.as_str()].key.clone(),
                pipeline: Arc::clone(pipeline),
                results: Arc::clone(&kept.results),
            });
        }
        Ok(found)
    }

    /// Holds the batch's rows of a day against the live ones; returns how many differences there are.
    ///
    /// # Errors
    ///
    /// `Unavailable` when live has not seen the end of the day.
    pub(super) async fn compare(
        &self,
        view: &Compared,
        day: Day,
        batch: &[RecordBatch],
    ) -> Result<usize> {
        self.wait_for(view, day).await?;
        let of_day = |rows: &RecordBatch| layers::of_time(rows, &view.on, day.start(), day.end());
        let live = of_day(&view.results.read()?)?;
        let batch: Result<Vec<RecordBatch>> = batch.iter().map(of_day).collect();
        let found = layers::differences(&view.key, &live, &batch?)?;
        let now = self.env.clock.now();
        self.keep(&view.view, day, &found, now).await?;
        if !found.is_empty() {
            tracing::warn!(
                view = view.view,
                day = day.to_string(),
                differences = found.len(),
                "live and batch of a finished day differ"
            );
            self.tell(&view.view, day, found.len()).await;
        }
        Ok(found.len())
    }

    async fn wait_for(&self, view: &Compared, day: Day) -> Result<()> {
        let deadline = self.env.clock.now().plus(LIVE_WAIT);
        loop {
            let reached = view.pipeline.status().read().watermark;
            if reached >= day.end() {
                return Ok(());
            }
            if self.env.clock.now() >= deadline || !self.env.sleep(LIVE_TICK).await {
                return Err(Error::unavailable(format!(
                    "`{}` has come to {reached}, so {day} is not over in it",
                    view.pipeline.name()
                )));
            }
        }
    }

    async fn keep(&self, view: &str, day: Day, found: &[Difference], at: Timestamp) -> Result<()> {
        let prefix = format!("{view}/{day}/");
        for old in self.store.list(KIND, &prefix, false, ROWS_MAX / ROWS_PER_CHUNK).await? {
            self.store.delete(KIND, &old.id).await?;
        }
        let found = &found[..found.len().min(ROWS_MAX)];
        for (number, chunk) in found.chunks(ROWS_PER_CHUNK).enumerate() {
            let rows: Vec<Value> = chunk
                .iter()
                .map(|it| {
                    json!({
                        "key": it.key, "column": it.column, "live": it.live, "batch": it.batch,
                    })
                })
                .collect();
            let value = json!({ "view": view, "day": day.to_string(), "at": at.0, "rows": rows });
            let id = format!("{prefix}{number:06}");
            self.store.put(KIND, &id, Expected::Any, &value).await?;
        }
        Ok(())
    }

    /// Tells whom the project names. Nobody else waits for it: the rows are stored.
    async fn tell(&self, view: &str, day: Day, differences: usize) {
        let Some(config) = &self.told else { return };
        if let Err(error) = self.post(config.clone(), view, day, differences).await {
            tracing::warn!(view, error = error.chain(), "nobody could be told of differences");
        }
    }

    async fn post(
        &self,
        config: NotifyConfig,
        view: &str,
        day: Day,
        differences: usize,
    ) -> Result<()> {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("view", DataType::Utf8, false),
            Field::new("day", DataType::Utf8, false),
            Field::new("differences", DataType::Int64, false),
        ]));
        let count = i64::try_from(differences).unwrap_or(i64::MAX);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![view])),
            Arc::new(StringArray::from(vec![day.to_string()])),
            Arc::new(Int64Array::from(vec![count])),
        ];
        let row = RecordBatch::try_new(Arc::clone(&schema), columns)
            .map_err(|error| Error::internal("an alert does not fit").with_source(error))?;
        let mut sink = NotifySink::new(config, schema, self.env.clock.clone())?;
        // The key of a repeat is made of this: the same day is the same message.
        let stamp = Stamp {
            incarnation: String::new(),
            pipeline: "system.layer_diff".to_owned(),
            epoch: u64::try_from(day.0).unwrap_or(0),
        };
        sink.write(stamp.epoch, &row).await?;
        sink.commit(&stamp).await?;
        Ok(())
    }
}

/// Rows of `system.layer_diff`, the newest days first.
pub(super) async fn rows(store: &dyn Store) -> Result<Vec<Value>> {
    let chunks = store.list(KIND, "", true, CHUNKS_READ).await?;
    let mut rows = Vec::new();
    for chunk in chunks {
        let (view, day) = (&chunk.value["view"], &chunk.value["day"]);
        let at = chunk.value["at"].as_i64().map(|at| Timestamp(at).to_string());
        for row in chunk.value["rows"].as_array().into_iter().flatten() {
            let text = |value: &Value| (!value.is_null()).then(|| value.to_string());
            rows.push(json!({
                "view": view, "day": day, "key": row["key"].to_string(),
                "column": row["column"], "live": text(&row["live"]),
                "batch": text(&row["batch"]), "at": at,
            }));
        }
    }
    Ok(rows)
}
