//! Panels as streams: the GROUP BY of a panel runs for ever, and the panel reads its result (S17a).
//!
//! A panel's SQL is planned as it stands. Each GROUP BY in it over one source, or over row-wise
//! streams of one, is a [`Candidate`]: if a stream can run it, its rows are kept up to date in the
//! state of a hidden stream, and the panel's plan reads them instead. What a reader chooses (`$param`)
//! on a key of the GROUP BY is filtered above it, so that one stream serves every choice.
//! `date_bin` and `date_trunc` of the keys become windows, which close.
//!
//! [`compile`] finds the candidates before anything runs; the engine finds the same ones in the same
//! plan and puts their results in. Both go through [`rewrite`].

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, ScalarValue};
use datafusion::datasource::{DefaultTableSource, empty::EmptyTable};
use datafusion::logical_expr::expr::{Exists, InSubquery, ScalarFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Projection,
    Volatility, cast, lit,
};
use thalweg_core::problem::SqlProblem;
use thalweg_core::schema::timestamp_type;

use crate::program::{self, StreamQuery};
use crate::sql::functions::{self, window_of};
use crate::sql::problems::{Text, from_datafusion};
use crate::sql::rewrite::Mode;
use crate::sql::{Names, Planner};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

/// Windows shown of each key when no LIMIT says how many.
const WINDOWS_SHOWN: usize = 1_000;
/// Windows shown of each key at most.
const WINDOWS_SHOWN_MAX: usize = 100_000;

/// A GROUP BY that a stream may run.
pub struct Candidate {
    /// The GROUP BY, without what depends on the reader.
    pub plan: LogicalPlan,
    // What the reader chose, over the columns of the GROUP BY.
    chosen: Vec<Expr>,
    // The GROUP BY as it stood.
    aggregate: Aggregate,
}

impl Candidate {
    /// Equal for equal GROUP BYs, whichever panel they stand in.
    pub fn fingerprint(&self) -> String {
        self.plan.display_indent_schema().to_string()
    }

    /// The plan that reads `rows` in the place of the GROUP BY.
    fn read_from(self, rows: Arc<dyn TableProvider>) -> Result<LogicalPlan> {
        let scan =
            LogicalPlanBuilder::scan("panel", Arc::new(DefaultTableSource::new(rows)), None)?
                .build()?;
        let columns: Vec<Expr> = scan
            .schema()
            .iter()
            .zip(self.aggregate.schema.iter())
            .map(|(held, (qualifier, field))| {
                let mut column = Expr::Column(Column::from(held));
                if held.1.data_type() != field.data_type() {
                    column = cast(column, field.data_type().clone());
                }
                column.alias_qualified(qualifier.cloned(), field.name())
            })
            .collect();
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(scan))?);
        match conjunction(self.chosen) {
            Some(chosen) => Ok(LogicalPlan::Filter(Filter::try_new(chosen, Arc::new(plan))?)),
            None => Ok(plan),
        }
    }
}

/// What a panel's SQL becomes.
pub struct Compiled {
    /// The streams that its candidates are, with their fingerprints.
    pub streams: Vec<(String, StreamQuery)>,
    /// Windows of each key that the panel may show.
    pub windows_shown: usize,
    /// Sources that it still reads row by row.
    pub direct: Vec<String>,
    /// Why a stream cannot run a candidate, in words.
    pub refusals: Vec<String>,
}

/// Finds and compiles the candidates of a panel's SQL.
///
/// In `names`, views and row-wise streams are plans down to their `sources`; everything else is rows.
///
/// # Errors
///
/// What is wrong with the SQL, or what DataFusion says.
pub fn compile(
    planner: &Planner,
    sql: &str,
    names: &Names,
    sources: &BTreeSet<String>,
) -> Result<Compiled, Vec<SqlProblem>> {
    let text = Text::new(sql);
    let problems = |error| from_datafusion(error, &text, names);
    let plan = planner.plan(sql, names, Mode::Query)?.plan;
    let is_source = |name: &str| sources.contains(name);
    let windows_shown = rows_shown(&plan).map_err(problems)?.unwrap_or(WINDOWS_SHOWN);
    let (mut streams, mut refusals) = (Vec::new(), Vec::new());
    let plan = rewrite(plan, &is_source, &mut |candidate| {
        Ok(match program::prepare_panel(planner, candidate, names) {
            Ok(query) => {
                let rows = Arc::new(EmptyTable::new(Arc::clone(&query.schema)));
                streams.push((candidate.fingerprint(), query));
                Some(rows as Arc<dyn TableProvider>)
            }
            Err(reason) => {
                refusals.push(reason);
                None
            }
        })
    })
    .map_err(problems)?;
    let direct = sources_read(&plan, &is_source).map_err(problems)?;
    Ok(Compiled { streams, windows_shown: windows_shown.min(WINDOWS_SHOWN_MAX), direct, refusals })
}

/// The rows that a candidate stands for, if there are any.
pub type RowsOf<'a> = dyn FnMut(&Candidate) -> Result<Option<Arc<dyn TableProvider>>> + 'a;

/// Offers each candidate of `plan` to `take`, and reads those it gives rows for from there.
///
/// # Errors
///
/// What `take` fails with, and DataFusion's own.
pub fn rewrite(
    plan: LogicalPlan,
    is_source: &dyn Fn(&str) -> bool,
    take: &mut RowsOf<'_>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::Aggregate(aggregate) = &node else { return Ok(Transformed::no(node)) };
        let Some(candidate) = candidate(aggregate, is_source)? else {
            return Ok(Transformed::no(node));
        };
        match take(&candidate)? {
            Some(rows) => {
                let plan = candidate.read_from(rows)?;
                Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump))
            }
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok(rewritten.data)
}

/// The sources that `plan` reads row by row.
fn sources_read(plan: &LogicalPlan, is_source: &dyn Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.table_name.schema().is_none_or(|schema| schema == "public")
        {
            let name = scan.table_name.table();
            if is_source(name) && !found.iter().any(|known| known == name) {
                found.push(name.to_owned());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The largest constant LIMIT of a plan.
fn rows_shown(plan: &LogicalPlan) -> Result<Option<usize>> {
    let mut most = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node
            && let Some(Expr::Literal(ScalarValue::Int64(Some(fetch)), _)) = limit.fetch.as_deref()
        {
            most = most.max(usize::try_from(*fetch).ok());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(most)
}

fn candidate(aggregate: &Aggregate, is_source: &dyn Fn(&str) -> bool) -> Result<Option<Candidate>> {
    let mut input = Arc::clone(&aggregate.input);
    let (mut kept, mut chosen) = (Vec::new(), Vec::new());
    while let LogicalPlan::Filter(filter) = input.as_ref() {
        for part in split_conjunction(&filter.predicate) {
            if !has_parameter(part)? {
                kept.push(part.clone());
            } else if is_of_keys(part, &aggregate.group_expr) {
                chosen.push(part.clone());
            } else {
                return Ok(None);
            }
        }
        let below = Arc::clone(&filter.input);
        input = below;
    }
    let own = kept.iter().chain(&aggregate.group_expr).chain(&aggregate.aggr_expr);
    for expression in own {
        if depends_on_reader(expression)? {
            return Ok(None);
        }
    }
    if !is_row_wise(&input, is_source)? {
        return Ok(None);
    }
    let mut plan = input.as_ref().clone();
    if let Some(kept) = conjunction(kept) {
        plan = LogicalPlan::Filter(Filter::try_new(kept, Arc::new(plan))?);
    }
    let Some((plan, keys)) = with_windows(plan, &aggregate.group_expr)? else { return Ok(None) };
    let answers = aggregate.aggr_expr.clone();
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(plan), keys, answers)?);
    Ok(Some(Candidate { plan, chosen, aggregate: aggregate.clone() }))
}

/// Makes windows of the buckets of time among the keys. None when a time among them never closes.
fn with_windows(plan: LogicalPlan, keys: &[Expr]) -> Result<Option<(LogicalPlan, Vec<Expr>)>> {
    let schema = Arc::clone(plan.schema());
    let mut columns: Vec<Expr> =
        schema.iter().map(|field| Expr::Column(Column::from(field))).collect();
    let held = columns.len();
    let mut made = Vec::with_capacity(keys.len());
    for key in keys {
        if let Some((time, size)) = bucket_of(key, &schema) {
            let name = format!("__bucket_{}", made.len());
            let start = functions::window_start();
            let start = ScalarFunction::new_udf(start, vec![time, lit(size)]);
            columns.push(Expr::ScalarFunction(start).alias(&name));
            made.push(Expr::Column(Column::new_unqualified(name)));
            continue;
        }
        let is_window = match key {
            Expr::Column(column) => {
                let at = schema.maybe_index_of_column(column);
                at.is_some_and(|at| window_of(schema.field(at)).is_some())
            }
            _ => false,
        };
        if !is_window && matches!(key.get_type(&schema)?, DataType::Timestamp(..)) {
            return Ok(None);
        }
        made.push(key.clone());
    }
    if columns.len() == held {
        return Ok(Some((plan, made)));
    }
    let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
    Ok(Some((plan, made)))
}

/// The time and size in microseconds of `date_bin(size, time)` or `date_trunc(unit, time)`.
fn bucket_of(expression: &Expr, schema: &DFSchema) -> Option<(Expr, i64)> {
    let Expr::ScalarFunction(function) = expression else { return None };
    let [Expr::Literal(size, _), time] = function.args.as_slice() else { return None };
    let day = thalweg_core::time::MICROS_PER_DAY;
    let second = thalweg_core::time::MICROS_PER_SECOND;
    let micros = match (function.name(), size) {
        ("date_bin", ScalarValue::IntervalMonthDayNano(Some(size))) if size.months == 0 => {
            i64::from(size.days).checked_mul(day)?.checked_add(size.nanoseconds / 1_000)?
        }
        ("date_bin", ScalarValue::IntervalDayTime(Some(size))) => {
            let millis = i64::from(size.milliseconds).checked_mul(1_000)?;
            i64::from(size.days).checked_mul(day)?.checked_add(millis)?
        }
        ("date_trunc", ScalarValue::Utf8(Some(unit))) => match unit.to_lowercase().as_str() {
            "second" => second,
            "minute" => 60 * second,
            "hour" => 3_600 * second,
            "day" => day,
            _ => return None,
        },
        _ => return None,
    };
    let time = instants(time, schema)?;
    (micros > 0).then(|| (time.clone(), micros))
}

/// The instants behind a change of their precision alone.
fn instants<'a>(time: &'a Expr, schema: &DFSchema) -> Option<&'a Expr> {
    let inner = match time {
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(..)) => {
            cast.expr.as_ref()
        }
        other => other,
    };
    (inner.get_type(schema).ok()? == timestamp_type()).then_some(inner)
}

/// Whether a plan is one source, row by row, whoever reads it. What it asks other relations must be
/// lookups, which is for the stream to say.
fn is_row_wise(plan: &LogicalPlan, is_source: &dyn Fn(&str) -> bool) -> Result<bool> {
    for expression in plan.expressions() {
        if depends_on_reader(&expression)? {
            return Ok(false);
        }
    }
    match plan {
        LogicalPlan::TableScan(scan) => {
            let is_public = scan.table_name.schema().is_none_or(|schema| schema == "public");
            Ok(is_public && is_source(scan.table_name.table()))
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_) => match plan.inputs().as_slice() {
            [input] => is_row_wise(input, is_source),
            _ => Ok(false),
        },
        LogicalPlan::Join(join) => {
            Ok(is_row_wise(&join.left, is_source)?
                && sources_read(&join.right, is_source)?.is_empty())
        }
        _ => Ok(false),
    }
}

/// Whether a condition looks at keys of a GROUP BY alone.
fn is_of_keys(condition: &Expr, keys: &[Expr]) -> bool {
    let is_key =
        |column: &Column| keys.iter().any(|key| matches!(key, Expr::Column(key) if key == column));
    condition.column_refs().into_iter().all(is_key)
}

fn has_parameter(expression: &Expr) -> Result<bool> {
    expression.exists(|expression| Ok(matches!(expression, Expr::Placeholder(_))))
}

/// Whether an expression means something else for another reader, or at another time.
fn depends_on_reader(expression: &Expr) -> Result<bool> {
    expression.exists(|expression| {
        Ok(match expression {
            Expr::Placeholder(_) => true,
            Expr::ScalarSubquery(subquery)
            | Expr::InSubquery(InSubquery { subquery, .. })
            | Expr::Exists(Exists { subquery, .. }) => {
                let mut depends = false;
                subquery.subquery.apply_with_subqueries(|node| {
                    for expression in node.expressions() {
                        depends |= depends_on_reader(&expression)?;
                    }
                    Ok(if depends { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
                })?;
                depends
            }
            Expr::ScalarFunction(function) => {
                function.func.signature().volatility != Volatility::Immutable
            }
            _ => false,
        })
    })
}
