//! `POST /sources/{source}/records`: records that others post, answered when they are durable.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use thalweg_core::Error;
use utoipa::ToSchema;

use super::input::Problems;
use crate::app::App;
use crate::problem::{Code, Problem};

/// What was taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct PushedRecords {
    /// How many records.
    records: u64,
    /// Offset of the first; none when there was none.
    first_offset: Option<i64>,
    /// Offset of the last; none when there was none.
    last_offset: Option<i64>,
}

/// Takes records for a source with `push = true`: one JSON value, or an array of them. They are on
/// stable storage when this answers.
#[utoipa::path(
    post,
    path = "/sources/{source}/records",
    tag = "actions",
    params(("source" = String, Path, description = "a source that takes what is posted")),
    request_body = Value,
    responses((status = 202, description = "what was taken", body = PushedRecords), Problems)
)]
pub(crate) async fn push(
    State(app): State<App>,
    Path(source): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<PushedRecords>), Problem> {
    let body = body.map_err(|error| {
        let code = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
            _ => Code::Invalid,
        };
        let problem = Problem::new(code, "the records cannot be read");
        let bytes = app.limits.body_bytes;
        problem
            .with_detail(format!("{}.", error.body_text()))
            .with_hint(format!("Send at most {bytes} bytes at a time."))
    })?;
    let Ok(permit) = Arc::clone(&app.pushes).try_acquire_owned() else {
        return Err(Problem {
            retry_after: Some(1),
            ..Problem::new(Code::TooManyAttempts, "too many posts at a time")
                .with_hint("Send more records in one post, or wait for the answers.")
        });
    };
    // In a task of its own: what is under way is written, even when nobody waits for the answer.
    let control = Arc::clone(&app.parts.control);
    let taking = app.parts.env.spawn(async move {
        let _permit = permit;
        control.push(&source, body).await
    });
    let pushed = taking
        .await
        .map_err(|error| Error::internal("taking the records broke down").with_source(error))??;
    Ok((
        StatusCode::ACCEPTED,
        Json(PushedRecords {
            records: pushed.records,
            first_offset: pushed.offsets.map(|span| span.first),
            last_offset: pushed.offsets.map(|span| span.last),
        }),
    ))
}
