//! Values arrive exactly: every type, its edges, and what MySQL has no place for.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float32Array, Float64Array, Int8Array, Int32Array, Int64Array, LargeStringArray, RecordBatch,
    StringArray, StringViewArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use sqlx::Row as _;
use thalweg_connect::sinks::database::{DatabaseConfig, Mode};
use thalweg_connect::sinks::mysql;
use thalweg_core::{ErrorKind, Result};

use super::server::{Database, per_server};
use crate::hand_over;

/// Makes table `t` of a row number `n` and a column `v`, and writes the values to it.
async fn try_to_write(database: &mut Database, field: Field, values: ArrayRef) -> Result<()> {
    let numbers: Int32Array = (0..i32::try_from(values.len()).expect("few rows")).collect();
    let number = Field::new("n", numbers.data_type().clone(), false);
    let rows = RecordBatch::try_new(
        Arc::new(Schema::new(vec![number, field])),
        vec![Arc::new(numbers), values],
    )
    .expect("two columns of one length");
    database.run("DROP TABLE IF EXISTS t, thalweg_stamps").await;
    let config = DatabaseConfig::new(&database.url, "t", Mode::Append);
    let mut sink = mysql::sink(config, "changes", rows.schema())?;
    let count = rows.num_rows() as u64;
    let committed = hand_over(&mut sink, &[(1, rows)]).await?;
    assert_eq!(committed.rows_written, count);
    Ok(())
}

async fn write(database: &mut Database, values: impl Array + 'static) {
    let field = Field::new("v", values.data_type().clone(), true);
    try_to_write(database, field, Arc::new(values)).await.expect("it is written");
}

/// Checks the type of the column made for `values`, and what is read of it, in order.
async fn check(
    database: &mut Database,
    values: impl Array + 'static,
    kind: &str,
    expected: &[&str],
) {
    write(database, values).await;
    check_column(database, kind, "v", expected).await;
}

async fn check_column(database: &mut Database, kind: &str, read: &str, expected: &[&str]) {
    let found = "SELECT COLUMN_TYPE FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't' AND COLUMN_NAME = 'v'";
    database.check(found, &[kind]).await;
    database.check(&format!("SELECT {read} FROM t ORDER BY n"), expected).await;
}

#[tokio::test]
async fn booleans_and_integers() {
    let database = &mut Database::shared().await;
    let values = BooleanArray::from(vec![Some(true), Some(false), None]);
    check(database, values, "tinyint(1)", &["1", "0", "–"]).await;
    let values = Int32Array::from(vec![Some(i32::MIN), Some(0), Some(i32::MAX), None]);
    let (int, bigint) = per_server(("int(11)", "bigint(20)"), ("int", "bigint"));
    check(database, values, int, &["-2147483648", "0", "2147483647", "–"]).await;
    let values = Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]);
    let expected = ["-9223372036854775808", "9223372036854775807", "–"];
    check(database, values, bigint, &expected).await;
    check(database, Int8Array::from(vec![-128, 127]), int, &["-128", "127"]).await;
    let values = UInt64Array::from(vec![0, u64::MAX]);
    check(database, values, "decimal(20,0)", &["0", "18446744073709551615"]).await;
}

#[tokio::test]
async fn floats_keep_every_bit() {
    let database = &mut Database::shared().await;
    let doubles = [0.1 + 0.2, f64::MIN_POSITIVE / 4.0, f64::MAX, f64::MIN, 1e-300];
    write(database, Float64Array::from(doubles.to_vec())).await;
    let rows = database.binary("SELECT v FROM t ORDER BY n").await;
    for (row, value) in rows.iter().zip(doubles) {
        assert_eq!(row.get::<f64, _>(0).to_bits(), value.to_bits(), "{value}");
    }
    assert_eq!(rows.len(), doubles.len());

    let reals = [0.1_f32, f32::MIN_POSITIVE / 4.0, f32::MAX, 16_777_217.0];
    write(database, Float32Array::from(reals.to_vec())).await;
    let rows = database.binary("SELECT v FROM t ORDER BY n").await;
    for (row, value) in rows.iter().zip(reals) {
        assert_eq!(row.get::<f32, _>(0).to_bits(), value.to_bits(), "{value}");
    }
    assert_eq!(rows.len(), reals.len());

    // MySQL knows one zero.
    write(database, Float64Array::from(vec![-0.0])).await;
    database.check("SELECT v = 0 FROM t", &["1"]).await;
}

#[tokio::test]
async fn decimals_are_exact() {
    let database = &mut Database::shared().await;
    let largest = 10_i128.pow(38) - 1;
    let values = vec![Some(largest), Some(-largest), Some(0), Some(1), Some(-10_000), None];
    let values = Decimal128Array::from(values).with_precision_and_scale(38, 10).expect("38 digits");
    let nines = "9".repeat(28);
    let expected = [
        &format!("{nines}.9999999999"),
        &format!("-{nines}.9999999999"),
        "0.0000000000",
        "0.0000000001",
        "-0.0000010000",
        "–",
    ];
    check(database, values, "decimal(38,10)", &expected).await;

    let fine = Decimal128Array::from(vec![1]).with_precision_and_scale(38, 31).expect("38 digits");
    let field = Field::new("v", fine.data_type().clone(), true);
    let error = try_to_write(database, field, Arc::new(fine)).await.expect_err("31 digits");
    assert!(
        error.chain().contains("MySQL has no type for decimal128(38, 31)"),
        "{}",
        error.chain()
    );
}

#[tokio::test]
async fn any_decimal_is_exact() {
    let database = &mut Database::shared().await;
    let mut runner = TestRunner::deterministic();
    let digits = prop_oneof![any::<i128>(), any::<i64>().prop_map(i128::from)];
    let unscaled: Vec<i128> = (0..2_000)
        .map(|_| digits.new_tree(&mut runner).expect("nothing is rejected").current())
        .map(|value| value % 10_i128.pow(38))
        .collect();
    for scale in [0, 3, 30] {
        let values = Decimal128Array::from(unscaled.clone());
        let values = values.with_precision_and_scale(38, scale).expect("38 digits");
        let expected: Vec<String> =
            (0..values.len()).map(|row| values.value_as_string(row)).collect();
        write(database, values).await;
        assert_eq!(database.rows("SELECT v FROM t ORDER BY n").await, expected, "scale {scale}");
    }
}

#[tokio::test]
async fn days_and_instants() {
    let database = &mut Database::shared().await;
    // Local settings of the server mean nothing: an instant is in UTC.
    database.run("SET GLOBAL time_zone = '+05:30'").await;
    let days = vec![Some(0), Some(-1), Some(19_713), Some(-354_285), Some(2_932_896), None];
    let expected = ["1970-01-01", "1969-12-31", "2023-12-22", "1000-01-01", "9999-12-31", "–"];
    check(database, Date32Array::from(days), "date", &expected).await;
    let micros = vec![
        Some(1_703_258_644_022_001),
        Some(-1),
        Some(-30_610_224_000_000_000),
        Some(253_402_300_799_999_999),
        None,
    ];
    let instants = [
        "2023-12-22 15:24:04.022001",
        "1969-12-31 23:59:59.999999",
        "1000-01-01 00:00:00.000000",
        "9999-12-31 23:59:59.999999",
        "–",
    ];
    for zone in ["UTC", "Asia/Tokyo"] {
        let times = TimestampMicrosecondArray::from(micros.clone()).with_timezone(zone);
        check(database, times, "datetime(6)", &instants).await;
    }
    let times = TimestampNanosecondArray::from(vec![1_703_258_644_022_001_999]);
    check(database, times, "datetime(6)", &["2023-12-22 15:24:04.022001"]).await;
}

#[tokio::test]
async fn text_and_bytes() {
    let database = &mut Database::shared().await;
    let long = "🦀".repeat(100_000);
    let texts =
        vec![Some("naïve 日本 🦀"), Some(""), Some("'\"\\ ; --\n\0 "), Some(long.as_str()), None];
    let expected = &["naïve 日本 🦀", "", "'\"\\ ; --\n\0 ", long.as_str(), "–"];
    check(database, StringArray::from(texts.clone()), "longtext", expected).await;
    check(database, LargeStringArray::from(texts.clone()), "longtext", expected).await;
    check(database, StringViewArray::from(texts.clone()), "longtext", expected).await;
    let values = texts.into_iter().collect::<DictionaryArray<Int32Type>>();
    check(database, values, "longtext", expected).await;
    let bytes: Vec<Option<&[u8]>> = vec![Some(b"\x00\xff"), Some(b""), None];
    write(database, BinaryArray::from(bytes)).await;
    check_column(database, "longblob", "hex(v)", &["00FF", "", "–"]).await;
}

#[tokio::test]
async fn json_keeps_its_text_in_mariadb_and_its_meaning_in_mysql() {
    let database = &mut Database::shared().await;
    let json = r#"{"b": 1.0, "a": "\u0000", "price": 12345678901234567890.123456789}"#;
    let texts = StringArray::from(vec![Some(json), Some("null"), None]);
    let extension = ("ARROW:extension:name".to_owned(), "arrow.json".to_owned());
    let field =
        Field::new("v", texts.data_type().clone(), true).with_metadata(HashMap::from([extension]));
    try_to_write(database, field.clone(), Arc::new(texts)).await.expect("it is written");
    let (kind, kept) = per_server(
        ("longtext", json),
        ("json", r#"{"a": "\u0000", "b": 1.0, "price": 1.2345678901234567e19}"#),
    );
    check_column(database, kind, "v", &[kept, "null", "–"]).await;
    database.check("SELECT json_value(v, '$.b') FROM t WHERE n = 0", &["1.0"]).await;

    let broken = StringArray::from(vec!["{"]);
    let error = try_to_write(database, field, Arc::new(broken)).await.expect_err("no JSON");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
}

#[tokio::test]
async fn values_without_a_place_are_refused_with_a_reason() {
    let database = &mut Database::shared().await;
    refuse(database, Float64Array::from(vec![1.0, f64::NAN]), "the value NaN").await;
    refuse(database, Float64Array::from(vec![f64::NEG_INFINITY]), "the value -inf").await;
    refuse(database, Float32Array::from(vec![f32::INFINITY]), "the value inf").await;
    refuse(database, Date32Array::from(vec![-354_286]), "the value 0999-12-31").await;
    refuse(database, Date32Array::from(vec![i32::MAX]), "the value").await;
    let times = vec![253_402_300_800_000_000];
    let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
    refuse(database, times, "the value +10000-01-01").await;
    let times = TimestampMicrosecondArray::from(vec![i64::MIN]).with_timezone("UTC");
    refuse(database, times, "the value").await;
}

async fn refuse(database: &mut Database, values: impl Array + 'static, part: &str) {
    let field = Field::new("v", values.data_type().clone(), true);
    let outcome = try_to_write(database, field, Arc::new(values)).await;
    let error = outcome.expect_err("it has no place");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
    assert!(error.chain().contains("column `v` cannot be written"), "{}", error.chain());
    assert!(error.chain().contains(part), "{part:?} in {}", error.chain());
}
