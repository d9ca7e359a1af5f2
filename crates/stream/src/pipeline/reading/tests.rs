//! Readers that keep step, fall behind, stop, and read for themselves.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use thalweg_core::Error;
use thalweg_core::decode::{Decoded, Decoder, FrameCounts};
use thalweg_core::env::{Clock, Env};
use thalweg_core::frame::Frames;
use thalweg_core::schema::{meta, source_schema};
use thalweg_core::source::{Chunk, Input};
use thalweg_core::time::Timestamp;
use thalweg_sim::MemDisk;

use super::*;
use crate::intake::{Intake, IntakeConfig};
use crate::sql::Planner;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);
const LIMIT: ReadLimit = ReadLimit {
    frames_max: 10,
    bytes_max: 1 << 20,
    until: None,
    is_rerun: false,
    wait: Duration::ZERO,
};

/// What is known of a source from outside.
#[derive(Default)]
struct Facts {
    reads: AtomicUsize,
    restores: AtomicUsize,
    is_away: AtomicBool,
    end: AtomicUsize,
}

/// Ten offsets a read, up to an end, without a frame in them.
struct Tens(Arc<Facts>);

#[async_trait]
impl Input for Tens {
    fn restore(&mut self, _: Option<&str>) -> Result<()> {
        self.0.restores.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn read(&mut self, from: Offset, _: ReadLimit) -> Result<Chunk> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if self.0.is_away.swap(false, Ordering::SeqCst) {
            return Err(Error::unavailable("the disk is away"));
        }
        let end = self.0.end.load(Ordering::SeqCst) as Offset;
        Ok(Chunk { next: (from + 10).min(end), ..Chunk::default() })
    }

    async fn start(&mut self) -> Result<Offset> {
        Ok(0)
    }

    async fn unread_heads(&mut self, _: Offset) -> Result<Frames> {
        Ok(Frames::default())
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

struct NoRows(SchemaRef);

impl Decoder for NoRows {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn decode(&mut self, _: &Frames) -> Result<Decoded> {
        Ok(Decoded {
            rows: RecordBatch::new_empty(Arc::clone(&self.0)),
            rejects: Vec::new(),
            frames: FrameCounts::default(),
            notices: Vec::new(),
        })
    }
}

fn env() -> Env {
    Env {
        clock: Clock::stepped(Timestamp(0)),
        disk: Arc::new(MemDisk::new(1)),
        shutdown: Default::default(),
        tasks: Default::default(),
        seed: 1,
    }
}

/// A reading of 1,000 offsets for so many pipelines.
fn shared(members: usize) -> (Reading, Arc<Facts>) {
    let facts = Arc::new(Facts { end: AtomicUsize::new(1_000), ..Facts::default() });
    let config = IntakeConfig {
        source: "tens".to_owned(),
        topic: "tens".to_owned(),
        event_time: meta::RECEIVED_AT.to_owned(),
        max_ahead_micros: None,
        checks: Vec::new(),
    };
    let decoder = Box::new(NoRows(source_schema(&[])));
    let intake = Intake::new(&Planner::new(), config, decoder).expect("it has an event time");
    let input: Box<dyn Input> = Box::new(Tens(Arc::clone(&facts)));
    let front = Reader::new(BTreeMap::from([(0, input)]), intake, &env());
    let reading = Reading { front: tokio::sync::Mutex::new(Some(front)), ..Reading::default() };
    for number in 0..members {
        assert_eq!(reading.add(), number);
    }
    (reading, facts)
}

fn at(next: Offset) -> Position {
    Position { next, manifest: None }
}

/// Reads on up to `end`; returns how many portions it had to read alone.
async fn go(
    reading: &Reading,
    member: usize,
    from: Offset,
    end: Offset,
    patience: Duration,
) -> usize {
    let mut alone = 0;
    let mut position = at(from);
    while position.next < end {
        let portion = reading.portion(member, (0, &position), LIMIT, patience).await;
        match portion.expect("the source does not fail") {
            Some(portion) => position.next = portion.chunk.next,
            None => {
                alone += 1;
                position.next += 10;
            }
        }
    }
    alone
}

#[tokio::test]
async fn readers_in_step_read_each_portion_once() {
    let (reading, facts) = shared(3);
    let alone = tokio::join!(
        go(&reading, 0, 0, 1_000, LONG),
        go(&reading, 1, 0, 1_000, LONG),
        go(&reading, 2, 0, 1_000, LONG)
    );
    assert_eq!(alone, (0, 0, 0));
    assert_eq!(facts.reads.load(Ordering::SeqCst), 100);
    assert_eq!(facts.restores.load(Ordering::SeqCst), 1);
    assert!(lock(&reading.inner).places.len() <= PLACES_MAX);
}

#[tokio::test]
async fn one_that_stands_still_is_waited_for_once() {
    let (reading, facts) = shared(2);
    let started = std::time::Instant::now();
    assert_eq!(go(&reading, 0, 0, 1_000, SHORT).await, 0);
    assert!(started.elapsed() < 10 * SHORT);
    // It reads alone what is gone, and is in step again once it has caught up.
    assert_eq!(go(&reading, 1, 0, 990, LONG).await, 99);
    facts.end.store(2_000, Ordering::SeqCst);
    let (one, other) = (at(1_000), at(1_000));
    let (one, other) = tokio::join!(
        reading.portion(0, (0, &one), LIMIT, LONG),
        reading.portion(1, (0, &other), LIMIT, LONG)
    );
    let both = one.expect("it is read").zip(other.expect("it is read"));
    assert!(both.is_some_and(|(one, other)| Arc::ptr_eq(&one, &other)));
}

#[tokio::test]
async fn one_who_left_is_not_waited_for() {
    let (reading, facts) = shared(2);
    assert_eq!(go(&reading, 1, 0, 20, LONG).await, 0);
    reading.leave(1);
    assert_eq!(go(&reading, 0, 0, 1_000, LONG).await, 0);
    assert_eq!(facts.reads.load(Ordering::SeqCst), 100);
}

#[tokio::test]
async fn one_alone_reads_alone() {
    let (reading, facts) = shared(1);
    assert_eq!(go(&reading, 0, 0, 100, LONG).await, 10);
    assert_eq!(facts.reads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn nothing_new_is_not_remembered() {
    let (reading, facts) = shared(2);
    facts.end.store(0, Ordering::SeqCst);
    for _ in 0..3 {
        let nothing = reading.portion(0, (0, &at(0)), LIMIT, LONG).await.expect("it is read");
        assert_eq!(nothing.map(|portion| portion.chunk.next), Some(0));
    }
    assert_eq!(facts.reads.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_failed_is_read_again() {
    let (reading, facts) = shared(2);
    facts.is_away.store(true, Ordering::SeqCst);
    assert!(reading.portion(0, (0, &at(0)), LIMIT, LONG).await.is_err());
    let portion = reading.portion(1, (0, &at(0)), LIMIT, LONG).await.expect("it is read");
    assert_eq!(portion.map(|portion| portion.chunk.next), Some(10));
    // Where the first read left the input was not known.
    assert_eq!(facts.restores.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn offsets_of_another_list_are_read_alone() {
    let (reading, _) = shared(2);
    let listed = |manifest: &str| Position { next: 0, manifest: Some(manifest.to_owned()) };
    let first = reading.portion(0, (0, &listed("a")), LIMIT, LONG).await.expect("it is read");
    assert!(first.is_some());
    let other = reading.portion(1, (0, &listed("b")), LIMIT, LONG).await.expect("it is read");
    assert!(other.is_none());
}
