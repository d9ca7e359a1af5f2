//! Routes, and the OpenAPI document made from them: a route that is not in it cannot be added.
//!
//! `docs/reference/http.md` is the page to them. What a route does is in its own module; `login`
//! and `logout` are in `auth`, the live feed in `live`.

mod actions;
mod health;
pub(crate) mod input;
mod project;
mod push;
mod query;
mod runs;
mod topics;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::input::Problems;
use crate::app::App;
use crate::auth::login;
use crate::live::{events, protocol, socket};
use crate::problem::Problem;

/// What every path of the API begins with.
pub(crate) const BASE: &str = "/api/v1";

/// What the document says besides its paths.
#[derive(OpenApi)]
#[openapi(
    info(title = "thalweg", description = "Feeds, tables, forecasts and dashboards of one project."),
    security(("token" = []), ("session" = [])),
    modifiers(&Access),
    components(schemas(
        Problem,
        query::RowsBody,
        protocol::LiveRequest,
        protocol::LiveFrame,
    )),
    tags(
        (name = "reading", description = "SQL, views and system tables"),
        (name = "live", description = "results that follow what they read"),
        (name = "actions", description = "what a person can ask for"),
        (name = "project", description = "what the screen draws itself from"),
        (name = "operation", description = "for supervisors and Prometheus"),
        (name = "session", description = "logging a browser in and out"),
    )
)]
struct Document;

/// How a request shows that it may.
struct Access;

impl Modify for Access {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let session = ApiKey::Cookie(ApiKeyValue::new("thalweg_session_{port}"));
        components.add_security_scheme("token", token);
        components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    }
}

/// All routes but those of the screen, with their document.
fn documented() -> OpenApiRouter<App> {
    let api = OpenApiRouter::new()
        .routes(routes!(openapi))
        .routes(routes!(health::health_live))
        .routes(routes!(health::health_ready))
        .routes(routes!(health::metrics))
        .routes(routes!(project::project))
        .routes(routes!(project::dashboards))
        .routes(routes!(query::sql))
        .routes(routes!(query::view))
        .merge(query::lists())
        .routes(routes!(socket::live_socket))
        .routes(routes!(events::live_events))
        .routes(routes!(runs::run_log))
        .routes(routes!(runs::task_log))
        .routes(routes!(topics::records))
        .routes(routes!(push::push))
        .routes(routes!(actions::run_job))
        .routes(routes!(actions::backfill))
        .routes(routes!(actions::cancel_run))
        .routes(routes!(actions::retry_run))
        .routes(routes!(actions::train_model))
        .routes(routes!(actions::evaluate_model))
        .routes(routes!(actions::promote_model))
        .routes(routes!(actions::rollback_model))
        .routes(routes!(actions::pause_source))
        .routes(routes!(actions::resume_source))
        .routes(routes!(actions::mark_task))
        .routes(routes!(actions::pause_job))
        .routes(routes!(actions::resume_job))
        .routes(routes!(actions::pause_stream))
        .routes(routes!(actions::resume_stream))
        .routes(routes!(actions::compact_table))
        .routes(routes!(actions::vacuum_table))
        .routes(routes!(actions::adopt_sink))
        .routes(routes!(actions::reset_sink));
    OpenApiRouter::with_openapi(Document::openapi())
        .nest(BASE, api)
        .routes(routes!(login::log_in, login::log_in_by_form))
        .routes(routes!(login::log_out))
}

/// The routes.
pub(crate) fn router() -> Router<App> {
    documented().split_for_parts().0
}

/// The OpenAPI document as JSON, as `/api/v1/openapi.json` serves it.
pub fn openapi_json() -> String {
    let mut document = documented().into_openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    document.to_pretty_json().expect("the document is written to memory")
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "project",
    responses((status = 200, description = "the OpenAPI document", body = serde_json::Value), Problems)
)]
async fn openapi(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi.clone()).into_response()
}
