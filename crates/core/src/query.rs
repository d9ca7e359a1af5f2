//! Queries: what `serve`, `jobs` and the command line ask of the engine.
//!
//! The engine is the crate `stream`; nobody else names DataFusion. All doors (SQL, REST, live) read
//! the same published versions (S17a).

use std::collections::BTreeMap;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde_json::Value;
use tokio::sync::watch;

use crate::error::Result;

/// Runs read-only SQL over everything a project declares, and `system.*`.
#[async_trait]
pub trait QueryEngine: Send + Sync {
    /// Plans and runs one statement.
    ///
    /// # Errors
    ///
    /// `Invalid` when the SQL is wrong, is not read-only, or reaches for a file or the network
    /// (S29); `Unavailable` when a limit was reached.
    async fn query(&self, query: Query) -> Result<Rows>;

    /// The relations SQL can read, by schema and name.
    fn relations(&self) -> Vec<Relation>;

    /// Counts up whenever the result of a query may have changed. Ends when the engine stops.
    async fn changes(&self, query: &Query) -> Result<watch::Receiver<u64>>;
}

/// One statement with its parameters and limits.
#[derive(Clone, Debug)]
pub struct Query {
    /// The statement; `$name` stands for a parameter.
    pub sql: String,
    /// Values of the parameters, by name without `$`.
    pub params: BTreeMap<String, Value>,
    /// Whether a dashboard's panel asks, which shows what its hidden streams keep (S17a), instead
    /// of somebody who wants the answer over all rows.
    pub is_panel: bool,
    /// What it may use.
    pub limits: QueryLimits,
}

impl Query {
    /// A statement without parameters, under default limits.
    pub fn new(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            params: BTreeMap::new(),
            is_panel: false,
            limits: QueryLimits::default(),
        }
    }
}

/// What a query may use (S29).
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// Rows returned at most; more is an error, not a cut.
    pub rows_max: Option<usize>,
    /// Time until the last row.
    pub time_max: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { rows_max: None, time_max: Duration::from_secs(60) }
    }
}

/// The answer to a query.
pub struct Rows {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

/// A relation SQL can read.
#[derive(Clone, Debug)]
pub struct Relation {
    /// `public` or `system`.
    pub schema_name: String,
    /// Name within the schema.
    pub name: String,
    /// `source`, `stream`, `table`, `view`, `model` or `system`.
    pub kind: &'static str,
    /// Its columns.
    pub columns: SchemaRef,
    /// Columns that tell its rows apart, where known: the key of live deltas.
    pub key: Vec<String>,
}
