//! How a pipeline is doing: what `system.streams`, `system.ledger` and the metrics read.

use std::sync::Mutex;

use thalweg_core::ledger::{OperatorLedger, RouteLedger, SourceLedger};
use thalweg_core::sink::Epoch;
use thalweg_core::time::Timestamp;

use crate::delivery::lock;

/// A pipeline's status, shared with those who read it.
pub struct Status {
    inner: Mutex<PipelineReading>,
}

/// What a status says at one moment.
#[derive(Clone, Debug)]
pub struct PipelineReading {
    /// Name of the pipeline.
    pub name: String,
    /// What it is doing.
    pub state: PipelineState,
    /// Why it is not running.
    pub reason: Option<String>,
    /// The last epoch it finished.
    pub epoch: Epoch,
    /// How far event time has come.
    pub watermark: Timestamp,
    /// Counts of the source; of interest for a source's own pipeline.
    pub source: SourceLedger,
    /// Counts of each operator, in the order of the flow.
    pub operators: Vec<OperatorLedger>,
    /// Where its route has sent rows, if it is one.
    pub route: Option<RouteLedger>,
    /// Rows given to sinks and readers.
    pub rows_out: u64,
    /// Records of the journal not read yet.
    pub lag_records: u64,
    /// Bytes of operator state.
    pub state_bytes: usize,
    /// How long the last epoch took, in microseconds.
    pub epoch_micros: u64,
    /// The last checkpoint: epoch, bytes, when.
    pub checkpoint: Option<(Epoch, u64, Timestamp)>,
    /// When the newest row given was received.
    pub newest_received_at: Option<Timestamp>,
    /// How often the source has reported an error as data, or its page has changed.
    pub notices: u64,
    /// The newest of these reports, and when its frame was received.
    pub last_notice: Option<(Timestamp, String)>,
}

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineState {
    /// Making its parts, going back to a checkpoint.
    Starting,
    /// Reading nothing more until a person resumes it or there is room; the reason says which.
    Paused,
    /// Running recorded epochs again.
    Recovering,
    /// Reading.
    Running,
    /// Failed, and will be started again.
    Retrying,
    /// Wrong, until a person acts.
    Stopped,
    /// Drained.
    Ended,
}

impl PipelineState {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Paused => "paused",
            Self::Recovering => "recovering",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
        }
    }
}

impl Status {
    pub(super) fn new(name: &str) -> Self {
        Self {
            inner: Mutex::new(PipelineReading {
                name: name.to_owned(),
                state: PipelineState::Starting,
                reason: None,
                epoch: 0,
                watermark: Timestamp::MIN,
                source: SourceLedger::default(),
                operators: Vec::new(),
                route: None,
                rows_out: 0,
                lag_records: 0,
                state_bytes: 0,
                epoch_micros: 0,
                checkpoint: None,
                newest_received_at: None,
                notices: 0,
                last_notice: None,
            }),
        }
    }

    /// What it says now.
    pub fn read(&self) -> PipelineReading {
        lock(&self.inner).clone()
    }

    pub(super) fn say(&self, state: PipelineState, reason: Option<String>) {
        let mut inner = lock(&self.inner);
        inner.state = state;
        inner.reason = reason;
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut PipelineReading)) {
        change(&mut lock(&self.inner));
    }
}
