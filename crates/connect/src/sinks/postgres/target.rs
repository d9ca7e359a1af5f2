//! Tables of PostgreSQL: how they are found, made and checked, and the statements that write to
//! them.
//!
//! Invariant: every identifier in SQL text went through [`quoted`]; every value is a parameter. A
//! chunk of rows is one statement, with an array per column.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::postgres::types::Oid;
use sqlx::{AssertSqlSafe, Row as _};
use thalweg_core::{Error, Result};

use super::arrays::ArrayParameter;
use super::session::PostgresSession;
use super::types::{fits, sql, sql_array};
use crate::sinks::database::server::{Dialect, Tables, Target, TargetColumn, list};

const DIALECT: Dialect = Dialect {
    quoted,
    parameter: |number| format!("${number}"),
    insert_new: ("INSERT", " ON CONFLICT DO NOTHING"),
};

/// An identifier for SQL text.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl PostgresSession {
    /// The id of a table of this name, if there is one.
    async fn id_of(&mut self, target: &Target) -> Result<Option<Oid>> {
        let query = sqlx::query(
            "SELECT c.oid, c.relkind::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2",
        );
        let query = query.bind(target.schema.clone()).bind(target.table.clone());
        let rows = self.rows("looking up the table", query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let kind: String = row.try_get(1).map_err(Self::misread)?;
        if !matches!(kind.as_str(), "r" | "p") {
            return Err(Error::invalid(format!("`{target}` exists but is not a table"))
                .with_hint("Choose another name, or drop what has this one."));
        }
        row.try_get(0).map(Some).map_err(Self::misread)
    }

    /// The columns it has, in order.
    async fn found_columns(&mut self, table: Oid) -> Result<Vec<FoundColumn>> {
        let query = sqlx::query(
            "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod), attnotnull, \
                    atthasdef OR attidentity <> '' OR attgenerated <> '', \
                    attidentity = 'a' OR attgenerated <> '' \
             FROM pg_catalog.pg_attribute \
             WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        );
        let rows = self.rows("reading the table's columns", query.bind(table)).await?;
        let column = |row: &PgRow| {
            Ok(FoundColumn {
                name: row.try_get(0)?,
                sql_type: row.try_get(1)?,
                not_null: row.try_get(2)?,
                filled: row.try_get(3)?,
                sealed: row.try_get(4)?,
            })
        };
        rows.iter().map(column).collect::<Result<_, sqlx::Error>>().map_err(Self::misread)
    }

    /// Whether `ON CONFLICT` finds an index for exactly these columns.
    async fn has_unique(&mut self, table: Oid, key: &[String]) -> Result<bool> {
        let query = sqlx::query(
            "SELECT array_agg(a.attname::text) \
             FROM pg_catalog.pg_index i \
             CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, position) \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
             WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate \
               AND i.indpred IS NULL AND i.indexprs IS NULL AND k.position <= i.indnkeyatts \
             GROUP BY i.indexrelid",
        );
        let rows = self.rows("reading the table's indexes", query.bind(table)).await?;
        for row in &rows {
            let columns: Vec<String> = row.try_get(0).map_err(Self::misread)?;
            if columns.len() == key.len() && key.iter().all(|name| columns.contains(name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs a statement that takes one array per column.
    async fn send(
        &mut self,
        text: String,
        columns: &[TargetColumn],
        rows: &RecordBatch,
    ) -> Result<u64> {
        let mut statement = sqlx::query(AssertSqlSafe(text));
        for (column, values) in columns.iter().zip(rows.columns()) {
            statement =
                statement.bind(ArrayParameter { kind: column.kind, values: Arc::clone(values) });
        }
        self.run("writing rows", statement).await
    }
}

#[async_trait]
impl Tables for PostgresSession {
    fn dialect(&self) -> Dialect {
        DIALECT
    }

    async fn current_schema(&mut self) -> Result<String> {
        let query = sqlx::query("SELECT current_schema()::text");
        let rows = self.rows("looking up the schema", query).await?;
        let schema: Option<String> = match rows.first() {
            Some(row) => row.try_get(0).map_err(Self::misread)?,
            None => None,
        };
        schema.ok_or_else(|| {
            Error::invalid("there is no schema for the table")
                .with_hint("No schema of the user's search path exists: write `schema.table`.")
        })
    }

    async fn find(&mut self, target: &Target) -> Result<bool> {
        Ok(self.id_of(target).await?.is_some())
    }

    async fn create(
        &mut self,
        target: &Target,
        columns: &[TargetColumn],
        key: &[String],
    ) -> Result<()> {
        let create = sqlx::query(AssertSqlSafe(create(target, columns, key))).persistent(false);
        self.run(&format!("making table `{target}`"), create).await.map(drop)
    }

    async fn differences(
        &mut self,
        target: &Target,
        columns: &[TargetColumn],
        key: &[String],
    ) -> Result<Vec<String>> {
        let Some(table) = self.id_of(target).await? else {
            return Ok(vec!["it is gone".to_owned()]);
        };
        let found = self.found_columns(table).await?;
        let mut differences = differences(columns, &found);
        if !key.is_empty() && !self.has_unique(table, key).await? {
            differences
                .push(format!("no primary key or unique constraint on ({})", key.join(", ")));
        }
        Ok(differences)
    }

    async fn insert(
        &mut self,
        target: &Target,
        columns: &[TargetColumn],
        key: &[String],
        rows: &RecordBatch,
    ) -> Result<u64> {
        self.send(insert(target, columns, key), columns, rows).await
    }

    async fn delete(
        &mut self,
        target: &Target,
        key: &[TargetColumn],
        rows: &RecordBatch,
    ) -> Result<()> {
        self.send(delete(target, key), key, rows).await.map(drop)
    }
}

fn create(target: &Target, columns: &[TargetColumn], key: &[String]) -> String {
    let mut items: Vec<String> = columns
        .iter()
        .map(|column| {
            let null = if column.nullable { "" } else { " NOT NULL" };
            format!("{} {}{null}", quoted(&column.name), sql(column.kind))
        })
        .collect();
    if !key.is_empty() {
        items.push(format!("PRIMARY KEY ({})", list(key, |name| quoted(name))));
    }
    format!("CREATE TABLE {} ({})", target.sql(DIALECT), items.join(", "))
}

/// Adds the rows of a chunk, one array per column; with a key, replaces rows that have it.
fn insert(target: &Target, columns: &[TargetColumn], key: &[String]) -> String {
    let mut sql = format!(
        "INSERT INTO {} ({}) SELECT * FROM unnest({})",
        target.sql(DIALECT),
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
fn delete(target: &Target, key: &[TargetColumn]) -> String {
    format!(
        "DELETE FROM {} AS held USING unnest({}) AS gone ({}) WHERE {}",
        target.sql(DIALECT),
        parameters(key),
        list(key, |column| quoted(&column.name)),
        key.iter()
            .map(|column| format!("held.{0} = gone.{0}", quoted(&column.name)))
            .collect::<Vec<_>>()
            .join(" AND "),
    )
}

/// `$1::text[], $2::bigint[], …`
fn parameters(columns: &[TargetColumn]) -> String {
    let casts = columns.iter().zip(1..);
    casts
        .map(|(column, number)| format!("${number}::{}", sql_array(column.kind)))
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

/// What keeps rows from fitting a table, each as a clause.
fn differences(columns: &[TargetColumn], found: &[FoundColumn]) -> Vec<String> {
    let wanted = columns.iter().filter_map(|column| {
        let (name, wanted) = (&column.name, sql(column.kind));
        match found.iter().find(|found| found.name == column.name) {
            None => Some(format!("column `{name}`: expected {wanted}, found none")),
            Some(found) if found.sealed => {
                Some(format!("column `{name}`: expected {wanted}, found a generated column"))
            }
            Some(found) if !fits(column.kind, &found.sql_type) => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::database::kind::Kind;

    #[test]
    fn names_cannot_leave_their_quotes() {
        let target = Target { schema: "s".to_owned(), table: "t\"; DROP TABLE x; --".to_owned() };
        assert_eq!(target.sql(DIALECT), "\"s\".\"t\"\"; DROP TABLE x; --\"");
    }

    #[test]
    fn statements_take_one_array_per_column() {
        let column =
            |name: &str, kind| TargetColumn { name: name.to_owned(), kind, nullable: true };
        let columns = [column("symbol", Kind::Text), column("price", Kind::Numeric(24, 10))];
        let key = ["symbol".to_owned()];
        let target = Target { schema: "s".to_owned(), table: "t".to_owned() };
        assert_eq!(
            insert(&target, &columns, &[]),
            "INSERT INTO \"s\".\"t\" (\"symbol\", \"price\") \
             SELECT * FROM unnest($1::text[], $2::numeric[])"
        );
        assert_eq!(
            insert(&target, &columns, &key),
            "INSERT INTO \"s\".\"t\" (\"symbol\", \"price\") \
             SELECT * FROM unnest($1::text[], $2::numeric[]) \
             ON CONFLICT (\"symbol\") DO UPDATE SET \"price\" = excluded.\"price\""
        );
        assert_eq!(
            insert(&target, &columns[..1], &key),
            "INSERT INTO \"s\".\"t\" (\"symbol\") SELECT * FROM unnest($1::text[]) \
             ON CONFLICT (\"symbol\") DO UPDATE SET \"symbol\" = excluded.\"symbol\""
        );
        assert_eq!(
            delete(&target, &columns[..1]),
            "DELETE FROM \"s\".\"t\" AS held USING unnest($1::text[]) AS gone (\"symbol\") \
             WHERE held.\"symbol\" = gone.\"symbol\""
        );
    }
}
