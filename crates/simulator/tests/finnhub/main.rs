//! The simulated Finnhub, as a client sees it.

#![expect(clippy::unwrap_used, reason = "what a test did not expect shall fail it")]

mod faults;
mod market;
mod protocol;
mod replay;
mod support;
