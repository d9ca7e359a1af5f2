//! The customers example on the recorded file of the original: every row in one arm, in the database
//! and in the topics, once, whatever happens in between.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::files::S3;
use crate::postgres::Database;
use crate::project::Project;
use crate::support::{Process, recorded, run, thalweg, wait_for};

const EXAMPLE: &str = include_str!("../../../../examples/customers/thalweg.toml");
/// Rows of the recorded file, and how many of them are in the USA.
const ROWS: i64 = 667;
const USA: i64 = 35;
/// How often the run is killed.
const KILLS: u32 = 8;

/// The example over the recorded files; `s3` is where its bucket is. None without the files.
fn example(s3: &str, rate: Option<&str>, database: &Database) -> Option<Project> {
    let customers = recorded("customers/customers.csv")?;
    let cities = recorded("customers/us_cities.csv")?;
    let bucket = "anonymous = true }";
    assert!(EXAMPLE.contains(bucket), "the example asks without credentials");
    let rate = rate.map_or_else(String::new, |rate| format!(", rate = \"{rate}\""));
    let text = EXAMPLE
        .replace(bucket, &format!("anonymous = true, endpoint = \"{s3}\"{rate} }}"))
        .replace("path = \"data/customers.csv\"", &format!("path = \"data/customers.csv\"{rate}"));
    let project = Project::new(&format!(
        "{text}\n[runtime]\ncheckpoint.every = \"100ms\"\ncommit.every = \"200ms\"\n"
    ));
    fs::create_dir(project.path("data")).expect("the folder is ours");
    fs::copy(customers, project.path("data/customers.csv")).expect("it can be copied");
    fs::copy(cities, project.path("data/us_cities.csv")).expect("it can be copied");
    project.write(".env", format!("DATABASE_URL={}\n", database.url));
    Some(project)
}

/// The values of a topic, as `thalweg topics tail` prints them.
#[track_caller]
fn published(project: &Project, topic: &str) -> Vec<Value> {
    let mut command = thalweg();
    command.args(["topics", "tail", topic, "--from", "beginning", "--raw", "--project"]);
    run({
        command.arg(project.path(""));
        command
    })
    .ended_with(0)
    .json_lines()
}

/// The rows of a table's JSON files, read as any program would.
fn json_files(folder: &Path) -> Vec<Value> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(folder).expect("the table has a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let text = fs::read_to_string(&path).expect("a file is text");
            rows.extend(
                text.lines().map(|line| -> Value {
                    serde_json::from_str(line).expect("a line is an object")
                }),
            );
        }
    }
    rows
}

fn ids(rows: &[Value]) -> BTreeSet<i64> {
    rows.iter().map(|row| row["id"].as_i64().expect("an id")).collect()
}

/// Every row is in one arm, wherever one looks.
#[track_caller]
fn adds_up(project: &Project, database: &Database) {
    project.balances();
    assert_eq!(project.ledger("route", "by_country", "rows_in"), ROWS);
    assert_eq!(project.ledger("route", "by_country", "rows_usa"), USA);
    assert_eq!(project.ledger("route", "by_country", "rows_alerts"), ROWS - USA);
    assert_eq!(project.ledger("route", "by_country", "rows_unrouted"), 0);
    assert_eq!(project.ledger("route", "by_country", "rows_quarantined"), 0);

    let (usa, alerts) = agrees(project, database);
    assert_eq!((usa.len() as i64, alerts.len() as i64), (USA, ROWS - USA), "each row once");
    for (arm, expected) in [("usa", &usa), ("alerts", &alerts)] {
        assert_eq!(&ids(&project.rows(&format!("SELECT id FROM {arm}"))), expected, "{arm}");
    }
}

/// The topics, the tables of the database and the files have the same rows of each arm, each row once
/// and in one arm; which they are.
#[track_caller]
fn agrees(project: &Project, database: &Database) -> (BTreeSet<i64>, BTreeSet<i64>) {
    let (usa, alerts) =
        (published(project, "customers-usa"), published(project, "customers-alerts"));
    assert_eq!((usa.len() + alerts.len()) as i64, ROWS, "each row once");
    let (usa, alerts) = (ids(&usa), ids(&alerts));
    assert!(usa.is_disjoint(&alerts), "no row is in both");
    assert_eq!(usa.union(&alerts).copied().collect::<Vec<_>>(), (1..=ROWS).collect::<Vec<_>>());

    for (table, expected) in [("usa_customers", &usa), ("alert_customers", &alerts)] {
        let rows = database.rows(&format!("SELECT id FROM {table} ORDER BY id"));
        let found: Vec<i64> = rows.iter().map(|id| id.parse().expect("a number")).collect();
        assert_eq!(found, expected.iter().copied().collect::<Vec<_>>(), "{table}");
    }
    for (table, expected) in [("usa_files", &usa), ("alert_files", &alerts)] {
        assert_eq!(&ids(&project.rows(&format!("SELECT id FROM {table}"))), expected, "{table}");
    }
    for (folder, expected) in [("usa", &usa), ("alerts", &alerts)] {
        let rows = json_files(&project.path("lake").join(folder));
        assert_eq!(rows.len(), expected.len(), "{folder}: each row once");
        assert_eq!(&ids(&rows), expected, "{folder}");
    }
    (usa, alerts)
}

#[test]
fn usa_and_alerts_add_up_to_the_input_whatever_is_killed() {
    let s3 = S3::start();
    let database = Database::new();
    let Some(project) = example(&s3.url, Some("250/s"), &database) else { return };
    s3.put("snowflake-assignments-mc", b"");
    let file = fs::read(project.path("data/customers.csv")).expect("it is there");
    s3.put("snowflake-assignments-mc/gettingstarted/customers.csv", &file);
    // What is read is the object, not the copy.
    fs::remove_file(project.path("data/customers.csv")).expect("it is there");

    let mut random = SmallRng::seed_from_u64(11);
    for _ in 0..KILLS {
        let life = Duration::from_millis(900).mul_f64(random.random_range(0.2..1.0));
        project.start_drain().run_for(life);
    }
    let said = project.drain().ended_with(0);
    adds_up(&project, &database);
    let reads = project.rows("SELECT reads FROM system.sources WHERE name = 'customers'");
    let bucket = "s3://snowflake-assignments-mc/gettingstarted/customers.csv";
    assert_eq!(reads, [json!({ "reads": bucket })], "{}", said.stderr);

    // Once more, and nothing is sent again.
    project.drain().ended_with(0);
    adds_up(&project, &database);
    let created = database.rows("SELECT count(*) FROM usa_customers WHERE created_at IS NULL");
    assert_eq!(created, ["0"]);
}

#[test]
fn arms_add_up_everywhere_while_the_cities_change() {
    let database = Database::new();
    let Some(project) = example("http://127.0.0.1:1", Some("100/s"), &database) else { return };
    let path = project.path("data/us_cities.csv");
    let usa = fs::read_to_string(&path).expect("it is there");
    let customers = fs::read_to_string(project.path("data/customers.csv")).expect("it is there");
    let places = customers.lines().skip(1).filter_map(|line| line.rsplit(',').next());
    let everywhere: Vec<&str> = std::iter::once("City").chain(places).collect();

    let start = || {
        let process = project.start(&["--http", "127.0.0.1:0"]);
        wait_for("it listens", || process.stderr().contains("listening on").then_some(()));
        process
    };
    let mut process = start();
    for round in 1..=5 {
        wait_for("a sixth of the rows is read", || {
            (project.ledger("source", "customers", "rows_valid") > round * ROWS / 6).then_some(())
        });
        // Whole or not at all, while it is read.
        let cities = if round % 2 == 1 { everywhere.join("\n") } else { usa.clone() };
        project.write("data/next.csv", cities);
        fs::rename(project.path("data/next.csv"), &path).expect("the folder is ours");
        if round % 2 == 0 {
            process.run_for(Duration::ZERO);
            process = start();
        }
    }
    process.terminate();
    process.end().ended_with(0);
    project.drain().ended_with(0);
    project.balances();
    let (usa, alerts) = agrees(&project, &database);
    assert!(usa.len() as i64 > USA && !alerts.is_empty(), "the cities changed: {}", usa.len());
}

#[test]
fn without_the_bucket_the_copy_is_read_and_the_log_says_so() {
    let database = Database::new();
    let Some(project) = example("http://127.0.0.1:1", None, &database) else { return };
    let said = project.drain().ended_with(0);
    assert!(
        said.stderr.contains("files are read from a fall-back")
            && said.stderr.contains("data/customers.csv"),
        "{}",
        said.stderr
    );
    adds_up(&project, &database);
}

/// A verb on a project.
fn ask(project: &Project, arguments: &[&str]) -> crate::support::Said {
    let mut command = thalweg();
    command.args(arguments).arg("--project").arg(project.path(""));
    run(command)
}

#[test]
fn topics_are_shown_by_a_running_server_and_beside_a_stopped_one() {
    let database = Database::new();
    let Some(project) = example("http://127.0.0.1:1", None, &database) else { return };
    project.declare("[topic.customers-usa]\npartitions = 3\n");
    let tail = ["topics", "tail", "customers-usa", "--from", "beginning", "--format", "jsonl"];
    let process: Process = project.start(&["--http", "127.0.0.1:0"]);
    let running = wait_for("the rows are published", || {
        let said = ask(&project, &tail);
        (said.code == Some(0) && said.stdout.lines().count() as i64 == USA).then_some(said)
    });
    // The panels of its dashboard are streams whose rows are looked up as those of the arms.
    let panels = "SELECT max(value) AS rows FROM system.ledger \
                  WHERE \"count\" = 'rows_in' AND name LIKE 'panel.customers.%.0' GROUP BY name";
    wait_for("the panels have taken every row", || {
        (project.rows(panels) == vec![json!({ "rows": ROWS }); 3]).then_some(())
    });
    assert_eq!(project.count("SELECT count(*) FROM usa"), USA);
    process.terminate();
    process.end().ended_with(0);
    let stopped = ask(&project, &tail).ended_with(0);
    assert_eq!(stopped.stdout, running.stdout);

    let records = stopped.json_lines();
    let value: Value = serde_json::from_str(records[0]["value"].as_str().unwrap()).unwrap();
    assert_eq!(records[0]["key"], value["id"].to_string(), "the key of the source, as text");
    let columns: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(columns, ["age", "email", "first_name", "id", "last_name", "location"]);
    let headers: Value = serde_json::from_str(records[0]["headers"].as_str().unwrap()).unwrap();
    assert_eq!(headers["op"], "insert");
    let used: BTreeSet<i64> = records.iter().filter_map(|it| it["partition"].as_i64()).collect();
    assert_eq!(used.len(), 3, "the keys are spread");

    let newest = ask(&project, &["topics", "tail", "customers-alerts", "--from", "-2", "--raw"]);
    assert_eq!(newest.ended_with(0).stdout.lines().count(), 2);
    let from = ask(&project, &["topics", "tail", "customers-alerts", "--from", "630", "-n", "1"]);
    assert_eq!(from.ended_with(0).json_lines()[0]["offset"], 630);
    let list = ask(&project, &["topics", "list", "--format", "jsonl"]).ended_with(0).json_lines();
    let alerts = list.iter().find(|row| row["name"] == "customers-alerts").expect("it is listed");
    assert_eq!(alerts["records"], ROWS - USA);
    let shown = ask(&project, &["topics", "show", "customers-usa", "--format", "jsonl"]);
    assert_eq!(shown.ended_with(0).json_lines().len(), 3);
    let wrong = ask(&project, &["topics", "tail", "customers-us"]).ended_with(1);
    assert!(wrong.stderr.contains("Did you mean `customers-usa`?"), "{}", wrong.stderr);
}

#[test]
fn the_template_runs_offline_and_adds_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("shop");
    let verb = |arguments: &[&str]| {
        let mut command = thalweg();
        command.args(arguments).current_dir(&dir);
        run(command)
    };
    let mut command = thalweg();
    command.arg("init").arg(&dir).args(["--template", "customers"]);
    run(command).ended_with(0);
    let file = dir.join("thalweg.toml");
    let text = fs::read_to_string(&file).expect("it was made");
    // The machine of a test may reach the bucket.
    let here = "anonymous = true, endpoint = \"http://127.0.0.1:1\" }";
    fs::write(&file, text.replace("anonymous = true }", here)).expect("the folder is ours");
    let said = verb(&["run", "--drain"]).ended_with(0);
    assert!(said.stderr.contains("files are read from a fall-back"), "{}", said.stderr);
    let counts = verb(&[
        "sql",
        "--format",
        "jsonl",
        "-c",
        "SELECT \"count\", value FROM system.ledger WHERE part = 'route' ORDER BY \"count\"",
    ]);
    let counts: Vec<(String, i64)> = counts
        .ended_with(0)
        .json_lines()
        .iter()
        .map(|row| (row["count"].as_str().unwrap().to_owned(), row["value"].as_i64().unwrap()))
        .collect();
    let expected = [
        ("rows_alerts", 50),
        ("rows_in", 60),
        ("rows_quarantined", 0),
        ("rows_unrouted", 0),
        ("rows_usa", 10),
    ];
    assert_eq!(counts, expected.map(|(name, rows)| (name.to_owned(), rows)));
    let usa = verb(&["topics", "tail", "customers-usa", "--from", "beginning", "-n", "3"]);
    assert_eq!(usa.ended_with(0).stdout.lines().count(), 3);
    let alerts = verb(&["topics", "tail", "customers-alerts", "--from", "beginning", "--raw"]);
    assert_eq!(alerts.ended_with(0).stdout.lines().count(), 50);
}
