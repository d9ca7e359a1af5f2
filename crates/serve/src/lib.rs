//! The HTTP door: REST, live results, the screen.
//!
//! It reads through [`QueryEngine`](thalweg_core::query::QueryEngine) and acts through
//! [`Control`](thalweg_core::control::Control); it knows neither DataFusion nor where anything is
//! kept. In the order of a request:
//!
//! [`server`] (connections) → `auth` (who asks) → `api` (routes, OpenAPI) → `select` (SQL of a view)
//! → `rows` (answers) or `live` (feeds, diffs, WebSocket, server-sent events); `ui` is the screen.
//!
//! Invariants: nothing but loopback is listened on (S28); every queue has a bound and every wait a
//! deadline or a shutdown signal (S25); names reach SQL only when [`relations`] lists them, values
//! only as parameters (S29); the screen has no route of its own.
//!
//! The normative pages are `docs/reference/http.md` and `docs/reference/live.md`. Not here: the
//! Postgres wire protocol, and what actions do.
//!
//! [`relations`]: thalweg_core::query::QueryEngine::relations

mod api;
mod app;
mod auth;
pub mod config;
pub mod dashboard;
mod live;
mod problem;
mod rows;
mod select;
pub mod server;
mod ui;

pub use api::openapi_json;
pub use auth::token::AdminToken;
pub use config::{Health, HealthProblem, Limits, Parts, ProjectInfo, ServeConfig};
pub use dashboard::{Dashboard, Filter, Panel};
pub use server::Server;
