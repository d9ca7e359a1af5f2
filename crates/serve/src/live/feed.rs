//! Feeds: one evaluation for all subscriptions to the same result.
//!
//! A feed lives while somebody listens. It evaluates when [`QueryEngine::changes`] counts up: at
//! once after a pause, then at most once per `live_interval`, and never more than half of the time,
//! so that one costly panel leaves room for the others. It keeps only its newest result.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use thalweg_core::env::{Clock, Env};
use thalweg_core::query::{Query, QueryEngine, QueryLimits};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::collect::{Collector, Key, LiveResult, Size};
use super::diff::{Change, diff};
use super::subscription::Subscription;
use crate::app::Counters;
use crate::config::Limits;
use crate::problem::{Code, Problem};

/// Time until a failed evaluation is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What can be subscribed to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The statement.
    pub(crate) sql: String,
    /// Its parameters.
    pub(crate) params: BTreeMap<String, Value>,
    /// Whether it is a panel.
    pub(crate) is_panel: bool,
    /// What tells its rows apart.
    pub(crate) key: Key,
}

impl Target {
    /// The query whose result it is. Rows are counted where they are collected: their number is no
    /// reason to try again.
    fn query(&self, time_max: Duration) -> Query {
        let limits = QueryLimits { rows_max: None, time_max };
        let (sql, params) = (self.sql.clone(), self.params.clone());
        Query { sql, params, is_panel: self.is_panel, limits }
    }

    /// Whether the order of rows may mean something. Too often is harmless: it costs bytes.
    fn is_ordered(&self) -> bool {
        self.sql.to_ascii_lowercase().contains("order")
    }
}

/// The newest a feed has to say.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// Nothing yet.
    Pending,
    /// A result.
    Result {
        /// Counts the results of the feed.
        version: u64,
        result: Arc<LiveResult>,
        /// From the version before.
        change: Arc<Change>,
    },
    /// No result.
    Failed {
        problem: Arc<Problem>,
        /// Whether the feed goes on trying.
        retrying: bool,
    },
}

/// The results of a feed so far, of which it keeps the last.
#[derive(Default)]
pub(crate) struct History {
    version: u64,
    last: Option<Arc<LiveResult>>,
}

impl History {
    /// What a new result says, after `before`; none when it says nothing new.
    pub(crate) fn add(&mut self, result: LiveResult, before: &News) -> Option<News> {
        let change = self.last.as_ref().map_or(Change::Snapshot, |last| diff(last, &result));
        // Who was told of a failure waits for a result, new or not.
        if matches!(change, Change::Nothing) && !matches!(before, News::Failed { .. }) {
            return None;
        }
        self.version += 1;
        let result = Arc::new(result);
        self.last = Some(Arc::clone(&result));
        Some(News::Result { version: self.version, result, change: Arc::new(change) })
    }
}

/// Identifies a feed: statement, parameters as JSON, whether it is a panel, key.
type FeedId = (String, String, bool, Key);

/// All feeds.
pub(crate) struct Feeds {
    engine: Arc<dyn QueryEngine>,
    env: Env,
    clock: Clock,
    limits: Limits,
    counters: Arc<Counters>,
    /// One permit per evaluation.
    evaluations: Semaphore,
    senders: Mutex<HashMap<FeedId, Arc<watch::Sender<News>>>>,
}

impl Feeds {
    pub(crate) fn new(
        engine: Arc<dyn QueryEngine>,
        env: Env,
        clock: Clock,
        limits: Limits,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let evaluations = Semaphore::new(limits.live_evaluations);
        let senders = Mutex::default();
        Arc::new(Self { engine, env, clock, limits, counters, evaluations, senders })
    }

    /// Feeds that live.
    pub(crate) fn len(&self) -> usize {
        self.senders().len()
    }

    /// Subscribes to a result, starting its feed if nobody else has.
    pub(crate) fn subscribe(self: &Arc<Self>, target: Target) -> Result<Subscription, Problem> {
        let params = serde_json::to_string(&target.params).expect("JSON is written to memory");
        let id = (target.sql.clone(), params, target.is_panel, target.key.clone());
        let mut senders = self.senders();
        if let Some(sender) = senders.get(&id) {
            return Ok(Subscription::new(sender.subscribe(), Arc::clone(&self.counters)));
        }
        if senders.len() >= self.limits.live_feeds {
            return Err(Problem::busy(format!(
                "{} different results are live already",
                self.limits.live_feeds
            ))
            .with_hint("Close a tab, or show less at a time."));
        }
        let (sender, receiver) = watch::channel(News::Pending);
        let sender = Arc::new(sender);
        senders.insert(id.clone(), Arc::clone(&sender));
        let feed = Feed { feeds: Arc::clone(self), id, target, sender };
        self.env.spawn(feed.run());
        Ok(Subscription::new(receiver, Arc::clone(&self.counters)))
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<FeedId, Arc<watch::Sender<News>>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One feed, running.
struct Feed {
    feeds: Arc<Feeds>,
    id: FeedId,
    target: Target,
    sender: Arc<watch::Sender<News>>,
}

impl Feed {
    async fn run(self) {
        tokio::select! {
            problem = self.serve() => self.end(Some(problem)),
            () = self.unwanted() => {}
            () = self.feeds.env.shutdown.cancelled() => self.end(None),
        }
    }

    /// Takes the feed off the list; who listens is told why.
    fn end(&self, problem: Option<Problem>) {
        self.feeds.senders().remove(&self.id);
        if let Some(problem) = problem {
            self.sender.send_replace(News::Failed { problem: Arc::new(problem), retrying: false });
        }
    }

    /// Returns, off the list, when nobody listens any more.
    async fn unwanted(&self) {
        loop {
            self.sender.closed().await;
            let mut senders = self.feeds.senders();
            // Somebody may have come since; nobody can while the list is locked.
            if self.sender.is_closed() {
                senders.remove(&self.id);
                return;
            }
        }
    }

    /// Keeps the result up to date, until an error that no retry will mend.
    async fn serve(&self) -> Problem {
        let mut history = History::default();
        loop {
            // Once per stream of changes; the engine ends one when it plans anew.
            let query = self.target.query(self.feeds.limits.live_query.time_max);
            let problem = match self.feeds.engine.changes(&query).await {
                Ok(changes) => self.follow(changes, &mut history).await,
                Err(error) => Some(Problem::from(error)),
            };
            if let Some(problem) = problem {
                if !matches!(problem.code, Code::Unavailable | Code::Data) {
                    return problem;
                }
                let problem = Arc::new(problem);
                self.sender.send_replace(News::Failed { problem, retrying: true });
            }
            self.feeds.clock.sleep(RETRY_INTERVAL).await;
        }
    }

    /// Evaluates now and after each change; returns when changes end, or with what went wrong.
    async fn follow(
        &self,
        mut changes: watch::Receiver<u64>,
        history: &mut History,
    ) -> Option<Problem> {
        let clock = &self.feeds.clock;
        loop {
            // Seen before the evaluation, so that a change during it is not missed.
            changes.borrow_and_update();
            let started = clock.now();
            let result = match self.evaluate().await {
                Ok(result) => result,
                Err(problem) => return Some(problem),
            };
            let news = history.add(result, &self.sender.borrow());
            if let Some(news) = news {
                self.sender.send_replace(news);
            }
            let pause = self.feeds.limits.live_interval.max(clock.now().since(started) * 2);
            if changes.changed().await.is_err() {
                return None;
            }
            let rest = started.plus(pause).since(clock.now());
            if !rest.is_zero() {
                clock.sleep(rest).await;
            }
        }
    }

    async fn evaluate(&self) -> Result<LiveResult, Problem> {
        let Feeds { engine, limits, counters, evaluations, .. } = &*self.feeds;
        let _permit = evaluations.acquire().await.expect("the semaphore is never closed");
        counters.live_evaluations.fetch_add(1, Ordering::Relaxed);
        let QueryLimits { rows_max, time_max } = limits.live_query;
        let evaluation = async {
            let mut rows = engine.query(self.target.query(time_max)).await?;
            let size =
                Size { rows_max: rows_max.unwrap_or(usize::MAX), bytes_max: limits.live_bytes };
            let ordered = self.target.is_ordered();
            let mut collector = Collector::new(&rows.schema, &self.target.key, ordered, size)?;
            while let Some(batch) = rows.batches.next().await {
                collector.add(&batch?)?;
            }
            Ok(collector.finish())
        };
        // The engine keeps to its limit; this one is for when it does not.
        let late = |_| Problem::unavailable("the query did not end in time");
        timeout(limits.answer_time, evaluation).await.map_err(late)?
    }
}
