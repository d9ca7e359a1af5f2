//! The tables of the store, their version, and how a file is recognised.
//!
//! # Version 1
//!
//! | table | columns |
//! |---|---|
//! | `schema_version` | one row: `magic` = `thalweg metadata`, `version` = 1 |
//! | `entity` | `kind`, `id` (key); `version` counts from 1 with each write; `value` JSON text |
//! | `history_head` | `name` (key); `last` = number of the newest entry ever made |
//! | `history` | `name`, `number` (key); `at` µs since 1970 UTC; `value` JSON text |
//!
//! Text is UTF-8 and compares byte by byte. A change of these tables is a new version with a step
//! from the one before; `tests/formats/` keeps a file of each version ever written.

use std::path::Path;

use sqlx::{Executor, Row, Sqlite, SqliteConnection};
use thalweg_core::{Error, Result};

use crate::error::fold;

const MAGIC: &str = "thalweg metadata";
const VERSION: i64 = 1;

const CREATE: [&str; 4] = [
    "CREATE TABLE schema_version (magic TEXT NOT NULL, version BIGINT NOT NULL)",
    "CREATE TABLE entity (
        kind TEXT NOT NULL, id TEXT NOT NULL, version BIGINT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (kind, id))",
    "CREATE TABLE history_head (name TEXT NOT NULL PRIMARY KEY, last BIGINT NOT NULL)",
    "CREATE TABLE history (
        name TEXT NOT NULL, number BIGINT NOT NULL, at BIGINT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (name, number))",
];

/// What a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No tables at all: a new file.
    Empty,
    /// A store of this version.
    Current,
}

/// Looks at a file without changing it.
///
/// # Errors
///
/// `Invalid` when it is something else than a store, or a store of a later version.
pub(crate) async fn recognise(connection: &mut SqliteConnection, path: &Path) -> Result<Found> {
    let name = path.display();
    let failed = |error| fold(&format!("recognise `{name}`"), error);
    let tables: i64 = scalar(connection, "SELECT count(*) FROM sqlite_master")
        .await
        .map_err(failed)?
        .unwrap_or_default();
    if tables == 0 {
        return Ok(Found::Empty);
    }
    let foreign = || {
        Error::invalid(format!("`{name}` is a SQLite file, but not a metadata store of thalweg"))
            .with_hint("Move it away, or choose another data folder.")
    };
    let ours: Option<i64> =
        scalar(connection, "SELECT 1 FROM sqlite_master WHERE name = 'schema_version'")
            .await
            .map_err(failed)?;
    if ours.is_none() {
        return Err(foreign());
    }
    let row = sqlx::query("SELECT magic, version FROM schema_version")
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?
        .ok_or_else(foreign)?;
    let magic: String = row.try_get(0).map_err(|_| foreign())?;
    let version: i64 = row.try_get(1).map_err(|_| foreign())?;
    if magic != MAGIC {
        return Err(foreign());
    }
    if version != VERSION {
        return Err(Error::invalid(format!(
            "`{name}` has version {version} of the store's format"
        ))
        .with_detail(format!("This thalweg reads and writes version {VERSION}."))
        .with_hint("Start the release that wrote it, or restore an older backup."));
    }
    Ok(Found::Current)
}

/// Makes the tables of the current version.
pub(crate) async fn create(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    for statement in CREATE {
        connection.execute(statement).await?;
    }
    sqlx::query("INSERT INTO schema_version (magic, version) VALUES (?, ?)")
        .bind(MAGIC)
        .bind(VERSION)
        .execute(connection)
        .await?;
    Ok(())
}

/// The first column of the first row, if there is a row.
pub(crate) async fn scalar<T>(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> sqlx::Result<Option<T>>
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    sqlx::query_scalar(statement).fetch_optional(connection).await
}
