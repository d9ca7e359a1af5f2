//! Starting and stopping.

use std::net::SocketAddr;
use std::sync::Arc;

use thalweg_core::{ErrorKind, Result};
use thalweg_serve::{AdminToken, ServeConfig, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::fake::{FakeEngine, Fixture, env, in_time, parts};
use super::http::send;

async fn start(listen: SocketAddr) -> Result<Server> {
    let data = tempfile::tempdir().unwrap();
    let token = AdminToken::of_data_folder(data.path()).unwrap();
    Server::start(ServeConfig::new(listen, token), parts(Arc::new(FakeEngine::new()), env())).await
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    for address in ["0.0.0.0:0", "[::]:0", "192.168.0.1:7070"] {
        let error = start(address.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.message, format!("{address} is not an address of this machine alone"));
        assert!(error.hint.unwrap().contains("127.0.0.1"));
    }
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let fixture = Fixture::start().await;
    let error = start(fixture.address()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(error.message, format!("cannot listen on {}", fixture.address()));
    assert!(error.hint.unwrap().contains("http = \"127.0.0.1:0\""));
}

#[tokio::test]
async fn every_answer_keeps_browsers_careful() {
    let fixture = Fixture::start().await;
    let cases = [
        ("/api/v1/project", "localhost", 200),
        ("/", "localhost", 200),
        ("/api/v1/nothing", "localhost", 404),
        ("/", "evil.example", 421),
    ];
    for (path, host, status) in cases {
        let token = &fixture.token;
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}");
        let answer = send(fixture.address(), &head, b"").await;
        assert_eq!(answer.status, status);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self'; "), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("script-src"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        let caching = answer.header("cache-control").unwrap();
        assert!(matches!(caching, "no-store" | "private, no-cache"), "{caching}");
    }
}

#[tokio::test]
async fn the_shutdown_ends_idle_connections_and_nothing_is_left_running() {
    let fixture = Fixture::start().await;
    let mut idle = TcpStream::connect(fixture.address()).await.unwrap();
    let head = b"GET /api/v1/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    idle.write_all(head).await.unwrap();
    let mut buffer = [0; 1024];
    assert!(in_time(idle.read(&mut buffer)).await.unwrap() > 0);
    fixture.shutdown.cancel();
    in_time(fixture.server.stopped()).await;
    let mut rest = Vec::new();
    in_time(idle.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
    assert!(TcpStream::connect(fixture.address()).await.is_err());
    fixture.tasks.close();
    in_time(fixture.tasks.wait()).await;
}
