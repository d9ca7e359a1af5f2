//! The form of each type in JSON and CSV, as `docs/reference/http.md` has it.

use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeBinaryBuilder, Int64Builder, ListBuilder, MapBuilder, StringBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{
    BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array, DictionaryArray,
    DurationSecondArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray,
    StringViewArray, StructArray, Time32SecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow_schema::Field;

use super::*;

#[test]
fn each_type_has_one_form() {
    check(BooleanArray::from(vec![Some(true), None]), "boolean", "[true,null]", "true,");
    check(Int32Array::from(vec![-5]), "int", "[-5]", "-5");
    check(
        Int64Array::from(vec![9_007_199_254_740_991, 9_007_199_254_740_992, i64::MIN]),
        "bigint",
        r#"[9007199254740991,"9007199254740992","-9223372036854775808"]"#,
        "9007199254740991,9007199254740992,-9223372036854775808",
    );
    check(
        UInt64Array::from(vec![7, u64::MAX]),
        "bigint",
        r#"[7,"18446744073709551615"]"#,
        "7,18446744073709551615",
    );
    check(Float32Array::from(vec![0.1]), "real", "[0.1]", "0.1");
    check(
        Float64Array::from(vec![0.1, 1e300, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        "double",
        r#"[0.1,1e+300,-0.0,"NaN","Infinity","-Infinity"]"#,
        "0.1,1e+300,-0.0,NaN,Infinity,-Infinity",
    );
    check(
        Decimal128Array::from(vec![12_345, -5]).with_precision_and_scale(24, 3).unwrap(),
        "decimal(24,3)",
        r#"["12.345","-0.005"]"#,
        "12.345,-0.005",
    );
    check(StringViewArray::from(vec!["a"]), "text", r#"["a"]"#, "a");
    check(BinaryArray::from(vec![&b"\x00\xff"[..], b""]), "bytes", r#"["AP8=",""]"#, r#"AP8=,"""#);
    check(Date32Array::from(vec![19_713]), "date", r#"["2023-12-22"]"#, "2023-12-22");
    check(Date64Array::from(vec![-1]), "date", r#"["1969-12-31"]"#, "1969-12-31");
    check(
        TimestampMicrosecondArray::from(vec![1_703_258_644_022_000, -1]).with_timezone("UTC"),
        "timestamp",
        r#"["2023-12-22T15:24:04.022Z","1969-12-31T23:59:59.999999Z"]"#,
        "2023-12-22T15:24:04.022Z,1969-12-31T23:59:59.999999Z",
    );
    check(
        TimestampNanosecondArray::from(vec![1]),
        "timestamp",
        r#"["1970-01-01T00:00:00.000000001Z"]"#,
        "1970-01-01T00:00:00.000000001Z",
    );
    check(
        TimestampSecondArray::from(vec![0, i64::MAX]),
        "timestamp",
        r#"["1970-01-01T00:00:00Z","9223372036854775807/1 s"]"#,
        "1970-01-01T00:00:00Z,9223372036854775807/1 s",
    );
    check(Time32SecondArray::from(vec![52_200]), "time", r#"["14:30:00"]"#, "14:30:00");
    check(DurationSecondArray::from(vec![90]), "interval", r#"["PT90S"]"#, "PT90S");
    check(
        vec![Some("a"), None, Some("a")].into_iter().collect::<DictionaryArray<Int32Type>>(),
        "text",
        r#"["a",null,"a"]"#,
        "a,,a",
    );
    let none: DictionaryArray<Int32Type> = vec![None::<&str>].into_iter().collect();
    check(none, "text", "[null]", "");
}

#[test]
fn what_is_nested_is_json() {
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    check(lists.finish(), "list", "[[1,null],null]", r#""[1,null]","#);

    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    maps.keys().append_value("a");
    maps.values().append_value(1);
    maps.append(true).unwrap();
    check(maps.finish(), "map", r#"[[["a",1]]]"#, r#""[[""a"",1]]""#);

    let field = Arc::new(Field::new("a \"b\"", DataType::Utf8, true));
    let column: ArrayRef = Arc::new(StringArray::from(vec![Some("x\n"), None]));
    let array = StructArray::from(vec![(field, column)]);
    check(
        array,
        "struct",
        r#"[{"a \"b\"":"x\n"},{"a \"b\"":null}]"#,
        r#""{""a \""b\"""":""x\n""}","{""a \""b\"""":null}""#,
    );

    let mut fixed = FixedSizeBinaryBuilder::new(1);
    fixed.append_value([1]).unwrap();
    check(fixed.finish(), "bytes", r#"["AQ=="]"#, "AQ==");
}

#[test]
fn csv_quotes_what_would_be_misread() {
    let texts = ["plain", "", "a,b", "say \"hi\"", "two\nlines", " edge", "in side", "\r"];
    check(
        StringArray::from(texts.to_vec()),
        "text",
        r#"["plain","","a,b","say \"hi\"","two\nlines"," edge","in side","\r"]"#,
        "plain,\"\",\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",\" edge\",in side,\"\r\"",
    );
}

#[track_caller]
fn check(array: impl Array + 'static, name: &str, json: &str, csv: &str) {
    let array: ArrayRef = Arc::new(array);
    assert_eq!(type_name(array.data_type()), name);
    let column = Column::new(&array);
    let mut as_json = vec![b'['];
    let mut as_csv = Vec::new();
    for row in 0..array.len() {
        separate(row, &mut as_json);
        separate(row, &mut as_csv);
        column.value(row).write_json(&mut as_json);
        column.value(row).write_csv(&mut as_csv);
    }
    as_json.push(b']');
    assert_eq!(String::from_utf8(as_json).unwrap(), json);
    assert_eq!(String::from_utf8(as_csv).unwrap(), csv);
}
