//! MySQL 8.0.17 or later, MariaDB 10.2 or later: rows into a table, exactly once (S9).
//!
//! What a commit is, the stamp and the order of things are in [`super::database`]; here is what
//! these servers do their own way. The table's schema is its database: a bare name is in the one of
//! the URL. Only a table whose engine has transactions is written to. `?ssl-mode=REQUIRED`,
//! `VERIFY_CA` or `VERIFY_IDENTITY` in the URL asks for TLS, with `ssl-ca`, `ssl-cert` and
//! `ssl-key`; without one it is used where the server offers it. A user of MySQL's
//! `caching_sha2_password` can log in over TLS only, on a socket too: without it the password would
//! have to be encrypted with the server's RSA key.
//!
//! Making a table ends a transaction in these servers. A crash between that and the first commit
//! leaves an empty table, which the next start checks and uses.
//!
//! Types are in `types`, values as parameters in `values`, tables and the statements that write to
//! them in `target`, connections and what their errors mean in `session`.

mod session;
mod target;
mod types;
mod values;

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use thalweg_core::Result;

use self::session::MysqlServer;
use super::database::{DatabaseConfig, DatabaseSink};

/// Makes a sink for rows of `schema`, handed over by `pipeline`. Nothing is connected yet.
///
/// # Errors
///
/// `Invalid`, listing what is wrong, when URL, table name, key and schema do not fit together.
pub fn sink(config: DatabaseConfig, pipeline: &str, schema: SchemaRef) -> Result<DatabaseSink> {
    let server = MysqlServer::new(&config.url, config.connect_timeout, config.statement_timeout)?;
    DatabaseSink::new(Box::new(server), config, pipeline, schema)
}

/// Whether a URL can be read; nothing is connected.
///
/// # Errors
///
/// `Invalid`, saying what is wrong without showing it.
pub fn check_url(url: &str) -> Result<()> {
    MysqlServer::new(url, Duration::ZERO, Duration::ZERO).map(drop)
}
