//! Merged views: the batch table below its boundary, the live stream from it on (S17).
//!
//! A refresh notes with its commit which days it has done. The boundary is the end of the unbroken
//! run of such days from the first day held. A reader takes the live results first and the table's
//! version after them; live keeps what is not below the boundary, and the boundary only grows, so
//! there is no hole and no double count, whatever runs beside it.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use serde::{Deserialize, Serialize};
use thalweg_core::time::{Day, Timestamp};
use thalweg_core::{Error, Result};

use super::{TableReader, memory, wrong_sql};
use crate::results::Results;
use crate::sql::rewrite::Mode;
use crate::sql::{Named, Names, Planner};

/// A merged view.
#[derive(Clone)]
pub struct Merged {
    /// The batch side.
    pub batch: Arc<dyn TableReader>,
    /// The live side.
    pub live: Arc<Results>,
    /// The column of time both have.
    pub on: String,
}

impl Merged {
    pub(super) async fn plan(&self, planner: &Planner) -> Result<LogicalPlan> {
        let live = self.live.read()?;
        let batch = self.batch.pin().await?;
        let boundary = match &batch.note {
            Some(note) => RefreshNote::parse(note)?.boundary(),
            None => None,
        };
        // Before the first refresh everything is live.
        let boundary = boundary.map_or(i64::MIN, |boundary| boundary.0);
        let columns: Vec<String> = live
            .schema()
            .fields()
            .iter()
            .filter(|field| !field.name().starts_with('_'))
            .map(|field| format!("\"{}\"", field.name()))
            .collect();
        let columns = columns.join(", ");
        let on = &self.on;
        let sql = format!(
            "SELECT {columns}, 'batch' AS _layer FROM batch WHERE arrow_cast(\"{on}\", 'Int64') < {boundary} \
             UNION ALL \
             SELECT {columns}, 'live' AS _layer FROM live WHERE arrow_cast(\"{on}\", 'Int64') >= {boundary}"
        );
        let mut names = Names::default();
        names.insert("batch", Named::Table(batch.provider), Vec::new());
        names.insert("live", Named::Table(memory(vec![live])?), Vec::new());
        let planned = planner
            .plan(&sql, &names, Mode::Query)
            .map_err(|problems| wrong_sql(&sql, problems))?;
        Ok(planned.plan)
    }
}

/// Which days a table was refreshed for; stored with each refresh's commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshNote {
    /// First day the history held when there was no boundary yet, in days since 1970.
    pub first: i32,
    /// Days refreshed.
    pub days: BTreeSet<i32>,
}

impl RefreshNote {
    /// A history whose first day is `first`, nothing refreshed.
    pub fn new(first: Day) -> Self {
        Self { first: first.0, days: BTreeSet::new() }
    }

    /// The history begins with `day`. Until there is a boundary it may turn out to begin earlier than
    /// it did; behind one, what is earlier came late for live, too.
    pub fn begins(&mut self, day: Day) {
        if self.boundary().is_none() {
            self.first = self.first.min(day.0);
        }
    }

    /// Reads a note.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| Error::internal("a refresh note is broken").with_source(error))
    }

    /// The note as text.
    pub fn text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::internal("a refresh note is no JSON").with_source(error))
    }

    /// The end of the unbroken run of refreshed days from the first day held.
    pub fn boundary(&self) -> Option<Timestamp> {
        let run = (self.first..).take_while(|day| self.days.contains(day)).last()?;
        Some(Day(run).end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_the_end_of_the_unbroken_run() {
        let mut note = RefreshNote::new(Day(10));
        assert_eq!(note.boundary(), None);
        note.days.insert(11);
        assert_eq!(note.boundary(), None, "the first day is missing");
        note.days.insert(10);
        assert_eq!(note.boundary(), Some(Day(11).end()));
        note.days.insert(13);
        assert_eq!(note.boundary(), Some(Day(11).end()), "commits out of order leave a hole");
    }

    #[test]
    fn a_day_before_the_first_counts_until_there_is_a_boundary() {
        let mut note = RefreshNote::new(Day(12));
        note.begins(Day(11));
        note.days.insert(12);
        assert_eq!(note.boundary(), None, "day 11 is still live only");
        note.days.insert(11);
        note.begins(Day(10));
        assert_eq!(note.boundary(), Some(Day(12).end()), "day 10 came late");
    }
}
