//! Sinks: how results go out, exactly once in effect.
//!
//! A pipeline hands rows over epoch by epoch and commits groups of epochs. The target itself holds
//! the [`Stamp`] of its last commit, in the same transaction as the rows, so that after any crash it
//! can be asked what it has (S9). Retry, the outbox and metrics wrap any sink and are not here.

use std::fmt;
use std::ops::AddAssign;

use arrow_array::RecordBatch;
use async_trait::async_trait;

use crate::error::{Error, Result};

/// Number of an epoch within its pipeline, from 1. `0` stands for "before the first".
pub type Epoch = u64;

/// Who wrote to a target, and up to where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    /// Id made with the data folder.
    pub incarnation: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// The last epoch the target holds.
    pub epoch: Epoch,
}

/// Writes rows to one outside target.
///
/// # Contract
///
/// ```text
/// open ─▶ ( write(e)* ─▶ commit(last) )*
/// ```
///
/// Epochs come in order. After an error of `write` or `commit` the caller calls
/// [`discard`](Self::discard), then `open` again, and hands over everything behind the stamp once
/// more. At most one call is in flight.
#[async_trait]
pub trait Sink: Send {
    /// How often a row can have an effect outside.
    fn guarantee(&self) -> Guarantee;

    /// Connects, makes or checks the target against the schema, and returns the stamp it holds.
    ///
    /// # Errors
    ///
    /// `Invalid` when the target does not fit, saying how; `Unavailable` when it does not answer.
    /// A stamp of another incarnation is returned, not judged: the caller does that.
    async fn open(&mut self) -> Result<Option<Stamp>>;

    /// Stages the rows of an epoch; nothing is visible outside before the commit.
    async fn write(&mut self, epoch: Epoch, rows: &RecordBatch) -> Result<()>;

    /// Whether the target would have what is staged committed now: a file has reached its size.
    /// Nothing but a wish: more may be written first.
    fn wants_commit(&self) -> bool {
        false
    }

    /// Makes everything staged visible at once, stamped with `stamp`. With nothing staged it only
    /// moves the stamp, or does nothing if that would be costly.
    async fn commit(&mut self, stamp: &Stamp) -> Result<Committed>;

    /// Forgets everything staged.
    async fn discard(&mut self);

    /// What all commits of the pipeline have done to the target, as the target itself remembers it
    /// with its stamp: after a crash nobody else knows how rows were superseded within a commit.
    /// Asked after `open`; none for a target that does not remember.
    fn total(&self) -> Option<Committed> {
        None
    }

    /// Takes over a target that holds a foreign stamp: its rows stay, and from now on it counts as
    /// holding everything up to `stamp`, by commits that have done `total`. Called instead of `open`; the sink is dropped afterwards.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); `Invalid` where a target keeps no stamp.
    async fn adopt(&mut self, _stamp: &Stamp, _total: Committed) -> Result<()> {
        Err(keeps_no_stamp())
    }

    /// Empties the target and forgets its stamp. Called instead of `open`; the sink is dropped
    /// afterwards.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); `Invalid` where a target keeps no stamp.
    async fn reset(&mut self) -> Result<()> {
        Err(keeps_no_stamp())
    }
}

/// What a commit did; the two add up to the rows handed over (S12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Rows the target itself reports as written.
    pub rows_written: u64,
    /// Rows replaced within the commit by a later row of the same key.
    pub rows_superseded: u64,
}

impl Committed {
    /// Rows handed over.
    pub fn rows(self) -> u64 {
        self.rows_written + self.rows_superseded
    }
}

impl AddAssign for Committed {
    fn add_assign(&mut self, more: Self) {
        self.rows_written += more.rows_written;
        self.rows_superseded += more.rows_superseded;
    }
}

/// How often a row can have an effect outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Once or more: a crash can repeat the rows since the last commit.
    AtLeastOnce,
    /// Once in effect, whatever happens in between.
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at least once",
            Self::ExactlyOnce => "exactly once",
        })
    }
}

fn keeps_no_stamp() -> Error {
    Error::invalid("a target of this kind keeps no stamp")
        .with_hint("It takes every row that is handed over; there is nothing to adopt or reset.")
}
