//! Problems: what is wrong with a project file or a statement, each with its place.
//!
//! All problems of a file are collected and reported at once. How they are drawn in a terminal is
//! the business of `project`; as JSON they have the shape of `check --format json`.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The project runs; the author should know.
    Warning,
    /// The project does not run.
    Error,
}

/// A stretch of bytes in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the project folder.
    pub file: Arc<PathBuf>,
    /// Byte offsets into the file.
    pub range: Range<usize>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable code, such as `T0302`; `thalweg explain` knows it.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One lower-case clause without a full stop.
    pub message: String,
    /// Short text drawn at the caret, such as "did you mean `price`?".
    pub label: Option<String>,
    /// What to do, in a sentence.
    pub hint: Option<String>,
    /// Where it is; none for problems of the environment.
    pub place: Option<Place>,
    /// Other places that explain it, each with a clause.
    pub related: Vec<(String, Place)>,
}

/// A problem inside one SQL text, before it is mapped to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlProblem {
    /// Stable code.
    pub code: &'static str,
    /// One lower-case clause.
    pub message: String,
    /// Short text for the caret.
    pub label: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Byte offsets into the SQL text, when known.
    pub range: Option<Range<usize>>,
}

/// The candidate nearest to `word` by edit distance, if one is near enough to be meant.
///
/// Near enough: at most a third of the word's length, rounded up, and at most three edits; a
/// swapped pair of neighbours counts as one.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3).min(3);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, candidate)| (*distance, candidate.len().abs_diff(word.len())))
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance, ignoring case.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best =
                (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_that_was_meant() {
        check("pirce", &["price", "volume"], Some("price"));
        check("evry", &["every", "url"], Some("every"));
        check("coinz", &["trades", "coins"], Some("coins"));
        check("zzz", &["price", "volume"], None);
        check("", &["price"], None);
    }

    #[track_caller]
    fn check(word: &str, candidates: &[&str], expected: Option<&str>) {
        assert_eq!(nearest(word, candidates.iter().copied()), expected);
    }
}
