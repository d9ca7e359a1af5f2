//! A server with fake parts: tables in memory, an engine that notes what it is asked, a control that
//! repeats it, a clock that stands.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use thalweg_core::control::{Action, AttemptLog, Control};
use thalweg_core::env::{Clock, Disk, DiskFile, Env};
use thalweg_core::query::{Query, QueryEngine, Relation, Rows};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use thalweg_serve::{
    AdminToken, Dashboard, Filter, Health, HealthProblem, Limits, Panel, Parts, ProjectInfo,
    ServeConfig, Server,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where the clocks stand: 2026-01-05T14:30:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_767_623_400_000_000);

/// A server, its engine and its clock.
pub(crate) struct Fixture {
    pub(crate) server: Server,
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) token: String,
    pub(crate) clock: Clock,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
    _data: TempDir,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Limits)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let token = AdminToken::of_data_folder(data.path()).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let link = token.login_link(listen);
        let clock = Clock::stepped(NOW);
        let mut config = ServeConfig { clock: clock.clone(), ..ServeConfig::new(listen, token) };
        change(&mut config.limits);
        let engine = Arc::new(FakeEngine::new());
        let env = env();
        let (shutdown, tasks) = (env.shutdown.clone(), env.tasks.clone());
        let server = Server::start(config, parts(Arc::clone(&engine), env)).await.unwrap();
        let token = link.rsplit_once('=').unwrap().1.to_owned();
        Self { server, engine, token, clock, shutdown, tasks, _data: data }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Waits until the earliest sleeper sleeps until `after` from the start of the test, then wakes
    /// it.
    pub(crate) async fn step(&self, after: Duration) {
        let deadline = NOW.plus(after);
        eventually(|| self.clock.next_deadline() == Some(deadline)).await;
        self.clock.step_to(deadline);
    }
}

/// Waits until something holds, for at most half a minute.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let wait = async {
        let mut turns = tokio::time::interval(Duration::from_millis(1));
        while !holds() {
            turns.tick().await;
        }
    };
    in_time(wait).await;
}

/// The result of something that must not take half a minute.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it took too long")
}

pub(crate) fn env() -> Env {
    Env {
        clock: Clock::stepped(NOW),
        disk: Arc::new(NoDisk),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
        seed: 1,
    }
}

pub(crate) fn parts(engine: Arc<FakeEngine>, env: Env) -> Parts {
    Parts {
        control: Arc::new(FakeControl(Arc::clone(&engine))),
        engine,
        dashboards: vec![dashboard()],
        health: Arc::new(|| Health {
            ready: false,
            sentence: "1 problem: source trades is silent.".to_owned(),
            problems: vec![HealthProblem {
                part: "source trades".to_owned(),
                message: "nothing was received for 2 min".to_owned(),
                hint: Some("Look at `thalweg sources show trades`.".to_owned()),
            }],
        }),
        metrics: Arc::new(|| "thalweg_source_frames_total{source=\"trades\"} 3".to_owned()),
        project: ProjectInfo {
            name: "market".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            version: "0.0.0".to_owned(),
        },
        env,
    }
}

fn dashboard() -> Dashboard {
    let panel = |id: &str, kind: &str, sql: &str, key: &[&str]| Panel {
        id: id.to_owned(),
        kind: kind.to_owned(),
        label: id.to_owned(),
        sql: sql.to_owned(),
        key: key.iter().map(|&name| name.to_owned()).collect(),
        options: serde_json::Map::new(),
        sets: None,
        width: None,
    };
    let mut ranking = panel("ranking", "ranking", "SELECT * FROM changes", &["symbol"]);
    ranking.options.insert("order_by".to_owned(), json!("percentage_change desc"));
    ranking.sets = Some("symbol".to_owned());
    ranking.width = Some(8);
    Dashboard {
        name: "market".to_owned(),
        title: "Market".to_owned(),
        filters: vec![Filter {
            name: "symbol".to_owned(),
            label: None,
            options_sql: Some("SELECT symbol FROM latest(trades)".to_owned()),
            options: Vec::new(),
            default: json!("AAPL"),
        }],
        rows: vec![
            vec![ranking],
            vec![panel("price", "kpi", "SELECT price FROM trades WHERE symbol = $symbol", &[])],
        ],
    }
}

/// Answers from tables in memory. It knows no SQL but the name after `FROM`, and these:
/// `FAIL <kind>`, `HANG`, `ROWS <n>`, `ROWS <n> THEN FAIL`.
pub(crate) struct FakeEngine {
    relations: Mutex<Vec<(Relation, RecordBatch)>>,
    /// What was asked since the last [`take_asked`](Self::take_asked).
    asked: Mutex<Vec<String>>,
    failure: Mutex<Option<Error>>,
    changes: watch::Sender<u64>,
    /// Answers that are neither read to the end nor dropped.
    open: Arc<AtomicUsize>,
}

impl FakeEngine {
    pub(crate) fn new() -> Self {
        let trades = trades(&[("AAPL", 190.5), ("a,\"b\"", f64::NAN)]);
        let relation =
            |schema: &str, name: &str, kind, key: &[&str], rows: &RecordBatch| Relation {
                schema_name: schema.to_owned(),
                name: name.to_owned(),
                kind,
                columns: rows.schema(),
                key: key.iter().map(|&name| name.to_owned()).collect(),
            };
        let changes = changes(&[("AAPL", 1), ("MSFT", 2)]);
        let ledger = ledger();
        let relations = vec![
            (relation("public", "trades", "source", &[], &trades), trades.clone()),
            (relation("public", "changes", "stream", &["symbol"], &changes), changes),
            (relation("public", "odd.csv", "view", &[], &trades), trades),
            (relation("system", "ledger", "system", &[], &ledger), ledger.clone()),
            (relation("system", "model_versions", "system", &[], &ledger), ledger),
        ];
        Self {
            relations: Mutex::new(relations),
            asked: Mutex::default(),
            failure: Mutex::default(),
            changes: watch::channel(0).0,
            open: Arc::default(),
        }
    }

    /// Replaces the rows of `changes`, and says so.
    pub(crate) fn set_changes(&self, rows: &[(&str, i64)]) {
        self.set_rows("changes", changes(rows));
    }

    pub(crate) fn set_rows(&self, name: &str, rows: RecordBatch) {
        for (relation, batch) in self.relations.lock().unwrap().iter_mut() {
            if relation.name == name {
                *batch = rows.clone();
            }
        }
        self.touch();
    }

    /// Lets queries fail, or succeed again, and says nothing.
    pub(crate) fn set_failure(&self, failure: Option<Error>) {
        *self.failure.lock().unwrap() = failure;
    }

    /// Says that results may have changed.
    pub(crate) fn touch(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(crate) fn answers_open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    fn table(&self, sql: &str) -> Result<RecordBatch> {
        let after_from = sql.split_once("FROM ").map_or("", |(_, rest)| rest);
        let name = after_from.split(" WHERE").next().unwrap_or_default();
        let name = name.split(" ORDER").next().unwrap_or_default();
        let name = name.split(" LIMIT").next().unwrap_or_default().trim();
        let found = self.relations.lock().unwrap().iter().find_map(|(relation, rows)| {
            let quoted = format!("\"{}\".\"{}\"", relation.schema_name, relation.name);
            let latest = format!("latest(\"{}\")", relation.name);
            [quoted, latest, relation.name.clone()].contains(&name.to_owned()).then(|| rows.clone())
        });
        found.ok_or_else(|| {
            Error::invalid(format!("no table `{name}`")).with_hint("`SHOW TABLES` lists them.")
        })
    }
}

#[async_trait]
impl QueryEngine for FakeEngine {
    async fn query(&self, query: Query) -> Result<Rows> {
        let Query { sql, params, limits, .. } = query;
        self.asked.lock().unwrap().push(asked(&sql, &params));
        if let Some(error) = &*self.failure.lock().unwrap() {
            return Err(Error::new(error.kind, error.message.clone()));
        }
        let words: Vec<&str> = sql.split(' ').collect();
        let (rows, then_fail) = match words.as_slice() {
            ["FAIL", kind] => return Err(failure(kind)),
            ["HANG"] => return std::future::pending().await,
            ["ROWS", count] => (numbers(count), false),
            ["ROWS", count, "THEN", "FAIL"] => (numbers(count), true),
            _ => (vec![self.table(&sql)?], false),
        };
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        if limits.rows_max.is_some_and(|max| count > max) {
            return Err(Error::unavailable("the result has too many rows"));
        }
        let schema = rows[0].schema();
        self.open.fetch_add(1, Ordering::SeqCst);
        let guard = Guard(Arc::clone(&self.open));
        let failure = then_fail.then(|| Err(failure("data")));
        let batches = stream::iter(rows.into_iter().map(Ok).chain(failure)).map(move |batch| {
            let _ = &guard;
            batch
        });
        Ok(Rows { schema, batches: batches.boxed() })
    }

    fn relations(&self) -> Vec<Relation> {
        self.relations.lock().unwrap().iter().map(|(relation, _)| relation.clone()).collect()
    }

    async fn changes(&self, query: &Query) -> Result<watch::Receiver<u64>> {
        if query.sql.starts_with("FAIL invalid") {
            return Err(failure("invalid"));
        }
        Ok(self.changes.subscribe())
    }
}

/// Says that an answer is done with.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn asked(sql: &str, params: &BTreeMap<String, Value>) -> String {
    let params = serde_json::to_string(params).unwrap();
    if params == "{}" { sql.to_owned() } else { format!("{sql} {params}") }
}

fn failure(kind: &str) -> Error {
    match kind {
        "invalid" => Error::invalid("no column `pirce` in `trades`").with_hint("Is it `price`?"),
        "data" => Error::data("division by zero"),
        "unavailable" => Error::unavailable("the query took longer than 60 s"),
        "fenced" => Error::fenced("another writer has been here"),
        _ => Error::internal("a column is missing")
            .with_detail("It was there before.")
            .with_source(io::Error::other("the page is torn")),
    }
}

/// `count` rows in batches of a thousand, each with a text of 100 bytes.
fn numbers(count: &str) -> Vec<RecordBatch> {
    let count: i64 = count.parse().unwrap();
    let text = "x".repeat(100);
    let batch = |first: i64| {
        let numbers: Int64Array = (first..count.min(first + 1000)).collect();
        let texts: StringArray = numbers.iter().map(|_| Some(&text)).collect();
        batch(vec![("n", Arc::new(numbers)), ("text", Arc::new(texts))])
    };
    (0..count).step_by(1000).map(batch).collect()
}

pub(crate) fn trades(rows: &[(&str, f64)]) -> RecordBatch {
    let symbols: StringArray = rows.iter().map(|(symbol, _)| Some(*symbol)).collect();
    let prices: Float64Array = rows.iter().map(|(_, price)| Some(*price)).collect();
    let times = (0..).map(|row: i64| NOW.0 + row * 250_000).take(rows.len());
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    batch(vec![("symbol", Arc::new(symbols)), ("price", Arc::new(prices)), ("ts", Arc::new(times))])
}

fn changes(rows: &[(&str, i64)]) -> RecordBatch {
    let symbols: StringArray = rows.iter().map(|(symbol, _)| Some(*symbol)).collect();
    let numbers: Int64Array = rows.iter().map(|(_, number)| Some(*number)).collect();
    batch(vec![("symbol", Arc::new(symbols)), ("n", Arc::new(numbers))])
}

fn ledger() -> RecordBatch {
    let parts = StringArray::from(vec![Some("source trades"), None]);
    let counts = Int64Array::from(vec![Some(9_007_199_254_740_993), None]);
    batch(vec![("part", Arc::new(parts)), ("rows", Arc::new(counts))])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let field =
        |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), true);
    let schema: SchemaRef = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(schema, arrays).unwrap()
}

/// Repeats what it is asked to do; knows no job but `nightly`.
struct FakeControl(Arc<FakeEngine>);

#[async_trait]
impl Control for FakeControl {
    async fn act(&self, action: Action) -> Result<Value> {
        self.0.asked.lock().unwrap().push(format!("{action:?}"));
        match &action {
            Action::RunJob { job, .. } if job != "nightly" => {
                Err(Error::invalid(format!("there is no job `{job}`")))
            }
            _ => Ok(json!({"done": true})),
        }
    }

    async fn task_log(&self, run: &str, task: &str, attempt: Option<u32>) -> Result<AttemptLog> {
        if task != "hourly" {
            return Err(Error::invalid(format!("run `{run}` has no task `{task}`")));
        }
        Ok(AttemptLog {
            attempt: attempt.unwrap_or(2),
            is_complete: true,
            lines: vec![(NOW, "reading 2026-01-04 to 2026-01-04".to_owned())],
        })
    }

    async fn run_log(&self, run: &str) -> Result<Vec<(String, AttemptLog)>> {
        let waiting = AttemptLog { attempt: 0, is_complete: true, lines: Vec::new() };
        let hourly = self.task_log(run, "hourly", None).await?;
        Ok(vec![("hourly".to_owned(), hourly), ("compact".to_owned(), waiting)])
    }
}

/// No files: the server needs none.
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
