//! Delta tables on S3 and HDFS, exactly once through kills (S9), and Delta tables that others fill, looked
//! up in (S11).

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::files::S3;
use crate::project::Project;
use crate::recorded::{assert_same_hours, hours_by_duckdb};
use crate::support::{capture, python, run, sorted, thalweg, wait_for};
use crate::tables::{Hdfs, TRADES, drain_through_kills};

/// The trades of the capture, read at `rate`: a table of them below `place`, their hours live and in
/// batch, and both merged.
fn both_layers(capture: &Path, rate: &str, place: &str, reached: &str) -> Project {
    Project::new(&format!(
        r#"
[project]
name = "delta"
[runtime]
checkpoint.every = "100ms"
commit.every     = "200ms"
[source.trades]
file.path   = "{}"
file.rate   = "{rate}"
format.json = {{ rows = "$.data[*]", only_if = "$.type = 'trade'" }}
event_time  = "ts"
watermark   = "1h"
[source.trades.columns]
symbol = {{ type = "text not null",      select = "s" }}
price  = {{ type = "double not null",    select = "p" }}
volume = {{ type = "double",             select = "v" }}
ts     = {{ type = "timestamp not null", select = "t", unit = "ms" }}
[table.history]
from         = "trades"
delta.path   = "{place}/history"
partition_by = {{ day = "date(ts)" }}
{reached}
[stream.hourly]
sql = '''
SELECT symbol, window_start, max(price) AS high, min(price) AS low, sum(volume) AS volume,
       avg(price) AS mean, count(*) AS trades
FROM tumble(trades, ts, interval '1 hour') GROUP BY symbol, window_start
'''
emit = "update"
[table.hourly_batch]
batch_of   = "hourly"
replace    = "date(window_start)"
delta.path = "{place}/hours"
{reached}
[view.hours]
merge = {{ batch = "hourly_batch", live = "hourly", on = "window_start" }}
[job.nightly.tasks]
hours = {{ refresh = "hourly_batch" }}
tidy  = {{ compact = "history", after = ["hours"] }}
"#,
        capture.display()
    ))
}

/// What the Delta package of Python sees of a table: rows, symbols, days, sum of prices, files.
const DELTALAKE: &str = r#"
import deltalake, json, sys
import pyarrow.compute as pc
table = deltalake.DeltaTable(sys.argv[1], storage_options = json.loads(sys.argv[2]))
rows = table.to_pyarrow_table()
print(json.dumps([rows.num_rows, len(set(rows["symbol"].to_pylist())), len(set(rows["day"].to_pylist())),
                  round(pc.sum(rows["price"]).as_py(), 3), len(table.file_uris())]))
"#;

/// Kills drains, then runs the nights by hand: at each step the tables hold what they should.
fn each_row_once(project: &Project, capture: &Path, kills: u32, place: &str, options: &Value) {
    drain_through_kills(project, kills, 11, |_| {});
    let distinct =
        "SELECT count(DISTINCT concat(_partition, '/', _offset, '/', _row)) FROM history";
    assert_eq!(project.count("SELECT count(*) FROM history"), TRADES, "S9");
    assert_eq!(project.count(distinct), TRADES, "S9");

    let expected = hours_by_duckdb(capture);
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    let hours = i64::try_from(expected.len()).expect("they are few");
    wait_for("the stream is back where it was", || {
        (project.count("SELECT count(*) FROM hours") == hours).then_some(())
    });
    assert_hours(project, &expected);
    for day in ["2023-12-22", "2023-12-23", "2023-12-24"] {
        run_job(project, day);
        assert_hours(project, &expected);
    }
    let batch = project.count("SELECT count(*) FROM hours WHERE _layer = 'batch'");
    assert!(batch > 0, "S17: the batch answers for the days it has");
    process.terminate();
    process.end().ended_with(0);

    // Another program sees what we see; each day is one file by now.
    let ours = &project.rows(
        "SELECT count(*) AS n, count(DISTINCT symbol) AS s, count(DISTINCT day) AS d, \
         round(sum(price), 3) AS p FROM history",
    )[0];
    let theirs = format!("{place}/history");
    let theirs = python(DELTALAKE, &[Path::new(&theirs), Path::new(&options.to_string())]);
    let expected = json!([ours["n"], ours["s"], ours["d"], ours["p"], ours["d"]]);
    assert_eq!(theirs, [expected], "deltalake");
    assert_eq!(ours["n"], TRADES);
}

#[track_caller]
fn assert_hours(project: &Project, expected: &[Value]) {
    let found = project.rows(
        "SELECT symbol, window_start, volume, low, high, mean, trades FROM hours \
         ORDER BY symbol, window_start",
    );
    assert_same_hours(&found, expected);
}

/// Runs the nightly job for a day, and waits for its end.
fn run_job(project: &Project, day: &str) {
    let mut command = thalweg();
    command.args(["jobs", "run", "nightly", "--date", day]).arg(project.path(""));
    run(command).ended_with(0);
    let ended = wait_for("the run ends", || {
        let runs = project.rows(&format!(
            "SELECT state FROM system.runs WHERE ended_at IS NOT NULL AND day = '{day}'"
        ));
        runs.into_iter().next()
    });
    let tasks = project.rows("SELECT task, state, note FROM system.tasks");
    assert_eq!(ended["state"], "succeeded", "{day}: {tasks:#?}");
}

/// How a bucket of the server is reached: by us, and by the Delta package of Python.
fn bucket(s3: &S3) -> (String, Value) {
    s3.put("market", b"");
    let ours = format!(
        "s3 = {{ endpoint = \"{}\", access_key_id = \"${{S3_KEY}}\", secret_access_key = \"${{S3_KEY}}\" }}",
        s3.url
    );
    let theirs = json!({
        "AWS_ENDPOINT_URL": s3.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
    });
    (ours, theirs)
}

#[test]
fn a_delta_table_on_s3_holds_each_row_once_through_kills() {
    let Some(capture) = capture() else { return };
    let s3 = S3::start();
    let (reached, options) = bucket(&s3);
    let place = "s3://market/the lake";
    let project = both_layers(&capture, "150/s", place, &reached);
    project.write(".env", "S3_KEY=test\n");
    each_row_once(&project, &capture, 8, place, &options);
}

#[test]
fn a_delta_table_on_hdfs_holds_each_row_once_through_kills_and_a_restart_of_the_data_node() {
    let Some(capture) = capture() else { return };
    let mut hdfs = Hdfs::start();
    let place = format!("{}/lake", hdfs.url);
    let project = both_layers(&capture, "300/s", &place, "");
    each_row_once(&project, &capture, 4, &place, &json!({}));
    // Once more while one writes.
    let more = both_layers(&capture, "300/s", &format!("{place}-2"), "");
    let running = more.start_drain();
    wait_for("the tables are there and trades are read", || {
        fs::read_dir(more.data().join("checkpoints/trades")).ok()?.next().map(drop)
    });
    hdfs.restart_data_node();
    running.end().ended_with(0);
    more.balances();
    assert_eq!(more.count("SELECT count(*) FROM history"), TRADES, "S9");
}

/// Makes the table `listed` of another program, or writes it anew: symbols and names.
const LISTED: &str = r#"
import deltalake, json, pyarrow, sys
path, options, rows = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
table = pyarrow.table({"symbol": [row[0] for row in rows], "name": [row[1] for row in rows]})
deltalake.write_deltalake(path, table, mode = "overwrite", storage_options = options)
"#;

fn list(place: &str, options: &Value, rows: &Value) {
    let (options, rows) = (options.to_string(), rows.to_string());
    python(LISTED, &[Path::new(place), Path::new(&options), Path::new(&rows)]);
}

/// Ticks with the names that a table of others has for them, live and in batch.
fn named_by(listed: &str) -> Project {
    let project = Project::new(&format!(
        r#"
[runtime]
checkpoint.every = "100ms"
commit.every     = "200ms"
[source.ticks]
file.path  = "in/*.csv"
format.csv = {{}}
event_time = "ts"
[source.ticks.columns]
ts     = "timestamp not null"
symbol = "text not null"
price  = "double not null"
[table.history]
from       = "ticks"
delta.path = "lake/ticks"
[table.listed]
{listed}
[stream.named]
sql = "SELECT t.symbol, l.name, t.price, t.ts FROM ticks t JOIN listed l ON l.symbol = t.symbol"
[stream.unlisted]
sql = "SELECT symbol, ts FROM ticks WHERE symbol NOT IN (SELECT symbol FROM listed)"
[table.names]
from       = "named"
delta.path = "lake/names"
[table.strays]
from       = "unlisted"
delta.path = "lake/strays"
[table.names_batch]
batch_of   = "named"
replace    = "date(ts)"
delta.path = "lake/names_batch"
[job.nightly.tasks]
names = {{ refresh = "names_batch" }}
"#
    ));
    fs::create_dir(project.path("in")).expect("the folder is ours");
    project
}

/// Symbol, name and price of every row of a table.
fn names(project: &Project, table: &str) -> Vec<String> {
    sorted(&project.rows(&format!("SELECT symbol, name, price FROM {table}")))
}

fn row(symbol: &str, name: &str, price: f64) -> Value {
    json!({ "symbol": symbol, "name": name, "price": price })
}

/// Drains ticks of two days; between them the other program writes its table anew.
fn looks_up_in_it(project: &Project, place: &str, options: &Value) {
    let first = "2023-12-22T10:00:00Z,A,1\n2023-12-22T10:00:01Z,B,2\n2023-12-22T10:00:02Z,C,3\n";
    project.write("in/1.csv", format!("ts,symbol,price\n{first}"));
    project.drain().ended_with(0);
    let seen = [row("A", "Alpha", 1.0), row("B", "Beta", 2.0)];
    assert_eq!(names(project, "names"), sorted(&seen));

    list(place, options, &json!([["A", "Aleph"], ["C", "Gamma"]]));
    assert_eq!(project.count("SELECT count(*) FROM listed WHERE name = 'Aleph'"), 1);
    let second = "2023-12-23T10:00:00Z,A,4\n2023-12-23T10:00:01Z,B,5\n2023-12-23T10:00:02Z,C,6\n";
    project.write("in/2.csv", format!("ts,symbol,price\n{second}"));
    project.drain().ended_with(0);
    let then = [row("A", "Aleph", 4.0), row("C", "Gamma", 6.0)];
    let seen: Vec<Value> = seen.into_iter().chain(then.clone()).collect();
    assert_eq!(names(project, "names"), sorted(&seen), "S11: what was seen with a row stays");
    let strays = project.rows("SELECT symbol FROM strays ORDER BY ts");
    assert_eq!(strays, [json!({ "symbol": "C" }), json!({ "symbol": "B" })]);
    project.balances();

    // A batch looks up in what there is now.
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    run_job(project, "2023-12-22");
    let now = [row("A", "Aleph", 1.0), row("C", "Gamma", 3.0)];
    assert_eq!(names(project, "names_batch"), sorted(&now));
    process.terminate();
    process.end().ended_with(0);
}

#[test]
fn streams_and_batches_look_up_in_a_delta_table_of_others() {
    let project = named_by("delta.path = \"listed\"");
    let listed = project.path("listed");
    let listed = listed.to_str().expect("the path is text");
    list(listed, &json!({}), &json!([["A", "Alpha"], ["B", "Beta"]]));
    looks_up_in_it(&project, listed, &json!({}));
    let version = project.count("SELECT version FROM system.tables WHERE name = 'listed'");
    assert_eq!(version, 1, "it is not written to");
}

#[test]
fn streams_and_batches_look_up_in_a_delta_table_on_s3() {
    let s3 = S3::start();
    let (reached, options) = bucket(&s3);
    let place = "s3://market/listed";
    let columns = "columns = { symbol = \"text\", name = \"text\" }";
    let project = named_by(&format!("delta.path = \"{place}\"\n{columns}\n{reached}"));
    project.write(".env", "S3_KEY=test\n");
    list(place, &options, &json!([["A", "Alpha"], ["B", "Beta"]]));
    looks_up_in_it(&project, place, &options);
}

#[test]
fn a_table_that_a_stream_fills_is_looked_up_in_and_sees_every_commit() {
    let project = Project::new(
        "[source.coins]\nfile.path = \"coins/*.csv\"\nformat.csv = {}\ncolumns.coin = \"text not null\"\n\
         columns.name = \"text\"\n[table.known]\nfrom = \"coins\"\ndelta.path = \"lake/known\"\n\
         [source.ticks]\nfile.path = \"ticks/*.csv\"\nformat.csv = {}\ncolumns.coin = \"text not null\"\n\
         [stream.named]\nsql = \"SELECT t.coin, k.name FROM ticks t JOIN known k ON k.coin = t.coin\"\n\
         [table.names]\nfrom = \"named\"\ndelta.path = \"lake/names\"\n",
    );
    for folder in ["coins", "ticks"] {
        fs::create_dir(project.path(folder)).expect("the folder is ours");
    }
    let names = |project: &Project| sorted(&project.rows("SELECT coin, name FROM names"));
    project.write("coins/1.csv", "coin,name\nA,Alpha\n");
    project.write("ticks/0.csv", "coin\n");
    project.drain().ended_with(0);
    project.write("ticks/1.csv", "coin\nA\nB\n");
    project.write("coins/2.csv", "coin,name\nB,Beta\n");
    project.drain().ended_with(0);
    // Whether the row of B was there in time is for the two pipelines to settle; A was there.
    assert!(names(&project).contains(&json!({ "coin": "A", "name": "Alpha" }).to_string()));
    let before = names(&project);
    project.write("ticks/2.csv", "coin\nB\n");
    project.drain().ended_with(0);
    let beta = json!({ "coin": "B", "name": "Beta" }).to_string();
    let mut expected = before;
    expected.push(beta);
    expected.sort_unstable();
    assert_eq!(names(&project), expected);
    project.balances();
}

#[test]
fn what_is_wrong_with_a_table_of_others_is_told_where_it_stands() {
    let project = Project::new(
        r#"[source.ticks]
file.path   = "ticks.csv"
format.csv  = {}
columns.k   = "text"
[table.far]
delta.path = "s3://bucket/far"
[table.gone]
delta.path = "lake/gone"
[table.split]
delta.path = "lake/split"
columns.k = "text"
partition_by = { day = "date(ts)" }
[table.known]
delta.path = "lake/known"
columns.k = "text"
[stream.circular]
sql = "SELECT t.k FROM ticks t JOIN itself i ON i.k = t.k"
[table.itself]
from = "circular"
delta.path = "lake/itself"
[job.tidy.tasks]
merge = { compact = "known" }
"#,
    );
    let said = run(project.command("check", &[])).ended_with(1);
    let said = format!("{}{}", said.stdout, said.stderr);
    for expected in [
        "the columns of `far` are not known",
        "the table is not on this machine",
        "the columns of `gone` are not known",
        "there is no Delta table at",
        "this says how a table is filled, and nothing fills this one",
        "nothing here fills `known`, so it is not merged either",
        "relations read each other: circular reads itself reads circular",
    ] {
        assert!(said.contains(expected), "no {expected:?} in {said}");
    }
    assert!(!project.path("lake").exists(), "a folder of others is not made");
}
