//! The server from outside: a real socket on loopback, a fake engine behind it.
//!
//! What REST answers is in `tests/transcripts/*.txt`; `UPDATE_TRANSCRIPTS=1` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake;
mod http;
mod limits;
mod live;
mod openapi;
mod start;
mod transcripts;
