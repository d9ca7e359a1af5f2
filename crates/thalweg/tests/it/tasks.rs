//! Tasks that reach outside: a query's rows in a file, a program, a request over HTTP.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::programs::served;
use crate::project::Project;
use crate::support::{Said, run, thalweg, wait_for};

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
[job.talks.tasks]
much   = { shell = ["sh", "-c", "seq 1 20000; head -c 100000 /dev/zero | tr '\\0' x; echo; echo the end >&2"] }
tells  = { shell = ["sh", "-c", "cat .env; echo the password is pass-word >&2; exit 1"], after = ["much"] }
never  = { shell = ["true"], after = ["tells"] }
[job.ticks.tasks]
tick = { shell = ["sh", "-c", "echo begun; while echo tick && sleep 0.5; do :; done"] }

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

/// `thalweg jobs`, to success.
#[track_caller]
fn jobs(project: &Project, arguments: &[&str]) -> Said {
    let mut command = thalweg();
    command.arg("jobs").args(arguments).arg("--project").arg(project.path(""));
    run(command).ended_with(0)
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
    let ask = |arguments: &[&str]| jobs(&project, arguments);
    ask(&["run", "report", "--date", "2024-01-05"]);
    let done = tasks(&project, "report");
    assert!(done.iter().all(|task| task["state"] == "succeeded"), "{done:#?}");
    let written = fs::read_to_string(project.path("out/2024-01-05.csv")).expect("it was exported");
    assert_eq!(written, "meter,kwh\na,1.5\n\"b, c\",2.25\n");
    assert!(fs::read(project.path("out/all.parquet")).is_ok_and(|it| it.starts_with(b"PAR1")));
    let id = done[0]["run"].as_str().expect("an id");
    let logs = ask(&["logs", id]).stdout;
    assert!(logs.contains("key=***") && !logs.contains("secret"), "{logs}");
    // What each has said: a query, a program on both its outputs, whoever was called.
    for said in [" write: wrote 2 rows to ", &format!(" count: {id}"), " count: 3", " tell: noted"]
    {
        assert!(logs.contains(said), "{said:?}: {logs}");
    }

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

#[test]
fn the_log_of_a_run_is_bounded_tells_no_secret_and_is_there_after_a_kill() {
    let project = Project::new(PROJECT);
    project.declare("[server]\nshell = true\n");
    let secret = "http://me:pass-word@127.0.0.1:1/?key=api-key";
    project.write(".env", format!("HOOK={secret}\nOTHER=kept-quiet\n"));
    let mut process = served(&project);
    jobs(&project, &["run", "talks"]);
    let ended = tasks(&project, "talks");
    let id = ended[0]["run"].as_str().expect("an id");
    let logs = jobs(&project, &["logs", id]).stdout;
    for word in ["pass-word", "api-key", "kept-quiet"] {
        assert!(!logs.contains(word), "S28: {word}");
        assert!(!ended.iter().any(|task| task.to_string().contains(word)), "S28: {word}");
    }
    for said in ["tells: HOOK=***", "tells: OTHER=***", "tells: the password is ***", "exit code 1"]
    {
        assert!(logs.contains(said), "{said:?}: {logs}");
    }
    assert!(!logs.contains("never:"), "it never ran: {logs}");

    // The first lines, the last, and a mark where some are left out.
    let much = jobs(&project, &["logs", id, "much"]).stdout;
    let lines: Vec<&str> = much.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    assert!(much.len() < 300_000 && lines[..3] == ["1", "2", "3"], "{:?}", &lines[..3]);
    let mark =
        lines.iter().position(|line| line.starts_with("… ") && line.ends_with(" left out …"));
    assert!(mark.is_some_and(|at| lines[at + 1].parse::<u32>().is_ok()), "{mark:?}");
    assert!(lines.contains(&"19999") && lines.contains(&"20000"));
    assert!(lines.iter().any(|line| line.starts_with("xxxx") && line.ends_with(" bytes more)")));
    assert!(lines.contains(&"the end") && lines.last() == Some(&"`sh` ended well"), "{lines:?}");
    let rows = jobs(&project, &["logs", id, "much", "--format", "jsonl"]).json_lines();
    assert_eq!(rows.len(), lines.len());
    assert_eq!((&rows[0]["task"], &rows[0]["attempt"]), (&json!("much"), &json!(1)));

    // Of one that runs, so far; what was said a moment before a kill is there after it.
    jobs(&project, &["run", "ticks"]);
    let running = project.rows("SELECT run FROM system.runs WHERE job = 'ticks'");
    let ticks = running[0]["run"].as_str().expect("an id");
    wait_for("it has ticked for some seconds", || {
        let said = jobs(&project, &["logs", ticks]).stdout;
        (said.matches(" tick: tick\n").count() >= 6).then_some(())
    });
    process.run_for(Duration::ZERO);
    let kept = jobs(&project, &["logs", ticks, "tick", "--attempt", "1"]).stdout;
    let (begun, rest) = kept.split_once('\n').expect("lines");
    assert!(begun.ends_with(" begun") && rest.contains(" tick\n"), "{kept}");
    assert_eq!(jobs(&project, &["logs", id, "much"]).stdout, much);

    let mut command = thalweg();
    command.args(["jobs", "logs", id, "nobody", "--project"]).arg(project.path(""));
    let refused = run(command).ended_with(1);
    assert!(refused.stderr.contains("has no task `nobody`"), "{}", refused.stderr);
}
