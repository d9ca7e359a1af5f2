//! Tasks that reach outside: a query's rows in a file, a program, a request over HTTP.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use crate::project::Project;
use crate::support::{run, thalweg, wait_for};

const PROJECT: &str = r#"
[project]
name = "reports"

[source.readings]
file.path   = "readings.jsonl"
format.json = {}
event_time  = "ts"
[source.readings.columns]
meter = "text not null"
ts    = "timestamp not null"
kwh   = "double not null"
[table.history]
from       = "readings"
delta.path = "lake/history"

[job.report.tasks]
write   = { export = { sql = "SELECT meter, kwh FROM history WHERE date(ts) = $day ORDER BY ts", path = "out/$day.csv" } }
columns = { export = { sql = "SELECT * FROM history", path = "out/all.parquet" } }
count   = { shell = ["sh", "-c", "wc -l < out/$THALWEG_DAY.csv; echo $THALWEG_RUN >&2"], after = ["write"] }
tell    = { http = { url = "${HOOK}" }, after = ["count"], retries = 3, backoff = "100ms" }
[job.hangs.tasks]
wait = { shell = ["sh", "-c", "echo begun; sleep 600 & echo $! > child; wait"] }
[job.fails.tasks]
exit = { shell = ["sh", "-c", "echo it is so; exit 3"] }

[runtime]
checkpoint.every = "100ms"
commit.every     = "200ms"
"#;

/// Answers 503 once, then 200; gives the requests it was sent.
fn hook() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let Ok(mut connection) = connection else { continue };
            let (mut text, mut part) = (String::new(), [0; 4_096]);
            while !text.ends_with('}') {
                let Ok(count @ 1..) = connection.read(&mut part) else { break };
                text.push_str(&String::from_utf8_lossy(&part[..count]));
            }
            let status = if number == 0 { "503 Service Unavailable" } else { "200 OK" };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nnoted");
            let _ = connection.write_all(answer.as_bytes());
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    (format!("http://{address}/report"), receiver)
}

/// Waits until the newest run of a job has ended, and gives its tasks.
fn tasks(project: &Project, job: &str) -> Vec<Value> {
    wait_for(&format!("{job} ends"), || {
        let ended =
            format!("SELECT run FROM system.runs WHERE job = '{job}' AND ended_at IS NOT NULL");
        (!project.rows(&ended).is_empty()).then_some(())
    });
    project.rows(&format!(
        "SELECT run, task, state, note FROM system.tasks WHERE job = '{job}' ORDER BY task"
    ))
}

#[test]
fn files_programs_and_requests_are_tasks_of_a_job() {
    let project = Project::new(PROJECT);
    let refused = run(project.command("check", &[])).ended_with(1);
    assert!(refused.stderr.contains("the server runs no programs"), "{}", refused.stderr);
    project.declare("[server]\nshell = true\n");
    let (url, requests) = hook();
    project.write(".env", format!("HOOK={url}?key=secret\n"));
    project.write(
        "readings.jsonl",
        "{\"meter\":\"a\",\"ts\":\"2024-01-05T10:00:00Z\",\"kwh\":1.5}\n\
         {\"meter\":\"b, c\",\"ts\":\"2024-01-05T11:00:00Z\",\"kwh\":2.25}\n\
         {\"meter\":\"a\",\"ts\":\"2024-01-06T10:00:00Z\",\"kwh\":3}\n",
    );
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the readings are in", || {
        (project.rows("SELECT count(*) AS n FROM history") == [json!({ "n": 3 })]).then_some(())
    });
    let ask = |arguments: &[&str]| {
        let mut command = thalweg();
        command.arg("jobs").args(arguments).arg(project.path(""));
        run(command).ended_with(0)
    };
    ask(&["run", "report", "--date", "2024-01-05"]);
    let done = tasks(&project, "report");
    assert!(done.iter().all(|task| task["state"] == "succeeded"), "{done:#?}");
    let written = fs::read_to_string(project.path("out/2024-01-05.csv")).expect("it was exported");
    assert_eq!(written, "meter,kwh\na,1.5\n\"b, c\",2.25\n");
    assert!(fs::read(project.path("out/all.parquet")).is_ok_and(|it| it.starts_with(b"PAR1")));
    let logs = ask(&["logs", done[0]["run"].as_str().expect("an id")]).stdout;
    assert!(logs.contains("key=***") && !logs.contains("secret"), "{logs}");

    // The same key with every attempt, so that who is told twice can tell.
    let told: Vec<String> = requests.iter().take(2).collect();
    let key = |request: &str| {
        let line =
            request.lines().find(|line| line.to_ascii_lowercase().starts_with("idempotency-key"));
        line.map(str::to_owned)
    };
    assert!(key(&told[0]).is_some() && key(&told[0]) == key(&told[1]), "{told:?}");
    assert!(told[1].contains("\"day\":\"2024-01-05\""), "{told:?}");

    ask(&["run", "fails"]);
    let failed = tasks(&project, "fails");
    assert_eq!(failed[0]["state"], "failed");
    assert!(failed[0]["note"].to_string().contains("exit code 3"), "{failed:?}");

    // What a cancelled program has started ends with it.
    ask(&["run", "hangs"]);
    let child = wait_for("it has begun", || {
        let child = fs::read_to_string(project.path("child")).ok()?;
        child.trim().parse::<u32>().ok()
    });
    let running = project.rows("SELECT run FROM system.runs WHERE job = 'hangs'");
    ask(&["cancel", running[0]["run"].as_str().expect("an id")]);
    wait_for("nobody of it is left", || {
        let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    });
    process.terminate();
    process.end().ended_with(0);
}
