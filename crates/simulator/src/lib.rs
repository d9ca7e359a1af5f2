//! An exchange to develop and test against: the real protocol, made-up or recorded trades, faults
//! on demand.
//!
//! [`Simulator::start`] listens on loopback. `/finnhub` speaks as Finnhub does:
//!
//! - The token is the query parameter `token`; a wrong, empty or missing one is refused with 401.
//! - `{"type":"subscribe","symbol":"AAPL"}` and `unsubscribe` have no acknowledgement. An unknown
//!   symbol, or one too many, is answered by `{"msg":"…","type":"error"}`; the connection stays.
//! - Trades come as `{"data":[{"c":…,"p":…,"s":…,"t":…,"v":…}, …],"type":"trade"}`, 1 to 10 of any
//!   symbols subscribed; `t` is in milliseconds and does not only rise.
//! - `{"type":"ping"}` comes as a text message after silence.
//! - One connection a token: see [`SecondConnection`].
//!
//! `/binance`, `/coinbase` and `/kraken` speak over WebSockets as those exchanges do (see `venues`).
//!
//! `/api/v3` speaks as Binance's REST does (prices, statistics, bars, weights, bans), and
//! `/pages/prices` and `/pages/next` are pages of the same prices as sites make them (see `rest`).
//!
//! Invariants:
//!
//! - What is sent is a function of the seed, the clock and what the client does.
//! - Nothing is made or read before the socket can take it: one message is under way at a time.
//! - A replayed message is sent once: it counts as sent when a subscribed connection's socket has
//!   all of it, and the next connection goes on at the next one.
//!
//! Not here: clients (`connect`), the failing disk and the seeds of tests (`sim`).

mod config;
mod counters;
mod exchange;
mod faults;
mod handshake;
mod market;
mod pages;
mod quotes;
mod replay;
mod rest;
mod session;
mod tape;
mod venues;

pub use config::{
    Feed, Instrument, InstrumentKind, MarketConfig, ReplayConfig, SecondConnection,
    SimulatorConfig, Speed, Token,
};
pub use counters::Statistics;
pub use exchange::{Running, Simulator};
pub use faults::{Fault, FaultPlan, FaultTime, PlannedFault};
pub use replay::ReplayState;
