//! `/project` and `/dashboards`: what the screen draws itself from.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::input::Problems;
use crate::app::App;
use crate::dashboard::Dashboard;

/// The project, for the top line of the screen.
#[derive(Serialize, ToSchema)]
pub(crate) struct Project {
    /// `project.name`.
    name: String,
    /// `project.timezone`: an IANA name.
    timezone: String,
    /// Version of thalweg.
    version: String,
    /// The server's clock, RFC 3339: the machine's, unless `--clock` says otherwise.
    now: String,
}

/// Name, time zone, version and clock.
#[utoipa::path(
    get,
    path = "/project",
    tag = "project",
    responses((status = 200, description = "the project", body = Project), Problems)
)]
pub(crate) async fn project(State(app): State<App>) -> Json<Project> {
    let project = app.parts.project.clone();
    let now = app.parts.env.clock.now().to_string();
    Json(Project { name: project.name, timezone: project.timezone, version: project.version, now })
}

/// The dashboards of the project file, every panel with its SQL.
#[utoipa::path(
    get,
    path = "/dashboards",
    tag = "project",
    responses((status = 200, description = "the dashboards", body = Vec<Dashboard>), Problems)
)]
pub(crate) async fn dashboards(State(app): State<App>) -> Json<Vec<Dashboard>> {
    Json(app.parts.dashboards.clone())
}
