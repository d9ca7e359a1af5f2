//! The bytes of a checkpoint: a golden file of each version, and foreign bytes refused.

use arrow::array::{ArrayRef, Int64Array, StringArray};
use proptest::prelude::*;
use thalweg_core::ErrorKind;
use thalweg_core::time::Timestamp;

use super::*;

fn golden() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats");
    if std::env::var_os("MAKE_GOLDEN").is_some() {
        std::fs::write(
            folder.join("checkpoint-v1.ckpt"),
            checkpoint().encode().expect("it writes"),
        )
        .expect("written");
    }
    std::fs::read(folder.join("checkpoint-v1.ckpt")).expect("a golden file")
}

fn checkpoint() -> Checkpoint {
    let rows = |value: i64| {
        let symbols: ArrayRef = Arc::new(StringArray::from(vec![Some("A"), None]));
        let values: ArrayRef = Arc::new(Int64Array::from(vec![value, value + 1]));
        RecordBatch::try_from_iter([("symbol", symbols), ("value", values)]).expect("they fit")
    };
    let mut watermark = Watermark::new(5);
    watermark.see(0, Timestamp(1_000));
    watermark.end_epoch(&[], None);
    let head = Head {
        epoch: 42,
        positions: BTreeMap::from([(0, Position { next: 90, manifest: Some("m".to_owned()) })]),
        watermark,
        source: SourceLedger { frames_received: 3, frames_decoded: 3, ..Default::default() },
        sinks: BTreeMap::from([(
            "out".to_owned(),
            SinkPosition {
                committed: 41,
                ledger: SinkLedger { rows_handed: 2, rows_written: 2, rows_superseded: 0 },
            },
        )]),
        epochs_from: 17,
        sides_from: BTreeMap::from([("_late".to_owned(), 4)]),
        models: BTreeMap::from([("next".to_owned(), json!({ "champion": 3 }))]),
        query: "SELECT 1".to_owned(),
    };
    let operators = vec![
        Snapshot { facts: json!({ "ledger": {} }), batches: vec![("keys".to_owned(), rows(7))] },
        Snapshot { facts: json!({ "n": 1 }), batches: Vec::new() },
    ];
    Checkpoint { head, operators, results: BTreeMap::from([("results".to_owned(), rows(9))]) }
}

fn assert_same(found: &Checkpoint, expected: &Checkpoint) {
    let head = |it: &Checkpoint| serde_json::to_value(&it.head).expect("it writes");
    assert_eq!(head(found), head(expected));
    assert_eq!(found.results, expected.results);
    for (found, expected) in found.operators.iter().zip(&expected.operators) {
        assert_eq!(found.facts, expected.facts);
        assert_eq!(found.batches, expected.batches);
    }
    assert_eq!(found.operators.len(), expected.operators.len());
}

#[test]
fn a_checkpoint_of_version_1_reads_and_is_still_written_so() {
    assert_same(&Checkpoint::decode(&golden()).expect("version 1"), &checkpoint());
    let written = checkpoint().encode().expect("it writes");
    assert_same(&Checkpoint::decode(&written).expect("version 1"), &checkpoint());
}

#[test]
fn a_later_version_is_refused_with_what_to_do() {
    let mut bytes = golden();
    bytes.truncate(bytes.len() - 4);
    bytes[8] = 2;
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    let error = Checkpoint::decode(&bytes).expect_err("a later version");
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.message.contains("later version") && error.hint.is_some(), "{error}");
}

proptest! {
    #[test]
    fn a_changed_byte_is_noticed(place in 0_usize..100_000, flip in 1_u8..) {
        let mut bytes = golden();
        let place = place % bytes.len();
        bytes[place] ^= flip;
        prop_assert!(Checkpoint::decode(&bytes).is_err());
    }
}
