//! What a life makes durable, and what it waits for: checkpoints, commits of sinks, what retention
//! must keep.

use std::collections::BTreeMap;
use std::time::Duration;

use thalweg_core::sink::Epoch;
use thalweg_core::time::Timestamp;
use thalweg_core::topic::{Offset, TopicPartition};
use thalweg_core::{Error, ErrorKind, Result};

use super::super::PipelineState;
use super::{Held, Life};
use crate::checkpoint::{Checkpoint, Head};
use crate::delivery::DeliveryState;
use crate::sides::{LATE, QUARANTINE};
use crate::unique;

impl Life<'_> {
    pub(super) fn tables_passed(&self) {
        let Some(tail) = &self.pipeline.tail else { return };
        for outlet in self.outlets.iter().filter(|outlet| outlet.is_lossless_table) {
            tail.table_passed(outlet.status.borrow().held);
        }
    }

    /// Makes a checkpoint of the last epoch, and asks sinks to commit.
    pub(super) async fn checkpoint(&mut self, commit_all: bool) -> Result<()> {
        let pipeline = self.pipeline;
        let env = &pipeline.shared.env;
        // Epoch records and side records first: a commit may not be ahead of what is recorded.
        pipeline.shared.log.sync().await?;
        let now = env.clock.now();
        self.ask_for_commits(commit_all).await?;
        // Sinks commit while nothing new comes, too; what they have passed need not be kept for them.
        let is_new = self.epoch > self.checkpointed || self.are_checkpoints_outlived();
        self.checkpointed_at = now;
        if is_new {
            self.bytes_since_checkpoint = 0;
            let epochs_from = pipeline
                .shared
                .log
                .bounds(&TopicPartition::new(crate::epoch::TOPIC, 0))
                .await?
                .log_end;
            self.epochs_from = epochs_from;
            let sinks = self
                .outlets
                .iter()
                .map(|outlet| (outlet.name.clone(), outlet.status.borrow().position))
                .collect();
            let mut results = BTreeMap::new();
            for kept in &pipeline.kept {
                results.insert(kept.name.clone(), kept.results.living()?);
            }
            if let Some(unique) = &self.unique {
                results.insert(unique::NAME.to_owned(), unique.snapshot()?);
            }
            let checkpoint = Checkpoint {
                head: Head {
                    epoch: self.epoch,
                    positions: self.positions.clone(),
                    watermark: self.watermark.clone(),
                    source: self.ledger,
                    sinks,
                    ledgers: self.operator_ledgers(),
                    epochs_from,
                    sides_from: BTreeMap::from([
                        (QUARANTINE.to_owned(), self.quarantine.end().await?),
                        (LATE.to_owned(), self.late.end().await?),
                    ]),
                    models: self.answerers.answering(),
                    lookups: self.looking.holding(),
                    route: self.route_ledger(),
                    query: pipeline.settings.fingerprint.clone(),
                },
                operators: match &mut self.program {
                    Some(program) => program.snapshot()?,
                    None => Vec::new(),
                },
                results,
            };
            let bytes = match self.checkpoints.write(&checkpoint).await {
                Ok(bytes) => bytes,
                // A full disk: the last checkpoint still holds; try again at the next.
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    tracing::warn!(
                        pipeline = pipeline.name(),
                        error = error.chain(),
                        "no checkpoint"
                    );
                    pipeline.status.say(PipelineState::Running, Some(error.chain()));
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            self.checkpointed = self.epoch;
            self.holds.retain(|held| held.epoch != self.epoch);
            self.holds.push_back(self.hold_now());
            pipeline.status.say(PipelineState::Running, None);
            pipeline.status.update(|status| status.checkpoint = Some((self.epoch, bytes, now)));
        }
        let kept: Vec<Epoch> = self.checkpoints.kept().iter().map(|kept| kept.epoch).collect();
        self.holds.retain(|held| kept.contains(&held.epoch));
        // A sink that has committed nothing may still be written from the first epoch on.
        let is_passed = self.outlets.iter().all(|it| it.status.borrow().position.committed > 0);
        if let (Some(oldest), true) = (self.holds.front(), is_passed) {
            self.looking.passed(&oldest.lookups).await?;
        }
        let held = self.held_offsets();
        self.hold(held).await
    }

    /// Asks sinks to commit the last epoch, whose record is durable: those that it is time for, or
    /// all.
    pub(super) async fn ask_for_commits(&mut self, all: bool) -> Result<()> {
        let now = self.pipeline.shared.env.clock.now();
        let is_much = self.bytes_since_checkpoint >= self.room.outbox().memory_bytes;
        for outlet in &mut self.outlets {
            let due = outlet
                .commit_every
                .is_none_or(|every| now.since(outlet.asked_at) >= every || is_much)
                || outlet.status.borrow().wants_commit;
            if (due || all) && outlet.asked < self.epoch {
                outlet.delivery.commit(self.epoch).await?;
                outlet.asked = self.epoch;
                outlet.asked_at = now;
            }
        }
        Ok(())
    }

    /// What must be kept for a restart from a checkpoint taken now.
    pub(super) fn hold_now(&self) -> Held {
        Held {
            epoch: self.epoch,
            positions: self.positions.clone(),
            epochs_from: self.epochs_from,
            lookups: self.looking.holding(),
        }
    }

    pub(super) fn held_offsets(&self) -> (BTreeMap<u32, Offset>, Offset) {
        match self.holds.front() {
            Some(Held { positions, epochs_from, .. }) => {
                let next = positions.iter().map(|(partition, at)| (*partition, at.next)).collect();
                (next, *epochs_from)
            }
            None => {
                let next = self.positions.iter().map(|(partition, at)| (*partition, at.next));
                (next.collect(), 0)
            }
        }
    }

    /// Keeps from retention what a restart would read.
    pub(super) async fn hold(
        &mut self,
        (positions, epochs_from): (BTreeMap<u32, Offset>, Offset),
    ) -> Result<()> {
        let shared = &self.pipeline.shared;
        let holder = format!("pipeline {}", self.pipeline.name());
        if let Some(topic) = &self.pipeline.settings.journal {
            for (partition, from) in positions {
                let partition = TopicPartition::new(topic.as_str(), partition);
                shared.log.hold(&partition, &holder, Some(from)).await?;
            }
        }
        self.epochs.hold(epochs_from).await
    }

    pub(super) fn checkpoint_due_at(&self) -> Timestamp {
        self.checkpointed_at.plus(self.pipeline.settings.checkpoint_every)
    }

    /// Whether there is anything that a checkpoint would say, ask for or let go.
    pub(super) fn owes_checkpoint(&self) -> bool {
        self.epoch > self.checkpointed || self.is_waiting() || self.are_checkpoints_outlived()
    }

    fn are_checkpoints_outlived(&self) -> bool {
        let committed = self.outlets.iter().map(|it| it.status.borrow().position.committed);
        self.checkpoints.are_outlived(committed.min().unwrap_or(self.checkpointed))
    }

    /// Whether a sink has been handed rows that it was not asked to commit.
    pub(super) fn is_waiting(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.asked < self.epoch)
    }

    /// Waits until every sink holds everything, as long as a drain may.
    pub(super) async fn finish(&mut self) -> Result<()> {
        let wait = self.pipeline.drain.as_ref().map_or(Duration::ZERO, |drain| drain.wait);
        let env = &self.pipeline.shared.env;
        let mut unfinished = Vec::new();
        let deadline = env.clock.now().plus(wait);
        for outlet in &mut self.outlets {
            let last = self.epoch;
            let left = deadline.since(env.clock.now());
            let ended = outlet.status.wait_for(|status| {
                status.position.committed >= last || status.state == DeliveryState::Stopped
            });
            let committed = tokio::select! {
                status = ended => status.is_ok_and(|status| status.position.committed >= last),
                _ = env.sleep(left) => false,
            };
            if !committed && last > 0 {
                let status = outlet.status.borrow();
                let reason = status.reason.clone().unwrap_or_else(|| {
                    format!("it has not answered within {} s", wait.as_secs_f64())
                });
                unfinished.push(format!("`{}` did not commit: {reason}", outlet.name));
            }
        }
        self.tables_passed();
        if unfinished.is_empty() {
            // The sinks have passed: the checkpoint can say so.
            self.checkpointed = 0;
            return self.checkpoint(false).await;
        }
        Err(Error::invalid(unfinished.join("; ")))
    }
}
