//! A small HTTP client that sends exactly what it is told, and shows what came back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::fake::{Fixture, in_time};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub(crate) is_whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

impl Fixture {
    /// Sends a request with the token.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(&format!("GET {path} HTTP/1.1"), "").await
    }

    /// Runs a statement.
    pub(crate) async fn sql(&self, sql: &str) -> Answer {
        self.sql_as(sql, "application/json").await
    }

    /// Runs a statement, for an answer of that media type.
    pub(crate) async fn sql_as(&self, sql: &str, accept: &str) -> Answer {
        let head = "POST /api/v1/sql HTTP/1.1\r\ncontent-type: application/json";
        let body = serde_json::json!({ "sql": sql }).to_string();
        self.request(&format!("{head}\r\naccept: {accept}"), &body).await
    }

    async fn request(&self, head: &str, body: &str) -> Answer {
        let token = &self.token;
        let head = format!("{head}\r\nhost: localhost\r\nauthorization: Bearer {token}");
        send(self.address(), &head, body.as_bytes()).await
    }

    /// The value of one of the server's metrics.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/api/v1/metrics").await;
        let line = metrics.text().lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no metric {name}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

/// Sends one request on a connection of its own; `head` has no length and no last line.
pub(crate) async fn send(address: SocketAddr, head: &str, body: &[u8]) -> Answer {
    in_time(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let head = format!("{head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        // The server may refuse before it has read all.
        let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        parse(&bytes)
    })
    .await
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer");
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let body = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let is_chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
    let (body, is_whole) = if is_chunked { unchunk(body) } else { (body.to_vec(), true) };
    Answer { status, headers, body, is_whole }
}

/// The body, and whether its last chunk was there.
fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length = std::str::from_utf8(&bytes[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        bytes = &bytes[end + 2..];
        if length == 0 {
            return (body, true);
        }
        if bytes.len() < length + 2 {
            break;
        }
        body.extend_from_slice(&bytes[..length]);
        bytes = &bytes[length + 2..];
    }
    (body, false)
}
