//! How frames come in: WebSockets against a real server, the driver of live sources, journals and
//! files. From outside the crate, with a log and a store in memory.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod feed;
mod file;
mod finnhub;
mod http;
mod journal;
mod support;
mod websocket;
