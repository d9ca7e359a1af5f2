//! Staging as functions of plain data: layouts that are refused, the last row per key against a
//! map that is simply overwritten, and chunks that lose nothing.

use std::collections::HashMap;
use std::time::Duration;

use arrow::array::{Float64Array, Int32Array, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use proptest::prelude::*;

use super::*;
use crate::sinks::database::layout::Layout;
use crate::sinks::database::server::Server;
use crate::sinks::database::{Mode, OPERATION, OPERATION_DELETE};
use crate::sinks::postgres;

fn server() -> Box<dyn Server> {
    postgres::server("postgres://localhost/db", Duration::ZERO, Duration::ZERO).expect("a URL")
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn upsert(key: &[&str]) -> Mode {
    Mode::Upsert { key: key.iter().map(|name| (*name).to_owned()).collect() }
}

#[test]
fn everything_that_stands_against_a_layout_is_listed() {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    let columns = [("symbol", DataType::Utf8), ("path", list), (OPERATION, DataType::Utf8)];
    check(&columns, &upsert(&["symbl"]), &["no type for list", "did you mean `symbol`?"]);
    check(&columns, &Mode::Append, &["cannot be appended", "no type for list"]);
    check(&columns[..1], &upsert(&[]), &["needs a key"]);
    check(&columns[..1], &upsert(&["symbol", "symbol"]), &["given twice"]);
    check(&[("a", DataType::Int32), ("a", DataType::Int32)], &Mode::Append, &["two columns"]);
    check(&[("", DataType::Int32)], &Mode::Append, &["is empty"]);
}

#[track_caller]
fn check(columns: &[(&str, DataType)], mode: &Mode, parts: &[&str]) {
    let Err(error) = Layout::new(schema(columns), mode, server().as_ref()) else {
        panic!("{columns:?} is taken")
    };
    let text = error.chain();
    for part in parts {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn zeros_and_nans_are_one_key_each() {
    let layout =
        Layout::new(schema(&[("x", DataType::Float64)]), &upsert(&["x"]), server().as_ref());
    let layout = layout.expect("a float can be a key");
    let values = vec![0.0, -0.0, f64::NAN, -f64::NAN, f64::from_bits(0x7ff8_0000_0000_0001)];
    let rows = RecordBatch::try_new(
        schema(&[("x", DataType::Float64)]),
        vec![Arc::new(Float64Array::from(values))],
    );
    let (staged, _) =
        layout.stage(1, &rows.expect("one column"), server().as_ref()).expect("no null");
    let last = LastPerKey::of(&[staged], &layout.key).expect("it can be keyed");
    assert_eq!((last.puts, last.superseded), (vec![(0, 1), (0, 4)], 3));
}

/// Rows of a small epoch: key, value, whether it deletes.
fn epochs() -> impl Strategy<Value = Vec<Vec<(i32, String, bool)>>> {
    let row = (0..6, "[a-z]{0,4}", any::<bool>());
    prop::collection::vec(prop::collection::vec(row, 0..8), 0..6)
}

fn batch(rows: &[(i32, String, bool)]) -> RecordBatch {
    let operation = rows.iter().map(|row| if row.2 { OPERATION_DELETE } else { "update" });
    RecordBatch::try_new(
        schema(&[("k", DataType::Int32), (OPERATION, DataType::Utf8), ("v", DataType::Utf8)]),
        vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int32Array>()),
            Arc::new(operation.map(Some).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| Some(row.1.as_str())).collect::<StringArray>()),
        ],
    )
    .expect("three columns of one length")
}

proptest! {
    #[test]
    fn the_last_row_of_each_key_is_kept(epochs in epochs()) {
        let input = batch(&[]).schema();
        let layout = Layout::new(input, &upsert(&["k"]), server().as_ref()).expect("k is a column");
        let mut staged = Vec::new();
        let mut expected = HashMap::new();
        let mut handed = 0;
        for (epoch, rows) in (1..).zip(&epochs) {
            staged.push(layout.stage(epoch, &batch(rows), server().as_ref()).expect("no null").0);
            for (key, value, delete) in rows {
                expected.insert(*key, (!delete).then(|| value.clone()));
                handed += 1;
            }
        }

        let last = LastPerKey::of(&staged, &layout.key).expect("it can be keyed");
        let kept = last.puts.len() + last.deletes.len();
        prop_assert_eq!(kept as u64 + last.superseded, handed, "S12");

        let batches: Vec<RecordBatch> = staged.iter().map(|staged| staged.rows.clone()).collect();
        let key_of = |(batch, row): Position| {
            batches[batch].column(0).as_primitive::<arrow::datatypes::Int32Type>().value(row)
        };
        let mut found = HashMap::new();
        for position in last.deletes {
            found.insert(key_of(position), None);
        }
        for chunk in Chunks::new(&batches, last.puts.into_iter()) {
            let chunk = chunk.expect("batches of one schema");
            let keys = chunk.column(0).as_primitive::<arrow::datatypes::Int32Type>();
            let values = chunk.column(1).as_string::<i32>();
            for row in 0..chunk.num_rows() {
                found.insert(keys.value(row), Some(values.value(row).to_owned()));
            }
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn chunks_are_bounded_by_rows_and_by_bytes() {
    check_chunks(&vec!["x".to_owned(); CHUNK_ROWS_MAX + 1], &[CHUNK_ROWS_MAX, 1]);
    check_chunks(&vec!["x".repeat(CHUNK_BYTES / 2); 5], &[2, 2, 1]);
    check_chunks(&vec!["x".repeat(CHUNK_BYTES * 2); 2], &[1, 1]);
    check_chunks(&[], &[]);
}

#[track_caller]
fn check_chunks(texts: &[String], expected: &[usize]) {
    let column = Arc::new(texts.iter().map(Some).collect::<StringArray>());
    let rows = RecordBatch::try_new(schema(&[("t", DataType::Utf8)]), vec![column]);
    let batches = [rows.expect("one column")];
    let chunks = Chunks::new(&batches, positions(&batches));
    let sizes: Vec<usize> = chunks.map(|chunk| chunk.expect("one schema").num_rows()).collect();
    assert_eq!(sizes, expected);
}
