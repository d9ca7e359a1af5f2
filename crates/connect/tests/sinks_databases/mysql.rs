//! The MySQL sink against a real MariaDB or MySQL server.

mod commits;
mod failures;
mod server;
mod tables;
mod types;

use thalweg_connect::sinks::database::{DatabaseConfig, DatabaseSink, Mode};
use thalweg_connect::sinks::mysql;

use super::trade_schema;

/// A sink of pipeline `changes` into table `trades`.
fn trade_sink(url: &str, mode: Mode) -> DatabaseSink {
    mysql::sink(DatabaseConfig::new(url, "trades", mode), "changes", trade_schema())
        .expect("the configuration fits the rows")
}
