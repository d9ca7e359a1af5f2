//! Turns: which snapshots of lookups the rows of a source meet (S8, S11).
//!
//! The pipelines of a source have to agree on that, row by row: if one sent a row to an arm of a route
//! by other cities than the next, the row could come to be in both arms or in none. So they share a
//! list: from these offsets on, these snapshots. A turn is durable before an epoch sees it. It begins
//! where the foremost of them stands, so none has passed it; those behind read up to it first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use thalweg_core::store::Expected;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::Shared;
use crate::checkpoint::{Checkpoints, Position};
use crate::delivery::lock;
use crate::epoch::{EpochLog, OffsetRange};
use crate::lookups::{Lookup, LookupRows, SnapshotNumber, Snapshots};
use crate::operators::expressions::engine_error;
use crate::tail::Ends;

const KIND: &str = "lookup_turns";

/// Time between two looks at the originals.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The snapshot of each lookup.
pub(super) type Serving = BTreeMap<String, SnapshotNumber>;

/// From these offsets on, these snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Turn {
    from: Ends,
    serving: Serving,
}

/// A pipeline that looks up.
struct Member {
    pipeline: String,
    fingerprint: String,
    lookups: BTreeSet<String>,
    // The oldest snapshots that a restart of it could ask for; none until this life of it says.
    needed: Option<Serving>,
}

/// The turns of one source.
#[derive(Default)]
pub(super) struct Turns {
    members: Mutex<Vec<Member>>,
    // None until somebody asks.
    list: tokio::sync::Mutex<Option<List>>,
}

/// Each turn begins where the one before ends, or later.
pub(super) struct List {
    shared: Shared,
    source: String,
    kept: Snapshots,
    turns: Vec<Turn>,
    // How far the foremost has read.
    read_to: Ends,
    looked_at: Option<Timestamp>,
    // The rows of the last turn.
    rows: BTreeMap<String, LookupRows>,
}

impl Turns {
    /// Counts a pipeline in, before any of them runs.
    pub(super) fn add(&self, pipeline: &str, fingerprint: &str, lookups: &BTreeSet<String>) {
        if lookups.is_empty() {
            return;
        }
        lock(&self.members).push(Member {
            pipeline: pipeline.to_owned(),
            fingerprint: fingerprint.to_owned(),
            lookups: lookups.clone(),
            needed: None,
        });
    }

    /// The list of `source`; nobody else looks at it until it is given back.
    pub(super) async fn list(
        &self,
        shared: &Shared,
        source: &str,
    ) -> Result<tokio::sync::MappedMutexGuard<'_, List>> {
        let mut list = self.list.lock().await;
        if list.is_none() {
            let row = shared.store.get(KIND, source).await?;
            let turns = row.map(|row| serde_json::from_value(row.value["turns"].clone()));
            *list = Some(List {
                shared: shared.clone(),
                source: source.to_owned(),
                kept: snapshots(shared, source),
                turns: turns.transpose().map_err(engine_error)?.unwrap_or_default(),
                read_to: self.recorded(shared).await?,
                looked_at: None,
                rows: BTreeMap::new(),
            });
        }
        tokio::sync::MutexGuard::try_map(list, Option::as_mut)
            .map_err(|_| Error::internal("turns that were just read are gone"))
    }

    /// How far those who look up had read when the process ended.
    async fn recorded(&self, shared: &Shared) -> Result<Ends> {
        let members: Vec<(String, String)> = lock(&self.members)
            .iter()
            .map(|member| (member.pipeline.clone(), member.fingerprint.clone()))
            .collect();
        let folder = shared.data.join("checkpoints");
        let mut ends = Ends::new();
        for (pipeline, fingerprint) in members {
            let (disk, store) = (Arc::clone(&shared.env.disk), Arc::clone(&shared.store));
            let newest = Checkpoints::open(disk, store, &folder, &pipeline).await?.newest()?;
            let head = newest.map(|it| it.head).filter(|head| head.query == fingerprint);
            let (from, after) =
                head.as_ref().map_or((None, 0), |it| (Some(it.epochs_from), it.epoch));
            for (partition, position) in head.iter().flat_map(|head| &head.positions) {
                raise(&mut ends, *partition, position.next);
            }
            // A pipeline whose records are not whole says so itself.
            let records = EpochLog::new(Arc::clone(&shared.log), &pipeline).read(from, after).await;
            for range in records.iter().flatten().flat_map(|record| &record.ranges) {
                raise(&mut ends, range.partition, range.to);
            }
        }
        Ok(ends)
    }

    /// A restart of `pipeline` asks for nothing older than `oldest`: forgets what none can ask for.
    pub(super) async fn passed(
        &self,
        shared: &Shared,
        source: &str,
        pipeline: &str,
        oldest: &Serving,
    ) -> Result<()> {
        let mut list = self.list(shared, source).await?;
        self.say_needed(pipeline, Some(oldest.clone()));
        let mut needed = Serving::new();
        for member in lock(&self.members).iter() {
            let Some(of_member) = &member.needed else { return Ok(()) };
            for name in &member.lookups {
                let number = of_member.get(name).copied().unwrap_or_default();
                let least = needed.entry(name.clone()).or_insert(number);
                *least = number.min(*least);
            }
        }
        list.forget(&needed).await
    }

    /// A life of `pipeline` begins, and may ask for anything that is kept.
    pub(super) fn begin_life(&self, pipeline: &str) {
        self.say_needed(pipeline, None);
    }

    fn say_needed(&self, pipeline: &str, needed: Option<Serving>) {
        let mut members = lock(&self.members);
        if let Some(member) = members.iter_mut().find(|member| member.pipeline == pipeline) {
            member.needed = needed;
        }
    }

    /// The lookups that some pipeline of the source uses.
    pub(super) fn used(&self) -> BTreeSet<String> {
        lock(&self.members).iter().flat_map(|member| member.lookups.iter().cloned()).collect()
    }
}

impl List {
    /// The number of the turn that holds for an epoch that begins at `positions`: of the last one that
    /// does not begin later.
    pub(super) fn at(&mut self, positions: &BTreeMap<u32, Position>) -> usize {
        if self.turns.is_empty() {
            self.turns.push(Turn { from: Ends::new(), serving: Serving::new() });
        }
        self.turns.iter().rposition(|turn| is_reached(&turn.from, positions)).unwrap_or(0)
    }

    /// The snapshot of a lookup in a turn. Of one that nobody has looked up in it is the same in all.
    pub(super) async fn snapshot(
        &mut self,
        turn: usize,
        name: &str,
        lookup: &dyn Lookup,
    ) -> Result<SnapshotNumber> {
        if let Some(number) = self.turns[turn].serving.get(name) {
            return Ok(*number);
        }
        let rows = lookup.read().await?;
        self.kept.write(name, 1, &rows)?;
        let mut turns = self.turns.clone();
        for turn in &mut turns {
            turn.serving.insert(name.to_owned(), 1);
        }
        self.write(turns).await?;
        self.rows.insert(name.to_owned(), rows);
        Ok(1)
    }

    /// Begins a turn at `positions` if an original has changed, and nobody has read beyond; returns
    /// the turn that holds there. Looks at most once a second, at those that are `used`. A lookup that
    /// cannot be read stays as it is.
    pub(super) async fn look(
        &mut self,
        turn: usize,
        positions: &BTreeMap<u32, Position>,
        now: Timestamp,
        used: &BTreeSet<String>,
    ) -> Result<usize> {
        let is_due = self.looked_at.is_none_or(|at| now.since(at) >= LOOK_EVERY);
        if !is_due || turn + 1 < self.turns.len() || !is_reached(&self.read_to, positions) {
            return Ok(turn);
        }
        self.looked_at = Some(now);
        let mut serving = self.turns[turn].serving.clone();
        let mut fresh = Vec::new();
        for (name, number) in serving.iter_mut().filter(|(name, _)| used.contains(*name)) {
            let Some(lookup) = self.shared.lookups.get(name) else { continue };
            let known = match self.rows.get(name) {
                Some(rows) => Some(rows.version.clone()),
                None => self.kept.read(name, *number)?.map(|rows| rows.version),
            };
            match changed(lookup.as_ref(), known.as_deref()).await {
                Ok(None) => {}
                Ok(Some(rows)) => {
                    *number += 1;
                    self.kept.write(name, *number, &rows)?;
                    fresh.push((name.clone(), rows));
                }
                Err(error) => {
                    let error = error.chain();
                    tracing::warn!(lookup = name, error, "a lookup stays as it was");
                }
            }
        }
        if fresh.is_empty() {
            return Ok(turn);
        }
        let from = positions.iter().map(|(partition, at)| (*partition, at.next)).collect();
        self.write([self.turns.as_slice(), &[Turn { from, serving }]].concat()).await?;
        self.rows.extend(fresh);
        Ok(turn + 1)
    }

    /// The rows of a snapshot. One that is gone, as after a change of the query, is read anew.
    pub(super) async fn rows(
        &mut self,
        name: &str,
        number: SnapshotNumber,
        lookup: &dyn Lookup,
    ) -> Result<LookupRows> {
        let is_newest =
            self.turns.last().is_some_and(|turn| turn.serving.get(name) == Some(&number));
        if is_newest && let Some(rows) = self.rows.get(name) {
            return Ok(rows.clone());
        }
        let rows = match self.kept.read(name, number)? {
            Some(rows) => rows,
            None => {
                let rows = lookup.read().await?;
                self.kept.write(name, number, &rows)?;
                rows
            }
        };
        if is_newest {
            self.rows.insert(name.to_owned(), rows.clone());
        }
        Ok(rows)
    }

    /// Where the turn after this one begins; nowhere when it is the last.
    pub(super) fn end_of(&self, turn: usize) -> Ends {
        self.turns.get(turn + 1).map(|turn| turn.from.clone()).unwrap_or_default()
    }

    /// Somebody reads these ranges now.
    pub(super) fn read(&mut self, ranges: &[OffsetRange]) {
        for range in ranges {
            raise(&mut self.read_to, range.partition, range.to);
        }
    }

    async fn forget(&mut self, needed: &Serving) -> Result<()> {
        let is_needed = |turn: &Turn, next: &Turn| {
            turn.serving.iter().any(|(name, number)| {
                let is_last = next.serving.get(name) != Some(number);
                is_last && needed.get(name).is_some_and(|needed| number >= needed)
            })
        };
        let first = self.turns.windows(2).position(|both| is_needed(&both[0], &both[1]));
        let first = first.unwrap_or(self.turns.len().saturating_sub(1));
        if first > 0 {
            self.write(self.turns[first..].to_vec()).await?;
        }
        needed.iter().try_for_each(|(name, number)| self.kept.forget(name, *number))
    }

    /// Makes these the turns, once they are durable.
    async fn write(&mut self, turns: Vec<Turn>) -> Result<()> {
        let value = json!({ "turns": turns });
        self.shared.store.put(KIND, &self.source, Expected::Any, &value).await?;
        self.turns = turns;
        Ok(())
    }
}

/// The snapshots that the pipelines of a source look up in.
pub(crate) fn snapshots(shared: &Shared, source: &str) -> Snapshots {
    Snapshots::new(Arc::clone(&shared.env.disk), &shared.data, source)
}

/// The rows of a lookup, if it is of another version than `known`.
async fn changed(lookup: &dyn Lookup, known: Option<&str>) -> Result<Option<LookupRows>> {
    if let Some(known) = known
        && lookup.version().await? == known
    {
        return Ok(None);
    }
    lookup.read().await.map(Some)
}

/// Whether all partitions have come to `ends`.
pub(super) fn is_reached(ends: &Ends, positions: &BTreeMap<u32, Position>) -> bool {
    ends.iter().all(|(partition, end)| positions.get(partition).is_some_and(|it| it.next >= *end))
}

fn raise(ends: &mut Ends, partition: u32, to: i64) {
    let end = ends.entry(partition).or_insert(to);
    *end = to.max(*end);
}
