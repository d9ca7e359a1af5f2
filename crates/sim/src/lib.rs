//! What tests of durable code stand on: a disk that fails, and seeds that make failures repeat.
//!
//! A test draws everything from one seed: what it does, and what the disk loses. A failing seed is
//! a bug report, and runs alone with `THALWEG_SEED`.
//!
//! Not here: the clock and randomness of running code, which are [`thalweg_core::env`]'s and are
//! stepped and seeded there; the exchange that examples read from, which is the crate `simulator`.

mod contents;
mod mem_disk;
mod seeds;

pub use self::mem_disk::MemDisk;
pub use self::seeds::for_each_seed;
