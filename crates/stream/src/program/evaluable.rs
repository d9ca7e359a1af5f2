//! Expressions as DataFusion evaluates them: some of its functions exist only for its optimizer,
//! which the plan of a stream does not pass.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};

/// Functions that DataFusion evaluates only as what it simplifies them to.
const ONLY_SIMPLIFIED: [&str; 6] =
    ["coalesce", "nvl2", "arrow_cast", "arrow_try_cast", "cast_to_type", "try_cast_to_type"];

/// The expression with those functions simplified.
pub(crate) fn evaluable(expression: Expr, schema: &DFSchema, state: &SessionState) -> Result<Expr> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(state.config_options()))
        .build();
    let simplified = expression.transform_up(|expression| match expression {
        Expr::ScalarFunction(ScalarFunction { func, args })
            if ONLY_SIMPLIFIED.contains(&func.name()) =>
        {
            Ok(match func.simplify(args, &context)? {
                ExprSimplifyResult::Simplified(simple) => Transformed::yes(simple),
                ExprSimplifyResult::Original(args) => {
                    Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
                }
            })
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(simplified.data)
}
