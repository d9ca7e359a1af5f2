//! Replacing days: one commit gives the new files their places and removes those of the days (S18a,
//! S20).
//!
//! A table that is replaced is filled by nothing else, and each of its files holds rows of one day,
//! which its name says: `part-<run>-<day>-<day>-<n>`, days as `20231222`. So what goes is known by
//! names, and nothing is read or written anew.
//!
//! Between the two a reader from outside can see a day twice; our own see the commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use thalweg_core::sink::Epoch;
use thalweg_core::table::Replacement;
use thalweg_core::time::Day;
use thalweg_core::{Error, Result};

use super::log::Added;
use super::name::PartName;
use super::table::Shared;
use super::writer::{Staged, remove};
use crate::delta::{days, tells_day};

/// Replacements that a table remembers.
const RUNS_KEPT: usize = 100;
/// Age at which a staged file is nobody's any more.
const LEFTOVER_AGE: Duration = Duration::from_secs(86_400);

impl Shared {
    /// Replaces days; returns the number of the newest commit.
    pub(crate) async fn replace_days(self: &Arc<Self>, replacement: Replacement) -> Result<i64> {
        let Replacement { run, first, last, note, .. } = &replacement;
        let head = self.head(false).await?.1;
        if head.runs.contains(run) {
            return Ok(signed(head.number));
        }
        let staged = self.staged_by_day(&replacement).await?;

        let (guard, head) = self.head(false).await?;
        if head.runs.contains(run) {
            remove(&self.place, staged.iter().map(|(_, file)| file.path.as_str())).await;
            return Ok(signed(head.number));
        }
        let shown = self.shown_at(head.clone()).await?;
        let mut record = self.record("replace", &head);
        record.rows = staged.iter().map(|(_, file)| file.rows).sum();
        if let Some(note) = note {
            record.note = Some(note.clone());
        }
        record.runs.insert(0, run.clone());
        record.runs.truncate(RUNS_KEPT);
        let span = named(*first)..=named(*last);
        let ending = self.options.format.ending();
        let goes = |path: &&String| {
            let name = path.rsplit('/').next().unwrap_or_default();
            PartName::parse(name, ending).is_some_and(|name| span.contains(&name.last))
        };
        record.remove = shown.parts.iter().map(|part| &part.path).filter(goes).cloned().collect();
        record.add = self.placed_by_day(run, staged);
        let shared = self.clone();
        // In a task of its own: a refresh that is cancelled ends what it began.
        let committed =
            self.env.spawn(async move { shared.commit(guard, &head, record).await }).await;
        let committed = committed
            .map_err(|error| Error::internal("the commit was cut off").with_source(error))?;
        let head = committed?.ok_or_else(|| {
            Error::fenced(format!("another writer has been at table `{}`", self.name))
        })?;
        // Not younger ones: another replacement may be at work.
        if let Err(error) = self.remove_leftovers(LEFTOVER_AGE).await {
            tracing::debug!(table = self.name, error = error.chain(), "staged files were left");
        }
        Ok(signed(head.number))
    }

    /// Writes the new rows, each day into files of its own.
    async fn staged_by_day(&self, replacement: &Replacement) -> Result<Vec<(Day, Staged)>> {
        let mut of_days: BTreeMap<Day, Vec<RecordBatch>> = BTreeMap::new();
        for rows in &replacement.rows {
            self.split_by_day(replacement, rows, &mut of_days)?;
        }
        let mut staged = Vec::new();
        for (day, batches) in of_days {
            let mut writer = self.writer();
            let written = async {
                for rows in &batches {
                    writer.write(rows).await?;
                }
                writer.finish().await
            };
            match written.await {
                Ok(files) => staged.extend(files.into_iter().map(|file| (day, file))),
                Err(error) => {
                    writer.discard().await;
                    remove(&self.place, staged.iter().map(|(_, file)| file.path.as_str())).await;
                    return Err(error);
                }
            }
        }
        Ok(staged)
    }

    fn split_by_day(
        &self,
        replacement: &Replacement,
        rows: &RecordBatch,
        of_days: &mut BTreeMap<Day, Vec<RecordBatch>>,
    ) -> Result<()> {
        let Replacement { day_column, first, last, .. } = replacement;
        let column = rows.column_by_name(day_column);
        let column = column.filter(|column| tells_day(column.data_type())).ok_or_else(|| {
            Error::invalid(format!("table `{}` has no day in column `{day_column}`", self.name))
        })?;
        let of_rows: Vec<Option<Day>> = days(column).collect();
        for day in of_rows.iter().collect::<std::collections::BTreeSet<_>>() {
            let Some(day) = day.filter(|day| (*first..=*last).contains(day)) else {
                let stray = day.map_or_else(|| "no day".to_owned(), |day| day.to_string());
                return Err(Error::invalid(format!(
                    "rows of {stray} cannot replace {first} to {last} of table `{}`",
                    self.name
                )));
            };
            let is_of_day: BooleanArray =
                of_rows.iter().map(|of_row| Some(*of_row == Some(day))).collect();
            let part = filter_record_batch(rows, &is_of_day)
                .map_err(|error| Error::internal("cannot filter rows").with_source(error))?;
            of_days.entry(day).or_default().push(part);
        }
        Ok(())
    }

    fn placed_by_day(&self, run: &str, staged: Vec<(Day, Staged)>) -> Vec<Added> {
        let ending = self.options.format.ending();
        // A name of a file, whatever runs are called.
        let incarnation: String =
            run.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let place = |(number, (day, file)): (usize, (Day, Staged))| {
            let name = PartName {
                incarnation: incarnation.clone(),
                first: named(day),
                last: named(day),
                number,
            };
            let path = format!("{}{name}.{ending}", self.layout.folder(&file.values));
            Added { staged: file.path, path, rows: file.rows, bytes: file.bytes }
        };
        staged.into_iter().enumerate().map(place).collect()
    }
}

/// `20231222`; 0 for a day that has no such number.
fn named(day: Day) -> Epoch {
    day.to_string().replace('-', "").parse().unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
