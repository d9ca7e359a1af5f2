//! The place of an error that DataFusion gives without one: the smallest expression that fails alike.
//!
//! Types are found wrong in a plan, which no longer knows where its expressions stood. So each
//! expression is planned by itself, inner ones first, over the relations of the SELECT it stands in,
//! until one fails with the same words. One that names columns of a query around its own fails with
//! others, and is passed over for the expression that holds the whole subquery.

use std::ops::{ControlFlow, Range};

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, SelectItem, SetExpr, Spanned as _, Statement, Visit as _, Visitor,
    With,
};

use super::problems::Text;
use super::rewrite::datafusion_span;

/// Expressions tried at most.
const TRIES_MAX: usize = 500;

/// Where the smallest expression stands with which a query over the same relations fails alike.
pub(super) fn smallest(
    statement: &Statement,
    text: &Text<'_>,
    fails_alike: impl Fn(Statement) -> bool,
) -> Option<Range<usize>> {
    let mut expressions = Expressions::default();
    let _ = statement.visit(&mut expressions);
    let Expressions { queries, found, .. } = expressions;
    found.into_iter().take(TRIES_MAX).find_map(|(query, expression)| {
        let range = text.range(datafusion_span(expression.span()))?;
        let probe = only(&queries[query], queries[0].with.as_ref(), expression)?;
        fails_alike(probe).then_some(range)
    })
}

/// The query with nothing but `expression` in its SELECT, and able to read what `with` names.
fn only(query: &Query, with: Option<&With>, expression: Expr) -> Option<Statement> {
    let mut query = query.clone();
    query.order_by = None;
    query.limit_clause = None;
    query.with = query.with.or_else(|| with.cloned());
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.projection = vec![SelectItem::UnnamedExpr(expression)];
    select.distinct = None;
    select.selection = None;
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.having = None;
    select.qualify = None;
    Some(Statement::Query(Box::new(query)))
}

/// Every expression, inner ones before those around them, each with the query it stands in.
#[derive(Default)]
struct Expressions {
    queries: Vec<Query>,
    // Numbers of the queries that the visit is in.
    open: Vec<usize>,
    found: Vec<(usize, Expr)>,
}

impl Visitor for Expressions {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.open.push(self.queries.len());
        self.queries.push(query.clone());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.open.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Some(query) = self.open.last() {
            self.found.push((*query, expression.clone()));
        }
        ControlFlow::Continue(())
    }
}
