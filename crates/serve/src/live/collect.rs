//! One evaluation of a live result: batches become rows of JSON text, each with its key.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use serde_json::value::RawValue;

use super::protocol::Json;
use crate::problem::{Code, Problem};
use crate::rows::value::Column;
use crate::rows::{ColumnInfo, columns, readers, write_row};

/// A whole result.
#[derive(Debug)]
pub(crate) struct LiveResult {
    /// Its columns.
    pub(crate) columns: Vec<ColumnInfo>,
    /// Columns that tell its rows apart; without them, rows may repeat.
    pub(crate) key: Option<Vec<String>>,
    /// Whether the order of its rows means something.
    pub(crate) ordered: bool,
    /// Its rows; with a key, no two with the same.
    pub(crate) rows: Vec<Row>,
}

/// A row as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// An array of its key values; the whole row, when there is no key.
    pub(crate) key: Json,
    /// An array of its values.
    pub(crate) json: Json,
}

/// Which columns tell the rows of a result apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Those of the relation, if the result has them all.
    Offered(Vec<String>),
    /// Those the client named: an error, if the result lacks one.
    Demanded(Vec<String>),
}

/// How large a result may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
}

/// Collects batches into a [`LiveResult`].
pub(crate) struct Collector {
    result: LiveResult,
    key_columns: Option<Vec<usize>>,
    /// Where the row of a key stands.
    places: HashMap<String, usize>,
    bytes: usize,
    size: Size,
}

impl Collector {
    /// A collector of rows of that schema.
    pub(crate) fn new(
        schema: &Schema,
        key: &Key,
        ordered: bool,
        size: Size,
    ) -> Result<Self, Problem> {
        let places = |names: &[String]| -> Result<Vec<usize>, Problem> {
            let place = |name: &String| {
                schema.column_with_name(name).map(|(place, _)| place).ok_or_else(|| {
                    Problem::invalid(format!("the result has no column `{name}` for its key"))
                })
            };
            names.iter().map(place).collect()
        };
        let (names, key_columns) = match key {
            Key::Demanded(names) => (names, Some(places(names)?)),
            Key::Offered(names) => (names, places(names).ok()),
        };
        let key_columns = key_columns.filter(|places| !places.is_empty());
        let key = key_columns.is_some().then(|| names.clone());
        let result = LiveResult { columns: columns(schema), key, ordered, rows: Vec::new() };
        Ok(Self { result, key_columns, places: HashMap::new(), bytes: 0, size })
    }

    /// Adds the rows of a batch; of rows with the same key the last one stays.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        let columns = readers(batch);
        for row in 0..batch.num_rows() {
            let json = row_json(&columns, row);
            self.bytes += json.get().len();
            match &self.key_columns {
                None => self.result.rows.push(Row { key: Json::clone(&json), json }),
                Some(key_columns) => {
                    let key = key_json(&columns, key_columns, row);
                    self.bytes += key.get().len();
                    let rows = &mut self.result.rows;
                    let place = *self.places.entry(key.get().to_owned()).or_insert(rows.len());
                    match rows.get_mut(place) {
                        Some(row) => row.json = json,
                        None => rows.push(Row { key, json }),
                    }
                }
            }
            self.check_size()?;
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), Problem> {
        let Size { rows_max, bytes_max } = self.size;
        let limit = if self.result.rows.len() > rows_max {
            format!("{rows_max} rows")
        } else if self.bytes > bytes_max {
            format!("{bytes_max} bytes")
        } else {
            return Ok(());
        };
        Err(Problem::new(Code::TooLarge, format!("the live result has more than {limit}"))
            .with_hint("Aggregate it, filter it, or add `LIMIT`."))
    }

    /// The result.
    pub(crate) fn finish(self) -> LiveResult {
        self.result
    }
}

fn row_json(columns: &[Column<'_>], row: usize) -> Json {
    let mut out = Vec::new();
    write_row(columns, row, &mut out);
    json(out)
}

fn key_json(columns: &[Column<'_>], key_columns: &[usize], row: usize) -> Json {
    let mut out = vec![b'['];
    for (index, &place) in key_columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        columns[place].value(row).write_json(&mut out);
    }
    out.push(b']');
    json(out)
}

fn json(bytes: Vec<u8>) -> Json {
    let text = String::from_utf8(bytes).expect("JSON is UTF-8");
    RawValue::from_string(text).expect("what `Value` writes is JSON").into()
}
