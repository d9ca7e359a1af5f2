//! Pipelines: one stream, or the direct path of a source to its tables and sinks (S8).
//!
//! A pipeline reads by position, in epochs. What an epoch's rows do not determine is recorded before
//! anything is committed outside; a checkpoint holds positions, state and ledger; each sink says by
//! its stamp what it has. A restart takes the newest checkpoint that no sink is behind, runs the
//! recorded epochs again, and goes on.
//!
//! The world is elsewhere: frames come from an [`Input`], rows go to [`Sink`]s by way of
//! [`crate::delivery`], and who wires them is the binary.

mod answerers;
mod looking;
mod reader;
mod reading;
mod room;
mod run;
mod status;
mod still;
mod turns;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use thalweg_core::budget::Budget;
use thalweg_core::env::Env;
use thalweg_core::log::Log;
use thalweg_core::sink::Sink;
use thalweg_core::source::Input;
use thalweg_core::store::Store;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, ErrorKind, Result};
use tokio::sync::watch;

pub use self::answerers::Models;
pub use self::reader::Reader;
pub use self::reading::Reading;
pub use self::status::{PipelineReading, PipelineState, Status};
pub use self::still::SinkChange;
use self::still::Still;
pub(crate) use self::turns::snapshots;
use crate::checkpoint::Checkpoints;
use crate::delivery::{DeliveryStatus, lock};
use crate::intake::Intake;
use crate::lookups::Lookups;
use crate::program::{Program, StreamQuery};
use crate::results::Results;
use crate::tail::Tail;
use crate::unique::Unique;

/// What a pipeline shares with all others.
#[derive(Clone)]
pub struct Shared {
    /// Clock, files, shutdown.
    pub env: Env,
    /// The log: journal, epoch records, side topics.
    pub log: Arc<dyn Log>,
    /// Pointers to checkpoints.
    pub store: Arc<dyn Store>,
    /// The data folder.
    pub data: PathBuf,
    /// Id made with the data folder.
    pub incarnation: String,
    /// Whether anybody can ask while it runs; else the newest rows are not kept for readers.
    pub has_readers: bool,
    /// The memory that may be held (`runtime.memory`).
    pub memory: Budget,
    /// What the data folder may take of the disk (`runtime.disk`).
    pub disk: Budget,
    /// Models that streams let forecast.
    pub models: Models,
    /// Relations that streams look up in.
    pub lookups: Lookups,
}

/// How a pipeline runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name: that of the stream, or of the source.
    pub name: String,
    /// Name of the source that drives it.
    pub source: String,
    /// Whether it is the source's own: only that one keeps what is refused, and the counts.
    pub is_source: bool,
    /// Whether its late rows are kept in `system.late`; those of a panel are only counted, since what
    /// is late for a picture of one second is not late for anybody else.
    pub keeps_late: bool,
    /// How far events may come out of order, in microseconds.
    pub delay_micros: i64,
    /// Longest time between checkpoints while rows come.
    pub checkpoint_every: Duration,
    /// Topic and partition of the journal it reads, kept from retention; none for files.
    pub journal: Option<String>,
    /// What the query is; a checkpoint of another one cannot be used.
    pub fingerprint: String,
    /// How long, and how many bytes, its newest rows stay in memory.
    pub keep: (Duration, usize),
}

/// A sink or table of a pipeline.
pub struct Outlet {
    /// Name of the sink or table.
    pub name: String,
    /// Where rows go.
    pub sink: Box<dyn Sink>,
    /// Columns it takes, in order, by name.
    pub columns: SchemaRef,
    /// The arm of the route whose rows it takes; none for every row.
    pub arm: Option<usize>,
    /// Longest time between commits; none: at each checkpoint.
    pub commit_every: Option<Duration>,
    /// Whether readers of the relation read this table.
    pub is_lossless_table: bool,
}

/// From a watermark, the instant from which results are kept.
pub type KeepFrom = Arc<dyn Fn(Timestamp) -> Timestamp + Send + Sync>;

/// Results a pipeline keeps for readers.
pub struct Kept {
    /// Name in the checkpoint.
    pub name: String,
    /// The rows.
    pub results: Arc<Results>,
    /// Which rows it forgets.
    pub forget: Forget,
}

/// Which results are forgotten while others come.
pub enum Forget {
    /// None: there is one row a key.
    Nothing,
    /// Those before an instant.
    Before {
        /// Their column of time.
        column: String,
        /// Who says from when on they are kept.
        from: KeepFrom,
    },
    /// All but the newest of each key.
    ButNewest {
        /// Their column of time.
        column: String,
        /// Columns of the key that are no time.
        apart: Vec<String>,
        /// Rows kept of each at least.
        count: usize,
    },
    /// All but the newest of all keys together.
    Beyond {
        /// Their column of time.
        column: String,
        /// How many stay at least.
        rows: usize,
    },
}

impl Kept {
    /// Forgets what goes at this watermark, and publishes the rest.
    pub(crate) fn publish(&self, watermark: Timestamp) -> Result<()> {
        match &self.forget {
            Forget::Nothing => {}
            Forget::Before { column, from } => {
                self.results.forget_before(column, from(watermark))?;
            }
            Forget::ButNewest { column, apart, count } => {
                self.results.keep_newest(column, apart, *count)?;
            }
            Forget::Beyond { column, rows } => {
                self.results.forget_beyond(column, *rows)?;
            }
        }
        self.results.publish();
        Ok(())
    }
}

/// What makes rows of a pipeline's input.
pub struct Decoding {
    /// One input a partition.
    pub inputs: BTreeMap<u32, Box<dyn Input>>,
    /// Frames to rows.
    pub intake: Intake,
    /// What drops rows that repeat an id, where the source says what one is.
    pub unique: Option<Unique>,
    /// The stream, unless the pipeline is the source's own.
    pub program: Option<Program>,
}

/// Everything that is made anew each time a pipeline starts.
pub struct Parts {
    /// Input to rows.
    pub decoding: Decoding,
    /// A reader for all pipelines of the source; the first one's is taken.
    pub front: Reader,
    /// Sinks and tables.
    pub outlets: Vec<Outlet>,
}

/// Makes the parts of a pipeline, at start and after each failure.
#[async_trait]
pub trait Factory: Send + Sync {
    /// Makes them.
    async fn parts(&self) -> Result<Parts>;

    /// What reads the input once more for a query, beside the pipeline and at no pace of its own.
    fn decoding(&self) -> Result<Decoding>;
}

/// How a drain ends (`--drain`).
#[derive(Clone)]
pub struct Drain {
    /// Becomes true when live feeds have been silent for long enough.
    pub feeds_silent: watch::Receiver<bool>,
    /// How long sinks may take to commit the rest.
    pub wait: Duration,
}

/// A pipeline that is declared and can be run.
pub struct Pipeline {
    shared: Shared,
    settings: Settings,
    factory: Box<dyn Factory>,
    /// Newest rows for readers.
    pub tail: Option<Arc<Tail>>,
    /// Results for readers.
    pub kept: Vec<Kept>,
    /// The query it runs.
    pub query: Option<StreamQuery>,
    status: Arc<Status>,
    deliveries: Mutex<Vec<watch::Receiver<DeliveryStatus>>>,
    // What the checkpoint says of the sinks while nothing runs.
    stopped: Mutex<Vec<DeliveryStatus>>,
    drain: Option<Drain>,
    still: Still,
    reading: Arc<Reading>,
    // Its number there.
    member: usize,
}

impl Pipeline {
    /// Declares a pipeline; `reading` is what the pipelines of its source share.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of its own, and none is optional"
    )]
    pub fn new(
        shared: Shared,
        settings: Settings,
        reading: &Arc<Reading>,
        factory: Box<dyn Factory>,
        query: Option<StreamQuery>,
        tail: Option<Arc<Tail>>,
        kept: Vec<Kept>,
        drain: Option<Drain>,
    ) -> Self {
        let status = Arc::new(Status::new(&settings.name));
        if let Some(query) = &query {
            reading.turns.add(&settings.name, &settings.fingerprint, &query.lookups);
        }
        Self {
            shared,
            settings,
            factory,
            tail,
            kept,
            query,
            status,
            deliveries: Mutex::default(),
            stopped: Mutex::default(),
            drain,
            still: Still::default(),
            member: reading.add(),
            reading: Arc::clone(reading),
        }
    }

    /// Name of the pipeline.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Name of the source that drives it.
    pub fn source(&self) -> &str {
        &self.settings.source
    }

    /// What it shares with all others.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What its query is; a checkpoint of another one cannot be used.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.settings.fingerprint
    }

    /// What reads its input once more.
    pub(crate) fn decoding(&self) -> Result<Decoding> {
        self.factory.decoding()
    }

    /// Whether it is a source's own.
    pub fn is_source(&self) -> bool {
        self.settings.is_source
    }

    /// How it is doing.
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// How its sinks and tables are doing.
    pub fn deliveries(&self) -> Vec<DeliveryStatus> {
        let running = lock(&self.deliveries);
        if running.is_empty() {
            return lock(&self.stopped).clone();
        }
        running.iter().map(|status| status.borrow().clone()).collect()
    }

    /// Takes results, counts and watermark from the newest checkpoint, running nothing: what there
    /// is to read beside a stopped server.
    pub async fn read_checkpoint(&self) -> Result<()> {
        let checkpoints = Checkpoints::open(
            Arc::clone(&self.shared.env.disk),
            Arc::clone(&self.shared.store),
            &self.shared.data.join("checkpoints"),
            self.name(),
        )
        .await?;
        let Some(checkpoint) = checkpoints.newest()? else { return Ok(()) };
        for kept in &self.kept {
            if let Some(rows) = checkpoint.results.get(&kept.name) {
                kept.results.restore(rows)?;
            }
        }
        let head = checkpoint.head;
        self.status.update(|status| {
            status.state = PipelineState::Ended;
            status.epoch = head.epoch;
            status.watermark = head.watermark.current();
            status.source = head.source;
            status.operators.clone_from(&head.ledgers);
            status.route.clone_from(&head.route);
        });
        *lock(&self.stopped) = head
            .sinks
            .into_iter()
            .map(|(name, position)| DeliveryStatus {
                name,
                pipeline: self.name().to_owned(),
                guarantee: thalweg_core::sink::Guarantee::ExactlyOnce,
                state: crate::delivery::DeliveryState::Stopped,
                reason: Some("the server does not run".to_owned()),
                position,
                held: position.committed,
                rows_waiting: 0,
                wants_commit: false,
            })
            .collect();
        Ok(())
    }

    /// Runs until it is drained or the process stops. What fails is started again with back-off,
    /// for ever; what is wrong stays stopped and says why (S25).
    ///
    /// # Errors
    ///
    /// What kept a drain from ending well; else, when the process stops, what keeps it stopped.
    pub async fn run(&self) -> Result<()> {
        let mut tries: u32 = 0;
        let shutdown = &self.shared.env.shutdown;
        loop {
            let gate = tokio::select! {
                gate = self.still.until_free(self) => gate,
                () = shutdown.cancelled() => return Ok(()),
            };
            let epoch_before = self.status.read().epoch;
            let ran = self.run_once().await;
            self.reading.leave(self.member);
            let stands_still = self.still.is_asked() && !shutdown.is_cancelled();
            if ran.is_err() || stands_still {
                self.deliveries_ended().await;
            }
            drop(gate);
            let error = match ran {
                Ok(()) if stands_still => continue,
                Ok(()) => {
                    self.status.say(PipelineState::Ended, None);
                    return Ok(());
                }
                Err(error) => error,
            };
            if shutdown.is_cancelled() {
                return Ok(());
            }
            let is_final = matches!(error.kind, ErrorKind::Invalid | ErrorKind::Fenced);
            tracing::error!(pipeline = self.name(), error = error.chain(), "pipeline failed");
            self.status.say(
                if is_final { PipelineState::Stopped } else { PipelineState::Retrying },
                Some(error.chain()),
            );
            if self.drain.is_some() && (is_final || tries >= 5) {
                return Err(error);
            }
            if is_final {
                tokio::select! {
                    () = self.still.until_changed() => continue,
                    () = shutdown.cancelled() => return Err(error),
                }
            }
            tries = if self.status.read().epoch > epoch_before + 10 { 0 } else { tries + 1 };
            let wait = Duration::from_millis(100).saturating_mul(1 << tries.min(8));
            if !self.shared.env.sleep(wait.min(Duration::from_secs(30))).await {
                return Ok(());
            }
        }
    }
}

/// A pipeline that cannot go back far enough for one of its sinks.
fn too_far_behind(pipeline: &str, sink: &str) -> Error {
    Error::invalid(format!(
        "sink `{sink}` of `{pipeline}` needs rows from before the oldest checkpoint that is kept"
    ))
    .with_hint(format!("`thalweg sinks reset {sink}` writes it anew from what is kept."))
}
