//! Programs: a stream's plan as operators that run for ever.
//!
//! A plan that DataFusion made is walked once, from the scan up, and each node becomes an operator.
//! What a stream cannot do is refused here, in words, before anything starts. Two streams may share
//! their beginning: each runs it, since a pipeline is one stream (S8).

pub(crate) mod evaluable;
mod forecasts;
mod joins;
mod origin;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, DataFusionError, ScalarValue};
use datafusion::datasource::DefaultTableSource;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Aggregate as AggregatePlan, Expr, Filter as FilterPlan, LogicalPlan, Projection, SubqueryAlias,
    Window, WindowFrameBound, WindowFunctionDefinition,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{LoweredAggregate, LoweredAggregateBuilder};
use datafusion::prelude::SessionContext;
use thalweg_core::ledger::RouteLedger;
use thalweg_core::model::ForecastColumns;
use thalweg_core::problem::SqlProblem;
use thalweg_core::schema::meta;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use crate::lookups::LookupRows;
use crate::operators::aggregate::{Aggregate, AggregateConfig, Emit, OutputColumn};
use crate::operators::aggregate_state::AggregateSpec;
use crate::operators::expressions::{Filter, Project, engine_error};
use crate::operators::lookup::{self, CORRELATED, Question, one_batch};
use crate::operators::outcomes::Outcomes;
use crate::operators::over::{FunctionSpec, Over};
use crate::operators::route::{ARM, Route};
use crate::operators::{Answers, Operator, Outputs, Snapshot, Tick};
use crate::panels::Candidate;
use crate::sql::functions::window_of;
use crate::sql::predict::PredictFunction;
use crate::sql::problems::{Text, from_datafusion, refused};
use crate::sql::rewrite::{Mode, is_hidden};
use crate::sql::{Names, Planner};

use self::evaluable::evaluable;
pub use self::forecasts::prepare_forecasts;
pub use self::routes::{Conditions, arm_sql, check_condition, prepare_route};

/// What a stream gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Each input row gives at most one row, at once.
    RowWise,
    /// Each window gives its rows once, when it closes.
    Final,
    /// Rows by key that change; a later row of a key replaces the earlier one.
    Updating,
}

/// A stream's query, typed and fit to run for ever.
#[derive(Clone, Debug)]
pub struct StreamQuery {
    /// The plan, hidden columns carried along.
    pub plan: LogicalPlan,
    /// The one relation that drives it, at the bottom.
    pub source: String,
    /// Columns of its rows, hidden ones last.
    pub schema: SchemaRef,
    /// What it gives.
    pub shape: Shape,
    /// For a stream with GROUP BY: the columns that tell its rows apart.
    pub key: Vec<String>,
    /// For a windowed stream: size of its windows in microseconds.
    pub window_size: Option<i64>,
    /// Models it lets forecast, with what they read of a row.
    pub models: Vec<(String, ForecastColumns)>,
    /// Relations it looks up in.
    pub lookups: BTreeSet<String>,
    // For a route: how many arms it has.
    arms: usize,
    emit: Emit,
    // Whether its forecasts are followed up until it is known what came of them.
    outcomes: bool,
}

impl StreamQuery {
    /// Columns a reader sees: those not hidden.
    pub fn visible(&self) -> SchemaRef {
        visible(&self.schema)
    }
}

/// The columns of `schema` that are not hidden, without metadata.
pub fn visible(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .filter(|field| !is_hidden(field.name()))
        .map(|field| field.as_ref().clone().with_metadata(Default::default()))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Plans and checks a stream's SQL.
///
/// `update` asks for every change of a GROUP BY; without it windows answer once. An unwindowed
/// GROUP BY always gives its changes.
///
/// # Errors
///
/// Every problem found, with places in `sql` where they are known.
pub fn prepare(
    planner: &Planner,
    sql: &str,
    names: &Names,
    update: bool,
) -> Result<StreamQuery, Vec<SqlProblem>> {
    let text = Text::new(sql);
    let planned = planner.plan(sql, names, Mode::Stream)?;
    let problem = |error| from_datafusion(error, &text, names);
    let plan = joins::decorrelate(planned.plan, planner.state()).and_then(carry_hidden);
    prepare_plan(planner, plan.map_err(problem)?, names, update).map_err(|refusal| match refusal {
        Refusal::No(message) => vec![refused(message, None)],
        Refusal::Engine(error) => from_datafusion(error, &text, names),
    })
}

/// Checks a plan that carries its hidden columns, as [`prepare`] does.
fn prepare_plan(
    planner: &Planner,
    plan: LogicalPlan,
    names: &Names,
    update: bool,
) -> Result<StreamQuery, Refusal> {
    let mut walk = Walk::new(planner, update);
    let end = walk.visit(&plan)?;
    let lookups = walk.lookups()?;
    if let Some(live) = lookups.iter().find(|name| !names.is_lookup(name)) {
        return no(format!(
            "`{live}` is not read whole, so nothing can be looked up in it; a table, a view of \
             tables and a source of files can. Joins of two live inputs are not built yet"
        ));
    }
    let schema = Arc::clone(plan.schema().inner());
    let key: Vec<String> =
        end.key.iter().flatten().map(|at| schema.field(*at).name().clone()).collect();
    if end.shape != Shape::RowWise && end.key.is_none() {
        return no("the columns of GROUP BY are not all selected, so rows could not be told apart");
    }
    let emit = if end.shape == Shape::Updating { Emit::Update } else { Emit::Final };
    Ok(StreamQuery {
        plan,
        source: end.source,
        schema,
        shape: end.shape,
        key,
        window_size: end.window_size,
        lookups,
        models: walk.models,
        arms: 0,
        emit,
        outcomes: false,
    })
}

/// The stream that a panel's GROUP BY is, every change given.
///
/// # Errors
///
/// Why a stream cannot run it, in words.
pub fn prepare_panel(
    planner: &Planner,
    candidate: &Candidate,
    names: &Names,
) -> Result<StreamQuery, String> {
    let prepared = joins::decorrelate(candidate.plan.clone(), planner.state())
        .and_then(carry_hidden)
        .map_err(Refusal::from)
        .and_then(|plan| prepare_plan(planner, plan, names, true));
    prepared.map_err(|refusal| match refusal {
        Refusal::No(message) => message,
        Refusal::Engine(error) => error.strip_backtrace(),
    })
}

/// A stream that runs.
pub struct Program {
    operators: Vec<Box<dyn Operator>>,
    models: Vec<String>,
    questions: Vec<Question>,
    lookups: BTreeSet<String>,
    planner: Planner,
    schema: SchemaRef,
}

impl Program {
    /// Builds the operators of a prepared query.
    pub fn new(planner: &Planner, query: &StreamQuery) -> Result<Self> {
        let mut walk = Walk::new(planner, query.emit == Emit::Update);
        walk.arms = query.arms;
        walk.visit(&query.plan).map_err(|refusal| match refusal {
            Refusal::No(message) => Error::internal(message),
            Refusal::Engine(error) => Error::internal("a checked plan failed").with_source(error),
        })?;
        if let (true, Some((_, columns))) = (query.outcomes, query.models.last()) {
            walk.operators.push(Box::new(Outcomes::new(columns.clone())));
        }
        let models = query.models.iter().map(|(model, _)| model.clone()).collect();
        Ok(Self {
            operators: walk.operators,
            models,
            questions: walk.questions,
            lookups: query.lookups.clone(),
            planner: planner.clone(),
            schema: Arc::clone(&query.schema),
        })
    }

    /// Relations whose rows it must be told, whenever they change.
    pub fn lookups(&self) -> &BTreeSet<String> {
        &self.lookups
    }

    /// Takes the rows that there are now of every lookup.
    ///
    /// # Errors
    ///
    /// `Invalid` when a query over them fails, or gives what cannot stand where it stands.
    pub async fn look_up(&mut self, rows: &BTreeMap<String, LookupRows>) -> Result<()> {
        for question in &self.questions {
            let plan = over_rows(question.plan.clone(), rows).map_err(engine_error)?;
            let context = SessionContext::new_with_state(self.planner.state().clone());
            let frame = context.execute_logical_plan(plan).await.map_err(lookup_failed)?;
            let batches = frame.collect().await.map_err(lookup_failed)?;
            let schema = match batches.first() {
                Some(batch) => batch.schema(),
                None => Arc::clone(question.plan.schema().inner()),
            };
            question.asker.take(one_batch(&schema, &batches)?)?;
        }
        Ok(())
    }

    /// Models whose versions it must be told, epoch by epoch.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// Columns of its rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Its operators, in the order of the flow.
    pub fn operators(&self) -> &[Box<dyn Operator>] {
        &self.operators
    }

    /// Begins an epoch in which these answer for its models.
    pub fn begin_epoch(&mut self, answers: &Answers) -> Result<()> {
        self.operators.iter_mut().try_for_each(|operator| operator.begin_epoch(answers))
    }

    /// Takes a batch through every operator. Late and failed rows are told with the number of
    /// their operator.
    pub fn process(
        &mut self,
        rows: arrow::array::RecordBatch,
        watermark: Timestamp,
        sides: &mut Sides,
    ) -> Result<Vec<arrow::array::RecordBatch>> {
        self.run_from(0, vec![rows], watermark, sides)
    }

    /// Ends an epoch: windows close, changes come out.
    pub fn end_epoch(
        &mut self,
        before: Timestamp,
        tick: Tick,
        sides: &mut Sides,
    ) -> Result<Vec<arrow::array::RecordBatch>> {
        let mut all = Vec::new();
        for at in 0..self.operators.len() {
            let mut out = Outputs::default();
            self.operators[at].end_epoch(tick, &mut out)?;
            sides.take(at, &mut out);
            all.extend(self.run_from(at + 1, out.rows, before, sides)?);
        }
        Ok(all)
    }

    fn run_from(
        &mut self,
        first: usize,
        mut rows: Vec<arrow::array::RecordBatch>,
        watermark: Timestamp,
        sides: &mut Sides,
    ) -> Result<Vec<arrow::array::RecordBatch>> {
        for (at, operator) in self.operators.iter_mut().enumerate().skip(first) {
            let mut out = Outputs::default();
            for batch in rows {
                operator.process(batch, watermark, &mut out)?;
            }
            sides.take(at, &mut out);
            rows = out.rows;
        }
        Ok(rows)
    }

    /// The state of every operator, in order.
    pub fn snapshot(&mut self) -> Result<Vec<Snapshot>> {
        self.operators.iter_mut().map(|operator| operator.snapshot()).collect()
    }

    /// Takes back what [`snapshot`](Self::snapshot) gave while `answers` held.
    pub fn restore(&mut self, snapshots: Vec<Snapshot>, answers: &Answers) -> Result<()> {
        self.begin_epoch(answers)?;
        if snapshots.len() != self.operators.len() {
            return Err(Error::invalid("the checkpoint belongs to another query").with_hint(
                "The stream's SQL was changed; reset its state to start over from the journal.",
            ));
        }
        for (operator, snapshot) in self.operators.iter_mut().zip(snapshots) {
            operator.restore(snapshot)?;
        }
        Ok(())
    }

    /// End of the last window that is open, if any.
    pub fn open_until(&self) -> Option<Timestamp> {
        self.operators.iter().filter_map(|operator| operator.open_until()).max()
    }

    /// Counts of the route it ends in, if it does.
    pub fn route_ledger(&self) -> Option<&RouteLedger> {
        self.operators.last().and_then(|operator| operator.route_ledger())
    }

    /// Bytes of state, roughly.
    pub fn state_bytes(&self) -> usize {
        self.operators.iter().map(|operator| operator.state_bytes()).sum()
    }
}

/// What leaves a program at its sides.
#[derive(Default)]
pub struct Sides {
    /// Late rows with the number of their operator.
    pub late: Vec<(usize, crate::operators::LateRows)>,
    /// Failed rows with the number of their operator.
    pub failed: Vec<(usize, crate::operators::FailedRow)>,
}

impl Sides {
    fn take(&mut self, operator: usize, out: &mut Outputs) {
        self.late.extend(out.late.drain(..).map(|late| (operator, late)));
        self.failed.extend(out.failed.drain(..).map(|failed| (operator, failed)));
    }
}

/// Puts the rows of lookups in the place of their names.
fn over_rows(
    plan: LogicalPlan,
    rows: &BTreeMap<String, LookupRows>,
) -> datafusion::common::Result<LogicalPlan> {
    let put = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        let name = scan.table_name.table();
        let Some(rows) = rows.get(name) else {
            return datafusion::common::plan_err!("lookup `{name}` was not read");
        };
        let table = rows.table().map_err(|error| DataFusionError::External(Box::new(error)))?;
        scan.source = Arc::new(DefaultTableSource::new(table));
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    Ok(put.data)
}

fn lookup_failed(error: DataFusionError) -> Error {
    Error::invalid("a query over a lookup failed").with_detail(error.strip_backtrace())
}

/// Makes every row-wise part of a plan carry the hidden columns of its source along.
pub fn carry_hidden(plan: LogicalPlan) -> datafusion::common::Result<LogicalPlan> {
    let carried = |input: &Arc<LogicalPlan>| carry_hidden(input.as_ref().clone()).map(Arc::new);
    Ok(match plan {
        LogicalPlan::Projection(projection) => {
            let input = carried(&projection.input)?;
            let mut expressions = projection.expr.clone();
            let has = |name: &str, expressions: &[Expr]| {
                expressions.iter().any(|expression| {
                    expression.schema_name().to_string() == name
                        || matches!(expression, Expr::Column(column) if column.name == name)
                })
            };
            for (qualifier, field) in input.schema().iter() {
                if is_hidden(field.name()) && !has(field.name(), &expressions) {
                    let column = Column::new(qualifier.cloned(), field.name());
                    expressions.push(Expr::Column(column));
                }
            }
            LogicalPlan::Projection(Projection::try_new(expressions, input)?)
        }
        LogicalPlan::Filter(filter) => {
            let input = carried(&filter.input)?;
            LogicalPlan::Filter(FilterPlan::try_new(filter.predicate, input)?)
        }
        LogicalPlan::Window(window) => {
            let input = carried(&window.input)?;
            LogicalPlan::Window(Window::try_new(window.window_expr, input)?)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let input = carried(&alias.input)?;
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, alias.alias)?)
        }
        LogicalPlan::Join(join) => {
            let left = carry_hidden(join.left.as_ref().clone())?;
            let inputs = vec![left, join.right.as_ref().clone()];
            let plan = LogicalPlan::Join(join);
            let expressions = plan.expressions();
            plan.with_new_exprs(expressions, inputs)?
        }
        // Its rows have no record of their own, but what is late in it must be told by its record.
        LogicalPlan::Aggregate(aggregate) => {
            let input = carried(&aggregate.input)?;
            let (by, answers) = (aggregate.group_expr, aggregate.aggr_expr);
            LogicalPlan::Aggregate(AggregatePlan::try_new(input, by, answers)?)
        }
        other => other,
    })
}

/// What is known at the end of the operators made so far.
struct End {
    source: String,
    shape: Shape,
    // Columns that tell rows apart; `None` once one of them is no longer there.
    key: Option<Vec<usize>>,
    window_size: Option<i64>,
}

enum Refusal {
    No(String),
    Engine(datafusion::common::DataFusionError),
}

impl From<datafusion::common::DataFusionError> for Refusal {
    fn from(error: datafusion::common::DataFusionError) -> Self {
        Self::Engine(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::No(error.message)
    }
}

fn no<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::No(message.into()))
}

struct Walk<'a> {
    state: &'a SessionState,
    update: bool,
    operators: Vec<Box<dyn Operator>>,
    models: Vec<(String, ForecastColumns)>,
    questions: Vec<Question>,
    // Of the route that the plan is, if it is one.
    arms: usize,
}

impl<'a> Walk<'a> {
    fn new(planner: &'a Planner, update: bool) -> Self {
        Self {
            state: planner.state(),
            update,
            operators: Vec::new(),
            models: Vec::new(),
            questions: Vec::new(),
            arms: 0,
        }
    }

    fn visit(&mut self, plan: &LogicalPlan) -> Result<End, Refusal> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let source = match scan.table_name.schema() {
                    Some(schema) if schema != "public" => {
                        return no(format!(
                            "a stream cannot read `{schema}.{}`",
                            scan.table_name.table()
                        ));
                    }
                    _ => scan.table_name.table().to_owned(),
                };
                Ok(End { source, shape: Shape::RowWise, key: Some(Vec::new()), window_size: None })
            }
            LogicalPlan::SubqueryAlias(alias) => self.visit(&alias.input),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => {
                let end = self.visit(&filter.input)?;
                if end.shape == Shape::Updating {
                    return no(
                        "HAVING over results that change is not built yet; use `emit = \"final\"` or filter where they are read",
                    );
                }
                let condition = self.expression(&filter.predicate, filter.input.schema())?;
                let schema = Arc::clone(filter.input.schema().inner());
                self.operators.push(Box::new(Filter::new(condition, schema)));
                Ok(end)
            }
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(plan, join),
            LogicalPlan::Union(_) => no("UNION in a stream is not built yet"),
            LogicalPlan::Sort(_) => {
                no("a stream has no end to sort at; put ORDER BY where it is read")
            }
            LogicalPlan::Limit(_) => no("a stream has no end to LIMIT; put it where it is read"),
            LogicalPlan::Distinct(_) => no("DISTINCT in a stream is not built yet; use GROUP BY"),
            other => no(format!("a stream cannot run `{}`", other.display())),
        }
    }

    fn projection(&mut self, projection: &Projection) -> Result<End, Refusal> {
        let mut end = self.visit(&projection.input)?;
        let input = projection.input.schema();
        let expressions: Result<Vec<_>, Refusal> =
            projection.expr.iter().map(|expression| self.expression(expression, input)).collect();
        end.key = end.key.and_then(|key| {
            key.iter()
                .map(|at| {
                    projection.expr.iter().position(|expression| {
                        matches!(unaliased(expression), Expr::Column(column)
                            if input.maybe_index_of_column(column) == Some(*at))
                    })
                })
                .collect()
        });
        let schema = Arc::clone(projection.schema.inner());
        self.operators.push(if self.arms > 0 && schema.column_with_name(ARM).is_some() {
            Box::new(Route::new(expressions?, schema, self.arms)?)
        } else {
            Box::new(Project::new(expressions?, schema))
        });
        Ok(end)
    }

    fn window(&mut self, window: &Window) -> Result<End, Refusal> {
        if let [expression] = window.window_expr.as_slice()
            && let Expr::WindowFunction(function) = unaliased(expression)
            && let Some(predict) = PredictFunction::of(&function.fun)
        {
            return self.predict(window, function, predict);
        }
        let end = self.visit(&window.input)?;
        if end.shape != Shape::RowWise {
            return no("a window function over grouped rows is not built yet");
        }
        let input = window.input.schema();
        let mut functions = Vec::new();
        let mut partition_by: Option<&[Expr]> = None;
        for expression in &window.window_expr {
            let Expr::WindowFunction(function) = unaliased(expression) else {
                return no(format!("`{expression}` is not a window function"));
            };
            let by = function.params.partition_by.as_slice();
            if partition_by.is_some_and(|first| first != by) {
                return no(
                    "window functions with several PARTITION BY in one SELECT are not built yet",
                );
            }
            partition_by = Some(by);
            in_arrival_order(function)?;
            functions.push(self.window_function(function, input)?);
        }
        let keys: Result<Vec<_>, Refusal> = partition_by
            .unwrap_or_default()
            .iter()
            .map(|expression| self.expression(expression, input))
            .collect();
        let over = Over::new(keys?, functions, input.inner(), Arc::clone(window.schema.inner()))?;
        self.operators.push(Box::new(over));
        Ok(end)
    }

    fn window_function(
        &mut self,
        function: &WindowFunction,
        input: &DFSchema,
    ) -> Result<FunctionSpec, Refusal> {
        let name = function.fun.name().to_owned();
        let params = &function.params;
        if params.null_treatment.is_some_and(|treatment| {
            treatment == datafusion::logical_expr::expr::NullTreatment::IgnoreNulls
        }) {
            return no(format!("`{name}` with IGNORE NULLS is not built yet"));
        }
        let frame = &params.window_frame;
        let from_first =
            matches!(&frame.start_bound, WindowFrameBound::Preceding(bound) if bound.is_null());
        let to_current = matches!(frame.end_bound, WindowFrameBound::CurrentRow);
        let mut value =
            || -> Result<(Arc<dyn PhysicalExpr>, arrow::datatypes::DataType), Refusal> {
                let Some(value) = params.args.first() else {
                    return no(format!("`{name}` needs a value"));
                };
                let value = self.expression(value, input)?;
                let data_type = value.data_type(input.as_arrow())?;
                Ok((value, data_type))
            };
        match (&function.fun, name.as_str()) {
            (WindowFunctionDefinition::WindowUDF(_), "lag") => {
                let (value, data_type) = value()?;
                let depth = match params.args.get(1).map(literal) {
                    None => 1,
                    Some(Some(depth)) => match depth.cast_to(&arrow::datatypes::DataType::Int64)? {
                        ScalarValue::Int64(Some(depth)) => depth,
                        _ => return no("`lag` needs a constant number of rows"),
                    },
                    Some(None) => return no("`lag` needs a constant number of rows"),
                };
                if !(1..=1_000_000).contains(&depth) {
                    return no(
                        "`lag` looks back by 1 to 1,000,000 rows; what looks ahead is not known yet",
                    );
                }
                let default = match params.args.get(2).map(literal) {
                    None => None,
                    Some(Some(default)) => Some(default.cast_to(&data_type)?),
                    Some(None) => return no("`lag` needs a constant default"),
                };
                let depth = usize::try_from(depth).expect("checked above");
                Ok(FunctionSpec::Lag { value, depth, default, data_type })
            }
            (WindowFunctionDefinition::WindowUDF(_), "first_value") if from_first => {
                let (value, data_type) = value()?;
                Ok(FunctionSpec::First { value, data_type })
            }
            (WindowFunctionDefinition::WindowUDF(_), "last_value") if to_current => {
                Ok(FunctionSpec::Current { value: value()?.0 })
            }
            (WindowFunctionDefinition::WindowUDF(_), "row_number") => Ok(FunctionSpec::RowNumber),
            (WindowFunctionDefinition::WindowUDF(_), "lead") => {
                no("`lead` looks at rows that have not come yet")
            }
            (WindowFunctionDefinition::AggregateUDF(aggregate), _) if from_first && to_current => {
                if params.filter.is_some() || params.distinct {
                    return no(format!("`{name}` OVER with FILTER or DISTINCT is not built yet"));
                }
                let call = Expr::AggregateFunction(AggregateFunction::new_udf(
                    Arc::clone(aggregate),
                    params.args.clone(),
                    false,
                    None,
                    Vec::new(),
                    None,
                ));
                let lowered = self.lower(&call, input)?;
                Ok(FunctionSpec::Running(lowered.aggregate))
            }
            _ if !to_current => no(format!("`{name}` looks at rows that have not come yet")),
            _ => no(format!("`{name}` OVER with this frame is not built yet")),
        }
    }

    fn aggregate(&mut self, aggregate: &AggregatePlan) -> Result<End, Refusal> {
        let mut end = self.visit(&aggregate.input)?;
        if end.shape != Shape::RowWise {
            return no("GROUP BY over grouped rows is not built yet");
        }
        let input = aggregate.input.schema();
        let mut keys = Vec::new();
        let mut layout = Vec::new();
        let mut window = None;
        for expression in &aggregate.group_expr {
            if matches!(expression, Expr::GroupingSet(_)) {
                return no("grouping sets in a stream are not built yet");
            }
            let physical = self.expression(expression, input)?;
            let edge = match unaliased(expression) {
                Expr::Column(column) => {
                    input.maybe_index_of_column(column).and_then(|at| window_of(input.field(at)))
                }
                _ => None,
            };
            match edge {
                Some((edge, size)) => {
                    window.get_or_insert((physical, edge, size));
                    layout.push(OutputColumn::Window(edge));
                }
                None => {
                    layout.push(OutputColumn::Key(keys.len()));
                    keys.push(physical);
                }
            }
        }
        let mut aggregates = Vec::new();
        for expression in &aggregate.aggr_expr {
            let LoweredAggregate { aggregate: function, filter, order_bys } =
                self.lower(expression, input)?;
            let arguments = function
                .expressions()
                .into_iter()
                .chain(order_bys.into_iter().map(|order| order.expr))
                .collect();
            layout.push(OutputColumn::Answer(aggregates.len()));
            aggregates.push(AggregateSpec { function, arguments, filter });
        }
        let emit = if window.is_some() && !self.update { Emit::Final } else { Emit::Update };
        end.shape = if emit == Emit::Final { Shape::Final } else { Shape::Updating };
        end.key = Some((0..aggregate.group_expr.len()).collect());
        end.window_size = window.as_ref().map(|(.., size)| *size);
        let config = AggregateConfig {
            keys,
            aggregates,
            window,
            emit,
            layout,
            schema: Arc::clone(aggregate.schema.inner()),
        };
        self.operators.push(Box::new(Aggregate::new(config, input.inner())?));
        Ok(end)
    }

    fn expression(
        &mut self,
        expression: &Expr,
        schema: &DFSchema,
    ) -> Result<Arc<dyn PhysicalExpr>, Refusal> {
        if expression.is_volatile() {
            return no(format!(
                "`{expression}` would give another value each time it is run again"
            ));
        }
        let Some(expression) = lookup::ask(expression.clone(), &mut self.questions)? else {
            return no(CORRELATED);
        };
        let expression = evaluable(expression, schema, self.state)?;
        Ok(self.state.create_physical_expr(expression, schema)?)
    }

    fn lower(&self, expression: &Expr, input: &DFSchema) -> Result<LoweredAggregate, Refusal> {
        let context = PhysicalPlanningContext::default();
        let props = self.state.execution_props();
        let expression = evaluable(expression.clone(), input, self.state)?;
        let builder =
            LoweredAggregateBuilder::new(&expression, input, input.as_arrow(), props, &context);
        Ok(builder.build()?)
    }
}

/// Whether a window function is ordered by arrival; what else there could be is refused.
fn in_arrival_order(function: &WindowFunction) -> Result<(), Refusal> {
    let name = function.fun.name();
    let names: Vec<Option<&str>> = function
        .params
        .order_by
        .iter()
        .map(|sort| match &sort.expr {
            Expr::Column(column) if sort.asc => Some(column.name.as_str()),
            _ => None,
        })
        .collect();
    match names.as_slice() {
        [Some(meta::OFFSET), Some(meta::ROW)] => Ok(()),
        [] => no(format!("`{name}` needs ORDER BY _offset, the order of arrival")),
        _ => no(format!("`{name}` OVER in another order than _offset is not built yet")),
    }
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn literal(expression: &Expr) -> Option<ScalarValue> {
    match unaliased(expression) {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Cast(cast) => literal(&cast.expr)?.cast_to(cast.field.data_type()).ok(),
        Expr::Negative(inner) => literal(inner)?.arithmetic_negate().ok(),
        _ => None,
    }
}
