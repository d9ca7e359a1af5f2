//! The metadata store: small rows with compare-and-swap, and append-only histories.
//!
//! Runs, models, checkpoint pointers, gaps and audit live here; never rows of data.

use async_trait::async_trait;
use serde_json::Value;

use crate::error::Result;
use crate::time::Timestamp;

/// Small rows by (kind, id), and histories by name.
///
/// # Contract
///
/// A call that has returned is on stable storage. Writes to one row are ordered by its version.
#[async_trait]
pub trait Store: Send + Sync {
    /// One row, if it exists.
    async fn get(&self, kind: &str, id: &str) -> Result<Option<StoredRow>>;

    /// Writes a row if `expected` holds, and returns its new version.
    ///
    /// # Errors
    ///
    /// `Fenced` when `expected` does not hold: somebody else was faster; read again and decide.
    async fn put(&self, kind: &str, id: &str, expected: Expected, value: &Value) -> Result<u64>;

    /// Removes a row if it is there.
    async fn delete(&self, kind: &str, id: &str) -> Result<()>;

    /// Rows of a kind whose id begins with `prefix`, by id, at most `limit`; newest ids first when
    /// `descending`.
    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        descending: bool,
        limit: usize,
    ) -> Result<Vec<StoredRow>>;

    /// Appends to a history and returns the entry's number, which grows.
    async fn append(&self, history: &str, at: Timestamp, value: &Value) -> Result<i64>;

    /// Entries of a history with numbers above `after`, oldest first, at most `limit`.
    async fn entries(&self, history: &str, after: i64, limit: usize) -> Result<Vec<Entry>>;

    /// May forget entries of a history with numbers up to `through`; no number is used again.
    ///
    /// A history that is not trimmed is right, only longer: the default forgets nothing.
    async fn trim(&self, _history: &str, _through: i64) -> Result<()> {
        Ok(())
    }
}

/// A row of the store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    /// Its id within its kind.
    pub id: String,
    /// Counts up from 1 with each write.
    pub version: u64,
    /// What it holds.
    pub value: Value,
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    Any,
    /// No such row.
    Absent,
    /// The row is at this version.
    Version(u64),
}

/// An entry of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number within the history.
    pub number: i64,
    /// When it was made.
    pub at: Timestamp,
    /// What it holds.
    pub value: Value,
}
