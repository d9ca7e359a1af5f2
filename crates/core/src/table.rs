//! Tables of the lake, as pipelines and jobs see them.
//!
//! Reading goes through DataFusion's own `TableProvider`, which `lake` hands to `stream` by way of
//! the binary; it is the one meeting point of two crates outside `core`.

use arrow_array::RecordBatch;
use async_trait::async_trait;

use crate::error::Result;
use crate::sink::{Sink, Stamp};
use crate::time::{Day, Timestamp};

/// A table that can be fed in epochs, replaced by days, and compacted.
#[async_trait]
pub trait Table: Send + Sync {
    /// A sink that appends to the table; one at a time.
    fn sink(&self) -> Result<Box<dyn Sink>>;

    /// The newest version and the stamp it holds for `pipeline`.
    async fn version(&self, pipeline: &str) -> Result<TableVersion>;

    /// Replaces the rows of `days` by `rows` in one commit, idempotent by `run`: a run that is
    /// already in the table changes nothing. `note` is stored with the commit (the boundary, say).
    async fn replace_days(&self, replacement: Replacement) -> Result<i64>;

    /// The note of the newest commit that has one.
    async fn note(&self) -> Result<Option<String>>;

    /// Merges small data files; returns how many were merged into how many.
    async fn compact(&self) -> Result<(usize, usize)>;

    /// The commits, newest first, at most `limit`.
    async fn history(&self, limit: usize) -> Result<Vec<TableCommit>>;
}

/// A version of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableVersion {
    /// Number of the newest commit; `-1` before the first.
    pub version: i64,
    /// Who fed it last, and up to where.
    pub stamp: Option<Stamp>,
}

/// What [`Table::replace_days`] does.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// Identifies the run and task; a repeat is recognised by it.
    pub run: String,
    /// Column that says which day a row belongs to: a date, or an instant.
    pub day_column: String,
    /// First day replaced.
    pub first: Day,
    /// Last day replaced.
    pub last: Day,
    /// The new rows of those days.
    pub rows: Vec<RecordBatch>,
    /// Stored with the commit.
    pub note: Option<String>,
}

/// One commit of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCommit {
    /// Its number.
    pub version: i64,
    /// When it was made.
    pub at: Timestamp,
    /// What it did, such as `append`, `replace`, `compact`.
    pub operation: String,
    /// Rows written, where known.
    pub rows: Option<u64>,
}
