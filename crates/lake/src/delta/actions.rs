//! The actions of a commit, as we write and read them: stamps, runs, notes, and what it did.

use std::collections::{BTreeMap, HashMap};

use deltalake_core::kernel::{
    Action, Add, CommitInfo, Metadata, MetadataExt as _, Protocol, StructType, Transaction,
    new_metadata,
};
use serde_json::{Value as Json, json};
use thalweg_core::sink::Stamp;
use thalweg_core::table::TableCommit;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::statistics;

const FEED: &str = "thalweg.feed.";
const NOTE: &str = "thalweg.note";
const APPEND_ONLY: &str = "delta.appendOnly";
const ENGINE: &str = concat!("thalweg/", env!("CARGO_PKG_VERSION"));

/// Features of a table that an honest writer may ignore or that we keep to.
const FEATURES: [&str; 4] = ["appendOnly", "invariants", "domainMetadata", "v2Checkpoint"];

/// What a commit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Append,
    Replace,
    Compact,
    Reset,
}

impl Operation {
    /// Its name and mode in the log, as Delta writers everywhere call it.
    fn logged(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Create => ("CREATE TABLE", None),
            Self::Append => ("WRITE", Some("Append")),
            Self::Replace => ("WRITE", Some("Overwrite")),
            Self::Compact => ("OPTIMIZE", None),
            Self::Reset => ("TRUNCATE", None),
        }
    }

    /// Its name to a person.
    fn name(logged: &str, mode: Option<&str>) -> String {
        match (logged, mode) {
            ("CREATE TABLE", _) => "create".to_owned(),
            ("WRITE", Some("Append")) => "append".to_owned(),
            ("WRITE", Some("Overwrite")) => "replace".to_owned(),
            ("OPTIMIZE", _) => "compact".to_owned(),
            ("TRUNCATE", _) => "reset".to_owned(),
            (other, _) => other.to_lowercase(),
        }
    }
}

/// The first action of a commit: when it was made and what it does.
pub(crate) fn commit_info(operation: Operation, at: Timestamp, note: Option<&str>) -> Action {
    let (name, mode) = operation.logged();
    let parameters = mode.map(|mode| HashMap::from([("mode".to_owned(), Json::from(mode))]));
    Action::CommitInfo(CommitInfo {
        timestamp: Some(at.millis()),
        operation: Some(name.to_owned()),
        operation_parameters: parameters,
        is_blind_append: (operation == Operation::Append).then_some(true),
        engine_info: Some(ENGINE.to_owned()),
        user_metadata: note.map(str::to_owned),
        ..CommitInfo::default()
    })
}

/// The commit that makes a table.
pub(crate) fn creation(
    name: &str,
    columns: &StructType,
    partition: Option<&str>,
    at: Timestamp,
) -> Result<Vec<Action>> {
    let protocol: Protocol =
        serde_json::from_value(json!({"minReaderVersion": 1, "minWriterVersion": 2}))
            .expect("it is the protocol's own example");
    let metadata = new_metadata(columns, partition, std::iter::empty::<(String, String)>())
        .and_then(|metadata| metadata.with_name(name.to_owned()))
        .map_err(malformed)?;
    Ok(vec![
        commit_info(Operation::Create, at, None),
        Action::Protocol(protocol),
        Action::Metadata(metadata),
    ])
}

/// The transaction id under which a pipeline's epochs are counted.
pub(crate) fn feed_id(incarnation: &str, pipeline: &str) -> String {
    format!("thalweg/{incarnation}/{pipeline}")
}

/// The transaction id under which the rows of a pipeline's commits are counted.
pub(crate) fn rows_id(incarnation: &str, pipeline: &str) -> String {
    format!("thalweg-rows/{incarnation}/{pipeline}")
}

/// The transaction id of a run that replaces days.
pub(crate) fn run_id(run: &str) -> String {
    format!("thalweg-run/{run}")
}

/// The action that stamps a commit.
pub(crate) fn stamp_action(stamp: &Stamp) -> Result<Action> {
    let version = i64::try_from(stamp.epoch)
        .map_err(|_| Error::internal(format!("epoch {} is beyond 2^63", stamp.epoch)))?;
    Ok(Action::Txn(Transaction::new(feed_id(&stamp.incarnation, &stamp.pipeline), version)))
}

/// The action that says how many rows all commits of the stamp's pipeline have appended. Its version
/// is that number: unlike a commit's own information it outlives the cleaning of the log.
pub(crate) fn rows_action(stamp: &Stamp, rows: u64) -> Result<Action> {
    let version = i64::try_from(rows)
        .map_err(|_| Error::internal(format!("{rows} rows are more than 2^63")))?;
    Ok(Action::Txn(Transaction::new(rows_id(&stamp.incarnation, &stamp.pipeline), version)))
}

/// The action that says a run has been made.
pub(crate) fn run_action(run: &str) -> Action {
    Action::Txn(Transaction::new(run_id(run), 1))
}

/// The epoch, or the number of rows, that a transaction's version stands for.
pub(crate) fn unsigned(version: i64) -> u64 {
    u64::try_from(version).unwrap_or(0)
}

/// The pipelines that feed a table, each with the incarnation whose stamp counts.
pub(crate) fn feeds(metadata: &Metadata) -> BTreeMap<String, String> {
    let feed = |(key, incarnation): (&String, &String)| {
        Some((key.strip_prefix(FEED)?.to_owned(), incarnation.clone()))
    };
    metadata.configuration().iter().filter_map(feed).collect()
}

/// The metadata in which `stamp`'s incarnation counts for its pipeline.
pub(crate) fn with_feed(metadata: &Metadata, stamp: &Stamp) -> Result<Metadata> {
    let key = format!("{FEED}{}", stamp.pipeline);
    metadata.clone().add_config_key(key, stamp.incarnation.clone()).map_err(malformed)
}

/// The metadata in which no pipeline has fed the table.
pub(crate) fn without_feeds(metadata: &Metadata) -> Result<Metadata> {
    feeds(metadata).into_keys().try_fold(metadata.clone(), |metadata, pipeline| {
        metadata.remove_config_key(&format!("{FEED}{pipeline}")).map_err(malformed)
    })
}

/// The note of the last replacement that had one.
pub(crate) fn note(metadata: &Metadata) -> Option<&str> {
    metadata.configuration().get(NOTE).map(String::as_str)
}

/// The metadata with another note.
pub(crate) fn with_note(metadata: &Metadata, note: &str) -> Result<Metadata> {
    metadata.clone().add_config_key(NOTE.to_owned(), note.to_owned()).map_err(malformed)
}

/// Whether rows of the table may not be removed.
pub(crate) fn is_append_only(metadata: &Metadata) -> bool {
    metadata.configuration().get(APPEND_ONLY).is_some_and(|value| value == "true")
}

/// What a table asks of its writers that we do not do.
pub(crate) fn unsupported(protocol: &Protocol, columns: &StructType) -> Vec<String> {
    let protocol = serde_json::to_value(protocol).unwrap_or_default();
    let mut unsupported: Vec<String> = match protocol["minWriterVersion"].as_i64() {
        Some(..=2) => Vec::new(),
        Some(7) => protocol["writerFeatures"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .filter(|feature| !FEATURES.contains(feature))
            .map(str::to_owned)
            .collect(),
        version => vec![format!("writer version {}", version.unwrap_or_default())],
    };
    let checked = columns.fields().find(|field| field.metadata().contains_key("delta.invariants"));
    unsupported.extend(checked.map(|field| format!("the invariant of column {}", field.name())));
    unsupported
}

/// The rows that a commit's added files hold, as their statistics say.
pub(crate) fn rows_added(actions: &[Action]) -> Option<u64> {
    let added = actions.iter().filter_map(|action| match action {
        Action::Add(add) => Some(statistics::rows(add.stats.as_deref())),
        _ => None,
    });
    added.sum()
}

/// A commit as the history shows it.
pub(crate) fn table_commit(version: i64, actions: &[Action]) -> TableCommit {
    let info = actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => Some(info),
        _ => None,
    });
    let mode = info
        .and_then(|info| info.operation_parameters.as_ref()?.get("mode")?.as_str())
        .map(|mode| mode.trim_matches('"'));
    let operation = info.and_then(|info| info.operation.as_deref()).unwrap_or("unknown");
    let adds = actions.iter().any(|action| matches!(action, Action::Add(Add { .. })));
    TableCommit {
        version,
        at: Timestamp::from_millis(info.and_then(|info| info.timestamp).unwrap_or(0)),
        operation: Operation::name(operation, mode),
        rows: if adds { rows_added(actions) } else { None },
    }
}

fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid("the table's metadata is malformed").with_source(error)
}
