//! One connection to a PostgreSQL server: deadlines, transactions, and what its errors mean.
//!
//! Invariants: every wait has a deadline, the server's (`statement_timeout`) and a later one of our
//! own for a server that fell silent; no error, log line or `Debug` shows the password; a session
//! that has seen an error is dropped by its owner, never used again.
//!
//! What is asked of the server is in [`super::target`] and [`super::stamps`].

use std::future::Future;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Postgres};
use thalweg_core::{Error, ErrorKind, Result, problem};
use url::Url;

/// A statement with its arguments bound.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

/// How much longer than the server's own limit we wait for its answer.
const SILENCE: Duration = Duration::from_secs(5);

/// Where the server is and how long we wait for it.
pub(super) struct Server {
    options: PgConnectOptions,
    address: String,
    connect_timeout: Duration,
    statement_timeout: Duration,
}

impl Server {
    /// Reads the URL; the error never shows it.
    pub(super) fn new(
        url: &str,
        connect_timeout: Duration,
        statement_timeout: Duration,
    ) -> Result<Self> {
        let options = options(url)?;
        let address = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Ok(Self { options, address, connect_timeout, statement_timeout })
    }

    /// Connects and logs in.
    pub(super) async fn connect(&self) -> Result<Session> {
        let connecting = PgConnection::connect_with(&self.options);
        let connection = within(self.connect_timeout, &self.address, "connecting", connecting);
        Ok(Session {
            connection: connection.await?,
            address: self.address.clone(),
            statement_timeout: self.statement_timeout,
        })
    }
}

/// An open connection.
pub(super) struct Session {
    connection: PgConnection,
    address: String,
    statement_timeout: Duration,
}

impl Session {
    /// Begins a transaction whose statements have a time limit.
    ///
    /// A role may have turned `synchronous_commit` off; then a crash of the server could forget a
    /// commit we were told of, so it is turned on.
    pub(super) async fn begin(&mut self) -> Result<()> {
        let limit_ms = self.statement_timeout.as_millis();
        let begin = sqlx::raw_sql(AssertSqlSafe(format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
             SET LOCAL statement_timeout = {limit_ms}; \
             SET LOCAL lock_timeout = {limit_ms}; \
             SET LOCAL idle_in_transaction_session_timeout = {limit_ms}; \
             SELECT set_config('synchronous_commit', 'on', true) \
             WHERE current_setting('synchronous_commit') = 'off'"
        )));
        let limit = self.statement_timeout + SILENCE;
        let began = begin.execute(&mut self.connection);
        within(limit, &self.address, "beginning a transaction", began).await.map(drop)
    }

    /// Commits. After an error the outcome is not known, except when the server itself refused.
    pub(super) async fn commit(&mut self) -> Result<()> {
        let limit = self.statement_timeout + SILENCE;
        let committed = sqlx::raw_sql("COMMIT").execute(&mut self.connection);
        match within(limit, &self.address, "committing", committed).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::Unavailable => Err(error
                .with_detail("Whether the commit took place is not known; the stamp will tell.")),
            Err(error) => Err(error),
        }
    }

    /// Runs a statement and returns the number of rows the server reports.
    pub(super) async fn execute(&mut self, doing: &str, statement: Statement) -> Result<u64> {
        let limit = self.statement_timeout + SILENCE;
        let executed = statement.execute(&mut self.connection);
        Ok(within(limit, &self.address, doing, executed).await?.rows_affected())
    }

    /// Runs a query of few rows.
    pub(super) async fn fetch(&mut self, doing: &str, statement: Statement) -> Result<Vec<PgRow>> {
        let limit = self.statement_timeout + SILENCE;
        let fetched = statement.fetch_all(&mut self.connection);
        within(limit, &self.address, doing, fetched).await
    }

    /// Turns a column of a fetched row that did not decode into an error.
    pub(super) fn misread(error: sqlx::Error) -> Error {
        Error::internal("PostgreSQL's catalog has an unexpected shape").with_source(error)
    }

    /// Takes the lock named `name` until the transaction ends. Statements after this one see what
    /// earlier holders committed.
    pub(super) async fn lock(&mut self, name: String) -> Result<()> {
        let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(name);
        self.execute("waiting for another writer", lock).await.map(drop)
    }
}

/// Waits for an answer, for a time.
async fn within<T>(
    limit: Duration,
    address: &str,
    doing: &str,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| fold(address, doing, error)),
        Err(_) => Err(Error::unavailable(format!("PostgreSQL at {address} does not answer"))
            .with_detail(format!("It was silent for {} s while {doing}.", limit.as_secs_f32()))),
    }
}

/// Says what an error means for the caller.
fn fold(address: &str, doing: &str, error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast::<PgDatabaseError>() {
            Ok(error) => refused(address, doing, *error),
            Err(error) => {
                Error::unavailable(format!("PostgreSQL at {address} failed while {doing}"))
                    .with_source(error.into_error())
            }
        },
        sqlx::Error::Tls(error) => {
            Error::unavailable(format!("cannot speak TLS with PostgreSQL at {address}"))
                .with_hint("The URL's `sslmode` and `sslrootcert` say what is asked of the server.")
                .with_source(error)
        }
        sqlx::Error::Encode(error) => {
            Error::internal(format!("cannot encode a row for PostgreSQL while {doing}"))
                .with_source(error)
        }
        error => {
            Error::unavailable(format!("no connection to PostgreSQL at {address} while {doing}"))
                .with_hint("Check that the server runs and accepts connections there.")
                .with_source(error)
        }
    }
}

/// Says what an error of the server itself means: a person must act on a wrong login, a missing
/// object or right, and a row that does not fit; all else can pass.
///
/// Codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn refused(address: &str, doing: &str, error: PgDatabaseError) -> Error {
    let (kind, hint) = match error.code() {
        "28P01" | "28000" => (ErrorKind::Invalid, Some("Check the user and password of the URL.")),
        "3D000" => (ErrorKind::Invalid, Some("Create the database, or correct the URL.")),
        "3F000" => (ErrorKind::Invalid, Some("Create the schema, or correct the table's name.")),
        "42501" => (ErrorKind::Invalid, Some("Grant the user of the URL the right to do this.")),
        code => match code.get(..2) {
            Some("0A" | "22" | "23" | "28" | "42") => (ErrorKind::Invalid, None),
            _ => (ErrorKind::Unavailable, None),
        },
    };
    let mut folded = Error::new(kind, format!("PostgreSQL at {address} refused while {doing}"));
    folded.detail = error.detail().map(str::to_owned);
    folded.hint = hint.or(error.hint()).map(str::to_owned);
    folded.with_source(error)
}

/// Keys a connection URL may have after the `?`.
const URL_KEYS: [&str; 8] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "application_name", "options"];

/// Reads a connection URL. An unescaped `?`, `#` or `@` of a password moves the rest of it into
/// another part of the URL, so no part is ever shown, nor handed to a library that might log it.
fn options(url: &str) -> Result<PgConnectOptions> {
    let wrong = |detail: &str| {
        Error::invalid("the PostgreSQL URL cannot be read").with_detail(detail).with_hint(
            "It has the form postgres://user:password@host:5432/database; in the password, write \
             `%40` for `@`, `%2F` for `/`, `%3F` for `?` and `%23` for `#`.",
        )
    };
    let parsed = Url::parse(url).map_err(|error| wrong(&format!("It has an {error}.")))?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err(wrong("It does not begin with postgres://."));
    }
    if parsed.fragment().is_some() {
        return Err(wrong("It has a `#`."));
    }
    for (key, _) in parsed.query_pairs() {
        if !URL_KEYS.contains(&&*key) {
            let nearest = problem::nearest(&key, URL_KEYS);
            let meant = nearest.map(|name| format!(" Did you mean `{name}`?")).unwrap_or_default();
            return Err(wrong(&format!("It has an unknown parameter after the `?`.{meant}")));
        }
    }
    let options = PgConnectOptions::from_url(&parsed).map_err(|_| {
        wrong("A parameter after the `?` has a wrong value, or an escape is wrong.")
    })?;
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("thalweg"),
    };
    Ok(options.disable_statement_logging())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_explained_without_being_shown() {
        check("postgres://u:s3cret@localhost:5433/db?sslmode=disable", Ok("localhost:5433"));
        check("postgresql://u@db.example.com:6432/db", Ok("db.example.com:6432"));
        check("mysql://u:s3cret@localhost/db", Err("does not begin with postgres://"));
        check("postgres://u:s3?cret@localhost/db", Err("invalid port"));
        check("postgres://u:12?s3cret@localhost/db", Err("unknown parameter"));
        check("postgres://u:12#s3cret@localhost/db", Err("`#`"));
        check("postgres://u@localhost/db?ssl_mode=require", Err("did you mean `sslmode`"));
        check("postgres://u@localhost/db?sslmode=s3cret", Err("wrong value"));
        check("s3cret", Err("relative URL without a base"));
    }

    #[track_caller]
    fn check(url: &str, expected: Result<&str, &str>) {
        match (Server::new(url, SILENCE, SILENCE), expected) {
            (Ok(server), Ok(address)) => assert_eq!(server.address, address),
            (Err(error), Err(part)) => {
                let text = format!("{} {error:?}", error.chain());
                assert!(text.to_lowercase().contains(&part.to_lowercase()), "{part:?} in {text}");
                assert!(!text.contains("cret"), "{text}");
                assert_eq!(error.kind, ErrorKind::Invalid);
            }
            (Ok(_), Err(part)) => panic!("{url:?} is taken, not refused for {part:?}"),
            (Err(error), Ok(_)) => panic!("{}", error.chain()),
        }
    }
}
