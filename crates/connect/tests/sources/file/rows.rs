//! Files that keep rows: Parquet and Avro.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use arrow_avro::writer::AvroWriter;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use thalweg_connect::codecs::columns::carried_columns;
use thalweg_connect::sources::file::{FileConfig, Framing, RowFormat, carried_schema};
use thalweg_core::env::Disk;
use thalweg_core::source::{Chunk, Input as _, ReadLimit};

use super::{EVERYTHING, GIB_40, Rig};

fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let names: StringArray = numbers.clone().map(|number| Some(format!("n{number}"))).collect();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    RecordBatch::try_from_iter([("id", numbers), ("name", Arc::new(names))]).unwrap()
}

fn parquet(numbers: std::ops::Range<i64>) -> Vec<u8> {
    let rows = rows(numbers);
    // Several groups, so that reading begins in the middle of one and of several.
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1_000)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

/// A container of blocks of 100 rows.
fn avro(numbers: std::ops::Range<i64>) -> Vec<u8> {
    let first = rows(0..0);
    let mut writer = AvroWriter::new(Vec::new(), first.schema().as_ref().clone()).unwrap();
    let mut from = numbers.start;
    while from < numbers.end {
        let to = (from + 100).min(numbers.end);
        writer.write(&rows(from..to)).unwrap();
        from = to;
    }
    writer.finish().unwrap();
    writer.into_inner()
}

fn config(format: RowFormat) -> FileConfig {
    FileConfig { framing: Framing::Rows(format), ..FileConfig::new("/data/*") }
}

/// Offset, place and value of each row.
fn ids(chunk: &Chunk) -> Vec<(i64, i64)> {
    let Some(rows) = &chunk.frames.rows else { return Vec::new() };
    let ids = rows.column_by_name("id").unwrap().as_primitive::<Int64Type>();
    assert_eq!(rows.num_rows(), chunk.frames.len());
    chunk.frames.spans.iter().zip(ids.values()).map(|(span, id)| (span.offset, *id)).collect()
}

#[tokio::test]
async fn rows_come_once_by_number_wherever_reading_begins() {
    for (format, one, two) in [
        (RowFormat::Parquet, parquet(0..3_500), parquet(3_500..3_600)),
        (RowFormat::Avro, avro(0..3_500), avro(3_500..3_600)),
    ] {
        let mut rig = Rig::over(&[("/data/a", &one), ("/data/b", &two)], config(format));
        let expected: Vec<(i64, i64)> = (0..3_500)
            .map(|id| (id, id))
            .chain((0..100).map(|row| (GIB_40 + row, 3_500 + row)))
            .collect();
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            let some = ReadLimit { frames_max: 333, ..EVERYTHING };
            let chunk = rig.read(some).await.unwrap();
            assert!(chunk.unreadable.is_empty(), "{:?}", chunk.unreadable);
            if let Some((offset, _)) = ids(&chunk).first() {
                let row = offset % GIB_40 + 1;
                let file = if *offset < GIB_40 { "a" } else { "b" };
                assert_eq!(chunk.place(0), Some(format!("/data/{file} row {row}")));
            }
            seen.extend(ids(&chunk));
            if seen.len() % 2 == 0 {
                rig.restart();
            }
        }
        assert_eq!(seen, expected, "{format:?}");
        assert!(rig.read(EVERYTHING).await.unwrap().at_end);
        let heads = rig.input.unread_heads(0).await.unwrap();
        assert_eq!(heads.spans.iter().map(|span| span.offset).collect::<Vec<_>>(), [0, GIB_40]);
    }
}

#[tokio::test]
async fn an_avro_file_grows_by_blocks() {
    let whole = avro(0..300);
    let cut = avro(0..200).len();
    let mut rig = Rig::over(&[("/data/a", &whole[..cut])], config(RowFormat::Avro));
    let mut seen = Vec::new();
    loop {
        let chunk = rig.read(EVERYTHING).await.unwrap();
        seen.extend(ids(&chunk));
        if chunk.at_end {
            break;
        }
    }
    assert_eq!(seen.len(), 200);
    // In two parts, the first of which ends in the middle of a block.
    for (from, to) in [(cut, cut + 20), (cut + 20, whole.len())] {
        rig.append_bytes("/data/a", &whole[from..to]);
        for _ in 0..4 {
            rig.pass(Duration::from_millis(100));
            seen.extend(ids(&rig.read(EVERYTHING).await.unwrap()));
        }
    }
    assert_eq!(seen, (0..300).map(|id| (id, id)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_changed_or_is_damaged_is_told() {
    for (format, one, other) in [
        (RowFormat::Parquet, parquet(0..100), parquet(1..102)),
        (RowFormat::Avro, avro(0..100), avro(1..102)),
    ] {
        let mut rig = Rig::over(&[("/data/a", &one)], config(format));
        while !rig.read(EVERYTHING).await.unwrap().at_end {}
        rig.truncate("/data/a", 0);
        rig.append_bytes("/data/a", &other);
        rig.restart();
        let read = rig.read(EVERYTHING).await;
        rig.refused(read, "has changed behind the position");

        let mut damaged = one.clone();
        let middle = damaged.len() / 3;
        damaged[middle..middle + 40].fill(0xff);
        let mut rig = Rig::over(&[("/data/a", &damaged), ("/data/b", &other)], config(format));
        let (mut good, mut reasons) = (0, Vec::new());
        loop {
            let chunk = rig.read(EVERYTHING).await.unwrap();
            good += ids(&chunk).len();
            reasons.extend(chunk.unreadable.iter().map(|part| part.reason.clone()));
            if chunk.at_end {
                break;
            }
            rig.pass(Duration::from_millis(300));
        }
        assert!(good >= 101 && reasons.len() <= 1, "{format:?}: {good} rows, {reasons:?}");
    }
}

#[test]
fn a_file_says_what_its_columns_are() {
    let rig = Rig::over(
        &[("/data/a.parquet", &parquet(0..3)), ("/data/a.avro", &avro(0..3)), ("/data/x", b"?")],
        FileConfig::new("/data/*"),
    );
    let disk: Arc<dyn Disk> = Arc::new(rig.disk.clone());
    for (path, format) in
        [("/data/*.parquet", RowFormat::Parquet), ("/data/a.avro", RowFormat::Avro)]
    {
        let schema = carried_schema(&disk, path, format).unwrap();
        let carried = carried_columns(&schema);
        let shown: Vec<String> =
            carried.iter().map(|it| format!("{} {}", it.name, it.kind)).collect();
        assert_eq!(shown, ["id bigint", "name text"]);
    }
    for (path, what) in [("/data/none", "no file"), ("/data/x", "/data/x: ")] {
        let error = carried_schema(&disk, path, RowFormat::Parquet).unwrap_err();
        assert!(error.message.contains(what), "{}", error.message);
    }
}
