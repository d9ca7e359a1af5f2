//! The driver of a live source: keeps it connected and its frames in the log.
//!
//! # What it promises
//!
//! - **S7** A frame counts as received when it is on stable storage. What is ready is appended as
//!   one group; nothing is waited for to make a group larger.
//! - **S1** `_received_at` never decreases within the partition, over restarts too.
//! - **S14** Silence beyond the source's cadence ends the connection. A lost connection is tried
//!   again with full-jitter back-off, a refused one slowly, for ever; everything is subscribed anew.
//! - **S10, S15** Every frame that is not journaled lies in a gap, a row of the store for each key.
//! - **S25** While the log or the store takes nothing the source is not read, and a group that is
//!   in hand is kept. Every wait ends when the process stops.
//!
//! One task drives one source; nothing else appends to its partition. Decisions are pure functions
//! in `backoff`, `gap` and `ids`; this file does what they say.
//!
//! Rows of the store, kind [`FEED_KIND`], id `<source>/<partition>`: `{connection, keys}`, written
//! before the first frame of each connection.
//!
//! Not here: making the topic, and what frames mean.

mod backoff;
mod follow;
mod gap;
mod group;
mod ids;
mod journal;
mod status;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use thalweg_core::env::Env;
use thalweg_core::log::Log;
use thalweg_core::source::{Source, SourceEvent};
use thalweg_core::store::{Expected, Store};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::TopicPartition;
use thalweg_core::{Error, ErrorKind, Result};
use tokio::time::timeout;
use tracing::{info, warn};

use self::backoff::{Backoff, Watchdog};
use self::follow::Ids;
use self::gap::{GapRow, GapTracker, open_gap};
use self::group::Group;
use self::journal::append_unless_overdue;

pub(crate) use self::journal::last_frame;

pub use self::gap::{GAP_KIND, Gap, GapState};
pub use self::ids::{IdRule, IdScope};
pub use self::status::{FeedReading, FeedState, FeedStatus};

/// Kind of the store's rows that hold what a feed knows of itself.
pub const FEED_KIND: &str = "feed";

/// How long an append, and then the rows of a gap, may still take when the process stops.
const STOP_WAIT: Duration = Duration::from_secs(3);
/// How many of the newest rows of gaps are looked at for a gap left open; more than a source has
/// keys.
const GAP_ROWS_MAX: usize = 10_000;

/// Drives one live source; see [`Feed::run`].
pub struct Feed {
    name: String,
    env: Env,
    source: Box<dyn Source>,
    log: Arc<dyn Log>,
    partition: TopicPartition,
    store: Arc<dyn Store>,
    status: Arc<FeedStatus>,
    rng: SmallRng,
    backoff: Backoff,
    gaps: GapTracker,
    ids: Option<Ids>,
    // Number of the last connection that stood; none in the life of the data folder: 0.
    connection: u32,
    connections_here: u64,
    // Nothing in the partition was received later.
    received_at: Timestamp,
}

/// What a feed knows of itself across restarts.
#[derive(Debug, Default, Serialize, Deserialize)]
struct FeedRow {
    connection: u32,
    keys: Vec<String>,
}

/// Why a connection, or a wait, is over.
enum Ending {
    /// The process stops.
    Shutdown,
    /// Somebody paused the feed.
    Paused,
    /// The source has no more.
    Finished,
    /// The connection is lost, or never was.
    Lost(Error),
}

impl Feed {
    /// Connects `source` and appends its frames to `partition`, one record a frame as
    /// [`thalweg_core::records`] writes them, until the process stops or the source has no more.
    ///
    /// The topic exists, `<source>.raw` say; what stands before its last dot is the source's name in
    /// gaps and messages. Stops within 10 s of `env.shutdown`.
    ///
    /// # Errors
    ///
    /// What cannot be mended by trying again: `Fenced` and `Internal` of the source, and all but
    /// `Unavailable` of the log and the store. Everything the log had confirmed is counted.
    pub async fn run(
        env: &Env,
        source: Box<dyn Source>,
        log: Arc<dyn Log>,
        partition: TopicPartition,
        store: Arc<dyn Store>,
        status: Arc<FeedStatus>,
    ) -> Result<()> {
        Self::run_with_ids(env, source, log, partition, store, status, None).await
    }

    /// As [`Feed::run`], and every id that `ids` finds missing is in a gap too (S15).
    ///
    /// # Errors
    ///
    /// As [`Feed::run`]; `Invalid` when a path of the rule is none.
    pub async fn run_with_ids(
        env: &Env,
        source: Box<dyn Source>,
        log: Arc<dyn Log>,
        partition: TopicPartition,
        store: Arc<dyn Store>,
        status: Arc<FeedStatus>,
        ids: Option<IdRule>,
    ) -> Result<()> {
        let name = partition.topic.rsplit_once('.').map_or(&*partition.topic, |(name, _)| name);
        let mut feed = Self {
            name: name.to_owned(),
            rng: env.rng(&format!("feed {partition}")),
            gaps: GapTracker::new(name, partition.partition, source.keys()),
            ids: match &ids {
                Some(rule) => Some(Ids::new(name, partition.partition, rule, env.clock.now())?),
                None => None,
            },
            env: env.clone(),
            source,
            log,
            partition,
            store,
            status,
            backoff: Backoff::default(),
            connection: 0,
            connections_here: 0,
            received_at: Timestamp::MIN,
        };
        let driven = feed.drive().await;
        feed.source.disconnect().await;
        match &driven {
            Ok(()) => feed.status.enter(FeedState::Stopped),
            Err(error) => {
                feed.status.notice(feed.env.clock.now(), &error.message);
                feed.status.enter(FeedState::Failed);
            }
        }
        driven
    }

    async fn drive(&mut self) -> Result<()> {
        if self.take_up().await?.is_none() {
            return Ok(());
        }
        loop {
            let ending = match self.session().await? {
                Ending::Lost(error) => self.wait_after(error).await?,
                ending => ending,
            };
            match ending {
                Ending::Finished => return Ok(()),
                Ending::Shutdown => {
                    // With the last sign of life at hand this gap is exact; if the store is away,
                    // the next start finds one from the last frame.
                    let rows = self.gaps.lost("the process was stopped");
                    let _ = timeout(STOP_WAIT, async {
                        put_gaps(&*self.store, &rows).await?;
                        match &self.ids {
                            Some(ids) => ids.put_note(&*self.store).await,
                            None => Ok(()),
                        }
                    })
                    .await;
                    return Ok(());
                }
                Ending::Paused => {
                    self.lose("the source was paused").await?;
                    self.status.enter(FeedState::Paused);
                    info!(source = self.name, "paused");
                    tokio::select! {
                        () = self.env.shutdown.cancelled() => {}
                        () = self.status.until_paused(false) => {}
                    }
                }
                Ending::Lost(_) => {}
            }
        }
    }

    /// Reads back where the process before left off. `None`: the process stops.
    async fn take_up(&mut self) -> Result<Option<()>> {
        let Self { env, status, log, store, partition, name, .. } = self;
        let id = format!("{name}/{}", partition.partition);
        let Some(row) = patiently(env, status, || store.get(FEED_KIND, &id)).await? else {
            return Ok(None);
        };
        let row = row
            .map(|row| FeedRow::deserialize(&row.value))
            .transpose()
            .map_err(|error| {
                Error::internal(format!("the store's row of feed {id} is malformed"))
                    .with_source(error)
            })?
            .unwrap_or_default();

        let prefix = self.gaps.prefix();
        let list = || store.list(GAP_KIND, &prefix, true, GAP_ROWS_MAX);
        let Some(gaps) = patiently(env, status, list).await? else { return Ok(None) };
        let left_open: Vec<GapRow> =
            gaps.iter().filter_map(|row| open_gap(&row.id, &row.value)).collect();

        let last = || last_frame(&**log, partition);
        let Some(last) = patiently(env, status, last).await? else { return Ok(None) };
        if let Some(position) = last.as_ref().and_then(|last| last.position.as_deref()) {
            self.source.restore(position)?;
        }
        let last = last.map(|last| last.received_at);
        self.connection = row.connection;
        self.received_at = last.unwrap_or(Timestamp::MIN);
        let rows = self.gaps.resume(left_open, last, &row.keys);
        let Some(()) = self.save_gaps(rows).await? else { return Ok(None) };
        self.take_up_ids().await
    }

    /// Connects and receives until the connection ends.
    async fn session(&mut self) -> Result<Ending> {
        if let Some(ending) = self.interruption() {
            return Ok(ending);
        }
        self.status.enter(FeedState::Connecting);
        let busy = self.env.clock.busy();
        let connected = tokio::select! {
            biased;
            () = self.env.shutdown.cancelled() => return Ok(Ending::Shutdown),
            () = self.status.until_paused(true) => return Ok(Ending::Paused),
            connected = self.source.connect() => connected,
        };
        if let Err(error) = connected {
            return lost(error);
        }
        let connected_at = self.env.clock.now();
        self.connection = self.connection.saturating_add(1);
        if let Some(ids) = &mut self.ids {
            ids.watch.connected();
        }
        let Some(()) = self.save_connection().await? else { return Ok(Ending::Shutdown) };
        let Some(()) = self.save_id_note(true).await? else { return Ok(Ending::Shutdown) };
        self.status.connected(connected_at, self.connections_here == 0);
        self.connections_here += 1;
        drop(busy);
        info!(source = self.name, connection = self.connection, "connected");

        let mut watchdog = Watchdog::new(self.source.stale_after(), self.env.clock.now());
        let ending = self.receive(&mut watchdog).await?;
        self.backoff.connected_for(watchdog.heard_at().since(connected_at));
        Ok(ending)
    }

    /// Journals what comes until the connection ends.
    async fn receive(&mut self, watchdog: &mut Watchdog) -> Result<Ending> {
        loop {
            let Some(patience) = watchdog.patience(self.env.clock.now()) else {
                return Ok(Ending::Lost(
                    Error::unavailable("the feed fell silent")
                        .with_detail(format!("Nothing came for {:?}.", self.source.stale_after())),
                ));
            };
            let first = tokio::select! {
                biased;
                () = self.env.shutdown.cancelled() => return Ok(Ending::Shutdown),
                () = self.status.until_paused(true) => return Ok(Ending::Paused),
                event = self.source.next() => event,
                () = self.env.clock.sleep(patience) => continue,
            };
            let mut group = Group::new(self.received_at);
            let mut ending = take(&mut group, first, &*self.source);
            while ending.is_none() && group.has_room() {
                let Some(event) = self.source.next().now_or_never() else { break };
                ending = take(&mut group, event, &*self.source);
            }
            let Some(()) = self.journal(group).await? else { return Ok(Ending::Shutdown) };
            // Only now: while the log was blocked nobody was listening.
            watchdog.hear(self.env.clock.now());
            match ending {
                Some(Ok(ending)) => return Ok(ending),
                Some(Err(error)) => return lost(error),
                None => {}
            }
        }
    }

    /// Puts a group on stable storage and counts it; notes the sign of life it is. `None`: the
    /// process stops, and the group was not confirmed.
    async fn journal(&mut self, group: Group) -> Result<Option<()>> {
        if let Some(batches) = group.encode(self.connection)? {
            let _busy = self.env.clock.busy();
            let Self { env, status, log, partition, .. } = self;
            let append = || append_unless_overdue(env, &**log, partition, batches.clone());
            let Some(Some(span)) = patiently(env, status, append).await? else { return Ok(None) };
            self.received_at = group.last_received_at();
            let (frames, bytes, oversized) = group.counts();
            self.status.received(frames, bytes, oversized, self.received_at);
            let Some(()) = self.look_at_ids(&batches, span).await? else { return Ok(None) };
        }
        if !group.is_alive() {
            return Ok(Some(()));
        }
        let at = if group.is_empty() { self.env.clock.now() } else { self.received_at };
        let rows = self.gaps.alive(at);
        if rows.is_empty() {
            return Ok(Some(()));
        }
        self.status.gap_closed(at);
        self.save_gaps(rows).await
    }

    /// Marks the gap and ends what is left of the connection.
    async fn lose(&mut self, reason: &str) -> Result<Option<()>> {
        self.source.disconnect().await;
        let rows = self.gaps.lost(reason);
        self.save_gaps(rows).await
    }

    /// Waits before the next attempt. The ending is what ended the wait.
    async fn wait_after(&mut self, error: Error) -> Result<Ending> {
        let now = self.env.clock.now();
        let shown = match &error.detail {
            Some(detail) => format!("{}. {detail}", error.message),
            None => error.message.clone(),
        };
        self.status.notice(now, &shown);
        // Drawn in any case: it counts the failure.
        let drawn = self.backoff.delay(error.kind, &mut self.rng);
        let delay = self.source.retry_at().map_or(drawn, |at| at.since(now));
        warn!(source = self.name, ?delay, "{}", error.chain());
        self.status.enter(FeedState::Waiting);
        let Some(()) = self.lose(&error.message).await? else { return Ok(Ending::Shutdown) };
        tokio::select! {
            biased;
            () = self.env.shutdown.cancelled() => Ok(Ending::Shutdown),
            () = self.status.until_paused(true) => Ok(Ending::Paused),
            () = self.env.clock.sleep(delay) => Ok(Ending::Lost(error)),
        }
    }

    fn interruption(&self) -> Option<Ending> {
        if self.env.shutdown.is_cancelled() {
            return Some(Ending::Shutdown);
        }
        self.status.is_paused().then_some(Ending::Paused)
    }

    async fn save_connection(&mut self) -> Result<Option<()>> {
        let id = format!("{}/{}", self.name, self.partition.partition);
        let row = FeedRow { connection: self.connection, keys: self.source.keys() };
        let value = serde_json::to_value(&row).expect("a row of numbers and texts is JSON");
        let Self { env, status, store, .. } = self;
        let put = || store.put(FEED_KIND, &id, Expected::Any, &value);
        Ok(patiently(env, status, put).await?.map(|_| ()))
    }

    /// Writes rows of a gap, waiting while the store is away. `None`: the process stops.
    async fn save_gaps(&mut self, rows: Vec<GapRow>) -> Result<Option<()>> {
        if let Some(since) = self.gaps.open_since() {
            self.status.gap_opened(since);
        }
        let Self { env, status, store, .. } = self;
        patiently(env, status, || put_gaps(&**store, &rows)).await
    }
}

async fn put_gaps(store: &dyn Store, rows: &[GapRow]) -> Result<()> {
    for (id, gap) in rows {
        let value = serde_json::to_value(gap).expect("a row of times and texts is JSON");
        store.put(GAP_KIND, id, Expected::Any, &value).await?;
    }
    Ok(())
}

/// Adds an event to the group, or says how the connection ended.
fn take(
    group: &mut Group,
    event: Result<SourceEvent>,
    source: &dyn Source,
) -> Option<Result<Ending>> {
    match event {
        Ok(SourceEvent::Frame(frame)) => {
            group.push(frame.received_at, frame.bytes);
            group.stands_at(source.position());
        }
        Ok(SourceEvent::Oversized { received_at, length, head }) => {
            group.push_head(received_at, length, head);
            group.stands_at(source.position());
        }
        Ok(SourceEvent::Alive) => group.alive(),
        Ok(SourceEvent::End) => return Some(Ok(Ending::Finished)),
        Ok(SourceEvent::Closed(reason)) => {
            return Some(Err(Error::unavailable(format!(
                "the feed closed the connection, {reason}"
            ))));
        }
        Err(error) => return Some(Err(error)),
    }
    None
}

/// The ending an error of the source stands for; what no attempt can mend is passed on.
fn lost(error: Error) -> Result<Ending> {
    match error.kind {
        ErrorKind::Fenced | ErrorKind::Internal => Err(error),
        ErrorKind::Invalid | ErrorKind::Data | ErrorKind::Unavailable => Ok(Ending::Lost(error)),
    }
}

/// Does `attempt` until it succeeds, with back-off while it is `Unavailable`, which the status
/// shows. `None`: the process stops.
async fn patiently<T, F>(
    env: &Env,
    status: &FeedStatus,
    attempt: impl Fn() -> F,
) -> Result<Option<T>>
where
    F: Future<Output = Result<T>>,
{
    let mut backoff = Backoff::default();
    let mut rng = env.rng("waiting for the log and the store");
    let mut state_before = None;
    loop {
        let error = match attempt().await {
            Ok(done) => {
                if let Some(state) = state_before {
                    status.enter(state);
                }
                return Ok(Some(done));
            }
            Err(error) if error.kind == ErrorKind::Unavailable => error,
            Err(error) => return Err(error),
        };
        if state_before.is_none() {
            warn!("{}", error.chain());
            state_before = Some(status.state());
            status.enter(FeedState::Blocked);
        }
        status.notice(env.clock.now(), &error.chain());
        let delay = backoff.delay(error.kind, &mut rng);
        if !env.sleep(delay).await {
            return Ok(None);
        }
    }
}
