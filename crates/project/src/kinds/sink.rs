//! Sinks: where rows go outside.

use std::time::Duration;

use crate::entry::{Entry, from_text};
use crate::names::wrong_topic;
use crate::secret::Secret;
use crate::spanned::Spanned;

/// One target outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Its name.
    pub name: Spanned<String>,
    /// The source or stream whose rows it takes.
    pub from: Spanned<String>,
    /// Where they go.
    pub target: Target,
    /// What a row does there; none for the default: append for what only grows, for what is revised
    /// upsert, and on the console changelog.
    pub mode: Option<Spanned<Mode>>,
    /// Columns that tell rows apart; empty for the default: the key of the source, or the GROUP BY
    /// columns of the stream.
    pub key: Vec<Spanned<String>>,
}

/// Where rows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A table of a PostgreSQL database.
    Postgres(DatabaseTable),
    /// A table of a MySQL or MariaDB database.
    Mysql(DatabaseTable),
    /// A topic of the log.
    Topic {
        /// Its name.
        name: Spanned<String>,
    },
    /// Lines on standard output.
    Console {
        /// Time between two prints. Default 1 s.
        every: Duration,
    },
    /// Requests over HTTP.
    Webhook(Webhook),
}

impl Target {
    /// The table of a database, if that is what it is.
    pub fn database(&self) -> Option<&DatabaseTable> {
        match self {
            Self::Postgres(table) | Self::Mysql(table) => Some(table),
            Self::Topic { .. } | Self::Console { .. } | Self::Webhook(_) => None,
        }
    }

    /// The key of the project file that names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Mysql(_) => "mysql",
            Self::Topic { .. } => "topic",
            Self::Console { .. } => "console",
            Self::Webhook(_) => "webhook",
        }
    }
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Their address.
    pub url: Spanned<Secret>,
    /// Their headers, by name.
    pub headers: Vec<(String, Secret)>,
    /// Most rows of one. Default 1.
    pub rows_max: usize,
}

/// A table of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseTable {
    /// The database.
    pub url: Spanned<Secret>,
    /// The table, possibly with its schema, which in MySQL is its database.
    pub table: Spanned<String>,
}

/// What a row does to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is added.
    Append,
    /// It replaces the row of its key.
    Upsert,
    /// It is added with `_op` and `_epoch`.
    Changelog,
}

from_text! {
    Mode: |text| match text {
        "append" => Some(Self::Append),
        "upsert" => Some(Self::Upsert),
        "changelog" => Some(Self::Changelog),
        _ => None,
    };
}

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Sink> {
    let table = |kind: &str| {
        entry.child(kind).written().map(|database| {
            let (url, table) = (database.spanned_secret("url"), database.spanned("table"));
            Some(DatabaseTable { url: url?, table: table? })
        })
    };
    let postgres = table("postgres").map(|table| table.map(Target::Postgres));
    let mysql = table("mysql").map(|table| table.map(Target::Mysql));
    let console = entry
        .child("console")
        .written()
        .map(|console| Some(Target::Console { every: console.value("every") }));
    let topic = entry.child("topic").written().map(|topic| {
        let name: Spanned<String> = topic.spanned("name")?;
        if let Some(problem) = wrong_topic(&name) {
            entry.report(problem);
            return None;
        }
        Some(Target::Topic { name })
    });
    let webhook = entry.child("webhook").written().map(|webhook| {
        let headers = webhook.child("headers").members().into_iter();
        let headers = headers
            .filter_map(|(name, header)| Some((name.value.clone(), header.read_secret()?)))
            .collect();
        let (url, rows_max) = (webhook.spanned_secret("url")?, webhook.value("rows"));
        Some(Target::Webhook(Webhook { url, headers, rows_max }))
    });
    let (mode, key) = (entry.spanned("mode"), entry.list("key"));
    Some(Sink {
        name: name.clone(),
        from: entry.spanned("from")?,
        target: postgres.or(mysql).or(topic).or(console).or(webhook)??,
        mode,
        key,
    })
}
