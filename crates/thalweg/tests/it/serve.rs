//! A server that goes on: HTTP with a token or a session, live results, jobs, and its end.

use std::fs;
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::postgres::Database;
use crate::project::Project;
use crate::support::{PATIENCE, Process, Simulator, block_on, run, thalweg, wait_for};

/// market-lambda on made-up prices, served.
struct Served {
    project: Project,
    process: Process,
    http: Client,
    base: String,
    token: String,
    _simulator: Simulator,
}

impl Served {
    fn start() -> Self {
        let simulator = Simulator::start(&["--rate", "200"]);
        let database = Database::new();
        let project = Project::market(&simulator.url, &database.url);
        let process = project.start(&["--http", "127.0.0.1:0"]);
        let addresses = project.data().join("addresses.json");
        let addresses: Value = wait_for("the server says where it listens", || {
            serde_json::from_str(&fs::read_to_string(&addresses).ok()?).ok()
        });
        let base = addresses["http"].as_str().expect("an address").to_owned();
        let token = fs::read_to_string(project.data().join("admin_token")).expect("a token");
        let http = Client::builder().no_proxy().redirect(Policy::none()).timeout(PATIENCE);
        let http = http.build().expect("a client");
        wait_for("trades have come", || {
            (project.count("SELECT count(*) FROM hourly_volume") > 0).then_some(())
        });
        let token = token.trim().to_owned();
        Self { project, process, http, base, token, _simulator: simulator }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).json(body)
    }

    fn stop(self) {
        let asked = Instant::now();
        self.process.terminate();
        self.process.end().ended_with(0);
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(10), "S27: it took {took:?} to stop");
        assert!(!self.project.data().join("addresses.json").exists());
    }
}

async fn answer(request: RequestBuilder) -> Response {
    let answer = request.send().await.expect("the server answers");
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.url());
    answer
}

async fn body(request: RequestBuilder) -> Value {
    answer(request).await.json().await.expect("the answer is JSON")
}

#[test]
fn what_is_asked_over_http_needs_the_token_and_is_answered() {
    let served = Served::start();
    block_on(async {
        for path in ["/api/v1/views/hourly_volume", "/api/v1/ledger", "/api/v1/metrics"] {
            let bare = served.http.get(format!("{}{path}", served.base)).send().await;
            let status = bare.expect("the server answers").status();
            assert_eq!(status, StatusCode::UNAUTHORIZED, "S28: {path}");
        }
        let wrong = served.http.get(format!("{}/api/v1/ledger", served.base)).bearer_auth("wrong");
        let wrong = wrong.send().await.expect("the server answers");
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);

        let sql = json!({ "sql": "SELECT count(*) AS trades FROM trades" });
        let trades = body(served.post("/api/v1/sql", &sql)).await;
        assert!(trades.to_string().contains("trades"), "{trades}");
        let hours = body(served.get("/api/v1/views/hourly_volume?limit=3")).await;
        assert!(hours.to_string().contains("window_start"), "{hours}");
        let ledger = body(served.get("/api/v1/ledger")).await;
        assert!(ledger.to_string().contains("rows_valid"), "{ledger}");
        let metrics = answer(served.get("/api/v1/metrics")).await.text().await.expect("text");
        assert!(metrics.contains("thalweg_source_frames_total{source=\"trades\"}"), "{metrics}");

        let write = json!({ "sql": "DROP TABLE trades" });
        let write = served.post("/api/v1/sql", &write).send().await.expect("the server answers");
        assert!(write.status().is_client_error(), "S29: {}", write.status());
        let file = json!({ "sql": "SELECT * FROM '/etc/passwd'" });
        let file = served.post("/api/v1/sql", &file).send().await.expect("the server answers");
        assert!(file.status().is_client_error(), "S29: {}", file.status());
    });
    served.stop();
}

#[test]
fn a_browser_logs_in_once_and_its_cookie_opens_the_rest() {
    let served = Served::start();
    block_on(async {
        let login = format!("{}/login?token=", served.base);
        let refused = served.http.get(format!("{login}wrong")).send().await;
        assert!(refused.expect("the server answers").status().is_client_error());
        let login = served.http.get(format!("{login}{}", served.token)).send().await;
        let login = login.expect("the server answers");
        assert_eq!(login.status(), StatusCode::SEE_OTHER);
        let cookie = login.headers()["set-cookie"].to_str().expect("text").to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite"), "S28: {cookie}");
        let cookie = cookie.split(';').next().expect("a cookie").to_owned();
        for path in ["/", "/api/v1/dashboards"] {
            let page = served.http.get(format!("{}{path}", served.base)).header("cookie", &cookie);
            answer(page).await;
        }
    });
    served.stop();
}

#[test]
fn a_live_view_sends_a_snapshot_and_then_what_changes() {
    let served = Served::start();
    block_on(async {
        let mut events = answer(served.get("/api/v1/live/hourly_volume")).await;
        let mut text = String::new();
        while !(text.contains("event: delta") || text.contains("event:delta")) {
            let chunk = events.chunk().await.expect("the feed lives").expect("the feed goes on");
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        let first = text.lines().find(|line| line.starts_with("event:")).expect("an event");
        assert!(first.contains("snapshot"), "{text}");
    });
    served.stop();
}

#[test]
fn jobs_are_asked_for_through_the_server() {
    let served = Served::start();
    let folder = served.project.path("");
    let ask = |arguments: &[&str]| {
        let mut command = thalweg();
        command.args(arguments);
        command
    };
    let list = run(served.project.command("jobs", &[]));
    assert_eq!(list.code, Some(2), "`jobs` alone is usage");
    let mut list = ask(&["jobs", "list", "--format", "jsonl"]);
    list.arg(&folder);
    let jobs = run(list).ended_with(0).json_lines();
    assert!(jobs.iter().any(|job| job["job"] == "nightly"), "{jobs:?}");

    let mut preview = ask(&[
        "backfill",
        "nightly",
        "--from",
        "2023-12-22",
        "--to",
        "2023-12-24",
        "--preview",
        "--dir",
    ]);
    preview.arg(&folder);
    let said = run(preview).ended_with(0);
    for day in ["2023-12-22", "2023-12-23", "2023-12-24"] {
        assert!(said.stdout.contains(day), "{}", said.stdout);
    }
    assert_eq!(served.project.count("SELECT count(*) FROM system.runs WHERE job = 'nightly'"), 0);

    let mut unknown = ask(&["jobs", "run", "nightli"]);
    unknown.arg(&folder);
    let said = run(unknown).ended_with(1);
    assert!(said.stderr.contains("nightli"), "{}", said.stderr);
    served.stop();
}

#[test]
fn without_a_server_jobs_say_that_it_cannot_be_reached() {
    let project = Project::market("ws://127.0.0.1:1/finnhub", "postgres://127.0.0.1:1/none");
    let mut command = thalweg();
    command.args(["jobs", "run", "nightly"]).arg(project.path(""));
    let said = run(command).ended_with(3);
    assert!(said.stderr.contains("thalweg run"), "{}", said.stderr);
}
