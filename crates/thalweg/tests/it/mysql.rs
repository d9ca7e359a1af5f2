//! MariaDB or MySQL for the tests, from `tests/services`.
//!
//! The environment variable `THALWEG_MYSQL` says which: `mariadb`, which is the default, or `mysql`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::services::{Restartable, Server};
use crate::support::block_on;

/// What the server under test makes true of two: the one for MariaDB, or the one for MySQL.
pub(crate) fn per_server<T>(mariadb: T, mysql: T) -> T {
    match std::env::var("THALWEG_MYSQL").as_deref() {
        Err(_) | Ok("mariadb") => mariadb,
        Ok("mysql") => mysql,
        Ok(other) => panic!("THALWEG_MYSQL is `mariadb` or `mysql`, not `{other}`"),
    }
}

fn script() -> &'static str {
    per_server("mariadb.sh", "mysql.sh")
}

/// A server that can be stopped and started again.
pub(crate) fn restartable() -> Restartable {
    Restartable::start(script())
}

/// A database.
pub(crate) struct Database {
    pub(crate) url: String,
}

impl Database {
    /// An empty one in the server that all tests share.
    pub(crate) fn new() -> Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        Self::make(&SHARED.get_or_init(|| Server::start(script())).url)
    }

    /// An empty one in a server.
    fn make(server_url: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { url: server_url.to_owned() }.rows(&format!("CREATE DATABASE {name}"));
        let (host, _) = server_url.rsplit_once('/').expect("the URL names a database");
        Self { url: format!("{host}/{name}") }
    }

    /// The one that a server has from its start.
    pub(crate) fn of(server: &Restartable) -> Self {
        Self { url: server.url.clone() }
    }

    /// Rows of a query as the server writes them, cells parted by `|`, null as `–`.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        let rows = block_on(async {
            let mut connection = MySqlConnection::connect(&self.url).await?;
            // Text, so that a number is written so that it can be read back exactly.
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await
        });
        let rows = rows.unwrap_or_else(|error: sqlx::Error| panic!("{sql}: {error}"));
        rows.iter().map(line).collect()
    }
}

fn line(row: &MySqlRow) -> String {
    let cell = |column| {
        let text: Option<String> = row.try_get_unchecked(column).expect("it came as text");
        text.unwrap_or_else(|| "–".to_owned())
    };
    (0..row.len()).map(cell).collect::<Vec<_>>().join("|")
}
