//! Compaction: many small files of a day become few of the table's file size, rows and their order
//! unchanged.
//!
//! The library's own is not used: it rebases over whatever came in between, so that a replacement
//! that removed the same files, or a second compaction, would leave rows twice (D1).

use std::collections::BTreeMap;

use deltalake_core::datafile::DataFileReader as _;
use deltalake_core::datafile::reader::ParquetFileReader;
use deltalake_core::kernel::{Remove, Version};
use deltalake_core::table::state::DeltaTableState;
use futures::TryStreamExt as _;
use object_store::path::Path;
use thalweg_core::{Error, Result};

use super::actions::Operation;
use super::rewrite::Rewrite;
use super::statistics;
use super::table::Shared;
use super::writer::{Writer, remove};
use crate::error::fold;

/// A file that is merged, if it finds others.
#[derive(Clone, Debug)]
pub(crate) struct Small {
    remove: Remove,
    bytes: u64,
    rows: Option<u64>,
    written_at: i64,
}

impl Shared {
    /// Merges small files, each group in a commit of its own. A group that another writer touches
    /// meanwhile is left for the next time.
    pub(crate) async fn compact(&self) -> Result<(usize, usize)> {
        let (mut merged, mut made) = (0, 0);
        let (version, groups) = self.small_groups().await?;
        for group in groups {
            let rewrite = self.merge(version, &group).await?;
            if self.carry_out(&rewrite).await? {
                merged += rewrite.removes.len();
                made += rewrite.adds.len();
            }
        }
        Ok((merged, made))
    }

    /// The groups of files to be merged, and the version they were found in.
    pub(crate) async fn small_groups(&self) -> Result<(Version, Vec<Vec<Small>>)> {
        let version = {
            let mut head = self.head.lock().await;
            self.catch_up(&mut head).await?;
            head.version
        };
        let state = self.snapshots.at(version).await?;
        Ok((version, groups(small_files(&state), self.options.file_bytes)))
    }

    /// Commits a merge; `false` when somebody else was at its files, and it was dropped.
    pub(crate) async fn carry_out(&self, rewrite: &Rewrite) -> Result<bool> {
        let mut head = self.head.lock().await;
        let committed = self.commit_rewrite(&mut head, rewrite, None, |_| Ok(Vec::new())).await?;
        drop(head);
        if committed.is_none() {
            remove(&self.objects(), &rewrite.adds).await;
        }
        Ok(committed.is_some())
    }

    /// Writes the rows of a group into new files, ready to be committed.
    pub(crate) async fn merge(&self, read_version: Version, group: &[Small]) -> Result<Rewrite> {
        let mut writer = self.writer();
        if let Err(error) = self.copy(group, &mut writer).await {
            writer.discard().await;
            return Err(error);
        }
        let mut adds = writer.finish().await?;
        let after: Option<u64> =
            adds.iter().map(|add| statistics::rows(add.stats.as_deref())).sum();
        let before: Option<u64> = group.iter().map(|file| file.rows).sum();
        if before.is_some_and(|before| after != Some(before)) {
            remove(&self.objects(), &adds).await;
            return Err(Error::internal(format!(
                "merging files of table `{}` changed their rows from {before:?} to {after:?}",
                self.name
            )));
        }
        adds.iter_mut().for_each(|add| add.data_change = false);
        Ok(Rewrite {
            read_version,
            operation: Operation::Compact,
            removes: group.iter().map(|file| file.remove.clone()).collect(),
            adds,
            span: None,
        })
    }

    async fn copy(&self, group: &[Small], writer: &mut Writer) -> Result<()> {
        let reader = ParquetFileReader::new(self.objects());
        for Small { remove, .. } in group {
            let cannot_read = || format!("cannot read {} of {}", remove.path, self.log.place());
            let rows = reader.read_file(Path::from(remove.path.as_str())).await;
            let mut rows = rows.map_err(|error| fold(cannot_read(), error))?;
            while let Some(batch) =
                rows.try_next().await.map_err(|error| fold(cannot_read(), error))?
            {
                writer.write(&batch).await?;
            }
        }
        Ok(())
    }
}

fn small_files(state: &DeltaTableState) -> Vec<Small> {
    let files = state.log_data();
    let small = files.iter().map(|file| Small {
        remove: file.remove_action(false),
        bytes: u64::try_from(file.size()).unwrap_or(0),
        rows: statistics::rows(file.stats().as_deref()),
        written_at: file.modification_time(),
    });
    small.collect()
}

/// Groups of files of one day that make about one file together, each in the order written; files
/// of three quarters of a file's size or more stay as they are.
fn groups(files: Vec<Small>, file_bytes: u64) -> Vec<Vec<Small>> {
    let mut days: BTreeMap<Vec<(String, Option<String>)>, Vec<Small>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| file.bytes < file_bytes / 4 * 3) {
        let values = file.remove.partition_values.clone().unwrap_or_default();
        let mut day: Vec<_> = values.into_iter().collect();
        day.sort();
        days.entry(day).or_default().push(file);
    }
    let mut groups = Vec::new();
    for mut files in days.into_values() {
        files.sort_by(|a, b| (a.written_at, &a.remove.path).cmp(&(b.written_at, &b.remove.path)));
        let (mut group, mut bytes) = (Vec::new(), 0);
        for file in files {
            if bytes + file.bytes > file_bytes {
                groups.push(std::mem::take(&mut group));
                bytes = 0;
            }
            bytes += file.bytes;
            group.push(file);
        }
        groups.push(group);
    }
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_of_a_day_are_grouped_in_the_order_written() {
        check(&[], &[]);
        check(&[("d1", 30, 1)], &[]);
        check(&[("d1", 30, 2), ("d1", 30, 1)], &[&[1, 0]]);
        check(&[("d1", 30, 1), ("d2", 30, 2)], &[]);
        check(&[("d1", 75, 1), ("d1", 30, 2), ("d1", 30, 3)], &[&[1, 2]]);
        check(&[("d1", 60, 1), ("d1", 30, 2), ("d1", 30, 3), ("d1", 20, 4)], &[&[0, 1], &[2, 3]]);
    }

    /// Files by day, bytes and time written; groups by their indices. A file is of 100 bytes.
    #[track_caller]
    fn check(files: &[(&str, u64, i64)], expected: &[&[usize]]) {
        let small = |(index, (day, bytes, written_at)): (usize, &(&str, u64, i64))| Small {
            remove: Remove {
                path: index.to_string(),
                partition_values: Some([("day".to_owned(), Some((*day).to_owned()))].into()),
                ..Remove::default()
            },
            bytes: *bytes,
            rows: None,
            written_at: *written_at,
        };
        let found: Vec<Vec<usize>> = groups(files.iter().enumerate().map(small).collect(), 100)
            .into_iter()
            .map(|group| group.iter().map(|file| file.remove.path.parse().unwrap()).collect())
            .collect();
        assert_eq!(found, expected, "{files:?}");
    }
}
