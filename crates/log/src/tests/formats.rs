//! What is on disk, byte for byte: golden files of each version ever written.
//!
//! Those of version 1 were made by a program of its own from the formats as they are described,
//! with batches by kafka-python 3.0.12.

use super::*;

/// Two segments and their settings, written by this version: the same bytes as ever.
#[tokio::test]
async fn files_are_written_as_they_always_were() {
    let (disk, log) = fresh(1024).await;
    write_golden(&log).await;
    for (file, golden) in GOLDEN {
        let written = disk.read(&Path::new(FOLDER).join("trades.raw").join(file)).unwrap();
        assert_eq!(written, read_golden(golden), "{golden}");
    }
}

/// Files of an older version are read.
#[tokio::test]
async fn files_of_every_version_are_read() {
    let disk = MemDisk::new(0);
    disk.create_dir_all(Path::new("/log/trades.raw/0")).unwrap();
    for (file, golden) in GOLDEN {
        let path = Path::new(FOLDER).join("trades.raw").join(file);
        disk.write_whole(&path, &read_golden(golden)).unwrap();
    }
    disk.write_whole(&file_in_trades("00000000000000000003.log"), &read_golden(EMPTY)).unwrap();
    let (log, recovery) = open(&disk).unwrap();
    assert_eq!(recovery, Recovery::default());
    assert_eq!(log.topics().await.unwrap(), [("trades.raw".to_owned(), settings(1024))]);
    let found = values(&log, 0).await;
    assert_eq!(found, ["first", "second", &"x".repeat(1000)]);
    assert_eq!(log.offset_at(&trades(), Timestamp(1_500)).await.unwrap(), Some(2));
}

const GOLDEN: [(&str, &str); 3] = [
    ("topic", "log-topic-v1.txt"),
    ("0/00000000000000000000.log", "log-segment-v1.bin"),
    ("0/00000000000000000000.index", "log-index-v1.bin"),
];
const EMPTY: &str = "log-segment-empty-v1.bin";

async fn write_golden(log: &EmbeddedLog) {
    append_synced(log, batch(1, &["first", "second"])).await.unwrap();
    append_synced(log, batch(2, &["x".repeat(1000).as_str()])).await.unwrap();
}

fn read_golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats");
    std::fs::read(folder.join(name)).unwrap()
}
