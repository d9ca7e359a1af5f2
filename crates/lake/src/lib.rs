//! The lake: tables that pipelines append to, jobs replace by days, and queries read.
//!
//! [`delta`] holds Delta tables, the default, ours and those that others fill; [`files`] tables that are plain files. [`LakeTable`] is
//! any of them. A table is handed on twice: as a [`Table`](thalweg_core::table::Table) to pipelines and
//! jobs, and as DataFusion's own `TableProvider` to the query engine.
//!
//! Architecture invariant: `storage` is the only module that knows where files are and how they
//! become durable; everything else speaks to an object store, and one elsewhere is handed in.
//!
//! Not here: which table is fed by what, schedules, and SQL. Those are `project`, `jobs` and
//! `stream`.

mod changelog;
pub mod delta;
mod error;
pub mod files;
mod place;
mod rooted;
mod storage;
mod table;
#[cfg(test)]
mod testing;

pub use changelog::Changelog;
pub use place::Place;
pub use table::{LakeTable, Pinned};
