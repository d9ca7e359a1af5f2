//! The sink of a table: rows go into files at once, and into the table at the commit.
//!
//! The stamp is compared on the very state the commit is put after (D1), so the rules are one pure
//! function, [`judge`]. A commit with nothing staged moves the stamp only when another incarnation
//! takes over, or a minute of the clock has passed since it last moved: an idle table gets no
//! commit every few seconds, and a restart still replays little.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use deltalake_core::kernel::{Action, Add, Version};
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use tokio::sync::OwnedMutexGuard;

use super::actions::{self, Operation};
use super::log::Head;
use super::rewrite::ATTEMPTS_MAX;
use super::table::{Delta, Shared};
use super::writer::{Writer, remove};

/// How long the stamp may stand still while there are no rows.
pub(crate) const STAMP_INTERVAL: Duration = Duration::from_secs(60);

/// Appends to a table.
pub(crate) struct DeltaSink {
    table: Delta,
    /// The stamps the table held when this sink last looked or committed.
    seen: BTreeMap<String, Stamp>,
    /// Rows that commits of the pipeline have appended, once it is open.
    rows: Option<u64>,
    writer: Option<Writer>,
    moved_at: Timestamp,
}

impl DeltaSink {
    pub(crate) fn new(table: Delta) -> Self {
        let seen = BTreeMap::new();
        Self { table, seen, rows: None, writer: None, moved_at: Timestamp::MIN }
    }
}

/// One commit of a sink, with the head held until it is done.
struct Append {
    shared: Arc<Shared>,
    head: OwnedMutexGuard<Head>,
    /// The stamp the sink last saw.
    seen: Option<Stamp>,
    stamp: Stamp,
    adds: Vec<Add>,
    /// How many rows count as appended afterwards, where a person says so.
    rows: Option<u64>,
}

impl Append {
    /// Commits, and says which version that is, and how many rows the pipeline has appended in all;
    /// none when the table had the epoch already. What is not committed is removed, but not after an error in doubt (D3).
    async fn run(mut self) -> Result<Option<(Version, Option<u64>)>> {
        let shared = self.shared.clone();
        for _ in 0..ATTEMPTS_MAX {
            shared.catch_up(&mut self.head).await?;
            let held = shared.stamps(&mut self.head).await?.remove(&self.stamp.pipeline);
            let verdict = judge(held.as_ref(), self.seen.as_ref(), &self.stamp);
            if verdict != Verdict::Commit {
                remove(&shared.objects(), &self.adds).await;
            }
            match verdict {
                Verdict::Commit => {}
                Verdict::Repeated => return Ok(None),
                Verdict::Fenced => return Err(self.fenced(held.as_ref())),
            }
            let mut commit = self.actions(held.as_ref())?;
            // A table that was begun without a count has none.
            let own = held.as_ref().filter(|held| held.incarnation == self.stamp.incarnation);
            let rows = shared.rows(&mut self.head, own).await?;
            let rows = self
                .rows
                .or_else(|| rows.map(|before| before + actions::rows_added(&commit).unwrap_or(0)));
            if let Some(rows) = rows {
                commit.push(actions::rows_action(&self.stamp, rows)?);
            }
            if shared.log.append(&mut self.head, &commit).await? {
                shared.tidy_when_due(&self.head);
                return Ok(Some((self.head.version, rows)));
            }
        }
        remove(&shared.objects(), &self.adds).await;
        Err(shared.outrun())
    }

    fn actions(&self, held: Option<&Stamp>) -> Result<Vec<Action>> {
        let at = self.shared.env.clock.now();
        let mut commit = vec![actions::commit_info(Operation::Append, at, None)];
        if held.is_none_or(|held| held.incarnation != self.stamp.incarnation) {
            let metadata = actions::with_feed(&self.head.metadata, &self.stamp)?;
            commit.push(Action::Metadata(metadata));
        }
        commit.push(actions::stamp_action(&self.stamp)?);
        commit.extend(self.adds.iter().cloned().map(Action::Add));
        Ok(commit)
    }

    fn fenced(&self, held: Option<&Stamp>) -> Error {
        let held = held.map_or_else(
            || "holds no stamp".to_owned(),
            |held| format!("holds epoch {} of incarnation {}", held.epoch, held.incarnation),
        );
        Error::fenced(format!("another writer has been at table `{}`", self.shared.name))
            .with_detail(format!("It {held} for pipeline `{}`.", self.stamp.pipeline))
    }
}

impl DeltaSink {
    /// Commits files and stamp; afterwards `rows` count as appended, or as many more as there are.
    async fn append(
        &mut self,
        stamp: &Stamp,
        adds: Vec<Add>,
        rows: Option<u64>,
    ) -> Result<Committed> {
        let shared = self.table.shared().await?.clone();
        let append = Append {
            shared: shared.clone(),
            head: shared.head.clone().lock_owned().await,
            seen: self.seen.get(&stamp.pipeline).cloned(),
            stamp: stamp.clone(),
            adds,
            rows,
        };
        // In a task of its own, a commit that is given up half way still ends before anybody, such
        // as this sink opened again, can look at the head.
        let appended = shared.env.spawn(append.run()).await;
        let appended = appended
            .map_err(|error| Error::internal("the commit was cut off").with_source(error))?;
        let Some((version, rows)) = appended? else { return Ok(Committed::default()) };
        self.rows = rows;
        self.seen.insert(stamp.pipeline.clone(), stamp.clone());
        self.moved_at = shared.env.clock.now();
        let committed = shared.log.read(version).await?;
        let rows_written = committed.as_deref().and_then(actions::rows_added).ok_or_else(|| {
            Error::internal(format!("commit {version} just made does not say its rows"))
        })?;
        Ok(Committed { rows_written, rows_superseded: 0 })
    }
}

#[async_trait]
impl Sink for DeltaSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        self.discard().await;
        let shared = self.table.shared().await?.clone();
        let mut head = shared.head.lock().await;
        shared.catch_up(&mut head).await?;
        self.seen = shared.stamps(&mut head).await?;
        self.moved_at = shared.env.clock.now();
        let held = match &shared.options.fed_by {
            Some(pipeline) => self.seen.get(pipeline).cloned(),
            None if self.seen.len() > 1 => {
                let pipelines: Vec<&str> = self.seen.keys().map(String::as_str).collect();
                return Err(Error::invalid(format!(
                    "table `{}` is fed by several pipelines",
                    shared.name
                ))
                .with_detail(format!("They are {}.", pipelines.join(", "))));
            }
            None => self.seen.values().next().cloned(),
        };
        self.rows = shared.rows(&mut head, held.as_ref()).await?;
        Ok(held)
    }

    fn total(&self) -> Option<Committed> {
        let rows_written = self.rows?;
        Some(Committed { rows_written, rows_superseded: 0 })
    }

    async fn write(&mut self, _: Epoch, rows: &RecordBatch) -> Result<()> {
        let shared = self.table.shared().await?;
        let writer = self.writer.get_or_insert_with(|| shared.writer());
        writer.write(rows).await
    }

    async fn commit(&mut self, stamp: &Stamp) -> Result<Committed> {
        let adds = match &mut self.writer {
            Some(writer) => writer.finish().await?,
            None => Vec::new(),
        };
        self.writer = None;
        if adds.is_empty() {
            let seen = self.seen.get(&stamp.pipeline);
            let is_known = seen.is_some_and(|seen| seen.incarnation == stamp.incarnation);
            let stood_still = self.table.declared().env.clock.now().since(self.moved_at);
            if is_known && stood_still < STAMP_INTERVAL {
                return Ok(Committed::default());
            }
        }
        self.append(stamp, adds, None).await
    }

    async fn adopt(&mut self, stamp: &Stamp, total: Committed) -> Result<()> {
        self.open().await?;
        let rows = Some(total.rows());
        self.append(stamp, Vec::new(), rows).await.map(drop)
    }

    async fn reset(&mut self) -> Result<()> {
        self.table.reset().await.map(drop)
    }

    async fn discard(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.discard().await;
        }
    }
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Commit,
    /// The table has the epoch already, from us.
    Repeated,
    /// Somebody else has moved the stamp since we looked.
    Fenced,
}

/// Judges a commit by the stamp the table holds and the one this sink last saw there.
pub(crate) fn judge(held: Option<&Stamp>, seen: Option<&Stamp>, stamp: &Stamp) -> Verdict {
    if held != seen {
        return Verdict::Fenced;
    }
    match held {
        Some(held) if held.incarnation == stamp.incarnation && held.epoch >= stamp.epoch => {
            Verdict::Repeated
        }
        _ => Verdict::Commit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_judged_by_what_the_table_holds_and_what_was_seen() {
        use Verdict::{Commit, Fenced, Repeated};
        check(None, None, ("a", 1), Commit);
        check(Some(("a", 4)), Some(("a", 4)), ("a", 5), Commit);
        check(Some(("a", 5)), Some(("a", 5)), ("a", 5), Repeated);
        check(Some(("a", 5)), Some(("a", 5)), ("a", 3), Repeated);
        check(Some(("a", 5)), Some(("a", 4)), ("a", 5), Fenced);
        check(Some(("a", 5)), None, ("a", 1), Fenced);
        check(None, Some(("a", 5)), ("a", 6), Fenced);
        check(Some(("b", 9)), Some(("a", 5)), ("a", 6), Fenced);
        // Another incarnation takes over what it saw, from wherever it stands.
        check(Some(("a", 9)), Some(("a", 9)), ("b", 2), Commit);
    }

    type Known<'a> = Option<(&'a str, Epoch)>;

    #[track_caller]
    fn check(held: Known<'_>, seen: Known<'_>, stamp: (&str, Epoch), expected: Verdict) {
        let known = |known: Known<'_>| known.map(stamped);
        let verdict = judge(known(held).as_ref(), known(seen).as_ref(), &stamped(stamp));
        assert_eq!(verdict, expected, "held {held:?}, seen {seen:?}, stamp {stamp:?}");
    }

    fn stamped((incarnation, epoch): (&str, Epoch)) -> Stamp {
        Stamp { incarnation: incarnation.to_owned(), pipeline: "p".to_owned(), epoch }
    }
}
