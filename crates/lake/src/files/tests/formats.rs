//! Every type through every format: what is read back is what was written.

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_core::schema::{ColumnType, timestamp_type};

use super::*;

/// A column of every type of the project file, in three rows: something, an edge, null.
fn everything(has_bytes: bool) -> RecordBatch {
    let decimal = Decimal128Array::from(vec![Some(61_837_630_000_000_000), Some(-1), None])
        .with_precision_and_scale(24, 10)
        .unwrap();
    let edge = "a, \"b\"\nc; ünïcode";
    let last = 253_402_300_799_999_999;
    let times =
        TimestampMicrosecondArray::from(vec![Some(1_703_258_644_123_456), Some(last), None]);
    let mut columns: Vec<(&str, DataType, ArrayRef)> = vec![
        ("id", DataType::Int64, Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("t", DataType::Utf8, Arc::new(StringArray::from(vec![Some("x"), Some(edge), None]))),
        ("b", DataType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("i", DataType::Int32, Arc::new(Int32Array::from(vec![Some(-7), Some(i32::MIN), None]))),
        ("l", DataType::Int64, Arc::new(Int64Array::from(vec![Some(7), Some(i64::MAX), None]))),
        ("r", DataType::Float32, Arc::new(Float32Array::from(vec![Some(0.1), Some(1e30), None]))),
        (
            "d",
            DataType::Float64,
            Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::MIN_POSITIVE), None])),
        ),
        ("m", ColumnType::Decimal(24, 10).arrow(), Arc::new(decimal)),
        ("date", DataType::Date32, Arc::new(Date32Array::from(vec![Some(19_713), Some(-1), None]))),
        ("ts", timestamp_type(), Arc::new(times.with_timezone("UTC"))),
    ];
    if has_bytes {
        let bytes = BinaryArray::from(vec![Some(b"\x00\xff".as_slice()), Some(b""), None]);
        columns.push(("y", DataType::Binary, Arc::new(bytes)));
    }
    let fields =
        columns.iter().map(|(name, kind, _)| Field::new(*name, kind.clone(), *name != "id"));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|it| it.2).collect()).unwrap()
}

async fn through(format: Format) -> (RecordBatch, RecordBatch) {
    let written = everything(!matches!(format, Format::Csv { .. }));
    let (env, store) = (env(), memory());
    let place = Place::of(store, "t", "memory:/t").unwrap();
    let options = FileOptions { format, partition_by: Vec::new(), roll_bytes: 1 << 20 };
    let table = FileTable::new(&env, place, "t", written.schema_ref(), options).unwrap();
    commit(&mut sink(&table).await, 1, &written).await;
    let context = SessionContext::new();
    context.register_table("t", table.pin().await.unwrap().provider).unwrap();
    let read = context.sql("SELECT * FROM t ORDER BY id").await.unwrap().collect().await.unwrap();
    (written, arrow::compute::concat_batches(read[0].schema_ref(), &read).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back_from_every_format() {
    let csv = |delimiter| Format::Csv { delimiter };
    for format in [Format::Parquet, Format::Avro, Format::Json, csv(b','), csv(b'\t')] {
        let (written, read) = through(format).await;
        for (index, field) in written.schema_ref().fields().iter().enumerate() {
            let name = field.name();
            assert_eq!(read.schema_ref().field(index).name(), name, "{format:?}");
            assert_eq!(read.column(index), written.column(index), "{format:?}, column {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_text_and_null_differ_in_csv_for_those_who_look() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Utf8, true),
        Field::new("b", DataType::Utf8, true),
    ]));
    let text = StringArray::from(vec![Some(""), None, Some("x")]);
    let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(text.clone()), Arc::new(text)]);
    let mut encoding = Format::Csv { delimiter: b';' }.begin(&schema).unwrap();
    encoding.write(&rows.unwrap()).unwrap();
    encoding.finish().unwrap();
    assert_eq!(String::from_utf8(encoding.take()).unwrap(), "a;b\n\"\";\"\"\n;\nx;x\n");
}

#[test]
fn what_a_format_cannot_hold_is_told() {
    let refusal = |format: Format, name: &str, kind: DataType| {
        let schema = Schema::new(vec![Field::new(name, kind, true)]);
        columns(&schema, format, &[]).err().map(|error| error.chain()).unwrap_or_default()
    };
    let csv = Format::Csv { delimiter: b',' };
    assert!(refusal(csv, "y", DataType::Binary).contains("holds no bytes"));
    assert!(refusal(Format::Avro, "24h", DataType::Int64).contains("begin with no digit"));
    assert_eq!(refusal(Format::Parquet, "24h", DataType::Int64), "");
    let by = Partition { column: "price".to_owned(), by: By::Itself };
    let schema = Schema::new(vec![
        Field::new("price", DataType::Float64, true),
        Field::new("id", DataType::Int64, true),
    ]);
    let refused = columns(&schema, csv, &[by]).unwrap_err();
    assert!(refused.chain().contains("folders cannot be named by `price`"), "{}", refused.chain());
}
