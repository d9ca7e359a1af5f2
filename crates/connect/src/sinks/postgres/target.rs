//! The table rows go to: its name, its columns, how it is made or checked, and the statements that
//! write to it.
//!
//! Invariant: every identifier in SQL text went through [`quoted`]; every value is a parameter.

use std::fmt;

use sqlx::postgres::types::Oid;
use sqlx::{AssertSqlSafe, Row as _};
use thalweg_core::{Error, Result};

use super::kind::Kind;
use super::session::Session;

/// Longest name PostgreSQL keeps, in bytes; it cuts longer ones without an error.
const NAME_BYTES_MAX: usize = 63;

/// A table's name as the configuration gives it: `table` or `schema.table`, taken as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableName {
    schema: Option<String>,
    table: String,
}

impl TableName {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let (schema, table) = match parts.as_slice() {
            [table] => (None, *table),
            [schema, table] => (Some((*schema).to_owned()), *table),
            _ => return Err(Error::invalid(format!("`{text}` is not a table or schema.table"))),
        };
        for part in schema.as_deref().into_iter().chain([table]) {
            if let Some(problem) = name_problem(part) {
                return Err(Error::invalid(format!("`{text}` cannot name a table"))
                    .with_detail(format!("The part `{part}` {problem}.")));
            }
        }
        Ok(Self { schema, table: table.to_owned() })
    }

    /// Finds the schema of a bare name: the first of the user's search path.
    pub(super) async fn resolve(&self, session: &mut Session) -> Result<Target> {
        let schema = match &self.schema {
            Some(schema) => schema.clone(),
            None => {
                let query = sqlx::query("SELECT current_schema()::text");
                let rows = session.fetch("looking up the schema", query).await?;
                let schema: Option<String> = match rows.first() {
                    Some(row) => row.try_get(0).map_err(Session::misread)?,
                    None => None,
                };
                schema.ok_or_else(|| {
                    Error::invalid(format!("no schema for table `{}`", self.table)).with_hint(
                        "No schema of the user's search path exists: write `schema.table`.",
                    )
                })?
            }
        };
        Ok(Target { schema, table: self.table.clone() })
    }
}

/// What is wrong with a name of a schema, table or column, as the rest of a sentence.
pub(super) fn name_problem(name: &str) -> Option<String> {
    match name {
        "" => Some("is empty".to_owned()),
        name if name.contains('\0') => Some("contains NUL".to_owned()),
        name if name.len() > NAME_BYTES_MAX => {
            Some(format!("is longer than the {NAME_BYTES_MAX} bytes PostgreSQL keeps"))
        }
        _ => None,
    }
}

/// An identifier for SQL text.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A column rows have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetColumn {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) nullable: bool,
}

/// A table in its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) schema: String,
    pub(super) table: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

impl Target {
    /// The qualified name for SQL text.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }

    /// The id of a table of this name, if there is one.
    pub(super) async fn find(&self, session: &mut Session) -> Result<Option<Oid>> {
        let query = sqlx::query(
            "SELECT c.oid, c.relkind::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2",
        );
        let query = query.bind(self.schema.clone()).bind(self.table.clone());
        let rows = session.fetch("looking up the table", query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let kind: String = row.try_get(1).map_err(Session::misread)?;
        if !matches!(kind.as_str(), "r" | "p") {
            return Err(Error::invalid(format!("`{self}` exists but is not a table"))
                .with_hint("Choose another name, or drop what has this one."));
        }
        row.try_get(0).map(Some).map_err(Session::misread)
    }

    /// Makes the table; `key` is its primary key, none when empty.
    pub(super) async fn create(
        &self,
        session: &mut Session,
        columns: &[TargetColumn],
        key: &[String],
    ) -> Result<()> {
        let mut items: Vec<String> = columns
            .iter()
            .map(|column| {
                let null = if column.nullable { "" } else { " NOT NULL" };
                format!("{} {}{null}", quoted(&column.name), column.kind.sql())
            })
            .collect();
        if !key.is_empty() {
            items.push(format!("PRIMARY KEY ({})", list(key, |name| quoted(name))));
        }
        let create = format!("CREATE TABLE {} ({})", self.sql(), items.join(", "));
        let create = sqlx::query(AssertSqlSafe(create)).persistent(false);
        session.execute(&format!("making table `{self}`"), create).await.map(drop)
    }

    /// Checks the table against the columns of the rows and the key; the error lists every
    /// difference.
    pub(super) async fn check(
        &self,
        session: &mut Session,
        table: Oid,
        columns: &[TargetColumn],
        key: &[String],
    ) -> Result<()> {
        let found = found_columns(session, table).await?;
        let mut differences = differences(columns, &found);
        if !key.is_empty() && !has_unique(session, table, key).await? {
            differences
                .push(format!("no primary key or unique constraint on ({})", key.join(", ")));
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!("table `{self}` does not fit the rows"))
            .with_detail(format!("{}.", differences.join("; ")))
            .with_hint("Alter the table, or drop it and let it be made, or choose another name."))
    }

    /// Adds the rows of a chunk, one array per column; with a key, replaces rows that have it.
    pub(super) fn insert(&self, columns: &[TargetColumn], key: &[String]) -> String {
        let mut sql = format!(
            "INSERT INTO {} ({}) SELECT * FROM unnest({})",
            self.sql(),
            list(columns, |column| quoted(&column.name)),
            parameters(columns),
        );
        if !key.is_empty() {
            // With nothing but a key, setting it to itself makes PostgreSQL report the row.
            let mut set: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            if set.len() > key.len() {
                set.retain(|name| !key.iter().any(|key| key == name));
            }
            let set = list(&set, |name| format!("{0} = excluded.{0}", quoted(name)));
            sql.push_str(&format!(
                " ON CONFLICT ({}) DO UPDATE SET {set}",
                list(key, |name| quoted(name))
            ));
        }
        sql
    }

    /// Deletes the rows of the keys of a chunk, one array per key column.
    pub(super) fn delete(&self, key: &[TargetColumn]) -> String {
        format!(
            "DELETE FROM {} AS held USING unnest({}) AS gone ({}) WHERE {}",
            self.sql(),
            parameters(key),
            list(key, |column| quoted(&column.name)),
            key.iter()
                .map(|column| format!("held.{0} = gone.{0}", quoted(&column.name)))
                .collect::<Vec<_>>()
                .join(" AND "),
        )
    }
}

/// `item, item, …`
fn list<T>(items: &[T], write: impl Fn(&T) -> String) -> String {
    items.iter().map(write).collect::<Vec<_>>().join(", ")
}

/// `$1::text[], $2::bigint[], …`
fn parameters(columns: &[TargetColumn]) -> String {
    let casts = columns.iter().zip(1..);
    casts
        .map(|(column, number)| format!("${number}::{}", column.kind.sql_array()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A column the table has.
struct FoundColumn {
    name: String,
    /// As `format_type` writes it.
    sql_type: String,
    not_null: bool,
    /// Has a default, is an identity, or is generated.
    filled: bool,
    /// Is generated, or an identity that takes no values.
    sealed: bool,
}

async fn found_columns(session: &mut Session, table: Oid) -> Result<Vec<FoundColumn>> {
    let query = sqlx::query(
        "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod), attnotnull, \
                atthasdef OR attidentity <> '' OR attgenerated <> '', \
                attidentity = 'a' OR attgenerated <> '' \
         FROM pg_catalog.pg_attribute \
         WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    );
    let rows = session.fetch("reading the table's columns", query.bind(table)).await?;
    let column = |row: &sqlx::postgres::PgRow| {
        Ok(FoundColumn {
            name: row.try_get(0)?,
            sql_type: row.try_get(1)?,
            not_null: row.try_get(2)?,
            filled: row.try_get(3)?,
            sealed: row.try_get(4)?,
        })
    };
    rows.iter().map(column).collect::<Result<_, sqlx::Error>>().map_err(Session::misread)
}

/// What keeps rows from fitting a table, each as a clause.
fn differences(columns: &[TargetColumn], found: &[FoundColumn]) -> Vec<String> {
    let wanted = columns.iter().filter_map(|column| {
        let (name, wanted) = (&column.name, column.kind.sql());
        match found.iter().find(|found| found.name == column.name) {
            None => Some(format!("column `{name}`: expected {wanted}, found none")),
            Some(found) if found.sealed => {
                Some(format!("column `{name}`: expected {wanted}, found a generated column"))
            }
            Some(found) if !column.kind.fits(&found.sql_type) => {
                Some(format!("column `{name}`: expected {wanted}, found {}", found.sql_type))
            }
            Some(_) => None,
        }
    });
    let unfilled = found
        .iter()
        .filter(|found| found.not_null && !found.filled)
        .filter(|found| !columns.iter().any(|column| column.name == found.name))
        .map(|found| format!("column `{}`: not null without default, not in the rows", found.name));
    wanted.chain(unfilled).collect()
}

/// Whether `ON CONFLICT` finds an index for exactly these columns.
async fn has_unique(session: &mut Session, table: Oid, key: &[String]) -> Result<bool> {
    let query = sqlx::query(
        "SELECT array_agg(a.attname::text) \
         FROM pg_catalog.pg_index i \
         CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, position) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate \
           AND i.indpred IS NULL AND i.indexprs IS NULL AND k.position <= i.indnkeyatts \
         GROUP BY i.indexrelid",
    );
    let rows = session.fetch("reading the table's indexes", query.bind(table)).await?;
    for row in &rows {
        let columns: Vec<String> = row.try_get(0).map_err(Session::misread)?;
        if columns.len() == key.len() && key.iter().all(|name| columns.contains(name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        let target = Target { schema: "s".to_owned(), table: "t\"; DROP TABLE x; --".to_owned() };
        assert_eq!(target.sql(), "\"s\".\"t\"\"; DROP TABLE x; --\"");
    }

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
        assert_eq!(TableName::parse(text).is_ok(), valid, "{text:?}");
    }

    #[test]
    fn statements_take_one_array_per_column() {
        let column =
            |name: &str, kind| TargetColumn { name: name.to_owned(), kind, nullable: true };
        let columns = [column("symbol", Kind::Text), column("price", Kind::Numeric(24, 10))];
        let key = ["symbol".to_owned()];
        let target = Target { schema: "s".to_owned(), table: "t".to_owned() };
        assert_eq!(
            target.insert(&columns, &[]),
            "INSERT INTO \"s\".\"t\" (\"symbol\", \"price\") \
             SELECT * FROM unnest($1::text[], $2::numeric[])"
        );
        assert_eq!(
            target.insert(&columns, &key),
            "INSERT INTO \"s\".\"t\" (\"symbol\", \"price\") \
             SELECT * FROM unnest($1::text[], $2::numeric[]) \
             ON CONFLICT (\"symbol\") DO UPDATE SET \"price\" = excluded.\"price\""
        );
        assert_eq!(
            target.insert(&columns[..1], &key),
            "INSERT INTO \"s\".\"t\" (\"symbol\") SELECT * FROM unnest($1::text[]) \
             ON CONFLICT (\"symbol\") DO UPDATE SET \"symbol\" = excluded.\"symbol\""
        );
        assert_eq!(
            target.delete(&columns[..1]),
            "DELETE FROM \"s\".\"t\" AS held USING unnest($1::text[]) AS gone (\"symbol\") \
             WHERE held.\"symbol\" = gone.\"symbol\""
        );
    }
}
