//! JSON frames to rows.
//!
//! A frame is one JSON value. `rows` says which part of it is a row (`$`), or which parts are
//! (`$.data[*]`, `$.events[*].trades[*]`); a column's `select` is a path within the row, or from
//! the frame when it begins with `$` (`$.stream`). The accepted forms of each type stand in the
//! table of [`crate::codecs`].
//!
//! # What becomes of a frame (S12)
//!
//! In this order; the first that applies counts:
//!
//! 1. *quarantined*: it is longer than a frame may be; *filtered*: it is blank;
//! 2. *quarantined*: it is not JSON, by the judgement of `serde_json` (UTF-8, at most 127 levels,
//!    numbers within a double), or holds more than 1,000,000 rows;
//! 3. *filtered*, its text a notice: it matches a [`NoticeRule`];
//! 4. *filtered*: `only_if` is not true;
//! 5. *quarantined*: there is nothing at `rows`, or not what the path needs;
//! 6. *quarantined*: it has rows, and a column taken from the frame does not convert;
//! 7. *decoded*. A row that is not what its columns need, or has a value that does not convert, is
//!    a reject with its number; the reason names the first such column in the order of declaration.
//!
//! Unknown keys are ignored, of equal keys the last one counts (S16).
//!
//! # Two ways, one meaning
//!
//! `walk` looks keys up by name. From a row it has accepted, `shape` learns the layout: the bytes
//! between the values and what stands where. A row of a known layout is then compared eight bytes at
//! a time, and its values go straight to the columns; whatever a shape refuses, `walk` decides. The
//! tests hold both, and a third decoder written on `serde_json` alone, to the same rows, bit for bit.
//!
//! Not here: the recogniser (`scan`), numbers (`number`), conversion (`value`), paths and conditions
//! (`path`, compiled by `plan`).

mod number;
mod path;
mod plan;
mod scan;
mod shape;
mod value;
mod walk;

use arrow::datatypes::SchemaRef;
use thalweg_core::Result;
use thalweg_core::decode::{Decoded, Decoder, FrameCounts};
use thalweg_core::frame::Frames;
use thalweg_core::schema::Column;

use self::plan::Plan;
use self::shape::Shapes;
use self::walk::{Outcome, Slot, Walk};
use super::rows::Rows;

pub use self::path::{Condition, JsonPath, NoticeRule};
pub(super) use self::scan::is_json;

/// Most notices one call gives out; of more, the newest.
const NOTICES_MAX: usize = 16;

/// How JSON frames become rows.
#[derive(Clone, Debug, Default)]
pub struct JsonConfig {
    /// The declared columns; each one's path lies within the row, or begins with `$`.
    pub columns: Vec<Column>,
    /// The row, or with `[*]` the rows, of a frame. Default `$`: the frame is the row.
    pub rows: Option<JsonPath>,
    /// Frames that fail it are filtered. Its path begins at the frame.
    pub only_if: Option<Condition>,
    /// Messages of the feed about itself; the first rule that applies counts.
    pub notices: Vec<NoticeRule>,
}

/// Decodes JSON frames.
pub struct JsonDecoder {
    plan: Plan,
    rows: Rows,
    slots: Vec<Slot>,
    shapes: Shapes,
}

impl JsonDecoder {
    /// # Errors
    ///
    /// `Invalid` when a column's name is taken or its path is not one, or a path other than `rows`
    /// has a `[*]`.
    pub fn new(config: &JsonConfig) -> Result<Self> {
        let plan = Plan::new(config)?;
        Ok(Self {
            rows: Rows::new(&config.columns)?,
            slots: vec![Slot::Missing; plan.slots],
            shapes: Shapes::new(),
            plan,
        })
    }

    /// Rows that a learned shape has decoded so far, for metrics and tests.
    pub fn rows_by_shape(&self) -> u64 {
        self.shapes.rows()
    }

    /// A decoder that learns nothing.
    #[cfg(test)]
    fn without_shapes(config: &JsonConfig) -> Result<Self> {
        Ok(Self { shapes: Shapes::none(), ..Self::new(config)? })
    }
}

impl Decoder for JsonDecoder {
    fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    fn decode(&mut self, frames: &Frames) -> Result<Decoded> {
        let mut counts = FrameCounts::default();
        let mut notices = Vec::new();
        self.rows.begin();
        for (index, span) in frames.spans.iter().enumerate() {
            let before = self.rows.begin_frame(index, span);
            let walk = Walk::new(
                &self.plan,
                frames.bytes(index),
                &mut self.slots,
                &mut self.rows,
                &mut self.shapes,
            );
            match walk.frame() {
                Outcome::Decoded => counts.decoded += 1,
                Outcome::Filtered => {
                    self.rows.rollback(before);
                    counts.filtered += 1;
                }
                Outcome::Notice(notice) => {
                    self.rows.rollback(before);
                    counts.filtered += 1;
                    notices.push(notice);
                }
                Outcome::Refused(reason) => {
                    self.rows.reject_frame(before, reason);
                    counts.quarantined += 1;
                }
            }
        }
        notices.drain(..notices.len().saturating_sub(NOTICES_MAX));
        let (rows, rejects) = self.rows.finish(frames.partition)?;
        Ok(Decoded { rows, rejects, frames: counts, notices })
    }
}

#[cfg(test)]
mod tests;
