//! PostgreSQL for the tests, from `tests/services/postgres.sh`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::services::{Restartable, Server};
use crate::support::block_on;

/// A server that can be stopped and started again.
pub(crate) fn restartable() -> Restartable {
    Restartable::start("postgres.sh")
}

/// A database.
pub(crate) struct Database {
    pub(crate) url: String,
}

impl Database {
    /// An empty one in the server that all tests share.
    pub(crate) fn new() -> Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = SHARED.get_or_init(|| Server::start("postgres.sh"));
        let server = Self { url: server.url.clone() };
        server.rows(&format!("CREATE DATABASE {name}"));
        let (host, _) = server.url.rsplit_once('/').expect("the URL names a database");
        Self { url: format!("{host}/{name}") }
    }

    /// The one that a server has from its start.
    pub(crate) fn of(server: &Restartable) -> Self {
        Self { url: server.url.clone() }
    }

    /// Rows of a query as PostgreSQL writes them, cells parted by `|`, null as `–`.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        let rows = block_on(async {
            let mut connection = PgConnection::connect(&self.url).await?;
            // Text, so that a number is written so that it can be read back exactly.
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await
        });
        let rows = rows.unwrap_or_else(|error: sqlx::Error| panic!("{sql}: {error}"));
        rows.iter().map(line).collect()
    }
}

fn line(row: &PgRow) -> String {
    let cell = |column| {
        let text: Option<String> = row.try_get_unchecked(column).expect("it came as text");
        text.unwrap_or_else(|| "–".to_owned())
    };
    (0..row.len()).map(cell).collect::<Vec<_>>().join("|")
}
