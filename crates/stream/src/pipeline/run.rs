//! One life of a pipeline: from its checkpoint, through the recorded epochs, into new ones.

mod commits;

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow_json::ArrayWriter;
use thalweg_core::env::Alarm;
use thalweg_core::ledger::{OperatorLedger, RouteLedger, SourceLedger};
use thalweg_core::schema::meta;
use thalweg_core::sink::Epoch;
use thalweg_core::source::{Chunk, ReadLimit};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::{Offset, TopicPartition};
use thalweg_core::{Error, Result};
use tokio::sync::watch;

use super::answerers::Answerers;
use super::looking::Looking;
use super::reader::{Portion, Reader};
use super::room::Room;
use super::{Decoding, Outlet, Parts, Pipeline, PipelineState, too_far_behind};
use crate::checkpoint::{Checkpoint, Checkpoints, Position, SinkPosition};
use crate::delivery::{Delivery, DeliveryConfig, DeliveryStatus, lock};
use crate::epoch::{EpochLog, EpochRecord, OffsetRange};
use crate::intake::{self, Refused, shown};
use crate::lookups::SnapshotNumber;
use crate::operators::expressions::engine_error;
use crate::operators::route::ARM;
use crate::operators::{FailedRow, Tick};
use crate::outbox::OutboxLimits;
use crate::program::{Program, Sides};
use crate::sides::{LATE, LateRecord, QUARANTINE, QuarantineRecord, SideWriter};
use crate::unique::{self, Unique};
use crate::watermark::Watermark;

/// Frames of one partition read for an epoch at most.
const EPOCH_FRAMES_MAX: usize = 32_768;
/// Frames from which on an epoch is worth its while.
const EPOCH_FRAMES_ENOUGH: usize = 1_024;
/// Bytes of one partition read for an epoch at most.
const EPOCH_BYTES_MAX: usize = 4 << 20;
/// Rows of an epoch that are copied into one batch rather than handed over in several.
const FEW_ROWS: usize = 16_384;
/// Longest wait for frames.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// How long to wait for other pipelines that read the same: files can wait, a feed cannot.
const PATIENCE_BOUNDED: Duration = Duration::from_secs(10);
const PATIENCE_LIVE: Duration = Duration::from_millis(20);
/// Shortest time from one small epoch to the next.
const EPOCH_MIN: Duration = Duration::from_millis(2);
/// How often it is looked whether there is room again.
const ROOM_EVERY: Duration = Duration::from_millis(100);
/// How long a sink may take nothing before the pipeline is said to wait for it.
const SINK_WAIT: Duration = Duration::from_secs(1);

struct OutletRun {
    name: String,
    columns: Vec<usize>,
    arm: Option<usize>,
    schema: arrow::datatypes::SchemaRef,
    delivery: Delivery,
    status: watch::Receiver<DeliveryStatus>,
    commit_every: Option<Duration>,
    asked_at: Timestamp,
    asked: Epoch,
    is_lossless_table: bool,
}

/// What a restart from a checkpoint reads.
struct Held {
    epoch: Epoch,
    positions: BTreeMap<u32, Position>,
    // Offset of the first epoch record behind it.
    epochs_from: Offset,
    lookups: BTreeMap<String, SnapshotNumber>,
}

/// The state of one life.
struct Life<'a> {
    pipeline: &'a Pipeline,
    // For what the pipeline does not read together with others.
    reader: Reader,
    unique: Option<Unique>,
    program: Option<Program>,
    answerers: Answerers,
    looking: Looking<'a>,
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
    // Of the checkpoints that a restart could take.
    holds: VecDeque<Held>,
    checkpointed: Epoch,
    checkpointed_at: Timestamp,
    bytes_since_checkpoint: usize,
    rows_out: u64,
    room: Room,
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
        let Parts { decoding: Decoding { inputs, intake, unique, program }, front, outlets } =
            self.factory.parts().await?;
        self.reading.begin(front).await;
        let reader = Reader::new(inputs, intake, &shared.env);
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
        let answerers = match &program {
            Some(program) => Answerers::new(program.models(), &shared.models)?,
            None => Answerers::default(),
        };
        let looking = Looking::new(self, program.as_ref())?;
        let room = Room::new(shared, &self.settings);
        let limits = room.outbox();
        let outlets = self.start_outlets(
            outlets,
            &known,
            recorded,
            reader.schema(),
            program.as_ref(),
            limits,
        )?;
        let mut life = Life {
            pipeline: self,
            reader,
            unique,
            program,
            answerers,
            looking,
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
            room,
        };
        life.restore(start).await?;
        self.status.say(PipelineState::Recovering, None);
        for record in &records {
            life.run_again(record).await?;
            while let Some(reason) = life.room.shortage() {
                // What they hold of memory is theirs to give back; the records are durable.
                life.ask_for_commits(true).await?;
                if !life.hold_back(reason).await? {
                    return Ok(());
                }
            }
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
        limits: OutboxLimits,
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
                limits,
                memory: shared.memory.clone(),
                disk: shared.disk.clone(),
            };
            let delivery = Delivery::start(&shared.env, config, outlet.sink);
            let status = delivery.status();
            running.push(OutletRun {
                name: outlet.name,
                columns: columns.map_err(engine_error)?,
                arm: outlet.arm,
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

    /// Hands rows to a sink; says so when it keeps the pipeline waiting.
    async fn hand_to(&self, outlet: &OutletRun, epoch: Epoch, rows: RecordBatch) -> Result<()> {
        let mut write = pin!(outlet.delivery.write(epoch, rows));
        tokio::select! {
            biased;
            written = &mut write => return written,
            _ = self.shared.env.sleep(SINK_WAIT) => {}
        }
        let why = outlet.status.borrow().reason.clone();
        let why = why.unwrap_or_else(|| "it is slow".to_owned());
        let reason = format!("sink `{}` takes no more rows: {why}", outlet.name);
        self.status.say(PipelineState::Paused, Some(reason));
        let written = write.await;
        self.status.say(PipelineState::Running, None);
        written
    }
}

impl Life<'_> {
    async fn restore(&mut self, start: Option<Checkpoint>) -> Result<()> {
        if let Some(unique) = &mut self.unique {
            unique.restore(start.as_ref().and_then(|it| it.results.get(unique::NAME)))?;
        }
        match start {
            Some(checkpoint) => {
                let head = checkpoint.head;
                self.epoch = head.epoch;
                self.positions = head.positions;
                self.watermark = head.watermark;
                self.ledger = head.source;
                self.epochs_from = head.epochs_from;
                self.looking.begin(&head.lookups, self.program.as_mut()).await?;
                if let Some(program) = &mut self.program {
                    let answers = self.answerers.begin(&head.models).await?;
                    program.restore(checkpoint.operators, answers)?;
                }
                for kept in &self.pipeline.kept {
                    if let Some(rows) = checkpoint.results.get(&kept.name) {
                        kept.results.restore(rows)?;
                    }
                }
                self.holds.push_back(self.hold_now());
            }
            None => {
                for kept in &self.pipeline.kept {
                    let empty = RecordBatch::new_empty(kept.results.schema());
                    kept.results.restore(&empty)?;
                }
            }
        }
        for partition in self.reader.partitions() {
            let position = match self.positions.get(&partition) {
                Some(position) => position.clone(),
                None => Position { next: self.reader.start(partition).await?, manifest: None },
            };
            self.reader.go_to(partition, &position)?;
            self.positions.insert(partition, position);
        }
        if let Some(tail) = &self.pipeline.tail {
            tail.begin(self.epoch, self.watermark.current(), &self.positions);
        }
        self.pipeline.status.update(|status| {
            status.epoch = self.epoch;
            status.watermark = self.watermark.current();
            status.source = self.ledger;
            status.operators = self.operator_ledgers();
            status.route = self.route_ledger();
        });
        let held = self.held_offsets();
        self.hold(held).await
    }

    /// Runs a recorded epoch again, reading exactly what it read.
    async fn run_again(&mut self, record: &EpochRecord) -> Result<()> {
        let mut portions = Vec::new();
        for range in &record.ranges {
            let known = self.positions.get(&range.partition).and_then(|it| it.manifest.clone());
            let manifest = range.manifest.clone().or(known);
            let mut position = Position { next: range.from, manifest };
            while position.next < range.to {
                let limit = ReadLimit {
                    frames_max: EPOCH_FRAMES_MAX,
                    bytes_max: EPOCH_BYTES_MAX,
                    until: Some(range.to),
                    is_rerun: true,
                    wait: Duration::ZERO,
                };
                let portion = self.reader.read(range.partition, &position, limit).await?;
                let Chunk { next, manifest, .. } = &portion.chunk;
                if *next <= position.next {
                    return Err(Error::internal(format!(
                        "epoch {} reads up to {}, the input ends at {next}",
                        record.epoch, range.to
                    )));
                }
                position.next = *next;
                if manifest.is_some() {
                    position.manifest.clone_from(manifest);
                }
                portions.push(Arc::new(portion));
            }
        }
        self.run_epoch(record, &portions).await
    }

    /// Reads and runs new epochs until the process stops or the drain is done.
    async fn go_on(&mut self) -> Result<()> {
        let env = self.pipeline.shared.env.clone();
        loop {
            let is_asked = env.shutdown.is_cancelled() || self.pipeline.still.is_asked();
            if let Some(reason) = self.room.shortage().filter(|_| !is_asked) {
                if env.clock.now() >= self.checkpoint_due_at() && self.owes_checkpoint() {
                    self.checkpoint(true).await?;
                }
                self.hold_back(reason).await?;
                continue;
            }
            if self.room.short_since.take().is_some() {
                self.pipeline.status.say(PipelineState::Running, None);
            }
            // Asked first: what came until the feeds fell silent is read after it.
            let may_end = self.may_end();
            let (mut record, portions, at_end) = self.gather().await?;
            let busy = env.clock.busy();
            let started = env.clock.now();
            // Commits end while nothing arrives, too.
            self.tables_passed();
            let stops = env.shutdown.is_cancelled() || self.pipeline.still.is_asked();
            // Another pipeline may have read the portion, and met the end, before that.
            let drained = may_end && at_end && self.lag().await == 0;
            record.closes = drained && self.reader.is_bounded() && self.program.is_some();
            if !record.ranges.is_empty() || record.closes {
                record.models = self.answerers.serving().await?;
                let (at, program) = (&self.positions, self.program.as_mut());
                match self.looking.serving(at, &record.ranges, started, program).await? {
                    Some(lookups) => record.lookups = lookups,
                    None => continue,
                }
                self.epochs.append(&record, started).await?;
                self.run_epoch(&record, &portions).await?;
            }
            let frames: usize = portions.iter().map(|portion| portion.chunk.frames.len()).sum();
            let due = env.clock.now() >= self.checkpoint_due_at()
                || self.bytes_since_checkpoint >= self.room.outbox().memory_bytes;
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
            if frames < EPOCH_FRAMES_ENOUGH && !portions.is_empty() {
                env.sleep(EPOCH_MIN).await;
            }
        }
    }

    /// Reads nothing for a while, and says why. `false`: the process stops.
    ///
    /// # Errors
    ///
    /// When a drain has waited for room as long as it may for sinks.
    async fn hold_back(&mut self, reason: String) -> Result<bool> {
        let env = &self.pipeline.shared.env;
        let now = env.clock.now();
        let since = *self.room.short_since.get_or_insert(now);
        if let Some(drain) = &self.pipeline.drain
            && now.since(since) >= drain.wait
        {
            let message = format!("`{}` cannot read on: {reason}", self.pipeline.name());
            return Err(
                Error::invalid(message).with_hint("Give the project more of it under `[runtime]`.")
            );
        }
        if since == now {
            tracing::warn!(pipeline = self.pipeline.name(), reason, "reading is held back");
        }
        self.pipeline.status.say(PipelineState::Paused, Some(reason));
        let goes_on = env.doze(ROOM_EVERY).await;
        self.tables_passed();
        let (program, unique) = (self.program.as_ref(), self.unique.as_ref());
        self.room.count(self.pipeline, program, unique, self.looking.bytes());
        Ok(goes_on)
    }

    /// Reads what there is for one epoch; waits a little when there is nothing.
    async fn gather(&mut self) -> Result<(EpochRecord, Vec<Arc<Portion>>, bool)> {
        let pipeline = self.pipeline;
        let mut record = EpochRecord::new(pipeline.name(), self.epoch + 1);
        let mut portions = Vec::new();
        let mut at_end = true;
        let env = &pipeline.shared.env;
        // Nothing need arrive for a checkpoint to be due.
        let mut due = self.owes_checkpoint().then(|| env.clock.alarm(self.checkpoint_due_at()));
        let partitions = self.reader.partitions();
        let patience = if self.reader.is_bounded() { PATIENCE_BOUNDED } else { PATIENCE_LIVE };
        for partition in &partitions {
            let until = self.looking.until(*partition, &self.positions);
            let position = self.positions.entry(*partition).or_default();
            if until.is_some_and(|until| position.next >= until) {
                at_end = false;
                continue;
            }
            let limit = ReadLimit {
                frames_max: EPOCH_FRAMES_MAX,
                bytes_max: EPOCH_BYTES_MAX,
                until,
                is_rerun: false,
                wait: if partitions.len() > 1 { EPOCH_MIN } else { WAIT_MAX },
            };
            let reader = &mut self.reader;
            let read = async {
                let at = (*partition, &*position);
                let reading = &pipeline.reading;
                // What others read goes on behind the end.
                let shared = match until {
                    Some(_) => None,
                    None => reading.portion(pipeline.member, at, limit, patience).await?,
                };
                match shared {
                    Some(portion) => Ok(portion),
                    None => reader.read(*partition, position, limit).await.map(Arc::new),
                }
            };
            let portion: Arc<Portion> = tokio::select! {
                biased;
                portion = read => portion?,
                () = env.shutdown.cancelled() => break,
                () = ring(&mut due) => {
                    at_end = false;
                    break;
                }
            };
            let chunk = &portion.chunk;
            at_end &= chunk.at_end && until.is_none();
            if chunk.next > position.next || chunk.manifest.is_some() {
                if let Some(unread) = portion.unread {
                    self.heads.insert(*partition, unread);
                }
                record.ranges.push(OffsetRange {
                    partition: *partition,
                    from: position.next,
                    to: chunk.next,
                    manifest: chunk.manifest.clone(),
                });
                portions.push(portion);
            }
        }
        record.held_at = self.heads.values().flatten().min().copied();
        Ok((record, portions, at_end))
    }

    /// Runs the frames of an epoch through everything.
    async fn run_epoch(&mut self, record: &EpochRecord, portions: &[Arc<Portion>]) -> Result<()> {
        let pipeline = self.pipeline;
        let env = &pipeline.shared.env;
        let started = env.clock.now();
        let before = self.watermark.current();
        self.looking.begin(&record.lookups, self.program.as_mut()).await?;
        if let Some(program) = &mut self.program {
            program.begin_epoch(self.answerers.begin(&record.models).await?)?;
        }
        let mut rows = Vec::new();
        let mut sides = Sides::default();
        let mut quarantine = Vec::new();
        for Portion { chunk, taken, .. } in portions.iter().map(Arc::as_ref) {
            let (ledger, fresh) = match &mut self.unique {
                Some(unique) => {
                    let fresh = unique.keep(&taken.rows)?;
                    (fresh.count(&taken.ledger), fresh.rows)
                }
                None => (taken.ledger, taken.rows.clone()),
            };
            intake::add(&mut self.ledger, &ledger);
            if let Some(highest) = taken.highest {
                self.watermark.see(chunk.frames.partition, highest);
            }
            if pipeline.is_source() {
                for notice in &taken.notices {
                    tracing::warn!(source = pipeline.source(), notice, "the feed reports an error");
                    let received_at = chunk.frames.spans.last().map(|span| span.received_at);
                    pipeline.status.update(|status| {
                        status.notices += 1;
                        status.last_notice = Some((received_at.unwrap_or(started), notice.clone()));
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
            if fresh.num_rows() == 0 {
                continue;
            }
            match &mut self.program {
                Some(program) => rows.extend(program.process(fresh, before, &mut sides)?),
                None => rows.push(fresh),
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
            let refused = failed_row(portions, failed);
            quarantine.push(QuarantineRecord::refused(
                pipeline.name(),
                record.epoch,
                pipeline.name(),
                &refused,
            ));
        }
        self.quarantine.write(record.epoch, pipeline.name(), &quarantine, started).await?;
        let late = match pipeline.settings.keeps_late {
            true => late_records(pipeline.name(), record.epoch, &sides)?,
            false => Vec::new(),
        };
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
                status.operators = self.operator_ledgers();
                status.route = self.route_ledger();
            }
            if let Some(last) =
                portions.iter().filter_map(|it| it.chunk.frames.spans.last()).next_back()
            {
                status.newest_received_at = Some(last.received_at);
            }
        });
        Ok(())
    }

    fn operator_ledgers(&self) -> Vec<OperatorLedger> {
        let operators = self.program.iter().flat_map(Program::operators);
        operators.map(|operator| operator.ledger()).collect()
    }

    fn route_ledger(&self) -> Option<RouteLedger> {
        self.program.as_ref()?.route_ledger().cloned()
    }

    /// Gives the rows of an epoch to sinks and readers.
    async fn hand_over(
        &mut self,
        epoch: Epoch,
        rows: Vec<RecordBatch>,
        watermark: Timestamp,
    ) -> Result<()> {
        let rows = together(rows)?;
        for batch in &rows {
            self.rows_out += batch.num_rows() as u64;
            for outlet in &self.outlets {
                let batch = &match outlet.arm {
                    Some(arm) => of_arm(batch, arm)?,
                    None => batch.clone(),
                };
                if batch.num_rows() == 0 {
                    continue;
                }
                let columns =
                    outlet.columns.iter().map(|at| Arc::clone(batch.column(*at))).collect();
                let taken = RecordBatch::try_new(Arc::clone(&outlet.schema), columns)
                    .map_err(engine_error)?;
                self.bytes_since_checkpoint += taken.get_array_memory_size();
                self.pipeline.hand_to(outlet, epoch, taken).await?;
            }
            for kept in &self.pipeline.kept {
                kept.results.apply(batch)?;
            }
        }
        let now = self.pipeline.shared.env.clock.now();
        if let Some(tail) = &self.pipeline.tail {
            let read = if self.pipeline.shared.has_readers { &rows[..] } else { &[] };
            tail.push(epoch, now, watermark, read, &self.positions);
            let (age, bytes) = self.pipeline.settings.keep;
            tail.trim(now.minus(age), self.room.tail_bytes(bytes));
        }
        self.tables_passed();
        if !rows.is_empty() {
            for kept in &self.pipeline.kept {
                kept.publish(watermark)?;
            }
        }
        let (program, unique) = (self.program.as_ref(), self.unique.as_ref());
        self.room.count(self.pipeline, program, unique, self.looking.bytes());
        Ok(())
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

    fn may_end(&self) -> bool {
        let Some(drain) = &self.pipeline.drain else { return false };
        self.reader.is_bounded() || *drain.feeds_silent.borrow()
    }
}

/// The rows of an epoch in one batch, if they are few: each window that closes comes as its own.
fn together(rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
    match rows.first().map(RecordBatch::schema) {
        Some(schema) if rows.len() > 1 && count <= FEW_ROWS => {
            Ok(vec![concat_batches(&schema, &rows).map_err(engine_error)?])
        }
        _ => Ok(rows),
    }
}

/// The rows of a route that an arm takes.
fn of_arm(rows: &RecordBatch, arm: usize) -> Result<RecordBatch> {
    let column = rows.column_by_name(ARM);
    let column = column.ok_or_else(|| Error::internal("rows of a route have no arm"))?;
    let arm = i64::try_from(arm).unwrap_or(-1);
    let is_of = column.as_primitive::<Int64Type>().iter().map(|it| Some(it == Some(arm)));
    filter_record_batch(rows, &is_of.collect::<BooleanArray>()).map_err(engine_error)
}

/// Waits for an alarm, for ever when there is none.
async fn ring(alarm: &mut Option<Alarm>) {
    match alarm {
        Some(alarm) => alarm.wait().await,
        None => std::future::pending().await,
    }
}

/// A row on which an expression of a stream failed, with the frame it came from.
fn failed_row(portions: &[Arc<Portion>], row: &FailedRow) -> Refused {
    let frame = portions.iter().find_map(|portion| {
        let chunk = &portion.chunk;
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
