//! What the server is given: where to listen, what it may use, and the parts it speaks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thalweg_core::control::Control;
use thalweg_core::env::{Clock, Env};
use thalweg_core::query::{QueryEngine, QueryLimits};
use utoipa::ToSchema;

use crate::auth::token::AdminToken;
use crate::dashboard::Dashboard;

/// Where to listen, who may come in, and how much each may use.
pub struct ServeConfig {
    /// Address to listen on; port 0 picks a free one. Only loopback (S28).
    pub listen: SocketAddr,
    /// The token every request must show.
    pub admin_token: AdminToken,
    /// Bounds.
    pub limits: Limits,
    /// Clock of frames, heartbeats and sessions: the machine's, whatever `--clock` says, because
    /// browsers live by it.
    pub clock: Clock,
}

impl ServeConfig {
    /// Default limits, the machine's clock.
    pub fn new(listen: SocketAddr, admin_token: AdminToken) -> Self {
        Self { listen, admin_token, limits: Limits::default(), clock: Clock::system() }
    }
}

/// What the server speaks for.
pub struct Parts {
    /// Answers SQL.
    pub engine: Arc<dyn QueryEngine>,
    /// Carries out actions.
    pub control: Arc<dyn Control>,
    /// The dashboards of the project file, in its order.
    pub dashboards: Vec<Dashboard>,
    /// Whether the process is ready, and what is wrong; called per request, must not block.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
    /// Metrics of the other parts in Prometheus' text format; called per request, must not block.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Name, time zone, version.
    pub project: ProjectInfo,
    /// Spawning, shutdown, and the project's clock: the `now` of `/project` and of heartbeats.
    pub env: Env,
}

/// What the screen shows on its top line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectInfo {
    /// `project.name`.
    pub name: String,
    /// `project.timezone`: an IANA name.
    pub timezone: String,
    /// Version of thalweg.
    pub version: String,
}

/// The state of the process, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether requests are served from a state as new as it should be.
    pub ready: bool,
    /// One sentence for the top line, such as "All good." or "2 problems: …".
    pub sentence: String,
    /// What is wrong, worst first.
    pub problems: Vec<HealthProblem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthProblem {
    /// Kind and name of the part, such as `source trades`.
    pub part: String,
    /// What happened: one clause.
    pub message: String,
    /// What to do, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Bounds of everything a client can make the server hold or wait for (S25, S29, S30).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the listen queue. Default 512.
    pub connections: usize,
    /// Time to send a request's head, and an idle connection's life. Default 30 s.
    pub header_time: Duration,
    /// Bytes of a request's head. Default 64 KiB.
    pub header_bytes: usize,
    /// Bytes of a request's body. Default 1 MiB.
    pub body_bytes: usize,
    /// Time until an answer begins. Default 70 s, more than a query may take.
    pub answer_time: Duration,
    /// Time a client may take to accept the next piece of an answer. Default 30 s.
    pub write_time: Duration,
    /// Posts of records at a time; more are refused with 429. Default 64.
    pub pushes: usize,
    /// Queries at a time; more wait up to `query_wait`. Default 16.
    pub queries: usize,
    /// Default 5 s.
    pub query_wait: Duration,
    /// What one query may use. Default 1,000,000 rows, 60 s.
    pub query: QueryLimits,
    /// WebSockets and event streams at a time. Default 128.
    pub live_streams: usize,
    /// Subscriptions of one WebSocket. Default 64.
    pub live_subscriptions: usize,
    /// Different live results at a time. Default 256.
    pub live_feeds: usize,
    /// Bytes of one live result as JSON. Default 8 MB.
    pub live_bytes: usize,
    /// What one evaluation of a live result may use. Default 10,000 rows, 10 s.
    pub live_query: QueryLimits,
    /// Evaluations at a time. Default 4.
    pub live_evaluations: usize,
    /// Shortest time between two evaluations of one live result, and so between two frames of a
    /// subscription. Default 100 ms.
    pub live_interval: Duration,
    /// Time between heartbeats. Default 10 s.
    pub heartbeat: Duration,
    /// A WebSocket silent for longer is closed. Default 45 s.
    pub silence: Duration,
    /// Time connections get to end when the server stops. Default 5 s (S27 gives 10).
    pub stop_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            header_time: Duration::from_secs(30),
            header_bytes: 64 * 1024,
            body_bytes: 1024 * 1024,
            answer_time: Duration::from_secs(70),
            write_time: Duration::from_secs(30),
            pushes: 64,
            queries: 16,
            query_wait: Duration::from_secs(5),
            query: QueryLimits { rows_max: Some(1_000_000), time_max: Duration::from_secs(60) },
            live_streams: 128,
            live_subscriptions: 64,
            live_feeds: 256,
            live_bytes: 8_000_000,
            live_query: QueryLimits { rows_max: Some(10_000), time_max: Duration::from_secs(10) },
            live_evaluations: 4,
            live_interval: Duration::from_millis(100),
            heartbeat: Duration::from_secs(10),
            silence: Duration::from_secs(45),
            stop_time: Duration::from_secs(5),
        }
    }
}
