//! The process ends at any point and starts again over the same store: nothing is lost, nothing is
//! claimed twice (S10, S19).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use proptest::prelude::*;
use serde_json::Value;
use thalweg_core::store::{Entry, Expected, StoredRow};
use thalweg_store::SqliteStore;

use super::harness::{Fate, Fault, Life, MemoryStore, Script, job, runtime, time};
use super::*;
use crate::run::Run;

const TIMEOUT: Option<Duration> = Some(Duration::from_secs(20));
const START: &str = "2023-12-22T00:00:30Z";

/// Where a stepped clock runs ahead of a real file, a time-out would say nothing.
fn jobs(timeout: Option<Duration>) -> Vec<JobDefinition> {
    let mut chain =
        job("chain", Some("every 1m"), &["a", "b after a", "c after a", "d after b after c"]);
    chain.catch_up = true;
    for task in &mut chain.tasks {
        task.retries = 1;
        task.timeout = timeout;
    }
    let mut other = job("other", Some("every 2m"), &["x", "y after x"]);
    other.catch_up = true;
    other.max_active = 2;
    vec![chain, other]
}

/// Fates that let every run succeed when nothing crashes: one failure or hang, then success.
fn fates() -> impl Strategy<Value = Vec<(&'static str, Fate)>> {
    let fate = prop_oneof![
        Just(Fate::Succeeds),
        Just(Fate::Fails(ErrorKind::Unavailable)),
        Just(Fate::Takes(3)),
        Just(Fate::Hangs),
    ];
    let task = prop::sample::select(&["chain/a", "chain/b", "chain/c", "chain/d"][..]);
    prop::collection::vec((task, fate), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_crash_between_any_two_writes_loses_and_repeats_nothing(
        fates in fates(),
        crashes in prop::collection::vec((1usize..25, any::<bool>()), 1..12),
    ) {
        let script = Arc::new(Script::default());
        for (task, fate) in fates {
            script.says(task, &[fate]);
        }
        let store = MemoryStore::new();
        let mut now = time(START);
        for (writes, happens) in crashes {
            store.set_fault(Fault::Crash { writes, happens });
            now = live_until_crash(now, &store, &script);
        }
        store.set_fault(Fault::None);
        let last = runtime();
        let runs = last.block_on(async {
            let life = Life::start(now, Arc::clone(&store) as Arc<dyn Store>, &script, &jobs(TIMEOUT));
            life.pass(150).await;
            for job in ["chain", "other"] {
                life.scheduler.pause(job).await.expect("paused");
            }
            life.until_all_ended().await;
            let runs = life.scheduler.archive.runs(None, usize::MAX).await.expect("listed");
            life.stop().await;
            runs
        });
        check(&runs, &script);
        check_written(&lock(&store.written));
    }
}

/// Starts a process and lets time pass until its store says that it is gone, or for ten minutes.
fn live_until_crash(now: Timestamp, store: &Arc<MemoryStore>, script: &Arc<Script>) -> Timestamp {
    let runtime = runtime();
    let ended = runtime.block_on(async {
        let life = Life::start(now, Arc::clone(store) as Arc<dyn Store>, script, &jobs(TIMEOUT));
        let end = now.plus(Duration::from_secs(600));
        while !store.crashed.load(Ordering::SeqCst) && life.now() < end {
            life.quiet().await;
            if let Some(deadline) = life.clock.next_deadline() {
                life.clock.step_to(deadline);
            }
        }
        life.now()
    });
    // Whatever was under way is dropped where it stands.
    drop(runtime);
    ended
}

/// Every fire from the first to the last has one run; each succeeded, each task was executed, each
/// attempt at most once.
#[track_caller]
fn check(runs: &[Run], script: &Script) {
    let executed = script.executions();
    let unique: BTreeSet<&String> = executed.iter().collect();
    assert_eq!(unique.len(), executed.len(), "S19: an attempt is claimed once");
    for (name, minutes) in [("chain", 1), ("other", 2)] {
        let mut fires: Vec<i64> =
            runs.iter().filter(|run| run.job == name).map(|run| run.period_end.0).collect();
        fires.sort_unstable();
        let expected: Vec<i64> = (fires.first().copied().into_iter())
            .flat_map(|first| (0..).map(move |n| first + n * minutes * 60_000_000))
            .take(fires.len())
            .collect();
        assert_eq!(fires, expected, "no fire of {name} is lost");
        assert!(fires.first() <= Some(&time("2023-12-22T00:02:00Z").0), "{name} has run");
    }
    for run in runs {
        assert_eq!(run.state, State::Succeeded, "{run:?}");
        for task in &run.tasks {
            let last = format!("{} {}", run.task_key(&task.name), task.attempt);
            assert!(unique.contains(&last), "{last} was executed and recorded");
            assert!(task.failures <= 1, "retries are not exceeded");
        }
    }
}

/// As they were written: an attempt is recorded before it runs, counts up by one, and what has
/// succeeded stays so.
#[track_caller]
fn check_written(written: &[Run]) {
    let mut latest: BTreeMap<&str, &Run> = BTreeMap::new();
    for run in written {
        if let Some(before) = latest.insert(&run.id, run) {
            for (old, new) in before.tasks.iter().zip(&run.tasks) {
                assert!(new.attempt == old.attempt || new.attempt == old.attempt + 1);
                if old.state == State::Succeeded {
                    assert_eq!(old, new, "a success is recorded once");
                }
            }
        }
        for task in run.tasks.iter().filter(|task| task.attempt > 0) {
            for upstream in &task.after {
                let state = run.task(upstream).map(|task| task.state);
                assert_eq!(state, Some(State::Succeeded), "{upstream} before {}", task.name);
            }
        }
        let active = latest.values().filter(|other| other.job == run.job && other.is_active());
        assert!(active.count() <= if run.job == "other" { 2 } else { 1 }, "max_active");
    }
}

/// A store that counts the writes it is asked for.
struct Counted {
    store: SqliteStore,
    writes: AtomicUsize,
}

#[async_trait]
impl Store for Counted {
    async fn get(&self, kind: &str, id: &str) -> Result<Option<StoredRow>> {
        self.store.get(kind, id).await
    }
    async fn put(&self, kind: &str, id: &str, expected: Expected, value: &Value) -> Result<u64> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.store.put(kind, id, expected, value).await
    }
    async fn delete(&self, kind: &str, id: &str) -> Result<()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.store.delete(kind, id).await
    }
    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        descending: bool,
        limit: usize,
    ) -> Result<Vec<StoredRow>> {
        self.store.list(kind, prefix, descending, limit).await
    }
    async fn append(&self, history: &str, at: Timestamp, value: &Value) -> Result<i64> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.store.append(history, at, value).await
    }
    async fn entries(&self, history: &str, after: i64, limit: usize) -> Result<Vec<Entry>> {
        self.store.entries(history, after, limit).await
    }
}

/// The same over a real file: processes are dropped in the middle of a write, or a little later.
#[test]
fn processes_dropped_in_a_write_leave_a_file_that_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metadata.db");
    let script = Arc::new(Script::default());
    script.says("chain/b", &[Fate::Fails(ErrorKind::Unavailable), Fate::Takes(3)]);
    let mut now = time(START);
    for life in 0..40 {
        now = live_for_writes(1 + life * 7 % 23, life % 9, now, &path, &script);
    }
    let runtime = runtime();
    let runs = runtime.block_on(async {
        let store = Arc::new(SqliteStore::open(&path).await.expect("opens"));
        let life = Life::start(now, Arc::clone(&store) as Arc<dyn Store>, &script, &jobs(None));
        life.scheduler.pause("chain").await.expect("paused");
        life.scheduler.pause("other").await.expect("paused");
        life.until_all_ended().await;
        let runs = life.scheduler.archive.runs(None, usize::MAX).await.expect("listed");
        life.stop().await;
        store.close().await;
        runs
    });
    assert!(runs.len() > 5, "{} runs", runs.len());
    check(&runs, &script);
}

/// Lets time pass until so many writes were asked for, looks around so many times, and is gone.
fn live_for_writes(
    writes: usize,
    looks: usize,
    now: Timestamp,
    path: &Path,
    script: &Arc<Script>,
) -> Timestamp {
    let runtime = runtime();
    runtime.block_on(async {
        let store = SqliteStore::open(path).await.expect("opens");
        let store = Arc::new(Counted { store, writes: AtomicUsize::new(0) });
        let life = Life::start(now, Arc::clone(&store) as Arc<dyn Store>, script, &jobs(None));
        let started = Instant::now();
        while store.writes.load(Ordering::SeqCst) < writes {
            tokio::task::yield_now().await;
            if let Some(deadline) = life.clock.next_deadline() {
                life.clock.step_to(deadline);
            }
            assert!(started.elapsed() < Duration::from_secs(60), "it is slow");
        }
        for _ in 0..looks * looks * 4 {
            tokio::task::yield_now().await;
        }
        life.now()
    })
}
