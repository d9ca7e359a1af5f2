//! What the scheduler is tested with: a store in memory that fails on demand, scripted tasks, and a
//! life of one process that can end at any point.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use serde_json::Value;
use thalweg_core::env::{Clock, Disk, DiskFile};
use thalweg_core::store::{Entry, Expected, StoredRow};
use thalweg_core::task::TaskContext;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::*;
use crate::definition::TaskDefinition;
use crate::schedule::Schedule;

pub(super) const SECOND: i64 = 1_000_000;

/// Longest real time a test waits for something.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the next writes of a [`MemoryStore`] go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// After so many writes the process ends: that write happens, or not, and nobody hears of it.
    Crash {
        writes: usize,
        happens: bool,
    },
    /// So many writes go well, then so many are refused, happening all the same or not.
    Refuse {
        writes: usize,
        refused: usize,
        happens: bool,
    },
}

type Rows = BTreeMap<(String, String), (u64, Value)>;

/// A store in memory.
pub(super) struct MemoryStore {
    rows: Mutex<Rows>,
    histories: Mutex<BTreeMap<String, Vec<Entry>>>,
    fault: Mutex<Fault>,
    pub(super) crashed: AtomicBool,
    /// Every run as it was written, in order.
    pub(super) written: Mutex<Vec<crate::Run>>,
}

impl MemoryStore {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            rows: Mutex::default(),
            histories: Mutex::default(),
            fault: Mutex::new(Fault::None),
            crashed: AtomicBool::new(false),
            written: Mutex::default(),
        })
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        self.crashed.store(false, Ordering::SeqCst);
        *lock(&self.fault) = fault;
    }

    pub(super) fn count(&self, kind: &str) -> usize {
        lock(&self.rows).keys().filter(|(other, _)| other == kind).count()
    }

    /// Carries out a write, or what its fault makes of it.
    async fn write<T: Send>(&self, work: impl FnOnce(&Self) -> Result<T> + Send) -> Result<T> {
        let refuse = || Err(Error::unavailable("the store does not answer"));
        let fault = {
            let mut fault = lock(&self.fault);
            let now = *fault;
            match &mut *fault {
                Fault::None => {}
                Fault::Crash { writes, .. } => *writes = writes.saturating_sub(1),
                Fault::Refuse { writes: 0, refused, .. } => *refused = refused.saturating_sub(1),
                Fault::Refuse { writes, .. } => *writes -= 1,
            }
            now
        };
        match fault {
            Fault::Crash { writes: 0, happens } => {
                if happens {
                    let _ = work(self);
                }
                self.crashed.store(true, Ordering::SeqCst);
                std::future::pending().await
            }
            Fault::Refuse { writes: 0, refused: 1.., happens } => {
                if happens {
                    let _ = work(self);
                }
                refuse()
            }
            _ => work(self),
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, kind: &str, id: &str) -> Result<Option<StoredRow>> {
        let rows = lock(&self.rows);
        Ok(rows.get(&(kind.to_owned(), id.to_owned())).map(|(version, value)| StoredRow {
            id: id.to_owned(),
            version: *version,
            value: value.clone(),
        }))
    }

    async fn put(&self, kind: &str, id: &str, expected: Expected, value: &Value) -> Result<u64> {
        self.write(|store| {
            let mut rows = lock(&store.rows);
            let key = (kind.to_owned(), id.to_owned());
            let version = rows.get(&key).map_or(0, |(version, _)| *version);
            let holds = match expected {
                Expected::Any => true,
                Expected::Absent => version == 0,
                Expected::Version(wanted) => version == wanted,
            };
            if !holds {
                return Err(Error::fenced(format!("{kind} `{id}` is at {version}: {expected:?}")));
            }
            rows.insert(key, (version + 1, value.clone()));
            if kind == "run" {
                let run = serde_json::from_value(value.clone()).expect("a run");
                lock(&store.written).push(run);
            }
            Ok(version + 1)
        })
        .await
    }

    async fn delete(&self, kind: &str, id: &str) -> Result<()> {
        self.write(|store| {
            lock(&store.rows).remove(&(kind.to_owned(), id.to_owned()));
            Ok(())
        })
        .await
    }

    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        descending: bool,
        limit: usize,
    ) -> Result<Vec<StoredRow>> {
        let mut found: Vec<StoredRow> = (lock(&self.rows).iter())
            .filter(|((other, id), _)| other == kind && id.starts_with(prefix))
            .map(|((_, id), (version, value))| StoredRow {
                id: id.clone(),
                version: *version,
                value: value.clone(),
            })
            .collect();
        if descending {
            found.reverse();
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn append(&self, history: &str, at: Timestamp, value: &Value) -> Result<i64> {
        self.write(|store| {
            let mut histories = lock(&store.histories);
            let entries = histories.entry(history.to_owned()).or_default();
            let number = entries.last().map_or(0, |entry| entry.number) + 1;
            entries.push(Entry { number, at, value: value.clone() });
            Ok(number)
        })
        .await
    }

    async fn entries(&self, history: &str, after: i64, limit: usize) -> Result<Vec<Entry>> {
        let histories = lock(&self.histories);
        let entries = histories.get(history).into_iter().flatten();
        Ok(entries.filter(|entry| entry.number > after).take(limit).cloned().collect())
    }

    async fn trim(&self, history: &str, through: i64) -> Result<()> {
        self.write(|store| {
            if let Some(entries) = lock(&store.histories).get_mut(history) {
                entries.retain(|entry| entry.number > through);
            }
            Ok(())
        })
        .await
    }
}

/// The scheduler touches no files.
struct NoDisk;

impl Disk for NoDisk {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn open(&self, _: &Path, _: bool) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// How an attempt of a scripted task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Succeeds,
    Fails(ErrorKind),
    Panics,
    /// Takes so many seconds, unless it is told to stop.
    Takes(u64),
    /// Runs until it is told to stop.
    Hangs,
    /// Runs on, whatever it is told.
    Ignores,
}

use thalweg_core::ErrorKind;

/// Tasks that do as they are told and remember what they were told. It outlives processes.
#[derive(Default)]
pub(super) struct Script {
    /// By job/task: fates in order of the executions; afterwards it succeeds.
    fates: Mutex<BTreeMap<String, Vec<Fate>>>,
    /// Every execution: key, attempt, day.
    pub(super) started: Mutex<Vec<(String, u32, String)>>,
    /// How many run now, and at most ran at once.
    pub(super) running: Mutex<(usize, usize)>,
    pub(super) watermarks: Mutex<BTreeMap<String, Timestamp>>,
}

impl Script {
    pub(super) fn says(&self, task: &str, fates: &[Fate]) {
        lock(&self.fates).insert(task.to_owned(), fates.to_vec());
    }

    /// `key attempt` of every execution so far, in order.
    pub(super) fn executions(&self) -> Vec<String> {
        lock(&self.started).iter().map(|(key, attempt, _)| format!("{key} {attempt}")).collect()
    }

    fn next_fate(&self, task: &str) -> Fate {
        let mut fates = lock(&self.fates);
        match fates.get_mut(task) {
            Some(left) if !left.is_empty() => left.remove(0),
            _ => Fate::Succeeds,
        }
    }
}

struct Scripted {
    name: String,
    script: Arc<Script>,
    clock: Clock,
}

/// Counts a running task for as long as it lives.
struct Running(Arc<Script>);

impl Running {
    fn new(script: &Arc<Script>) -> Self {
        let mut running = lock(&script.running);
        running.0 += 1;
        running.1 = running.1.max(running.0);
        Self(Arc::clone(script))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.0.running).0 -= 1;
    }
}

#[async_trait]
impl Task for Scripted {
    async fn run(&self, context: &TaskContext) -> Result<String> {
        let _running = Running::new(&self.script);
        let started = (context.run.clone(), context.attempt, context.day.to_string());
        lock(&self.script.started).push(started);
        context.log.line(&format!("attempt {} for {}", context.attempt, context.day));
        let stopped = || Err(Error::unavailable("stopped"));
        match self.script.next_fate(&self.name) {
            Fate::Succeeds => Ok(format!("did {}", context.day)),
            Fate::Fails(kind) => Err(Error::new(kind, "it broke").with_hint("Mend it.")),
            Fate::Panics => panic!("of all things"),
            Fate::Takes(seconds) => tokio::select! {
                () = self.clock.sleep(Duration::from_secs(seconds)) => Ok("took its time".into()),
                () = context.cancel.cancelled() => stopped(),
            },
            Fate::Hangs => {
                context.cancel.cancelled().await;
                stopped()
            }
            Fate::Ignores => std::future::pending().await,
        }
    }
}

/// One process: from a start to a shutdown, or to the drop of its runtime, which is a crash.
pub(super) struct Life {
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) clock: Clock,
    pub(super) shutdown: CancellationToken,
    running: tokio::task::JoinHandle<Result<()>>,
}

/// A runtime of one thread: with a store in memory, what happens in it is the same every time.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

impl Life {
    /// Starts a scheduler at `now`, in the runtime this is called in.
    pub(super) fn start(
        now: Timestamp,
        store: Arc<dyn Store>,
        script: &Arc<Script>,
        jobs: &[JobDefinition],
    ) -> Self {
        let clock = Clock::stepped(now);
        let shutdown = CancellationToken::new();
        let env = Env {
            clock: clock.clone(),
            disk: Arc::new(NoDisk),
            shutdown: shutdown.clone(),
            tasks: TaskTracker::new(),
            seed: 7,
        };
        let tasks: TaskLookup = {
            let (script, clock) = (Arc::clone(script), clock.clone());
            Arc::new(move |job, task| {
                let name = format!("{job}/{task}");
                let (script, clock) = (Arc::clone(&script), clock.clone());
                Some(Arc::new(Scripted { name, script, clock }) as Arc<dyn Task>)
            })
        };
        let watermarks: Watermarks = {
            let script = Arc::clone(script);
            Arc::new(move |source| lock(&script.watermarks).get(source).copied())
        };
        let scheduler = Scheduler::new(env.clone(), store, jobs.to_vec(), tasks, watermarks)
            .unwrap_or_else(|problems| panic!("{problems:?}"));
        let running = env.spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run().await }
        });
        Self { scheduler, clock, shutdown, running }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets everything that can happen without time passing happen.
    pub(super) async fn quiet(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets time pass until `to`, stopping at every instant somebody waits for.
    pub(super) async fn pass_to(&self, to: Timestamp) {
        self.quiet().await;
        while let Some(deadline) = self.clock.next_deadline().filter(|deadline| *deadline <= to) {
            self.clock.step_to(deadline);
            self.quiet().await;
        }
        self.clock.step_to(to);
        self.quiet().await;
    }

    pub(super) async fn pass(&self, seconds: i64) {
        self.pass_to(Timestamp(self.now().0 + seconds * SECOND)).await;
    }

    /// `run state reason` of every run, oldest first, and each task's state.
    pub(super) async fn shown(&self) -> Vec<String> {
        let mut runs = self.scheduler.runs(None, 100).await.expect("listed");
        runs.reverse();
        let mut shown = Vec::new();
        for run in runs {
            let tasks = self.scheduler.tasks(Some(&run.run), 1).await.expect("listed");
            let tasks: Vec<String> =
                tasks.iter().map(|task| format!("{}={}", task.task, task.state)).collect();
            shown.push(format!("{} {}: {}", run.run, run.state, tasks.join(" ")));
        }
        shown
    }

    /// Lets time pass until no run is left that has not ended; real time is bounded.
    pub(super) async fn until_all_ended(&self) {
        let started = Instant::now();
        loop {
            self.quiet().await;
            let runs = self.scheduler.runs(None, usize::MAX).await.expect("listed");
            if !runs.is_empty() && runs.iter().all(|run| run.state.has_ended()) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{:?}", self.shown().await);
            if let Some(deadline) = self.clock.next_deadline() {
                self.clock.step_to(deadline);
            }
        }
    }

    /// Shuts down and waits for the scheduler to come back.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        let started = Instant::now();
        while !self.running.is_finished() {
            self.quiet().await;
            assert!(started.elapsed() < PATIENCE, "it does not stop");
            if let Some(deadline) = self.clock.next_deadline() {
                self.clock.step_to(deadline);
            }
        }
        self.running.await.expect("no panic").expect("stopped");
    }
}

/// A job of tasks written `name after other after another`.
pub(super) fn job(name: &str, schedule: Option<&str>, tasks: &[&str]) -> JobDefinition {
    let task = |text: &&str| {
        let mut names = text.split(" after ").map(str::to_owned);
        let mut task = TaskDefinition::new(names.next().unwrap_or_default());
        task.after = names.collect();
        task.backoff = Duration::from_secs(10);
        task
    };
    JobDefinition {
        schedule: schedule.map(|text| Schedule::parse(text, "UTC").expect("a schedule")),
        tasks: tasks.iter().map(task).collect(),
        ..JobDefinition::new(name)
    }
}

pub(super) fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}
