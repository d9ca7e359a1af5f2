//! How the project runs on its machine, and where it listens.

use std::net::SocketAddr;
use std::time::Duration;

use crate::entry::{Bytes, Entry, from_text};
use crate::values;

/// How the project runs on its machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Runtime {
    /// Time between checkpoints. Default 1 s.
    pub checkpoint_every: Duration,
    /// Time between commits of Delta tables. Default 5 s.
    pub commit_every: Duration,
    /// Cap on state and batches in memory. Default 1 GB.
    pub memory_bytes: u64,
    /// How much the data folder may take. Default 80 % of the volume.
    pub disk: DiskBudget,
}

/// How much of a disk may be taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskBudget {
    /// This share of the volume that holds the data folder, in percent.
    Percent(f64),
    /// This many bytes.
    Bytes(u64),
}

impl DiskBudget {
    /// Parses `80%` or `50GB`.
    pub fn parse(text: &str) -> Option<Self> {
        let percent = values::parse_percent(text).filter(|percent| *percent > 0.0);
        percent.map(Self::Percent).or_else(|| values::parse_size(text).map(Self::Bytes))
    }
}

/// Where the project listens; port 0 picks a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Screen, REST API, metrics. Default 127.0.0.1:7070.
    pub http: SocketAddr,
    /// Kafka's protocol; accepted, and nothing listens yet. Default 127.0.0.1:9092.
    pub kafka: SocketAddr,
    /// Postgres wire; accepted, and nothing listens yet. Default 127.0.0.1:5433.
    pub postgres: SocketAddr,
    /// Whether tasks may run programs. Default false.
    pub shell: bool,
}

from_text! {
    DiskBudget: Self::parse;
}

pub(crate) fn lower(root: Entry<'_>) -> Runtime {
    let entry = root.child("runtime");
    Runtime {
        checkpoint_every: entry.child("checkpoint").value("every"),
        commit_every: entry.child("commit").value("every"),
        memory_bytes: entry.value::<Bytes>("memory").0,
        disk: entry.value("disk"),
    }
}

pub(crate) fn lower_server(root: Entry<'_>) -> Server {
    let entry = root.child("server");
    Server {
        http: entry.value("http"),
        kafka: entry.value("kafka"),
        postgres: entry.value("postgres"),
        shell: entry.value("shell"),
    }
}
