//! What a caller was told is there after the process died, and every format ever written is read.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use thalweg_core::store::{Expected, Store};
use thalweg_core::time::Timestamp;
use thalweg_store::SqliteStore;

/// Set for the process that is killed: the file it writes to.
const FILE: &str = "THALWEG_STORE_KILL_FILE";

#[tokio::test]
async fn every_write_that_was_answered_survives_kill_9() {
    if let Ok(path) = std::env::var(FILE) {
        return write_until_killed(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metadata.db");
    let mut answered = 0;
    for kill_after in [1, 7, 30] {
        answered = answered.max(last_answer_before_kill(&path, answered + kill_after));
        let store = SqliteStore::open(&path).await.expect("opens after the kill");
        let row = store.get("counter", "c").await.expect("read").expect("there");
        let entries = store.entries("h", 0, usize::MAX).await.expect("read");
        // One more of each may have been written whose answer did not get out.
        assert!(row.version >= answered, "{} of {answered}", row.version);
        assert_eq!(row.value, json!(row.version));
        assert!(entries.len() as u64 >= answered && entries.len() as u64 <= row.version);
        for (entry, number) in entries.iter().zip(1..) {
            assert_eq!((entry.number, &entry.value), (number, &json!(number)));
        }
        answered = row.version;
        store.close().await;
    }
}

async fn write_until_killed(path: &Path) {
    let store = SqliteStore::open(path).await.expect("opens");
    let last = store.get("counter", "c").await.expect("read").map_or(0, |row| row.version);
    let entries = store.entries("h", 0, usize::MAX).await.expect("read").len() as u64;
    // The kill may have come between the two writes of a number.
    for number in entries + 1..=last {
        store.append("h", Timestamp(0), &json!(number)).await.expect("appended");
    }
    for number in last + 1.. {
        store.put("counter", "c", Expected::Any, &json!(number)).await.expect("written");
        store.append("h", Timestamp(0), &json!(number)).await.expect("appended");
        println!("answered {number}");
    }
}

/// Runs a writer until it has answered `number`, kills it, and says what it answered last.
fn last_answer_before_kill(path: &Path, number: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "every_write_that_was_answered_survives_kill_9", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut last = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        let answer = line.split_once("answered ").and_then(|(_, number)| number.parse().ok());
        last = answer.unwrap_or(last);
        if last >= number {
            break;
        }
    }
    assert!(last >= number, "the writer ended by itself at {last}");
    child.kill().expect("killed");
    child.wait().expect("gone");
    last
}

#[tokio::test]
async fn a_file_of_version_1_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metadata.db");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/metadata-v1.db");
    std::fs::copy(golden, &path).expect("copied");
    let store = SqliteStore::open(&path).await.expect("opens");
    let rows = store.list("job", "", false, 9).await.expect("listed");
    let rows: Vec<_> = rows.into_iter().map(|row| (row.id, row.version, row.value)).collect();
    assert_eq!(
        rows,
        [
            ("hourly".to_owned(), 1, json!({ "paused": true })),
            ("nightly".to_owned(), 2, json!({ "cursor": 1_703_258_644_022_000_i64 })),
        ]
    );
    let entries = store.entries("job/nightly", 0, 9).await.expect("read");
    let entries: Vec<_> = entries.into_iter().map(|e| (e.number, e.at.0, e.value)).collect();
    assert_eq!(entries, [(2, 20, json!({ "event": "resumed" }))]);
    assert_eq!(store.append("job/nightly", Timestamp(30), &json!(3)).await.expect("appended"), 3);
}
