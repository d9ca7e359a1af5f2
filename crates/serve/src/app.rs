//! What all handlers share, and the counters of `/metrics`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thalweg_core::env::Clock;
use thalweg_core::query::Relation;
use tokio::sync::Semaphore;

use crate::auth::Gate;
use crate::config::{Limits, Parts, ServeConfig};
use crate::live::feed::Feeds;
use crate::problem::Problem;
use crate::select::View;

/// The state of the router.
pub(crate) type App = Arc<Shared>;

/// What all handlers share.
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) gate: Gate,
    pub(crate) feeds: Arc<Feeds>,
    /// One permit per running query of REST.
    pub(crate) queries: Arc<Semaphore>,
    /// One permit per post of records under way.
    pub(crate) pushes: Arc<Semaphore>,
    /// One permit per WebSocket and event stream.
    pub(crate) live_streams: Arc<Semaphore>,
    pub(crate) counters: Arc<Counters>,
    /// The OpenAPI document.
    pub(crate) openapi: String,
}

impl Shared {
    pub(crate) fn new(config: ServeConfig, port: u16, parts: Parts, openapi: String) -> Self {
        let ServeConfig { admin_token, limits, clock, .. } = config;
        let counters = Arc::new(Counters::default());
        let feeds = Feeds::new(
            Arc::clone(&parts.engine),
            parts.env.clone(),
            clock.clone(),
            limits.clone(),
            Arc::clone(&counters),
        );
        Self {
            gate: Gate::new(admin_token, port, clock.clone()),
            feeds,
            queries: Arc::new(Semaphore::new(limits.queries)),
            pushes: Arc::new(Semaphore::new(limits.pushes)),
            live_streams: Arc::new(Semaphore::new(limits.live_streams)),
            counters,
            openapi,
            parts,
            limits,
            clock,
        }
    }

    /// The relation of that schema and name.
    pub(crate) fn relation(&self, schema: &str, name: &str) -> Result<Relation, Problem> {
        let relations = self.parts.engine.relations();
        let of_schema = || relations.iter().filter(|relation| relation.schema_name == schema);
        match of_schema().find(|relation| relation.name == name) {
            Some(relation) => Ok(relation.clone()),
            None => Err(Problem::not_found(format!("there is no relation `{schema}.{name}`"))
                .with_nearest(name, of_schema().map(|relation| relation.name.as_str()))),
        }
    }

    /// What the path of a view names: a relation, or `latest(x)`.
    pub(crate) fn view(&self, name: &str) -> Result<View, Problem> {
        let inner = name.strip_prefix("latest(").and_then(|rest| rest.strip_suffix(')'));
        // A relation's own name may look like that.
        match (self.relation("public", name), inner) {
            (Err(_), Some(inner)) => {
                Ok(View { relation: self.relation("public", inner.trim())?, is_latest: true })
            }
            (relation, _) => Ok(View { relation: relation?, is_latest: false }),
        }
    }

    /// Metrics of all parts and of this one.
    pub(crate) fn metrics(&self) -> String {
        let mut text = (self.parts.metrics)();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let used = self.limits.live_streams - self.live_streams.available_permits();
        let gauges = [
            ("thalweg_serve_live_streams", "WebSockets and event streams open", used),
            ("thalweg_serve_live_feeds", "live results kept up to date", self.feeds.len()),
        ];
        for (name, help, value) in gauges {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        self.counters.write(&mut text);
        text
    }
}

/// Counts since the start.
#[derive(Default)]
pub(crate) struct Counters {
    /// Answers by the hundreds of their status, from 1xx.
    answers: [AtomicU64; 5],
    /// Evaluations of live results.
    pub(crate) live_evaluations: AtomicU64,
    /// Snapshots and deltas sent.
    pub(crate) live_frames: AtomicU64,
}

impl Counters {
    /// Counts an answer.
    pub(crate) fn answer(&self, status: u16) {
        if let Some(counter) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, text: &mut String) {
        let name = "thalweg_serve_answers_total";
        let _ = writeln!(text, "# HELP {name} answers by status\n# TYPE {name} counter");
        for (index, counter) in self.answers.iter().enumerate() {
            let value = counter.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}{{status=\"{}xx\"}} {value}", index + 1);
        }
        let counters = [
            (
                "thalweg_serve_live_evaluations_total",
                "evaluations of live results",
                &self.live_evaluations,
            ),
            ("thalweg_serve_live_frames_total", "snapshots and deltas sent", &self.live_frames),
        ];
        for (name, help, counter) in counters {
            let value = counter.load(Ordering::Relaxed);
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
    }
}
