//! Types and names that tables take, and rows made to fit them.

use arrow::array::{
    DictionaryArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, TimeUnit};

use super::*;

fn schema(fields: &[(&str, DataType, bool)]) -> Schema {
    Schema::new(
        fields
            .iter()
            .map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable))
            .collect::<Vec<_>>(),
    )
}

fn by_day() -> DayPartition {
    DayPartition { column: "day".to_owned(), source: "ts".to_owned() }
}

#[test]
fn arrow_types_become_what_delta_can_hold() {
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let texts = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8View));
    check_type(nanos, Some("timestamp"));
    check_type(texts, Some("string"));
    check_type(DataType::UInt64, Some("long"));
    check_type(DataType::Date64, Some("date"));
    check_type(DataType::Decimal128(24, 10), Some("decimal(24,10)"));
    check_type(DataType::Boolean, Some("boolean"));
    check_type(DataType::FixedSizeBinary(16), Some("binary"));
    check_type(DataType::Time64(TimeUnit::Microsecond), None);
    check_type(DataType::Null, None);
    check_type(DataType::Decimal128(10, -2), None);
}

#[track_caller]
fn check_type(arrow: DataType, delta: Option<&str>) {
    let columns = Columns::new(&schema(&[("x", arrow.clone(), true)]), None);
    let found =
        columns.map(|columns| columns.table.field("x").map(|field| field.data_type().to_string()));
    match delta {
        Some(delta) => assert_eq!(found.unwrap().as_deref(), Some(delta), "{arrow}"),
        None => assert!(found.unwrap_err().message.contains("`x`"), "{arrow}"),
    }
}

#[test]
fn names_that_delta_refuses_are_refused_here() {
    for names in [["avg(price)", "b"], ["a b", "c"], ["", "b"], ["price", "Price"]] {
        let fields = names.map(|name| (name, DataType::Int64, true));
        assert!(Columns::new(&schema(&fields), None).is_err(), "{names:?}");
    }
    let fields = [("ts", timestamp_type(), true), ("text", DataType::Utf8, true)];
    for (column, source) in [("ts", "ts"), ("day", "none"), ("day", "text"), ("d=y", "ts")] {
        let partition = DayPartition { column: column.to_owned(), source: source.to_owned() };
        let refused = Columns::new(&schema(&fields), Some(&partition));
        assert!(refused.is_err(), "{partition:?}");
    }
}

#[test]
fn each_difference_to_a_table_is_named() {
    let ours = [("a", DataType::Int64, true), ("b", DataType::Utf8, false)];
    let theirs = [("a", DataType::Float64, true), ("c", DataType::Boolean, true)];
    let ours = Columns::new(&schema(&ours), None).unwrap();
    let theirs = Columns::new(&schema(&theirs), None).unwrap();
    assert_eq!(
        ours.differences(&theirs.table, &["day".to_owned()]),
        [
            "`a` is double, expected long",
            "`b` string is not there",
            "`c` boolean is too many",
            "it is partitioned by (day), expected ()",
        ]
    );
    assert!(ours.differences(&ours.table, &[]).is_empty());
}

#[test]
fn rows_are_brought_into_shape_by_name() {
    let columns = [("ts", timestamp_type(), false), ("s", DataType::Utf8, true)];
    let columns = Columns::new(&schema(&columns), Some(&by_day())).unwrap();
    let symbols: DictionaryArray<Int32Type> = ["x", "y"].into_iter().collect();
    let rows = RecordBatch::try_from_iter([
        ("s", Arc::new(symbols) as ArrayRef),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![1, 2])) as ArrayRef),
        ("day", Arc::new(Int64Array::from(vec![0, 0])) as ArrayRef),
    ])
    .unwrap();
    let shaped = columns.conform(&rows).unwrap();
    assert_eq!(shaped.schema().field(0).data_type(), &timestamp_type());
    assert!(matches!(shaped.schema().field(1).data_type(), DataType::Dictionary(_, _)));
    let plain = align(shaped, &columns.file).unwrap();
    assert_eq!(plain.column(1).as_ref(), &StringArray::from(vec!["x", "y"]) as &dyn Array);

    let stray = [("price", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)];
    let refused = columns.conform(&RecordBatch::try_from_iter(stray).unwrap()).unwrap_err();
    assert!(refused.message.contains("`price`"), "{}", refused.message);
    let nulls = [("s", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)];
    assert!(columns.conform(&RecordBatch::try_from_iter(nulls).unwrap()).is_err());
}

#[test]
fn rows_are_split_by_day_in_the_order_given() {
    let columns = [("ts", timestamp_type(), true), ("n", DataType::Int64, true)];
    let columns = Columns::new(&schema(&columns), Some(&by_day())).unwrap();
    let day = thalweg_core::time::MICROS_PER_DAY;
    let times = [Some(day), Some(0), Some(day + 1), None, Some(i64::MAX), Some(1)];
    let times = TimestampMicrosecondArray::from_iter(times).with_timezone("UTC");
    let rows = RecordBatch::try_from_iter([
        ("ts", Arc::new(times) as ArrayRef),
        ("n", Arc::new(Int64Array::from_iter_values(0..6)) as ArrayRef),
    ])
    .unwrap();
    let rows = columns.conform(&rows).unwrap();
    let numbers = |(day, rows): (Option<Day>, RecordBatch)| {
        (
            day.map(|day| day.0),
            rows.column(1).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec(),
        )
    };
    let parts: Vec<_> = columns.split(rows.clone()).unwrap().into_iter().map(numbers).collect();
    assert_eq!(parts, [(None, vec![3, 4]), (Some(0), vec![1, 5]), (Some(1), vec![0, 2])]);
    let parts = columns.split(rows.slice(1, 1)).unwrap();
    assert_eq!((parts.len(), parts[0].0), (1, Some(Day(0))));
}
