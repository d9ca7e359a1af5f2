//! Connectors: how bytes come in from outside, become rows, and go out again.
//!
//! One component, one file; the folder says its kind:
//!
//! - [`sources`]: live feeds ([`thalweg_core::source::Source`]) and what can be read again by
//!   position ([`thalweg_core::source::Input`]).
//! - [`feed`]: the driver that keeps a live source connected and its frames in the log.
//! - [`codecs`]: bytes to rows and back.
//! - [`sinks`]: rows to databases and other targets.
//! - [`tasks`]: what jobs do outside.
//! - [`stores`]: buckets and clusters, for whoever reads or writes files there.
//! - [`presets`]: what is known of a venue beforehand, as plain data.
//! - [`sampling`]: what bytes seem to hold, proposed to a person who declares a source.
//!
//! Not here: the log itself (crate `log`), tables of the lake (crate `lake`), the protocol of Kafka
//! (crate `kafka`).

pub mod codecs;
pub mod feed;
mod group;
pub mod presets;
pub mod sampling;
pub mod sinks;
pub mod sources;
pub mod stores;
pub mod tasks;
