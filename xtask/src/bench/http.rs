//! The least of HTTP that asks a local server a question in SQL.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server.
pub(super) struct Server {
    address: String,
    token: String,
}

impl Server {
    /// The server that a data folder says is running; none while it is not up.
    pub(super) fn of(data: &Path) -> Option<Self> {
        let token = fs::read_to_string(data.join("admin_token")).ok()?.trim().to_owned();
        let said = fs::read_to_string(data.join("addresses.json")).ok()?;
        let (_, rest) = said.split_once("\"http\":\"http://")?;
        let (address, _) = rest.split_once('"')?;
        Some(Self { address: address.to_owned(), token })
    }

    /// The rows that a statement without quotes gives, each as numbers.
    pub(super) fn ask(&self, sql: &str) -> Result<Vec<Vec<i64>>, String> {
        let body = format!(r#"{{"sql":"{sql}"}}"#);
        // By version 1.0 the answer comes in one piece and ends with the connection.
        let request = format!(
            "POST /api/v1/sql HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: text/csv\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        );
        let mut answer = String::new();
        let asked = TcpStream::connect(&self.address).and_then(|mut socket| {
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_nodelay(true)?;
            socket.write_all(request.as_bytes())?;
            socket.read_to_string(&mut answer)
        });
        asked.map_err(|error| format!("{} does not answer: {error}", self.address))?;
        let (head, rows) = answer.split_once("\r\n\r\n").ok_or("it answered no HTTP")?;
        if !head.lines().next().is_some_and(|line| line.contains(" 200 ")) {
            return Err(format!("it refused `{sql}`: {rows}"));
        }
        let row = |line: &str| line.split(',').map(|field| field.parse().ok()).collect();
        let rows: Option<Vec<Vec<i64>>> = rows.lines().skip(1).map(row).collect();
        rows.ok_or_else(|| "an answer holds more than numbers".to_owned())
    }
}
