//! A PostgreSQL server for the tests, from `tests/services/postgres.sh`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::support::{block_on, root};

fn script() -> Command {
    let mut script = Command::new(root().join("tests/services/postgres.sh"));
    script.stdin(Stdio::null());
    script
}

/// A server that stops when this process ends: the script waits for the end of its stdin.
struct Server {
    url: String,
    _script: Child,
}

impl Server {
    /// The server that all tests share.
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| {
            let mut script = script();
            script.arg("run").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut script = script.spawn().expect("postgres.sh can be run");
            let output = script.stdout.take().expect("stdout is piped");
            let mut url = String::new();
            BufReader::new(output).read_line(&mut url).expect("postgres.sh prints a line");
            assert!(url.starts_with("postgres://"), "postgres.sh says why there is no server");
            Self { url: url.trim_end().to_owned(), _script: script }
        })
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

    /// The database that it has from the start.
    pub(crate) fn database(&self) -> Database {
        Database { url: self.url.clone() }
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
        if let Ok(mut stopping) = script().arg("stop").arg(self.folder.path()).spawn() {
            let _ = stopping.wait();
        }
    }
}

/// A database.
pub(crate) struct Database {
    pub(crate) url: String,
}

impl Database {
    /// An empty one in the shared server.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = Self { url: Server::shared().url.clone() };
        server.rows(&format!("CREATE DATABASE {name}"));
        let (host, _) = server.url.rsplit_once('/').expect("the URL names a database");
        Self { url: format!("{host}/{name}") }
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
