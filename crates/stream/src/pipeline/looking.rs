//! What a pipeline looks up in, epoch by epoch (S8, S11).
//!
//! Between two epochs it is asked, at most once a second, whether an original has changed; if so it
//! is read whole and kept as a snapshot, which the records of the epochs that see it name. An epoch
//! that is run again has those its record names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thalweg_core::sink::Epoch;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::Shared;
use crate::lookups::{Lookup, LookupRows, Snapshots};
use crate::program::Program;

/// Time between two looks at the originals.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The lookups of one program, and which snapshot of each holds in the epoch that runs.
pub(super) struct Looking {
    lookups: BTreeMap<String, Arc<dyn Lookup>>,
    kept: Snapshots,
    // By lookup: the epoch that names its snapshot, and the rows.
    held: BTreeMap<String, (Epoch, LookupRows)>,
    looked_at: Option<Timestamp>,
}

impl Looking {
    /// Nothing was read yet of what `program` looks up in.
    pub(super) fn new(shared: &Shared, pipeline: &str, program: Option<&Program>) -> Result<Self> {
        let mut lookups = BTreeMap::new();
        for name in program.into_iter().flat_map(Program::lookups) {
            let lookup = shared.lookups.get(name).cloned();
            let lookup = lookup.ok_or_else(|| Error::internal(format!("no lookup `{name}`")))?;
            lookups.insert(name.clone(), lookup);
        }
        let kept = Snapshots::new(Arc::clone(&shared.env.disk), &shared.data, pipeline);
        Ok(Self { lookups, kept, held: BTreeMap::new(), looked_at: None })
    }

    /// Which snapshots are to hold in a new epoch, after a look at the originals.
    ///
    /// # Errors
    ///
    /// Those of a first read; a later one that fails leaves the snapshot as it is, and is logged.
    pub(super) async fn serving(
        &mut self,
        epoch: Epoch,
        now: Timestamp,
        program: Option<&mut Program>,
    ) -> Result<BTreeMap<String, Epoch>> {
        let is_due = self.looked_at.is_none_or(|at| now.since(at) >= LOOK_EVERY);
        if !self.lookups.is_empty() && is_due {
            self.looked_at = Some(now);
            let mut has_changed = false;
            for (name, lookup) in &self.lookups {
                let known = self.held.get(name).map(|(_, rows)| rows.version.as_str());
                match changed(lookup.as_ref(), known).await {
                    Ok(None) => {}
                    Ok(Some(rows)) => {
                        self.kept.write(name, epoch, &rows)?;
                        self.held.insert(name.clone(), (epoch, rows));
                        has_changed = true;
                    }
                    Err(error) if known.is_some() => {
                        let error = error.chain();
                        tracing::warn!(lookup = name, error, "a lookup stays as it was");
                    }
                    Err(error) => return Err(error),
                }
            }
            if let (true, Some(program)) = (has_changed, program) {
                program.look_up(&self.rows()).await?;
            }
        }
        Ok(self.holding())
    }

    /// Lets those snapshots hold that a record names. One that is gone, as after a change of the
    /// query, is read anew.
    pub(super) async fn begin(
        &mut self,
        recorded: &BTreeMap<String, Epoch>,
        program: Option<&mut Program>,
    ) -> Result<()> {
        let mut has_changed = false;
        for (name, lookup) in &self.lookups {
            let Some(epoch) = recorded.get(name) else { continue };
            if self.held.get(name).is_some_and(|(held, _)| held == epoch) {
                continue;
            }
            let rows = match self.kept.read(name, *epoch)? {
                Some(rows) => rows,
                None => {
                    let rows = lookup.read().await?;
                    self.kept.write(name, *epoch, &rows)?;
                    rows
                }
            };
            self.held.insert(name.clone(), (*epoch, rows));
            has_changed = true;
        }
        match program {
            Some(program) if has_changed => program.look_up(&self.rows()).await,
            _ => Ok(()),
        }
    }

    /// Which snapshots hold now, for records and checkpoints.
    pub(super) fn holding(&self) -> BTreeMap<String, Epoch> {
        self.held.iter().map(|(name, (epoch, _))| (name.clone(), *epoch)).collect()
    }

    /// Forgets snapshots that no restart can need: those older than `needed` names.
    pub(super) fn forget(&self, needed: &BTreeMap<String, Epoch>) -> Result<()> {
        needed.iter().try_for_each(|(name, epoch)| self.kept.forget(name, *epoch))
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        self.held.values().map(|(_, rows)| rows.bytes()).sum()
    }

    fn rows(&self) -> BTreeMap<String, LookupRows> {
        self.held.iter().map(|(name, (_, rows))| (name.clone(), rows.clone())).collect()
    }
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
