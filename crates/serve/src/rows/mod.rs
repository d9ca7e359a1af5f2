//! Results of queries as HTTP answers: JSON, JSON lines, CSV or an Arrow stream.
//!
//! Rows are sent as they come: nothing holds a whole result. The first [`HEAD_BYTES`] are made
//! before the status is sent, so an error in them is a problem document; a later one cuts the
//! connection, so that nobody takes a part for the whole.
//!
//! The forms are `docs/reference/http.md`, "Results" and "Values". Not here: live results.

mod encode;
mod format;
pub(crate) mod value;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream, Stream};
use thalweg_core::query::Query;
use thalweg_core::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use self::encode::Encoder;
pub(crate) use self::encode::{ColumnInfo, columns, readers, write_row};
pub(crate) use self::format::Format;
use crate::app::Shared;
use crate::problem::Problem;

/// Bytes made before the status is sent.
const HEAD_BYTES: usize = 256 * 1024;
/// Pieces that wait for a slow client.
const PIECES_MAX: usize = 2;

/// Runs a query and answers with its rows; `download` is the name of the file a browser shall save.
pub(crate) async fn answer(
    app: &Shared,
    query: Query,
    format: Format,
    download: Option<&str>,
) -> Result<Response, Problem> {
    let permit = permit(app).await?;
    let rows = app.parts.engine.query(query).await?;
    let mut batches = rows.batches;
    let mut encoder = Encoder::new(format, &rows.schema)?;
    let mut head = Vec::new();
    encoder.begin(&mut head)?;
    let mut ended = false;
    while !ended && head.len() < HEAD_BYTES {
        ended = encode_next(&mut batches, &mut encoder, &mut head).await?;
    }
    let body = if ended {
        Body::from(head)
    } else {
        let (pieces, body) = mpsc::channel(PIECES_MAX);
        let tail = Tail { pieces, batches, encoder, write_time: app.limits.write_time };
        let shutdown = app.parts.env.shutdown.clone();
        app.parts.env.spawn(async move {
            tokio::select! {
                () = tail.send(head) => {}
                () = shutdown.cancelled() => {}
            }
            drop(permit);
        });
        Body::from_stream(whole(body))
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if let Some(name) = download {
        headers.insert(header::CONTENT_DISPOSITION, attachment(name));
    }
    Ok(response)
}

/// Waits for a free place among the running queries.
async fn permit(app: &Shared) -> Result<OwnedSemaphorePermit, Problem> {
    let permit = Arc::<Semaphore>::clone(&app.queries).acquire_owned();
    match timeout(app.limits.query_wait, permit).await {
        Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
        Err(_) => Err(Problem::busy(format!("{} queries are running already", app.limits.queries))
            .with_hint("Wait for one to end, or ask for less with `limit`.")),
    }
}

/// Encodes the next batch, or what follows the last one; says whether that was it.
async fn encode_next(
    batches: &mut BoxStream<'static, Result<RecordBatch>>,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) -> Result<bool> {
    match batches.next().await {
        Some(batch) => encoder.batch(&batch?, out).map(|()| false),
        None => encoder.end(out).map(|()| true),
    }
}

/// What is left of an answer after its head.
struct Tail {
    /// Pieces of the body; `None` says that nothing is missing.
    pieces: mpsc::Sender<Option<Bytes>>,
    batches: BoxStream<'static, Result<RecordBatch>>,
    encoder: Encoder,
    write_time: Duration,
}

impl Tail {
    /// Sends `piece` and all that follows, until the client is gone or too slow.
    async fn send(mut self, mut piece: Vec<u8>) {
        loop {
            if !piece.is_empty() {
                let piece = Some(std::mem::take(&mut piece).into());
                match timeout(self.write_time, self.pieces.send(piece)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_gone)) => return,
                    Err(_) => return tracing::warn!("an answer was cut: the client does not read"),
                }
            }
            let encoding = encode_next(&mut self.batches, &mut self.encoder, &mut piece);
            let encoded = tokio::select! {
                encoded = encoding => encoded,
                () = self.pieces.closed() => return,
            };
            match encoded {
                Ok(false) => {}
                Ok(true) => {
                    let rest = (!piece.is_empty()).then(|| Some(piece.into()));
                    for piece in rest.into_iter().chain([None]) {
                        let sent = timeout(self.write_time, self.pieces.send(piece)).await;
                        if !matches!(sent, Ok(Ok(()))) {
                            return;
                        }
                    }
                    return;
                }
                Err(error) => return tracing::warn!("an answer was cut: {}", error.chain()),
            }
        }
    }
}

/// The pieces as a body that fails, which cuts the connection, unless they end with `None`.
fn whole(pieces: mpsc::Receiver<Option<Bytes>>) -> impl Stream<Item = Result<Bytes>> {
    stream::unfold(Some(pieces), |pieces| async {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some(pieces))),
            Some(None) => None,
            None => Some((Err(Error::unavailable("the answer was cut short")), None)),
        }
    })
}

/// `Content-Disposition`, with a name any file system takes.
fn attachment(name: &str) -> HeaderValue {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' })
        .collect();
    HeaderValue::try_from(format!("attachment; filename=\"{name}\""))
        .expect("the name is printable ASCII")
}
