//! Commit records: what each commit did, put one after the other, and the way on from there.
//!
//! A record is JSON with a magic and a version. The newest [`RECORDS_KEPT`] stay.

use serde::{Deserialize, Serialize};
use thalweg_core::sink::{Epoch, Stamp};
use thalweg_core::{Error, Result};

use crate::place::Place;

/// What is ours in a table's folder.
pub(crate) const OURS: &str = "_thalweg";
/// Files on their way.
pub(crate) const STAGED: &str = "_thalweg/staged";
/// Commit records.
pub(crate) const COMMITS: &str = "_thalweg/commits";
const MAGIC: &str = "thalweg files";
const VERSION: u32 = 1;
/// Records that stay for `system.table_history`.
pub(crate) const RECORDS_KEPT: u64 = 100;

/// What one commit did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Always [`MAGIC`].
    pub(crate) format: String,
    /// Always [`VERSION`].
    pub(crate) version: u32,
    /// When it was made, in microseconds since 1970.
    pub(crate) at: i64,
    /// `append`, `replace` or `adopt`.
    pub(crate) operation: String,
    /// Who fed the table last, and up to where.
    pub(crate) stamp: Option<RecordStamp>,
    /// Rows written by this commit.
    pub(crate) rows: u64,
    /// Rows that all commits of the pipeline have written, where they were counted.
    pub(crate) rows_total: Option<u64>,
    /// The note of the last replacement.
    pub(crate) note: Option<String>,
    /// The last replacements, the newest first.
    pub(crate) runs: Vec<String>,
    /// Columns of the table, each as `name type`.
    pub(crate) columns: Vec<String>,
    /// Files that come.
    pub(crate) add: Vec<Added>,
    /// Files that go, by their places.
    pub(crate) remove: Vec<String>,
}

/// A stamp as a record holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordStamp {
    pub(crate) incarnation: String,
    pub(crate) pipeline: String,
    pub(crate) epoch: Epoch,
}

/// A file that comes into the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Added {
    /// Where it was written, below the table's folder.
    pub(crate) staged: String,
    /// Where it belongs, below the table's folder.
    pub(crate) path: String,
    /// Its rows.
    pub(crate) rows: u64,
    /// Its size.
    pub(crate) bytes: u64,
}

impl Record {
    /// An empty record of now.
    pub(crate) fn new(at: i64, operation: &str, columns: Vec<String>) -> Self {
        Self {
            format: MAGIC.to_owned(),
            version: VERSION,
            at,
            operation: operation.to_owned(),
            stamp: None,
            rows: 0,
            rows_total: None,
            note: None,
            runs: Vec::new(),
            columns,
            add: Vec::new(),
            remove: Vec::new(),
        }
    }

    /// The stamp it holds.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        let RecordStamp { incarnation, pipeline, epoch } = self.stamp.clone()?;
        Some(Stamp { incarnation, pipeline, epoch })
    }
}

impl From<Stamp> for RecordStamp {
    fn from(stamp: Stamp) -> Self {
        let Stamp { incarnation, pipeline, epoch } = stamp;
        Self { incarnation, pipeline, epoch }
    }
}

/// Number of the newest record; 0 before the first.
pub(crate) async fn newest(place: &Place) -> Result<u64> {
    let records = place.list(COMMITS).await?;
    let numbers = records.iter().filter_map(|object| number(object.location.filename()?));
    Ok(numbers.max().unwrap_or(0))
}

/// A record; none when it is not there.
///
/// # Errors
///
/// `Invalid` when what is there is no record that this version knows.
pub(crate) async fn read(place: &Place, number: u64) -> Result<Option<Record>> {
    let Some(bytes) = place.read(&path(number)).await? else { return Ok(None) };
    let strange = || Error::invalid(format!("{} of {place} is no commit record", path(number)));
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|error| strange().with_source(error))?;
    if record.format != MAGIC || record.version != VERSION {
        let found = format!("It says `{}`, version {}.", record.format, record.version);
        return Err(strange().with_detail(found).with_hint("A newer version may have written it."));
    }
    Ok(Some(record))
}

/// Puts a record; `false` when another one is there already (F2).
pub(crate) async fn put(place: &Place, number: u64, record: &Record) -> Result<bool> {
    let bytes = serde_json::to_vec(record)
        .map_err(|error| Error::internal("a commit record cannot be written").with_source(error))?;
    if place.put_new(&path(number), bytes).await? {
        return Ok(true);
    }
    // It may be ours: a store may have taken it, and its answer been lost.
    Ok(read(place, number).await?.as_ref() == Some(record))
}

/// Removes a record.
pub(crate) async fn remove(place: &Place, number: u64) -> Result<()> {
    place.delete(&path(number)).await
}

fn path(number: u64) -> String {
    format!("{COMMITS}/{number:020}.json")
}

fn number(file: &str) -> Option<u64> {
    file.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../../../tests/formats/files-commit-v1.json");

    #[test]
    fn a_record_of_the_first_version_is_read_and_written_alike() {
        let mut record = Record::new(1_703_258_644_000_000, "append", vec!["id Int64".to_owned()]);
        let stamp =
            RecordStamp { incarnation: "i1".to_owned(), pipeline: "trades".to_owned(), epoch: 7 };
        record.stamp = Some(stamp);
        record.rows = 3;
        record.rows_total = Some(12);
        record.note = Some("a note".to_owned());
        record.runs = vec!["nightly/2023-12-22/days".to_owned()];
        record.add = vec![Added {
            staged: "_thalweg/staged/0.staged".to_owned(),
            path: "part-i1-000000000005-000000000007-0.csv".to_owned(),
            rows: 3,
            bytes: 21,
        }];
        record.remove = vec!["part-i1-000000000001-000000000002-0.csv".to_owned()];
        let read: Record = serde_json::from_slice(GOLDEN.trim_ascii_end()).expect("a record");
        assert_eq!(read, record);
        let written = serde_json::to_vec(&record).expect("a record");
        assert_eq!(written, GOLDEN.trim_ascii_end());
    }
}
