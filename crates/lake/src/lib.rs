//! The lake: tables on disk that pipelines append to, jobs replace by days, and queries read.
//!
//! [`delta`] holds Delta tables, the default. A table is handed on twice: as a
//! [`Table`](thalweg_core::table::Table) to pipelines and jobs, and as DataFusion's own
//! `TableProvider` to the query engine.
//!
//! Architecture invariant: `storage` is the only module that knows where files are and how they
//! become durable; everything else speaks to an object store.
//!
//! Not here: which table is fed by what, schedules, and SQL. Those are `project`, `jobs` and
//! `stream`.

pub mod delta;
mod error;
mod storage;
