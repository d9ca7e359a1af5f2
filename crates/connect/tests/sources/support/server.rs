//! A WebSocket server whose every move the test makes.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::soon;

/// Listens on a free port of 127.0.0.1.
pub(crate) struct Server {
    listener: TcpListener,
    pub(crate) url: String,
}

/// One client that came.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
    /// Path and query it asked for.
    pub(crate) uri: String,
    /// The request's headers, by lower-case name.
    pub(crate) headers: Vec<(String, String)>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// The next TCP connection.
    pub(crate) async fn tcp(&self) -> TcpStream {
        soon("a client", self.listener.accept()).await.unwrap().0
    }

    /// The next client, upgraded.
    #[expect(clippy::result_large_err, reason = "the signature of the callback is the library's")]
    pub(crate) async fn accept(&self) -> Peer {
        let (mut uri, mut headers) = (String::new(), Vec::new());
        let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            uri = request.uri().to_string();
            headers = request
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            Ok(response)
        };
        let socket = soon("an upgrade", accept_hdr_async(self.tcp().await, look)).await.unwrap();
        Peer { socket, uri, headers }
    }

    /// Answers the next client with `answer` instead of an upgrade.
    pub(crate) async fn refuse(&self, answer: &str) {
        let mut tcp = self.tcp().await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(soon("a request", tcp.read_buf(&mut request)).await.unwrap() > 0);
        }
        tcp.write_all(answer.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
    }
}

impl Peer {
    pub(crate) async fn send(&mut self, message: Message) {
        soon("room in the socket", self.socket.send(message)).await.unwrap();
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// The next message of the client.
    pub(crate) async fn receive(&mut self) -> Message {
        soon("a message", self.socket.next()).await.unwrap().unwrap()
    }

    /// The next `count` text messages of the client.
    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            if let Message::Text(text) = self.receive().await {
                texts.push(text.to_string());
            }
        }
        texts
    }

    /// Writes bytes past the protocol.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        soon("room in the socket", self.socket.get_mut().write_all(bytes)).await.unwrap();
    }
}
