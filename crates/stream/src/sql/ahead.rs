//! Window functions that look at later rows (S21): `lead`, and frames that end behind the row.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, NamedWindowExpr, Select, Spanned as _, Statement, Visit, Visitor,
    WindowFrameBound, WindowSpec, WindowType,
};
use thalweg_core::problem::SqlProblem;

use super::problems::Text;
use super::rewrite::datafusion_span;

/// What is wrong with `statement` as the features of a model.
pub(super) fn problems(statement: &Statement, text: &Text<'_>) -> Vec<SqlProblem> {
    let mut finder = Finder { text, descending: Vec::new(), found: Vec::new() };
    let _ = Visit::visit(statement, &mut finder);
    finder.found
}

struct Finder<'a> {
    text: &'a Text<'a>,
    // Names of windows in which what follows is earlier.
    descending: Vec<String>,
    found: Vec<SqlProblem>,
}

impl Finder<'_> {
    fn refuse(&mut self, what: &str, at: datafusion::sql::sqlparser::tokenizer::Span) {
        self.found.push(SqlProblem {
            code: "T0314",
            message: format!("{what} sees the future"),
            label: None,
            hint: Some(
                "A feature knows the rows up to its own: let frames end at CURRENT ROW.".into(),
            ),
            range: self.text.range(datafusion_span(at)),
        });
    }
}

impl Visitor for Finder<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for window in &select.named_window {
            let NamedWindowExpr::WindowSpec(spec) = &window.1 else { continue };
            if is_descending(spec) {
                self.descending.push(window.0.value.clone());
            }
            if is_ahead(spec) {
                self.refuse(&format!("a frame of window `{}`", window.0), window.0.span);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(Function { name, over: Some(over), .. }) = expr {
            let function = name.to_string();
            let is_framed_ahead = matches!(over, WindowType::WindowSpec(spec) if is_ahead(spec));
            let looks_back = match over {
                WindowType::WindowSpec(spec) => is_descending(spec),
                WindowType::NamedWindow(name) => self.descending.contains(&name.value),
            };
            if (function.eq_ignore_ascii_case("lead") && !looks_back) || is_framed_ahead {
                self.refuse(&format!("`{function}`"), name.span());
            }
        }
        ControlFlow::Continue(())
    }
}

fn is_descending(spec: &WindowSpec) -> bool {
    spec.order_by.first().is_some_and(|order| order.options.asc == Some(false))
}

fn is_ahead(spec: &WindowSpec) -> bool {
    if is_descending(spec) {
        return false;
    }
    let end = spec.window_frame.as_ref().and_then(|frame| frame.end_bound.as_ref());
    matches!(end, Some(WindowFrameBound::Following(_)))
}
