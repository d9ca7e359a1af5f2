//! Tables of MySQL and MariaDB: how they are found, made and checked, and the statements that write
//! to them.
//!
//! Invariants: every identifier in SQL text went through [`quoted`]; every value is a parameter. A
//! table is written to only if its engine has transactions, and with a key only if no other unique
//! index of it can make one row take another's place. A chunk of rows is some statements of
//! [`ROWS_MAX`] rows, which the server reads once, and one for the rest.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use thalweg_core::{Error, Result};

use super::session::{EXACT_COLLATIONS, MysqlSession, text, text_or_null};
use super::types::{fits, key_characters, sql};
use super::values::{arguments, parameter};
use crate::sinks::database::kind::Kind;
use crate::sinks::database::server::{Dialect, Session as _, Tables, Target, TargetColumn, list};

const DIALECT: Dialect =
    Dialect { quoted, parameter: |_| "?".to_owned(), insert_new: ("INSERT IGNORE", "") };

/// Most parameters of one statement, as the protocol counts them in 16 bits.
const PARAMETERS_MAX: usize = 65_535;
/// Most rows of one statement.
const ROWS_MAX: usize = 1_000;
/// Most keys of one statement that deletes: its condition is read by a recursive parser.
const DELETES_MAX: usize = 200;

/// An identifier for SQL text.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A column the table has.
struct FoundColumn {
    name: String,
    /// As `information_schema` writes it.
    sql_type: String,
    charset: Option<String>,
    collation: Option<String>,
    not_null: bool,
    /// Has a default, counts by itself, or is generated.
    filled: bool,
    is_generated: bool,
    counts_up: bool,
}

impl MysqlSession {
    async fn found_columns(&mut self, target: &Target) -> Result<Vec<FoundColumn>> {
        let query = sqlx::query(
            "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, \
                    COLUMN_DEFAULT, EXTRA \
             FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
        );
        let query = query.bind(target.schema.clone()).bind(target.table.clone());
        let rows = self.rows("reading the table's columns", query).await?;
        let column = |row| {
            let extra = text(row, 6)?.to_lowercase();
            let is_generated = extra.contains("virtual") || extra.contains("stored");
            let counts_up = extra.contains("auto_increment");
            Ok(FoundColumn {
                name: text(row, 0)?,
                sql_type: text(row, 1)?.to_lowercase(),
                charset: text_or_null(row, 2)?,
                collation: text_or_null(row, 3)?,
                not_null: text(row, 4)? == "NO",
                filled: text_or_null(row, 5)?.is_some() || is_generated || counts_up,
                is_generated,
                counts_up,
            })
        };
        rows.iter().map(column).collect()
    }

    /// Columns of each unique index, by its name; none where only a part of a column counts.
    async fn unique_indexes(&mut self, target: &Target) -> Result<Vec<(String, Vec<String>)>> {
        let query = sqlx::query(
            "SELECT INDEX_NAME, COLUMN_NAME, CAST(SUB_PART AS CHAR) \
             FROM information_schema.STATISTICS \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 \
             ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        );
        let query = query.bind(target.schema.clone()).bind(target.table.clone());
        let rows = self.rows("reading the table's indexes", query).await?;
        let mut indexes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in &rows {
            let column = match text_or_null(row, 2)? {
                None => text_or_null(row, 1)?.unwrap_or_else(|| "an expression".to_owned()),
                Some(length) => format!("{}({length})", text(row, 1)?),
            };
            indexes.entry(text(row, 0)?).or_default().push(column);
        }
        Ok(indexes.into_iter().collect())
    }

    /// The engine of the table, if it has no transactions.
    async fn engine_without_transactions(&mut self, target: &Target) -> Result<Option<String>> {
        let query = sqlx::query(
            "SELECT t.ENGINE FROM information_schema.TABLES t \
             JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE \
             WHERE t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ? \
               AND COALESCE(e.TRANSACTIONS, 'NO') <> 'YES'",
        );
        let query = query.bind(target.schema.clone()).bind(target.table.clone());
        let rows = self.rows("looking up the table's engine", query).await?;
        rows.first().map(|row| text(row, 0)).transpose()
    }

    /// Runs a statement made for a number of rows over `rows`, at most `rows_max` at a time.
    async fn send(
        &mut self,
        columns: &[TargetColumn],
        rows: &RecordBatch,
        rows_max: usize,
        statement: impl Fn(usize) -> String + Send,
    ) -> Result<u64> {
        let rows_max = rows_max.min(PARAMETERS_MAX / columns.len().max(1)).max(1);
        let full = statement(rows_max);
        let mut reported = 0;
        for start in (0..rows.num_rows()).step_by(rows_max) {
            let part = rows.slice(start, rows_max.min(rows.num_rows() - start));
            let arguments = arguments(columns, &part).map_err(|error| {
                Error::internal("cannot encode a row for MySQL").with_source(error)
            })?;
            let is_full = part.num_rows() == rows_max;
            let sql = if is_full { full.clone() } else { statement(part.num_rows()) };
            let query = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(is_full);
            reported += self.run("writing rows", query).await?;
        }
        Ok(reported)
    }
}

#[async_trait]
impl Tables for MysqlSession {
    fn dialect(&self) -> Dialect {
        DIALECT
    }

    async fn current_schema(&mut self) -> Result<String> {
        let rows = self.rows("looking up the database", sqlx::query("SELECT DATABASE()")).await?;
        let schema = rows.first().map(|row| text_or_null(row, 0)).transpose()?.flatten();
        schema.ok_or_else(|| {
            Error::invalid("there is no database for the table")
                .with_hint("Name one at the end of the URL, or write `database.table`.")
        })
    }

    async fn find(&mut self, target: &Target) -> Result<bool> {
        let query = sqlx::query(
            "SELECT TABLE_TYPE FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
        );
        let query = query.bind(target.schema.clone()).bind(target.table.clone());
        let rows = self.rows("looking up the table", query).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        match text(row, 0)?.as_str() {
            "BASE TABLE" | "SYSTEM VERSIONED" => Ok(true),
            _ => Err(Error::invalid(format!("`{target}` exists but is not a table"))
                .with_hint("Choose another name, or drop what has this one.")),
        }
    }

    async fn create(
        &mut self,
        target: &Target,
        columns: &[TargetColumn],
        key: &[String],
    ) -> Result<()> {
        let create = create(target, columns, key, &self.collation);
        let create = sqlx::query(AssertSqlSafe(create)).persistent(false);
        self.run(&format!("making table `{target}`"), create).await?;
        self.begin().await
    }

    async fn differences(
        &mut self,
        target: &Target,
        columns: &[TargetColumn],
        key: &[String],
    ) -> Result<Vec<String>> {
        let found = self.found_columns(target).await?;
        let mut differences = differences(columns, key, &found);
        if !key.is_empty() {
            let indexes = self.unique_indexes(target).await?;
            differences.extend(index_differences(columns, key, &found, &indexes));
        }
        if let Some(engine) = self.engine_without_transactions(target).await? {
            differences.push(format!("its engine {engine} has no transactions: expected InnoDB"));
        }
        Ok(differences)
    }

    /// For a key the server reports one row or two for each, whether it was new or had to be
    /// changed; it has none left out.
    async fn insert(
        &mut self,
        target: &Target,
        columns: &[TargetColumn],
        key: &[String],
        rows: &RecordBatch,
    ) -> Result<u64> {
        let statement = |count| insert(target, columns, key, count);
        let reported = self.send(columns, rows, ROWS_MAX, statement).await?;
        let count = rows.num_rows() as u64;
        match key {
            [] => Ok(reported),
            _ if (count..=2 * count).contains(&reported) => Ok(count),
            _ => Err(Error::internal(format!(
                "MySQL reports {reported} rows of `{target}` where {count} were upserted"
            ))),
        }
    }

    async fn delete(
        &mut self,
        target: &Target,
        key: &[TargetColumn],
        rows: &RecordBatch,
    ) -> Result<()> {
        self.send(key, rows, DELETES_MAX, |count| delete(target, key, count)).await.map(drop)
    }
}

/// `CREATE TABLE`, in a character set that has every character and a collation that tells all texts
/// apart.
fn create(target: &Target, columns: &[TargetColumn], key: &[String], collation: &str) -> String {
    let characters = characters_of(columns, key);
    let mut items: Vec<String> = columns
        .iter()
        .map(|column| {
            let null = if column.nullable { "" } else { " NOT NULL" };
            let in_key = key.contains(&column.name).then_some(characters);
            format!("{} {}{null}", quoted(&column.name), sql(column.kind, in_key))
        })
        .collect();
    if !key.is_empty() {
        items.push(format!("PRIMARY KEY ({})", list(key, |name| quoted(name))));
    }
    format!(
        "CREATE TABLE {} ({}) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {collation}",
        target.sql(DIALECT),
        items.join(", ")
    )
}

/// Characters of a text of the key.
fn characters_of(columns: &[TargetColumn], key: &[String]) -> usize {
    let kinds = columns.iter().filter(|column| key.contains(&column.name));
    key_characters(&kinds.map(|column| column.kind).collect::<Vec<_>>())
}

/// Adds `count` rows; with a key, replaces rows that have it. `VALUES(column)` is what both servers
/// read: MySQL calls it deprecated, but MariaDB does not know the alias for the row.
fn insert(target: &Target, columns: &[TargetColumn], key: &[String], count: usize) -> String {
    let row = format!("({})", list(columns, |_| "?".to_owned()));
    let mut sql = format!(
        "INSERT INTO {} ({}) VALUES {}",
        target.sql(DIALECT),
        list(columns, |column| quoted(&column.name)),
        vec![row; count].join(", "),
    );
    if !key.is_empty() {
        // With nothing but a key, setting it to itself makes the server take the row.
        let mut set: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        if set.len() > key.len() {
            set.retain(|name| !key.iter().any(|key| key == name));
        }
        let set = list(&set, |name| format!("{0} = VALUES({0})", quoted(name)));
        sql.push_str(&format!(" ON DUPLICATE KEY UPDATE {set}"));
    }
    sql
}

/// Deletes the rows of `count` keys.
fn delete(target: &Target, key: &[TargetColumn], count: usize) -> String {
    let columns =
        key.iter().map(|column| format!("{} = {}", quoted(&column.name), parameter(column.kind)));
    let row = format!("({})", columns.collect::<Vec<_>>().join(" AND "));
    format!("DELETE FROM {} WHERE {}", target.sql(DIALECT), vec![row; count].join(" OR "))
}

/// What keeps rows from fitting the columns of a table, each as a clause.
fn differences(columns: &[TargetColumn], key: &[String], found: &[FoundColumn]) -> Vec<String> {
    let characters = characters_of(columns, key);
    let wanted = columns.iter().filter_map(|column| {
        let (name, in_key) = (&column.name, key.contains(&column.name));
        let wanted = sql(column.kind, in_key.then_some(characters));
        let found = match found.iter().find(|found| found.name.eq_ignore_ascii_case(name)) {
            None => "none".to_owned(),
            Some(found) if found.is_generated => "a generated column".to_owned(),
            Some(found) if !fits(column.kind, &found.sql_type, found.charset.as_deref()) => {
                match &found.charset {
                    Some(charset) if charset != "utf8mb4" => {
                        format!(
                            "{} in {charset}, where not every character has a place",
                            found.sql_type
                        )
                    }
                    _ => found.sql_type.clone(),
                }
            }
            Some(found) if in_key && column.kind == Kind::Text => {
                let collation = found.collation.as_deref().unwrap_or("none");
                if EXACT_COLLATIONS.contains(&collation) {
                    return None;
                }
                return Some(format!(
                    "column `{name}` of the key: its collation {collation} takes texts for equal \
                     that are not: expected {}",
                    EXACT_COLLATIONS.join(" or ")
                ));
            }
            Some(_) => return None,
        };
        Some(format!("column `{name}`: expected {wanted}, found {found}"))
    });
    let unfilled = found
        .iter()
        .filter(|found| found.not_null && !found.filled)
        .filter(|found| !columns.iter().any(|it| it.name.eq_ignore_ascii_case(&found.name)))
        .map(|found| format!("column `{}`: not null without default, not in the rows", found.name));
    wanted.chain(unfilled).collect()
}

/// What keeps `ON DUPLICATE KEY` from meaning the key, each as a clause: there must be a unique
/// index of just its columns, and no other in which two different keys can collide.
fn index_differences(
    columns: &[TargetColumn],
    key: &[String],
    found: &[FoundColumn],
    indexes: &[(String, Vec<String>)],
) -> Vec<String> {
    let has = |index: &[String], name: &str| index.iter().any(|it| it.eq_ignore_ascii_case(name));
    let covers = |index: &[String]| key.iter().all(|name| has(index, name));
    let mut clauses = Vec::new();
    if !indexes.iter().any(|(_, index)| index.len() == key.len() && covers(index)) {
        clauses.push(format!("no primary key or unique index on ({})", key.join(", ")));
    }
    let is_counter = |index: &[String]| {
        found.iter().any(|column| {
            column.counts_up
                && has(index, &column.name)
                && !columns.iter().any(|it| it.name.eq_ignore_ascii_case(&column.name))
        })
    };
    for (name, index) in indexes.iter().filter(|(_, it)| !covers(it) && !is_counter(it)) {
        clauses.push(format!(
            "its unique index `{name}` on ({}) would let one row replace another of another key",
            index.join(", ")
        ));
    }
    clauses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target { schema: "s".to_owned(), table: "t".to_owned() }
    }

    fn columns() -> [TargetColumn; 2] {
        let column =
            |name: &str, kind, nullable| TargetColumn { name: name.to_owned(), kind, nullable };
        [column("symbol", Kind::Text, false), column("price", Kind::Numeric(24, 10), true)]
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        let target = Target { schema: "s".to_owned(), table: "t`; DROP TABLE x; --".to_owned() };
        assert_eq!(target.sql(DIALECT), "`s`.`t``; DROP TABLE x; --`");
    }

    #[test]
    fn statements_take_a_parameter_per_value() {
        let (target, columns, key) = (target(), columns(), ["symbol".to_owned()]);
        assert_eq!(
            create(&target, &columns, &key, "c"),
            "CREATE TABLE `s`.`t` (`symbol` varchar(255) NOT NULL, `price` decimal(24,10), \
             PRIMARY KEY (`symbol`)) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE c"
        );
        assert_eq!(
            insert(&target, &columns, &[], 2),
            "INSERT INTO `s`.`t` (`symbol`, `price`) VALUES (?, ?), (?, ?)"
        );
        assert_eq!(
            insert(&target, &columns, &key, 1),
            "INSERT INTO `s`.`t` (`symbol`, `price`) VALUES (?, ?) \
             ON DUPLICATE KEY UPDATE `price` = VALUES(`price`)"
        );
        assert_eq!(
            insert(&target, &columns[..1], &key, 1),
            "INSERT INTO `s`.`t` (`symbol`) VALUES (?) \
             ON DUPLICATE KEY UPDATE `symbol` = VALUES(`symbol`)"
        );
        assert_eq!(
            delete(&target, &columns, 2),
            "DELETE FROM `s`.`t` WHERE \
             (`symbol` = ? AND `price` = CAST(? AS decimal(24,10))) OR \
             (`symbol` = ? AND `price` = CAST(? AS decimal(24,10)))"
        );
    }
}
