//! Databases for the tests, of MariaDB or of MySQL, and a way to one that loses answers.
//!
//! The environment variable `THALWEG_MYSQL` says which server it is: `mariadb`, which is the default,
//! or `mysql`. The tests are the same, and where the two differ a test says what each does.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::services::{Restartable, Server};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connections to this database that are not the one that asks.
pub(crate) const OTHERS: &str = "FROM information_schema.PROCESSLIST \
                                 WHERE DB = DATABASE() AND ID <> CONNECTION_ID()";

/// What the server under test makes true of two: the one for MariaDB, or the one for MySQL.
pub(crate) fn per_server<T>(mariadb: T, mysql: T) -> T {
    match std::env::var("THALWEG_MYSQL").as_deref() {
        Err(_) | Ok("mariadb") => mariadb,
        Ok("mysql") => mysql,
        Ok(other) => panic!("THALWEG_MYSQL is `mariadb` or `mysql`, not `{other}`"),
    }
}

/// The collation of tables made here, in which all texts differ.
pub(crate) fn exact_collation() -> &'static str {
    per_server("utf8mb4_nopad_bin", "utf8mb4_0900_bin")
}

fn script() -> &'static str {
    per_server("mariadb.sh", "mysql.sh")
}

pub(crate) fn restartable() -> Restartable {
    Restartable::start(script())
}

/// A database, and a connection of the test's own to it.
pub(crate) struct Database {
    pub(crate) url: String,
    connection: MySqlConnection,
}

impl Database {
    /// The database of one test in the server that all tests share.
    pub(crate) async fn shared() -> Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        Self::make(&SHARED.get_or_init(|| Server::start(script())).url).await
    }

    /// Makes an empty database.
    pub(crate) async fn make(server_url: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = connect(server_url).await;
        let create = sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")));
        create.execute(&mut connection).await.expect("the user may make databases");
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
        format!("mysql://{user}:{password}@{host}")
    }

    /// Runs statements.
    pub(crate) async fn run(&mut self, sql: &str) {
        let run = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.connection);
        if let Err(error) = run.await {
            panic!("{sql}: {error}");
        }
    }

    /// Rows of a query, in the protocol's binary form.
    pub(crate) async fn binary(&mut self, sql: &str) -> Vec<MySqlRow> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.connection);
        rows.await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Rows of a query as the server writes them, cells parted by `|`, null as `–`.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.connection);
        let rows = rows.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let cell = |row: &MySqlRow, column| {
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
        for id in self.rows(&format!("SELECT ID {OTHERS}")).await {
            self.run(&format!("KILL CONNECTION {id}")).await;
        }
        self.wait_for(&format!("SELECT 1 FROM DUAL WHERE NOT EXISTS (SELECT 1 {OTHERS})")).await;
    }
}

async fn connect(url: &str) -> MySqlConnection {
    MySqlConnection::connect(url).await.expect("the server accepts connections")
}

/// A way to a server on which the answer to the second `COMMIT` of a connection is lost, and the
/// connection with it: the first ends the opening of a sink. Returns the URL to use.
#[expect(clippy::disallowed_methods, reason = "what a test starts ends with its runtime")]
pub(crate) async fn losing_commits(url: &str) -> String {
    let (user, place) = url.rsplit_once('@').expect("the URL has a user");
    let (address, name) = place.rsplit_once('/').expect("the URL has a database");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let own = listener.local_addr().expect("it is bound");
    let address = address.to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&address).await.expect("the server is there");
            tokio::spawn(pass_on(client, server));
        }
    });
    format!("{user}@{own}/{name}?ssl-mode=DISABLED")
}

/// Passes bytes on, up to the answer to the second `COMMIT`.
async fn pass_on(mut client: TcpStream, mut server: TcpStream) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut commits = 0;
    loop {
        tokio::select! {
            count = client.read(&mut asked) => {
                let Ok(count @ 1..) = count else { return };
                if server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
                commits += asked[..count].windows(7).filter(|text| text == b"COMMIT;").count();
                if commits == 2 {
                    // Once the server answers, it has committed.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            count = server.read(&mut answered) => {
                let Ok(count @ 1..) = count else { return };
                if client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
