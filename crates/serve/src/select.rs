//! The SQL behind `GET /views/{name}` and its kin: filters, order, limit.
//!
//! Names of relations and columns come from [`Relation`] and are quoted; values are bound as
//! parameters and never become part of the text (S29).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use arrow_schema::DataType;
use serde_json::Value;
use thalweg_core::query::Relation;
use thalweg_core::time::{Day, Timestamp};

use crate::problem::Problem;
use crate::rows::value::type_name;

/// What can be selected from.
pub(crate) struct View {
    pub(crate) relation: Relation,
    /// Only the newest row of each of its keys.
    pub(crate) is_latest: bool,
}

/// A statement with its parameters.
#[derive(Debug, PartialEq)]
pub(crate) struct Selection {
    pub(crate) sql: String,
    pub(crate) params: BTreeMap<String, Value>,
}

/// Rows of a view, as the pairs of a query string ask for: `order_by`, `limit`, and columns with
/// the values they shall equal; a column given more than once may equal any of them.
pub(crate) fn select(view: &View, pairs: &[(String, String)]) -> Result<Selection, Problem> {
    let relation = &view.relation;
    let mut order = None;
    let mut limit = None;
    let mut wanted: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, value) in pairs {
        match name.as_str() {
            "order_by" => order = Some(order_by(relation, value)?),
            "limit" => limit = Some(parse_limit(value)?),
            column => match wanted.iter_mut().find(|(name, _)| *name == column) {
                Some((_, values)) => values.push(value),
                None => wanted.push((column, vec![value])),
            },
        }
    }
    let from = match view.is_latest {
        true => format!("latest({})", quote(&relation.name)),
        false => format!("{}.{}", quote(&relation.schema_name), quote(&relation.name)),
    };
    let mut selection = Selection { sql: format!("SELECT * FROM {from}"), params: BTreeMap::new() };
    for (index, (column, values)) in wanted.into_iter().enumerate() {
        selection.sql.push_str(if index == 0 { " WHERE " } else { " AND " });
        selection.add_filter(relation, column, &values)?;
    }
    if let Some(order) = order {
        let _ = write!(selection.sql, " ORDER BY {order}");
    }
    if let Some(limit) = limit {
        let _ = write!(selection.sql, " LIMIT {limit}");
    }
    Ok(selection)
}

impl Selection {
    fn add_filter(
        &mut self,
        relation: &Relation,
        column: &str,
        values: &[&str],
    ) -> Result<(), Problem> {
        let kind = column_type(relation, column)?;
        let mut bound = Vec::with_capacity(values.len());
        for text in values {
            let value = parse(kind, text).ok_or_else(|| {
                Problem::invalid(format!(
                    "`{text}` is no value of column `{column}`, which is {}",
                    type_name(kind)
                ))
            })?;
            let name = format!("p{}", self.params.len());
            bound.push(placeholder(kind, &name));
            self.params.insert(name, value);
        }
        let column = quote(column);
        match bound.as_slice() {
            [one] => {
                let _ = write!(self.sql, "{column} = {one}");
            }
            several => {
                let _ = write!(self.sql, "{column} IN ({})", several.join(", "));
            }
        }
        Ok(())
    }
}

fn column_type<'a>(relation: &'a Relation, column: &str) -> Result<&'a DataType, Problem> {
    match relation.columns.column_with_name(column) {
        Some((_, field)) => Ok(field.data_type()),
        None => Err(Problem::invalid(format!("`{}` has no column `{column}`", relation.name))
            .with_nearest(
                column,
                relation.columns.fields().iter().map(|field| field.name().as_str()),
            )),
    }
}

fn order_by(relation: &Relation, text: &str) -> Result<String, Problem> {
    let mut terms = Vec::new();
    for term in text.split(',') {
        let term = term.trim();
        let (column, direction) = match term.rsplit_once(char::is_whitespace) {
            Some((column, word)) if word.eq_ignore_ascii_case("asc") => (column.trim(), ""),
            Some((column, word)) if word.eq_ignore_ascii_case("desc") => (column.trim(), " DESC"),
            _ => (term, ""),
        };
        column_type(relation, column)?;
        terms.push(format!("{}{direction}", quote(column)));
    }
    Ok(terms.join(", "))
}

fn parse_limit(text: &str) -> Result<u32, Problem> {
    text.parse().map_err(|_| {
        Problem::invalid(format!("`limit` is `{text}`, not a number of rows"))
            .with_hint("It is a whole number from 0 to 4294967295.")
    })
}

/// The parameter's value for a text, if the text is a value of that type.
fn parse(kind: &DataType, text: &str) -> Option<Value> {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(text.into()),
        DataType::Boolean => text.parse::<bool>().ok().map(Value::from),
        kind if kind.is_signed_integer() => text.parse::<i64>().ok().map(Value::from),
        kind if kind.is_unsigned_integer() => text.parse::<u64>().ok().map(Value::from),
        kind if kind.is_floating() => {
            let value = text.parse::<f64>().ok()?;
            serde_json::Number::from_f64(value).map(Value::Number)
        }
        kind if kind.is_decimal() => is_decimal(text).then(|| text.into()),
        DataType::Date32 | DataType::Date64 => Day::parse(text).map(|day| day.to_string().into()),
        DataType::Timestamp(..) => Timestamp::parse(text).map(|time| time.to_string().into()),
        DataType::Dictionary(_, values) => parse(values, text),
        _ => None,
    }
}

/// How a parameter stands in the text: what JSON has no type for is cast, so that it is compared as
/// what it is and not as text.
fn placeholder(kind: &DataType, name: &str) -> String {
    match kind {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            format!("CAST(${name} AS DECIMAL({precision},{scale}))")
        }
        DataType::Date32 | DataType::Date64 => format!("CAST(${name} AS DATE)"),
        DataType::Timestamp(..) => format!("CAST(${name} AS TIMESTAMP)"),
        DataType::Dictionary(_, values) => placeholder(values, name),
        _ => format!("${name}"),
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    !(whole.is_empty() && fraction.is_empty()) && all_digits(whole) && all_digits(fraction)
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{Field, Schema, TimeUnit};
    use serde_json::json;

    use super::*;

    fn relation(is_latest: bool) -> View {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let columns = [
            ("symbol", DataType::Utf8),
            ("say \"hi\"", DataType::Utf8),
            ("count", DataType::Int64),
            ("price", DataType::Float64),
            ("exact", DataType::Decimal128(10, 2)),
            ("day", DataType::Date32),
            ("ts", timestamp),
            ("up", DataType::Boolean),
            ("bytes", DataType::Binary),
        ];
        let fields: Vec<_> =
            columns.into_iter().map(|(name, kind)| Field::new(name, kind, true)).collect();
        let relation = Relation {
            schema_name: "public".to_owned(),
            name: "tra\"des".to_owned(),
            kind: "source",
            columns: Arc::new(Schema::new(fields)),
            key: Vec::new(),
        };
        View { relation, is_latest }
    }

    #[test]
    fn values_are_bound_and_never_spliced() {
        check("", "", json!({}));
        check("symbol=AAPL", r#" WHERE "symbol" = $p0"#, json!({"p0": "AAPL"}));
        check(
            "symbol='; DROP TABLE trades --",
            r#" WHERE "symbol" = $p0"#,
            json!({"p0": "'; DROP TABLE trades --"}),
        );
        check("say \"hi\"=", r#" WHERE "say ""hi""" = $p0"#, json!({"p0": ""}));
        check(
            "symbol=A&count=3&symbol=B",
            r#" WHERE "symbol" IN ($p0, $p1) AND "count" = $p2"#,
            json!({"p0": "A", "p1": "B", "p2": 3}),
        );
        check(
            "price=1.5&up=true&exact=1.10&day=2026-01-05&ts=2026-01-05T14:30:00%2B01:00",
            r#" WHERE "price" = $p0 AND "up" = $p1 AND "exact" = CAST($p2 AS DECIMAL(10,2)) AND "day" = CAST($p3 AS DATE) AND "ts" = CAST($p4 AS TIMESTAMP)"#,
            json!({"p0": 1.5, "p1": true, "p2": "1.10", "p3": "2026-01-05", "p4": "2026-01-05T13:30:00Z"}),
        );
        check(
            "order_by=ts desc, symbol ,count ASC&limit=10",
            r#" ORDER BY "ts" DESC, "symbol", "count" LIMIT 10"#,
            json!({}),
        );
    }

    #[test]
    fn the_newest_rows_are_filtered_as_all_rows_are() {
        let pairs = crate::api::input::pairs(Some("symbol=AAPL&order_by=price desc"));
        let selection = select(&relation(true), &pairs).unwrap();
        assert_eq!(
            selection.sql,
            r#"SELECT * FROM latest("tra""des") WHERE "symbol" = $p0 ORDER BY "price" DESC"#
        );
    }

    #[test]
    fn what_is_not_there_is_refused() {
        check_refused("symbl=AAPL", "`tra\"des` has no column `symbl`");
        check_refused("1=1", "`tra\"des` has no column `1`");
        check_refused(
            "order_by=price; DROP TABLE x",
            "`tra\"des` has no column `price; DROP TABLE x`",
        );
        check_refused("order_by=", "`tra\"des` has no column ``");
        check_refused("limit=-1", "`limit` is `-1`, not a number of rows");
        check_refused("limit=1 OFFSET 5", "`limit` is `1 OFFSET 5`, not a number of rows");
        check_refused("count=3.5", "`3.5` is no value of column `count`, which is bigint");
        check_refused("price=NaN", "`NaN` is no value of column `price`, which is double");
        check_refused("exact=1e5", "`1e5` is no value of column `exact`, which is decimal(10,2)");
        check_refused("exact=.", "`.` is no value of column `exact`, which is decimal(10,2)");
        check_refused("ts=yesterday", "`yesterday` is no value of column `ts`, which is timestamp");
        check_refused("bytes=AA", "`AA` is no value of column `bytes`, which is bytes");
    }

    fn run(query: &str) -> Result<Selection, Problem> {
        select(&relation(false), &crate::api::input::pairs(Some(query)))
    }

    #[track_caller]
    fn check(query: &str, rest: &str, params: Value) {
        let selection = run(query).unwrap();
        assert_eq!(selection.sql, format!("SELECT * FROM \"public\".\"tra\"\"des\"{rest}"));
        assert_eq!(serde_json::to_value(selection.params).unwrap(), params);
    }

    #[track_caller]
    fn check_refused(query: &str, title: &str) {
        assert_eq!(run(query).unwrap_err().title, title);
    }
}
