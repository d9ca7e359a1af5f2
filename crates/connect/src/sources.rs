//! Sources: where frames come from. One file each.
//!
//! [`websocket`], [`http`] and [`exec`] are a live [`Source`](thalweg_core::source::Source): they cannot
//! be read again, so [`crate::feed`] journals their frames before anything looks at them (S0); what is
//! posted is journaled by [`push`]. [`journal`] and
//! [`file`](mod@file) are an [`Input`](thalweg_core::source::Input), read again by position: the
//! only thing a pipeline ever reads.
//!
//! Not here: back-off, gaps and watchdogs, which [`crate::feed`] puts round every live source; and
//! what frames mean, which is the business of [`crate::codecs`].

pub mod exec;
pub mod file;
pub mod http;
pub mod journal;
pub mod push;
mod secrets;
pub(crate) mod tls;
pub mod websocket;

pub use secrets::{Secrets, redact_url};
