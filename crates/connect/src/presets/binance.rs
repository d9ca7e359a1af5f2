//! Binance: its market data. One file a way to ask for it: [`rest`], [`stream`].
//!
//! Not here: columns and formats of what comes back, which the project declares for its preset.

pub mod rest;
pub mod stream;
