//! Repeats are dropped as long as ids are remembered, through snapshots.

use std::collections::HashSet;

use arrow::array::{StringArray, TimestampMicrosecondArray};
use arrow::datatypes::TimeUnit;
use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;

/// Symbol, id and second of receipt.
type Row = (Option<&'static str>, Option<i64>, i64);

fn schema() -> Schema {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Schema::new(vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("id", DataType::Int64, true),
        Field::new(meta::RECEIVED_AT, utc, false),
    ])
}

fn batch(rows: &[Row]) -> RecordBatch {
    let received = rows.iter().map(|row| row.2 * SECOND);
    let received: TimestampMicrosecondArray = received.collect::<Vec<i64>>().into();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.0))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1))),
        Arc::new(received.with_timezone("UTC")),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns).expect("the columns fit")
}

fn unique(columns: &[&str], within_seconds: u64) -> Unique {
    let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    Unique::new(&schema(), &columns, Duration::from_secs(within_seconds)).expect("they are there")
}

fn ids(rows: &RecordBatch) -> Vec<Option<i64>> {
    rows.column(1).as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn a_row_that_repeats_an_id_is_dropped() {
    let mut unique = unique(&["symbol", "id"], 3_600);
    let first = batch(&[(Some("A"), Some(1), 0), (Some("B"), Some(1), 0), (Some("A"), Some(1), 1)]);
    let fresh = unique.keep(&first).expect("rows");
    assert_eq!((ids(&fresh.rows), fresh.duplicates), (vec![Some(1), Some(1)], 1));
    let second = batch(&[(Some("A"), Some(2), 1), (Some("B"), Some(1), 2)]);
    let fresh = unique.keep(&second).expect("rows");
    let counts = fresh.count(&SourceLedger { rows_decoded: 2, ..SourceLedger::default() });
    assert_eq!((counts.rows_valid, counts.rows_duplicate), (1, 1));
    assert_eq!(counts.broken(), [""; 0], "S12");
}

#[test]
fn null_equals_nothing() {
    let mut unique = unique(&["symbol", "id"], 3_600);
    let rows = batch(&[
        (None, Some(1), 0),
        (None, Some(1), 0),
        (Some("A"), None, 0),
        (Some("A"), None, 0),
    ]);
    assert_eq!(unique.keep(&rows).expect("rows").duplicates, 0);
}

#[test]
fn ids_are_remembered_for_as_long_as_is_said_and_an_eighth_more_at_most() {
    let mut unique = unique(&["symbol", "id"], 80);
    let mut at = |second| {
        unique.keep(&batch(&[(Some("A"), Some(7), second)])).expect("rows").duplicates == 1
    };
    assert_eq!((at(9), at(89), at(90)), (false, true, false));
    // The one at 90 is remembered anew.
    assert!(at(170));
}

#[test]
fn ids_without_gaps_take_next_to_no_room() {
    let mut unique = unique(&["symbol", "id"], 86_400);
    for start in 0..100 {
        let rows: Vec<Row> =
            (start * 1_000..(start + 1) * 1_000).map(|id| (Some("A"), Some(id), start)).collect();
        assert_eq!(unique.keep(&batch(&rows)).expect("rows").duplicates, 0);
    }
    assert!(unique.bytes() < 1_000, "{}", unique.bytes());
    assert_eq!(unique.snapshot().expect("a batch").num_rows(), 1);
}

#[test]
fn ids_that_are_no_numbers_are_remembered_too() {
    let mut unique = unique(&["symbol"], 3_600);
    let rows = batch(&[(Some("A"), None, 0), (Some("B"), None, 0), (Some("A"), Some(1), 0)]);
    assert_eq!(unique.keep(&rows).expect("rows").duplicates, 1);
}

#[test]
fn the_ends_of_numbers_do_no_harm() {
    let mut unique = unique(&["id"], 3_600);
    let ends = [i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1, i64::MAX, i64::MIN];
    let rows: Vec<Row> = ends.iter().map(|id| (None, Some(*id), 0)).collect();
    assert_eq!(unique.keep(&batch(&rows)).expect("rows").duplicates, 2);
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let rows = batch(&[]);
    assert!(unique(&["id"], 1).restore(Some(&rows)).is_err());
    assert!(Unique::new(&schema(), &["nope".to_owned()], Duration::ZERO).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300, failure_persistence: None, ..Default::default()
    })]

    /// A set of ids and times is the oracle; batches are cut anywhere, and a snapshot is taken and
    /// restored at every cut.
    #[test]
    fn it_drops_what_a_set_drops_however_rows_are_cut(
        steps in prop::collection::vec((0..2_usize, 0..12_i64, 0..9_i64), 0..60),
        cuts in prop::collection::vec(1..9_usize, 1..20),
    ) {
        let mut second = 0;
        let rows: Vec<Row> = steps
            .iter()
            .map(|(symbol, id, wait)| {
                second += wait;
                (Some(["A", "B"][*symbol]), Some(*id), second)
            })
            .collect();
        let mut seen: HashSet<(Option<&str>, Option<i64>, i64)> = HashSet::new();
        let expected: Vec<Option<i64>> = rows
            .iter()
            .filter(|(symbol, id, second)| {
                let eighth = second / 2;
                let known = (eighth - EIGHTHS..=eighth).any(|it| seen.contains(&(*symbol, *id, it)));
                if !known {
                    seen.insert((*symbol, *id, eighth));
                }
                !known
            })
            .map(|row| row.1)
            .collect();
        let mut found = Vec::new();
        let mut state = unique(&["symbol", "id"], 16);
        let mut rest = &rows[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, after) = rest.split_at((*cut).min(rest.len()));
            found.extend(ids(&state.keep(&batch(part)).expect("rows").rows));
            let snapshot = state.snapshot().expect("a batch");
            let bytes = state.bytes();
            state = unique(&["symbol", "id"], 16);
            state.restore(Some(&snapshot)).expect("it was one");
            prop_assert_eq!(state.bytes(), bytes);
            rest = after;
        }
        prop_assert_eq!(found, expected);
    }
}
