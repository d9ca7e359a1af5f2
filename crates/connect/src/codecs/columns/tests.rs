//! Each carried type against each declared one.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int32Array, Int64Array, ListArray, StringArray, StringViewArray, StructArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Int32Type};
use thalweg_core::frame::FrameSpan;
use thalweg_core::time::Timestamp;

use super::*;
use crate::codecs::testing::{columns, show};

fn frames(rows: RecordBatch) -> Frames {
    let span = |row: usize| FrameSpan {
        start: 0,
        len: 0,
        offset: row as i64,
        received_at: Timestamp(1_000_000 + row as i64),
    };
    Frames {
        partition: 3,
        spans: (0..rows.num_rows()).map(span).collect(),
        rows: Some(rows),
        ..Frames::default()
    }
}

#[track_caller]
fn check(declared: &str, carried: impl Array + 'static, expected: &str) {
    let rows = RecordBatch::try_from_iter([("x", Arc::new(carried) as ArrayRef)]).expect("a batch");
    let mut decoder = ColumnsDecoder::new(columns(&[declared])).expect("columns");
    let decoded = decoder.decode(&frames(rows)).expect("rows are decoded or refused");
    assert_eq!(show(&decoded).trim_end(), expected.trim_end(), "{declared}");
}

#[test]
fn numbers_become_numbers_that_are_the_same() {
    let wide = || Int64Array::from(vec![Some(7), None, Some(1 << 53), Some((1 << 53) + 1)]);
    check(
        "x int",
        wide(),
        "0.0 x=7\n1.0 x=null\n! 2.0 x: 9007199254740992 does not fit int\n\
         ! 3.0 x: 9007199254740993 does not fit int",
    );
    check(
        "x double",
        wide(),
        "0.0 x=7.0\n1.0 x=null\n2.0 x=9007199254740992.0\n\
         ! 3.0 x: 9007199254740993 does not fit double",
    );
    check(
        "x decimal(5,2)",
        Int32Array::from(vec![7, 1000]),
        "0.0 x=7.00\n! 1.0 x: 1000 does not fit decimal(5,2)",
    );
    check(
        "x bigint",
        UInt64Array::from(vec![1, u64::MAX]),
        "0.0 x=1\n! 1.0 x: 18446744073709551615 does not fit bigint",
    );
    let floats = || Float64Array::from(vec![2.0, 0.1, f64::NAN]);
    check(
        "x int",
        floats(),
        "0.0 x=2\n! 1.0 x: 0.1 does not fit int\n! 2.0 x: NaN does not fit int",
    );
    check("x double", floats(), "0.0 x=2.0\n1.0 x=0.1\n! 2.0 x: NaN is not a finite number");
    check(
        "x decimal(3,1)",
        Float64Array::from(vec![0.1, 0.15]),
        "0.0 x=0.1\n! 1.0 x: \"0.15\" does not fit decimal(3,1)",
    );
    let exact = || {
        Decimal128Array::from(vec![12345, 100]).with_precision_and_scale(9, 2).expect("a decimal")
    };
    check("x double", exact(), "0.0 x=123.45\n1.0 x=1.0");
    check("x decimal(9,1)", exact(), "1.0 x=1.0\n! 0.0 x: 123.45 does not fit decimal(9,1)");
    check("x bigint", exact(), "1.0 x=1\n! 0.0 x: 123.45 does not fit bigint");
}

#[test]
fn instants_are_cut_and_dates_are_midnights() {
    check(
        "x timestamp",
        TimestampNanosecondArray::from(vec![1_500, -1]),
        "0.0 x=1970-01-01T00:00:00.000001Z\n1.0 x=1969-12-31T23:59:59.999999Z",
    );
    check("x timestamp", Date32Array::from(vec![1]), "0.0 x=1970-01-02T00:00:00Z");
    check("x timestamp", Int64Array::from(vec![1000]), "0.0 x=1970-01-01T00:00:01Z");
    check("x date", Date32Array::from(vec![1]), "0.0 x=1970-01-02");
    check(
        "x date",
        Int32Array::from(vec![1]),
        "! 0.0 x: expected a date such as 2023-12-22, found 1",
    );
}

#[test]
fn texts_come_in_many_layouts() {
    check("x text", StringViewArray::from(vec![Some("a"), None]), "0.0 x=a\n1.0 x=null");
    let dictionary: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    check("x text", dictionary, "0.0 x=a\n1.0 x=b\n2.0 x=a");
    check(
        "x int",
        StringArray::from(vec!["1", "x"]),
        "0.0 x=1\n! 1.0 x: expected a whole number, found \"x\"",
    );
    check(
        "x text",
        BinaryArray::from(vec![&b"a"[..], b"\xff"]),
        "0.0 x=a\n! 1.0 x: bytes that are not UTF-8",
    );
    check(
        "x text not null",
        StringArray::from(vec![Some("a"), None]),
        "0.0 x=a\n! 1.0 x: null in a column that is not null",
    );
    check("x text", Int32Array::from(vec![1]), "! 0.0 x: expected a string, found 1");
    check("x boolean", BooleanArray::from(vec![true]), "0.0 x=true");
}

#[test]
fn what_is_nested_is_json_and_its_members_are_found() {
    let lists =
        ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    check("x json", lists, "0.0 x=[1,null]\n1.0 x=null");
    let field = Arc::new(Field::new("a", DataType::Int32, true));
    let inner: ArrayRef = Arc::new(Int32Array::from(vec![5, 6]));
    let nulls = Some(vec![true, false].into());
    let structure = StructArray::new(vec![field].into(), vec![inner], nulls);
    check("y int from x.a", structure.clone(), "0.0 y=5\n1.0 y=null");
    check("x json", structure, "0.0 x={\"a\":5}\n1.0 x=null");
}

#[test]
fn what_a_file_lacks_is_null_or_refuses() {
    let rows = || {
        RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef)])
            .expect("a batch")
    };
    let decode = |texts: &[&str]| {
        let mut decoder = ColumnsDecoder::new(columns(texts)).expect("columns");
        show(&decoder.decode(&frames(rows())).expect("decoded"))
    };
    assert_eq!(decode(&["a int", "b text"]), "0.0 a=1 b=null\n");
    assert_eq!(
        decode(&["a int", "b text not null"]),
        "! 0.0 b: null in a column that is not null\n"
    );
    assert_eq!(decode(&["b text"]), "! 0.0 none of the columns is there\n");
}

#[test]
fn carried_columns_are_those_of_the_file() {
    let schema = Schema::new(vec![
        Field::new("_id", DataType::UInt64, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("id", DataType::Utf8, true),
    ]);
    let carried = carried_columns(&schema);
    let found: Vec<String> =
        carried.iter().map(|it| format!("{} {} {}", it.name, it.kind, it.path())).collect();
    assert_eq!(found, ["id decimal(20,0) _id", "at timestamp at"]);
    assert!(!carried[0].nullable);
}
