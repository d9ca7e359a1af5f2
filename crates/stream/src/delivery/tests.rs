//! A delivery and a target that goes away, loses replies and is fenced.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use async_trait::async_trait;
use thalweg_core::env::{Clock, Disk as _};
use thalweg_core::ledger::SinkLedger;
use thalweg_core::time::Timestamp;
use thalweg_sim::MemDisk;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;

const LIMITS: OutboxLimits =
    OutboxLimits { memory_bytes: 16 << 10, segment_bytes: 4 << 10, disk_bytes: 1 << 30 };

/// What lies behind the sink: an upsert by `id % 10`, so that rows supersede each other.
#[derive(Default)]
struct World {
    stamp: Option<Stamp>,
    total: Committed,
    /// (epoch, id) of every row, in the order of commits.
    rows: Vec<(Epoch, i64)>,
    largest_commit: usize,
    is_away: bool,
    loses_replies: u32,
}

#[derive(Clone, Default)]
struct Target {
    world: Arc<Mutex<World>>,
    opened: Arc<AtomicUsize>,
}

struct TargetSink {
    target: Target,
    staged: Vec<(Epoch, i64)>,
}

impl Target {
    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        lock(&self.world)
    }

    fn check_there(&self) -> Result<()> {
        if self.world().is_away { Err(Error::unavailable("it is away")) } else { Ok(()) }
    }
}

#[async_trait]
impl Sink for TargetSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        self.target.opened.fetch_add(1, Ordering::Relaxed);
        self.target.check_there()?;
        Ok(self.target.world().stamp.clone())
    }

    async fn write(&mut self, epoch: Epoch, rows: &RecordBatch) -> Result<()> {
        self.target.check_there()?;
        let ids = rows.column(0).as_primitive::<Int64Type>().values();
        self.staged.extend(ids.iter().map(|id| (epoch, *id)));
        Ok(())
    }

    async fn commit(&mut self, stamp: &Stamp) -> Result<Committed> {
        self.target.check_there()?;
        let mut world = self.target.world();
        let keys: std::collections::BTreeSet<i64> =
            self.staged.iter().map(|(_, id)| id % 10).collect();
        let committed = Committed {
            rows_written: keys.len() as u64,
            rows_superseded: (self.staged.len() - keys.len()) as u64,
        };
        assert!(world.stamp.as_ref().is_none_or(|held| held.epoch < stamp.epoch), "S9");
        assert!(self.staged.iter().all(|(epoch, _)| *epoch <= stamp.epoch), "S9: behind the stamp");
        world.largest_commit = world.largest_commit.max(self.staged.len());
        world.rows.append(&mut self.staged);
        world.total += committed;
        world.stamp = Some(stamp.clone());
        if world.loses_replies > 0 {
            world.loses_replies -= 1;
            return Err(Error::unavailable("the reply was lost"));
        }
        Ok(committed)
    }

    async fn discard(&mut self) {
        self.staged.clear();
    }

    fn total(&self) -> Option<Committed> {
        Some(self.target.world().total)
    }
}

struct Bench {
    env: Env,
    disk: MemDisk,
    memory: Budget,
    target: Target,
    delivery: Delivery,
}

impl Bench {
    fn new(target: Target, known: SinkPosition, recorded: Epoch, limits: OutboxLimits) -> Self {
        let (disk, memory) = (MemDisk::new(7), Budget::unlimited("memory"));
        let env = Env {
            clock: Clock::stepped(Timestamp(0)),
            disk: Arc::new(disk.clone()),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            seed: 7,
        };
        let config = DeliveryConfig {
            name: "out".to_owned(),
            pipeline: "p".to_owned(),
            incarnation: "i".to_owned(),
            known,
            recorded,
            outbox: "/outbox".into(),
            limits,
            memory: memory.clone(),
            disk: Budget::unlimited("disk"),
        };
        let sink = TargetSink { target: target.clone(), staged: Vec::new() };
        let delivery = Delivery::start(&env, config, Box::new(sink));
        Self { env, disk, memory, target, delivery }
    }

    fn fresh(limits: OutboxLimits) -> Self {
        Self::new(Target::default(), SinkPosition::default(), 0, limits)
    }

    async fn write(&self, epoch: Epoch, ids: std::ops::Range<i64>) {
        self.delivery.write(epoch, rows(ids)).await.unwrap();
    }

    /// Lets time pass until the status is as wanted.
    async fn until(&self, what: &str, is_so: impl Fn(&DeliveryStatus) -> bool) -> DeliveryStatus {
        for _ in 0..100_000 {
            let status = self.delivery.status().borrow().clone();
            if is_so(&status) {
                return status;
            }
            tokio::task::yield_now().await;
            let now = self.env.clock.now();
            self.env.clock.step_to(now.plus(Duration::from_millis(20)));
        }
        panic!("{what}: {:?}", self.delivery.status().borrow());
    }
}

fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let ids = Int64Array::from_iter_values(ids);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids)]).unwrap()
}

fn ledger(handed: u64, total: Committed) -> SinkLedger {
    SinkLedger {
        rows_handed: handed,
        rows_written: total.rows_written,
        rows_superseded: total.rows_superseded,
    }
}

#[tokio::test]
async fn an_outage_of_thousands_of_epochs_stays_cheap_and_ends_in_commits_of_bounded_size() {
    let bench = Bench::fresh(LIMITS);
    bench.target.world().is_away = true;
    for epoch in 1..=5_000 {
        bench.write(epoch, 10 * epoch as i64..10 * epoch as i64 + 10).await;
        if epoch % 50 == 0 {
            bench.delivery.commit(epoch).await.unwrap();
        }
    }
    bench.until("all is taken", |status| status.rows_waiting == 50_000).await;
    assert!(bench.memory.used() <= 32 << 10, "{} bytes in memory", bench.memory.used());
    let files = bench.disk.list(std::path::Path::new("/outbox")).unwrap().len();
    assert!(files < 1_000, "{files} files for 5,000 epochs");

    bench.target.world().is_away = false;
    let status = bench.until("it has caught up", |it| it.position.committed == 5_000).await;
    let world = bench.target.world();
    let expected: Vec<(Epoch, i64)> = (10..50_010).map(|id| (id as u64 / 10, id)).collect();
    assert_eq!(world.rows, expected);
    assert!(world.largest_commit < 5_000, "{} rows in one commit", world.largest_commit);
    assert_eq!((status.rows_waiting, status.held), (0, 5_000));
    assert_eq!(status.position.ledger, ledger(50_000, world.total));
    assert_eq!((bench.memory.used(), bench.disk.used_bytes()), (0, 0));
}

#[tokio::test]
async fn rows_behind_the_commit_that_is_wanted_wait_for_the_next() {
    let bench = Bench::fresh(LIMITS);
    bench.target.world().is_away = true;
    bench.write(1, 0..3).await;
    bench.delivery.commit(1).await.unwrap();
    bench.write(2, 3..5).await;
    bench.until("all is taken", |status| status.rows_waiting == 5).await;
    bench.target.world().is_away = false;
    let status = bench.until("the first is committed", |it| it.position.committed == 1).await;
    assert_eq!(bench.target.world().rows, [(1, 0), (1, 1), (1, 2)]);
    assert_eq!((status.rows_waiting, status.position.ledger.rows_handed), (2, 3));
    bench.delivery.commit(2).await.unwrap();
    let status = bench.until("the second is committed", |it| it.position.committed == 2).await;
    assert_eq!(bench.target.world().rows.len(), 5, "S9: each once");
    assert_eq!(status.position.ledger, ledger(5, bench.target.world().total));
}

#[tokio::test]
async fn a_commit_whose_reply_was_lost_is_counted_once() {
    let bench = Bench::fresh(LIMITS);
    bench.target.world().loses_replies = 2;
    for epoch in 1..=3 {
        let first = 20 * epoch as i64;
        bench.write(epoch, first..first + 20).await;
        bench.delivery.commit(epoch).await.unwrap();
    }
    let status = bench.until("all is committed", |it| it.position.committed == 3).await;
    let world = bench.target.world();
    assert_eq!(world.rows.len(), 60);
    assert_eq!(status.position.ledger, ledger(60, world.total), "S12");
    assert!(world.total.rows_superseded >= 30, "{:?}", world.total);
}

#[tokio::test]
async fn after_a_crash_the_ledger_is_what_the_target_remembers() {
    // Epochs 1 to 3 are in the target, the checkpoint knows of 1.
    let target = Target::default();
    {
        let mut world = target.world();
        world.stamp = Some(Stamp { incarnation: "i".into(), pipeline: "p".into(), epoch: 3 });
        world.total = Committed { rows_written: 25, rows_superseded: 35 };
        world.rows = (0..60).map(|id| (id as u64 / 20 + 1, id)).collect();
    }
    let known = SinkPosition {
        committed: 1,
        ledger: ledger(20, Committed { rows_written: 10, rows_superseded: 10 }),
    };
    let bench = Bench::new(target, known, 3, LIMITS);
    for epoch in 2..=4 {
        let first = 20 * (epoch as i64 - 1);
        bench.write(epoch, first..first + 20).await;
    }
    bench.delivery.commit(4).await.unwrap();
    let status = bench.until("all is committed", |it| it.position.committed == 4).await;
    let world = bench.target.world();
    assert_eq!(world.rows.len(), 80, "S9: each once");
    let total = Committed { rows_written: 35, rows_superseded: 45 };
    assert_eq!(status.position.ledger, ledger(80, total), "S12");
}

#[tokio::test]
async fn a_target_that_has_gone_back_is_not_written_to() {
    let target = Target::default();
    {
        let mut world = target.world();
        world.stamp = Some(Stamp { incarnation: "i".into(), pipeline: "p".into(), epoch: 2 });
        world.total = Committed { rows_written: 5, rows_superseded: 0 };
    }
    let known = SinkPosition {
        committed: 3,
        ledger: ledger(8, Committed { rows_written: 8, rows_superseded: 0 }),
    };
    let bench = Bench::new(target, known, 3, LIMITS);
    let status = bench.until("it stops", |it| it.state == DeliveryState::Stopped).await;
    let reason = status.reason.unwrap();
    assert!(reason.contains("it knows of 5 rows, 8 were written"), "{reason}");
}

#[tokio::test]
async fn a_full_outbox_makes_the_pipeline_wait_and_loses_nothing() {
    let bench = Bench::fresh(OutboxLimits { disk_bytes: 0, ..LIMITS });
    bench.target.world().is_away = true;
    let mut epoch = 0;
    loop {
        epoch += 1;
        let mut write = Box::pin(bench.write(epoch, 0..100));
        let mut polls = 0;
        let taken = std::future::poll_fn(|context| {
            polls += 1;
            context.waker().wake_by_ref();
            match write.as_mut().poll(context) {
                Poll::Pending if polls < 100 => Poll::Pending,
                polled => Poll::Ready(polled.is_ready()),
            }
        });
        if !taken.await {
            let full =
                |it: &DeliveryStatus| it.reason.as_ref().is_some_and(|it| it.contains("full"));
            bench.until("it says so", full).await;
            bench.target.world().is_away = false;
            bench.until("it works again", |it| it.state == DeliveryState::Running).await;
            write.await;
            break;
        }
        assert!(epoch < 10_000, "nothing makes it wait");
    }
    assert!(bench.target.opened.load(Ordering::Relaxed) > 1);
    bench.delivery.commit(epoch).await.unwrap();
    let status = bench.until("all is committed", |it| it.position.committed == epoch).await;
    assert_eq!(bench.target.world().rows.len() as u64, 100 * epoch);
    assert!(status.position.ledger.broken().is_empty());
}
