//! What columns are there for, by their names: the entity, the time, what can only be positive.

use thalweg_core::schema::{Column, ColumnType};

use super::values::{Seen, as_number};

/// Names of what a row is about, the likeliest first.
const KEYS: [&str; 14] = [
    "symbol",
    "ticker",
    "pair",
    "product_id",
    "product",
    "instrument",
    "isin",
    "code",
    "sensor_id",
    "device_id",
    "id",
    "uuid",
    "key",
    "name",
];
/// Names of when it happened, the likeliest first.
const TIMES: [&str; 13] = [
    "ts",
    "timestamp",
    "event_time",
    "trade_time",
    "time",
    "t",
    "datetime",
    "e",
    "created_at",
    "updated_at",
    "open_time",
    "date",
    "received_at",
];
/// Parts of names of what is above zero.
const POSITIVE: [&str; 1] = ["price"];
/// Parts of names of what is not below zero.
const NONNEGATIVE: [&str; 6] = ["volume", "quantity", "qty", "amount", "count", "size"];

/// Whether a name says time.
pub(super) fn is_time_name(name: &str) -> bool {
    let name = identifier(name);
    TIMES.contains(&name.as_str())
        || ["time", "timestamp", "date"].iter().any(|end| name.ends_with(end))
        || ["_at", "_ts", "_t", "_on"].iter().any(|end| name.ends_with(end))
}

/// The column of the entity.
pub(super) fn key(columns: &[Column]) -> Option<String> {
    let fits = |column: &&Column| {
        use ColumnType::{Bigint, Int, Text};
        !column.nullable && matches!(column.kind, Text | Int | Bigint)
    };
    let columns: Vec<&Column> = columns.iter().filter(fits).collect();
    let named = KEYS.iter().find_map(|key| columns.iter().find(|column| column.name == *key));
    let by_end = || columns.iter().find(|column| column.name.ends_with("_id"));
    named.or_else(by_end).map(|column| column.name.clone())
}

/// The column of the time.
pub(super) fn event_time(columns: &[Column]) -> Option<String> {
    let is_time = |column: &&Column| !column.nullable && column.kind == ColumnType::Timestamp;
    let columns: Vec<&Column> = columns.iter().filter(is_time).collect();
    let named = TIMES.iter().find_map(|time| columns.iter().find(|column| column.name == *time));
    named.or(columns.first()).map(|column| column.name.clone())
}

/// What all sampled values of a column satisfy, if its name says what they should: a name and SQL.
pub(super) fn check(column: &Column, seen: &[Seen]) -> Option<(String, String)> {
    use ColumnType::{Bigint, Decimal, Double, Int, Real};
    if !matches!(column.kind, Int | Bigint | Real | Double | Decimal(..)) {
        return None;
    }
    let name = column.name.as_str();
    let has = |part: &str| name.split('_').any(|word| word == part);
    // A change of a price may be anything.
    if ["change", "diff", "difference", "delta", "return", "percent", "pct"].into_iter().any(has) {
        return None;
    }
    let numbers = || seen.iter().filter_map(as_number);
    if POSITIVE.into_iter().any(has) && numbers().all(|number| number > 0.0) {
        return Some((format!("{name}_positive"), format!("{name} > 0")));
    }
    if NONNEGATIVE.into_iter().any(has) && numbers().all(|number| number >= 0.0) {
        return Some((format!("{name}_nonnegative"), format!("{name} >= 0")));
    }
    None
}

/// A name as SQL reads it without quotes: small letters, digits and `_`.
pub(super) fn identifier(name: &str) -> String {
    let mut made = String::with_capacity(name.len());
    let mut before = ' ';
    for c in name.chars() {
        let begins_word = c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit());
        if !c.is_ascii_alphanumeric() || begins_word {
            made.push('_');
        }
        if c.is_ascii_alphanumeric() {
            made.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    let words: Vec<&str> = made.split('_').filter(|word| !word.is_empty()).collect();
    let made = words.join("_");
    match made.chars().next() {
        None => "column".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("c_{made}"),
        Some(_) => made,
    }
}

/// Names of columns, each once.
#[derive(Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// A name for what is called `path`.
    pub(super) fn take(&mut self, path: &str) -> String {
        let wanted = identifier(path);
        let numbered = (2..).map(|number| format!("{wanted}_{number}"));
        let mut all = std::iter::once(wanted.clone()).chain(numbered);
        let name = all.find(|name| !self.0.contains(name)).unwrap_or(wanted);
        self.0.push(name.clone());
        name
    }
}
