//! Tables of plain files (S9): each row once through kills, here, on S3 and on HDFS; other programs
//! read them; what cannot be kept as files is told by `check`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::files::S3;
use crate::project::Project;
use crate::support::{assert_same_rows, capture, python, root, run, sorted, spark};

/// Trades in the capture.
pub(crate) const TRADES: i64 = 6_959;
/// The longest that a run lives before it is killed.
const LIFE_MAX: Duration = Duration::from_millis(700);

/// The trades of the capture, read at `rate`, and tables of them below `place`, in every format.
fn every_format(capture: &Path, rate: &str, place: &str, more: &str) -> Project {
    let partition = "partition_by = { day = \"date(ts)\", symbol = \"symbol\" }";
    Project::new(&format!(
        r#"
[project]
name = "files"
[runtime]
checkpoint.every = "100ms"
commit.every     = "200ms"
[source.trades]
file.path   = "{}"
{rate}
format.json = {{ rows = "$.data[*]", only_if = "$.type = 'trade'" }}
event_time  = "ts"
[source.trades.columns]
symbol = {{ type = "text not null",           select = "s" }}
price  = {{ type = "decimal(18,6) not null",  select = "p" }}
volume = {{ type = "double",                  select = "v" }}
ts     = {{ type = "timestamp not null",      select = "t", unit = "ms" }}
[table.as_parquet]
from = "trades"
parquet.path = "{place}/parquet"
{partition}
{more}
[table.as_avro]
from = "trades"
avro.path = "{place}/avro"
{partition}
roll = {{ every = "500ms" }}
{more}
[table.as_csv]
from = "trades"
csv.path = "{place}/csv"
{partition}
roll = {{ every = "1h", size = "20KB" }}
{more}
[table.as_json]
from = "trades"
json.path = "{place}/json"
{more}
"#,
        capture.display()
    ))
}

/// Runs `--drain` again and again, killed each time after a random while; the last one ends.
pub(crate) fn drain_through_kills(project: &Project, kills: u32, seed: u64, between: impl Fn(u32)) {
    let mut random = SmallRng::seed_from_u64(seed);
    for kill in 0..kills {
        let life = LIFE_MAX.mul_f64(random.random_range(0.2..1.0));
        assert_eq!(project.start_drain().run_for(life), None, "it ended by itself, kill {kill}");
        between(kill);
    }
    project.drain().ended_with(0);
    project.balances();
}

const FORMATS: [&str; 4] = ["parquet", "avro", "csv", "json"];

/// The rows that SQL finds in a table, in an order of their own.
fn rows_of(project: &Project, table: &str) -> Vec<String> {
    let sql = format!("SELECT symbol, price, volume, ts FROM {table}");
    sorted(&project.rows(&sql))
}

/// Fails unless every table holds each trade once.
#[track_caller]
fn assert_each_once(project: &Project) {
    let expected = rows_of(project, "trades");
    assert_eq!(expected.len() as i64, TRADES);
    for format in FORMATS {
        let found = rows_of(project, &format!("as_{format}"));
        assert_same_rows(&format!("S9: {format}"), &found, &expected);
    }
}

/// Every file below a folder, by its path in it.
fn files(folder: &Path) -> Vec<String> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { collect(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    collect(folder, &mut found);
    let name = |path: &PathBuf| {
        path.strip_prefix(folder).expect("it is below").to_string_lossy().into_owned()
    };
    found.iter().map(name).collect()
}

/// What DuckDB sees of each table: rows, sum of volumes, sum of prices, last instant, symbols, days.
const DUCKDB: &str = r#"
import duckdb, json, sys
place = sys.argv[1]
query = """SELECT count(*), round(sum(volume), 6), CAST(sum(CAST(price AS DECIMAL(18,6))) AS VARCHAR),
  epoch_us(CAST(max(ts) AS TIMESTAMPTZ)), count(DISTINCT symbol), count(DISTINCT day) FROM {}"""
without = query.replace("count(DISTINCT day)", "count(DISTINCT date_trunc('day', CAST(ts AS TIMESTAMPTZ) AT TIME ZONE 'UTC'))")
for read in [
    query.format(f"read_parquet('{place}/parquet/**/*.parquet', hive_partitioning = true)"),
    query.format(f"read_csv('{place}/csv/**/*.csv', hive_partitioning = true)"),
    without.format(f"read_json('{place}/json/*.json', format = 'newline_delimited')"),
]:
    print(json.dumps(duckdb.sql(read).fetchone()))
"#;

#[test]
fn files_of_every_format_hold_each_row_once_through_kills() {
    let Some(capture) = capture() else { return };
    let project = every_format(&capture, "file.rate = \"100/s\"", "lake", "");
    drain_through_kills(&project, 12, 5, |_| {});
    assert_each_once(&project);

    // Whole epochs, named; nothing else that a reader would take for rows; nothing left behind.
    let lake = project.path("lake");
    for format in FORMATS {
        let all = files(&lake.join(format));
        let (ours, rows): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|it| it.starts_with("_thalweg/"));
        assert!(rows.len() > 1, "{format}: {rows:?}");
        for file in &rows {
            let name = file.rsplit('/').next().expect("a name");
            assert!(name.starts_with("part-") && name.ends_with(&format!(".{format}")), "{file}");
            let is_foldered = file.starts_with("day=2023-12-2") && file.contains("/symbol=");
            assert_eq!(is_foldered, format != "json", "{file}");
        }
        assert!(!ours.iter().any(|it| it.contains("staged")), "{format}: {ours:?}");
    }
    // A file that reached its size did not wait for its hour.
    let last_epoch = |file: &String| file.rsplit('-').nth(1).map(str::to_owned);
    let commits: BTreeSet<_> = files(&lake.join("csv")).iter().filter_map(last_epoch).collect();
    assert!(commits.len() > 2, "the last life, and by size: {commits:?}");

    // Other programs see what we see.
    let expected = seen_by_us(&project);
    for (seen, format) in python(DUCKDB, &[&lake]).iter().zip(["parquet", "csv", "json"]) {
        assert_eq!(seen, &expected, "DuckDB reads {format}");
    }
    for (seen, reader) in spark(PANDAS, &[&lake]).iter().zip(["pandas", "fastavro"]) {
        assert_eq!(seen, &expected, "{reader}");
    }
}

/// Rows, sum of volumes, sum of prices, the last instant in microseconds, symbols, days.
fn seen_by_us(project: &Project) -> Value {
    let rows = project.rows(
        "SELECT count(*) AS n, round(sum(volume), 6) AS v, CAST(sum(price) AS text) AS p, \
         arrow_cast(max(ts), 'Int64') AS t, count(DISTINCT symbol) AS s, \
         count(DISTINCT date_trunc('day', ts)) AS d FROM trades",
    );
    let row = &rows[0];
    json!([row["n"], row["v"], row["p"], row["t"], row["s"], row["d"]])
}

/// What pandas sees of Parquet, and fastavro of Avro.
const PANDAS: &str = r#"
import datetime, decimal, json, pathlib, sys
import fastavro, pandas, urllib.parse
place = sys.argv[1]

def see(rows):
    micros = max(r["ts"] for r in rows)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    print(json.dumps([len(rows), round(sum(r["volume"] for r in rows), 6), str(sum(r["price"] for r in rows)),
                      (micros - epoch) // datetime.timedelta(microseconds=1),
                      len({r["symbol"] for r in rows}), len({r["day"] for r in rows})]))

see(pandas.read_parquet(place + "/parquet").to_dict("records"))
rows = []
for file in pathlib.Path(place + "/avro").rglob("*.avro"):
    folders = dict(part.split("=", 1) for part in map(urllib.parse.unquote, file.parts) if "=" in part)
    with open(file, "rb") as read:
        rows += [row | folders for row in fastavro.reader(read)]
see(rows)
"#;

#[test]
fn files_on_s3_hold_each_row_once_through_kills() {
    let Some(capture) = capture() else { return };
    let s3 = S3::start();
    s3.put("market", b"");
    let reached = format!(
        "s3 = {{ endpoint = \"{}\", access_key_id = \"${{S3_KEY}}\", secret_access_key = \"${{S3_KEY}}\" }}",
        s3.url
    );
    let project = every_format(&capture, "file.rate = \"150/s\"", "s3://market/lake", &reached);
    project.write(".env", "S3_KEY=test\n");
    drain_through_kills(&project, 8, 6, |_| {});
    assert_each_once(&project);
}

/// A cluster of HDFS that ends with the test.
pub(crate) struct Hdfs {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) url: String,
}

impl Hdfs {
    pub(crate) fn start() -> Self {
        let mut script = Command::new(root().join("tests/services/hdfs.sh"));
        script.arg("run").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = script.spawn().expect("hdfs.sh can be run");
        let output = process.stdout.take().expect("stdout is piped");
        let mut cluster =
            Self { process, lines: BufReader::new(output).lines(), url: String::new() };
        cluster.url = cluster.line();
        assert!(cluster.url.starts_with("hdfs://"), "hdfs.sh says why there is no cluster");
        cluster
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("hdfs.sh prints a line").expect("the line is text")
    }

    /// Stops the data node and starts it anew.
    pub(crate) fn restart_data_node(&mut self) {
        let orders = self.process.stdin.as_mut().expect("stdin is piped");
        orders.write_all(b"restart\n").expect("hdfs.sh reads");
        assert_eq!(self.line(), "restarted");
    }
}

impl Drop for Hdfs {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// What Spark sees of each table, as [`seen_by_us`].
const SPARK: &str = r#"
import json, sys
from pyspark.sql import SparkSession, functions as f
place = sys.argv[1]
spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
         .config("spark.sql.session.timeZone", "UTC").config("spark.sql.shuffle.partitions", "1").getOrCreate())
for read in [spark.read.parquet(place + "/parquet"),
             spark.read.option("header", "true").csv(place + "/csv"),
             spark.read.json(place + "/json")]:
    day = f.col("day") if "day" in read.columns else f.to_date(f.col("ts").cast("timestamp"))
    rows = read.select("symbol", f.col("price").cast("decimal(18,6)").alias("price"),
                       f.col("volume").cast("double").alias("volume"),
                       f.col("ts").cast("timestamp").alias("ts"), day.alias("day"))
    print(json.dumps(list(rows.agg(
        f.count("*"), f.round(f.sum("volume"), 6), f.sum("price").cast("string"),
        f.unix_micros(f.max("ts")), f.countDistinct("symbol"), f.countDistinct("day")).first())))
"#;

#[test]
fn files_on_hdfs_hold_each_row_once_through_kills_and_a_restart_of_the_data_node() {
    let Some(capture) = capture() else { return };
    let mut hdfs = Hdfs::start();
    let place = format!("{}/lake", hdfs.url);
    let project = every_format(&capture, "file.rate = \"300/s\"", &place, "");
    drain_through_kills(&project, 4, 7, |_| {});
    // Once between two lives' ends is too kind: while one writes.
    let more = every_format(&capture, "file.rate = \"150/s\"", &format!("{place}-2"), "");
    let running = more.start_drain();
    hdfs.restart_data_node();
    running.end().ended_with(0);
    more.balances();
    for project in [&project, &more] {
        assert_each_once(project);
    }
    let expected = seen_by_us(&project);
    for (seen, format) in spark(SPARK, &[Path::new(&place)]).iter().zip(["parquet", "csv", "json"])
    {
        assert_eq!(seen, &expected, "Spark reads {format} from HDFS");
    }
}

#[test]
fn a_wiped_data_folder_leaves_files_alone_until_they_are_adopted_or_reset() {
    let project = Project::new(
        "[source.ticks]\nfile.path = \"ticks.csv\"\nformat.csv = {}\ncolumns.a = \"bigint\"\n\
         [table.kept]\nfrom = \"ticks\"\ncsv.path = \"lake/kept\"\n",
    );
    project.write("ticks.csv", "a\n1\n2\n");
    project.drain().ended_with(0);
    fs::remove_dir_all(project.data()).expect("the data folder is there");
    // Without the records, the names of the files still say whose they are.
    for is_recorded in [true, false] {
        if !is_recorded {
            fs::remove_dir_all(project.path("lake/kept/_thalweg")).expect("the records are there");
        }
        let said = project.start(&["--drain", "--wait", "2s"]).end().ended_with(1);
        for verb in ["adopt", "reset"] {
            assert!(said.stderr.contains(&format!("thalweg sinks {verb} kept")), "{}", said.stderr);
        }
    }
    assert_eq!(project.count("SELECT count(*) FROM kept"), 2);
}

#[test]
fn what_cannot_be_kept_as_files_is_told_where_it_stands() {
    let project = Project::new(
        r#"[source.ticks]
file.path    = "ticks.csv"
format.csv   = {}
event_time   = "ts"
columns.ts   = "timestamp"
columns.k    = "text"
columns.raw  = "bytes"
columns.x    = "double"
[stream.counts]
sql = "SELECT k, count(*) AS n FROM ticks GROUP BY k"
[stream.days]
sql = "SELECT k, window_start, count(*) AS n FROM tumble(ticks, ts, interval '1 day') GROUP BY k, window_start"
[table.changing]
from = "counts"
json.path = "lake/changing"
[table.changes]
from = "counts"
json.path = "lake/changes"
mode = "changelog"
[table.final]
from = "days"
json.path = "lake/final"
[table.bytes]
from = "ticks"
csv.path = "lake/bytes"
[table.folders]
from = "days"
parquet.path = "lake/folders"
partition_by = { n = "n", hour = "date_trunc('hour', window_start)" }
[table.history]
from = "ticks"
json.path = "lake/history"
[table.batch]
batch_of = "days"
over = { ticks = "history" }
replace = "date(window_start)"
parquet.path = "lake/batch"
[job.tidy.tasks]
merge = { compact = "history" }
"#,
    );
    let said = run(project.command("check", &[])).ended_with(1);
    let said = format!("{}{}", said.stdout, said.stderr);
    for expected in [
        "thalweg.toml:14:8\n   |\n14 | from = \"counts\"",
        "`counts` changes its rows, so plain files cannot be its table `changing`",
        "a table of CSV files cannot hold column `raw` of type Binary",
        "folders cannot be named by `date_trunc('hour', window_start)`",
        "table `history` does not hold every column of `ticks`",
        "`history` is plain files, which are not merged yet",
    ] {
        assert!(said.contains(expected), "no {expected:?} in {said}");
    }
    for fine in ["`changes`", "`final`"] {
        assert!(!said.contains(fine), "{fine}: {said}");
    }
}
