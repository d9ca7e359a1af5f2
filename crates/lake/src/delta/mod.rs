//! Delta tables: appended to in epochs, replaced by days, compacted, and read at a version; on this
//! machine, on S3 or on HDFS.
//!
//! ```text
//! sink ──▶ Writer ──▶ data files ─┐                                  ┌─▶ provider (a version)
//! replace_days, compact ──────────┴─▶ Log: one commit file, if absent ┴─▶ checkpoint, clean-up
//! ```
//!
//! # What a commit holds
//!
//! - `add`, `remove`: the data files that come and go.
//! - `txn` with id `thalweg/<incarnation>/<pipeline>` and the epoch as its version: the stamp (S9).
//!   `txn` with id `thalweg-run/<run>`: a replacement that has been made (S20).
//! - `metaData`, only when one of these properties changes: `thalweg.feed.<pipeline>`, the
//!   incarnation whose stamp counts for that pipeline, and `thalweg.note`, the note of the last
//!   replacement. Properties outlive checkpoints and the clean-up of the log, and unlike an id that
//!   has to be guessed they can be listed: that is how another incarnation's stamp is found.
//! - `commitInfo`: what it did, for people.
//!
//! # Invariants
//!
//! - D1 A commit is decided on the state right before it: it is put as version n+1, if absent, by a
//!   writer that has read every commit up to n. Who loses the race reads, and decides again. (The
//!   library would rebase; it lets a stale epoch pass, and a replacement after a compaction.)
//! - D2 Files are durable before the commit that names them, a commit before it is reported.
//! - D3 A file that a commit may name is never removed by the one who made it: when a commit fails
//!   in doubt, its files wait for the clean-up at open, which removes only what no commit names.
//! - D4 The cost of an append does not depend on the length of the log or the number of files: it
//!   writes one commit and reads those of others. Checkpoints are made aside.
//!
//! A table that others fill, a lookup, keeps none of these: it is only read ([`DeltaLookup`]).
//!
//! Not here: retry, the outbox, and judging a stamp of another incarnation: the caller's work.

mod actions;
mod columns;
mod compact;
mod log;
mod lookup;
mod maintain;
mod read;
mod replace;
mod rewrite;
mod sink;
mod statistics;
mod table;
mod writer;

pub use lookup::{DeltaLookup, LookupColumn, columns as columns_at};
pub use maintain::TableFile;
pub use read::Pinned;
pub use table::{DayPartition, Delta, DeltaOptions};

pub(crate) use columns::{cast, days, storable_field, tells_day};
pub(crate) use sink::{STAMP_INTERVAL, Verdict, judge};
pub(crate) use writer::properties;

#[cfg(test)]
pub(crate) mod tests;
