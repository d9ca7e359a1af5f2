//! Opening and reading: versions, many commits, checkpoints, and tables of others.

use std::collections::BTreeSet;

use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Int32Array, ListArray,
};
use arrow::compute::concat_batches;
use thalweg_core::ErrorKind;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_version_stays_what_it_was() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    for epoch in 1..=3 {
        commit(&mut sink, epoch, &rows(0, [epoch as i64])).await;
    }
    let sql = "SELECT id FROM t ORDER BY id";
    for delta in [&delta, &place.by_day().await] {
        assert_eq!(query_at(delta, Some(1), sql).await, [1]);
        assert_eq!(query_at(delta, Some(2), sql).await, [1, 2]);
        assert_eq!(query_at(delta, None, sql).await, [1, 2, 3]);
        let (_, version) = delta.provider(Some(2)).await.unwrap();
        assert_eq!((version.version, version.stamp), (2, Some(stamp(2))));
        assert_eq!(delta.provider(Some(4)).await.err().unwrap().kind, ErrorKind::Invalid);
        assert_eq!(delta.provider(Some(-1)).await.err().unwrap().kind, ErrorKind::Invalid);
    }
    let (pinned, _) = delta.provider(None).await.unwrap();
    let again = delta.provider(None).await.unwrap().0;
    assert!(Arc::ptr_eq(&pinned, &again));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_with_the_columns_declared() {
    let place = Place::new();
    let delta = place.by_day().await;
    let (provider, version) = delta.provider(None).await.unwrap();
    assert_eq!((version.version, version.stamp), (0, None));
    let found = provider.schema();
    let expected = schema();
    let day = Field::new("day", DataType::Date32, true);
    let expected = expected.fields().iter().map(|field| field.as_ref().clone()).chain([day]);
    let expected: Vec<Field> = expected.collect();
    assert_eq!(found.fields().iter().map(|f| f.as_ref().clone()).collect::<Vec<_>>(), expected);

    let mut sink = sink(&delta).await;
    sink.write(1, &rows(0, 0..1_000)).await.unwrap();
    sink.write(1, &rows(1, 1_000..1_100)).await.unwrap();
    sink.commit(&stamp(1)).await.unwrap();
    for (sql, expected) in [
        ("SELECT count(*) FROM t", 1_100),
        ("SELECT count(*) FROM t WHERE day = DATE '2023-12-23'", 100),
        ("SELECT count(*) FROM t WHERE ts >= TIMESTAMP '2023-12-23T00:00:00Z'", 100),
        ("SELECT count(*) FROM t WHERE symbol = 'S1' AND id < 10", 3),
        (
            "SELECT arrow_cast(max(ts), 'Int64') FROM t WHERE id < 1000",
            FIRST_DAY.start().0 + 999 * 1_001,
        ),
        ("SELECT arrow_cast(min(ts), 'Int64') FROM t", FIRST_DAY.start().0),
        ("SELECT max(id) FROM t", 1_099),
    ] {
        assert_eq!(query(&delta, sql).await, [expected], "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_read_back_as_it_was_written() {
    let place = Place::new();
    let decimals = Decimal128Array::from(vec![Some(-12_345_678_901_234_567_890), None]);
    let lists =
        ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("int", Arc::new(Int32Array::from(vec![Some(i32::MIN), None]))),
        ("bigint", Arc::new(Int64Array::from(vec![i64::MAX, 0]))),
        ("real", Arc::new(Float32Array::from(vec![f32::MIN_POSITIVE, f32::NAN]))),
        ("double", Arc::new(Float64Array::from(vec![f64::NEG_INFINITY, -0.0]))),
        ("text", Arc::new(StringArray::from(vec!["\u{10348}", ""]))),
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("decimal", Arc::new(decimals.with_precision_and_scale(38, 10).unwrap())),
        ("date", Arc::new(Date32Array::from(vec![-1, 20_000]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None]))),
        ("list", Arc::new(lists)),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let delta = place.open_as(rows.schema(), DeltaOptions::default()).await.unwrap();
    let mut sink = sink(&delta).await;
    for epoch in [1, 2] {
        commit(&mut sink, epoch, &rows.slice(epoch as usize - 1, 1)).await;
    }
    let check = async |delta: &Delta| {
        let context = SessionContext::new();
        context.register_table("t", delta.provider(None).await.unwrap().0).unwrap();
        let sql = "SELECT * FROM t ORDER BY bigint DESC";
        let found = context.sql(sql).await.unwrap().collect().await.unwrap();
        let found = concat_batches(&found[0].schema(), &found).unwrap();
        for (expected, field) in rows.columns().iter().zip(found.schema().fields()) {
            let column = found.column_by_name(field.name()).unwrap();
            assert_eq!(format!("{column:?}"), format!("{expected:?}"), "{}", field.name());
        }
    };
    check(&delta).await;
    for (sql, expected) in [
        ("SELECT bigint FROM t WHERE decimal < -1234567890.1", i64::MAX),
        ("SELECT bigint FROM t WHERE decimal IS NULL", 0),
        ("SELECT bigint FROM t WHERE date = DATE '1969-12-31'", i64::MAX),
        ("SELECT bigint FROM t WHERE text = '\u{10348}'", i64::MAX),
        ("SELECT bigint FROM t WHERE double < -1e300", i64::MAX),
        ("SELECT bigint FROM t WHERE real > 0 AND int < 0", i64::MAX),
    ] {
        assert_eq!(query(&delta, sql).await, [expected], "{sql}");
    }
    assert_eq!(delta.compact().await.unwrap(), (2, 1));
    check(&place.open_as(rows.schema(), DeltaOptions::default()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_commits_stay_readable_when_the_log_is_cut() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    for epoch in 1..=200 {
        commit(&mut sink, epoch, &rows((epoch % 4) as i32, [epoch as i64])).await;
        if epoch == 100 {
            let run = replacement("r1", 7, vec![rows(7, [0])], Some("boundary"));
            delta.replace_days(run).await.unwrap();
        }
    }
    place.env.tasks.close();
    place.env.tasks.wait().await;
    let log = place.path().join("_delta_log");
    let checkpoint = last_checkpoint(&log);
    assert!(checkpoint > 150, "the last checkpoint is of {checkpoint}");

    let (merged, made) = delta.compact().await.unwrap();
    assert_eq!((merged, made), (200, 4));
    delta.checkpoint().await.unwrap();
    // As the clean-up does after a month: nothing before the checkpoint is left.
    let checkpoint = last_checkpoint(&log);
    for entry in std::fs::read_dir(&log).unwrap() {
        let path = entry.unwrap().path();
        let version = path.file_name().and_then(|name| name.to_str()?.get(..20)?.parse().ok());
        if version.is_some_and(|version: u64| version < checkpoint) {
            std::fs::remove_file(path).unwrap();
        }
    }
    let delta = place.by_day().await;
    assert_eq!(ids(&delta).await, (0..=200).collect::<Vec<i64>>());
    assert_eq!(delta.note().await.unwrap().as_deref(), Some("boundary"));
    assert_eq!(delta.history(1_000).await.unwrap().len(), 1);
    let mut reopened = delta.sink().unwrap();
    assert_eq!(reopened.open().await.unwrap(), Some(stamp(200)));
    // The run is still known, and so is the epoch.
    delta.replace_days(replacement("r1", 7, Vec::new(), None)).await.unwrap();
    assert_eq!(commit(&mut reopened, 200, &rows(0, [200])).await, 0);
    commit(&mut sink, 201, &rows(0, [201])).await;
    assert_eq!(ids(&delta).await, (0..=201).collect::<Vec<i64>>());
}

fn last_checkpoint(log: &Path) -> u64 {
    let hint = std::fs::read(log.join("_last_checkpoint")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&hint).unwrap()["version"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_other_columns_is_refused_with_the_differences() {
    let place = Place::new();
    place.by_day().await;
    let other = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("ts", timestamp_type(), false),
    ]));
    let refused = place.open_as(other, DeltaOptions::default()).await.err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    let detail = refused.detail.unwrap();
    for part in ["`id` is long, expected string", "`price` double is too many", "partitioned"] {
        assert!(detail.contains(part), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_asks_too_much_of_its_writers_is_refused() {
    let place = Place::new();
    place.by_day().await;
    let log = place.path().join("_delta_log");
    let protocol = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["appendOnly","changeDataFeed"]}}"#;
    std::fs::write(log.join("00000000000000000001.json"), protocol).unwrap();
    let refused = place.open(by_day()).await.err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    let detail = refused.detail.unwrap();
    assert!(detail.contains("changeDataFeed") && !detail.contains("appendOnly"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_columns_somebody_changed_is_written_no_more() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    commit(&mut sink, 1, &rows(0, [1])).await;
    let log = place.path().join("_delta_log");
    let made = std::fs::read_to_string(log.join("00000000000000000000.json")).unwrap();
    let metadata = made.lines().find(|line| line.contains("metaData")).unwrap();
    let changed = metadata.replace(r#"\"symbol\""#, r#"\"ticker\""#);
    assert_ne!(changed, metadata);
    std::fs::write(log.join("00000000000000000002.json"), changed).unwrap();
    for _ in 0..2 {
        sink.write(2, &rows(0, [2])).await.unwrap();
        let refused = sink.commit(&stamp(2)).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid);
        assert!(refused.detail.unwrap().contains("`symbol`"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_make_a_table_at_once_make_one() {
    let place = Place::new();
    let (a, b) = tokio::join!(place.open(by_day()), place.open(by_day()));
    let (a, b) = (a.unwrap(), b.unwrap());
    commit(&mut sink(&a).await, 1, &rows(0, [1])).await;
    assert_eq!(ids(&b).await, [1]);
    let versions: BTreeSet<i64> =
        a.history(10).await.unwrap().iter().map(|commit| commit.version).collect();
    assert_eq!(versions, BTreeSet::from([0, 1]));
}
