//! Reading: SQL, views, and the lists, which are the system tables.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::Value;
use thalweg_core::query::Query;
use utoipa::openapi::path::{Operation, OperationBuilder, ParameterIn};
use utoipa::openapi::{
    Content, HttpMethod, Ref, RefOr, Response as ResponseDoc, ResponseBuilder, ResponsesBuilder,
};
use utoipa::{IntoParams as _, IntoResponses, PartialSchema as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::input::{Body, Problems, Segment, ViewParams, pairs};
use crate::app::{App, Shared};
use crate::problem::Problem;
use crate::rows::{ColumnInfo, Format, answer};
use crate::select::{Selection, View, select};

/// A statement.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlRequest {
    /// One read-only statement; `$name` stands for a parameter.
    sql: String,
    /// Values of the parameters, by name without `$`.
    #[serde(default)]
    params: BTreeMap<String, Value>,
}

/// Rows as JSON.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document: rows are written as they come")]
pub(crate) struct RowsBody {
    /// The columns.
    columns: Vec<ColumnInfo>,
    /// The rows, each an array in the order of `columns`.
    rows: Vec<Vec<Value>>,
    /// How many rows there are.
    row_count: u64,
}

/// Rows in any of their forms, or a problem.
pub(crate) struct RowsAnswer;

impl IntoResponses for RowsAnswer {
    fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
        let text = || Some(String::schema());
        let rows = ResponseBuilder::new()
            .description("the rows, in the form that `Accept` prefers")
            .content("application/json", Content::new(Some(Ref::from_schema_name("RowsBody"))))
            .content("application/x-ndjson", Content::new(text()))
            .content("text/csv", Content::new(text()))
            .content("application/vnd.apache.arrow.stream", Content::new(text()))
            .build();
        let mut responses = Problems::responses();
        responses.insert("200".to_owned(), rows.into());
        responses
    }
}

/// Runs one read-only statement.
#[utoipa::path(
    post,
    path = "/sql",
    tag = "reading",
    request_body = SqlRequest,
    responses(RowsAnswer)
)]
pub(crate) async fn sql(
    State(app): State<App>,
    headers: HeaderMap,
    Body(request): Body<SqlRequest>,
) -> Result<Response, Problem> {
    let format = Format::of_accept(&headers)?;
    let SqlRequest { sql, params } = request;
    let query = Query { params, limits: app.limits.query, ..Query::new(sql) };
    answer(&app, query, format, None).await
}

/// Rows of a source, stream, table, view or model; `.json`, `.jsonl`, `.csv` or `.arrow` after the
/// name says the form, and a browser saves it.
#[utoipa::path(
    get,
    path = "/views/{name}",
    tag = "reading",
    params(("name" = String, Path, description = "a relation of the schema `public`, or `latest(x)`: the newest row of each key of `x`"), ViewParams),
    responses(RowsAnswer)
)]
pub(crate) async fn view(
    State(app): State<App>,
    Segment(name): Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // A relation's own name may end like a form.
    let (view, format, download) = match app.view(&name) {
        Ok(view) => (view, Format::of_accept(&headers)?, None),
        Err(problem) => match Format::of_ending(&name) {
            Some((stem, format)) => (app.view(stem)?, format, Some(name.as_str())),
            None => return Err(problem),
        },
    };
    read(&app, &view, query.as_deref(), format, download).await
}

async fn read(
    app: &Shared,
    view: &View,
    query: Option<&str>,
    format: Format,
    download: Option<&str>,
) -> Result<Response, Problem> {
    let Selection { sql, params } = select(view, &pairs(query))?;
    let query = Query { params, limits: app.limits.query, ..Query::new(sql) };
    answer(app, query, format, download).await
}

/// Path, system table, and what a row is.
const LISTS: [(&str, &str, &str); 20] = [
    ("/sources", "sources", "sources, with what they have received"),
    ("/topics", "topics", "topics of the log"),
    ("/streams", "streams", "streams, with their watermarks and state"),
    ("/tables", "tables", "tables of the lake"),
    ("/sinks", "sinks", "sinks, with their guarantees and what they hold"),
    ("/views", "views", "views that are served"),
    ("/quarantine", "quarantine", "records that did not decode or failed a check"),
    ("/late", "late", "rows that came after their windows had closed"),
    ("/layer_diff", "layer_diff", "rows in which live and batch of a finished day differ"),
    ("/ledger", "ledger", "what went in and what came out, part by part"),
    ("/gaps", "gaps", "stretches that a live source missed"),
    ("/jobs", "jobs", "jobs, with their schedules"),
    ("/runs", "runs", "runs of jobs"),
    ("/tasks", "tasks", "tasks of runs"),
    ("/models", "models", "models, with their champions"),
    ("/versions", "model_versions", "versions of models"),
    ("/evaluations", "evaluations", "evaluations of models"),
    ("/alerts", "alerts", "alerts that have fired"),
    ("/graph", "graph", "edges of the flow"),
    ("/audit", "audit", "who did what"),
];

/// The lists: each a system table, read like a view.
pub(crate) fn lists() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::new();
    for (path, table, rows) in LISTS {
        router = router.route(
            path,
            get(async move |app: State<App>, query: RawQuery, headers: HeaderMap| {
                list(app, table, query, headers).await
            }),
        );
        let operation = list_operation(table, rows);
        router.get_openapi_mut().paths.add_path_operation(path, vec![HttpMethod::Get], operation);
    }
    router
}

async fn list(
    State(app): State<App>,
    table: &str,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = View { relation: app.relation("system", table)?, is_latest: false };
    read(&app, &view, query.as_deref(), Format::of_accept(&headers)?, None).await
}

fn list_operation(table: &str, rows: &str) -> Operation {
    let responses = ResponsesBuilder::new().responses_from_into_responses::<RowsAnswer>().build();
    OperationBuilder::new()
        .operation_id(Some(format!("list_{table}")))
        .tag("reading")
        .summary(Some(format!("Rows of `system.{table}`: {rows}.")))
        .parameters(Some(ViewParams::into_params(|| Some(ParameterIn::Query))))
        .responses(responses)
        .build()
}
