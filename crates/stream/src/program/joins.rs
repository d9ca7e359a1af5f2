//! Joins with lookups: from a plan to [`LookupJoin`], and subqueries that look at the row to joins.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, NullEquality};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::utils::{
    conjunction, find_valid_equijoin_key_pair, split_conjunction_owned,
};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator as SqlOperator};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;

use super::{End, Refusal, Walk, no};
use crate::operators::lookup::Question;
use crate::operators::lookup_join::{Joined, LookupJoin, LookupJoinConfig};
use crate::program::Shape;

/// Makes joins of the subqueries in WHERE that look at the row, as DataFusion does for a batch (S11).
pub(super) fn decorrelate(
    plan: LogicalPlan,
    state: &SessionState,
) -> datafusion::common::Result<LogicalPlan> {
    let rule = DecorrelatePredicateSubquery::new();
    let changed = plan.transform_up(|node| match &node {
        LogicalPlan::Filter(filter) if looks_at_the_row(&filter.predicate)? => {
            rule.rewrite(node, state)
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(changed.data)
}

fn looks_at_the_row(predicate: &Expr) -> datafusion::common::Result<bool> {
    let mut found = false;
    predicate.apply(|expression| {
        let subquery = match expression {
            Expr::InSubquery(of) => Some(&of.subquery),
            Expr::Exists(of) => Some(&of.subquery),
            _ => None,
        };
        found |= subquery.is_some_and(|subquery| !subquery.outer_ref_columns.is_empty());
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

impl Walk<'_> {
    pub(super) fn join(&mut self, plan: &LogicalPlan, join: &Join) -> Result<End, Refusal> {
        let kind = match join.join_type {
            JoinType::Inner => Joined::Inner,
            JoinType::Left => Joined::Left,
            JoinType::LeftSemi => Joined::Semi,
            JoinType::LeftAnti => Joined::Anti { null_aware: join.null_aware },
            JoinType::LeftMark => Joined::Mark,
            _ => {
                return no(
                    "a stream stands on the left of a join with a lookup: JOIN or LEFT JOIN",
                );
            }
        };
        let mut end = self.visit(&join.left)?;
        if end.shape != Shape::RowWise {
            return no(
                "a join of grouped rows with a lookup is not built yet; join before GROUP BY",
            );
        }
        let (left, right) = (join.left.schema(), join.right.schema());
        let (mut keys, mut rest) = (join.on.clone(), Vec::new());
        for part in join.filter.iter().cloned().flat_map(split_conjunction_owned) {
            let pair = match &part {
                Expr::BinaryExpr(BinaryExpr { left: one, op: SqlOperator::Eq, right: other }) => {
                    find_valid_equijoin_key_pair(one, other, left, right)?
                }
                _ => None,
            };
            match pair {
                Some(pair) => keys.push(pair),
                None => rest.push(part),
            }
        }
        if keys.is_empty() {
            return no("a join with a lookup needs an equality between the two in ON");
        }
        let pair_schema = left.join(right)?;
        let mut stream_keys = Vec::new();
        let mut lookup_keys = Vec::new();
        for (of_stream, of_lookup) in &keys {
            stream_keys.push(self.expression(of_stream, left)?);
            lookup_keys.push(self.expression(of_lookup, right)?);
        }
        let condition = conjunction(rest);
        let condition =
            condition.map(|condition| self.expression(&condition, &pair_schema)).transpose()?;
        let config = LookupJoinConfig {
            kind,
            keys: stream_keys,
            lookup_keys,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            condition,
            pair_schema: Arc::clone(pair_schema.inner()),
            schema: Arc::clone(plan.schema().inner()),
        };
        let (operator, asker) = LookupJoin::new(config);
        self.operators.push(Box::new(operator));
        self.questions.push(Question { plan: join.right.as_ref().clone(), asker });
        end.key = None;
        Ok(end)
    }

    /// Every relation that is looked up in.
    pub(super) fn lookups(&self) -> Result<BTreeSet<String>, Refusal> {
        let mut names = BTreeSet::new();
        for question in &self.questions {
            names.extend(question.reads()?);
        }
        Ok(names)
    }
}
