//! PostgreSQL 12 or later: rows into a table, exactly once (S9).
//!
//! What a commit is, the stamp and the order of things are in [`super::database`]; here is what
//! PostgreSQL does its own way. A bare table name is looked for in the first schema of the user's
//! search path. `?sslmode=require`, `verify-ca` or `verify-full` in the URL asks for TLS, with
//! `sslrootcert`, `sslcert` and `sslkey`; without one it is used where the server offers it.
//!
//! Types are in `types`, their bytes in `arrays`, tables and the statements that write to them in
//! `target`, connections and what their errors mean in `session`.

mod arrays;
mod session;
mod target;
mod types;

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use thalweg_core::Result;

use self::session::PostgresServer;
use super::database::server::Server;
use super::database::{DatabaseConfig, DatabaseSink};

/// Makes a sink for rows of `schema`, handed over by `pipeline`. Nothing is connected yet.
///
/// # Errors
///
/// `Invalid`, listing what is wrong, when URL, table name, key and schema do not fit together.
pub fn sink(config: DatabaseConfig, pipeline: &str, schema: SchemaRef) -> Result<DatabaseSink> {
    let server = server(&config.url, config.connect_timeout, config.statement_timeout)?;
    DatabaseSink::new(server, config, pipeline, schema)
}

/// Whether a URL can be read; nothing is connected.
///
/// # Errors
///
/// `Invalid`, saying what is wrong without showing it.
pub fn check_url(url: &str) -> Result<()> {
    PostgresServer::new(url, Duration::ZERO, Duration::ZERO).map(drop)
}

/// The server of a URL.
pub(super) fn server(
    url: &str,
    connect_timeout: Duration,
    statement_timeout: Duration,
) -> Result<Box<dyn Server>> {
    Ok(Box::new(PostgresServer::new(url, connect_timeout, statement_timeout)?))
}
