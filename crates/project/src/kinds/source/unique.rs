//! `unique` and `unique_within`: what makes a row a repetition of another (S16).

use std::time::Duration;

use crate::entry::Entry;
use crate::spanned::Spanned;

/// How long ids are remembered where nothing is said.
const WITHIN: Duration = Duration::from_secs(3_600);

/// What makes a row a repetition of another (S16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// Columns that together are the id of a row; at least one.
    pub columns: Vec<String>,
    /// How long an id is remembered at least. Default 1 h.
    pub within: Duration,
}

/// What the file says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NamedUnique {
    pub(super) columns: Option<Vec<Spanned<String>>>,
    within: Option<Duration>,
}

impl NamedUnique {
    pub(super) fn read(entry: Entry<'_>) -> Self {
        let columns = entry.child("unique").written().map(|_| entry.list("unique"));
        Self { columns, within: entry.get("unique_within") }
    }

    /// Puts it in the place of what a preset brings; an empty list asks for the repeats.
    pub(super) fn apply(&self, brought: Option<Unique>) -> Option<Unique> {
        let mut unique = match &self.columns {
            Some(columns) => Unique {
                columns: columns.iter().map(|column| column.value.clone()).collect(),
                within: WITHIN,
            },
            None => brought?,
        };
        unique.within = self.within.unwrap_or(unique.within);
        (!unique.columns.is_empty()).then_some(unique)
    }
}
