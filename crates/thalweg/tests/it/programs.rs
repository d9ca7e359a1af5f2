//! Records from programs of one's own, from whoever posts them, and from topics of the project.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::project::Project;
use crate::support::{Process, Said, block_on, run, thalweg, wait_for};

fn ask(project: &Project, arguments: &[&str]) -> Said {
    let mut command = thalweg();
    command.args(arguments).arg("--project").arg(project.path(""));
    run(command)
}

pub(crate) fn served(project: &Project) -> Process {
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    process
}

fn stop(process: Process) -> Said {
    process.terminate();
    process.end().ended_with(0)
}

const MINE: &str = r#"
[project]
name = "mine"
[source.mine]
exec.command = ["sh", "count.sh"]
columns.n = "bigint not null"
[table.kept]
from = "mine"
delta.path = "lake/kept"
[runtime]
checkpoint.every = "100ms"
commit.every = "200ms"
"#;

#[test]
fn a_program_that_ends_is_started_again_and_its_lines_are_kept() {
    let project = Project::new(MINE);
    // Goes on where it ended, fails each time, and writes a line that is no record.
    project.write(
        "count.sh",
        "n=$(cat n 2>/dev/null || echo 0)\nfor i in 1 2 3; do n=$((n+1)); echo \"{\\\"n\\\": $n}\"; done\n\
         echo $n > n\necho 'no json'\necho 'the printer is on fire' >&2\nexit 7\n",
    );
    let process = served(&project);
    wait_for("it was started three times", || {
        (project.count("SELECT count(*) FROM mine") >= 9).then_some(())
    });
    let reason = "SELECT reason FROM system.sources WHERE name = 'mine'";
    wait_for("the reason is told", || {
        let told = project.rows(reason)[0]["reason"].to_string();
        (told.contains("ended with code 7") && told.contains("the printer is on fire"))
            .then_some(())
    });
    let rows = project.rows("SELECT n FROM mine ORDER BY n");
    let expected: Vec<Value> = (1..=rows.len()).map(|n| json!({ "n": n })).collect();
    assert_eq!(rows, expected, "each line once");
    let said = stop(process);
    assert!(said.stderr.contains("the printer is on fire"), "{}", said.stderr);
    project.drain();
    project.balances();
    // What the program was writing when it was ended is nobody's; all that was kept is there once.
    let kept = "SELECT count(*) - count(DISTINCT n) FROM kept";
    assert_eq!(project.count(kept), 0);
    assert!(project.count("SELECT count(*) FROM kept") >= rows.len() as i64);
    assert!(project.count("SELECT count(*) FROM system.quarantine WHERE name = 'mine'") >= 3);
}

#[test]
fn a_program_that_runs_on_is_ended_with_the_process() {
    let project = Project::new(MINE);
    project.write(
        "count.sh",
        "trap '' TERM\nsleep 1000 &\necho \"{\\\"n\\\": $!}\"\nwhile :; do wait; done\n",
    );
    let process = served(&project);
    let started = wait_for("its line has come", || {
        let rows = project.rows("SELECT n FROM mine");
        rows.first().and_then(|row| row["n"].as_i64())
    });
    stop(process);
    let state = fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "it still runs: {state}");
}

#[test]
fn a_program_with_a_period_is_run_by_a_drain_once() {
    let project = Project::new(&MINE.replace(
        "exec.command = [\"sh\", \"count.sh\"]",
        "exec.command = [\"sh\", \"count.sh\"]\nexec.every = \"1h\"",
    ));
    project.write("count.sh", "echo '{\"n\": 1}'; echo '{\"n\": 2}'\n");
    project.drain().ended_with(0);
    project.balances();
    assert_eq!(project.count("SELECT count(*) FROM kept"), 2);
}

const EVENTS: &str = r#"
[project]
name = "events"
[source.events]
push = true
key = ["id"]
columns = { id = "bigint not null", amount = "decimal(20,10)" }
[sink.published]
from = "events"
topic.name = "events-out"
[topic.events-out]
partitions = 2
[source.back]
topic.name = "events-out"
columns = { id = "bigint not null", amount = "decimal(20,10)" }
[stream.sums]
sql = "SELECT count(*) AS events, sum(amount) AS amount FROM back"
[runtime]
checkpoint.every = "100ms"
"#;

/// Posts a body; the status and the answer.
pub(crate) fn post(
    project: &Project,
    path: &str,
    body: impl Into<Vec<u8>>,
    token: Option<&str>,
) -> (u16, Value) {
    let addresses = fs::read(project.data().join("addresses.json")).expect("the server runs");
    let addresses: Value = serde_json::from_slice(&addresses).expect("JSON");
    let base = addresses["http"].as_str().expect("an address").trim_end_matches('/');
    let base = if base.starts_with("http") { base.to_owned() } else { format!("http://{base}") };
    let url = format!("{base}/api/v1/{path}");
    block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut asked = client.post(url).body(body.into());
        if let Some(token) = token {
            asked = asked.bearer_auth(token);
        }
        let answer = asked.timeout(Duration::from_secs(60)).send().await.expect("it answers");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    })
}

#[test]
fn what_is_posted_is_answered_when_it_is_durable_and_comes_back_by_its_topic() {
    let project = Project::new(EVENTS);
    let process = served(&project);
    let token = fs::read_to_string(project.data().join("admin_token")).expect("it was made");
    let token = Some(token.trim());
    let path = "sources/events/records";
    assert_eq!(post(&project, path, "{}", None).0, 401, "the token is needed");
    let one = post(&project, path, r#"{"id": 1, "amount": 61837.6300000001}"#, token);
    assert_eq!(one, (202, json!({ "records": 1, "first_offset": 0, "last_offset": 0 })));
    let two = post(&project, path, r#"[{"id": 2, "amount": "0.5"}, {"id": "x"}]"#, token);
    assert_eq!(two, (202, json!({ "records": 2, "first_offset": 1, "last_offset": 2 })));
    assert_eq!(post(&project, path, "[{]", token).0, 422);
    assert_eq!(post(&project, path, "1".repeat(2_000_000), token).0, 413);
    assert_eq!(post(&project, "sources/back/records", "{}", token).0, 400);
    // What was answered is there after a kill.
    let mut process = process;
    process.run_for(Duration::ZERO);
    drop(process);

    let said = project.drain().ended_with(0);
    project.balances();
    assert_eq!(project.ledger("source", "events", "rows_valid"), 2, "{}", said.stderr);
    assert_eq!(project.ledger("source", "events", "rows_quarantined"), 1);
    let sums = project.rows("SELECT events, CAST(amount AS text) AS amount FROM sums");
    assert_eq!(sums, [json!({ "events": 2, "amount": "61838.1300000001" })]);
    let tail = ["topics", "tail", "events-out", "--from", "beginning", "--raw"];
    assert_eq!(ask(&project, &tail).ended_with(0).stdout.lines().count(), 2);
    // Once more: nothing is published again.
    project.drain().ended_with(0);
    assert_eq!(ask(&project, &tail).ended_with(0).stdout.lines().count(), 2);
    project.balances();
}
