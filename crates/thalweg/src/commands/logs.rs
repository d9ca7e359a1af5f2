//! `jobs logs`: what the tasks of a run have said. Of a running server it is asked, with the newest
//! lines; of a stopped one it is read from the data folder.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray, UInt32Array};
use serde_json::Value;
use thalweg_core::Error;

use super::place::{Place, of_server};
use super::rows::open;
use super::{Failure, unreachable_server};
use crate::cli::Format;
use crate::client::Client;
use crate::output;

/// A line with where it comes from.
struct Line {
    task: String,
    attempt: u32,
    at: String,
    text: String,
}

/// Prints the lines of a run, or of one task of it: as text for people, else as rows.
pub(super) async fn print(
    place: &Place,
    run: &str,
    task: Option<&str>,
    attempt: Option<u32>,
) -> Result<u8, Failure> {
    let lines = match place.server() {
        Some(server) => of_running(place, &server, run, task, attempt).await?,
        None => of_stopped(place, run, task, attempt).await?,
    };
    match place.format {
        None | Some(Format::Text) => output::print_text(&text(&lines, task.is_none()))?,
        Some(format) => output::print(&[rows(&lines)?], format)?,
    }
    if lines.is_empty() && !place.is_quiet {
        eprintln!("nothing was said");
    }
    Ok(0)
}

async fn of_running(
    place: &Place,
    server: &str,
    run: &str,
    task: Option<&str>,
    attempt: Option<u32>,
) -> Result<Vec<Line>, Failure> {
    let client = Client::new(server, &place.data).map_err(unreachable_server)?;
    let run = encoded(run);
    let logs = match task {
        Some(task) => {
            let which = attempt.map(|number| format!("?attempt={number}")).unwrap_or_default();
            let path = format!("/runs/{run}/tasks/{}/logs{which}", encoded(task));
            vec![client.get(&path).await.map_err(of_server)?]
        }
        None => {
            let answer = client.get(&format!("/runs/{run}/logs")).await.map_err(of_server)?;
            answer["tasks"].as_array().cloned().unwrap_or_default()
        }
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for log in logs {
        let attempt = log["attempt"].as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
        for line in log["lines"].as_array().into_iter().flatten() {
            let (at, said) = (text(&line["at"]), text(&line["text"]));
            lines.push(Line { task: text(&log["task"]), attempt, at, text: said });
        }
    }
    Ok(lines)
}

async fn of_stopped(
    place: &Place,
    run: &str,
    task: Option<&str>,
    attempt: Option<u32>,
) -> Result<Vec<Line>, Failure> {
    let scheduler = Arc::clone(&open(place).await?.scheduler);
    let logs = match task {
        Some(task) => vec![scheduler.log(run, task, attempt).await?],
        None => scheduler.logs(run).await?,
    };
    let mut lines = Vec::new();
    for log in logs {
        let (task, attempt) = (&log.task, log.attempt);
        lines.extend(log.lines.into_iter().map(|line| Line {
            task: task.clone(),
            attempt,
            at: line.at.to_string(),
            text: line.text,
        }));
    }
    Ok(lines)
}

/// A part of a path, for what names may hold.
fn encoded(part: &str) -> String {
    let mut path = String::new();
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            _ => {
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

fn text(lines: &[Line], with_tasks: bool) -> String {
    let mut all = String::new();
    for Line { task, at, text, .. } in lines {
        let _ = match with_tasks {
            true => writeln!(all, "{at} {task}: {text}"),
            false => writeln!(all, "{at} {text}"),
        };
    }
    all
}

fn rows(lines: &[Line]) -> Result<RecordBatch, Failure> {
    let texts = |of: fn(&Line) -> &String| {
        Arc::new(StringArray::from_iter_values(lines.iter().map(of))) as _
    };
    let attempts = UInt32Array::from_iter_values(lines.iter().map(|line| line.attempt));
    let rows = RecordBatch::try_from_iter([
        ("task", texts(|line| &line.task)),
        ("attempt", Arc::new(attempts) as _),
        ("at", texts(|line| &line.at)),
        ("text", texts(|line| &line.text)),
    ]);
    Ok(rows.map_err(|error| Error::internal("lines do not make rows").with_source(error))?)
}
