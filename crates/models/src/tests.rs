//! The crate from outside: forecasts, tests of significance, the champion loop and its bytes.
//!
//! Recorded bars are found through `THALWEG_DATA`; without them their tests say so and pass.

mod decisions;
mod formats;
mod guards;
mod intervals;
mod recorded;
mod references;
mod rounds;
mod support;
mod synthetic;
