//! Gaps that ids show (S15): which of them are missing between two frames of the journal.
//!
//! Looked for behind the journal, so that what is found is a function of it: after a crash the
//! frames behind the last note are looked at again, and the same gaps get the same rows.
//!
//! Rows of the store: kind [`GAP_KIND`](super::GAP_KIND), id `<source>/<partition>/ids/<from>/<key>/<id>`
//! with the last time known to be whole, in microseconds, and the first missing id, of twenty digits
//! each; kind [`IDS_KIND`], id `<source>/<partition>`: the note.
//!
//! Not here: what was missed while there was no connection (`gap`), and repeats, which `unique` drops.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use serde::{Deserialize, Serialize};
use thalweg_core::Result;
use thalweg_core::decode::Decoder;
use thalweg_core::frame::Frames;
use thalweg_core::schema::{Column, ColumnType};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;

use super::gap::{Gap, GapRow, GapState};
use crate::codecs::json::{Condition, JsonConfig, JsonDecoder, JsonPath};

/// Kind of the store's rows that hold up to where ids were looked at.
pub(super) const IDS_KIND: &str = "feed_ids";

/// Most keys whose ids are followed: those met after them are not.
const KEYS_MAX: usize = 10_000;

/// The one key of ids that count messages of a connection.
const EVERY_KEY: &str = "*";

const KEY: usize = 0;
const ID: usize = 1;

/// Where ids are, and of what they are without gaps.
#[derive(Clone, Debug)]
pub struct IdRule {
    /// Where the rows with ids are in a frame. Default the frame.
    pub rows: Option<JsonPath>,
    /// Frames that fail it have none.
    pub only_if: Option<Condition>,
    /// Path of the id, from the row or with `$` from the frame.
    pub id: String,
    /// What the ids count.
    pub scope: IdScope,
}

/// What ids count up by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdScope {
    /// Records of each key, over connections; the path of the key.
    Key(String),
    /// Messages of a connection; a new one begins anew.
    Connection,
}

/// Follows the ids of one feed.
pub(super) struct IdWatch {
    prefix: String,
    source: String,
    scope: IdScope,
    decoder: JsonDecoder,
    note: IdNote,
}

/// Up to where ids were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdNote {
    /// The frames before it were looked at.
    pub(super) next: Offset,
    last: BTreeMap<String, Seen>,
}

impl IdNote {
    /// Nothing was met, and nothing before `next` is looked at.
    pub(super) fn at(next: Offset) -> Self {
        Self { next, last: BTreeMap::new() }
    }
}

/// The highest id of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    id: i64,
    at: Timestamp,
}

impl IdWatch {
    /// # Errors
    ///
    /// `Invalid` when a path of the rule is none.
    pub(super) fn new(source: &str, partition: u32, rule: &IdRule) -> Result<Self> {
        let column = |name: &str, kind, select: &str, nullable| Column {
            name: name.to_owned(),
            kind,
            nullable,
            select: Some(select.to_owned()),
            unit: None,
            allow_nan: false,
        };
        let key = match &rule.scope {
            IdScope::Key(path) => column("key", ColumnType::Text, path, false),
            // There is but one; the column only stands in its place.
            IdScope::Connection => column("key", ColumnType::Bigint, &rule.id, true),
        };
        let config = JsonConfig {
            columns: vec![key, column("id", ColumnType::Bigint, &rule.id, false)],
            rows: rule.rows.clone(),
            only_if: rule.only_if.clone(),
            notices: Vec::new(),
        };
        Ok(Self {
            prefix: format!("{source}/{partition}/ids/"),
            source: source.to_owned(),
            scope: rule.scope.clone(),
            decoder: JsonDecoder::new(&config)?,
            note: IdNote::default(),
        })
    }

    /// Takes up where the process before left off.
    pub(super) fn resume(&mut self, note: IdNote) {
        self.note = note;
    }

    /// Up to where it has looked.
    pub(super) fn note(&self) -> &IdNote {
        &self.note
    }

    /// A new connection stands.
    pub(super) fn connected(&mut self) {
        if self.scope == IdScope::Connection {
            self.note.last.clear();
        }
    }

    /// Looks at the frames up to `next`; returns the rows of the gaps between them.
    pub(super) fn look(&mut self, frames: &Frames, next: Offset) -> Result<Vec<GapRow>> {
        let decoded = self.decoder.decode(frames)?;
        let mut rows = Vec::new();
        for found in ids(&decoded.rows, frames, &self.scope) {
            self.meet(found, &mut rows);
        }
        self.note.next = next;
        Ok(rows)
    }

    fn meet(&mut self, Found { key, id, at }: Found<'_>, rows: &mut Vec<GapRow>) {
        let before = match self.note.last.get_mut(key) {
            Some(seen) => std::mem::replace(
                seen,
                Seen { id: seen.id.max(id), at: if id > seen.id { at } else { seen.at } },
            ),
            None => {
                if self.note.last.len() < KEYS_MAX {
                    self.note.last.insert(key.to_owned(), Seen { id, at });
                }
                return;
            }
        };
        let Some(first) = before.id.checked_add(1).filter(|first| *first < id) else { return };
        let last = id - 1;
        let what = match self.scope {
            IdScope::Key(_) => "ids",
            IdScope::Connection => "messages",
        };
        let reason = match first == last {
            true => format!("{} {first} is missing", what.trim_end_matches('s')),
            false => format!("{what} {first} to {last} are missing"),
        };
        let gap = Gap {
            source: self.source.clone(),
            key: key.to_owned(),
            from: before.at,
            to: Some(at),
            reason,
            state: GapState::Unfillable,
            ids: Some((first, last)),
        };
        rows.push((format!("{}{:020}/{key}/{first:020}", self.prefix, before.at.0), gap));
    }
}

/// An id that was met.
struct Found<'a> {
    key: &'a str,
    id: i64,
    at: Timestamp,
}

/// The ids of each frame, lowest first: a frame may list its rows the newest first.
fn ids<'a>(rows: &'a RecordBatch, frames: &Frames, scope: &IdScope) -> Vec<Found<'a>> {
    use thalweg_core::schema::meta;
    let (keys, ids) = (rows.column(KEY), rows.column(ID).as_primitive::<Int64Type>());
    let Some(offsets) = rows.column_by_name(meta::OFFSET) else { return Vec::new() };
    let offsets = offsets.as_primitive::<Int64Type>();
    let mut found: Vec<(Offset, Found<'a>)> = Vec::with_capacity(rows.num_rows());
    for row in (0..rows.num_rows()).filter(|row| !ids.is_null(*row)) {
        let offset = offsets.value(row);
        let frame = frames.spans.binary_search_by_key(&offset, |span| span.offset);
        let Ok(frame) = frame else { continue };
        let key = match scope {
            IdScope::Key(_) => keys.as_string::<i32>().value(row),
            IdScope::Connection => EVERY_KEY,
        };
        let at = frames.spans[frame].received_at;
        found.push((offset, Found { key, id: ids.value(row), at }));
    }
    found.sort_by_key(|(offset, found)| (*offset, found.id));
    found.into_iter().map(|(_, found)| found).collect()
}

#[cfg(test)]
mod tests;
