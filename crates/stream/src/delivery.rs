//! Delivery: one sink of one pipeline, fed epoch by epoch, never holding the others up.
//!
//! Rows wait here until the target holds them. While it cannot commit they go to an outbox on disk
//! (S9), so the pipeline goes on; a full outbox makes it wait. Nothing here must survive a crash:
//! a restart goes back to a checkpoint that no sink is behind, and the target's own stamp says what
//! it has.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use rand::Rng;
use thalweg_core::env::Env;
use thalweg_core::ledger::SinkLedger;
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, watch};

use crate::checkpoint::SinkPosition;
use crate::outbox::Outbox;

/// Messages under way to a delivery; each holds the rows of one epoch.
const QUEUE_MESSAGES_MAX: usize = 64;
/// Longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What a delivery is told about its sink.
pub struct DeliveryConfig {
    /// Name of the sink or table.
    pub name: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Id of the data folder.
    pub incarnation: String,
    /// Where the newest checkpoint says the sink stands.
    pub known: SinkPosition,
    /// The last epoch that was recorded; a target ahead of it is somebody else's.
    pub recorded: Epoch,
    /// Folder of the outbox.
    pub outbox: PathBuf,
    /// Bytes of rows kept in memory before the outbox is used.
    pub memory_bytes_max: usize,
    /// Bytes of the outbox.
    pub outbox_bytes_max: u64,
}

/// How a delivery is doing, for `system.sinks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// Name of the sink or table.
    pub name: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// How often a row can have an effect outside.
    pub guarantee: Guarantee,
    /// What it is doing.
    pub state: DeliveryState,
    /// Why it is not running, or the last error.
    pub reason: Option<String>,
    /// What the target holds, and is counted in the ledger with it.
    pub position: SinkPosition,
    /// The last epoch that the target holds: after a crash it can be ahead of what is counted, until
    /// the epochs in between have been run again.
    pub held: Epoch,
    /// Rows handed over that the target does not hold yet.
    pub rows_waiting: u64,
}

/// What a delivery is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Connecting for the first time, or again.
    Opening,
    /// Taking rows.
    Running,
    /// Waiting before it tries again.
    Retrying,
    /// Given up until a person acts.
    Stopped,
}

impl DeliveryState {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
        }
    }
}

enum Message {
    Rows(Epoch, RecordBatch),
    Commit(Epoch),
}

/// The pipeline's end of a delivery.
pub struct Delivery {
    messages: mpsc::Sender<Message>,
    status: watch::Receiver<DeliveryStatus>,
}

impl Delivery {
    /// Starts a delivery.
    pub fn start(env: &Env, config: DeliveryConfig, sink: Box<dyn Sink>) -> Self {
        let (messages, queue) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let status = DeliveryStatus {
            name: config.name.clone(),
            pipeline: config.pipeline.clone(),
            guarantee: sink.guarantee(),
            state: DeliveryState::Opening,
            reason: None,
            position: config.known,
            held: config.known.committed,
            rows_waiting: 0,
        };
        let (sender, receiver) = watch::channel(status);
        let outbox =
            Outbox::new(Arc::clone(&env.disk), config.outbox.clone(), config.memory_bytes_max);
        let runner = Runner {
            env: env.clone(),
            sink,
            queue,
            status: sender,
            outbox,
            written: 0,
            wanted: None,
            tries: 0,
            since_commit: VecDeque::new(),
            config,
        };
        env.spawn(runner.run());
        Self { messages, status: receiver }
    }

    /// Hands rows of an epoch over; waits while the outbox is full.
    pub async fn write(&self, epoch: Epoch, rows: RecordBatch) -> Result<()> {
        self.send(Message::Rows(epoch, rows)).await
    }

    /// Asks for a commit of everything up to `epoch`, whose record is durable.
    pub async fn commit(&self, epoch: Epoch) -> Result<()> {
        self.send(Message::Commit(epoch)).await
    }

    async fn send(&self, message: Message) -> Result<()> {
        self.messages.send(message).await.map_err(|_| {
            Error::unavailable(format!("sink `{}` has ended", self.status.borrow().name))
        })
    }

    /// How it is doing, and when that changes.
    pub fn status(&self) -> watch::Receiver<DeliveryStatus> {
        self.status.clone()
    }
}

struct Runner {
    env: Env,
    sink: Box<dyn Sink>,
    queue: mpsc::Receiver<Message>,
    status: watch::Sender<DeliveryStatus>,
    outbox: Outbox,
    // Entries of the outbox written to the sink since the last commit or open.
    written: usize,
    wanted: Option<Epoch>,
    tries: u32,
    // (epoch, rows) handed over since the last commit.
    since_commit: VecDeque<(Epoch, u64)>,
    config: DeliveryConfig,
}

impl Runner {
    async fn run(mut self) {
        let mut open = false;
        loop {
            if !open {
                match self.open().await {
                    Ok(()) => {
                        open = true;
                        self.say(DeliveryState::Running, None);
                    }
                    Err(error) if error.kind == ErrorKind::Unavailable => {
                        if !self.retry_later(&error).await {
                            return;
                        }
                        continue;
                    }
                    Err(error) => {
                        self.say(DeliveryState::Stopped, Some(error.chain()));
                        tracing::error!(
                            sink = self.config.name,
                            error = error.chain(),
                            "sink stopped"
                        );
                        self.count_until_the_end().await;
                        return;
                    }
                }
            }
            if let Err(error) = self.work().await {
                self.sink.discard().await;
                self.written = 0;
                open = false;
                if error.kind != ErrorKind::Unavailable {
                    self.say(DeliveryState::Stopped, Some(error.chain()));
                    tracing::error!(sink = self.config.name, error = error.chain(), "sink stopped");
                    self.count_until_the_end().await;
                    return;
                }
                if !self.retry_later(&error).await {
                    return;
                }
                continue;
            }
            match self.queue.recv().await {
                Some(message) => {
                    self.take(message);
                    // More may be ready: take it before the target is bothered.
                    while self.wanted.is_none()
                        && let Ok(message) = self.queue.try_recv()
                    {
                        self.take(message);
                    }
                }
                // The pipeline has ended; what it asked to be committed is.
                None => return,
            }
        }
    }

    async fn open(&mut self) -> Result<()> {
        let stamp = self.sink.open().await?;
        let known = self.config.known.committed;
        let committed = match &stamp {
            None if known > 0 && self.sink.guarantee() == Guarantee::ExactlyOnce => {
                return Err(self.foreign(format!(
                    "the target no longer holds what was written to it up to epoch {known}"
                )));
            }
            None => known,
            Some(stamp) if stamp.incarnation != self.config.incarnation => {
                return Err(self.foreign(format!(
                    "the target was written by another data folder, {} (this one is {})",
                    stamp.incarnation, self.config.incarnation
                )));
            }
            Some(stamp) => {
                let recorded = self.config.recorded.max(self.newest_handed());
                if stamp.epoch > recorded {
                    return Err(self.foreign(format!(
                        "the target is at epoch {}, this data folder only at {recorded}",
                        stamp.epoch
                    )));
                }
                stamp.epoch
            }
        };
        // Rows that it holds are not written again; they are counted when they are handed over.
        self.outbox.drop_through(committed);
        self.written = 0;
        self.status.send_modify(|status| status.held = status.held.max(committed));
        Ok(())
    }

    fn foreign(&self, message: String) -> Error {
        Error::fenced(format!("sink `{}` is not written to: {message}", self.config.name)).with_hint(
            format!(
                "`thalweg sinks adopt {0}` goes on from what the target holds; `thalweg sinks reset \
                 {0}` empties it and writes it anew.",
                self.config.name
            ),
        )
    }

    fn newest_handed(&self) -> Epoch {
        self.since_commit.back().map_or(0, |(epoch, _)| *epoch)
    }

    /// Takes a message into the outbox.
    fn take(&mut self, message: Message) {
        match message {
            Message::Rows(epoch, rows) => {
                let (counted, held) = {
                    let status = self.status.borrow();
                    (status.position.committed, status.held)
                };
                if epoch <= counted {
                    return;
                }
                self.since_commit.push_back((epoch, rows.num_rows() as u64));
                // An epoch the target holds already is run again after a crash: its rows are there.
                if epoch > held
                    && let Err(error) = self.outbox.push(epoch, rows)
                {
                    tracing::warn!(sink = self.config.name, error = error.chain(), "outbox");
                }
                self.status.send_modify(|status| {
                    status.rows_waiting = self.since_commit.iter().map(|(_, rows)| rows).sum();
                });
            }
            Message::Commit(epoch) => self.wanted = self.wanted.max(Some(epoch)),
        }
    }

    /// Writes what waits, and commits if that was asked for.
    async fn work(&mut self) -> Result<()> {
        while let Some((epoch, rows)) = self.outbox.get(self.written)? {
            self.sink.write(epoch, &rows).await?;
            self.written += 1;
        }
        let Some(epoch) = self.wanted else {
            self.tries = 0;
            return Ok(());
        };
        let (counted, held) = {
            let status = self.status.borrow();
            (status.position.committed, status.held)
        };
        let mut committed = Committed {
            // How many of them were superseded within that commit is not known any more.
            rows_written: self.rows_through(epoch.min(held)),
            rows_superseded: 0,
        };
        if epoch > held {
            let stamp = Stamp {
                incarnation: self.config.incarnation.clone(),
                pipeline: self.config.pipeline.clone(),
                epoch,
            };
            let new = self.sink.commit(&stamp).await?;
            committed.rows_written += new.rows_written;
            committed.rows_superseded += new.rows_superseded;
        }
        if epoch > counted {
            self.passed(epoch, committed);
        }
        self.wanted = None;
        // Not when the target opens: one that opens and then refuses must be left alone longer too.
        self.tries = 0;
        self.say(DeliveryState::Running, None);
        Ok(())
    }

    /// Rows handed over and not counted yet, of epochs up to `epoch`.
    fn rows_through(&self, epoch: Epoch) -> u64 {
        let waiting = self.since_commit.iter();
        waiting.take_while(|(handed, _)| *handed <= epoch).map(|(_, rows)| rows).sum()
    }

    /// The target holds everything up to `epoch`.
    fn passed(&mut self, epoch: Epoch, committed: Committed) {
        let mut handed = 0;
        while self.since_commit.front().is_some_and(|(handed, _)| *handed <= epoch) {
            handed += self.since_commit.pop_front().map_or(0, |(_, rows)| rows);
        }
        self.outbox.drop_through(epoch);
        self.written = 0;
        let waiting = self.since_commit.iter().map(|(_, rows)| rows).sum();
        self.status.send_modify(|status| {
            status.position.committed = epoch;
            status.held = status.held.max(epoch);
            add(&mut status.position.ledger, handed, committed);
            status.rows_waiting = waiting;
        });
    }

    /// Takes and only counts what the pipeline hands over, so that it goes on without this sink;
    /// the rows are run again from a checkpoint once the sink is.
    async fn count_until_the_end(&mut self) {
        let shutdown = self.env.shutdown.clone();
        loop {
            tokio::select! {
                message = self.queue.recv() => {
                    let Some(message) = message else { return };
                    if let Message::Rows(_, rows) = message {
                        let rows = rows.num_rows() as u64;
                        self.status.send_modify(|status| status.rows_waiting += rows);
                    }
                }
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Waits with full jitter; `false` when the process ends first.
    async fn retry_later(&mut self, error: &Error) -> bool {
        self.say(DeliveryState::Retrying, Some(error.chain()));
        tracing::warn!(sink = self.config.name, error = error.chain(), "sink will be tried again");
        let longest = Duration::from_millis(100).saturating_mul(1 << self.tries.min(9));
        self.tries += 1;
        let wait = {
            let mut rng = self.env.rng(&format!("delivery {} {}", self.config.name, self.tries));
            longest.min(BACKOFF_MAX).mul_f64(rng.random_range(0.0..1.0))
        };
        let deadline = self.env.clock.now().plus(wait);
        let env = self.env.clone();
        loop {
            let left = deadline.since(env.clock.now());
            if left.is_zero() {
                return true;
            }
            tokio::select! {
                slept = env.sleep(left) => return slept,
                // A full outbox takes nothing more, and the pipeline waits.
                message = self.queue.recv(), if self.outbox.disk_bytes() < self.config.outbox_bytes_max => {
                    let Some(message) = message else { return env.sleep(left).await };
                    self.take(message);
                }
            }
        }
    }

    fn say(&self, state: DeliveryState, reason: Option<String>) {
        self.status.send_if_modified(|status| {
            let changed = status.state != state || status.reason != reason;
            status.state = state;
            status.reason = reason;
            changed
        });
    }
}

fn add(ledger: &mut SinkLedger, handed: u64, committed: Committed) {
    ledger.rows_handed += handed;
    ledger.rows_written += committed.rows_written;
    ledger.rows_superseded += committed.rows_superseded;
}

/// A lock that goes on after a panic of somebody else.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
