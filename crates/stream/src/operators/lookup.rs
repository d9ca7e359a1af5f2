//! Looking up: what a stream does with the rows of a [`Lookup`](crate::lookups::Lookup).
//!
//! A *question* is the part of a stream's plan that reads only lookups: the query behind IN, EXISTS
//! or a scalar subquery, or the right side of a join. It is asked whenever the rows change, between
//! two epochs, and its answer put where the operators look: in a function for what stands in an
//! expression, in [`LookupJoin`] for a join. So a row costs a probe, never a query.
//!
//! Which rows there are in which epoch is the business of [`crate::pipeline`].

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, ScalarValue, exec_err};
use datafusion::logical_expr::expr::{Exists, InSubquery, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Subquery, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, InListExpr};
use thalweg_core::Result;

use super::expressions::engine_error;

type Engine<T> = std::result::Result<T, DataFusionError>;

/// A part of a plan that only reads lookups, and where its answer goes.
#[derive(Clone)]
pub struct Question {
    /// The query.
    pub plan: LogicalPlan,
    /// Who waits for the answer.
    pub asker: Arc<dyn Asker>,
}

/// Takes the answer to a question, in the place of the one before.
pub trait Asker: Send + Sync {
    /// Takes the rows that there are now.
    fn take(&self, rows: RecordBatch) -> Result<()>;
}

impl Question {
    /// The relations that it reads.
    pub fn reads(&self) -> Engine<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        self.plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let name = match scan.table_name.schema() {
                    Some(schema) if schema != "public" => {
                        format!("{schema}.{}", scan.table_name.table())
                    }
                    _ => scan.table_name.table().to_owned(),
                };
                names.insert(name);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(names)
    }
}

/// Why a subquery cannot be asked once for all rows.
pub const CORRELATED: &str =
    "a subquery that looks at the row can only be a condition of WHERE; write a JOIN";

/// Puts functions in the place of the subqueries of an expression, and their questions into
/// `questions`. None when one of them looks at the row.
pub fn ask(expression: Expr, questions: &mut Vec<Question>) -> Engine<Option<Expr>> {
    let mut is_correlated = false;
    let asked = expression.transform_up(|node| {
        let subquery = match &node {
            Expr::InSubquery(InSubquery { subquery, .. })
            | Expr::Exists(Exists { subquery, .. })
            | Expr::ScalarSubquery(subquery) => subquery,
            _ => return Ok(Transformed::no(node)),
        };
        if !subquery.outer_ref_columns.is_empty() {
            is_correlated = true;
            return Ok(Transformed::no(node));
        }
        let Subquery { subquery: plan, .. } = subquery.clone();
        let (function, arguments, asker): (ScalarUDF, Vec<Expr>, Arc<dyn Asker>) = match node {
            Expr::InSubquery(InSubquery { expr, negated, .. }) => {
                let set = Arc::new(Answer::default());
                let kind = Kind::In { negated };
                (function(kind, &set), vec![*expr], Arc::new(InSet { set, negated }))
            }
            Expr::Exists(Exists { negated, .. }) => {
                let there = Arc::new(Answer::default());
                let asker = Arc::new(IsThere { there: Arc::clone(&there), negated });
                (function(Kind::Exists, &there), Vec::new(), asker)
            }
            _ => {
                let data_type = plan.schema().field(0).data_type().clone();
                let value = Arc::new(Answer::default());
                let asker = Arc::new(OneValue(Arc::clone(&value)));
                (function(Kind::Value(data_type), &value), Vec::new(), asker)
            }
        };
        questions.push(Question { plan: plan.as_ref().clone(), asker });
        let call = ScalarFunction::new_udf(Arc::new(function), arguments);
        Ok(Transformed::yes(Expr::ScalarFunction(call)))
    })?;
    Ok((!is_correlated).then_some(asked.data))
}

fn function(kind: Kind, answer: &Arc<Answer>) -> ScalarUDF {
    let signature = match kind {
        Kind::In { .. } => Signature::any(1, Volatility::Stable),
        _ => Signature::nullary(Volatility::Stable),
    };
    ScalarUDF::new_from_impl(Looked { kind, answer: Arc::clone(answer), signature })
}

/// What a function of ours gives now.
#[derive(Default)]
struct Answer(RwLock<Given>);

#[derive(Clone, Default)]
enum Given {
    #[default]
    Nothing,
    // Over a batch of the one column that is asked for.
    Expression(Arc<dyn PhysicalExpr>),
    Scalar(ScalarValue),
}

impl Answer {
    fn set(&self, given: Given) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = given;
    }

    fn get(&self) -> Given {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    In { negated: bool },
    Exists,
    Value(DataType),
}

/// A function that stands for a subquery.
struct Looked {
    kind: Kind,
    answer: Arc<Answer>,
    signature: Signature,
}

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Looked({:?})", self.kind)
    }
}

impl PartialEq for Looked {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.answer, &other.answer)
    }
}

impl Eq for Looked {}

impl Hash for Looked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.answer).hash(state);
    }
}

impl ScalarUDFImpl for Looked {
    fn name(&self) -> &str {
        match self.kind {
            Kind::In { .. } => "__looked_up_in",
            Kind::Exists => "__looked_up_exists",
            Kind::Value(_) => "__looked_up",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Engine<DataType> {
        Ok(match &self.kind {
            Kind::In { .. } | Kind::Exists => DataType::Boolean,
            Kind::Value(data_type) => data_type.clone(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Engine<ColumnarValue> {
        match self.answer.get() {
            Given::Nothing => exec_err!("a lookup was not read yet"),
            Given::Scalar(value) => Ok(ColumnarValue::Scalar(value)),
            Given::Expression(contains) => {
                let Some(asked) = args.args.first() else {
                    return exec_err!("IN needs a value");
                };
                let asked = asked.to_array(args.number_rows)?;
                let field = Field::new("asked", asked.data_type().clone(), true);
                let schema = Arc::new(Schema::new(vec![field]));
                contains.evaluate(&RecordBatch::try_new(schema, vec![asked])?)
            }
        }
    }
}

/// The set behind IN.
struct InSet {
    set: Arc<Answer>,
    negated: bool,
}

impl Asker for InSet {
    fn take(&self, rows: RecordBatch) -> Result<()> {
        let values = Arc::clone(rows.column(0));
        if values.is_empty() {
            self.set.set(Given::Scalar(ScalarValue::Boolean(Some(self.negated))));
            return Ok(());
        }
        let field = Field::new("asked", values.data_type().clone(), true);
        let schema = Schema::new(vec![field]);
        let asked = Arc::new(Column::new("asked", 0));
        let list = InListExpr::try_new_from_array(asked, values, self.negated, &schema);
        self.set.set(Given::Expression(Arc::new(list.map_err(engine_error)?)));
        Ok(())
    }
}

/// Whether there is a row.
struct IsThere {
    there: Arc<Answer>,
    negated: bool,
}

impl Asker for IsThere {
    fn take(&self, rows: RecordBatch) -> Result<()> {
        let is_there = rows.num_rows() > 0;
        self.there.set(Given::Scalar(ScalarValue::Boolean(Some(is_there != self.negated))));
        Ok(())
    }
}

/// The one value of a query: NULL where it gives no row.
struct OneValue(Arc<Answer>);

impl Asker for OneValue {
    fn take(&self, rows: RecordBatch) -> Result<()> {
        let column = rows.column(0);
        let value = match column.len() {
            0 => ScalarValue::try_new_null(column.data_type()),
            1 => ScalarValue::try_from_array(column, 0),
            count => {
                return Err(thalweg_core::Error::invalid(format!(
                    "a subquery that stands for one value gives {count} rows"
                )));
            }
        };
        self.0.set(Given::Scalar(value.map_err(engine_error)?));
        Ok(())
    }
}

/// All rows of an answer as one batch.
pub fn one_batch(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    concat_batches(schema, batches).map_err(engine_error)
}

/// Columns side by side.
pub(super) fn beside(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(engine_error)
}
