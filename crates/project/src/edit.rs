//! Writing back: changes to a project file that keep its comments and its layout.
//!
//! Not here: reading and writing files.

use serde_json::Value as Json;
use thalweg_core::{Error, Result};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// A row: columns and their values as JSON.
type Row = Vec<(String, String)>;

/// A text as TOML writes it: in `'` where it holds a `"` or a `\`, if it can be.
pub fn quoted(text: &str) -> String {
    let is_plain = text.chars().all(|c| !c.is_control() && c != '\'');
    match text.contains(['"', '\\']) && is_plain {
        true => format!("'{text}'"),
        false => Value::from(text).to_string(),
    }
}

/// The text of a project file with a block behind everything else.
///
/// # Errors
///
/// `Invalid` when the file is not TOML.
pub fn append(text: &str, block: &str) -> Result<String> {
    if let Err(error) = text.parse::<DocumentMut>() {
        return Err(Error::invalid("the project file is not TOML")
            .with_source(error)
            .with_hint("`thalweg check` shows where."));
    }
    let end = match (text.is_empty(), text.ends_with('\n')) {
        (true, _) => "",
        (false, true) => "\n",
        (false, false) => "\n\n",
    };
    Ok(format!("{text}{end}{block}"))
}

/// Rows as a file of JSON lines.
pub fn json_lines(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let cells = row.iter().map(|(name, json)| format!("{}:{json}", Json::from(name.as_str())));
        format!("{{{}}}\n", cells.collect::<Vec<_>>().join(","))
    };
    rows.iter().map(line).collect()
}

/// The text of a project file with other rows expected of a relation by a test. A row that stays as
/// it was keeps its layout, and every row what stands before it.
///
/// # Errors
///
/// `Invalid` when the text is not TOML, or the test does not expect rows of the relation there.
pub fn replace_rows(text: &str, test: &str, relation: &str, rows: &[Row]) -> Result<String> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error| Error::invalid("the project file is not TOML").with_source(error))?;
    let missing = || Error::invalid(format!("test `{test}` expects no rows of `{relation}` here"));
    let mut found: Option<&mut Item> = Some(document.as_item_mut());
    for key in ["test", test, "expect", relation] {
        let table = found.and_then(Item::as_table_like_mut);
        found = table.and_then(|table: &mut dyn TableLike| table.get_mut(key));
    }
    match found.ok_or_else(missing)? {
        Item::Value(Value::Array(array)) => replace_items(array, rows)?,
        Item::ArrayOfTables(tables) => {
            for (at, row) in rows.iter().enumerate() {
                match tables.get_mut(at) {
                    Some(table) => replace_members(table, row)?,
                    None => {
                        let mut table = Table::new();
                        replace_members(&mut table, row)?;
                        tables.push(table);
                    }
                }
            }
            while tables.len() > rows.len() {
                tables.remove(tables.len() - 1);
            }
        }
        _ => return Err(missing()),
    }
    Ok(document.to_string())
}

fn replace_items(array: &mut Array, rows: &[Row]) -> Result<()> {
    // Rows that are added stand as the last one did; a list that was empty has each on its line.
    let indent = |array: &Array| {
        let prefix = array.iter().last()?.decor().prefix()?.as_str()?;
        Some(prefix.rsplit_once('\n').map_or(" ".to_owned(), |(_, rest)| format!("\n{rest}")))
    };
    let added = indent(array).unwrap_or_else(|| "\n  ".to_owned());
    let was_empty = array.is_empty();
    for (at, row) in rows.iter().enumerate() {
        match array.get_mut(at).and_then(Value::as_inline_table_mut) {
            Some(table) => replace_members(table, row)?,
            None => {
                let mut table = InlineTable::new();
                replace_members(&mut table, row)?;
                array.push_formatted(Value::from(table).decorated(added.as_str(), ""));
            }
        }
    }
    while array.len() > rows.len() {
        array.remove(array.len() - 1);
    }
    if was_empty && !array.is_empty() {
        array.set_trailing_comma(true);
        array.set_trailing("\n");
    }
    Ok(())
}

fn replace_members(table: &mut dyn TableLike, row: &Row) -> Result<()> {
    let gone: Vec<String> = table
        .iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| row.iter().all(|(column, _)| column != name))
        .collect();
    for name in gone {
        table.remove(&name);
    }
    for (column, json) in row {
        let json: Json = serde_json::from_str(json)
            .map_err(|error| Error::internal("a value is not JSON").with_source(error))?;
        let Some(mut value) = value(&json) else { continue };
        match table.get_mut(column).and_then(Item::as_value_mut) {
            Some(old) if is_same(old, &value) => {}
            Some(old) => {
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            None => {
                table.insert(column, Item::Value(value));
            }
        }
    }
    Ok(())
}

/// Whether a value means the same as it is written.
fn is_same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Integer(old), Value::Float(new)) => {
            #[expect(clippy::cast_precision_loss, reason = "compared with what a float holds")]
            let old = *old.value() as f64;
            old == *new.value()
        }
        // An instant may be written as one.
        (Value::Datetime(old), Value::String(new)) => old.value().to_string() == *new.value(),
        _ => old.clone().decorated("", "").to_string() == new.clone().decorated("", "").to_string(),
    }
}

/// A value as TOML has it; none for NULL.
fn value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(is_true) => (*is_true).into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.to_string().into(),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => items.iter().filter_map(value).collect::<Array>().into(),
        Json::Object(members) => {
            let members = members.iter().filter_map(|(name, it)| Some((name, value(it)?)));
            members.collect::<InlineTable>().into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, &str)]) -> Row {
        cells.iter().map(|(name, json)| (name.to_string(), json.to_string())).collect()
    }

    #[track_caller]
    fn check(text: &str, rows: &[Row], expected: &str) {
        assert_eq!(replace_rows(text, "t", "r", rows).expect("it is there"), expected);
    }

    #[test]
    fn what_stays_as_it_was_keeps_its_layout_and_its_comments() {
        let text = "# a test\n[test.t]\ngiven = {}\nexpect = { r = [ # rows\n    # the first\n    { a = \"x\", n = 1.0 }, # one\n    { a = \"y\",  n = 2 },\n] } # end\n\n[other]\nkept = 1\n";
        let rows = [row(&[("a", "\"x\""), ("n", "1.5")]), row(&[("a", "\"y\""), ("n", "2.0")])];
        check(text, &rows, &text.replace("n = 1.0", "n = 1.5"));
    }

    #[test]
    fn rows_come_and_go() {
        let text = "[test.t.expect]\nr = [\n  { a = 1 },\n]\n";
        let two = [row(&[("a", "1")]), row(&[("a", "2"), ("b", "true")])];
        let made = "[test.t.expect]\nr = [\n  { a = 1 },\n  { a = 2, b = true },\n]\n";
        check(text, &two, made);
        check(made, &two[..1], text);
        check("[test.t]\nexpect.r = []\n", &two[..1], "[test.t]\nexpect.r = [\n  { a = 1 },\n]\n");
        let tables = "[[test.t.expect.r]]\na = 1 # one\n[[test.t.expect.r]]\na = 2\n";
        check(tables, &[row(&[("a", "3")])], "[[test.t.expect.r]]\na = 3 # one\n");
    }

    #[test]
    fn lines_are_objects() {
        assert_eq!(json_lines(&[row(&[("a", "1"), ("b", "\"x\"")])]), "{\"a\":1,\"b\":\"x\"}\n");
    }
}
