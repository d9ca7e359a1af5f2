//! The store in one SQLite file: write-ahead log, full sync, one writer.
//!
//! # Invariants
//!
//! - A write is a transaction of its own whose COMMIT has returned before the call returns, so what
//!   a caller was told is on stable storage, and an error of the commit reaches the caller.
//! - All writes go through one connection; reads have two of their own, opened when needed, so a
//!   long list does not hold up a claim.
//! - Values are JSON text; ids are compared byte by byte, and a prefix is a range of ids.
//!
//! The tables are those of [`crate::format`]. Who may open the file is decided by the lock of the
//! data folder (S27), not here; a command that only reads may open it beside a running server.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, Sqlite, SqlitePool, Transaction};
use thalweg_core::store::{Entry, Expected, Store, StoredRow};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use crate::bounds::{check_id, check_name, encode, end_of_prefix};
use crate::error::fold;
use crate::format::{self, Found};

/// How long a statement waits for the lock of another process.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How long a call waits for a connection that others use.
const CONNECTION_WAIT: Duration = Duration::from_secs(10);
/// How long a connection for reads stays open unused.
const READER_IDLE: Duration = Duration::from_secs(60);
/// To what the write-ahead log shrinks after a checkpoint, in bytes.
const WAL_BYTES: &str = "4194304";

/// A [`Store`] in one SQLite file. Cloning it is cheap and gives the same store.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the store in `path`, making it (readable by its owner only) if there is none.
    ///
    /// # Errors
    ///
    /// `Invalid` when the file is something else, or was written by a later thalweg. `Unavailable`
    /// when the folder is missing, or the file is locked or cannot be written.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let doing = format!("open `{}`", path.display());
        // It holds password hashes, and SQLite would make it readable by everybody.
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| fold(&doing, sqlx::Error::Io(error)))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(LOCK_WAIT)
            .pragma("journal_size_limit", WAL_BYTES)
            .thread_name(|number| format!("metadata-{number}"));
        let writer = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .acquire_timeout(CONNECTION_WAIT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.clone())
            .await
            .map_err(|error| fold(&doing, error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            .acquire_timeout(CONNECTION_WAIT)
            .idle_timeout(READER_IDLE)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        let store = Self { writer, readers };
        store.prepare(path, &doing).await?;
        Ok(store)
    }

    /// Recognises the file before anything in it is changed, then makes what a new one lacks.
    async fn prepare(&self, path: &Path, doing: &str) -> Result<()> {
        let failed = |error| fold(doing, error);
        let mut connection = self.writer.acquire().await.map_err(failed)?;
        format::recognise(&mut connection, path).await?;
        let mode: Option<String> =
            format::scalar(&mut connection, "PRAGMA journal_mode = WAL").await.map_err(failed)?;
        if mode.as_deref() != Some("wal") {
            return Err(Error::unavailable(format!(
                "cannot keep a write-ahead log: cannot {doing}"
            ))
            .with_hint("Put the data folder on a local disk."));
        }
        drop(connection);
        let mut transaction = self.begin(doing).await?;
        // Asked again under the lock: another process may have made the tables meanwhile.
        if format::recognise(&mut transaction, path).await? == Found::Empty {
            format::create(&mut transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Finishes what is under way and folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins to write. Taking the lock at once means the transaction cannot fail half-way with it.
    async fn begin(&self, doing: &str) -> Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| fold(doing, error))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, kind: &str, id: &str) -> Result<Option<StoredRow>> {
        check_name(kind)?;
        check_id(id)?;
        let row = sqlx::query("SELECT id, version, value FROM entity WHERE kind = ? AND id = ?")
            .bind(kind)
            .bind(id)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| fold(&format!("read {kind} `{id}`"), error))?;
        row.map(|row| stored_row(kind, &row)).transpose()
    }

    async fn put(&self, kind: &str, id: &str, expected: Expected, value: &Value) -> Result<u64> {
        check_name(kind)?;
        check_id(id)?;
        let value = encode(value)?;
        let doing = format!("write {kind} `{id}`");
        let failed = |error| fold(&doing, error);
        let query = match expected {
            Expected::Any => sqlx::query_scalar(
                "INSERT INTO entity (kind, id, version, value) VALUES (?, ?, 1, ?)
                 ON CONFLICT (kind, id)
                 DO UPDATE SET version = entity.version + 1, value = excluded.value
                 RETURNING version",
            )
            .bind(kind)
            .bind(id)
            .bind(value),
            Expected::Absent => sqlx::query_scalar(
                "INSERT INTO entity (kind, id, version, value) VALUES (?, ?, 1, ?)
                 ON CONFLICT (kind, id) DO NOTHING RETURNING version",
            )
            .bind(kind)
            .bind(id)
            .bind(value),
            Expected::Version(version) => sqlx::query_scalar(
                "UPDATE entity SET version = version + 1, value = ?
                 WHERE kind = ? AND id = ? AND version = ? RETURNING version",
            )
            .bind(value)
            .bind(kind)
            .bind(id)
            .bind(i64::try_from(version).unwrap_or(i64::MAX)),
        };
        let mut transaction = self.begin(&doing).await?;
        let version: Option<i64> = query.fetch_optional(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        match version {
            Some(version) => Ok(version.unsigned_abs()),
            None => Err(Error::fenced(match expected {
                Expected::Version(version) => {
                    format!("{kind} `{id}` is not at version {version} any more")
                }
                Expected::Any | Expected::Absent => format!("{kind} `{id}` exists already"),
            })),
        }
    }

    async fn delete(&self, kind: &str, id: &str) -> Result<()> {
        check_name(kind)?;
        check_id(id)?;
        let doing = format!("delete {kind} `{id}`");
        let failed = |error| fold(&doing, error);
        let mut transaction = self.begin(&doing).await?;
        sqlx::query("DELETE FROM entity WHERE kind = ? AND id = ?")
            .bind(kind)
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        descending: bool,
        limit: usize,
    ) -> Result<Vec<StoredRow>> {
        check_name(kind)?;
        check_id(prefix)?;
        let statement = if descending {
            "SELECT id, version, value FROM entity WHERE kind = ? AND id >= ? AND id < ?
             ORDER BY id DESC LIMIT ?"
        } else {
            "SELECT id, version, value FROM entity WHERE kind = ? AND id >= ? AND id < ?
             ORDER BY id LIMIT ?"
        };
        let rows = sqlx::query(statement)
            .bind(kind)
            .bind(prefix)
            .bind(end_of_prefix(prefix))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await
            .map_err(|error| fold(&format!("list {kind} `{prefix}`"), error))?;
        rows.iter().map(|row| stored_row(kind, row)).collect()
    }

    async fn append(&self, history: &str, at: Timestamp, value: &Value) -> Result<i64> {
        check_name(history)?;
        let value = encode(value)?;
        let doing = format!("append to history `{history}`");
        let failed = |error| fold(&doing, error);
        let mut transaction = self.begin(&doing).await?;
        let number: i64 = sqlx::query_scalar(
            "INSERT INTO history_head (name, last) VALUES (?, 1)
             ON CONFLICT (name) DO UPDATE SET last = history_head.last + 1 RETURNING last",
        )
        .bind(history)
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
        sqlx::query("INSERT INTO history (name, number, at, value) VALUES (?, ?, ?, ?)")
            .bind(history)
            .bind(number)
            .bind(at.0)
            .bind(value)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(number)
    }

    async fn entries(&self, history: &str, after: i64, limit: usize) -> Result<Vec<Entry>> {
        check_name(history)?;
        let doing = format!("read history `{history}`");
        let failed = |error| fold(&doing, error);
        let rows = sqlx::query(
            "SELECT number, at, value FROM history WHERE name = ? AND number > ?
             ORDER BY number LIMIT ?",
        )
        .bind(history)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(Entry {
                    number: row.try_get(0).map_err(failed)?,
                    at: Timestamp(row.try_get(1).map_err(failed)?),
                    value: decode(row.try_get(2).map_err(failed)?, &doing)?,
                })
            })
            .collect()
    }

    async fn trim(&self, history: &str, through: i64) -> Result<()> {
        check_name(history)?;
        let doing = format!("trim history `{history}`");
        let failed = |error| fold(&doing, error);
        let mut transaction = self.begin(&doing).await?;
        sqlx::query("DELETE FROM history WHERE name = ? AND number <= ?")
            .bind(history)
            .bind(through)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

fn stored_row(kind: &str, row: &SqliteRow) -> Result<StoredRow> {
    let doing = format!("read {kind}");
    let failed = |error| fold(&doing, error);
    let version: i64 = row.try_get(1).map_err(failed)?;
    Ok(StoredRow {
        id: row.try_get(0).map_err(failed)?,
        version: version.unsigned_abs(),
        value: decode(row.try_get(2).map_err(failed)?, &doing)?,
    })
}

fn decode(text: &str, doing: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        Error::internal(format!("cannot {doing}: the value is no JSON")).with_source(error)
    })
}

#[cfg(test)]
mod tests;
