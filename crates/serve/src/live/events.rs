//! The live feed of one view as server-sent events, for `curl` and notebooks.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use futures::stream;

use super::feed::Target;
use super::subscription::{Frame, FrameKind};
use crate::api::input::{Problems, Segment, ViewParams, pairs};
use crate::app::App;
use crate::problem::Problem;

/// Time after which an idle stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Follows a view: events `snapshot`, `delta` and `problem` with a `LiveFrame` each.
#[utoipa::path(
    get,
    path = "/live/{view}",
    tag = "live",
    params(("view" = String, Path, description = "a relation of the schema `public`, or `latest(x)`: the newest row of each key of `x`"), ViewParams),
    responses(
        (status = 200, description = "the feed", content_type = "text/event-stream", body = String),
        Problems,
    )
)]
pub(crate) async fn live_events(
    State(app): State<App>,
    Segment(view): Segment,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let permit = super::permit(&app)?;
    let target = Target::of_view(&app, &view, &pairs(query.as_deref()))?;
    let subscription = app.feeds.subscribe(target)?;
    let frames = stream::unfold(Some(subscription), |subscription| async {
        let mut subscription = subscription?;
        loop {
            subscription.changed().await;
            if let Some(frame) = subscription.frame(None) {
                let goes_on = frame.kind != FrameKind::End;
                return Some((frame, goes_on.then_some(subscription)));
            }
        }
    });
    let shutdown = app.parts.env.shutdown.clone().cancelled_owned();
    let events = frames.take_until(shutdown).map(move |frame| {
        // Held as long as the stream.
        let _ = &permit;
        Ok::<_, Infallible>(event(frame))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn event(frame: Frame) -> Event {
    let event = Event::default().event(match frame.kind {
        FrameKind::Snapshot => "snapshot",
        FrameKind::Delta => "delta",
        FrameKind::Error | FrameKind::End => "problem",
    });
    let event = match frame.seq {
        Some(seq) => event.id(seq.to_string()),
        None => event,
    };
    event.data(frame.text)
}
