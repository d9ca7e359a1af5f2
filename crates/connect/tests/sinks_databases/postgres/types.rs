//! Values arrive exactly: every type, its edges, and what PostgreSQL has no place for.

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
use thalweg_connect::sinks::database::{DatabaseConfig, Mode};
use thalweg_connect::sinks::postgres;

use super::server::Database;
use crate::hand_over;

/// Makes table `t` of a row number `n` and a column `v`, and writes the values to it.
async fn write(database: &mut Database, field: Field, values: ArrayRef) {
    let numbers: Int32Array = (0..i32::try_from(values.len()).expect("few rows")).collect();
    let number = Field::new("n", numbers.data_type().clone(), false);
    let rows = RecordBatch::try_new(
        Arc::new(Schema::new(vec![number, field])),
        vec![Arc::new(numbers), values],
    )
    .expect("two columns of one length");
    database.run("DROP TABLE IF EXISTS t, thalweg_stamps").await;
    let config = DatabaseConfig::new(&database.url, "t", Mode::Append);
    let mut sink = postgres::sink(config, "changes", rows.schema()).expect("it fits");
    let count = rows.num_rows() as u64;
    let committed = hand_over(&mut sink, &[(1, rows)]).await.expect("it is written");
    assert_eq!(committed.rows_written, count);
}

/// Checks the type of the column made for `values`, and what `read` of it gives, in order.
async fn check(
    database: &mut Database,
    values: impl Array + 'static,
    kind: &str,
    read: &str,
    expected: &[&str],
) {
    let field = Field::new("v", values.data_type().clone(), true);
    check_field(database, field, values, kind, read, expected).await;
}

async fn check_field(
    database: &mut Database,
    field: Field,
    values: impl Array + 'static,
    kind: &str,
    read: &str,
    expected: &[&str],
) {
    write(database, field, Arc::new(values)).await;
    let found = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute \
                 WHERE attrelid = 't'::regclass AND attname = 'v'";
    database.check(found, &[kind]).await;
    database.check(&format!("SELECT {read} FROM t ORDER BY n"), expected).await;
}

#[tokio::test]
async fn booleans_and_integers() {
    let database = &mut Database::shared().await;
    check(
        database,
        BooleanArray::from(vec![Some(true), Some(false), None]),
        "boolean",
        "v",
        &["t", "f", "–"],
    )
    .await;
    check(
        database,
        Int32Array::from(vec![Some(i32::MIN), Some(0), Some(i32::MAX), None]),
        "integer",
        "v",
        &["-2147483648", "0", "2147483647", "–"],
    )
    .await;
    check(
        database,
        Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]),
        "bigint",
        "v",
        &["-9223372036854775808", "9223372036854775807", "–"],
    )
    .await;
    check(database, Int8Array::from(vec![-128, 127]), "integer", "v", &["-128", "127"]).await;
    check(
        database,
        UInt64Array::from(vec![0, u64::MAX]),
        "numeric(20,0)",
        "v",
        &["0", "18446744073709551615"],
    )
    .await;
}

#[tokio::test]
async fn floats_keep_every_bit() {
    let database = &mut Database::shared().await;
    let doubles = [
        0.1 + 0.2,
        -0.0,
        f64::MIN_POSITIVE / 4.0,
        f64::MAX,
        f64::NEG_INFINITY,
        f64::from_bits(0xfff8_0000_0000_beef),
    ];
    let bits: Vec<String> = doubles.iter().map(|v| format!("{:016x}", v.to_bits())).collect();
    let bits: Vec<&str> = bits.iter().map(String::as_str).collect();
    let values = Float64Array::from(doubles.to_vec());
    check(database, values, "double precision", "encode(float8send(v), 'hex')", &bits).await;

    let reals = [0.1_f32, -0.0, f32::MIN_POSITIVE / 4.0, f32::INFINITY, f32::NAN];
    let bits: Vec<String> = reals.iter().map(|v| format!("{:08x}", v.to_bits())).collect();
    let bits: Vec<&str> = bits.iter().map(String::as_str).collect();
    let values = Float32Array::from(reals.to_vec());
    check(database, values, "real", "encode(float4send(v), 'hex')", &bits).await;
}

#[tokio::test]
async fn decimals_are_exact() {
    let database = &mut Database::shared().await;
    let largest = 10_i128.pow(38) - 1;
    let values = vec![Some(largest), Some(-largest), Some(0), Some(1), Some(-10_000), None];
    let nines = "9".repeat(28);
    check(
        database,
        Decimal128Array::from(values).with_precision_and_scale(38, 10).expect("38 digits"),
        "numeric(38,10)",
        "v",
        &[
            &format!("{nines}.9999999999"),
            &format!("-{nines}.9999999999"),
            "0.0000000000",
            "0.0000000001",
            "-0.0000010000",
            "–",
        ],
    )
    .await;
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
    for scale in [0, 3, 4, 37, 38] {
        let values = Decimal128Array::from(unscaled.clone());
        let values = values.with_precision_and_scale(38, scale).expect("38 digits");
        let expected: Vec<String> =
            (0..values.len()).map(|row| values.value_as_string(row)).collect();
        let field = Field::new("v", values.data_type().clone(), true);
        write(database, field, Arc::new(values)).await;
        assert_eq!(database.rows("SELECT v FROM t ORDER BY n").await, expected, "scale {scale}");
    }
}

#[tokio::test]
async fn days_and_instants() {
    let database = &mut Database::shared().await;
    check(
        database,
        Date32Array::from(vec![Some(0), Some(-1), Some(19_713), Some(-2_440_588), None]),
        "date",
        "v",
        &["1970-01-01", "1969-12-31", "2023-12-22", "4714-11-24 BC", "–"],
    )
    .await;
    let micros = vec![Some(1_703_258_644_022_001), Some(-1), Some(i64::MAX), None];
    let instants = &[
        "2023-12-22 15:24:04.022001+00",
        "1969-12-31 23:59:59.999999+00",
        "294247-01-10 04:00:54.775807+00",
        "–",
    ];
    let times = TimestampMicrosecondArray::from(micros.clone()).with_timezone("UTC");
    check(database, times, "timestamp with time zone", "v AT TIME ZONE 'UTC' || '+00'", instants)
        .await;
    let times = TimestampMicrosecondArray::from(micros).with_timezone("Asia/Tokyo");
    check(database, times, "timestamp with time zone", "v AT TIME ZONE 'UTC' || '+00'", instants)
        .await;
    check(
        database,
        TimestampNanosecondArray::from(vec![1_703_258_644_022_001_999]),
        "timestamp with time zone",
        "v AT TIME ZONE 'UTC'",
        &["2023-12-22 15:24:04.022001"],
    )
    .await;
}

#[tokio::test]
async fn text_and_bytes() {
    let database = &mut Database::shared().await;
    let texts = vec![Some("naïve 日本 🦀"), Some(""), Some("'\"\\ ; --\n"), None];
    let expected = &["naïve 日本 🦀", "", "'\"\\ ; --\n", "–"];
    check(database, StringArray::from(texts.clone()), "text", "v", expected).await;
    check(database, LargeStringArray::from(texts.clone()), "text", "v", expected).await;
    check(database, StringViewArray::from(texts.clone()), "text", "v", expected).await;
    check(
        database,
        texts.into_iter().collect::<DictionaryArray<Int32Type>>(),
        "text",
        "v",
        expected,
    )
    .await;
    let bytes: Vec<Option<&[u8]>> = vec![Some(b"\x00\xff"), Some(b""), None];
    check(database, BinaryArray::from(bytes), "bytea", "v", &["\\x00ff", "\\x", "–"]).await;
}

#[tokio::test]
async fn json_keeps_its_text() {
    let database = &mut Database::shared().await;
    let texts = StringArray::from(vec![Some(r#"{"b": 1.0, "a": "\u0000"}"#), Some("null"), None]);
    let extension = ("ARROW:extension:name".to_owned(), "arrow.json".to_owned());
    let field =
        Field::new("v", texts.data_type().clone(), true).with_metadata(HashMap::from([extension]));
    let expected = [r#"{"b": 1.0, "a": "\u0000"}"#, "null", "–"];
    check_field(database, field, texts, "json", "v", &expected).await;
}

#[tokio::test]
async fn values_without_a_place_become_the_nearest_that_has_one() {
    let database = &mut Database::shared().await;
    check(
        database,
        StringArray::from(vec!["a\0b", "\0"]),
        "text",
        "v",
        &["a\u{FFFD}b", "\u{FFFD}"],
    )
    .await;
    let times = vec![i64::MIN, -210_866_803_200_000_001, -210_866_803_200_000_000];
    check(
        database,
        TimestampMicrosecondArray::from(times).with_timezone("UTC"),
        "timestamp with time zone",
        "v AT TIME ZONE 'UTC'",
        &["-infinity", "-infinity", "4714-11-24 00:00:00 BC"],
    )
    .await;
    check(
        database,
        Date32Array::from(vec![i32::MIN, -2_440_589, 2_145_042_905, 2_145_042_906, i32::MAX]),
        "date",
        "v",
        &["-infinity", "-infinity", "5874897-12-31", "infinity", "infinity"],
    )
    .await;
}
