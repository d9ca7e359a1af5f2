//! Views: SQL that is served, and merged views.

use crate::entry::Entry;
use crate::spanned::Spanned;
use crate::sql_text::SqlText;

/// SQL that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name in SQL.
    pub name: Spanned<String>,
    /// What it shows.
    pub input: ViewInput,
}

/// What a view shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewInput {
    /// A query.
    Query(SqlText),
    /// Batch up to its committed boundary, live after it (S17). The table is a `batch_of` the
    /// stream.
    Merge {
        /// The table.
        batch: Spanned<String>,
        /// The stream.
        live: Spanned<String>,
        /// The column of both that is compared with the boundary.
        on: Spanned<String>,
    },
}

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<View> {
    let query = entry.query().map(ViewInput::Query);
    let merge = entry.child("merge");
    let (batch, live, on) = (merge.spanned("batch"), merge.spanned("live"), merge.spanned("on"));
    let input = match query {
        Some(query) => query,
        None => ViewInput::Merge { batch: batch?, live: live?, on: on? },
    };
    Some(View { name: name.clone(), input })
}
