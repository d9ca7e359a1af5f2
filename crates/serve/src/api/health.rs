//! `/health/…` and `/metrics`: for supervisors and Prometheus.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::input::Problems;
use crate::app::App;
use crate::config::Health;

/// Answers while the process does.
#[utoipa::path(
    get,
    path = "/health/live",
    tag = "operation",
    security(()),
    responses((status = 200, description = "the process answers", body = String, example = "ok"))
)]
pub(crate) async fn health_live() -> &'static str {
    "ok\n"
}

/// Whether requests are served from a state as new as it should be, and what is wrong.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "operation",
    responses(
        (status = 200, description = "ready", body = Health),
        (status = 503, description = "not ready", body = Health),
        Problems,
    )
)]
pub(crate) async fn health_ready(State(app): State<App>) -> Response {
    let health = (app.parts.health)();
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

/// Metrics in Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses((status = 200, description = "metrics", body = String), Problems)
)]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics()).into_response()
}
