//! A web server that answers as the test says, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use thalweg_core::env::Env;
use thalweg_core::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) uri: String,
    /// The lines of the head, names in small letters.
    pub(crate) head: String,
    /// When, by the test's clock.
    pub(crate) at: Timestamp,
}

impl Asked {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

/// Listens on a free port of 127.0.0.1.
pub(crate) struct Web {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Web {
    /// Answers each request with the bytes that `answer` makes of it; an empty answer never comes.
    pub(crate) async fn start(
        env: &Env,
        answer: impl Fn(&Asked, usize) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, answer, server) = (asked.clone(), Arc::new(answer), env.clone());
        env.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, answer, clock) = (seen.clone(), answer.clone(), server.clock.clone());
                server.spawn(async move {
                    let Some(mut request) = hear(stream).await else { return };
                    request.1.at = clock.now();
                    let count = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.1.clone());
                        seen.len() - 1
                    };
                    let answer = answer(&request.1, count);
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    // A client that has enough hangs up.
                    let _ = request.0.write_all(&answer).await;
                    let _ = request.0.shutdown().await;
                });
            }
        });
        Self { url, asked }
    }

    /// Everything it was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Paths and queries of everything it was asked.
    pub(crate) fn uris(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.uri).collect()
    }
}

async fn hear(mut stream: TcpStream) -> Option<(TcpStream, Asked)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let uri = head.split(' ').nth(1)?.to_owned();
    let lines = head.lines().skip(1).map(|line| match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}", name.to_lowercase()),
        None => line.to_owned(),
    });
    let head = lines.collect::<Vec<_>>().join("\n");
    Some((stream, Asked { uri, head, at: Timestamp(0) }))
}

/// An answer: status with its words, headers, body.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}
