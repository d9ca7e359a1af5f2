//! `tests/transcripts/*.txt`: requests with their answers, and what the parts behind were asked.
//!
//! ```text
//! # a comment
//! > GET /api/v1/project      a request line, then headers; after a line `>`, the body
//! > accept: text/csv
//! < 200 text/csv             status, type, other headers that matter, body
//! < …
//! = SELECT …                 what the engine or the control was asked
//! ```
//!
//! `Host` and the token are added unless a header of that name is there; `authorization: none` sends
//! none. `{token}`, `{host}` and `{cookie}` (the last one set) are filled in.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::fake::Fixture;
use super::http::{Answer, send};

#[tokio::test]
async fn reading() {
    check("reading").await;
}

#[tokio::test]
async fn filters() {
    check("filters").await;
}

#[tokio::test]
async fn actions() {
    check("actions").await;
}

#[tokio::test]
async fn access() {
    check("access").await;
}

#[tokio::test]
async fn problems() {
    check("problems").await;
}

#[tokio::test]
async fn project() {
    check("project").await;
}

async fn check(name: &str) {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/transcripts/{name}.txt"));
    let expected = fs::read_to_string(&path).unwrap();
    let actual = run(&expected).await;
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        fs::write(&path, actual).unwrap();
    } else {
        assert_eq!(actual, expected, "{}", path.display());
    }
}

async fn run(transcript: &str) -> String {
    let fixture = Fixture::start().await;
    let mut out = String::new();
    let mut cookie = String::new();
    let mut request: Vec<&str> = Vec::new();
    for line in transcript.lines().chain([""]) {
        if let Some(line) = line.strip_prefix('>') {
            request.push(line.strip_prefix(' ').unwrap_or(line));
            let _ = writeln!(out, ">{line}");
            continue;
        }
        if !request.is_empty() {
            let answer = ask(&fixture, &std::mem::take(&mut request), &cookie).await;
            let set = answer.header("set-cookie").and_then(|set| set.split(';').next());
            if let Some(set) = set.filter(|set| !set.ends_with('=')) {
                cookie = set.to_owned();
            }
            write_answer(&answer, &cookie, &fixture, &mut out);
            for asked in fixture.engine.take_asked() {
                let _ = writeln!(out, "= {asked}");
            }
        }
        if !line.starts_with('<') && !line.starts_with('=') {
            let _ = writeln!(out, "{line}");
        }
    }
    out.trim_end().to_owned() + "\n"
}

async fn ask(fixture: &Fixture, lines: &[&str], cookie: &str) -> Answer {
    let host = fixture.address().to_string();
    let fill = |text: &str| {
        let text = text.replace("{token}", &fixture.token).replace("{host}", &host);
        text.replace("{cookie}", cookie)
    };
    let mut lines = lines.iter();
    let mut head = format!("{} HTTP/1.1", fill(lines.next().unwrap()));
    let headers: Vec<String> =
        lines.by_ref().take_while(|line| !line.is_empty()).map(|line| fill(line)).collect();
    let has = |name: &str| headers.iter().any(|line| line.starts_with(name));
    if !has("host:") {
        let _ = write!(head, "\r\nhost: {host}");
    }
    if !has("authorization:") {
        let _ = write!(head, "\r\nauthorization: Bearer {}", fixture.token);
    }
    for header in headers.iter().filter(|line| *line != "authorization: none") {
        let _ = write!(head, "\r\n{header}");
    }
    let body: Vec<String> = lines.map(|line| fill(line)).collect();
    send(fixture.address(), &head, body.join("\n").as_bytes()).await
}

fn write_answer(answer: &Answer, cookie: &str, fixture: &Fixture, out: &mut String) {
    let _ = write!(out, "< {}", answer.status);
    if let Some(kind) = answer.header("content-type") {
        let _ = write!(out, " {kind}");
    }
    out.push('\n');
    let port = fixture.address().port().to_string();
    let hide = |text: &str| match cookie.split_once('=') {
        Some((_, id)) if !id.is_empty() => text.replace(id, "{id}").replace(&port, "{port}"),
        _ => text.replace(&port, "{port}"),
    };
    let shown = [
        "location",
        "set-cookie",
        "www-authenticate",
        "allow",
        "retry-after",
        "content-disposition",
    ];
    for name in shown {
        if let Some(value) = answer.header(name) {
            let _ = writeln!(out, "< {name}: {}", hide(value));
        }
    }
    // Pages are looked at by people.
    if !answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        for line in answer.text().lines() {
            let _ = writeln!(out, "< {line}");
        }
    }
    if !answer.is_whole {
        out.push_str("< (cut)\n");
    }
}
