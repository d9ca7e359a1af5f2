//! One life of a pipeline: from its checkpoint, through the recorded epochs, into new ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow_json::ArrayWriter;
use thalweg_core::env::Alarm;
use thalweg_core::ledger::SourceLedger;
use thalweg_core::schema::meta;
use thalweg_core::sink::Epoch;
use thalweg_core::source::{Chunk, Input, ReadLimit};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::{Offset, TopicPartition};
use thalweg_core::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::{Outlet, Parts, Pipeline, PipelineState, too_far_behind};
use crate::checkpoint::{Checkpoint, Checkpoints, Head, Position, SinkPosition};
use crate::delivery::{Delivery, DeliveryConfig, DeliveryState, DeliveryStatus, lock};
use crate::epoch::{EpochLog, EpochRecord, OffsetRange};
use crate::intake::{self, Intake, Refused, shown};
use crate::operators::expressions::engine_error;
use crate::operators::{FailedRow, Tick};
use crate::outbox::OutboxLimits;
use crate::pipeline::OperatorReading;
use crate::program::{Program, Sides};
use crate::sides::{LATE, LateRecord, QUARANTINE, QuarantineRecord, SideWriter};
use crate::watermark::Watermark;

/// Frames of one partition read for an epoch at most.
const EPOCH_FRAMES_MAX: usize = 16_384;
/// Bytes of one partition read for an epoch at most.
const EPOCH_BYTES_MAX: usize = 4 << 20;
/// Longest wait for frames.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Shortest time from one epoch to the next while they are not full.
const EPOCH_MIN: Duration = Duration::from_millis(2);
/// Bytes handed to sinks after which a checkpoint is due.
const COMMIT_BYTES_MAX: usize = 32 << 20;
/// What a sink's outbox may take; of memory less where there is little.
const OUTBOX_LIMITS: OutboxLimits =
    OutboxLimits { memory_bytes: 32 << 20, segment_bytes: 4 << 20, disk_bytes: 4 << 30 };

struct OutletRun {
    name: String,
    columns: Vec<usize>,
    schema: arrow::datatypes::SchemaRef,
    delivery: Delivery,
    status: watch::Receiver<DeliveryStatus>,
    commit_every: Option<Duration>,
    asked_at: Timestamp,
    asked: Epoch,
    is_lossless_table: bool,
}

/// The state of one life.
struct Life<'a> {
    pipeline: &'a Pipeline,
    inputs: BTreeMap<u32, Box<dyn Input>>,
    intake: Intake,
    program: Option<Program>,
    outlets: Vec<OutletRun>,
    checkpoints: Checkpoints,
    epochs: EpochLog,
    quarantine: SideWriter,
    late: SideWriter,
    positions: BTreeMap<u32, Position>,
    heads: BTreeMap<u32, Option<Timestamp>>,
    watermark: Watermark,
    ledger: SourceLedger,
    epoch: Epoch,
    // Offset of the first epoch record behind the newest checkpoint.
    epochs_from: Offset,
    // (epoch, positions, epochs_from) of the checkpoints a restart could take.
    holds: VecDeque<(Epoch, BTreeMap<u32, Position>, Offset)>,
    checkpointed: Epoch,
    checkpointed_at: Timestamp,
    bytes_since_checkpoint: usize,
    rows_out: u64,
}

impl Pipeline {
    pub(super) async fn run_once(&self) -> Result<()> {
        self.status.say(PipelineState::Starting, None);
        let shared = &self.shared;
        let busy = shared.env.clock.busy();
        let folder = shared.data.join("checkpoints");
        let checkpoints = Checkpoints::open(
            Arc::clone(&shared.env.disk),
            Arc::clone(&shared.store),
            &folder,
            self.name(),
        )
        .await?;
        let Parts { inputs, intake, program, outlets } = self.factory.parts().await?;
        let newest = checkpoints.newest()?.filter(|it| it.head.query == self.settings.fingerprint);
        let known = newest.as_ref().map(|it| it.head.sinks.clone()).unwrap_or_default();
        let start = self.start_from(&checkpoints, newest, &known, &outlets)?;
        let after = start.as_ref().map_or(0, |it| it.head.epoch);
        let epochs = EpochLog::new(Arc::clone(&shared.log), self.name());
        let records = epochs.read(start.as_ref().map(|it| it.head.epochs_from), after).await?;
        let recorded = records.last().map_or(after, |it| it.epoch);
        let sides_from =
            |topic: &str| start.as_ref().and_then(|it| it.head.sides_from.get(topic).copied());
        let log = || Arc::clone(&shared.log);
        let quarantine =
            SideWriter::open(log(), QUARANTINE, self.name(), sides_from(QUARANTINE), after).await?;
        let late = SideWriter::open(log(), LATE, self.name(), sides_from(LATE), after).await?;
        let now = shared.env.clock.now();
        let outlets =
            self.start_outlets(outlets, &known, recorded, intake.schema(), program.as_ref())?;
        let mut life = Life {
            pipeline: self,
            inputs,
            intake,
            program,
            outlets,
            checkpoints,
            epochs,
            quarantine,
            late,
            positions: BTreeMap::new(),
            heads: BTreeMap::new(),
            watermark: Watermark::new(self.settings.delay_micros),
            ledger: SourceLedger::default(),
            epoch: 0,
            epochs_from: 0,
            holds: VecDeque::new(),
            checkpointed: after,
            checkpointed_at: now,
            bytes_since_checkpoint: 0,
            rows_out: 0,
        };
        life.restore(start).await?;
        self.status.say(PipelineState::Recovering, None);
        for record in &records {
            life.run_again(record).await?;
        }
        self.status.say(PipelineState::Running, None);
        drop(busy);
        life.go_on().await
    }

    /// The newest checkpoint that no sink is behind.
    fn start_from(
        &self,
        checkpoints: &Checkpoints,
        newest: Option<Checkpoint>,
        known: &BTreeMap<String, SinkPosition>,
        outlets: &[Outlet],
    ) -> Result<Option<Checkpoint>> {
        let Some(newest) = newest else { return Ok(None) };
        let behind = outlets
            .iter()
            .filter_map(|outlet| known.get(&outlet.name).map(|at| (at.committed, &outlet.name)))
            .min();
        match behind {
            Some((committed, sink)) if committed < newest.head.epoch => {
                match checkpoints.at_most(committed)? {
                    Some(checkpoint) => Ok(Some(checkpoint)),
                    // Nothing was ever forgotten: all can be run again from the first epoch.
                    None if committed == 0 => Ok(None),
                    None => Err(too_far_behind(self.name(), sink)),
                }
            }
            _ => Ok(Some(newest)),
        }
    }

    fn start_outlets(
        &self,
        outlets: Vec<Outlet>,
        known: &BTreeMap<String, SinkPosition>,
        recorded: Epoch,
        source: &arrow::datatypes::SchemaRef,
        program: Option<&Program>,
    ) -> Result<Vec<OutletRun>> {
        let rows = program.map_or(source, |program| program.schema());
        let shared = &self.shared;
        let mut running = Vec::with_capacity(outlets.len());
        for outlet in outlets {
            let columns: Result<Vec<usize>, _> =
                outlet.columns.fields().iter().map(|field| rows.index_of(field.name())).collect();
            let config = DeliveryConfig {
                name: outlet.name.clone(),
                pipeline: self.name().to_owned(),
                incarnation: shared.incarnation.clone(),
                known: known.get(&outlet.name).copied().unwrap_or_default(),
                recorded,
                outbox: shared.data.join("outbox").join(&outlet.name),
                limits: outbox_limits(shared.memory.limit()),
                memory: shared.memory.clone(),
                disk: shared.disk.clone(),
            };
            let delivery = Delivery::start(&shared.env, config, outlet.sink);
            let status = delivery.status();
            running.push(OutletRun {
                name: outlet.name,
                columns: columns.map_err(engine_error)?,
                schema: outlet.columns,
                delivery,
                status,
                commit_every: outlet.commit_every,
                asked_at: shared.env.clock.now(),
                asked: 0,
                is_lossless_table: outlet.is_lossless_table,
            });
        }
        *lock(&self.deliveries) = running.iter().map(|outlet| outlet.status.clone()).collect();
        Ok(running)
    }
}

impl Life<'_> {
    async fn restore(&mut self, start: Option<Checkpoint>) -> Result<()> {
        if let Some(tail) = &self.pipeline.tail {
            tail.clear();
        }
        match start {
            Some(checkpoint) => {
                let head = checkpoint.head;
                self.epoch = head.epoch;
                self.positions = head.positions;
                self.watermark = head.watermark;
                self.ledger = head.source;
                self.epochs_from = head.epochs_from;
                if let Some(program) = &mut self.program {
                    program.restore(checkpoint.operators)?;
                }
                for kept in &self.pipeline.kept {
                    if let Some(rows) = checkpoint.results.get(&kept.name) {
                        kept.results.restore(rows)?;
                    }
                }
                self.holds.push_back((self.epoch, self.positions.clone(), self.epochs_from));
                if let Some(tail) = &self.pipeline.tail {
                    // No rows: how far event time had come when the table held this epoch.
                    let now = self.pipeline.shared.env.clock.now();
                    tail.push(self.epoch, now, self.watermark.current(), &[]);
                }
            }
            None => {
                for kept in &self.pipeline.kept {
                    let empty = RecordBatch::new_empty(kept.results.schema());
                    kept.results.restore(&empty)?;
                }
            }
        }
        for (partition, input) in &mut self.inputs {
            let position = match self.positions.get(partition) {
                Some(position) => position.clone(),
                None => Position { next: input.start().await?, manifest: None },
            };
            input.restore(position.manifest.as_deref())?;
            self.positions.insert(*partition, position);
        }
        let held = self.held_offsets();
        self.hold(held).await
    }

    /// Runs a recorded epoch again, reading exactly what it read.
    async fn run_again(&mut self, record: &EpochRecord) -> Result<()> {
        let mut chunks = Vec::new();
        for range in &record.ranges {
            let input = self.inputs.get_mut(&range.partition).ok_or_else(|| {
                Error::invalid(format!("partition {} is no longer there", range.partition))
            })?;
            if let Some(manifest) = &range.manifest {
                input.restore(Some(manifest))?;
            }
            let mut at = range.from;
            while at < range.to {
                let limit = ReadLimit {
                    frames_max: EPOCH_FRAMES_MAX,
                    bytes_max: EPOCH_BYTES_MAX,
                    until: Some(range.to),
                    wait: Duration::ZERO,
                };
                let chunk = input.read(at, limit).await?;
                if chunk.next <= at {
                    return Err(Error::internal(format!(
                        "epoch {} reads up to {}, the input ends at {at}",
                        record.epoch, range.to
                    )));
                }
                at = chunk.next;
                chunks.push(chunk);
            }
        }
        self.run_epoch(record, &chunks).await
    }

    /// Reads and runs new epochs until the process stops or the drain is done.
    async fn go_on(&mut self) -> Result<()> {
        let env = self.pipeline.shared.env.clone();
        loop {
            let (mut record, chunks, at_end) = self.gather().await?;
            let busy = env.clock.busy();
            let started = env.clock.now();
            // Commits end while nothing arrives, too.
            self.tables_passed();
            let stops = env.shutdown.is_cancelled() || self.pipeline.still.is_asked();
            let drained = at_end && self.may_end();
            let is_bounded = self.inputs.values().all(|input| input.is_bounded());
            record.closes = drained && is_bounded && self.program.is_some();
            if !record.ranges.is_empty() || record.closes {
                self.epochs.append(&record, started).await?;
                self.run_epoch(&record, &chunks).await?;
            }
            let full = chunks.iter().any(|chunk| chunk.frames.len() >= EPOCH_FRAMES_MAX);
            let due = env.clock.now() >= self.checkpoint_due_at()
                || self.bytes_since_checkpoint >= COMMIT_BYTES_MAX;
            if (due || stops || drained) && self.owes_checkpoint() {
                self.checkpoint(stops || drained).await?;
            }
            if drained {
                return self.finish().await;
            }
            if stops {
                return Ok(());
            }
            drop(busy);
            if !full && !chunks.is_empty() {
                env.sleep(EPOCH_MIN).await;
            }
        }
    }

    /// Reads what there is for one epoch; waits a little when there is nothing.
    async fn gather(&mut self) -> Result<(EpochRecord, Vec<Chunk>, bool)> {
        let mut record = EpochRecord::new(self.pipeline.name(), self.epoch + 1);
        let mut chunks = Vec::new();
        let mut at_end = true;
        let several = self.inputs.len() > 1;
        let env = &self.pipeline.shared.env;
        // Nothing need arrive for a checkpoint to be due.
        let mut due = self.owes_checkpoint().then(|| env.clock.alarm(self.checkpoint_due_at()));
        for (partition, input) in &mut self.inputs {
            let position = self.positions.entry(*partition).or_default();
            let limit = ReadLimit {
                frames_max: EPOCH_FRAMES_MAX,
                bytes_max: EPOCH_BYTES_MAX,
                until: None,
                wait: if several { EPOCH_MIN } else { WAIT_MAX },
            };
            let chunk = tokio::select! {
                biased;
                chunk = input.read(position.next, limit) => chunk?,
                () = env.shutdown.cancelled() => break,
                () = ring(&mut due) => {
                    at_end = false;
                    break;
                }
            };
            at_end &= chunk.at_end;
            if chunk.next > position.next || chunk.manifest.is_some() {
                if chunk.manifest.is_some() || chunk.next >> 40 != position.next >> 40 {
                    let heads = input.unread_heads(chunk.next).await?;
                    self.heads.insert(*partition, self.intake.earliest(&heads)?);
                }
                record.ranges.push(OffsetRange {
                    partition: *partition,
                    from: position.next,
                    to: chunk.next,
                    manifest: chunk.manifest.clone(),
                });
                chunks.push(chunk);
            }
        }
        record.held_at = self.heads.values().flatten().min().copied();
        Ok((record, chunks, at_end))
    }

    /// Runs the frames of an epoch through everything.
    async fn run_epoch(&mut self, record: &EpochRecord, chunks: &[Chunk]) -> Result<()> {
        let pipeline = self.pipeline;
        let env = &pipeline.shared.env;
        let started = env.clock.now();
        let before = self.watermark.current();
        let mut rows = Vec::new();
        let mut sides = Sides::default();
        let mut quarantine = Vec::new();
        for chunk in chunks {
            let taken = self.intake.take(chunk)?;
            intake::add(&mut self.ledger, &taken.ledger);
            if let Some(highest) = taken.highest {
                self.watermark.see(chunk.frames.partition, highest);
            }
            if pipeline.is_source() {
                for notice in taken.notices {
                    tracing::warn!(source = pipeline.source(), notice, "the feed reports an error");
                    let received_at = chunk.frames.spans.last().map(|span| span.received_at);
                    pipeline.status.update(|status| {
                        status.notices += 1;
                        status.last_notice = Some((received_at.unwrap_or(started), notice));
                    });
                }
                quarantine.extend(taken.refused.iter().map(|refused| {
                    QuarantineRecord::refused(
                        pipeline.name(),
                        record.epoch,
                        pipeline.source(),
                        refused,
                    )
                }));
            }
            if taken.rows.num_rows() == 0 {
                continue;
            }
            match &mut self.program {
                Some(program) => rows.extend(program.process(taken.rows, before, &mut sides)?),
                None => rows.push(taken.rows),
            }
        }
        let mut reached = self.watermark.end_epoch(&record.idle, record.held_at);
        if let Some(program) = &mut self.program {
            if record.closes
                && let Some(last) = program.open_until()
            {
                reached = self.watermark.raise(last);
            }
            rows.extend(program.end_epoch(before, Tick { watermark: reached }, &mut sides)?);
        }
        for (_, failed) in &sides.failed {
            let refused = failed_row(chunks, failed);
            quarantine.push(QuarantineRecord::refused(
                pipeline.name(),
                record.epoch,
                pipeline.name(),
                &refused,
            ));
        }
        self.quarantine.write(record.epoch, pipeline.name(), &quarantine, started).await?;
        let late = late_records(pipeline.name(), record.epoch, &sides)?;
        self.late.write(record.epoch, pipeline.name(), &late, started).await?;
        for range in &record.ranges {
            let position = self.positions.entry(range.partition).or_default();
            position.next = range.to;
            if range.manifest.is_some() {
                position.manifest.clone_from(&range.manifest);
            }
        }
        self.epoch = record.epoch;
        self.hand_over(record.epoch, rows, reached).await?;
        let lag = self.lag().await;
        pipeline.status.update(|status| {
            status.epoch = record.epoch;
            status.watermark = reached;
            status.source = self.ledger;
            status.rows_out = self.rows_out;
            status.lag_records = lag;
            status.epoch_micros =
                u64::try_from(env.clock.now().since(started).as_micros()).unwrap_or(u64::MAX);
            if let Some(program) = &self.program {
                status.state_bytes = program.state_bytes();
                status.operators = program
                    .operators()
                    .iter()
                    .enumerate()
                    .map(|(number, operator)| OperatorReading { number, ledger: operator.ledger() })
                    .collect();
            }
            if let Some(last) =
                chunks.iter().filter_map(|chunk| chunk.frames.spans.last()).next_back()
            {
                status.newest_received_at = Some(last.received_at);
            }
        });
        Ok(())
    }

    /// Gives the rows of an epoch to sinks and readers.
    async fn hand_over(
        &mut self,
        epoch: Epoch,
        rows: Vec<RecordBatch>,
        watermark: Timestamp,
    ) -> Result<()> {
        for batch in &rows {
            self.rows_out += batch.num_rows() as u64;
            for outlet in &self.outlets {
                let columns =
                    outlet.columns.iter().map(|at| Arc::clone(batch.column(*at))).collect();
                let taken = RecordBatch::try_new(Arc::clone(&outlet.schema), columns)
                    .map_err(engine_error)?;
                self.bytes_since_checkpoint += taken.get_array_memory_size();
                outlet.delivery.write(epoch, taken).await?;
            }
            for kept in &self.pipeline.kept {
                kept.results.apply(batch)?;
            }
        }
        let now = self.pipeline.shared.env.clock.now();
        if let Some(tail) = &self.pipeline.tail {
            let read = if self.pipeline.shared.has_readers { &rows[..] } else { &[] };
            tail.push(epoch, now, watermark, read);
            let (age, bytes) = self.pipeline.settings.keep;
            tail.trim(now.minus(age), bytes);
        }
        self.tables_passed();
        if !rows.is_empty() {
            for kept in &self.pipeline.kept {
                if let Some((column, from)) = &kept.forget {
                    kept.results.forget_before(column, from(watermark))?;
                }
                kept.results.publish();
            }
        }
        Ok(())
    }

    fn tables_passed(&self) {
        let Some(tail) = &self.pipeline.tail else { return };
        for outlet in self.outlets.iter().filter(|outlet| outlet.is_lossless_table) {
            tail.table_passed(outlet.status.borrow().held);
        }
    }

    /// Makes a checkpoint of the last epoch, and asks sinks to commit.
    async fn checkpoint(&mut self, commit_all: bool) -> Result<()> {
        let pipeline = self.pipeline;
        let env = &pipeline.shared.env;
        // Epoch records and side records first: a commit may not be ahead of what is recorded.
        pipeline.shared.log.sync().await?;
        let now = env.clock.now();
        for outlet in &mut self.outlets {
            let due = outlet.commit_every.is_none_or(|every| {
                now.since(outlet.asked_at) >= every
                    || self.bytes_since_checkpoint >= COMMIT_BYTES_MAX
            });
            if (due || commit_all) && outlet.asked < self.epoch {
                outlet.delivery.commit(self.epoch).await?;
                outlet.asked = self.epoch;
                outlet.asked_at = now;
            }
        }
        let is_new = self.epoch > self.checkpointed;
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
            let checkpoint = Checkpoint {
                head: Head {
                    epoch: self.epoch,
                    positions: self.positions.clone(),
                    watermark: self.watermark.clone(),
                    source: self.ledger,
                    sinks,
                    epochs_from,
                    sides_from: BTreeMap::from([
                        (QUARANTINE.to_owned(), self.quarantine.end().await?),
                        (LATE.to_owned(), self.late.end().await?),
                    ]),
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
            self.holds.push_back((self.epoch, self.positions.clone(), epochs_from));
            pipeline.status.say(PipelineState::Running, None);
            pipeline.status.update(|status| status.checkpoint = Some((self.epoch, bytes, now)));
        }
        let kept: Vec<Epoch> = self.checkpoints.kept().iter().map(|kept| kept.epoch).collect();
        self.holds.retain(|(epoch, ..)| kept.contains(epoch));
        let held = self.held_offsets();
        self.hold(held).await
    }

    fn held_offsets(&self) -> (BTreeMap<u32, Offset>, Offset) {
        match self.holds.front() {
            Some((_, positions, epochs_from)) => {
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
    async fn hold(
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

    async fn lag(&mut self) -> u64 {
        let Some(topic) = &self.pipeline.settings.journal else { return 0 };
        let mut lag = 0;
        for (partition, position) in &self.positions {
            let partition = TopicPartition::new(topic.as_str(), *partition);
            if let Ok(bounds) = self.pipeline.shared.log.bounds(&partition).await {
                lag += u64::try_from(bounds.high_watermark - position.next).unwrap_or(0);
            }
        }
        lag
    }

    fn checkpoint_due_at(&self) -> Timestamp {
        self.checkpointed_at.plus(self.pipeline.settings.checkpoint_every)
    }

    /// Whether there is anything that a checkpoint would say or ask for.
    fn owes_checkpoint(&self) -> bool {
        self.epoch > self.checkpointed || self.is_waiting()
    }

    /// Whether a sink has been handed rows that it was not asked to commit.
    fn is_waiting(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.asked < self.epoch)
    }

    fn may_end(&self) -> bool {
        let Some(drain) = &self.pipeline.drain else { return false };
        self.inputs.values().all(|input| input.is_bounded()) || *drain.feeds_silent.borrow()
    }

    /// Waits until every sink holds everything, as long as a drain may.
    async fn finish(&mut self) -> Result<()> {
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
                let reason = status.reason.clone().unwrap_or_else(|| "it is too slow".to_owned());
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

/// What each outbox may take of `memory` bytes that all parts share.
fn outbox_limits(memory: u64) -> OutboxLimits {
    let share = usize::try_from(memory / 32).unwrap_or(usize::MAX);
    let memory_bytes = OUTBOX_LIMITS.memory_bytes.min(share).max(1 << 20);
    let segment_bytes = OUTBOX_LIMITS.segment_bytes.min(memory_bytes / 2);
    OutboxLimits { memory_bytes, segment_bytes, ..OUTBOX_LIMITS }
}

/// Waits for an alarm, for ever when there is none.
async fn ring(alarm: &mut Option<Alarm>) {
    match alarm {
        Some(alarm) => alarm.wait().await,
        None => std::future::pending().await,
    }
}

/// A row on which an expression of a stream failed, with the frame it came from.
fn failed_row(chunks: &[Chunk], row: &FailedRow) -> Refused {
    let frame = chunks.iter().find_map(|chunk| {
        let spans = &chunk.frames.spans;
        let at = spans.binary_search_by_key(&row.offset, |span| span.offset).ok()?;
        Some((chunk, at))
    });
    let bytes = frame.map(|(chunk, at)| shown(&chunk.frames, at)).unwrap_or_default();
    Refused {
        partition: u32::try_from(row.partition).unwrap_or(0),
        offset: row.offset,
        row: u32::try_from(row.row).ok(),
        received_at: frame.map_or(Timestamp(0), |(chunk, at)| chunk.frames.spans[at].received_at),
        reason: row.reason.clone(),
        check: "expression".to_owned(),
        bytes: bytes.to_vec(),
        length: bytes.len() as u64,
        place: frame.and_then(|(chunk, at)| chunk.place(at)),
    }
}

fn late_records(pipeline: &str, epoch: Epoch, sides: &Sides) -> Result<Vec<LateRecord>> {
    let mut records = Vec::new();
    for (operator, late) in &sides.late {
        let mut writer = ArrayWriter::new(Vec::new());
        writer.write(&late.rows).map_err(engine_error)?;
        writer.finish().map_err(engine_error)?;
        let rows: Vec<serde_json::Value> =
            serde_json::from_slice(&writer.into_inner()).map_err(engine_error)?;
        let int32 = |name: &str, row: usize| {
            late.rows
                .column_by_name(name)
                .map_or(0, |column| column.as_primitive::<Int32Type>().value(row))
        };
        for (row, columns) in rows.into_iter().enumerate() {
            records.push(LateRecord {
                pipeline: pipeline.to_owned(),
                epoch,
                operator: *operator,
                window_start: late.window_starts[row],
                partition: int32(meta::PARTITION, row),
                offset: late
                    .rows
                    .column_by_name(meta::OFFSET)
                    .map_or(-1, |column| column.as_primitive::<Int64Type>().value(row)),
                row: int32(meta::ROW, row),
                columns,
            });
        }
    }
    Ok(records)
}
