//! A table that others fill: what is read of it, and that nothing is done to it.

use thalweg_core::ErrorKind;

use super::sinks::age;
use super::*;
use crate::delta::{DeltaLookup, LookupColumn, columns_at};

fn column(from: &str, name: &str, data_type: DataType, nullable: bool) -> LookupColumn {
    LookupColumn { from: from.to_owned(), field: Arc::new(Field::new(name, data_type, nullable)) }
}

fn lookup(place: &Place, columns: Vec<LookupColumn>) -> DeltaLookup {
    let folder = crate::Place::of_others(&place.path().display().to_string()).unwrap();
    DeltaLookup::new(&folder, "listed", columns).unwrap()
}

fn ids_and_symbols(place: &Place) -> DeltaLookup {
    let columns = vec![
        column("id", "number", DataType::Int32, false),
        column("symbol", "symbol", DataType::Utf8, true),
    ];
    lookup(place, columns)
}

async fn numbers(lookup: &DeltaLookup) -> Vec<i64> {
    let context = SessionContext::new();
    context.register_table("t", lookup.pin().await.unwrap().provider).unwrap();
    let sql = "SELECT CAST(number AS bigint) AS n FROM t WHERE symbol IS NOT NULL ORDER BY n";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let values =
        |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(values).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_read_at_its_newest_version_by_the_columns_declared() {
    let place = Place::new();
    let mut sink = sink(&place.by_day().await).await;
    commit(&mut sink, 1, &rows(0, [1, 2])).await;
    let lookup = ids_and_symbols(&place);
    assert_eq!(numbers(&lookup).await, [1, 2]);
    let pinned = lookup.pin().await.unwrap();
    let names: Vec<_> =
        pinned.provider.schema().fields().iter().map(|it| it.name().clone()).collect();
    assert_eq!(names, ["number", "symbol"]);
    assert_eq!(lookup.pin().await.unwrap().version, pinned.version);
    commit(&mut sink, 2, &rows(1, [3])).await;
    assert_eq!(numbers(&lookup).await, [1, 2, 3]);
    assert_eq!(lookup.pin().await.unwrap().version, pinned.version + 1);
    assert_eq!(lookup.files().await.unwrap().len(), 2);
    assert_eq!(lookup.history(9).await.unwrap().len(), 3);
    let folder = crate::Place::of_others(&place.path().display().to_string()).unwrap();
    assert_eq!(columns_at(&folder).await.unwrap().fields().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_made_again_is_noticed() {
    let place = Place::new();
    let mut first = sink(&place.by_day().await).await;
    for epoch in 1..=3 {
        commit(&mut first, epoch, &rows(0, [epoch as i64])).await;
    }
    let lookup = ids_and_symbols(&place);
    assert_eq!(numbers(&lookup).await, [1, 2, 3]);
    std::fs::remove_dir_all(place.path()).unwrap();
    commit(&mut sink(&place.by_day().await).await, 1, &rows(0, [7])).await;
    assert_eq!(numbers(&lookup).await, [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_to_it() {
    let place = Place::new();
    let away = ids_and_symbols(&place);
    assert_eq!(away.pin().await.err().unwrap().kind, ErrorKind::Unavailable);
    assert!(!place.path().exists(), "a folder of others is not made");
    let delta = place.by_day().await;
    commit(&mut sink(&delta).await, 1, &rows(0, [1])).await;
    let left = place.path().join("day=2023-12-22/thalweg-0123456789abcdef0123456789abcdef.parquet");
    std::fs::write(&left, "").unwrap();
    age(&left);
    assert_eq!(numbers(&away).await, [1], "it came after the first look");
    assert!(left.exists(), "nothing of it is cleaned up");
    assert!(away.sink().is_err() && away.compact().await.is_err());
    let replaced = away.replace_days(replacement("r", 0, Vec::new(), None)).await;
    assert_eq!(replaced.unwrap_err().kind, ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_told_at_once() {
    let place = Place::new();
    place.by_day().await;
    let columns = vec![
        column("id", "id", DataType::Int64, false),
        column("name", "name", DataType::Utf8, true),
        column("symbol", "symbol", DataType::Utf8, false),
        column("price", "price", DataType::Date32, true),
    ];
    let error = lookup(&place, columns).pin().await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Invalid);
    let detail = error.detail.unwrap();
    for expected in ["`name` is not there", "`symbol` may be null", "`price` is Float64"] {
        assert!(detail.contains(expected), "{detail}");
    }
    assert!(!detail.contains("`id`"), "{detail}");
}
