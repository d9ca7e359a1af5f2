//! One connection to a MySQL or MariaDB server: deadlines, transactions, and what its errors mean.
//!
//! Invariants: every wait has a deadline, for a lock the server's and a later one of our own for a
//! server that fell silent; the server ends a transaction whose client fell silent; the session is
//! strict, in UTC and in `utf8mb4`, whatever the server's defaults; no error, log line or `Debug`
//! shows the password; a session that has seen an error is dropped by its owner, never used again.
//!
//! Tables and rows are in [`super::target`].

use std::time::Duration;

use arrow::array::ArrayRef;
use async_trait::async_trait;
use sqlx::mysql::{
    MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow,
};
use sqlx::query::Query;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, MySql, Row as _,
    TypeInfo as _,
};
use thalweg_core::{Error, ErrorKind, Result};

use super::types;
use crate::sinks::database::address::{SILENCE, UrlForm, is_tls, within};
use crate::sinks::database::kind::Kind;
use crate::sinks::database::server::{Server, Session, Sql, Value};

/// A statement with its arguments bound.
pub(super) type Statement = Query<'static, MySql, MySqlArguments>;

/// What it is called; MariaDB is meant too.
const NAME: &str = "MySQL";

/// Longest name, in characters.
const NAME_CHARACTERS_MAX: usize = 64;

/// What to do where a server takes no table without a primary key.
const KEYLESS_HINT: &str = "Make the table yourself, with a primary key that counts by itself, such \
                            as `id bigint AUTO_INCREMENT PRIMARY KEY`.";

/// Collations of `utf8mb4` in which texts are equal only if they are the same, trailing spaces
/// included: MySQL's and MariaDB's.
pub(super) const EXACT_COLLATIONS: [&str; 2] = ["utf8mb4_0900_bin", "utf8mb4_nopad_bin"];

const URL: UrlForm = UrlForm {
    name: NAME,
    schemes: &["mysql", "mariadb"],
    port: 3306,
    keys: &["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"],
};

/// Where the server is and how long we wait for it.
pub(super) struct MysqlServer {
    options: MySqlConnectOptions,
    address: String,
    connect_timeout: Duration,
    statement_timeout: Duration,
}

impl MysqlServer {
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
impl Server for MysqlServer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn name_problem(&self, name: &str) -> Option<String> {
        match name {
            "" => Some("is empty".to_owned()),
            name if name.contains('\0') => Some("contains NUL".to_owned()),
            name if name.ends_with(' ') => Some("ends in a space".to_owned()),
            name if name.chars().any(|it| it > '\u{FFFF}') => {
                Some("has a character beyond U+FFFF, which MySQL takes in no name".to_owned())
            }
            name if name.chars().count() > NAME_CHARACTERS_MAX => {
                Some(format!("is longer than the {NAME_CHARACTERS_MAX} characters MySQL takes"))
            }
            _ => None,
        }
    }

    fn has(&self, kind: Kind) -> bool {
        types::has(kind)
    }

    fn place(&self, kind: Kind, values: ArrayRef) -> Result<(ArrayRef, usize), String> {
        match types::without_place(kind, &values) {
            None => Ok((values, 0)),
            Some(clause) => Err(clause),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Session>> {
        let connecting = MySqlConnection::connect_with(&self.options);
        let place = (NAME, self.address.as_str());
        let connection = within(self.connect_timeout, place, "connecting", connecting, fold);
        let mut session = MysqlSession {
            connection: connection.await?,
            address: self.address.clone(),
            statement_timeout: self.statement_timeout,
            collation: String::new(),
        };
        session.prepare().await?;
        Ok(Box::new(session))
    }
}

/// An open connection.
pub(super) struct MysqlSession {
    connection: MySqlConnection,
    address: String,
    statement_timeout: Duration,
    /// Which of [`EXACT_COLLATIONS`] the server has.
    pub(super) collation: String,
}

impl MysqlSession {
    /// Makes the session strict, and looks at how the server is set.
    async fn prepare(&mut self) -> Result<()> {
        let limit_s = seconds(self.statement_timeout);
        self.script(
            "setting the session up",
            format!(
                "SET SESSION autocommit = 1, innodb_lock_wait_timeout = {limit_s}, \
                 lock_wait_timeout = {limit_s}, sql_mode = 'STRICT_ALL_TABLES,\
                 NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE'"
            ),
        )
        .await?;
        let [ours, theirs] = EXACT_COLLATIONS;
        let query = sqlx::query(
            "SELECT COLLATION_NAME FROM information_schema.COLLATIONS \
             WHERE COLLATION_NAME IN (?, ?)",
        );
        let rows = self.rows("reading the collations", query.bind(ours).bind(theirs)).await?;
        let Some(row) = rows.first() else {
            return Err(Error::invalid(format!("MySQL at {} is too old", self.address))
                .with_detail(
                    "It has no collation in which texts are equal only if they are the same.",
                )
                .with_hint("MySQL 8.0.17 and MariaDB 10.2 have one, and all after them."));
        };
        self.collation = text(row, 0)?;
        let query = sqlx::query("SHOW GLOBAL VARIABLES LIKE 'innodb_flush_log_at_trx_commit'");
        let rows = self.rows("reading a setting", query).await?;
        let setting = rows.first().map(|row| text(row, 1)).transpose()?;
        if setting.is_some_and(|setting| setting != "1") {
            tracing::warn!(
                address = self.address,
                "a crash of this server can forget a commit it has answered: \
                 innodb_flush_log_at_trx_commit is not 1"
            );
        }
        Ok(())
    }

    /// Runs a statement and returns the number of rows the server reports.
    pub(super) async fn run(&mut self, doing: &str, statement: Statement) -> Result<u64> {
        let limit = self.statement_timeout + SILENCE;
        let executed = statement.execute(&mut self.connection);
        Ok(within(limit, (NAME, &self.address), doing, executed, fold).await?.rows_affected())
    }

    /// Runs a query of few rows.
    pub(super) async fn rows(
        &mut self,
        doing: &str,
        statement: Statement,
    ) -> Result<Vec<MySqlRow>> {
        let limit = self.statement_timeout + SILENCE;
        let fetched = statement.fetch_all(&mut self.connection);
        within(limit, (NAME, &self.address), doing, fetched, fold).await
    }

    /// Runs statements without parameters.
    async fn script(&mut self, doing: &str, statements: String) -> Result<()> {
        let limit = self.statement_timeout + SILENCE;
        let executed = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut self.connection);
        within(limit, (NAME, &self.address), doing, executed, fold).await.map(drop)
    }
}

#[async_trait]
impl Session for MysqlSession {
    /// While the transaction lasts the server gives a silent client up after the time limit, and
    /// with it its locks; between transactions it waits as long as it always does.
    async fn begin(&mut self) -> Result<()> {
        let silence_s = seconds(self.statement_timeout + SILENCE);
        self.script(
            "beginning a transaction",
            format!(
                "SET SESSION wait_timeout = {silence_s}; \
                 SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ WRITE"
            ),
        )
        .await
    }

    async fn commit(&mut self) -> Result<()> {
        let committing = "COMMIT; SET SESSION wait_timeout = DEFAULT".to_owned();
        match self.script("committing", committing).await {
            Err(error) if error.kind == ErrorKind::Unavailable => Err(error
                .with_detail("Whether the commit took place is not known; the stamp will tell.")),
            outcome => outcome,
        }
    }

    async fn execute(&mut self, doing: &str, sql: Sql) -> Result<u64> {
        self.run(doing, bound(sql)).await
    }

    async fn fetch(&mut self, doing: &str, sql: Sql) -> Result<Vec<Vec<Value>>> {
        let rows = self.rows(doing, bound(sql)).await?;
        rows.iter().map(|row| (0..row.len()).map(|column| value(row, column)).collect()).collect()
    }
}

fn seconds(time: Duration) -> u64 {
    time.as_secs_f64().ceil().max(1.0) as u64
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

fn value(row: &MySqlRow, column: usize) -> Result<Value> {
    match row.column(column).type_info().name() {
        "BIGINT" => row.try_get(column).map(Value::Number).map_err(misread),
        _ => text(row, column).map(Value::Text),
    }
}

/// A text of a row; catalogs call some of theirs bytes.
pub(super) fn text(row: &MySqlRow, column: usize) -> Result<String> {
    row.try_get_unchecked(column).map_err(misread)
}

/// A text of a row that may be missing.
pub(super) fn text_or_null(row: &MySqlRow, column: usize) -> Result<Option<String>> {
    row.try_get_unchecked(column).map_err(misread)
}

/// Turns a column of a fetched row that did not decode into an error.
fn misread(error: sqlx::Error) -> Error {
    Error::internal("MySQL's catalog has an unexpected shape").with_source(error)
}

/// Says what an error means for the caller.
fn fold(address: &str, doing: &str, error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast::<MySqlDatabaseError>() {
            Ok(error) => refused(address, doing, *error),
            Err(error) => Error::unavailable(format!("MySQL at {address} failed while {doing}"))
                .with_source(error.into_error()),
        },
        error if is_tls(&error) => {
            Error::unavailable(format!("cannot speak TLS with MySQL at {address}"))
                .with_hint("The URL's `ssl-mode` and `ssl-ca` say what is asked of the server.")
                .with_source(error)
        }
        sqlx::Error::Encode(error) => {
            Error::internal(format!("cannot encode a row for MySQL while {doing}"))
                .with_source(error)
        }
        sqlx::Error::Configuration(error) if error.to_string().contains("RSA") => {
            Error::invalid(format!("MySQL at {address} wants a log-in over TLS"))
                .with_detail(
                    "The user logs in by `caching_sha2_password` or `sha256_password`, which asks \
                     for the password, and it is not sent without TLS.",
                )
                .with_hint(
                    "Turn TLS on in the server, and take `ssl-mode=DISABLED` out of the URL.",
                )
        }
        error => Error::unavailable(format!("no connection to MySQL at {address} while {doing}"))
            .with_hint("Check that the server runs and accepts connections there.")
            .with_source(error),
    }
}

/// Says what an error of the server itself means: a person must act on a wrong login, a missing
/// object or right, and a row that does not fit; all else can pass.
///
/// Numbers: <https://mariadb.com/kb/en/mariadb-error-codes/> and
/// <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>.
fn refused(address: &str, doing: &str, error: MySqlDatabaseError) -> Error {
    let (kind, hint) = match error.number() {
        // On a socket without TLS, MySQL takes our question for its key for the password.
        1045 if address.contains('/') => (
            ErrorKind::Invalid,
            Some("Check the user and password of the URL, and take `ssl-mode=DISABLED` out of it."),
        ),
        1045 | 1698 => (ErrorKind::Invalid, Some("Check the user and password of the URL.")),
        1049 => (ErrorKind::Invalid, Some("Create the database, or correct the URL.")),
        1044 | 1142 | 1143 | 1227 | 1370 => {
            (ErrorKind::Invalid, Some("Grant the user of the URL the right to do this."))
        }
        // An account that is locked, in MySQL and MariaDB.
        3118 | 4151 => (ErrorKind::Invalid, Some("Unlock the user of the URL.")),
        1820 | 1862 => (ErrorKind::Invalid, Some("Give the user of the URL a new password.")),
        3159 => (
            ErrorKind::Invalid,
            Some("The server wants TLS: take `ssl-mode=DISABLED` out of the URL."),
        ),
        // A limit on sessions, log-ins or statements, which others use up now.
        1203 | 1226 | 1461 => (ErrorKind::Unavailable, None),
        // Somebody else has made the table since we looked.
        1050 => (ErrorKind::Unavailable, None),
        1173 | 3098 | 3750 => (ErrorKind::Invalid, Some(KEYLESS_HINT)),
        1153 => {
            (ErrorKind::Invalid, Some("A value is larger than the server's max_allowed_packet."))
        }
        1364 | 1366 | 3140 | 3819 | 4025 => (ErrorKind::Invalid, None),
        1665 => (ErrorKind::Invalid, Some("Set the server's binlog_format to ROW or MIXED.")),
        _ => match error.code().and_then(|code| code.get(..2)) {
            Some("0A" | "21" | "22" | "23" | "28" | "42") => (ErrorKind::Invalid, None),
            _ => (ErrorKind::Unavailable, None),
        },
    };
    let mut folded = Error::new(kind, format!("MySQL at {address} refused while {doing}"));
    folded.hint = hint.map(str::to_owned);
    folded.with_source(error)
}

/// Reads a connection URL.
fn options(url: &str) -> Result<MySqlConnectOptions> {
    let parsed = URL.read(url)?;
    let options = MySqlConnectOptions::from_url(&parsed).map_err(|_| {
        URL.wrong("A parameter after the `?` has a wrong value, or an escape is wrong.")
    })?;
    Ok(options.disable_statement_logging())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_explained_without_being_shown() {
        check("mysql://u:s3cret@localhost:3307/db?ssl-mode=DISABLED", Ok("localhost:3307"));
        check("mariadb://u@db.example.com/db", Ok("db.example.com:3306"));
        check("mysql://u@localhost/db?socket=/run/x.sock", Ok("/run/x.sock"));
        check("postgres://u:s3cret@localhost/db", Err("does not begin with mysql://"));
        check("mysql://u:s3?cret@localhost/db", Err("invalid port"));
        check("mysql://u:12?s3cret@localhost/db", Err("unknown parameter"));
        check("mysql://u:12#s3cret@localhost/db", Err("`#`"));
        check("mysql://u@localhost/db?sslmode=require", Err("did you mean `ssl-mode`"));
        check("mysql://u@localhost/db?ssl-mode=s3cret", Err("wrong value"));
    }

    #[track_caller]
    fn check(url: &str, expected: Result<&str, &str>) {
        match (MysqlServer::new(url, SILENCE, SILENCE), expected) {
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
