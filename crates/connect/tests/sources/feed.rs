//! The driver of live feeds, over a source that does as it is told and the real log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use thalweg_connect::feed::{
    Feed, FeedReading, FeedState, FeedStatus, Gap, GapState, IdRule, IdScope,
};
use thalweg_core::env::Env;
use thalweg_core::frame::Frame;
use thalweg_core::log::{Durability, Log as _};
use thalweg_core::records::BatchWriter;
use thalweg_core::source::{Source, SourceEvent};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::TopicPartition;
use thalweg_core::{Error, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::{MemLog, MemStore, START, env, eventually, soon, step_to_next_sleeper};

/// A source that does what the test tells it to.
struct Scripted {
    connects: Arc<Mutex<Connects>>,
    events: mpsc::Receiver<Result<SourceEvent>>,
}

/// What becomes of attempts to connect; those that are not scripted succeed.
#[derive(Default)]
struct Connects {
    results: VecDeque<Result<()>>,
    count: usize,
    disconnects: usize,
}

#[async_trait]
impl Source for Scripted {
    async fn connect(&mut self) -> Result<()> {
        let mut connects = self.connects.lock().unwrap();
        connects.count += 1;
        connects.results.pop_front().unwrap_or(Ok(()))
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    async fn disconnect(&mut self) {
        self.connects.lock().unwrap().disconnects += 1;
    }

    fn keys(&self) -> Vec<String> {
        vec!["AAPL".into(), "MSFT".into()]
    }

    fn stale_after(&self) -> Duration {
        Duration::from_secs(300)
    }
}

/// Ids of each symbol; most frames here have none.
fn by_symbol() -> IdRule {
    IdRule { rows: None, only_if: None, id: "i".into(), scope: IdScope::Key("s".into()) }
}

/// A feed over a scripted source, and what it works on.
struct Rig {
    env: Env,
    log: Arc<MemLog>,
    store: Arc<MemStore>,
    status: Arc<FeedStatus>,
    connects: Arc<Mutex<Connects>>,
    events: mpsc::Sender<Result<SourceEvent>>,
    running: JoinHandle<Result<()>>,
}

impl Rig {
    fn start() -> Self {
        Self::start_over(env(), Arc::new(MemLog::new()), Arc::default(), VecDeque::new())
    }

    fn start_over(
        env: Env,
        log: Arc<MemLog>,
        store: Arc<MemStore>,
        results: VecDeque<Result<()>>,
    ) -> Self {
        let (events, receiver) = mpsc::channel(64);
        let connects = Arc::new(Mutex::new(Connects { results, ..Connects::default() }));
        let source = Box::new(Scripted { connects: connects.clone(), events: receiver });
        let status = Arc::new(FeedStatus::default());
        let running = env.spawn({
            let (env, log, store, status) =
                (env.clone(), log.clone(), store.clone(), status.clone());
            async move {
                let partition = TopicPartition::new("trades.raw", 0);
                let ids = Some(by_symbol());
                Feed::run_with_ids(&env, source, log, partition, store, status, ids).await
            }
        });
        Self { env, log, store, status, connects, events, running }
    }

    /// The same data folder and a later process.
    fn restart(self) -> Self {
        let env = Env { shutdown: Default::default(), ..self.env };
        Self::start_over(env, self.log, self.store, VecDeque::new())
    }

    async fn tell(&self, event: Result<SourceEvent>) {
        self.events.send(event).await.unwrap();
    }

    async fn frame(&self, text: &str) {
        let frame = Frame {
            received_at: self.env.clock.now(),
            connection: 0,
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        };
        self.tell(Ok(SourceEvent::Frame(frame))).await;
    }

    fn step(&self, seconds: u64) {
        self.env.clock.step_to(self.env.clock.now().plus(Duration::from_secs(seconds)));
    }

    fn reading(&self) -> FeedReading {
        self.status.read(self.env.clock.now())
    }

    async fn is(&self, state: FeedState) {
        eventually(&format!("the feed is {state}"), || self.reading().state == state).await;
    }

    async fn stop(&mut self) {
        self.env.shutdown.cancel();
        soon("the end of the feed", &mut self.running).await.unwrap().unwrap();
    }

    /// Seconds since the start of the test from which to which each gap reaches, by key.
    fn gaps(&self) -> Vec<String> {
        let seconds = |at: Timestamp| at.since(START).as_secs();
        let line = |gap: Gap| {
            let to = gap.to.map_or("…".to_owned(), |to| seconds(to).to_string());
            format!("{} {}–{to} {:?}: {}", gap.key, seconds(gap.from), gap.state, gap.reason)
        };
        self.store.gaps().into_iter().map(line).collect()
    }
}

#[tokio::test]
async fn frames_reach_the_log_with_connection_and_time() {
    let mut rig = Rig::start();
    rig.frame("one").await;
    rig.frame("two").await;
    rig.log.has(2).await;
    rig.step(3);
    rig.frame("three").await;
    rig.tell(Ok(SourceEvent::Oversized {
        received_at: rig.env.clock.now(),
        length: 20_000_000,
        head: Bytes::from_static(b"head"),
    }))
    .await;
    rig.log.has(4).await;
    let seen: Vec<_> = rig
        .log
        .records()
        .into_iter()
        .map(|record| (record.offset, record.connection, record.received_ms, record.value))
        .collect();
    let ms = START.millis();
    assert_eq!(
        seen,
        [
            (0, Some(1), ms, "one".into()),
            (1, Some(1), ms, "two".into()),
            (2, Some(1), ms + 3000, "three".into()),
            (3, Some(1), ms + 3000, "head".into()),
        ]
    );
    rig.is(FeedState::Live).await;
    let reading = rig.reading();
    assert_eq!((reading.frames, reading.bytes, reading.oversized), (4, 20_000_011, 1));
    assert_eq!(reading.last_frame_at, Some(rig.env.clock.now()));
    assert_eq!((reading.reconnects, reading.gap), (0, Duration::ZERO));
    rig.stop().await;
    assert_eq!(rig.reading().state, FeedState::Stopped);
    assert_eq!(rig.connects.lock().unwrap().disconnects, 1);
}

#[tokio::test]
async fn what_is_ready_at_once_is_one_append() {
    let env = env();
    let (log, store) = (Arc::new(MemLog::new()), Arc::default());
    // The source waits with all of it until it is connected.
    let rig = Rig::start_over(env, log, store, VecDeque::new());
    for number in 0..50 {
        rig.frame(&number.to_string()).await;
    }
    rig.log.has(50).await;
    assert!(rig.log.appends() < 10, "{} appends", rig.log.appends());
}

#[tokio::test]
async fn a_clock_set_back_does_not_take_times_back() {
    let mut rig = Rig::start();
    rig.step(10);
    rig.frame("now").await;
    rig.log.has(1).await;
    let earlier = Frame { received_at: START, connection: 0, bytes: Bytes::from_static(b"back") };
    rig.tell(Ok(SourceEvent::Frame(earlier.clone()))).await;
    rig.log.has(2).await;
    rig.stop().await;
    // A later process finds the last time in the log.
    let rig = rig.restart();
    rig.tell(Ok(SourceEvent::Frame(earlier))).await;
    rig.log.has(3).await;
    let times: Vec<i64> =
        rig.log.records().iter().map(|record| record.received_ms - START.millis()).collect();
    assert_eq!(times, [10_000, 10_000, 10_000], "S1");
}

#[tokio::test]
async fn a_closed_connection_is_opened_again_and_leaves_a_gap_per_key() {
    let mut rig = Rig::start();
    rig.frame("before").await;
    rig.log.has(1).await;
    rig.step(20);
    rig.tell(Ok(SourceEvent::Alive)).await;
    rig.tell(Ok(SourceEvent::Closed("1006: gone".into()))).await;
    rig.is(FeedState::Waiting).await;
    let reason = "the feed closed the connection, 1006: gone";
    assert_eq!(
        rig.gaps(),
        [format!("AAPL 20–… Open: {reason}"), format!("MSFT 20–… Open: {reason}")]
    );
    let delay = step_to_next_sleeper(&rig.env.clock).await;
    assert!(delay <= Duration::from_millis(100), "the first delay is short: {delay:?}");
    rig.is(FeedState::Live).await;
    rig.step(40);
    rig.frame("after").await;
    rig.log.has(2).await;
    eventually("the gap is closed", || rig.store.gaps()[1].state == GapState::Unfillable).await;
    assert_eq!(rig.gaps()[0], format!("AAPL 20–60 Unfillable: {reason}"));
    let reading = rig.reading();
    assert_eq!((reading.reconnects, reading.gap.as_secs()), (1, 40));
    assert_eq!(reading.last_errors, [(START.plus(Duration::from_secs(20)), reason.to_owned())]);
    assert_eq!(rig.log.records()[1].connection, Some(2));
    rig.stop().await;
}

#[tokio::test]
async fn silence_beyond_the_cadence_is_death() {
    let mut rig = Rig::start();
    rig.frame("before").await;
    rig.log.has(1).await;
    rig.is(FeedState::Live).await;
    // A ping resets the watchdog: 299 s later the feed still lives, 300 s later it is dead.
    rig.step(200);
    rig.tell(Ok(SourceEvent::Alive)).await;
    eventually("the ping is heard", || {
        rig.env.clock.next_deadline() == Some(START.plus(Duration::from_secs(500)))
    })
    .await;
    rig.step(299);
    assert_eq!(rig.reading().state, FeedState::Live);
    rig.step(1);
    rig.is(FeedState::Waiting).await;
    let gaps = rig.gaps();
    assert_eq!(gaps[0], "AAPL 200–… Open: the feed fell silent", "S14");
    assert_eq!(gaps.len(), 2);
    step_to_next_sleeper(&rig.env.clock).await;
    rig.is(FeedState::Live).await;
    assert_eq!(rig.connects.lock().unwrap().count, 2);
    rig.stop().await;
}

#[tokio::test]
async fn attempts_are_spread_further_and_further() {
    let failures = (0..12).map(|_| Err(Error::unavailable("nobody there"))).collect();
    let mut rig = Rig::start_over(env(), Arc::new(MemLog::new()), Arc::default(), failures);
    let mut delays = Vec::new();
    while rig.connects.lock().unwrap().count < 13 {
        delays.push(step_to_next_sleeper(&rig.env.clock).await.as_millis() as u64);
        eventually("the next attempt", || rig.connects.lock().unwrap().count == delays.len() + 1)
            .await;
    }
    for (attempt, delay) in delays.iter().enumerate() {
        let ceiling = (100 << attempt).min(30_000);
        assert!(*delay <= ceiling, "attempt {attempt}: {delay} of {ceiling} ms");
    }
    assert!(delays.iter().max() > Some(&3_000), "{delays:?}");
    assert!(rig.gaps().is_empty(), "nothing was ever received");
    assert_eq!(rig.reading().errors, 12);
    rig.stop().await;
}

#[tokio::test]
async fn a_refusal_is_shown_and_tried_again_slowly() {
    let refused = VecDeque::from([Err(Error::invalid("refused the token"))]);
    let mut rig = Rig::start_over(env(), Arc::new(MemLog::new()), Arc::default(), refused);
    rig.is(FeedState::Waiting).await;
    assert_eq!(rig.reading().last_errors[0].1, "refused the token");
    assert!(step_to_next_sleeper(&rig.env.clock).await >= Duration::from_secs(30));
    rig.is(FeedState::Live).await;
    rig.stop().await;
}

#[tokio::test]
async fn an_error_nobody_can_mend_ends_the_feed() {
    let rig = Rig::start();
    rig.tell(Err(Error::fenced("another one took over"))).await;
    let ended = soon("the end", rig.running).await.unwrap();
    assert_eq!(ended.unwrap_err().message, "another one took over");
    assert_eq!(rig.status.read(START).state, FeedState::Failed);
}

#[tokio::test]
async fn a_full_disk_holds_the_feed_up_and_nothing_is_lost() {
    let mut rig = Rig::start();
    rig.frame("one").await;
    rig.log.has(1).await;
    rig.log.set_full(true);
    rig.frame("two").await;
    rig.is(FeedState::Blocked).await;
    rig.frame("three").await;
    for refused in 1..5 {
        eventually("another attempt", || rig.log.appends_refused() == refused).await;
        step_to_next_sleeper(&rig.env.clock).await;
    }
    assert_eq!(rig.reading().frames, 1, "S7");
    assert_eq!(rig.reading().last_errors[0].1, "the disk is full");
    rig.log.set_full(false);
    while rig.reading().state == FeedState::Blocked {
        if rig.env.clock.next_deadline().is_some() {
            step_to_next_sleeper(&rig.env.clock).await;
        }
        tokio::task::yield_now().await;
    }
    rig.log.has(3).await;
    let values: Vec<String> = rig.log.records().into_iter().map(|record| record.value).collect();
    assert_eq!(values, ["one", "two", "three"]);
    rig.stop().await;
}

#[tokio::test]
async fn a_full_disk_does_not_hold_up_the_end() {
    let mut rig = Rig::start();
    rig.frame("one").await;
    rig.log.has(1).await;
    rig.log.set_full(true);
    rig.step(30);
    rig.frame("never confirmed").await;
    rig.is(FeedState::Blocked).await;
    rig.stop().await;
    assert_eq!(rig.reading().frames, 1);
    assert_eq!(rig.gaps()[0], "AAPL 0–… Open: the process was stopped", "S10");
}

#[tokio::test]
async fn a_pause_closes_the_connection_until_it_is_over() {
    let mut rig = Rig::start();
    rig.frame("one").await;
    rig.log.has(1).await;
    rig.status.pause();
    rig.is(FeedState::Paused).await;
    assert_eq!(rig.connects.lock().unwrap().disconnects, 1);
    assert_eq!(rig.gaps()[1], "MSFT 0–… Open: the source was paused");
    rig.step(90);
    assert_eq!(rig.connects.lock().unwrap().count, 1);
    rig.status.resume();
    rig.is(FeedState::Live).await;
    rig.tell(Ok(SourceEvent::Alive)).await;
    eventually("the gap is closed", || rig.store.gaps()[1].state == GapState::Unfillable).await;
    assert_eq!(rig.gaps()[1], "MSFT 0–90 Unfillable: the source was paused");
    rig.stop().await;
}

#[tokio::test]
async fn connections_are_counted_over_restarts_and_the_pause_between_is_a_gap() {
    let mut rig = Rig::start();
    rig.frame("one").await;
    rig.log.has(1).await;
    rig.step(5);
    rig.stop().await;
    assert_eq!(rig.gaps()[0], "AAPL 0–… Open: the process was stopped");
    let mut rig = rig.restart();
    rig.step(60);
    rig.frame("two").await;
    rig.log.has(2).await;
    eventually("the gap is closed", || rig.store.gaps()[1].state == GapState::Unfillable).await;
    assert_eq!(rig.gaps()[0], "AAPL 0–65 Unfillable: the process was stopped");
    assert_eq!(rig.gaps().len(), 2);
    assert_eq!(rig.log.records()[1].connection, Some(2));
    rig.stop().await;
}

#[tokio::test]
async fn after_a_crash_the_gap_begins_at_the_last_frame_in_the_log() {
    let rig = Rig::start();
    rig.step(5);
    rig.frame("one").await;
    rig.log.has(1).await;
    eventually("the frame is counted", || rig.reading().frames == 1).await;
    rig.step(10);
    rig.running.abort();
    let mut rig = rig.restart();
    rig.is(FeedState::Live).await;
    let reason = "the process ended without a word";
    assert_eq!(rig.gaps()[0], format!("AAPL 5–… Open: {reason}"));
    rig.frame("two").await;
    eventually("the gap is closed", || rig.store.gaps()[1].state == GapState::Unfillable).await;
    assert_eq!(rig.gaps()[1], format!("MSFT 5–15 Unfillable: {reason}"), "S10");
    rig.stop().await;
}

/// First and last id of the gaps that ids show.
fn missing(rig: &Rig) -> Vec<(i64, i64)> {
    rig.store.gaps().iter().filter_map(|gap| gap.ids).collect()
}

#[tokio::test]
async fn missing_ids_are_gaps_though_a_crash_came_before_they_were_looked_at() {
    let rig = Rig::start();
    rig.frame(r#"{"s":"AAPL","i":1}"#).await;
    rig.frame(r#"{"s":"AAPL","i":4}"#).await;
    eventually("a gap", || missing(&rig) == [(2, 3)]).await;
    rig.running.abort();
    // Journaled, and then the process was gone.
    let mut writer = BatchWriter::with_capacity(100);
    writer.push(START, None, Some(br#"{"s":"AAPL","i":9}"#), &[]).unwrap();
    let partition = TopicPartition::new("trades.raw", 0);
    rig.log.append(&partition, writer.finish(), Durability::Synced).await.unwrap();
    let mut rig = rig.restart();
    rig.is(FeedState::Live).await;
    assert_eq!(missing(&rig), [(2, 3), (5, 8)], "S10, S15");
    rig.frame(r#"{"s":"AAPL","i":11}"#).await;
    eventually("a third gap", || missing(&rig).len() == 3).await;
    // And once more, from the note of a stop: nothing is found twice.
    rig.stop().await;
    let mut rig = rig.restart();
    rig.is(FeedState::Live).await;
    let mut found = missing(&rig);
    found.sort_unstable();
    assert_eq!(found, [(2, 3), (5, 8), (10, 10)]);
    rig.stop().await;
}

#[tokio::test]
async fn a_source_that_ends_ends_its_feed() {
    let rig = Rig::start();
    rig.frame("one").await;
    rig.tell(Ok(SourceEvent::End)).await;
    soon("the end", rig.running).await.unwrap().unwrap();
    assert_eq!(rig.log.records().len(), 1);
    assert!(rig.store.gaps().is_empty());
}
