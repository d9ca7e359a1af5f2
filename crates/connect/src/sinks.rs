//! Sinks: how results leave for another system. One file each.
//!
//! Each implements [`Sink`](thalweg_core::sink::Sink) and says how often a row can have an effect
//! outside (S9). Retry, the outbox on disk and metrics wrap any sink and are not here; nor is the
//! choice of what a foreign stamp means, which the pipeline makes.

pub mod console;
pub mod database;
mod json_rows;
pub mod mysql;
pub mod notify;
pub mod postgres;
pub mod topic;
pub mod webhook;
