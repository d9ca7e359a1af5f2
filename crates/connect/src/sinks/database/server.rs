//! What sinks need of a database server, and each kind of server does its own way; and the nouns
//! they share: a table's name, its place, its columns.
//!
//! Invariant: in SQL text every identifier is quoted by the server's own rule and every value is a
//! parameter.
//!
//! When rows are written and the stamp moves is decided in [`super`], not here.

use std::fmt;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use thalweg_core::{Error, Result};

use super::kind::Kind;

/// One kind of server at one address. Facts, and the way in.
#[async_trait]
pub(in crate::sinks) trait Server: Send + Sync {
    /// What it is called in messages.
    fn name(&self) -> &'static str;

    /// What is wrong with a name of a schema, table or column, as the rest of a sentence.
    fn name_problem(&self, name: &str) -> Option<String>;

    /// Whether columns can be of this kind.
    fn has(&self, kind: Kind) -> bool;

    /// Brings a column in the type [`Kind::staged`] to values that the server has a place for; also
    /// how many had to be changed for that.
    ///
    /// # Errors
    ///
    /// A clause about the first value that has no place and none near it.
    fn place(&self, kind: Kind, values: ArrayRef) -> Result<(ArrayRef, usize), String>;

    /// Connects and logs in.
    async fn connect(&self) -> Result<Box<dyn Session>>;
}

/// One connection: transactions, locks, statements. Every wait has a deadline; a session that has
/// seen an error is dropped by its owner, never used again.
#[async_trait]
pub(in crate::sinks) trait Session: Tables {
    /// Begins a transaction in which a commit will last, with time limits.
    async fn begin(&mut self) -> Result<()>;

    /// Commits. After an error the outcome is not known, except when the server itself refused.
    async fn commit(&mut self) -> Result<()>;

    /// Waits until no other writer of `pipeline` is at work on the target, and keeps others away
    /// until the transaction ends. Nothing where the lock of the stamp's row does that.
    async fn hold(&mut self, _target: &Target, _pipeline: &str) -> Result<()> {
        Ok(())
    }

    /// Keeps others from making tables in the target's schema until the transaction ends; taken
    /// after [`hold`](Self::hold), which may wait for long. Nothing where making a table that is
    /// there already is an error that passes.
    async fn hold_schema(&mut self, _target: &Target) -> Result<()> {
        Ok(())
    }

    /// Runs a statement and returns the number of rows the server reports.
    async fn execute(&mut self, doing: &str, sql: Sql) -> Result<u64>;

    /// Runs a query of few rows.
    async fn fetch(&mut self, doing: &str, sql: Sql) -> Result<Vec<Vec<Value>>>;
}

/// Tables, as one connection finds, makes and fills them.
#[async_trait]
pub(in crate::sinks) trait Tables: Send + Sync {
    /// The rules SQL text is written by.
    fn dialect(&self) -> Dialect;

    /// The schema of a bare table name.
    ///
    /// # Errors
    ///
    /// `Invalid` when the connection has none.
    async fn current_schema(&mut self) -> Result<String>;

    /// Whether there is a table of this name; `Invalid` when something else has the name.
    async fn find(&mut self, target: &Target) -> Result<bool>;

    /// Makes the table; `key` is its primary key, none when empty. Where making a table ends the
    /// transaction, another one is begun.
    async fn create(
        &mut self,
        target: &Target,
        columns: &[TargetColumn],
        key: &[String],
    ) -> Result<()>;

    /// What keeps rows of these columns, with this key, from fitting the table; each as a clause.
    async fn differences(
        &mut self,
        target: &Target,
        columns: &[TargetColumn],
        key: &[String],
    ) -> Result<Vec<String>>;

    /// Adds the rows of a chunk, in columns of [`Kind::staged`]; with a key, replaces rows that
    /// have it. Returns the rows the server reports.
    async fn insert(
        &mut self,
        target: &Target,
        columns: &[TargetColumn],
        key: &[String],
        rows: &RecordBatch,
    ) -> Result<u64>;

    /// Deletes the rows with the keys of a chunk, whose columns are the key's.
    async fn delete(
        &mut self,
        target: &Target,
        key: &[TargetColumn],
        rows: &RecordBatch,
    ) -> Result<()>;
}

/// How a server writes what SQL leaves open.
#[derive(Clone, Copy)]
pub(in crate::sinks) struct Dialect {
    /// An identifier, quoted.
    pub(in crate::sinks) quoted: fn(&str) -> String,
    /// The parameter of this number, from 1.
    pub(in crate::sinks) parameter: fn(usize) -> String,
    /// What stands before and after `INTO … VALUES …` for a row that is left out when its key is
    /// there.
    pub(in crate::sinks) insert_new: (&'static str, &'static str),
}

/// A statement in parts: text, and values in the order in which their parameters stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks) struct Sql {
    pub(in crate::sinks) text: String,
    pub(in crate::sinks) values: Vec<Value>,
}

/// A value of a statement or of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks) enum Value {
    Text(String),
    Number(i64),
}

impl Sql {
    /// Puts parameters for `values` where `text` has a `?`; no identifier may be in `text`, they
    /// stand in `verb`.
    pub(in crate::sinks) fn new(
        dialect: Dialect,
        verb: String,
        text: &str,
        values: Vec<Value>,
    ) -> Self {
        let mut sql = verb;
        for (number, part) in text.split('?').enumerate() {
            if number > 0 {
                sql.push_str(&(dialect.parameter)(number));
            }
            sql.push_str(part);
        }
        Self { text: sql, values }
    }

    /// A statement without values.
    pub(in crate::sinks) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }
}

/// A table's name as the configuration gives it: `table` or `schema.table`, taken as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks) struct TableName {
    schema: Option<String>,
    table: String,
}

impl TableName {
    pub(in crate::sinks) fn parse(text: &str, server: &dyn Server) -> Result<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let (schema, table) = match parts.as_slice() {
            [table] => (None, *table),
            [schema, table] => (Some((*schema).to_owned()), *table),
            parts => {
                return Err(Error::invalid(format!("`{text}` is not a table or schema.table"))
                    .with_detail(format!("It has {} parts.", parts.len())));
            }
        };
        for part in schema.as_deref().into_iter().chain([table]) {
            if let Some(problem) = server.name_problem(part) {
                return Err(Error::invalid(format!("`{text}` cannot name a table"))
                    .with_detail(format!("The part `{part}` {problem}.")));
            }
        }
        Ok(Self { schema, table: table.to_owned() })
    }

    /// The table in its schema; a bare name is in the connection's own.
    pub(in crate::sinks) async fn resolve(&self, session: &mut dyn Session) -> Result<Target> {
        let schema = match &self.schema {
            Some(schema) => schema.clone(),
            None => session.current_schema().await?,
        };
        Ok(Target { schema, table: self.table.clone() })
    }
}

/// A column rows have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks) struct TargetColumn {
    pub(in crate::sinks) name: String,
    pub(in crate::sinks) kind: Kind,
    pub(in crate::sinks) nullable: bool,
}

/// A table in its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks) struct Target {
    pub(in crate::sinks) schema: String,
    pub(in crate::sinks) table: String,
}

impl Target {
    /// The qualified name for SQL text.
    pub(in crate::sinks) fn sql(&self, dialect: Dialect) -> String {
        format!("{}.{}", (dialect.quoted)(&self.schema), (dialect.quoted)(&self.table))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// `item, item, …`
pub(in crate::sinks) fn list<T>(items: &[T], write: impl Fn(&T) -> String) -> String {
    items.iter().map(write).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sinks::postgres;

    #[test]
    fn a_table_name_has_one_part_or_two() {
        check_name("trades", true);
        check_name("lake.Trades by day", true);
        check_name("", false);
        check_name("lake.", false);
        check_name("a.b.c", false);
        check_name("nul\0", false);
        check_name(&"x".repeat(63), true);
        check_name(&"x".repeat(64), false);
    }

    #[track_caller]
    fn check_name(text: &str, valid: bool) {
        let server = postgres::server("postgres://localhost/db", Duration::ZERO, Duration::ZERO);
        let server = server.expect("a URL");
        assert_eq!(TableName::parse(text, server.as_ref()).is_ok(), valid, "{text:?}");
    }

    #[test]
    fn a_parameter_stands_for_each_value() {
        let numbered = Dialect {
            quoted: str::to_owned,
            parameter: |number| format!("${number}"),
            insert_new: ("INSERT", ""),
        };
        let sql = Sql::new(numbered, "UPDATE a? ".to_owned(), "SET b = ? WHERE c = ?", Vec::new());
        assert_eq!(sql.text, "UPDATE a? SET b = $1 WHERE c = $2");
    }
}
