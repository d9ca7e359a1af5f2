//! Differences between two results, keyed and not.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};

use super::super::collect::{Collector, Key, Size};
use super::*;

#[test]
fn deltas_say_what_has_changed_and_no_more() {
    let keyed = &["symbol"][..];
    check(
        keyed,
        false,
        &[(1, 1), (2, 2), (3, 3)],
        &[(1, 1), (2, 5), (4, 4)],
        "delete [[\"3\"]] upsert [[\"2\",5],[\"4\",4]]",
    );
    check(keyed, false, &[(1, 1), (2, 2)], &[(2, 2), (1, 1)], "nothing");
    check(keyed, true, &[(1, 1), (2, 2)], &[(2, 2), (1, 1)], "order [1, 0]");
    check(
        keyed,
        true,
        &[(1, 1), (2, 2), (3, 3)],
        &[(4, 4), (1, 1), (2, 2), (3, 3)],
        "upsert [[\"4\",4]] order [3, 0, 1, 2]",
    );
    check(keyed, false, &[(1, 1)], &[(1, 2), (1, 3)], "upsert [[\"1\",3]]");
    check(keyed, false, &[(1, 1)], &[], "snapshot");
    check(
        &[],
        false,
        &[(1, 1), (2, 2), (3, 3)],
        &[(1, 1), (2, 4), (3, 3)],
        "delete [[\"2\",2]] upsert [[\"2\",4]]",
    );
    check(&[], false, &[(1, 1), (1, 1)], &[(1, 1), (1, 1), (1, 1)], "upsert [[\"1\",1]]");
    check(&[], false, &[(1, 1), (1, 1), (2, 2)], &[(1, 1), (2, 2)], "delete [[\"1\",1]]");
    check(&[], false, &[(1, 1)], &[(1, 2)], "snapshot");
    check(&[], true, &[(1, 1), (2, 2), (1, 1)], &[(1, 1), (1, 1), (2, 2)], "order [0, 2, 1]");
}

#[track_caller]
fn check(key: &[&str], ordered: bool, old: &[(u8, i64)], new: &[(u8, i64)], expected: &str) {
    let text = match diff(&result(key, ordered, old), &result(key, ordered, new)) {
        Change::Nothing => "nothing".to_owned(),
        Change::Snapshot => "snapshot".to_owned(),
        Change::Delta { delete, upsert, order } => {
            let mut parts = Vec::new();
            for (name, rows) in [("delete", delete), ("upsert", upsert)] {
                if !rows.is_empty() {
                    parts.push(format!("{name} {}", serde_json::to_string(&rows).unwrap()));
                }
            }
            parts.extend(order.map(|order| format!("order {order:?}")));
            parts.join(" ")
        }
    };
    assert_eq!(text, expected);
}

#[test]
fn other_columns_make_a_snapshot() {
    let keyed = result(&["symbol"], false, &[(1, 1)]);
    let keyless = result(&[], false, &[(1, 1)]);
    assert!(matches!(diff(&keyed, &keyless), Change::Snapshot));
}

#[test]
fn a_demanded_key_must_be_there_and_an_offered_one_need_not() {
    let schema = schema();
    let size = Size { rows_max: 1, bytes_max: 1000 };
    let names = vec!["symbol".to_owned(), "venue".to_owned()];
    let error = Collector::new(&schema, &Key::Demanded(names.clone()), false, size).err().unwrap();
    assert_eq!(error.title, "the result has no column `venue` for its key");
    let mut collector = Collector::new(&schema, &Key::Offered(names), false, size).unwrap();
    collector.add(&batch(&[(1, 1)])).unwrap();
    let error = collector.add(&batch(&[(1, 1)])).unwrap_err();
    assert_eq!(error.title, "the live result has more than 1 rows");
    assert_eq!(collector.finish().key, None);
}

#[test]
fn a_result_of_too_many_bytes_is_refused() {
    let size = Size { rows_max: 1000, bytes_max: 20 };
    let mut collector = Collector::new(&schema(), &Key::Offered(vec![]), false, size).unwrap();
    let error = collector.add(&batch(&[(1, 1), (2, 2), (3, 3), (4, 4)])).unwrap_err();
    assert_eq!(error.title, "the live result has more than 20 bytes");
}

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("price", DataType::Int64, false),
    ])
}

fn batch(rows: &[(u8, i64)]) -> RecordBatch {
    let symbols: StringArray = rows.iter().map(|(symbol, _)| Some(symbol.to_string())).collect();
    let prices: Int64Array = rows.iter().map(|(_, price)| Some(*price)).collect();
    RecordBatch::try_new(Arc::new(schema()), vec![Arc::new(symbols), Arc::new(prices)]).unwrap()
}

/// A result with the columns `symbol` and `price`.
pub(in crate::live) fn result(key: &[&str], ordered: bool, rows: &[(u8, i64)]) -> LiveResult {
    let key = Key::Offered(key.iter().map(|&name| name.to_owned()).collect());
    let size = Size { rows_max: 1000, bytes_max: 100_000 };
    let mut collector = Collector::new(&schema(), &key, ordered, size).unwrap();
    collector.add(&batch(rows)).unwrap();
    collector.finish()
}
