//! Connections: listening, limits, and an orderly end.
//!
//! HTTP/1.1 on loopback only (S28). A connection has a bounded head, a time to send it, and bounded
//! bodies; beyond the number of connections, clients wait in the listen queue (S25, S30).

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thalweg_core::{Error, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Shared};
use crate::config::{Parts, ServeConfig};
use crate::problem::Problem;
use crate::{api, auth, ui};

/// Sent with every answer. Styles may be inline, which editors and charts need; scripts may not.
const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Time to wait when no connection can be accepted: too many open files, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running server. It stops when the shutdown token of its `Env` fires.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    ended: CancellationToken,
}

impl Server {
    /// Listens and serves.
    ///
    /// # Errors
    ///
    /// `Invalid` when the address is not loopback; `Unavailable` when it cannot be listened on, with
    /// a hint when somebody else does already.
    pub async fn start(config: ServeConfig, parts: Parts) -> Result<Self> {
        let listener = listen(config.listen).await?;
        let address = listener.local_addr().map_err(|error| {
            Error::unavailable("the address listened on is not known").with_source(error)
        })?;
        let app = Arc::new(Shared::new(config, address.port(), parts, api::openapi_json()));
        let ended = CancellationToken::new();
        app.parts.env.spawn({
            let app = Arc::clone(&app);
            let ended = ended.clone();
            async move {
                accept(listener, app).await;
                ended.cancel();
            }
        });
        Ok(Self { address, ended })
    }

    /// The address listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when the last connection has ended, at most `stop_time` after the shutdown.
    pub async fn stopped(&self) {
        self.ended.cancelled().await;
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    if !address.ip().is_loopback() {
        return Err(Error::invalid(format!("{address} is not an address of this machine alone"))
            .with_detail("Whoever reaches it would need no more than a stolen token.")
            .with_hint(
                "Listen on 127.0.0.1, and reach it from elsewhere through a tunnel: \
                 `ssh -L 7070:127.0.0.1:7070 HOST`.",
            ));
    }
    TcpListener::bind(address).await.map_err(|error| {
        let is_taken = error.kind() == io::ErrorKind::AddrInUse;
        let refused = Error::unavailable(format!("cannot listen on {address}")).with_source(error);
        if is_taken {
            refused.with_hint(
                "Another program, perhaps another thalweg, listens there: stop it, or set \
                 `[server] http = \"127.0.0.1:0\"` for any free port.",
            )
        } else {
            refused
        }
    })
}

/// Accepts connections until the shutdown, then waits for them.
async fn accept(listener: TcpListener, app: App) {
    let shutdown = app.parts.env.shutdown.clone();
    let places = Arc::new(Semaphore::new(app.limits.connections));
    let connections = TaskTracker::new();
    let router = router(Arc::clone(&app));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place.expect("the semaphore is never closed"), listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve(stream, router.clone(), Arc::clone(&app));
                app.parts.env.spawn(connections.track_future(async move {
                    connection.await;
                    drop(place);
                }));
            }
            Err(error) => {
                tracing::warn!("no connection can be accepted: {error}");
                app.clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves one connection to its end.
async fn serve(stream: TcpStream, router: Router, app: App) {
    // Frames are small and shall not wait for more; failing that, they do.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.header_time)
        .max_header_size(app.limits.header_bytes)
        .max_buf_size(app.limits.header_bytes)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        // What ends a connection early is the client's doing, and known to it.
        _ = connection.as_mut() => {}
        () = app.parts.env.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(app.limits.stop_time, connection).await;
        }
    }
}

/// All that answers a request, the outermost last.
fn router(app: App) -> Router {
    api::router()
        .fallback(ui::fallback)
        .method_not_allowed_fallback(ui::wrong_method)
        .layer(DefaultBodyLimit::max(app.limits.body_bytes))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), in_time))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), auth::guard))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), finish))
        .with_state(app)
}

/// Gives up on an answer that does not begin in time.
async fn in_time(State(app): State<App>, request: Request, next: Next) -> Response {
    match timeout(app.limits.answer_time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the answer took too long")
            .with_hint("What was asked for may still be done.")
            .into_response(),
    }
}

/// Counts the answer and adds what every answer has.
async fn finish(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    app.counters.answer(response.status().as_u16());
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
