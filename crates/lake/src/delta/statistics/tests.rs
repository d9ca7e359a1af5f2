//! Bounds hold for every value written, and are written as readers expect.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn statistics(columns: Vec<(&str, ArrayRef)>) -> Json {
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    for row in 0..rows.num_rows() {
        writer.write(&rows.slice(row, 1)).unwrap();
        // A row group each, so that bounds have to be merged.
        writer.flush().unwrap();
    }
    serde_json::from_str(&of_file(&writer.finish().unwrap(), &rows.schema())).unwrap()
}

#[test]
fn each_type_has_its_form() {
    let times = TimestampMicrosecondArray::from(vec![1_703_258_644_022_001, 0]);
    let decimals = Decimal128Array::from(vec![-5, 12_345]).with_precision_and_scale(24, 3).unwrap();
    let found = statistics(vec![
        ("text", Arc::new(StringArray::from(vec![Some("b"), None]))),
        ("number", Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]))),
        ("price", Arc::new(Float64Array::from(vec![1.5, -2.5]))),
        ("at", Arc::new(times.with_timezone("UTC"))),
        ("date", Arc::new(Date32Array::from(vec![1, 0]))),
        ("amount", Arc::new(decimals)),
        ("flag", Arc::new(BooleanArray::from(vec![true, false]))),
    ]);
    assert_eq!(
        found,
        json!({
            "numRecords": 2,
            "minValues": {
                "text": "b", "number": i64::MIN, "price": -2.5, "at": "1970-01-01T00:00:00Z",
                "date": "1970-01-01", "amount": -0.005,
            },
            "maxValues": {
                "text": "b", "number": i64::MAX, "price": 1.5, "at": "2023-12-22T15:24:04.023Z",
                "date": "1970-01-02", "amount": 12.345,
            },
            "nullCount": {
                "text": 1, "number": 0, "price": 0, "at": 0, "date": 0, "amount": 0, "flag": 0,
            },
        })
    );
}

#[test]
fn what_json_cannot_say_has_no_bounds() {
    let times = TimestampMicrosecondArray::from(vec![i64::MAX - 1, 0]).with_timezone("UTC");
    let found = statistics(vec![
        ("infinite", Arc::new(Float64Array::from(vec![1.0, f64::INFINITY]))),
        ("far", Arc::new(times)),
        ("null", Arc::new(Int64Array::from(vec![None, None]))),
    ]);
    assert_eq!(found["minValues"], json!({}));
    assert_eq!(found["maxValues"], json!({}));
    assert_eq!(found["nullCount"], json!({"infinite": 0, "far": 0, "null": 2}));
}

#[test]
fn decimals_keep_every_digit() {
    for (digits, scale, text) in [
        (0, 0, "0"),
        (-7, 0, "-7"),
        (1, 10, "0.0000000001"),
        (-123_456_789_012_345_678_901_234, 10, "-12345678901234.5678901234"),
        (i128::MIN, 1, "-17014118346046923173168730371588410572.8"),
    ] {
        assert_eq!(decimal(digits, scale).as_deref(), Some(text));
    }
}

#[test]
fn the_days_of_a_file_are_read_back() {
    let of = |statistics: Json| days(Some(&statistics.to_string()), "ts");
    let whole = json!({
        "minValues": {"ts": "2023-12-22T15:24:04.022Z"},
        "maxValues": {"ts": "2023-12-24"},
        "nullCount": {"ts": 0},
    });
    assert_eq!(of(whole.clone()), Day::parse("2023-12-22").zip(Day::parse("2023-12-24")));
    for (path, value) in
        [("nullCount", json!(1)), ("minValues", json!("?")), ("maxValues", json!(7))]
    {
        let mut broken = whole.clone();
        broken[path]["ts"] = value;
        assert_eq!(of(broken), None, "{path}");
    }
    assert_eq!((days(None, "ts"), days(Some("{"), "ts")), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn bounds_are_never_too_narrow(
        texts in prop::collection::vec(".{0,80}", 1..4),
        micros in prop::collection::vec(-62_135_596_800_000_000i64..253_402_300_799_000_000, 1..4),
    ) {
        let found = statistics(vec![("x", Arc::new(StringArray::from(texts.clone())))]);
        let bound = |bounds: &str| found[bounds]["x"].as_str().unwrap().to_owned();
        prop_assert!(texts.iter().all(|text| bound("minValues") <= *text));
        prop_assert!(texts.iter().all(|text| *text <= bound("maxValues")));

        let times = TimestampMicrosecondArray::from(micros.clone()).with_timezone("UTC");
        let found = statistics(vec![("x", Arc::new(times))]);
        let bound = |bounds: &str| Timestamp::parse(found[bounds]["x"].as_str().unwrap()).unwrap();
        prop_assert!(micros.iter().all(|micros| bound("minValues").0 <= *micros));
        prop_assert!(micros.iter().all(|micros| *micros <= bound("maxValues").0));
    }
}
