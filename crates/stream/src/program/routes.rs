//! Routes: the query that sends rows apart, and the one that an arm is.
//!
//! Both are SQL, planned as everything else is: the number of the arm is a CASE over the conditions,
//! so the first that is true wins, NULL is not true, and what stands behind is not looked at.

use std::fmt::Write as _;

use thalweg_core::problem::SqlProblem;

use super::{Shape, StreamQuery, prepare};
use crate::operators::route::ARM;
use crate::sql::problems::refused;
use crate::sql::rewrite::{Mode, quoted};
use crate::sql::{Names, Planner};

/// The conditions of a route, in the order of its arms; none for all rows that are left.
pub type Conditions<'a> = &'a [Option<&'a str>];

/// The SQL of an arm: the rows of `from` that it takes.
pub fn arm_sql(from: &str, conditions: Conditions<'_>, arm: usize) -> String {
    format!("SELECT * FROM {} WHERE {} = {arm}", quoted(from), number(conditions))
}

/// The query of a route: the rows of `from` that an arm takes, with its number as [`ARM`].
///
/// # Errors
///
/// As [`prepare`]; and when `from` does not give each row at once. The conditions were checked by
/// [`check_condition`], so no problem has a place.
pub fn prepare_route(
    planner: &Planner,
    from: &str,
    conditions: Conditions<'_>,
    names: &Names,
) -> Result<StreamQuery, Vec<SqlProblem>> {
    let sql = format!("SELECT *, {} AS {} FROM {}", number(conditions), quoted(ARM), quoted(from));
    let mut query = prepare(planner, &sql, names, false).map_err(without_places)?;
    if query.shape != Shape::RowWise {
        return Err(vec![refused(
            format!("a route takes rows that are given at once; `{from}` gives results of groups"),
            None,
        )]);
    }
    query.arms = conditions.len();
    Ok(query)
}

/// Types the condition of an arm.
///
/// # Errors
///
/// Every problem found, with its place in `condition`.
pub fn check_condition(
    planner: &Planner,
    from: &str,
    condition: &str,
    names: &Names,
) -> Result<(), Vec<SqlProblem>> {
    const BEFORE: &str = "SELECT 1 FROM ";
    let before = format!("{BEFORE}{} WHERE (", quoted(from));
    // A line of its own: the condition may end in a comment.
    let sql = format!("{before}{condition}\n)");
    let problems = match planner.plan(&sql, names, Mode::Stream) {
        Ok(_) => return Ok(()),
        Err(problems) => problems,
    };
    let moved = problems.into_iter().map(|mut problem| {
        problem.range = problem.range.map(|range| {
            let at = |byte: usize| byte.saturating_sub(before.len()).min(condition.len());
            at(range.start)..at(range.end)
        });
        problem
    });
    Err(moved.collect())
}

/// The number of the first arm whose condition is true, else NULL.
fn number(conditions: Conditions<'_>) -> String {
    let mut sql = "CASE".to_owned();
    for (arm, condition) in conditions.iter().enumerate() {
        // Writing to a text cannot fail.
        let _ = match condition {
            Some(condition) => write!(sql, " WHEN ({condition}\n) THEN {arm}"),
            None => write!(sql, " WHEN true THEN {arm}"),
        };
    }
    sql.push_str(" END");
    sql
}

fn without_places(problems: Vec<SqlProblem>) -> Vec<SqlProblem> {
    problems.into_iter().map(|problem| SqlProblem { range: None, ..problem }).collect()
}
