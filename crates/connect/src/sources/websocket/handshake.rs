//! Dialling: TCP, TLS, the HTTP upgrade, and what a refusal means.
//!
//! The upgrade is done with tungstenite's parts instead of its connector, because that one gives
//! away neither the bytes that came right behind the answer nor the page that came instead of it.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use thalweg_core::error::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response, generate_request};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::http::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::super::secrets::{Secrets, redact_url};
use super::super::tls::tls_config;

/// Longest head of an answer to the upgrade.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How much of a page is read that came instead of a WebSocket, and for how long.
const PAGE_BYTES: usize = 1 << 10;
const PAGE_WAIT: Duration = Duration::from_millis(500);
/// How much of such a page is shown.
const SHOWN_CHARS: usize = 200;
/// Longest time a feed may tell us to stay away.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A stream that speaks WebSocket from here on.
pub(super) struct Upgraded {
    pub(super) stream: MaybeTlsStream<TcpStream>,
    /// What came right behind the answer.
    pub(super) received: BytesMut,
}

/// Why dialling failed.
pub(super) struct Refusal {
    pub(super) error: Error,
    /// How long the feed asked to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, retry_after: None }
    }
}

/// Whom to dial, checked once, when the source is made.
pub(super) struct Target {
    host: String,
    port: u16,
    tls: bool,
    headers: HeaderMap,
    url: Url,
    secrets: Secrets,
}

impl Target {
    /// Checks an address and headers.
    ///
    /// # Errors
    ///
    /// `Invalid` when the address is no `ws` or `wss` URL, or a header is malformed.
    pub(super) fn new(url: &str, headers: &[(String, String)]) -> Result<Self> {
        let invalid = |why: &str| {
            Error::invalid(format!("the address of the feed {why}"))
                .with_hint("It is written like wss://host/path.")
        };
        let url = Url::parse(url).map_err(|error| invalid("is no URL").with_source(error))?;
        let tls = match url.scheme() {
            "wss" => true,
            "ws" => false,
            _ => return Err(invalid("begins with neither ws:// nor wss://")),
        };
        let host = url.host_str().ok_or_else(|| invalid("names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().unwrap_or(if tls { 443 } else { 80 });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let malformed = |_| Error::invalid(format!("the header `{name}` is malformed"));
            let parsed = HeaderName::try_from(name.as_str())
                .map_err(|error| malformed(()).with_source(error))?;
            // The value is a secret more often than not, so the error beneath is left out.
            let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| malformed(()))?;
            value.set_sensitive(true);
            map.append(parsed, value);
        }
        let secrets = Secrets::new(&url, headers.iter().map(|(_, value)| value.as_str()));
        Ok(Self { host, port, tls, headers: map, url, secrets })
    }

    /// The address without its secrets.
    pub(super) fn shown(&self) -> String {
        redact_url(self.url.as_str())
    }

    /// A text of the far end, fit to be shown.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.secrets.scrub(text, SHOWN_CHARS)
    }

    /// Connects and upgrades.
    pub(super) async fn dial(&self) -> Result<Upgraded, Refusal> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| self.unreachable("cannot connect to", error))?;
        tcp.set_nodelay(true).map_err(|error| self.unreachable("cannot connect to", error))?;
        let stream = if self.tls {
            let name = ServerName::try_from(self.host.clone()).map_err(|error| {
                Error::invalid(format!("`{}` is no name of a server", self.host)).with_source(error)
            })?;
            let tls = TlsConnector::from(tls_config()?)
                .connect(name, tcp)
                .await
                .map_err(|error| self.unreachable("no secure connection to", error))?;
            MaybeTlsStream::Rustls(tls)
        } else {
            MaybeTlsStream::Plain(tcp)
        };
        self.upgrade(stream).await
    }

    fn unreachable(&self, what: &str, error: io::Error) -> Error {
        Error::unavailable(format!("{what} {}", self.shown())).with_source(error)
    }

    async fn upgrade(&self, mut stream: MaybeTlsStream<TcpStream>) -> Result<Upgraded, Refusal> {
        let (request, key) = generate_request(self.request()?).map_err(|_| {
            Error::invalid("the headers of the feed clash with those of a WebSocket")
        })?;
        let lost = |error| self.unreachable("lost the connection during the upgrade of", error);
        stream.write_all(&request).await.map_err(lost)?;
        stream.flush().await.map_err(lost)?;

        let mut received = BytesMut::with_capacity(4096);
        let answer = loop {
            if stream.read_buf(&mut received).await.map_err(lost)? == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()).into());
            }
            let parsed = Response::try_parse(&received).map_err(|error| {
                Error::unavailable(format!("{} does not answer in HTTP", self.shown()))
                    .with_source(error)
            })?;
            if let Some((head_bytes, answer)) = parsed {
                let _ = received.split_to(head_bytes);
                break answer;
            }
            if received.len() > HEAD_BYTES_MAX {
                return Err(Error::unavailable(format!(
                    "the answer of {} to the upgrade does not end",
                    self.shown()
                ))
                .into());
            }
        };

        if answer.status().as_u16() != 101 {
            // Best effort: the page says more than its status.
            let _ = timeout(PAGE_WAIT, async {
                while received.len() < PAGE_BYTES && stream.read_buf(&mut received).await? > 0 {}
                io::Result::Ok(())
            })
            .await;
            return Err(self.refusal(&answer, &received));
        }
        let header_is = |name: &str, expected: &str| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.is_some_and(|value| value.eq_ignore_ascii_case(expected))
        };
        let accepts = answer
            .headers()
            .get("sec-websocket-accept")
            .is_some_and(|value| value.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes());
        if !header_is("upgrade", "websocket") || !accepts {
            return Err(Error::unavailable(format!(
                "{} does not complete the upgrade to a WebSocket",
                self.shown()
            ))
            .into());
        }
        Ok(Upgraded { stream, received })
    }

    fn request(&self) -> Result<Request> {
        let mut request = self.url.as_str().into_client_request().map_err(|_| {
            // The error beneath may repeat the address with its secrets.
            Error::invalid(format!("{} cannot be asked for a WebSocket", self.shown()))
        })?;
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }

    /// What an answer other than 101 means: who can help, and what it says.
    fn refusal(&self, answer: &Response, page: &[u8]) -> Refusal {
        let status = answer.status().as_u16();
        let shown = self.shown();
        let mut error = match status {
            200..=299 => Error::unavailable(format!(
                "{shown} answered with a page instead of a WebSocket (HTTP {status})"
            ))
            .with_hint("The feed is out of order, or the address is that of its web site."),
            300..=399 => {
                let location = answer.headers().get("location").and_then(|l| l.to_str().ok());
                return Error::invalid(format!("{shown} has moved (HTTP {status})"))
                    .with_hint(match location {
                        Some(to) => format!("It names {} instead.", redact_url(to)),
                        None => "It does not say where to.".to_owned(),
                    })
                    .into();
            }
            401 => Error::invalid(format!("{shown} refused the token (HTTP 401)"))
                .with_hint("Check that the token is set, complete and still valid."),
            403 => Error::invalid(format!("{shown} refused access (HTTP 403)")).with_hint(
                "The token may lack a right or a plan, or the venue may block this address.",
            ),
            408 | 418 | 425 | 429 => {
                Error::unavailable(format!("{shown} has had too many requests (HTTP {status})"))
                    .with_hint(
                        "Is the same token in use elsewhere? Most feeds allow one connection.",
                    )
            }
            400..=499 => Error::invalid(format!("{shown} refused the upgrade (HTTP {status})")),
            _ => Error::unavailable(format!("{shown} is out of order (HTTP {status})")),
        };
        let page = self.scrub(&String::from_utf8_lossy(&page[..page.len().min(PAGE_BYTES)]));
        if !page.is_empty() {
            error = error.with_detail(format!("It says: {page}"));
        }
        let retry_after = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        Refusal { error, retry_after }
    }
}
