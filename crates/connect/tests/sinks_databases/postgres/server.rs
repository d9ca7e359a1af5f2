//! Servers and databases for the tests.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::services::{Restartable, Server};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of a test's own.
pub(crate) fn start() -> Server {
    Server::start("postgres.sh")
}

/// A server that can be stopped and started again.
pub(crate) fn restartable() -> Restartable {
    Restartable::start("postgres.sh")
}

/// A database, and a connection of the test's own to it.
pub(crate) struct Database {
    pub(crate) url: String,
    connection: PgConnection,
}

impl Database {
    /// The database of one test in the server that all tests share.
    pub(crate) async fn shared() -> Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        Self::make(&SHARED.get_or_init(start).url).await
    }

    /// Makes an empty database.
    pub(crate) async fn make(server_url: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = connect(server_url).await;
        let create = sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")));
        create.execute(&mut connection).await.expect("a superuser makes databases");
        Self::connect(server_url, &name).await
    }

    /// Connects to a database made before.
    pub(crate) async fn connect(server_url: &str, name: &str) -> Self {
        let (server, _) = server_url.rsplit_once('/').expect("the URL names a database");
        let url = format!("{server}/{name}");
        Self { connection: connect(&url).await, url }
    }

    /// A second connection of the test's own.
    pub(crate) async fn again(&self) -> Self {
        Self { connection: connect(&self.url).await, url: self.url.clone() }
    }

    /// The URL for another user.
    pub(crate) fn url_of(&self, user: &str, password: &str) -> String {
        let (_, host) = self.url.rsplit_once('@').expect("the URL has a user");
        format!("postgres://{user}:{password}@{host}")
    }

    /// Runs statements.
    pub(crate) async fn run(&mut self, sql: &str) {
        let run = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.connection);
        if let Err(error) = run.await {
            panic!("{sql}: {error}");
        }
    }

    /// Rows of a query as PostgreSQL writes them, cells parted by `|`, null as `–`.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.connection);
        let rows = rows.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let cell = |row: &sqlx::postgres::PgRow, column| {
            let text: Option<String> = row.try_get_unchecked(column).expect("it came as text");
            text.unwrap_or_else(|| "–".to_owned())
        };
        rows.iter()
            .map(|row| (0..row.len()).map(|column| cell(row, column)).collect::<Vec<_>>().join("|"))
            .collect()
    }

    /// Fails unless the query gives exactly these rows.
    pub(crate) async fn check(&mut self, sql: &str, expected: &[&str]) {
        assert_eq!(self.rows(sql).await, expected, "{sql}");
    }

    /// Waits until the query gives a row.
    pub(crate) async fn wait_for(&mut self, sql: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.rows(sql).await.is_empty() {
            assert!(Instant::now() < deadline, "{sql} gave no row in {PATIENCE:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Cuts the connections of all sinks to this database.
    pub(crate) async fn cut_sinks(&mut self) {
        let sinks = "FROM pg_stat_activity \
                     WHERE application_name = 'thalweg' AND datname = current_database()";
        self.run(&format!("SELECT pg_terminate_backend(pid) {sinks}")).await;
        self.wait_for(&format!("SELECT 1 WHERE NOT EXISTS (SELECT 1 {sinks})")).await;
    }
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the server accepts connections")
}
