//! Continuous SQL: decoded rows to results, exactly once, with state that survives.
//!
//! In the order of the flow: [`sql`] plans and checks, [`program`] turns a plan into [`operators`],
//! [`intake`] makes frames into valid rows, of which [`unique`] drops those that repeat; beside them
//! [`epoch`], [`checkpoint`], [`watermark`], [`sides`], [`lookups`] and [`results`]. Queries come in
//! by [`engine`]; [`replay`] and [`tail`] are what it reads
//! of sources, [`panels`] what it need not read again.
//!
//! Architecture invariant: beside `lake` and the binary, the only crate that knows DataFusion.

pub mod batch;
pub mod checkpoint;
pub mod delivery;
pub mod engine;
pub mod epoch;
pub mod intake;
pub mod layers;
pub mod lookups;
pub mod operators;
pub mod outbox;
pub mod panels;
pub mod pipeline;
pub mod program;
pub mod replay;
pub mod results;
pub mod sides;
pub mod sql;
pub mod tail;
pub mod unique;
pub mod watermark;
