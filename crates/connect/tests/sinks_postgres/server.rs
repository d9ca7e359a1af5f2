//! Servers and databases for the tests.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn script() -> Command {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "..", "tests", "services", "postgres.sh"]
            .iter()
            .collect();
    let mut script = Command::new(path);
    script.stdin(Stdio::null());
    script
}

/// A server that stops when this is dropped or this process ends: the script waits for the end of
/// its stdin.
pub(crate) struct Server {
    url: String,
    script: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut script = script();
        script.arg("run").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().expect("postgres.sh can be run");
        let output = script.stdout.take().expect("stdout is piped");
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url).expect("postgres.sh prints a line");
        assert!(url.starts_with("postgres://"), "postgres.sh says why there is no server");
        Self { url: url.trim_end().to_owned(), script }
    }

    /// The server that all tests share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Makes an empty database.
    pub(crate) async fn database(&self) -> Database {
        Database::make(&self.url).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let status = self.script.wait().expect("the script is our child");
        assert!(status.success() || std::thread::panicking(), "postgres.sh could not stop");
    }
}

/// A server that can be stopped and started again, with the same URL.
pub(crate) struct Restartable {
    folder: tempfile::TempDir,
    url: String,
}

impl Restartable {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
        let mut server = Self { folder, url: String::new() };
        server.url = server.run("start");
        server
    }

    pub(crate) fn stop(&self) {
        self.run("stop");
    }

    pub(crate) fn start_again(&self) {
        assert_eq!(self.run("start"), self.url);
    }

    pub(crate) async fn database(&self) -> Database {
        Database::make(&self.url).await
    }

    /// Connects to a database made before.
    pub(crate) async fn connect_to(&self, name: &str) -> Database {
        Database::connect(&self.url, name).await
    }

    fn run(&self, verb: &str) -> String {
        let output = script().arg(verb).arg(self.folder.path()).stderr(Stdio::inherit()).output();
        let output = output.expect("postgres.sh can be run");
        assert!(output.status.success(), "postgres.sh {verb} says why it failed");
        String::from_utf8(output.stdout).expect("a URL is text").trim_end().to_owned()
    }
}

impl Drop for Restartable {
    fn drop(&mut self) {
        // A second panic would end the process before the first is shown.
        if !std::thread::panicking() {
            self.stop();
        } else if let Ok(mut stopping) = script().arg("stop").arg(self.folder.path()).spawn() {
            let _ = stopping.wait();
        }
    }
}

/// A database, and a connection of the test's own to it.
pub(crate) struct Database {
    pub(crate) url: String,
    connection: PgConnection,
}

impl Database {
    /// The database of one test in the shared server.
    pub(crate) async fn shared() -> Self {
        Server::shared().database().await
    }

    async fn make(server_url: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = connect(server_url).await;
        let create = sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")));
        create.execute(&mut connection).await.expect("a superuser makes databases");
        Self::connect(server_url, &name).await
    }

    async fn connect(server_url: &str, name: &str) -> Self {
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
