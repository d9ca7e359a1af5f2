//! What thalweg adds to SQL, rewritten on the parsed statement before it is planned.
//!
//! - `FROM tumble(x, time, size)`: the rows of `x` with `window_start` and `window_end` (S5).
//! - `FROM latest(x)`: the newest row of each key of `x` by arrival.
//! - `FROM predict(model, x)`: the rows of `x` with the forecast of each ([`super::predict`]).
//! - `SELECT *` leaves out the hidden columns of a source (S1).
//! - `ORDER BY _offset` means (`_offset`, `_row`), and that pair breaks the ties of an aggregate's
//!   own ORDER BY, so that streams and batches agree (S1, S11).
//! - `hour(ts)` and its like, and `date(ts)`.
//! - `OVER (w ROWS …)` has what it inherits written out ([`super::windows`]).
//! - in a stream `now()` is the row's `_received_at` (S3).
//!
//! What the user wrote keeps its spans; what is added has none, or those of the call it replaces.

use std::ops::ControlFlow;

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use datafusion::sql::parser::{DFParser, Statement as ParserStatement};
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as AstDataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Ident, Interval, NamedWindowExpr, ObjectName,
    ObjectNamePart, OrderByExpr, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    Spanned, Statement, TableAlias, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
    WildcardAdditionalOptions, WindowSpec, WindowType,
};
use thalweg_core::problem::{SqlProblem, nearest};
use thalweg_core::schema::meta;

use super::problems::{Text, refused};
use super::{Names, predict, windows};
use crate::operators::predict::COLUMNS as FORECAST_COLUMNS;

/// What a statement is planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A stream's query, run for ever or over its history: `now()` is the row's time.
    Stream,
    /// A query over what is there now.
    Query,
}

/// Our functions in FROM.
const TABLE_FUNCTIONS: [&str; 3] = ["tumble", "latest", "predict"];
/// Those of the language that are not part of this version.
const TABLE_FUNCTIONS_UNBUILT: [&str; 2] = ["hop", "session"];

/// Rewrites `statement` in place and returns the names it reads.
pub(super) fn rewrite(
    statement: &mut Statement,
    names: &Names,
    mode: Mode,
    text: &Text<'_>,
) -> Result<Vec<String>, Vec<SqlProblem>> {
    let reads = reads(statement);
    let mut rewriter = Rewriter { names, mode, text, local: Vec::new(), problems: Vec::new() };
    let _ = VisitMut::visit(statement, &mut rewriter);
    if rewriter.problems.is_empty() { Ok(reads) } else { Err(rewriter.problems) }
}

/// Names in FROM, functions looked through, in order of appearance, each once.
pub(super) fn reads(statement: &Statement) -> Vec<String> {
    struct Reader {
        names: Vec<String>,
        local: Vec<String>,
    }
    impl Visitor for Reader {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            self.local.extend(parts_of(query));
            ControlFlow::Continue(())
        }

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args, .. } = factor {
                let read = match args {
                    None => Some(object_name(name)),
                    Some(args) => relation_of(name, &args.args).map(|it| it.0),
                };
                if let Some(read) = read
                    && !self.names.contains(&read)
                    && !self.local.contains(&read)
                {
                    self.names.push(read);
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut reader = Reader { names: Vec::new(), local: Vec::new() };
    let _ = Visit::visit(statement, &mut reader);
    reader.names
}

/// Models that `predict()` is called with in FROM, each once.
pub(super) fn models(statement: &Statement) -> Vec<String> {
    struct Reader(Vec<String>);
    impl Visitor for Reader {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args: Some(args), .. } = factor
                && is_predict(name)
                && let Some((model, _)) = args.args.first().and_then(name_argument)
                && !self.0.contains(&model)
            {
                self.0.push(model);
            }
            ControlFlow::Continue(())
        }
    }
    let mut reader = Reader(Vec::new());
    let _ = Visit::visit(statement, &mut reader);
    reader.0
}

/// Names that a query's WITH declares.
fn parts_of(query: &Query) -> impl Iterator<Item = String> {
    let parts = query.with.iter().flat_map(|with| &with.cte_tables);
    parts.map(|part| object_name(&part.alias.name.clone().into()))
}

/// Whether a query asks for a hidden column, or for `latest(x)`, which looks at them.
pub(super) fn names_hidden(statement: &Statement) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match column_name(expr) {
                Some(name) if is_hidden(name) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            match factor {
                TableFactor::Table { name, args: Some(_), .. } if object_name(name) == "latest" => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(statement, &mut Finder).is_break()
}

struct Rewriter<'a> {
    names: &'a Names,
    mode: Mode,
    text: &'a Text<'a>,
    // Names that the statement itself declares.
    local: Vec<String>,
    problems: Vec<SqlProblem>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.local.extend(parts_of(query));
        self.problems.extend(windows::inherit_order(query, self.text));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.hide_columns(select);
        self.problems.extend(windows::inherit(select, self.text));
        if self.reads_records(select) {
            for NamedWindow(spec) in named_windows(select) {
                order_by_arrival(&mut spec.order_by);
            }
            let _ = VisitMut::visit(&mut select.projection, &mut Orders);
            let _ = VisitMut::visit(&mut select.having, &mut Orders);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let replaced = match factor {
            TableFactor::Table { name, args: Some(args), alias, .. } if is_predict(name) => {
                self.predict(name, &args.args, alias.as_ref()).map(Some)
            }
            TableFactor::Table { name, args: Some(args), alias, .. } => {
                self.table_function(name, &args.args, alias.as_ref()).map_err(|it| vec![it])
            }
            _ => Ok(None),
        };
        match replaced {
            Ok(Some(derived)) => *factor = derived,
            Ok(None) => {}
            Err(problems) => self.problems.extend(problems),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        part_of_time(expr);
        if self.mode == Mode::Stream
            && let Expr::Function(function) = expr
            && matches!(
                object_name(&function.name).as_str(),
                "now" | "current_timestamp" | "localtimestamp"
            )
        {
            let mut time = Ident::new(meta::RECEIVED_AT);
            time.span = function.name.span();
            *expr = Expr::Identifier(time);
        }
        ControlFlow::Continue(())
    }
}

/// `hour(ts)` and its like are `date_part('hour', ts)`, `date(ts)` is a cast.
fn part_of_time(expr: &mut Expr) {
    const PARTS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];
    let Expr::Function(function) = &mut *expr else { return };
    let name = object_name(&function.name);
    let FunctionArguments::List(list) = &mut function.args else { return };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(time))] = list.args.as_slice() else { return };
    if PARTS.contains(&name.as_str()) {
        let part = Expr::value(Value::SingleQuotedString(name));
        let mut date_part = Ident::new("date_part");
        date_part.span = function.name.span();
        list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(part)));
        function.name = date_part.into();
    } else if name == "date" {
        *expr = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(time.clone()),
            data_type: AstDataType::Date,
            array: false,
            format: None,
        };
    }
}

impl Rewriter<'_> {
    /// Replaces `*` by the visible columns where a relation in FROM has hidden ones.
    fn hide_columns(&self, select: &mut Select) {
        let factors: Vec<(Ident, Option<Vec<String>>)> = select
            .from
            .iter()
            .flat_map(|from| {
                std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
            })
            .map(|factor| self.visible(factor))
            .collect();
        if factors.iter().all(|(_, columns)| columns.is_none()) {
            return;
        }
        let columns_of = |(name, columns): &(Ident, Option<Vec<String>>)| match columns {
            Some(columns) => columns
                .iter()
                .map(|column| {
                    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![
                        name.clone(),
                        Ident::with_quote('"', column),
                    ]))
                })
                .collect(),
            None => vec![SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(name.clone().into()),
                WildcardAdditionalOptions::default(),
            )],
        };
        select.projection = std::mem::take(&mut select.projection)
            .into_iter()
            .flat_map(|item| match &item {
                SelectItem::Wildcard(options) if *options == plain(options) => {
                    factors.iter().flat_map(columns_of).collect()
                }
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) if *options == plain(options) => factors
                    .iter()
                    .find(|(factor, _)| factor.value == object_name(name))
                    .map_or_else(|| vec![item.clone()], columns_of),
                _ => vec![item],
            })
            .collect();
    }

    /// The name of a factor in FROM, and its visible columns if it has hidden ones.
    fn visible(&self, factor: &TableFactor) -> (Ident, Option<Vec<String>>) {
        let TableFactor::Table { name, alias, args, .. } = factor else {
            let alias = match factor {
                TableFactor::Derived { alias: Some(alias), .. } => alias.name.clone(),
                _ => Ident::new(""),
            };
            return (alias, None);
        };
        let function = args.as_ref().map(|_| object_name(name));
        let relation = match args {
            None => object_name(name),
            Some(args) => match relation_of(name, &args.args) {
                Some((relation, _)) => relation,
                None => return (Ident::new(""), None),
            },
        };
        let last = Ident::new(relation.rsplit('.').next().unwrap_or_default());
        let as_name = alias.as_ref().map_or(last, |alias| alias.name.clone());
        let Some(schema) = self.names.schema(&relation) else { return (as_name, None) };
        if !schema.fields().iter().any(|field| is_hidden(field.name())) {
            return (as_name, None);
        }
        let mut columns: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| field.name())
            .filter(|name| !is_hidden(name))
            .cloned()
            .collect();
        match function.as_deref() {
            Some("tumble") => columns.extend(["window_start", "window_end"].map(str::to_owned)),
            Some("predict") => columns.extend(FORECAST_COLUMNS.map(str::to_owned)),
            _ => {}
        }
        (as_name, Some(columns))
    }

    /// Whether FROM is one relation that has `_offset` and `_row`.
    fn reads_records(&self, select: &Select) -> bool {
        let [from] = select.from.as_slice() else { return false };
        if !from.joins.is_empty() {
            return false;
        }
        let TableFactor::Table { name, args, .. } = &from.relation else { return false };
        let relation = match args {
            None => object_name(name),
            Some(args) => match relation_of(name, &args.args) {
                Some((relation, _)) => relation,
                None => return false,
            },
        };
        self.names.schema(&relation).is_some_and(|schema| {
            schema.column_with_name(meta::OFFSET).is_some()
                && schema.column_with_name(meta::ROW).is_some()
        })
    }

    fn table_function(
        &self,
        name: &ObjectName,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
    ) -> Result<Option<TableFactor>, SqlProblem> {
        let function = object_name(name).to_ascii_lowercase();
        let place = self.text.range(datafusion_span(name.span()));
        if TABLE_FUNCTIONS_UNBUILT.contains(&function.as_str()) {
            return Err(refused(format!("`{function}()` is not built yet"), place));
        }
        if !TABLE_FUNCTIONS.contains(&function.as_str()) {
            let near = nearest(&function, TABLE_FUNCTIONS);
            return Err(SqlProblem {
                code: "T0301",
                message: format!("no table function `{function}`"),
                label: near.map(|near| format!("did you mean `{near}`?")),
                hint: Some(format!("There are: {}.", TABLE_FUNCTIONS.join(", "))),
                range: place,
            });
        }
        let Some((relation, relation_name)) = args.first().and_then(name_argument) else {
            return Err(refused(format!("`{function}()` needs the name of a relation"), place));
        };
        let Some(entry) = self.names.get(&relation) else {
            // The planner reports the unknown name with its place.
            return Ok(Some(table(relation_name, alias.cloned())));
        };
        let (template, time) = if function == "tumble" {
            let [_, time, size] = args else {
                return Err(refused("`tumble()` takes a relation, a time and a size", place));
            };
            let (Some(time), Some(size)) = (argument(time), argument(size)) else {
                return Err(refused("`tumble()` takes a relation, a time and a size", place));
            };
            let size = interval_micros(size)
                .ok_or_else(|| refused("the size of a window is a constant interval of days or less, such as `interval '1 hour'`", self.text.range(datafusion_span(size.span()))))?;
            let sql = format!(
                "SELECT *, __window_start(__time, {size}) AS window_start, \
                 __window_end(__time, {size}) AS window_end FROM __relation"
            );
            (sql, Some(time.clone()))
        } else if self.names.get(&format!("latest.{relation}")).is_some() {
            let latest = ObjectName(vec![
                ObjectNamePart::Identifier(Ident::with_quote('"', "latest")),
                ObjectNamePart::Identifier(Ident::with_quote('"', &relation)),
            ]);
            let alias = alias.cloned().unwrap_or_else(|| alias_of(&relation));
            return Ok(Some(table(latest, Some(alias))));
        } else {
            if entry.key.is_empty() {
                return Err(SqlProblem {
                    code: "T0305",
                    message: format!("`{relation}` has no key, so it has no latest rows"),
                    label: None,
                    hint: Some("Give its source a `key`.".to_owned()),
                    range: place,
                });
            }
            let columns: Vec<String> = self
                .names
                .schema(&relation)
                .map(|schema| schema.fields().iter().map(|f| quoted(f.name())).collect())
                .unwrap_or_default();
            let key: Vec<String> = entry.key.iter().map(|column| quoted(column)).collect();
            let sql = format!(
                "SELECT {columns} FROM (SELECT *, row_number() OVER (PARTITION BY {key} \
                 ORDER BY _offset DESC, _row DESC) AS __newest FROM __relation) WHERE __newest = 1",
                columns = columns.join(", "),
                key = key.join(", "),
            );
            (sql, None)
        };
        let alias = alias.cloned().unwrap_or_else(|| alias_of(&relation));
        Ok(Some(derived(&template, relation_name, time, alias)))
    }

    fn predict(
        &self,
        name: &ObjectName,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
    ) -> Result<TableFactor, Vec<SqlProblem>> {
        let place = |name: &ObjectName| self.text.range(datafusion_span(name.span()));
        let [model, relation] = args else {
            let message = "`predict()` takes the name of a model and that of a relation";
            return Err(vec![refused(message, place(name))]);
        };
        let (Some((model, model_name)), Some((relation, relation_name))) =
            (name_argument(model), name_argument(relation))
        else {
            let message = "`predict()` takes the name of a model and that of a relation";
            return Err(vec![refused(message, place(name))]);
        };
        let Some(named) = self.names.model(&model) else {
            let near = nearest(&model, self.names.models());
            let all: Vec<&str> = self.names.models().collect();
            return Err(vec![SqlProblem {
                code: "T0301",
                message: format!("no model `{model}`"),
                label: near.map(|near| format!("did you mean `{near}`?")),
                hint: near.is_none().then(|| match all.as_slice() {
                    [] => "The project declares no model.".to_owned(),
                    all => format!("There are: {}.", all.join(", ")),
                }),
                range: place(&model_name),
            }]);
        };
        let columns = &named.columns;
        let template = match self.names.get(&relation) {
            // What WITH declares is typed only when it is planned.
            _ if self.local.contains(&relation) => predict::template(&model, columns, &[], false),
            // The planner reports the unknown name with its place.
            None => return Ok(table(relation_name, alias.cloned())),
            Some(entry) => {
                let schema = entry.schema();
                let place = place(&relation_name);
                let misfits = predict::misfits(&model, columns, &relation, &schema, place.as_ref());
                if !misfits.is_empty() {
                    return Err(misfits);
                }
                let has = |column| schema.column_with_name(column).is_some();
                let has_arrival = has(meta::OFFSET) && has(meta::ROW);
                predict::template(&model, columns, &entry.key, has_arrival)
            }
        };
        let alias = alias.cloned().unwrap_or_else(|| alias_of(&relation));
        Ok(derived(&template, relation_name, None, alias))
    }
}

/// Makes a derived table from a template by putting the user's own names into it.
fn derived(
    template: &str,
    relation: ObjectName,
    time: Option<Expr>,
    alias: TableAlias,
) -> TableFactor {
    struct Fill {
        relation: ObjectName,
        time: Option<Expr>,
    }
    impl VisitorMut for Fill {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
            if object_name(relation) == "__relation" {
                *relation = self.relation.clone();
            }
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let (Expr::Identifier(ident), Some(time)) = (&*expr, &self.time)
                && ident.value == "__time"
            {
                *expr = time.clone();
            }
            ControlFlow::Continue(())
        }
    }
    let mut statements = DFParser::parse_sql(template).expect("our own SQL parses");
    let Some(ParserStatement::Statement(mut statement)) = statements.pop_front() else {
        unreachable!("our own SQL is one statement")
    };
    let _ = VisitMut::visit(statement.as_mut(), &mut Fill { relation, time });
    let Statement::Query(query) = *statement else { unreachable!("our own SQL is a query") };
    TableFactor::Derived { lateral: false, subquery: query, alias: Some(alias), sample: None }
}

/// Makes ORDER BYs exact: see the module's doc.
struct Orders;

impl VisitorMut for Orders {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(Function { args, over, within_group, .. }) = expr else {
            return ControlFlow::Continue(());
        };
        match over {
            Some(WindowType::WindowSpec(spec)) => order_by_arrival(&mut spec.order_by),
            Some(WindowType::NamedWindow(_)) => {}
            None => {
                if let FunctionArguments::List(list) = args {
                    for clause in &mut list.clauses {
                        if let FunctionArgumentClause::OrderBy(order_by) = clause {
                            order_by_arrival(order_by);
                            break_ties_by_arrival(order_by);
                        }
                    }
                }
                order_by_arrival(within_group);
            }
        }
        ControlFlow::Continue(())
    }
}

/// `ORDER BY _offset` becomes `ORDER BY _offset, _row`, in the same direction.
fn order_by_arrival(order_by: &mut Vec<OrderByExpr>) {
    let Some(last) = order_by.last() else { return };
    if column_name(&last.expr) == Some(meta::OFFSET) {
        let mut row = last.clone();
        row.expr = sibling(&last.expr, meta::ROW);
        order_by.push(row);
    }
}

fn break_ties_by_arrival(order_by: &mut Vec<OrderByExpr>) {
    let Some(last) = order_by.last() else { return };
    if matches!(column_name(&last.expr), Some(meta::OFFSET | meta::ROW)) {
        return;
    }
    let options = last.options;
    for column in [meta::OFFSET, meta::ROW] {
        order_by.push(OrderByExpr {
            expr: Expr::Identifier(Ident::new(column)),
            options,
            with_fill: None,
        });
    }
}

fn column_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Identifier(ident) => Some(&ident.value),
        Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.as_str()),
        _ => None,
    }
}

fn sibling(expr: &Expr, name: &str) -> Expr {
    match expr {
        Expr::CompoundIdentifier(parts) => {
            let mut parts = parts.clone();
            if let Some(last) = parts.last_mut() {
                *last = Ident::new(name);
            }
            Expr::CompoundIdentifier(parts)
        }
        _ => Expr::Identifier(Ident::new(name)),
    }
}

struct NamedWindow<'a>(&'a mut WindowSpec);

fn named_windows(select: &mut Select) -> impl Iterator<Item = NamedWindow<'_>> {
    select.named_window.iter_mut().filter_map(|definition| match &mut definition.1 {
        NamedWindowExpr::WindowSpec(spec) => Some(NamedWindow(spec)),
        NamedWindowExpr::NamedWindow(_) => None,
    })
}

/// The options of a `*` without anything after it, with the same token.
fn plain(options: &WildcardAdditionalOptions) -> WildcardAdditionalOptions {
    WildcardAdditionalOptions {
        wildcard_token: options.wildcard_token.clone(),
        ..WildcardAdditionalOptions::default()
    }
}

/// Whether a column is hidden from `SELECT *`.
pub fn is_hidden(column: &str) -> bool {
    column.starts_with('_')
}

/// A name as SQL takes it literally.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn alias_of(relation: &str) -> TableAlias {
    TableAlias {
        explicit: false,
        name: Ident::with_quote('"', relation),
        columns: Vec::new(),
        at: None,
    }
}

fn table(name: ObjectName, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn is_predict(function: &ObjectName) -> bool {
    object_name(function).eq_ignore_ascii_case("predict")
}

/// The relation that a function in FROM reads.
fn relation_of(function: &ObjectName, args: &[FunctionArg]) -> Option<(String, ObjectName)> {
    args.get(usize::from(is_predict(function))).and_then(name_argument)
}

fn name_argument(argument: &FunctionArg) -> Option<(String, ObjectName)> {
    match self::argument(argument)? {
        Expr::Identifier(ident) => {
            let name = ObjectName(vec![ObjectNamePart::Identifier(ident.clone())]);
            Some((object_name(&name), name))
        }
        Expr::CompoundIdentifier(parts) => {
            let parts = parts.iter().cloned().map(ObjectNamePart::Identifier).collect();
            let name = ObjectName(parts);
            Some((object_name(&name), name))
        }
        _ => None,
    }
}

fn argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// A name as it is looked up: parts joined by dots, unquoted ones in lower case, `public` left out.
fn object_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident())
        .map(|ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_ascii_lowercase(),
        })
        .collect();
    match parts.as_slice() {
        [schema, rest @ ..] if schema == "public" && !rest.is_empty() => rest.join("."),
        _ => parts.join("."),
    }
}

/// Microseconds of a constant interval without months; none for zero and less.
fn interval_micros(expr: &Expr) -> Option<i64> {
    let Expr::Interval(Interval { value, leading_field, .. }) = expr else { return None };
    let Expr::Value(value) = value.as_ref() else { return None };
    let mut text = match &value.value {
        Value::SingleQuotedString(text) => text.clone(),
        Value::Number(number, _) => number.to_string(),
        _ => return None,
    };
    if let Some(unit) = leading_field {
        text = format!("{text} {unit}");
    }
    let IntervalMonthDayNano { months, days, nanoseconds } =
        parse_interval_month_day_nano(&text).ok()?;
    let micros = i64::from(days)
        .checked_mul(thalweg_core::time::MICROS_PER_DAY)?
        .checked_add(nanoseconds / 1000)?;
    (months == 0 && micros > 0).then_some(micros)
}

pub(super) fn datafusion_span(
    span: datafusion::sql::sqlparser::tokenizer::Span,
) -> datafusion::common::Span {
    datafusion::common::Span::try_from_sqlparser_span(span).unwrap_or(datafusion::common::Span {
        start: datafusion::common::Location { line: 0, column: 0 },
        end: datafusion::common::Location { line: 0, column: 0 },
    })
}

/// Puts the row's `_received_at` where an expression asks for the time (S3).
pub(crate) fn now_is_received_at(
    expression: datafusion::logical_expr::Expr,
) -> datafusion::common::Result<datafusion::logical_expr::Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    use datafusion::logical_expr::{Expr, col};
    let transformed = expression.transform(|expression| {
        Ok(match &expression {
            Expr::ScalarFunction(function)
                if matches!(function.func.name(), "now" | "current_timestamp") =>
            {
                Transformed::yes(col(meta::RECEIVED_AT))
            }
            _ => Transformed::no(expression),
        })
    })?;
    Ok(transformed.data)
}
