//! The bytes of a checkpoint: a golden file of each version, and foreign bytes refused.

use arrow::array::AsArray;
use proptest::prelude::*;
use thalweg_core::ErrorKind;

use super::*;

/// The checkpoint of a stream `SELECT … FROM predict(next_level, readings)`, as version 1 wrote it.
fn golden() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats");
    std::fs::read(folder.join("checkpoint-v1.ckpt")).expect("a golden file")
}

#[test]
fn a_checkpoint_of_version_1_reads_and_is_written_alike() {
    let read = Checkpoint::decode(&golden()).expect("version 1");
    assert_eq!((read.head.epoch, read.head.source.rows_valid), (5, 7_300));
    assert_eq!(read.head.models["next_level"], json!({ "champion": null, "strong_naive": 2 }));
    assert_eq!(read.operators.len(), 4);
    let (name, state) = &read.operators[0].batches[0];
    assert_eq!((name.as_str(), state.num_rows()), ("forecaster", 1));
    assert!(state.column(0).as_binary::<i32>().value(0).starts_with(b"thlwpred"));

    let again = Checkpoint::decode(&read.encode().expect("it writes")).expect("version 1");
    let head = |it: &Checkpoint| serde_json::to_value(&it.head).expect("it writes");
    assert_eq!(head(&again), head(&read));
    for (again, read) in again.operators.iter().zip(&read.operators) {
        assert_eq!(again.facts, read.facts);
        assert_eq!(again.batches, read.batches);
    }
    assert_eq!(again.operators.len(), read.operators.len());
}

#[test]
fn a_later_version_is_refused_with_what_to_do() {
    let mut bytes = golden();
    bytes.truncate(bytes.len() - 4);
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
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
