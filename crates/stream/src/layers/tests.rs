//! Equal layers give no difference; doctored ones exactly theirs.

use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use proptest::prelude::*;
use serde_json::json;
use thalweg_core::schema::timestamp_type;
use thalweg_core::time::Day;

use super::*;

/// (symbol, hour, volume, trades) of a row.
type Row = (String, i64, Option<f64>, i64);

fn rows(rows: &[Row]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("window_start", timestamp_type(), false),
        Field::new("volume", DataType::Float64, true),
        Field::new("trades", DataType::Int64, false),
    ]);
    let times: TimestampMicrosecondArray =
        rows.iter().map(|row| Some(row.1 * 3_600_000_000)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0.as_str())).collect::<StringArray>()),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.3)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit")
}

#[track_caller]
fn compare(live: &[Row], batch: &[Row]) -> Vec<Difference> {
    let key = ["symbol".to_owned(), "window_start".to_owned()];
    let of_day = |rows: RecordBatch| {
        of_time(&rows, "window_start", Day(0).start(), Day(0).end()).expect("it has times")
    };
    let (live, batch) = (of_day(rows(live)), [of_day(rows(batch))]);
    differences(&key, &live, &batch).expect("the layers compare")
}

fn row(symbol: &str, hour: i64, volume: f64, trades: i64) -> Row {
    (symbol.to_owned(), hour, Some(volume), trades)
}

#[test]
fn values_and_missing_rows_are_told_and_other_days_are_not() {
    let live =
        [row("A", 0, 1.0, 1), row("A", 1, 2.0, 2), row("B", 3, 5.0, 5), row("A", 24, 9.0, 9)];
    let batch = [row("C", 2, 7.0, 7), row("A", 1, 2.5, 3), row("A", 0, 1.0 + 1e-12, 1)];
    let hour = |hour: i64| format!("1970-01-01T0{hour}:00:00Z");
    let key = |symbol: &str, at: i64| json!({ "symbol": symbol, "window_start": hour(at) });
    let value = |column: &str, live: Value, batch: Value| Difference {
        key: key("A", 1),
        column: Some(column.to_owned()),
        live,
        batch,
    };
    let whole = |symbol: &str, at: i64, count: i64| {
        json!({
            "symbol": symbol, "window_start": hour(at), "volume": count as f64, "trades": count,
        })
    };
    assert_eq!(
        compare(&live, &batch),
        [
            value("volume", json!(2.0), json!(2.5)),
            value("trades", json!(2), json!(3)),
            Difference {
                key: key("B", 3),
                column: None,
                live: whole("B", 3, 5),
                batch: Value::Null
            },
            Difference {
                key: key("C", 2),
                column: None,
                live: Value::Null,
                batch: whole("C", 2, 7)
            },
        ]
    );
}

#[test]
fn a_null_differs_from_a_value_and_not_from_a_null() {
    let null = [("A".to_owned(), 0, None, 1)];
    assert_eq!(compare(&null, &null), []);
    let found = compare(&null, &[row("A", 0, 1.0, 1)]);
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].live, &found[0].batch), (&Value::Null, &json!(1.0)));
}

proptest! {
    #[test]
    fn exactly_the_doctored_rows_differ(
        mut batch in proptest::collection::btree_map((0..4_u8, 0..24_i64), (0.1..1e6_f64, 1..99_i64), 0..40),
        doctored in proptest::collection::btree_set((0..4_u8, 0..24_i64), 0..6),
    ) {
        let of = |rows: &std::collections::BTreeMap<(u8, i64), (f64, i64)>| -> Vec<Row> {
            rows.iter().map(|(key, it)| (key.0.to_string(), key.1, Some(it.0), it.1)).collect()
        };
        let live = of(&batch);
        prop_assert_eq!(compare(&live, &live), []);
        let hit: Vec<(u8, i64)> =
            doctored.into_iter().filter(|key| batch.contains_key(key)).collect();
        for key in &hit {
            batch.entry(*key).and_modify(|it| it.1 += 1);
        }
        let found = compare(&live, &of(&batch));
        prop_assert_eq!(found.len(), hit.len());
        for (found, (symbol, hour)) in found.iter().zip(hit) {
            prop_assert_eq!(found.column.as_deref(), Some("trades"));
            prop_assert_eq!(&found.key["symbol"], &json!(symbol.to_string()));
            let expected = Timestamp(hour * 3_600_000_000).to_string();
            prop_assert_eq!(&found.key["window_start"].as_str().map(|it| &it[..13]), &Some(&expected[..13]));
        }
    }
}
