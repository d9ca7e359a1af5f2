//! What a pipeline looks up in, epoch by epoch (S8, S11).
//!
//! Between two epochs it is asked, at most once a second, whether an original has changed; if so it
//! is read whole and kept as a snapshot, with which a turn begins ([`super::turns`]). The records of
//! epochs name the snapshots that they see, and an epoch that is run again has those its record names.

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;
use thalweg_core::{Error, Result};

use super::Pipeline;
use super::turns::{Serving, is_reached};
use crate::checkpoint::Position;
use crate::epoch::OffsetRange;
use crate::lookups::{Lookup, LookupRows, SnapshotNumber};
use crate::program::Program;
use crate::tail::Ends;

/// The lookups of one program, and which snapshot of each holds in the epoch that runs.
pub(super) struct Looking<'a> {
    pipeline: &'a Pipeline,
    lookups: BTreeMap<String, Arc<dyn Lookup>>,
    held: BTreeMap<String, (SnapshotNumber, LookupRows)>,
    // Whether the program has yet to see them.
    is_news: bool,
    // Where other rows hold.
    until: Ends,
}

impl<'a> Looking<'a> {
    /// Nothing was read yet of what `program` looks up in.
    pub(super) fn new(pipeline: &'a Pipeline, program: Option<&Program>) -> Result<Self> {
        pipeline.reading.turns.begin_life(pipeline.name());
        let mut lookups = BTreeMap::new();
        for name in program.into_iter().flat_map(Program::lookups) {
            let lookup = pipeline.shared.lookups.get(name).cloned();
            let lookup = lookup.ok_or_else(|| Error::internal(format!("no lookup `{name}`")))?;
            lookups.insert(name.clone(), lookup);
        }
        Ok(Self { pipeline, lookups, held: BTreeMap::new(), is_news: false, until: Ends::new() })
    }

    /// Where an epoch that begins at `positions` has to end in a partition, if anywhere.
    pub(super) fn until(
        &self,
        partition: u32,
        positions: &BTreeMap<u32, Position>,
    ) -> Option<Offset> {
        let until = self.until.get(&partition).copied();
        until.filter(|_| !is_reached(&self.until, positions))
    }

    /// Which snapshots are to hold in a new epoch that reads `ranges`, after a look at the originals;
    /// none when another turn begins within the ranges: they are to be read again, up to there.
    ///
    /// # Errors
    ///
    /// Those of a first read; a later one that fails leaves the snapshot as it is, and is logged.
    pub(super) async fn serving(
        &mut self,
        positions: &BTreeMap<u32, Position>,
        ranges: &[OffsetRange],
        now: Timestamp,
        program: Option<&mut Program>,
    ) -> Result<Option<Serving>> {
        if self.lookups.is_empty() {
            return Ok(Some(Serving::new()));
        }
        let pipeline = self.pipeline;
        let mut list = pipeline.reading.turns.list(&pipeline.shared, pipeline.source()).await?;
        let mut turn = list.at(positions);
        let used = pipeline.reading.turns.used();
        for (name, lookup) in &self.lookups {
            list.snapshot(turn, name, lookup.as_ref()).await?;
        }
        turn = list.look(turn, positions, now, &used).await?;
        let before = std::mem::replace(&mut self.until, list.end_of(turn));
        let is_beyond =
            |range: &OffsetRange| self.until.get(&range.partition).is_some_and(|it| range.to > *it);
        // Read up to there already, and a frame reaches beyond: it belongs to where it begins.
        if before != self.until && ranges.iter().any(is_beyond) {
            return Ok(None);
        }
        list.read(ranges);
        let mut serving = Serving::new();
        for (name, lookup) in &self.lookups {
            serving.insert(name.clone(), list.snapshot(turn, name, lookup.as_ref()).await?);
        }
        drop(list);
        self.begin(&serving, program).await?;
        Ok(Some(serving))
    }

    /// Lets those snapshots hold that a record names.
    pub(super) async fn begin(
        &mut self,
        recorded: &Serving,
        program: Option<&mut Program>,
    ) -> Result<()> {
        for (name, lookup) in &self.lookups {
            let Some(number) = recorded.get(name) else { continue };
            if self.held.get(name).is_some_and(|(held, _)| held == number) {
                continue;
            }
            let pipeline = self.pipeline;
            let mut list = pipeline.reading.turns.list(&pipeline.shared, pipeline.source()).await?;
            let rows = list.rows(name, *number, lookup.as_ref()).await?;
            self.held.insert(name.clone(), (*number, rows));
            self.is_news = true;
        }
        if let (true, Some(program)) = (self.is_news, program) {
            let rows = self.held.iter().map(|(name, (_, rows))| (name.clone(), rows.clone()));
            program.look_up(&rows.collect()).await?;
            self.is_news = false;
        }
        Ok(())
    }

    /// Which snapshots hold now, for checkpoints.
    pub(super) fn holding(&self) -> Serving {
        self.held.iter().map(|(name, (number, _))| (name.clone(), *number)).collect()
    }

    /// Says that no restart can need snapshots older than `oldest` names.
    pub(super) async fn passed(&self, oldest: &Serving) -> Result<()> {
        if self.lookups.is_empty() {
            return Ok(());
        }
        let Pipeline { shared, reading, .. } = self.pipeline;
        reading.turns.passed(shared, self.pipeline.source(), self.pipeline.name(), oldest).await
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        self.held.values().map(|(_, rows)| rows.bytes()).sum()
    }
}
