//! One connection to a PostgreSQL server: deadlines, transactions, and what its errors mean.
//!
//! Invariants: every wait has a deadline, the server's (`statement_timeout`) and a later one of our
//! own for a server that fell silent; no error, log line or `Debug` shows the password; a session
//! that has seen an error is dropped by its owner, never used again.
//!
//! Tables and rows are in [`super::target`].

use std::time::Duration;

use arrow::array::ArrayRef;
use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgRow};
use sqlx::query::Query;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Postgres, Row as _,
    TypeInfo as _,
};
use thalweg_core::{Error, ErrorKind, Result};

use super::types;
use crate::sinks::database::address::{SILENCE, UrlForm, is_tls, within};
use crate::sinks::database::kind::Kind;
use crate::sinks::database::server::{Server, Session, Sql, Target, Value};

/// A statement with its arguments bound.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

/// What it is called.
const NAME: &str = "PostgreSQL";

/// Longest name PostgreSQL keeps, in bytes; it cuts longer ones without an error.
const NAME_BYTES_MAX: usize = 63;

const URL: UrlForm = UrlForm {
    name: NAME,
    schemes: &["postgres", "postgresql"],
    port: 5432,
    keys: &[
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "host",
        "port",
        "application_name",
        "options",
    ],
};

/// Where the server is and how long we wait for it.
pub(super) struct PostgresServer {
    options: PgConnectOptions,
    address: String,
    connect_timeout: Duration,
    statement_timeout: Duration,
}

impl PostgresServer {
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
}

#[async_trait]
impl Server for PostgresServer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn name_problem(&self, name: &str) -> Option<String> {
        match name {
            "" => Some("is empty".to_owned()),
            name if name.contains('\0') => Some("contains NUL".to_owned()),
            name if name.len() > NAME_BYTES_MAX => {
                Some(format!("is longer than the {NAME_BYTES_MAX} bytes PostgreSQL keeps"))
            }
            _ => None,
        }
    }

    fn has(&self, _kind: Kind) -> bool {
        true
    }

    fn place(&self, kind: Kind, values: ArrayRef) -> Result<(ArrayRef, usize), String> {
        Ok(types::place(kind, values))
    }

    async fn connect(&self) -> Result<Box<dyn Session>> {
        let connecting = PgConnection::connect_with(&self.options);
        let place = (NAME, self.address.as_str());
        let connection = within(self.connect_timeout, place, "connecting", connecting, fold);
        Ok(Box::new(PostgresSession {
            connection: connection.await?,
            address: self.address.clone(),
            statement_timeout: self.statement_timeout,
        }))
    }
}

/// An open connection.
pub(super) struct PostgresSession {
    connection: PgConnection,
    address: String,
    statement_timeout: Duration,
}

impl PostgresSession {
    /// Runs a statement and returns the number of rows the server reports.
    pub(super) async fn run(&mut self, doing: &str, statement: Statement) -> Result<u64> {
        let limit = self.statement_timeout + SILENCE;
        let executed = statement.execute(&mut self.connection);
        Ok(within(limit, (NAME, &self.address), doing, executed, fold).await?.rows_affected())
    }

    /// Runs a query of few rows.
    pub(super) async fn rows(&mut self, doing: &str, statement: Statement) -> Result<Vec<PgRow>> {
        let limit = self.statement_timeout + SILENCE;
        let fetched = statement.fetch_all(&mut self.connection);
        within(limit, (NAME, &self.address), doing, fetched, fold).await
    }

    /// Turns a column of a fetched row that did not decode into an error.
    pub(super) fn misread(error: sqlx::Error) -> Error {
        Error::internal("PostgreSQL's catalog has an unexpected shape").with_source(error)
    }

    /// Takes the lock named `name` until the transaction ends. Statements after this one see what
    /// earlier holders committed.
    async fn lock(&mut self, name: String) -> Result<()> {
        let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(name);
        self.run("waiting for another writer", lock).await.map(drop)
    }
}

#[async_trait]
impl Session for PostgresSession {
    /// A role may have turned `synchronous_commit` off; then a crash of the server could forget a
    /// commit we were told of, so it is turned on.
    async fn begin(&mut self) -> Result<()> {
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
        let place = (NAME, self.address.as_str());
        within(limit, place, "beginning a transaction", began, fold).await.map(drop)
    }

    async fn commit(&mut self) -> Result<()> {
        let limit = self.statement_timeout + SILENCE;
        let committed = sqlx::raw_sql("COMMIT").execute(&mut self.connection);
        match within(limit, (NAME, &self.address), "committing", committed, fold).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::Unavailable => Err(error
                .with_detail("Whether the commit took place is not known; the stamp will tell.")),
            Err(error) => Err(error),
        }
    }

    async fn hold(&mut self, target: &Target, pipeline: &str) -> Result<()> {
        self.lock(format!("thalweg stamp of {target} by {pipeline}")).await
    }

    async fn hold_schema(&mut self, target: &Target) -> Result<()> {
        self.lock(format!("thalweg sinks of {}", target.schema)).await
    }

    async fn execute(&mut self, doing: &str, sql: Sql) -> Result<u64> {
        self.run(doing, bound(sql)).await
    }

    async fn fetch(&mut self, doing: &str, sql: Sql) -> Result<Vec<Vec<Value>>> {
        let rows = self.rows(doing, bound(sql)).await?;
        let cells = |row: &PgRow| (0..row.len()).map(|column| value(row, column)).collect();
        rows.iter().map(cells).collect::<Result<_, _>>().map_err(Self::misread)
    }
}

fn value(row: &PgRow, column: usize) -> Result<Value, sqlx::Error> {
    match row.column(column).type_info().name() {
        "INT8" => row.try_get(column).map(Value::Number),
        _ => row.try_get(column).map(Value::Text),
    }
}

fn bound(sql: Sql) -> Statement {
    let mut statement = sqlx::query(AssertSqlSafe(sql.text));
    for value in sql.values {
        statement = match value {
            Value::Text(text) => statement.bind(text),
            Value::Number(number) => statement.bind(number),
        };
    }
    statement
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
        error if is_tls(&error) => {
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

/// Reads a connection URL.
fn options(url: &str) -> Result<PgConnectOptions> {
    let parsed = URL.read(url)?;
    let options = PgConnectOptions::from_url(&parsed).map_err(|_| {
        URL.wrong("A parameter after the `?` has a wrong value, or an escape is wrong.")
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
        match (PostgresServer::new(url, SILENCE, SILENCE), expected) {
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
