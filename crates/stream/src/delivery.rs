//! Delivery: one sink of one pipeline, fed epoch by epoch, never holding the others up.
//!
//! Rows wait here until the target holds them. While it cannot commit they go to an outbox on disk
//! (S9), so the pipeline goes on; a full outbox makes it wait. What has gathered is handed to the
//! target in commits of bounded size, whatever its amount. Nothing here must survive a crash: a
//! restart goes back to a checkpoint that no sink is behind, and the target's own stamp says what it
//! has, and how many rows.
//!
//! Invariant: rows of an epoch are handed to the sink no sooner than a commit that includes it can
//! be the next; so a commit never holds rows behind its stamp.

use std::future::pending;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use rand::Rng;
use thalweg_core::budget::Budget;
use thalweg_core::env::Env;
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::{Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::SinkPosition;
use crate::outbox::{Outbox, OutboxLimits};

/// Messages under way to a delivery; each holds the rows of one epoch.
const QUEUE_MESSAGES_MAX: usize = 64;
/// How long a target may still take for a commit when the process stops.
const STOP_WAIT: Duration = Duration::from_secs(4);
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
    /// How much of it may be taken. As many bytes as the outbox keeps in memory may also be on
    /// their way to it, and in one commit.
    pub limits: OutboxLimits,
    /// What counts the memory it holds.
    pub memory: Budget,
    /// What counts the disk it holds.
    pub disk: Budget,
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
    /// Whether the target would have them committed now.
    pub wants_commit: bool,
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
    // Its bytes leave the queue when it is dropped.
    Rows { epoch: Epoch, rows: RecordBatch, _bytes: OwnedSemaphorePermit },
    Commit(Epoch),
}

/// Bytes that one permit of the queue stands for.
const PERMIT_BYTES: usize = 1 << 10;

/// The pipeline's end of a delivery.
pub struct Delivery {
    messages: mpsc::Sender<Message>,
    // Bytes that may be in the queue.
    room: Arc<Semaphore>,
    permits: u32,
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
            wants_commit: false,
        };
        let (sender, receiver) = watch::channel(status);
        let permits =
            u32::try_from(config.limits.memory_bytes / PERMIT_BYTES).unwrap_or(u32::MAX >> 4);
        let permits = permits.max(1);
        let ledger = config.known.ledger;
        let runner = Runner {
            env: env.clone(),
            sink,
            queue,
            status: sender,
            outbox: Outbox::new(Arc::clone(&env.disk), &config),
            total: Committed {
                rows_written: ledger.rows_written,
                rows_superseded: ledger.rows_superseded,
            },
            target_counts: false,
            rows_asked: 0,
            rows_since: 0,
            newest: 0,
            staged_through: 0,
            staged_bytes: 0,
            wanted: None,
            tries: 0,
            config,
        };
        env.spawn(runner.run());
        Self {
            messages,
            room: Arc::new(Semaphore::new(permits as usize)),
            permits,
            status: receiver,
        }
    }

    /// Hands rows of an epoch over; waits while the outbox is full.
    pub async fn write(&self, epoch: Epoch, rows: RecordBatch) -> Result<()> {
        let permits = rows.get_array_memory_size().div_ceil(PERMIT_BYTES);
        // What is larger than the whole queue goes alone.
        let permits = u32::try_from(permits).map_or(self.permits, |it| it.clamp(1, self.permits));
        let bytes = Arc::clone(&self.room).acquire_many_owned(permits).await;
        let bytes =
            bytes.map_err(|closed| Error::internal("a queue was closed").with_source(closed))?;
        self.send(Message::Rows { epoch, rows, _bytes: bytes }).await
    }

    /// Asks for a commit of everything up to `epoch`, whose record is durable. No rows of a later
    /// epoch were handed over yet.
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
    // What all commits have done to the target.
    total: Committed,
    // Whether the target remembers that.
    target_counts: bool,
    // Rows that came since the target was last counted: up to the commit that is wanted, and since.
    rows_asked: u64,
    rows_since: u64,
    // The last epoch that rows came of.
    newest: Epoch,
    // What the sink was given since the last commit or open: the last epoch, and bytes.
    staged_through: Epoch,
    staged_bytes: usize,
    wanted: Option<Epoch>,
    tries: u32,
    config: DeliveryConfig,
}

impl Runner {
    async fn run(mut self) {
        let mut open = false;
        loop {
            let busy = self.env.clock.busy();
            let given_up = give_up(self.env.shutdown.clone());
            let step = async { if open { self.work().await } else { self.open().await } };
            let step = tokio::select! {
                step = step => step,
                () = given_up => return,
            };
            match step {
                Ok(()) if !open => {
                    open = true;
                    self.say(DeliveryState::Running, None);
                    continue;
                }
                Ok(()) => {}
                Err(error) => {
                    self.sink.discard().await;
                    self.outbox.rewind();
                    (self.staged_through, self.staged_bytes) = (0, 0);
                    open = false;
                    drop(busy);
                    if error.kind != ErrorKind::Unavailable {
                        self.say(DeliveryState::Stopped, Some(error.chain()));
                        tracing::error!(
                            sink = self.config.name,
                            error = error.chain(),
                            "sink stopped"
                        );
                        self.count_until_the_end().await;
                        return;
                    }
                    if !self.retry_later(&error).await {
                        return;
                    }
                    continue;
                }
            }
            drop(busy);
            match self.queue.recv().await {
                Some(message) => {
                    self.take(message);
                    // More may be ready: take it before the target is bothered.
                    while self.wanted.is_none()
                        && !self.outbox.is_full()
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
        let held = self.status.borrow().held;
        let remembered = self.sink.total().filter(|_| stamp.is_some());
        self.target_counts = remembered.is_some();
        let committed = match &stamp {
            None if held > 0 && self.sink.guarantee() == Guarantee::ExactlyOnce => {
                return Err(self.foreign(format!(
                    "the target no longer holds what was written to it up to epoch {held}"
                )));
            }
            None => held,
            Some(stamp) if stamp.incarnation != self.config.incarnation => {
                return Err(self.foreign(format!(
                    "the target was written by another data folder, {} (this one is {})",
                    stamp.incarnation, self.config.incarnation
                )));
            }
            Some(stamp) => {
                let recorded = self.config.recorded.max(self.newest);
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
        let dropped = self.outbox.drop_through(committed)?;
        match remembered {
            Some(remembered) if remembered.rows() < self.total.rows() => {
                return Err(self.foreign(format!(
                    "the target has gone back: it knows of {} rows, {} were written to it",
                    remembered.rows(),
                    self.total.rows()
                )));
            }
            Some(remembered) => self.total = remembered,
            None => self.total.rows_written += dropped,
        }
        let waiting = self.outbox.rows();
        self.status.send_modify(|status| {
            status.held = status.held.max(committed);
            status.rows_waiting = waiting;
        });
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

    /// Takes a message into the outbox.
    fn take(&mut self, message: Message) {
        match message {
            Message::Rows { epoch, rows, .. } => {
                let (counted, held) = {
                    let status = self.status.borrow();
                    (status.position.committed, status.held)
                };
                if epoch <= counted {
                    return;
                }
                let count = rows.num_rows() as u64;
                self.rows_since += count;
                self.newest = epoch;
                // An epoch the target holds already is run again after a crash: its rows are there.
                if epoch <= held {
                    if !self.target_counts {
                        self.total.rows_written += count;
                    }
                    return;
                }
                if let Err(error) = self.outbox.push(epoch, rows) {
                    tracing::warn!(sink = self.config.name, error = error.chain(), "outbox");
                }
                let waiting = self.outbox.rows();
                self.status.send_modify(|status| status.rows_waiting = waiting);
            }
            // One that the target is beyond is asked for again when the epochs in between are run.
            Message::Commit(epoch) if epoch < self.status.borrow().held => {}
            Message::Commit(epoch) => {
                self.wanted = Some(epoch);
                self.rows_asked += std::mem::take(&mut self.rows_since);
            }
        }
    }

    /// Writes what waits, and commits as far as that was asked for; parts of it when it is much.
    async fn work(&mut self) -> Result<()> {
        loop {
            let through = self.wanted.unwrap_or(Epoch::MAX);
            while let Some(waiting) = self.outbox.next(through)? {
                let is_much = self.staged_bytes >= self.config.limits.memory_bytes;
                if is_much && self.wanted.is_some() && waiting.epoch > self.staged_through {
                    let epoch = self.staged_through;
                    self.commit(epoch).await?;
                }
                self.sink.write(waiting.epoch, &waiting.rows).await?;
                self.staged_through = waiting.epoch;
                self.staged_bytes += waiting.bytes;
                self.say_wish();
            }
            let Some(epoch) = self.wanted else { return Ok(()) };
            if epoch > self.status.borrow().held {
                self.commit(epoch).await?;
            }
            self.passed(epoch);
            // Not when the target opens: one that opens and then refuses must be left alone longer
            // too.
            self.tries = 0;
            self.say(DeliveryState::Running, None);
        }
    }

    /// Commits what the sink was given, which is everything up to `epoch`.
    async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        let stamp = Stamp {
            incarnation: self.config.incarnation.clone(),
            pipeline: self.config.pipeline.clone(),
            epoch,
        };
        self.total += self.sink.commit(&stamp).await?;
        self.outbox.drop_through(epoch)?;
        (self.staged_through, self.staged_bytes) = (0, 0);
        let waiting = self.outbox.rows();
        self.status.send_modify(|status| {
            status.held = epoch;
            status.rows_waiting = waiting;
        });
        self.say_wish();
        Ok(())
    }

    fn say_wish(&self) {
        let wants_commit = self.sink.wants_commit();
        self.status.send_if_modified(|status| {
            std::mem::replace(&mut status.wants_commit, wants_commit) != wants_commit
        });
    }

    /// The target holds everything that was handed over up to the commit of `epoch`.
    fn passed(&mut self, epoch: Epoch) {
        self.wanted = None;
        let handed = std::mem::take(&mut self.rows_asked);
        let total = self.total;
        self.status.send_modify(|status| {
            let ledger = &mut status.position.ledger;
            status.position.committed = status.position.committed.max(epoch);
            ledger.rows_handed += handed;
            ledger.rows_written = total.rows_written;
            ledger.rows_superseded = total.rows_superseded;
        });
    }

    /// Takes and only counts what the pipeline hands over, so that it goes on without this sink;
    /// the rows are run again from a checkpoint once the sink is.
    async fn count_until_the_end(&mut self) {
        self.outbox.clear();
        let shutdown = self.env.shutdown.clone();
        loop {
            tokio::select! {
                message = self.queue.recv() => {
                    let Some(message) = message else { return };
                    let counted = self.status.borrow().position.committed;
                    if let Message::Rows { epoch, rows, .. } = message
                        && epoch > counted
                    {
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
        let reason = error.chain();
        tracing::warn!(sink = self.config.name, error = reason, "sink will be tried again");
        let longest = Duration::from_millis(100).saturating_mul(1 << self.tries.min(9));
        self.tries += 1;
        let wait = {
            let mut rng = self.env.rng(&format!("delivery {} {}", self.config.name, self.tries));
            longest.min(BACKOFF_MAX).mul_f64(rng.random_range(0.0..1.0))
        };
        // There may be room again.
        if let Err(error) = self.outbox.make_room() {
            tracing::warn!(sink = self.config.name, error = error.chain(), "outbox");
        }
        let deadline = self.env.clock.now().plus(wait);
        let env = self.env.clone();
        loop {
            let is_full = self.outbox.is_full();
            let full = if is_full { "; its outbox is full, so the pipeline waits" } else { "" };
            self.say(DeliveryState::Retrying, Some(format!("{reason}{full}")));
            let left = deadline.since(env.clock.now());
            if left.is_zero() {
                return true;
            }
            tokio::select! {
                slept = env.sleep(left) => return slept,
                message = self.queue.recv(), if !is_full => {
                    // The pipeline has ended: what is not committed is run again from a checkpoint.
                    let Some(message) = message else { return false };
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

/// Ends when the process has been stopping for so long that nothing is waited for any more.
async fn give_up(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    let _ = timeout(STOP_WAIT, pending::<()>()).await;
}

/// A lock that goes on after a panic of somebody else.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
