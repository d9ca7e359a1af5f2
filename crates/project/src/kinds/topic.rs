//! Topics: how what is published is kept.

use std::time::Duration;

use crate::entry::{Bytes, Entry};
use crate::spanned::Spanned;

/// How a topic is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Spanned<String>,
    /// Number of partitions. Default 1.
    pub partitions: u32,
    /// Columns that make a record's key; empty for the default: the key of the source, or the GROUP
    /// BY columns of the stream.
    pub key: Vec<Spanned<String>>,
    /// How long records are kept. Default 7 days.
    pub retention_age: Duration,
    /// How much is kept in each partition. Default 10 GB.
    pub retention_bytes: u64,
}

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Topic> {
    let retention = entry.child("retention");
    // `json`, the only format that is built, is what every topic has.
    let _: Option<String> = entry.get("format");
    Some(Topic {
        name: name.clone(),
        partitions: entry.value("partitions"),
        key: entry.list("key"),
        retention_age: retention.value("age"),
        retention_bytes: retention.value::<Bytes>("size").0,
    })
}
