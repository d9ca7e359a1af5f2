//! Large and slow things: streams, bounds, clients that go away.

use std::io::Cursor;
use std::time::Duration;

use arrow_ipc::reader::StreamReader;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::fake::{Fixture, eventually, in_time, trades};
use super::http::send;

#[tokio::test]
async fn a_large_result_comes_whole_in_every_form() {
    let fixture = Fixture::start().await;
    let rows = async |accept| {
        let answer = fixture.sql_as("ROWS 20000", accept).await;
        assert_eq!((answer.status, answer.is_whole), (200, true), "{accept}");
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "{accept}");
        answer
    };
    let json = rows("application/json").await.json();
    assert_eq!(json["row_count"], 20_000);
    assert_eq!(json["rows"][19_999][0], 19_999);
    assert_eq!(json["rows"].as_array().unwrap().len(), 20_000);

    let lines = rows("application/x-ndjson").await;
    let last: Value = serde_json::from_str(lines.text().lines().last().unwrap()).unwrap();
    assert_eq!((lines.text().lines().count(), &last["n"]), (20_000, &Value::from(19_999)));

    let csv = rows("text/csv").await;
    assert_eq!(csv.text().lines().count(), 20_001);

    let arrow = rows("application/vnd.apache.arrow.stream").await;
    let reader = StreamReader::try_new(Cursor::new(arrow.body), None).unwrap();
    let counts: Vec<usize> = reader.map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(counts, [1000; 20]);
}

#[tokio::test]
async fn an_arrow_stream_holds_the_very_rows() {
    let fixture = Fixture::start().await;
    let answer = fixture.get("/api/v1/views/trades.arrow").await;
    assert_eq!(answer.header("content-type"), Some("application/vnd.apache.arrow.stream"));
    let disposition = answer.header("content-disposition");
    assert_eq!(disposition, Some("attachment; filename=\"trades.arrow\""));
    let reader = StreamReader::try_new(Cursor::new(answer.body), None).unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    // NaN is not equal to itself; the text of the rows is.
    let expected = trades(&[("AAPL", 190.5), ("a,\"b\"", f64::NAN)]);
    assert_eq!(format!("{batches:?}"), format!("{:?}", [expected]));
}

#[tokio::test]
async fn a_result_that_fails_late_is_cut_in_every_form() {
    let fixture = Fixture::start().await;
    for accept in ["application/json", "text/csv", "application/vnd.apache.arrow.stream"] {
        let answer = fixture.sql_as("ROWS 5000 THEN FAIL", accept).await;
        assert_eq!((answer.status, answer.is_whole), (200, false), "{accept}");
    }
}

#[tokio::test]
async fn a_query_ends_when_its_client_goes_away_or_does_not_read() {
    for write_time in [Duration::from_secs(3600), Duration::from_millis(10)] {
        let fixture = Fixture::start_with(|limits| limits.write_time = write_time).await;
        let mut stream = TcpStream::connect(fixture.address()).await.unwrap();
        let body = r#"{"sql": "ROWS 900000"}"#;
        let head = format!(
            "POST /api/v1/sql HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            fixture.token,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        assert!(in_time(stream.read(&mut buffer)).await.unwrap() > 0);
        if write_time > Duration::from_secs(1) {
            assert_eq!(fixture.engine.answers_open(), 1);
            drop(stream);
            eventually(|| fixture.engine.answers_open() == 0).await;
        } else {
            eventually(|| fixture.engine.answers_open() == 0).await;
            let mut rest = Vec::new();
            // An error, or an end before the last chunk.
            let _ = in_time(stream.read_to_end(&mut rest)).await;
            assert!(!rest.ends_with(b"0\r\n\r\n"));
        }
    }
}

#[tokio::test]
async fn queries_beyond_the_bound_wait_and_are_then_refused() {
    let fixture = Fixture::start_with(|limits| {
        limits.queries = 1;
        limits.query_wait = Duration::from_millis(20);
        limits.answer_time = Duration::from_secs(5);
    })
    .await;
    let hanging = tokio::select! {
        answer = fixture.sql("HANG") => panic!("{answer:?}"),
        refused = async {
            eventually(|| fixture.engine.take_asked() == ["HANG"]).await;
            fixture.sql("SELECT * FROM changes").await
        } => refused,
    };
    assert_eq!(hanging.status, 503);
    assert_eq!(hanging.json()["title"], "1 queries are running already");
    assert_eq!(hanging.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn an_answer_that_does_not_begin_is_given_up() {
    let fixture =
        Fixture::start_with(|limits| limits.answer_time = Duration::from_millis(20)).await;
    let answer = fixture.sql("HANG").await;
    assert_eq!((answer.status, &answer.json()["title"]), (503, &"the answer took too long".into()));
}

#[tokio::test]
async fn heads_and_bodies_are_bounded() {
    let fixture = Fixture::start().await;
    let large = "x".repeat(2 * 1024 * 1024);
    let answer = fixture.sql(&large).await;
    assert_eq!((answer.status, &answer.json()["code"]), (413, &"too_large".into()));
    let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}", "y".repeat(100_000));
    assert_eq!(send(fixture.address(), &head, b"").await.status, 431);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_given_up() {
    let fixture =
        Fixture::start_with(|limits| limits.header_time = Duration::from_millis(20)).await;
    let mut stream = TcpStream::connect(fixture.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = in_time(stream.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let fixture = Fixture::start_with(|limits| limits.connections = 1).await;
    let first = TcpStream::connect(fixture.address()).await.unwrap();
    let mut second = TcpStream::connect(fixture.address()).await.unwrap();
    let head = b"GET /api/v1/health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    second.write_all(head).await.unwrap();
    let mut answer = Vec::new();
    let early = tokio::time::timeout(Duration::from_millis(50), second.read_to_end(&mut answer));
    assert!(early.await.is_err(), "the second connection was served beside the first");
    drop(first);
    in_time(second.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn wrong_tokens_are_limited() {
    let fixture = Fixture::start().await;
    let attempt = async |token: &str| {
        let head = format!(
            "GET /api/v1/project HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}"
        );
        send(fixture.address(), &head, b"").await
    };
    for number in 0..10 {
        assert_eq!(attempt(&format!("guess {number}")).await.status, 401);
    }
    let refused = attempt("guess 10").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("6")));
    assert_eq!(attempt(&fixture.token).await.status, 429);
    fixture.clock.step_to(super::fake::NOW.plus(Duration::from_secs(6)));
    assert_eq!(attempt(&fixture.token).await.status, 200);
}
