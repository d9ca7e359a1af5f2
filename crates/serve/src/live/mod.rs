//! Live results: the whole once, then what changes (`docs/reference/live.md`).
//!
//! ```text
//! QueryEngine::changes ─▶ feed (one per SQL, parameters and key: evaluates, at most 10/s)
//!                           └─ its newest result ─▶ subscription (what this client has)
//!                                                     └─ diff ─▶ WebSocket · events
//! ```
//!
//! Nothing is queued for a client: a feed keeps its newest result, a subscription the one it has
//! sent, and a frame is made when the client can take it. So a slow client gets fewer frames, and
//! the newest value of each key wins (S25).

mod collect;
mod diff;
pub(crate) mod events;
pub(crate) mod feed;
pub(crate) mod protocol;
pub(crate) mod socket;
mod subscription;
mod target;

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::app::Shared;
use crate::problem::Problem;

/// A place among the open WebSockets and event streams.
fn permit(app: &Shared) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&app.live_streams).try_acquire_owned().map_err(|_| {
        Problem::busy(format!("{} live streams are open already", app.limits.live_streams))
            .with_hint("Close a tab or a program that follows a view.")
    })
}
