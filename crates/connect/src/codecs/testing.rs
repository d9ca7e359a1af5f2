//! What the tests of the codecs share: frames from texts, decoded rows as text, recorded data.

use std::fmt::Write as _;
use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use thalweg_core::decode::Decoded;
use thalweg_core::frame::{FrameSpan, Frames};
use thalweg_core::schema::{Column, ColumnType, meta};
use thalweg_core::time::Timestamp;

/// A column written as `name type [not null] [from select]`.
pub(super) fn column(text: &str) -> Column {
    let (text, select) = match text.split_once(" from ") {
        Some((text, select)) => (text, Some(select.to_owned())),
        None => (text, None),
    };
    let (text, nullable) = match text.strip_suffix(" not null") {
        Some(text) => (text, false),
        None => (text, true),
    };
    let (name, kind) = text.split_once(' ').expect("a name and a type");
    let kind = ColumnType::parse(kind).expect("a type");
    Column { name: name.to_owned(), kind, nullable, select, unit: None, allow_nan: false }
}

pub(super) fn columns(texts: &[&str]) -> Vec<Column> {
    texts.iter().map(|text| column(text)).collect()
}

/// Frames with offsets 0, 1, 2, …
pub(super) fn frames<T: AsRef<[u8]>>(texts: &[T]) -> Frames {
    let spans: Vec<_> = texts.iter().enumerate().map(|(at, text)| (at as i64, text)).collect();
    frames_at(&spans)
}

/// Frames with the offsets given.
pub(super) fn frames_at<T: AsRef<[u8]>>(texts: &[(i64, T)]) -> Frames {
    let mut data = Vec::new();
    let mut spans = Vec::new();
    for (offset, text) in texts {
        let text = text.as_ref();
        spans.push(FrameSpan {
            start: data.len() as u32,
            len: text.len() as u32,
            offset: *offset,
            received_at: Timestamp(1_000_000 + offset),
        });
        data.extend_from_slice(text);
    }
    Frames { partition: 3, data: Bytes::from(data), spans, rows: None }
}

/// One line a row (`offset.row name=value …`), reject (`! offset[.row] reason`) and notice
/// (`? text`), then the frames that did not decode, if any.
pub(super) fn show(decoded: &Decoded) -> String {
    let mut text = String::new();
    for row in rows(&decoded.rows) {
        let values = row.values.iter().map(|(name, value)| format!(" {name}={value}"));
        let _ = writeln!(text, "{}.{}{}", row.offset, row.number, values.collect::<String>());
    }
    for reject in &decoded.rejects {
        let row = reject.row.map(|row| format!(".{row}")).unwrap_or_default();
        let _ = writeln!(text, "! {}{row} {}", reject.offset, reject.reason);
    }
    for notice in &decoded.notices {
        let _ = writeln!(text, "? {notice}");
    }
    let counts = decoded.frames;
    if counts.filtered > 0 {
        let _ = writeln!(text, "filtered {}", counts.filtered);
    }
    if counts.quarantined > 0 {
        let _ = writeln!(text, "quarantined {}", counts.quarantined);
    }
    text
}

/// One row, its values as text.
pub(super) struct Row {
    pub(super) offset: i64,
    pub(super) number: i64,
    pub(super) values: Vec<(String, String)>,
}

pub(super) fn rows(batch: &RecordBatch) -> Vec<Row> {
    let (columns, meta) = batch.columns().split_at(batch.num_columns() - meta::ALL.len());
    let number = |column: usize, row: usize| value(&meta[column], row).parse().expect("a number");
    (0..batch.num_rows())
        .map(|row| {
            assert_eq!(number(0, row), 3, "_partition");
            let (offset, received) = (number(1, row), &meta[3]);
            assert_eq!(value(received, row), Timestamp(1_000_000 + offset).to_string());
            let values = batch.schema_ref().fields().iter().zip(columns);
            Row {
                offset,
                number: number(2, row),
                values: values
                    .map(|(field, array)| (field.name().clone(), value(array, row)))
                    .collect(),
            }
        })
        .collect()
}

fn value(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "null".to_owned();
    }
    if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        return Timestamp(times.value(row)).to_string();
    }
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::new());
    formatter.expect("every other type is shown").value(row).to_string()
}

/// The outcomes of all frames add up to the frames (S12).
#[track_caller]
pub(super) fn assert_balanced(decoded: &Decoded, frames: &Frames) {
    let counts = decoded.frames;
    assert_eq!(
        counts.decoded + counts.filtered + counts.quarantined,
        frames.len() as u64,
        "S12: every frame has one outcome"
    );
    let refused = decoded.rejects.iter().filter(|reject| reject.row.is_none()).count();
    assert_eq!(counts.quarantined, refused as u64, "S13: every refused frame has its reason");
}

/// A folder of the recorded data; none, and a line that says so, where it is absent.
pub(super) fn recorded(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("THALWEG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = root.join(folder);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no recorded data at {} (set THALWEG_DATA)", path.display());
    None
}

/// How many cases a property is tried on.
pub(super) fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}
