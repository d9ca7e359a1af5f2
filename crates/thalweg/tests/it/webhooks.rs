//! Rows that go to a webhook: every one arrives, and a receiver that keeps the keys has each once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::project::Project;

/// Rows of the input.
const ROWS: i64 = 400;

/// A request as it was received.
#[derive(Clone)]
struct Request {
    headers: BTreeMap<String, String>,
    body: String,
}

/// A receiver that answers its n-th request with what `status` says of n.
struct Receiver {
    url: String,
    taken: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    fn start(status: impl Fn(usize) -> &'static str + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let taken: Arc<Mutex<Vec<Request>>> = Arc::default();
        let kept = Arc::clone(&taken);
        thread::spawn(move || {
            for (number, connection) in listener.incoming().enumerate() {
                let Ok(mut connection) = connection else { continue };
                let Some(request) = read(&connection) else { continue };
                let status = status(number);
                if status.starts_with('2') {
                    kept.lock().expect("no test panics in here").push(request);
                }
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: 14\r\nConnection: close\r\n\r\nno such field!"
                );
                // The other end may have been killed.
                let _ = connection.write_all(answer.as_bytes());
            }
        });
        Self { url: format!("http://{address}/rows"), taken }
    }

    fn taken(&self) -> Vec<Request> {
        self.taken.lock().expect("no test panics in here").clone()
    }
}

/// A whole request; none when its sender has gone.
fn read(connection: &TcpStream) -> Option<Request> {
    connection.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut lines = BufReader::new(connection);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(name.to_lowercase(), value.trim_end().to_owned());
        }
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    lines.read_exact(&mut body).ok()?;
    Some(Request { headers, body: String::from_utf8(body).ok()? })
}

fn project(url: &str, rows: u32) -> Project {
    let project = Project::new(&format!(
        r#"
[runtime]
checkpoint.every = "50ms"
[source.readings]
file.path   = "readings.ndjson"
file.rate   = "400/s"
format.json = {{}}
[source.readings.columns]
n     = "bigint not null"
meter = "text"
[sink.hook]
from            = "readings"
webhook.url     = "${{HOOK_URL}}"
webhook.rows    = {rows}
webhook.headers = {{ Authorization = "Bearer ${{HOOK_KEY}}" }}
"#
    ));
    let mut lines = String::new();
    for n in 0..ROWS {
        let meter = if n % 7 == 0 { Value::Null } else { json!(format!("\"m\"\n{n}")) };
        writeln!(lines, "{}", json!({ "n": n, "meter": meter })).expect("text takes text");
    }
    project.write("readings.ndjson", lines);
    project.write(".env", format!("HOOK_URL={url}\nHOOK_KEY=hush-hush\n"));
    project
}

#[test]
fn every_row_is_posted_through_kills_and_refusals_and_its_key_stays() {
    let receiver = Receiver::start(|number| match number % 9 {
        3 => "503 Service Unavailable",
        7 => "429 Too Many Requests\r\nRetry-After: 0",
        _ => "204 No Content",
    });
    let project = project(&receiver.url, 7);
    let mut random = SmallRng::seed_from_u64(5);
    for _ in 0..4 {
        project.start_drain().run_for(Duration::from_millis(random.random_range(300..900)));
    }
    let said = project.drain().ended_with(0);
    project.balances();
    assert!(!said.stderr.contains("hush-hush"), "{}", said.stderr);

    let mut by_key: BTreeMap<(u64, usize), String> = BTreeMap::new();
    for Request { headers, body } in receiver.taken() {
        assert_eq!(headers["authorization"], "Bearer hush-hush");
        assert_eq!(headers["content-type"], "application/json");
        let mut parts = headers["idempotency-key"].rsplit('-').skip(1);
        let number = parts.next().and_then(|it| it.parse().ok()).expect("a number");
        let epoch = parts.next().and_then(|it| it.parse().ok()).expect("an epoch");
        let before = by_key.entry((epoch, number)).or_insert_with(|| body.clone());
        assert_eq!(*before, body, "the same key, the same rows");
    }
    let rows: Vec<Value> = by_key
        .values()
        .flat_map(|body| serde_json::from_str::<Vec<Value>>(body).expect("an array"))
        .collect();
    let numbers: Vec<i64> = rows.iter().map(|row| row["n"].as_i64().expect("a number")).collect();
    assert_eq!(numbers, (0..ROWS).collect::<Vec<_>>(), "each row once, in order");
    assert_eq!(rows[0], json!({ "n": 0, "meter": null }));
    assert_eq!(rows[1], json!({ "n": 1, "meter": "\"m\"\n1" }));
}

#[test]
fn a_receiver_that_refuses_rows_is_told_of_with_what_it_says() {
    let receiver = Receiver::start(|number| match number {
        0 => "200 OK",
        _ => "422 Unprocessable Content",
    });
    let project = project(&receiver.url, 1);
    let said = project.drain().ended_with(1);
    for part in ["`hook`", "answers 422", "no such field!", "mend the receiver"] {
        assert!(said.stderr.contains(part), "no {part}: {}", said.stderr);
    }
    assert_eq!(receiver.taken()[0].body, r#"{"n":0,"meter":null}"#, "an object for each row");
    // Nobody else is held up.
    assert_eq!(project.ledger("source", "readings", "rows_valid"), ROWS);
}
