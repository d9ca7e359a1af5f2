//! The embedded log: topics in files, durable by group commit.
//!
//! Implements [`thalweg_core::log::Log`] (its promises are L1 to L5) for one process and one disk.
//!
//! ```text
//! <folder>/trades.raw/topic                         settings; a topic exists when this file does
//! <folder>/trades.raw/0/00000000000000000000.log    segment, named by the offset it begins at
//! <folder>/trades.raw/0/00000000000000000000.index  what is in it; only of a closed segment
//! <folder>/trades.raw/0/00000000000000048211.log    the newest segment is the active one
//! ```
//!
//! The bytes: a segment is a header of 16 bytes (`segment.rs`) and then record batches exactly as
//! Kafka has them ([`thalweg_core::records`]), so that they are checked, stored, served and read
//! without being taken apart. An index (`index.rs`) can be made again from its segment.
//!
//! How an append becomes durable: it is written to the active segment under the partition's lock,
//! which is as far as the page cache; the flusher, one thread for all partitions, syncs the
//! file, then moves the high watermark and wakes who waits. It starts at once when it is idle, and
//! takes what has arrived meanwhile as its next group.
//!
//! Two invariants make recovery simple. *A segment that has a successor is complete*: it was synced
//! before the successor got its name, so only the newest segment can be torn, and a damaged closed
//! one is damage, never cut. *A topic that has its settings file has its partitions*: a missing one
//! is damage, never begun anew.
//!
//! Not here: the lock of the data folder, compaction, idempotent producers and consumer groups.

mod budget;
mod disk;
mod embedded;
mod error;
mod flusher;
mod index;
mod partition;
mod recovery;
mod retention;
mod segment;
#[cfg(test)]
mod tests;
mod topic;

pub use self::disk::OsDisk;
pub use self::embedded::EmbeddedLog;
pub use self::partition::{Hold, PartitionUsage};
pub use self::recovery::{CutTail, Recovery};
pub use self::retention::Removed;
