//! Where a column of a stream comes from: the column of its source that it is, unchanged.
//!
//! What an Arrow type does not say of a column, such as that its text is JSON, holds in a stream for
//! such columns only.

use datafusion::logical_expr::{Expr, LogicalPlan};

use super::StreamQuery;

impl StreamQuery {
    /// The column of [`source`](Self::source) that this column is, if nothing is done to its values
    /// on the way.
    pub fn origin_of(&self, column: &str) -> Option<&str> {
        origin(&self.plan, self.plan.schema().inner().index_of(column).ok()?)
    }
}

fn origin(plan: &LogicalPlan, index: usize) -> Option<&str> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan.projected_schema.field(index).name()),
        LogicalPlan::Filter(filter) => origin(&filter.input, index),
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, index),
        LogicalPlan::Projection(projection) => {
            of_expression(&projection.input, projection.expr.get(index)?)
        }
        LogicalPlan::Aggregate(aggregate) => {
            of_expression(&aggregate.input, aggregate.group_expr.get(index)?)
        }
        LogicalPlan::Window(window) => {
            (index < window.input.schema().fields().len()).then(|| origin(&window.input, index))?
        }
        _ => None,
    }
}

fn of_expression<'a>(input: &'a LogicalPlan, expression: &Expr) -> Option<&'a str> {
    match expression {
        Expr::Alias(alias) => of_expression(input, &alias.expr),
        Expr::Column(column) => origin(input, input.schema().maybe_index_of_column(column)?),
        _ => None,
    }
}
