//! Tables that are plain files: Parquet, Avro, CSV or JSON lines, in the folders that Spark, Hive,
//! DuckDB and pandas know, on this machine, on S3 or on HDFS.
//!
//! ```text
//! X/day=2023-12-22/part-<incarnation>-<first epoch>-<last epoch>-<n>.csv
//! X/_thalweg/commits/00000000000000000042.json    what a commit did, the newest ones
//! X/_thalweg/staged/<id>.staged                   files on their way
//! ```
//!
//! # How rows get in exactly once
//!
//! A sink writes files under `staged`, whole and durable, then one commit record that names them,
//! their places, and the stamp; the record is put only if no other has its number. From then on
//! they are in: each is renamed to its place (S3 has no rename: copied there whole, then removed). A
//! process that dies before the record has written nothing; one that dies after it is finished by
//! whoever opens the table next, before anything else.
//!
//! # Invariants
//!
//! - F1 A file that a reader can see is whole, and of a commit whose record is there.
//! - F2 A record is put as number n+1, if absent, by a writer that has read record n: who finds
//!   another one there is fenced.
//! - F3 The stamp is in the record, and in the names of files: where the records are gone, the names
//!   say whose rows these are, and up to which epoch.
//! - F4 Whatever is under `_thalweg` is no part of the table to any reader: names that begin with
//!   `_` are hidden, by Hive's convention, and none ends like a file of the table.
//!
//! A table that jobs fill is replaced by days ([`replace`]). Nothing else rewrites what is written:
//! there is no compaction, and what several commits made stays several files.
//!
//! Not here: retry, the outbox, and judging a stamp of another incarnation: the caller's work.

mod encode;
mod export;
mod layout;
mod log;
mod name;
mod read;
mod replace;
mod sink;
mod table;
mod writer;

pub use encode::Format;
pub use export::export;
pub use layout::{By, Partition, columns};
pub use read::PinnedFiles;
pub use table::{FileOptions, FileTable};

#[cfg(test)]
mod tests;
