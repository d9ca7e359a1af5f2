//! `OVER (w ROWS …)`: a window that goes on from a named one.
//!
//! DataFusion plans it as if the name were not there, over all rows in any order. So what it inherits
//! is written out: the PARTITION BY of the named window, and its ORDER BY unless it has one itself, as
//! PostgreSQL does it (<https://www.postgresql.org/docs/current/sql-select.html#SQL-WINDOW>).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, SetExpr, VisitMut,
    VisitorMut, WindowSpec, WindowType,
};
use thalweg_core::problem::SqlProblem;

use super::problems::Text;
use super::rewrite::datafusion_span;

/// Writes out what the windows in the ORDER BY of a query inherit from those of its SELECT; returns
/// what cannot be.
pub(super) fn inherit_order(query: &mut Query, text: &Text<'_>) -> Vec<SqlProblem> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Vec::new() };
    let mut inherit = Inherit { text, named: Vec::new(), depth: 0, problems: Vec::new() };
    inherit.define(&mut select.named_window.clone());
    // What is wrong with the definitions is told with the SELECT.
    inherit.problems.clear();
    let _ = VisitMut::visit(&mut query.order_by, &mut inherit);
    inherit.problems
}

/// Writes out what the windows of a SELECT inherit; returns what cannot be.
pub(super) fn inherit(select: &mut Select, text: &Text<'_>) -> Vec<SqlProblem> {
    let mut inherit = Inherit { text, named: Vec::new(), depth: 0, problems: Vec::new() };
    inherit.define(&mut select.named_window);
    let _ = VisitMut::visit(&mut select.projection, &mut inherit);
    let _ = VisitMut::visit(&mut select.having, &mut inherit);
    let _ = VisitMut::visit(&mut select.qualify, &mut inherit);
    inherit.problems
}

struct Inherit<'a> {
    text: &'a Text<'a>,
    named: Vec<(Ident, WindowSpec)>,
    // How many queries within the SELECT the visit is in: they have windows of their own.
    depth: usize,
    problems: Vec<SqlProblem>,
}

impl VisitorMut for Inherit<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Function(function) = expr
            && let Some(WindowType::WindowSpec(spec)) = &mut function.over
        {
            self.write_out(spec);
        }
        ControlFlow::Continue(())
    }
}

impl Inherit<'_> {
    /// Takes the windows of a SELECT, each after those it may name.
    fn define(&mut self, windows: &mut [NamedWindowDefinition]) {
        for NamedWindowDefinition(name, window) in windows {
            let spec = match window {
                NamedWindowExpr::WindowSpec(spec) => {
                    self.write_out(spec);
                    Some(spec.clone())
                }
                NamedWindowExpr::NamedWindow(other) => {
                    let same = self.named.iter().find(|(known, _)| is_same(known, other));
                    same.map(|(_, spec)| spec.clone())
                }
            };
            self.named.extend(spec.map(|spec| (name.clone(), spec)));
        }
    }

    fn write_out(&mut self, spec: &mut WindowSpec) {
        let Some(name) = spec.window_name.take() else { return };
        let Some((_, base)) = self.named.iter().find(|(known, _)| is_same(known, &name)) else {
            return self.refuse(&name, "there is no window of this name before it");
        };
        if !spec.partition_by.is_empty() {
            return self.refuse(&name, "it has its PARTITION BY from there");
        }
        if !spec.order_by.is_empty() && !base.order_by.is_empty() {
            return self.refuse(&name, "it has its ORDER BY from there");
        }
        if base.window_frame.is_some() {
            return self.refuse(&name, "that one has a frame, which cannot be taken over");
        }
        spec.partition_by.clone_from(&base.partition_by);
        if spec.order_by.is_empty() {
            spec.order_by.clone_from(&base.order_by);
        }
    }

    fn refuse(&mut self, name: &Ident, why: &str) {
        self.problems.push(SqlProblem {
            code: "T0304",
            message: format!("a window cannot go on from `{name}`: {why}"),
            label: None,
            hint: None,
            range: self.text.range(datafusion_span(name.span)),
        });
    }
}

/// Whether two names mean the same: case counts in quotes alone.
fn is_same(one: &Ident, two: &Ident) -> bool {
    let value = |name: &Ident| match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    };
    value(one) == value(two)
}
