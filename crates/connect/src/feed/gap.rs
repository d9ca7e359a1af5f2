//! Gaps: stretches of time for which records of a key may be missing (S14, S15).
//!
//! A gap begins with the last sign of life whose frames are on stable storage, and ends with the
//! first one after everything was subscribed again: rather too wide than too narrow, since every
//! frame that is not journaled must lie in one (S10). Its rows are written open, before anything
//! else is tried, so that a crash in between leaves them to be closed by the next start.
//!
//! Rows of the store, kind [`GAP_KIND`], id `<source>/<partition>/outage/<from>/<key>` with `from`
//! in microseconds, twenty digits: they sort by time within a source. Gaps found by ids or sequence
//! numbers are made in `ids` and have ids of another form.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_core::time::Timestamp;

/// Kind of the store's rows that hold a [`Gap`].
pub const GAP_KIND: &str = "gap";

/// A stretch of time for which records of a key may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The source.
    pub source: String,
    /// The key, such as a symbol; `*` where a source names none.
    pub key: String,
    /// The last instant known to be whole; microseconds.
    pub from: Timestamp,
    /// The first instant known to be whole again; none while it lasts.
    pub to: Option<Timestamp>,
    /// What happened, such as `the feed fell silent`.
    pub reason: String,
    /// What has become of it.
    pub state: GapState,
    /// First and last id that are missing, where ids show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<(i64, i64)>,
}

/// What has become of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GapState {
    /// It lasts, or is still to be filled.
    Open,
    /// What was missing has been fetched.
    Filled,
    /// It is over, and what was missing cannot be fetched.
    Unfillable,
}

/// A row to write: its id and what it holds.
pub(super) type GapRow = (String, Gap);

/// Knows since when a feed is whole, or since when it is not: pure.
#[derive(Debug)]
pub(super) struct GapTracker {
    source: String,
    partition: u32,
    keys: Vec<String>,
    // The last sign of life that is on stable storage; none before the first connection ever.
    whole_until: Option<Timestamp>,
    // Rows of the gap that lasts.
    open: Vec<GapRow>,
}

impl GapTracker {
    pub(super) fn new(source: &str, partition: u32, keys: Vec<String>) -> Self {
        Self { source: source.to_owned(), partition, keys, whole_until: None, open: Vec::new() }
    }

    /// What the ids of this feed's rows begin with.
    pub(super) fn prefix(&self) -> String {
        format!("{}/{}/outage/", self.source, self.partition)
    }

    /// Takes up where the process before left off: with the gap it left open, else with one from
    /// its last frame. Returns the rows to write: for the keys followed then and now that have none,
    /// since the process may have ended while it wrote them.
    pub(super) fn resume(
        &mut self,
        left_open: Vec<GapRow>,
        last_frame_at: Option<Timestamp>,
        keys_before: &[String],
    ) -> Vec<GapRow> {
        let first = left_open.iter().map(|(_, gap)| gap).min_by_key(|gap| gap.from);
        self.whole_until = first.map(|gap| gap.from).or(last_frame_at);
        let reason = first.map_or("the process ended without a word", |gap| &gap.reason).to_owned();
        let has_row = |key: &String| left_open.iter().any(|(_, gap)| gap.key == *key);
        let missing: Vec<String> = self
            .keys
            .iter()
            .filter(|key| keys_before.contains(key) && !has_row(key))
            .cloned()
            .collect();
        let opened = self.begin(&missing, &reason);
        self.open.extend(left_open);
        opened
    }

    /// The connection is lost. Returns the rows to write: none when a gap lasts already.
    pub(super) fn lost(&mut self, reason: &str) -> Vec<GapRow> {
        let keys = std::mem::take(&mut self.keys);
        let rows = self.begin(&keys, reason);
        self.keys = keys;
        rows
    }

    /// The feed showed that it is alive, and all it sent until `at` is on stable storage. Returns
    /// the rows of the gap that this ends.
    pub(super) fn alive(&mut self, at: Timestamp) -> Vec<GapRow> {
        self.whole_until = self.whole_until.max(Some(at));
        let mut rows = std::mem::take(&mut self.open);
        for (_, gap) in &mut rows {
            gap.to = Some(at.max(gap.from));
            gap.state = GapState::Unfillable;
        }
        rows
    }

    /// Since when the gap lasts, if one does.
    pub(super) fn open_since(&self) -> Option<Timestamp> {
        self.open.first().map(|(_, gap)| gap.from)
    }

    fn begin(&mut self, keys: &[String], reason: &str) -> Vec<GapRow> {
        let Some(from) = self.whole_until.filter(|_| self.open.is_empty()) else {
            return Vec::new();
        };
        self.open = keys
            .iter()
            .map(|key| {
                let gap = Gap {
                    source: self.source.clone(),
                    key: key.clone(),
                    from,
                    to: None,
                    reason: reason.to_owned(),
                    state: GapState::Open,
                    ids: None,
                };
                (format!("{}{:020}/{key}", self.prefix(), from.0), gap)
            })
            .collect();
        self.open.clone()
    }
}

/// The gap a row of the store holds, if it is one that lasts.
pub(super) fn open_gap(id: &str, value: &Value) -> Option<GapRow> {
    let gap = Gap::deserialize(value).ok()?;
    (gap.state == GapState::Open && gap.to.is_none()).then(|| (id.to_owned(), gap))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker() -> GapTracker {
        GapTracker::new("trades", 0, vec!["AAPL".into(), "MSFT".into()])
    }

    /// Key, from, to and state of each row.
    fn shown(rows: &[GapRow]) -> Vec<String> {
        let line = |(_, gap): &GapRow| {
            let to = gap.to.map_or("…".to_owned(), |to| to.0.to_string());
            format!("{} {}–{to} {:?}", gap.key, gap.from.0, gap.state)
        };
        rows.iter().map(line).collect()
    }

    #[test]
    fn a_gap_reaches_from_the_last_sign_of_life_to_the_next() {
        let mut gaps = tracker();
        assert!(gaps.alive(Timestamp(10)).is_empty());
        assert!(gaps.alive(Timestamp(20)).is_empty());
        let opened = gaps.lost("cut");
        assert_eq!(shown(&opened), ["AAPL 20–… Open", "MSFT 20–… Open"]);
        assert_eq!(opened[0].0, "trades/0/outage/00000000000000000020/AAPL");
        assert!(gaps.lost("cut again").is_empty(), "one gap, however many attempts");
        assert_eq!(gaps.open_since(), Some(Timestamp(20)));
        let closed = gaps.alive(Timestamp(50));
        assert_eq!(shown(&closed), ["AAPL 20–50 Unfillable", "MSFT 20–50 Unfillable"]);
        assert_eq!(closed[0].0, opened[0].0);
        assert_eq!(gaps.open_since(), None);
    }

    #[test]
    fn before_the_first_connection_nothing_is_missing() {
        let mut gaps = tracker();
        assert!(gaps.lost("refused").is_empty());
        assert!(gaps.resume(Vec::new(), None, &[]).is_empty());
        assert!(gaps.alive(Timestamp(5)).is_empty());
    }

    #[test]
    fn a_start_goes_on_with_the_gap_left_open() {
        let mut before = tracker();
        before.alive(Timestamp(20));
        let left = before.lost("stopped");
        let mut gaps = tracker();
        assert!(gaps.resume(left, Some(Timestamp(15)), &[]).is_empty());
        assert_eq!(
            shown(&gaps.alive(Timestamp(90))),
            ["AAPL 20–90 Unfillable", "MSFT 20–90 Unfillable"]
        );
    }

    #[test]
    fn a_start_after_a_crash_opens_a_gap_for_the_keys_followed_before() {
        let mut gaps = tracker();
        let opened = gaps.resume(Vec::new(), Some(Timestamp(15)), &["MSFT".into(), "GBP".into()]);
        assert_eq!(shown(&opened), ["MSFT 15–… Open"]);
    }

    #[test]
    fn a_gap_of_which_only_some_rows_were_written_is_completed() {
        let mut before = tracker();
        before.alive(Timestamp(20));
        let mut left = before.lost("cut");
        left.remove(0);
        let mut gaps = tracker();
        let keys = ["AAPL".into(), "MSFT".into()];
        assert_eq!(shown(&gaps.resume(left, Some(Timestamp(15)), &keys)), ["AAPL 20–… Open"]);
        assert_eq!(
            shown(&gaps.alive(Timestamp(90))),
            ["AAPL 20–90 Unfillable", "MSFT 20–90 Unfillable"]
        );
    }

    #[test]
    fn rows_survive_the_store() {
        let mut gaps = tracker();
        gaps.alive(Timestamp(20));
        let (id, gap) = gaps.lost("cut").remove(0);
        let value = serde_json::to_value(&gap).expect("a gap is JSON");
        assert_eq!(open_gap(&id, &value), Some((id, gap)));
        assert_eq!(open_gap("x", &serde_json::json!({"state": "open"})), None);
    }
}
