//! The place of an error that DataFusion gives without one: the smallest expression that fails alike.
//!
//! Types are found wrong in a plan, which no longer knows where its expressions stood. So each
//! expression of the query is planned by itself, inner ones first, until one fails with the same
//! words. Expressions of subqueries are not looked into: their names mean something else outside.

use std::ops::{ControlFlow, Range};

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, SelectItem, SetExpr, Spanned as _, Statement, Visit as _, Visitor,
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
    let Statement::Query(query) = statement else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let mut expressions = Expressions::default();
    let _ = select.visit(&mut expressions);
    expressions.found.into_iter().take(TRIES_MAX).find_map(|expression| {
        let range = text.range(datafusion_span(expression.span()))?;
        fails_alike(only(query, expression)).then_some(range)
    })
}

/// The query with nothing but `expression` in its SELECT.
fn only(query: &Query, expression: Expr) -> Statement {
    let mut query = query.clone();
    query.order_by = None;
    query.limit_clause = None;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![SelectItem::UnnamedExpr(expression)];
        select.distinct = None;
        select.selection = None;
        select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
        select.having = None;
        select.qualify = None;
    }
    Statement::Query(Box::new(query))
}

/// Every expression outside subqueries, inner ones before those around them.
#[derive(Default)]
struct Expressions {
    found: Vec<Expr>,
    depth: usize,
}

impl Visitor for Expressions {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if self.depth == 0 {
            self.found.push(expression.clone());
        }
        ControlFlow::Continue(())
    }
}
