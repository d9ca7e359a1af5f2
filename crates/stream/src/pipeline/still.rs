//! Standing still: a pipeline that is paused, or whose sink is being changed.
//!
//! It stops at the end of an epoch, with a checkpoint and every commit asked for, and starts again
//! from that checkpoint. Whoever changes something meanwhile holds the gate, so nothing of the
//! pipeline runs then; a pipeline that has given up is started again afterwards.

use std::sync::Arc;
use std::time::Duration;

use thalweg_core::sink::{Committed, Epoch, Stamp};
use thalweg_core::topic::TopicPartition;
use thalweg_core::{Error, Result};
use tokio::sync::{Mutex, MutexGuard, watch};

use super::{Outlet, Pipeline, PipelineState};
use crate::checkpoint::{Checkpoints, SinkPosition};
use crate::delivery::lock;
use crate::epoch::EpochLog;

/// How long a commit under way may take before a pipeline that was asked to stand still does.
const COMMIT_WAIT: Duration = Duration::from_secs(30);

/// How long a pipeline may take to come to the end of an epoch.
const STAND_WAIT: Duration = Duration::from_secs(60);

/// What is done to the target of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkChange {
    /// Its rows stay, and count as all that the pipeline has handed over so far.
    Adopt,
    /// It is emptied, and written anew from the first epoch.
    Reset,
}

/// Who wants a pipeline to stand still.
pub(super) struct Still {
    // Held by the one who runs, or by the one who changes something.
    gate: Mutex<()>,
    // How many want the gate.
    wanted: watch::Sender<usize>,
    // Why it is paused.
    paused: watch::Sender<Option<String>>,
}

impl Default for Still {
    fn default() -> Self {
        Self {
            gate: Mutex::default(),
            wanted: watch::Sender::new(0),
            paused: watch::Sender::new(None),
        }
    }
}

/// The gate, wanted until it is dropped.
struct Wanted<'a>(&'a watch::Sender<usize>);

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|wanted| *wanted -= 1);
    }
}

impl Still {
    /// Whether the pipeline shall stand still.
    pub(super) fn is_asked(&self) -> bool {
        *self.wanted.borrow() > 0 || self.paused.borrow().is_some()
    }

    /// Waits until nobody wants the pipeline to stand still, and takes the gate.
    pub(super) async fn until_free(&self, pipeline: &Pipeline) -> MutexGuard<'_, ()> {
        let (mut wanted, mut paused) = (self.wanted.subscribe(), self.paused.subscribe());
        loop {
            if let Some(reason) = paused.borrow_and_update().clone() {
                pipeline.status.say(PipelineState::Paused, Some(reason));
            }
            // An error means that the pipeline is gone.
            let _ = paused.wait_for(Option::is_none).await;
            let _ = wanted.wait_for(|wanted| *wanted == 0).await;
            let gate = self.gate.lock().await;
            if !self.is_asked() {
                return gate;
            }
        }
    }

    /// Comes back when somebody has wanted the gate, and has given it back.
    pub(super) async fn until_changed(&self) {
        let mut wanted = self.wanted.subscribe();
        let _ = wanted.wait_for(|wanted| *wanted > 0).await;
        let _ = wanted.wait_for(|wanted| *wanted == 0).await;
    }
}

impl Pipeline {
    /// Stops it at the end of an epoch until it is resumed; `reason` says who wanted that, and when.
    pub fn pause(&self, reason: String) {
        self.still.paused.send_replace(Some(reason));
    }

    /// Lets a paused pipeline go on.
    pub fn resume(&self) {
        self.still.paused.send_replace(None);
    }

    /// Changes the target of a sink or table while nothing is written to it, and starts again.
    /// Returns the epoch up to which the target now counts as written.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such sink, it has no stamp, or a reset would need rows that are no
    /// longer kept; then nothing was changed. Else as the target says.
    pub async fn change_sink(&self, sink: &str, change: SinkChange) -> Result<Epoch> {
        self.still.wanted.send_modify(|wanted| *wanted += 1);
        let _wanted = Wanted(&self.still.wanted);
        let shared = &self.shared;
        let _gate = tokio::select! {
            gate = self.still.gate.lock() => gate,
            _ = shared.env.sleep(STAND_WAIT) => {
                return Err(Error::unavailable(format!("`{}` does not come to rest", self.name()))
                    .with_detail("One of its sinks takes nothing more; nothing was changed.")
                    .with_hint("`thalweg sinks list` says which; bring its target back first."));
            }
        };
        let _busy = shared.env.clock.busy();
        let mut outlet = self.outlet(sink).await?;
        let folder = shared.data.join("checkpoints");
        let mut checkpoints = Checkpoints::open(
            Arc::clone(&shared.env.disk),
            Arc::clone(&shared.store),
            &folder,
            self.name(),
        )
        .await?;
        let newest = checkpoints.newest()?;
        match change {
            SinkChange::Adopt => {
                let epoch = newest.map_or(0, |checkpoint| checkpoint.head.epoch);
                let stamp = Stamp {
                    incarnation: shared.incarnation.clone(),
                    pipeline: self.name().to_owned(),
                    epoch,
                };
                let total = Committed { rows_written: self.rows_handed(sink), rows_superseded: 0 };
                outlet.sink.adopt(&stamp, total).await?;
                Ok(epoch)
            }
            SinkChange::Reset => {
                self.check_all_is_kept(sink).await?;
                // Before the target is emptied: one that is empty and ought to hold something stops.
                if let Some(mut checkpoint) = newest {
                    checkpoint.head.sinks.insert(sink.to_owned(), SinkPosition::default());
                    checkpoints.write(&checkpoint).await?;
                }
                outlet.sink.reset().await?;
                Ok(0)
            }
        }
    }

    /// Rows that were handed over to a sink, written or not.
    fn rows_handed(&self, sink: &str) -> u64 {
        let found = self.deliveries().into_iter().find(|delivery| delivery.name == sink);
        found.map_or(0, |it| it.position.ledger.rows_handed + it.rows_waiting)
    }

    async fn outlet(&self, sink: &str) -> Result<Outlet> {
        let parts = self.factory.parts().await?;
        parts.outlets.into_iter().find(|outlet| outlet.name == sink).ok_or_else(|| {
            Error::invalid(format!("pipeline `{}` has no sink `{sink}`", self.name()))
        })
    }

    /// Whether everything can be run again from the first epoch.
    async fn check_all_is_kept(&self, sink: &str) -> Result<()> {
        let log = &self.shared.log;
        let mut is_kept = EpochLog::new(Arc::clone(log), self.name()).read(None, 0).await.is_ok();
        if let Some(topic) = &self.settings.journal {
            let bounds = log.bounds(&TopicPartition::new(topic.as_str(), 0)).await?;
            is_kept &= bounds.log_start == 0;
        }
        if is_kept {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "`{sink}` cannot be written anew: retention has removed rows it would need"
        ))
        .with_detail("Nothing was changed.")
        .with_hint(format!(
            "`thalweg sinks adopt {sink}` keeps what the target holds and goes on from now."
        )))
    }

    /// Waits until the deliveries of a life that has ended have ended, too: two would write to the
    /// same target.
    pub(super) async fn deliveries_ended(&self) {
        let ending: Vec<_> = lock(&self.deliveries).clone();
        let env = &self.shared.env;
        for mut delivery in ending {
            let ended = async { while delivery.changed().await.is_ok() {} };
            tokio::select! {
                () = ended => {}
                _ = env.sleep(COMMIT_WAIT) => {
                    tracing::warn!(pipeline = self.name(), "a sink is slow to stop");
                }
            }
        }
    }
}
