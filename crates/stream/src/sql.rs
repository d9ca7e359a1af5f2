//! SQL: from text to a logical plan, with every problem at its place.
//!
//! The dialect is DataFusion's. What thalweg adds is rewritten on the parsed statement before
//! planning ([`rewrite`]), with the spans of what the user wrote kept. What a plan becomes when it
//! runs for ever is [`crate::program`]; problems are put into words by [`problems`].

mod ahead;
pub mod functions;
mod locate;
pub mod predict;
pub mod problems;
pub mod rewrite;
mod sliding;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::common::config::Dialect;
use datafusion::datasource::view::ViewTable;
use datafusion::datasource::{DefaultTableSource, empty::EmptyTable};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionStateBuilder, session_state::SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use thalweg_core::problem::SqlProblem;
use thalweg_core::{Error, Result as CoreResult};

use self::predict::NamedModel;
use self::problems::Text;
use self::rewrite::Mode;

/// What a name in FROM stands for while a statement is planned.
#[derive(Clone)]
pub enum Named {
    /// Rows with these columns, which come from somewhere else.
    Rows(SchemaRef),
    /// Rows that a plan makes; a stream read by another stream.
    Plan(LogicalPlan),
    /// Rows that can be read now.
    Table(Arc<dyn TableProvider>),
}

/// What a relation is, beside its columns.
#[derive(Clone)]
pub struct Entry {
    /// What the name stands for.
    pub named: Named,
    /// Columns of its entity, by which `latest(x)` keeps one row.
    pub key: Vec<String>,
}

impl Entry {
    /// Its columns, hidden ones too.
    pub fn schema(&self) -> SchemaRef {
        match &self.named {
            Named::Rows(schema) => Arc::clone(schema),
            Named::Plan(plan) => Arc::clone(plan.schema().inner()),
            Named::Table(table) => table.schema(),
        }
    }
}

/// The names a statement can use.
#[derive(Clone, Default)]
pub struct Names {
    entries: BTreeMap<String, Entry>,
    models: BTreeMap<String, NamedModel>,
    lookups: BTreeSet<String>,
}

impl Names {
    /// Adds a relation; the last of equal names wins.
    pub fn insert(&mut self, name: impl Into<String>, named: Named, key: Vec<String>) {
        self.entries.insert(name.into(), Entry { named, key });
    }

    /// Lets streams look up in the relation of that name.
    pub fn let_look_up(&mut self, name: impl Into<String>) {
        self.lookups.insert(name.into());
    }

    /// Whether streams can look up in the relation of that name.
    pub fn is_lookup(&self, name: &str) -> bool {
        self.lookups.contains(name)
    }

    /// The relation of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The columns of the relation of that name, hidden ones too.
    pub fn schema(&self, name: &str) -> Option<SchemaRef> {
        self.entries.get(name).map(Entry::schema)
    }

    /// Adds a model that `predict()` can be called with.
    pub fn insert_model(&mut self, name: impl Into<String>, model: NamedModel) {
        self.models.insert(name.into(), model);
    }

    /// The model of that name.
    pub fn model(&self, name: &str) -> Option<&NamedModel> {
        self.models.get(name)
    }

    /// Names of the models, sorted.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

/// A statement that was planned, not optimized.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan, types checked and coerced.
    pub plan: LogicalPlan,
    /// Names it reads, directly.
    pub reads: Vec<String>,
}

/// Plans statements against a set of names.
///
/// One planner is cheap to clone and serves any number of statements; it holds no data.
#[derive(Clone)]
pub struct Planner {
    state: SessionState,
}

impl Default for Planner {
    fn default() -> Self {
        Self::new()
    }
}

impl Planner {
    /// A planner with DataFusion's functions and ours.
    pub fn new() -> Self {
        let state = SessionStateBuilder::new()
            .with_config(session_config())
            .with_default_features()
            .with_scalar_functions(with_ours())
            .with_aggregate_functions(sliding::aggregate_functions())
            .build();
        Self { state }
    }

    /// As [`new`](Self::new); plans that run may hold `bytes` of memory together, beyond which a
    /// query fails.
    pub fn with_memory(bytes: usize) -> CoreResult<Self> {
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(bytes, 1.0).build_arc();
        let runtime = runtime.map_err(|error| {
            Error::internal("queries cannot be given memory").with_source(error)
        })?;
        let state = SessionStateBuilder::new_from_existing(Self::new().state)
            .with_runtime_env(runtime)
            .build();
        Ok(Self { state })
    }

    /// The session that plans made here belong to.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// Parses, rewrites, plans and type-checks one query.
    ///
    /// # Errors
    ///
    /// Every problem that could be found, each with its place in `sql` where one is known.
    pub fn plan(&self, sql: &str, names: &Names, mode: Mode) -> Result<Planned, Vec<SqlProblem>> {
        let text = Text::new(sql);
        let mut statement = self.parse(sql, &text)?;
        let reads = rewrite::rewrite(&mut statement, names, mode, &text)?;
        let in_words = |error| problems::from_datafusion(error, &text, names);
        match self.plan_statement(statement.clone(), names) {
            Ok(plan) => Ok(Planned { plan, reads }),
            Err(error) => {
                let mut problems = in_words(error);
                for problem in problems.iter_mut().filter(|it| it.range.is_none()) {
                    let message = problem.message.clone();
                    problem.range = locate::smallest(&statement, &text, |probe| {
                        self.plan_statement(probe, names).is_err_and(|error| {
                            in_words(error).iter().any(|problem| problem.message == message)
                        })
                    });
                }
                Err(problems)
            }
        }
    }

    /// The place in `expression`, over rows of `schema`, of what keeps it from being planned.
    pub(crate) fn place_in_expression(
        &self,
        expression: &str,
        schema: &DFSchema,
    ) -> Option<Range<usize>> {
        const BEFORE: &str = "SELECT ";
        let mut names = Names::default();
        names.insert("rows", Named::Rows(Arc::new(schema.as_arrow().clone())), Vec::new());
        // A line of its own: the expression may end in a comment.
        let query = format!("{BEFORE}{expression}\nFROM rows");
        let problems = self.plan(&query, &names, Mode::Query).err()?;
        let range = problems.into_iter().find_map(|problem| problem.range)?;
        let start = range.start.checked_sub(BEFORE.len())?;
        let end = range.end - BEFORE.len();
        (end <= expression.len()).then_some(start..end)
    }

    /// Names in FROM anywhere in a query, in order of appearance, functions looked through.
    pub fn reads(&self, sql: &str) -> Result<Vec<String>, Vec<SqlProblem>> {
        let text = Text::new(sql);
        Ok(rewrite::reads(&self.parse(sql, &text)?))
    }

    /// Models that a query lets forecast.
    pub fn models(&self, sql: &str) -> Result<Vec<String>, Vec<SqlProblem>> {
        let text = Text::new(sql);
        Ok(rewrite::models(&self.parse(sql, &text)?))
    }

    /// Whether a query asks for columns that `SELECT *` leaves out.
    pub(crate) fn names_hidden(&self, sql: &str) -> bool {
        self.parse(sql, &Text::new(sql)).is_ok_and(|it| rewrite::names_hidden(&it))
    }

    /// Where a query looks at rows later than the one it is at (S21).
    pub fn looks_ahead(&self, sql: &str) -> Vec<SqlProblem> {
        let text = Text::new(sql);
        self.parse(sql, &text).map_or(Vec::new(), |statement| ahead::problems(&statement, &text))
    }

    fn parse(&self, sql: &str, text: &Text<'_>) -> Result<SqlStatement, Vec<SqlProblem>> {
        let parsed = self
            .state
            .sql_to_statement(sql, &Dialect::Generic)
            .map_err(|error| problems::from_datafusion(error, text, &Names::default()))?;
        match parsed {
            Statement::Statement(statement) if matches!(*statement, SqlStatement::Query(_)) => {
                Ok(*statement)
            }
            _ => Err(vec![problems::not_a_query()]),
        }
    }

    fn plan_statement(
        &self,
        statement: SqlStatement,
        names: &Names,
    ) -> datafusion::common::Result<LogicalPlan> {
        use datafusion::sql::planner::{ParserOptions, SqlToRel};
        let context = names::Context::new(&self.state, names);
        let options = ParserOptions { collect_spans: true, ..ParserOptions::default() };
        let plan =
            SqlToRel::new_with_options(&context, options).sql_statement_to_plan(statement)?;
        self.state.analyzer().execute_and_check(
            plan,
            &self.state.config_options().clone(),
            |_, _| {},
        )
    }
}

/// Settings of every session: one partition, nothing that keeps a plan from being run again.
pub(crate) fn session_config() -> SessionConfig {
    SessionConfig::new()
        .with_target_partitions(1)
        .with_information_schema(false)
        .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", false)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false)
        .set_bool("datafusion.sql_parser.collect_spans", true)
        .set_str("datafusion.execution.time_zone", "UTC")
}

fn with_ours() -> Vec<Arc<datafusion::logical_expr::ScalarUDF>> {
    let mut all = datafusion::execution::SessionStateDefaults::default_scalar_functions();
    all.extend(functions::all());
    all
}

mod names {
    //! How DataFusion's planner asks for names and functions.

    use datafusion::common::{Result, TableReference, plan_err};
    use datafusion::config::ConfigOptions;
    use datafusion::execution::FunctionRegistry;
    use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
    use datafusion::logical_expr::{
        AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF,
    };

    use super::*;

    pub(super) struct Context<'a> {
        state: &'a SessionState,
        names: &'a Names,
    }

    impl<'a> Context<'a> {
        pub(super) fn new(state: &'a SessionState, names: &'a Names) -> Self {
            Self { state, names }
        }
    }

    impl ContextProvider for Context<'_> {
        fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
            let full = match name.schema() {
                Some(schema) if schema != "public" => format!("{schema}.{}", name.table()),
                _ => name.table().to_owned(),
            };
            let provider: Arc<dyn TableProvider> = match self.names.get(&full).map(|it| &it.named) {
                Some(Named::Rows(schema)) => Arc::new(EmptyTable::new(Arc::clone(schema))),
                Some(Named::Plan(plan)) => Arc::new(ViewTable::new(plan.clone(), None)),
                Some(Named::Table(table)) => Arc::clone(table),
                None => return plan_err!("table '{full}' not found"),
            };
            Ok(Arc::new(DefaultTableSource::new(provider)))
        }

        fn get_table_function_source(
            &self,
            name: &str,
            _: Vec<datafusion::logical_expr::Expr>,
        ) -> Result<Arc<dyn TableSource>> {
            plan_err!("no table function '{name}'")
        }

        fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
            self.state.expr_planners()
        }

        fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
            None
        }

        fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
            self.state.udf(name).ok()
        }

        fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
            None
        }

        fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
            self.state.udaf(name).ok()
        }

        fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
            match predict::model_of(name) {
                Some(model) => self.names.model(model).map(|named| predict::function(model, named)),
                None => self.state.udwf(name).ok(),
            }
        }

        fn get_variable_type(&self, _names: &[String]) -> Option<arrow::datatypes::DataType> {
            None
        }

        fn options(&self) -> &ConfigOptions {
            self.state.config_options()
        }

        fn udf_names(&self) -> Vec<String> {
            self.state.scalar_functions().keys().cloned().collect()
        }

        fn udaf_names(&self) -> Vec<String> {
            self.state.aggregate_functions().keys().cloned().collect()
        }

        fn udwf_names(&self) -> Vec<String> {
            self.state.window_functions().keys().cloned().collect()
        }

        fn higher_order_function_names(&self) -> Vec<String> {
            Vec::new()
        }
    }
}
