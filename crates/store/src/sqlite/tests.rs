//! The SQLite store through the `Store` contract, against a model, and when the disk gives out.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;
use thalweg_core::ErrorKind;

use super::*;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

async fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(folder.path().join("metadata.db")).await.expect("the store opens")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_write_happens_only_when_its_expectation_holds() {
    block_on(async {
        let folder = folder();
        let store = open(&folder).await;
        check_put(&store, Expected::Version(1), Err(ErrorKind::Fenced)).await;
        check_put(&store, Expected::Absent, Ok(1)).await;
        check_put(&store, Expected::Absent, Err(ErrorKind::Fenced)).await;
        check_put(&store, Expected::Version(1), Ok(2)).await;
        check_put(&store, Expected::Version(1), Err(ErrorKind::Fenced)).await;
        check_put(&store, Expected::Version(u64::MAX), Err(ErrorKind::Fenced)).await;
        check_put(&store, Expected::Any, Ok(3)).await;
        store.delete("run", "a").await.expect("deleted");
        store.delete("run", "a").await.expect("no error when there is none");
        check_put(&store, Expected::Version(3), Err(ErrorKind::Fenced)).await;
        check_put(&store, Expected::Any, Ok(1)).await;
    });
}

async fn check_put(store: &SqliteStore, expected: Expected, outcome: Result<u64, ErrorKind>) {
    let put = store.put("run", "a", expected, &json!({ "state": "queued" })).await;
    assert_eq!(put.map_err(|error| error.kind), outcome, "{expected:?}");
}

#[test]
fn of_many_claims_at_once_one_wins_each_round() {
    block_on(async {
        let folder = folder();
        let store = open(&folder).await;
        store.put("counter", "c", Expected::Absent, &json!(0)).await.expect("written");
        let mut claims = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            claims.spawn(async move {
                let mut won = 0;
                while won < 5 {
                    let row = store.get("counter", "c").await.expect("read").expect("there");
                    let next = json!(row.value.as_i64().expect("a number") + 1);
                    match store.put("counter", "c", Expected::Version(row.version), &next).await {
                        Ok(_) => won += 1,
                        Err(error) => assert_eq!(error.kind, ErrorKind::Fenced),
                    }
                }
            });
        }
        claims.join_all().await;
        let row = store.get("counter", "c").await.expect("read").expect("there");
        assert_eq!((row.version, row.value), (41, json!(40)));
    });
}

#[test]
fn a_prefix_is_taken_literally_and_in_byte_order() {
    block_on(async {
        let folder = folder();
        let store = open(&folder).await;
        for id in ["a%b", "a_b", "axb", "A%b", "a", "b", "a%", "ä", "a\u{7F}", "a'b", ""] {
            store.put("k", id, Expected::Absent, &json!(id)).await.expect("written");
        }
        store.put("other", "a%c", Expected::Absent, &json!(0)).await.expect("written");
        check_list(&store, "a%", false, 9, &["a%", "a%b"]).await;
        check_list(&store, "a_", false, 9, &["a_b"]).await;
        check_list(&store, "a", false, 3, &["a", "a%", "a%b"]).await;
        check_list(&store, "a", true, 3, &["a\u{7F}", "axb", "a_b"]).await;
        check_list(&store, "a'", true, 3, &["a'b"]).await;
        check_list(&store, "", true, 2, &["ä", "b"]).await;
        check_list(&store, "", false, 2, &["", "A%b"]).await;
        check_list(&store, "a", false, 0, &[]).await;
        check_list(&store, "zz", false, usize::MAX, &[]).await;
    });
}

async fn check_list(
    store: &SqliteStore,
    prefix: &str,
    descending: bool,
    limit: usize,
    ids: &[&str],
) {
    let rows = store.list("k", prefix, descending, limit).await.expect("listed");
    let listed: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(listed, ids, "{prefix:?} {descending}");
}

#[test]
fn a_history_numbers_its_entries_and_never_reuses_a_number() {
    block_on(async {
        let folder = folder();
        let store = open(&folder).await;
        for number in 1..=5 {
            let at = Timestamp(number * 10);
            assert_eq!(store.append("h", at, &json!(number)).await.expect("appended"), number);
        }
        assert_eq!(store.append("other", Timestamp(0), &json!(0)).await.expect("appended"), 1);
        let entries = store.entries("h", 2, 2).await.expect("read");
        let expected =
            [3, 4].map(|number| Entry { number, at: Timestamp(number * 10), value: json!(number) });
        assert_eq!(entries, expected);
        store.trim("h", 5).await.expect("trimmed");
        assert_eq!(store.entries("h", 0, 9).await.expect("read"), []);
        assert_eq!(store.append("h", Timestamp(60), &json!(6)).await.expect("appended"), 6);
        assert_eq!(store.entries("other", 0, 9).await.expect("read").len(), 1);
    });
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_written() {
    block_on(async {
        let folder = folder();
        let store = open(&folder).await;
        let large = Value::String("x".repeat(crate::VALUE_BYTES_MAX));
        let invalid = |result: Result<u64>| {
            assert_eq!(result.expect_err("refused").kind, ErrorKind::Invalid);
        };
        invalid(store.put("k", "id", Expected::Any, &large).await);
        invalid(store.put("", "id", Expected::Any, &json!(1)).await);
        invalid(store.put("k", "i\0d", Expected::Any, &json!(1)).await);
        invalid(store.append("h", Timestamp(0), &large).await.map(i64::unsigned_abs));
        assert_eq!(store.list("k", "", false, 9).await.expect("listed"), []);
    });
}

#[test]
fn a_full_disk_and_a_locked_file_ask_to_try_again() {
    block_on(async {
        let folder = folder();
        let store = open(&folder).await;
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
            .fetch_one(&store.writer)
            .await
            .expect("counted");
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 2)))
            .execute(&store.writer)
            .await
            .expect("the file may not grow");
        let large = Value::String("x".repeat(100_000));
        let error = store.put("k", "a", Expected::Any, &large).await.expect_err("full");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.chain());
        assert!(error.chain().contains("disk is full"), "{}", error.chain());
        store.put("k", "a", Expected::Any, &json!(1)).await.expect("what fits is still taken");

        let other = open(&folder).await;
        let held = other.begin("hold the lock").await.expect("held");
        sqlx::query("PRAGMA busy_timeout = 1").execute(&store.writer).await.expect("set");
        let error = store.put("k", "a", Expected::Any, &json!(2)).await.expect_err("locked");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.chain());
        held.rollback().await.expect("let go");
        store.put("k", "a", Expected::Version(1), &json!(2)).await.expect("free again");
    });
}

#[test]
fn a_file_that_is_not_a_store_is_refused_and_left_alone() {
    block_on(async {
        let folder = folder();
        let path = folder.path().join("notes.txt");
        let text = "not a database\n".repeat(400);
        std::fs::write(&path, &text).expect("written");
        check_refused(&path, "SQLite database").await;
        assert_eq!(std::fs::read_to_string(&path).expect("read"), text);

        let path = folder.path().join("other.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let other = SqlitePool::connect_with(options).await.expect("made");
        sqlx::query("CREATE TABLE songs (title TEXT)").execute(&other).await.expect("made");
        other.close().await;
        let bytes = std::fs::read(&path).expect("read");
        check_refused(&path, "not a metadata store").await;
        assert_eq!(std::fs::read(&path).expect("read"), bytes);

        let store = open(&folder).await;
        sqlx::query("UPDATE schema_version SET version = 99")
            .execute(&store.writer)
            .await
            .expect("changed");
        store.close().await;
        check_refused(&folder.path().join("metadata.db"), "version 99").await;

        let error = SqliteStore::open(folder.path().join("no/such/folder.db")).await;
        assert_eq!(error.expect_err("refused").kind, ErrorKind::Unavailable);
    });
}

async fn check_refused(path: &Path, says: &str) {
    let error = SqliteStore::open(path).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
    assert!(error.chain().contains(says), "{}", error.chain());
}

#[test]
fn the_file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    block_on(async {
        let folder = folder();
        let store = open(&folder).await;
        store.put("user", "ada", Expected::Any, &json!({})).await.expect("written");
        for name in ["metadata.db", "metadata.db-wal"] {
            let file = std::fs::metadata(folder.path().join(name)).expect("there");
            assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    Put(String, Expected, i64),
    Delete(String),
    List(String, bool, usize),
    Append(i64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let id = "[ab%_Ä'\u{D7FF}]{0,3}";
    let expected = prop_oneof![
        Just(Expected::Any),
        Just(Expected::Absent),
        (1u64..4).prop_map(Expected::Version),
    ];
    prop_oneof![
        8 => (id, expected, any::<i64>()).prop_map(|(id, e, value)| Step::Put(id, e, value)),
        2 => id.prop_map(Step::Delete),
        6 => (id, any::<bool>(), 0usize..6).prop_map(|(id, d, limit)| Step::List(id, d, limit)),
        2 => any::<i64>().prop_map(Step::Append),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_agrees_with_a_map_and_a_list(steps in prop::collection::vec(step(), 1..30)) {
        block_on(async {
            let folder = folder();
            let mut store = open(&folder).await;
            let mut rows: BTreeMap<String, (u64, i64)> = BTreeMap::new();
            let mut history: Vec<i64> = Vec::new();
            for step in steps {
                match step {
                    Step::Put(id, expected, value) => {
                        let version = rows.get(&id).map(|(version, _)| *version);
                        let holds = match expected {
                            Expected::Any => true,
                            Expected::Absent => version.is_none(),
                            Expected::Version(wanted) => version == Some(wanted),
                        };
                        let put = store.put("k", &id, expected, &json!(value)).await;
                        let next = version.unwrap_or(0) + 1;
                        if holds {
                            rows.insert(id, (next, value));
                        }
                        let wanted = if holds { Ok(next) } else { Err(ErrorKind::Fenced) };
                        assert_eq!(put.map_err(|error| error.kind), wanted);
                    }
                    Step::Delete(id) => {
                        store.delete("k", &id).await.expect("deleted");
                        rows.remove(&id);
                    }
                    Step::List(prefix, descending, limit) => {
                        let mut wanted: Vec<_> = rows
                            .iter()
                            .filter(|(id, _)| id.starts_with(&prefix))
                            .map(|(id, (version, value))| StoredRow {
                                id: id.clone(),
                                version: *version,
                                value: json!(value),
                            })
                            .collect();
                        if descending {
                            wanted.reverse();
                        }
                        wanted.truncate(limit);
                        let listed = store.list("k", &prefix, descending, limit).await;
                        assert_eq!(listed.expect("listed"), wanted);
                    }
                    Step::Append(value) => {
                        history.push(value);
                        let number = store.append("h", Timestamp(value), &json!(value)).await;
                        assert_eq!(number.expect("appended"), history.len() as i64);
                    }
                    Step::Reopen => {
                        store.close().await;
                        store = open(&folder).await;
                    }
                }
            }
            let entries = store.entries("h", 0, usize::MAX).await.expect("read");
            let values: Vec<_> = entries.iter().map(|entry| entry.at.0).collect();
            assert_eq!(values, history);
        });
    }
}
