//! HTTP: reading a request; answering it, or upgrading to a WebSocket.
//!
//! Done here and not by a library because faults answer in ways that no library lets through.

use std::time::Duration;

use bytes::BytesMut;
use thalweg_core::error::{Error, Result};
use thalweg_core::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::rest::Answer;

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Longest time for the head to come, and for an answer to go.
const SOCKET_WAIT: Duration = Duration::from_secs(10);

/// Longest message of a client: a subscribe has a hundred bytes.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// A client that asks to be upgraded.
pub(crate) struct Caller {
    stream: TcpStream,
    request: Request,
    // What came after the head.
    received: BytesMut,
}

impl Caller {
    /// Reads the head of the request.
    ///
    /// # Errors
    ///
    /// `Data` when it is no HTTP or too long, `Unavailable` when it does not come.
    pub(crate) async fn hear(mut stream: TcpStream) -> Result<Self> {
        let mut received = BytesMut::new();
        let head = async {
            loop {
                let parsed = Request::try_parse(&received)
                    .map_err(|error| Error::data("a request is no HTTP").with_source(error))?;
                if let Some((length, request)) = parsed {
                    let _ = received.split_to(length);
                    return Ok(request);
                }
                if received.len() > HEAD_BYTES_MAX {
                    return Err(Error::data("the head of a request is too long"));
                }
                match stream.read_buf(&mut received).await {
                    Ok(0) => return Err(Error::unavailable("a client left before its request")),
                    Ok(_) => {}
                    Err(error) => {
                        return Err(Error::unavailable("lost a client").with_source(error));
                    }
                }
            }
        };
        let request = timeout(SOCKET_WAIT, head)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("a request did not come")))?;
        Ok(Self { stream, request, received })
    }

    /// The path asked for.
    pub(crate) fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// The value of `name` in the query.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let query = self.request.uri().query()?.as_bytes();
        let mut pairs = form_urlencoded::parse(query);
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The value of a header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    /// Every name and value of the query.
    pub(crate) fn queries(&self) -> Vec<(String, String)> {
        let query = self.request.uri().query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// Answers a request of REST or for a page; `date` is what the head says the time is.
    pub(crate) async fn answer(mut self, answer: &Answer, date: Timestamp) {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
        let date = chrono::DateTime::from_timestamp_millis(date.millis()).unwrap_or_default();
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Length: {}\r\nConnection: close\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            date.format("%a, %d %b %Y %H:%M:%S GMT"),
            answer.body.len(),
        );
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let end = if answer.is_cut { answer.body.len() / 2 } else { answer.body.len() };
        let bytes = [head.as_bytes(), b"\r\n", &answer.body[..end]].concat();
        // Whether the client hears it makes no difference to us.
        let _ = timeout(SOCKET_WAIT, async {
            self.stream.write_all(&bytes).await?;
            self.stream.shutdown().await
        })
        .await;
    }

    /// Answers with a status and a text instead of upgrading.
    pub(crate) async fn refuse(mut self, status: StatusCode, text: &str) {
        let answer = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            text.len(),
        );
        // Whether the client hears it makes no difference to us.
        let _ = timeout(SOCKET_WAIT, async {
            self.stream.write_all(answer.as_bytes()).await?;
            self.stream.shutdown().await
        })
        .await;
    }

    /// Upgrades; `None` when the request asks for no WebSocket, which it is told, or the client is
    /// gone.
    pub(crate) async fn upgrade(mut self) -> Option<WebSocketStream<TcpStream>> {
        let mut head = Vec::new();
        let answer = create_response(&self.request)
            .and_then(|response| write_response(&mut head, &response));
        if answer.is_err() {
            self.refuse(StatusCode::BAD_REQUEST, "This is a WebSocket.").await;
            return None;
        }
        timeout(SOCKET_WAIT, self.stream.write_all(&head)).await.ok()?.ok()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(8 * 1024)
            .max_message_size(Some(REQUEST_BYTES_MAX))
            .max_frame_size(Some(REQUEST_BYTES_MAX));
        let received = self.received.to_vec();
        let (stream, role) = (self.stream, Role::Server);
        Some(WebSocketStream::from_partially_read(stream, received, role, Some(config)).await)
    }
}
