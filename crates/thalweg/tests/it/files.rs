//! Files and objects as sources: every format through kills, the recorded inputs of two of the five
//! systems to the row, places that stand in for each other, and what is refused with its place.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::project::Project;
use crate::support::{assert_same_rows, python, recorded, root, run, sorted};

/// How often the runs are killed.
const KILLS: u32 = 8;

/// moto's S3 server, which ends with the test.
pub(crate) struct S3 {
    process: Child,
    pub(crate) url: String,
}

impl S3 {
    pub(crate) fn start() -> Self {
        let mut script = Command::new(root().join("tests/services/s3.sh"));
        script.arg("run").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = script.spawn().expect("s3.sh can be run");
        let output = process.stdout.take().expect("stdout is piped");
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url).expect("s3.sh prints a line");
        assert!(url.starts_with("http://"), "s3.sh says why there is no server");
        Self { process, url: url.trim_end().to_owned() }
    }

    /// Makes a bucket, or an object in one.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let address = self.url.trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).expect("the server listens");
        let head = format!(
            "PUT /{path} HTTP/1.1\r\nHost: {address}\r\nx-amz-acl: public-read\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len()
        );
        connection.write_all(head.as_bytes()).expect("the server reads");
        connection.write_all(bytes).expect("the server reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("the server answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Writes `customers.csv.gz` and `customers.parquet` into a folder.
fn convert(customers: &Path, folder: &Path) {
    let script = "
import duckdb, gzip, shutil, sys
source, folder = sys.argv[1:]
with open(source, 'rb') as read, gzip.open(folder + '/customers.csv.gz', 'wb') as write:
    shutil.copyfileobj(read, write)
duckdb.sql(f\"\"\"COPY (SELECT * FROM read_csv('{source}', quote='')) TO '{folder}/customers.parquet'
    (FORMAT parquet, ROW_GROUP_SIZE 2048)\"\"\")
";
    python(script, &[customers, folder]);
}

/// The same rows as compressed CSV, as Parquet and as an object, and recorded Avro files.
fn every_format(folder: &Path, avro: &Path, s3: &S3, rate: Option<&str>) -> Project {
    let rate = |of: &str| rate.map_or_else(String::new, |rate| format!("{of}.rate = \"{rate}\"\n"));
    let (file_rate, s3_rate) = (rate("file"), rate("s3"));
    let columns = "columns = { id = \"bigint not null\", first_name = \"text\", age = \"int\", \
                   location = \"text\" }\n";
    let (folder, avro, s3) = (folder.display(), avro.display(), &s3.url);
    let sources = [
        (
            "packed",
            format!("file.path = \"{folder}/*.csv.gz\"\n{file_rate}format.csv = {{}}\n{columns}"),
        ),
        (
            "carried",
            format!("file.path = \"{folder}/*.parquet\"\n{file_rate}format.parquet = {{}}\n"),
        ),
        ("trades", format!("file.path = \"{avro}/*.avro\"\n{file_rate}format.avro = {{}}\n")),
        (
            "objects",
            format!(
                "s3.url = \"s3://market/in/*.csv\"\ns3.endpoint = \"{s3}\"\ns3.anonymous = true\n\
                 {s3_rate}format.csv = {{}}\n{columns}"
            ),
        ),
    ];
    let mut text = "[project]\nname = \"formats\"\n[runtime]\ncheckpoint.every = \"100ms\"\n\
                    commit.every = \"200ms\"\n"
        .to_owned();
    for (name, source) in sources {
        text.push_str(&format!(
            "[source.{name}]\n{source}[table.{name}_t]\nfrom = \"{name}\"\n\
             delta.path = \"lake/{name}\"\n"
        ));
    }
    Project::new(&text)
}

#[test]
fn files_of_every_format_through_kills_give_what_the_uncut_run_gives() {
    let Some(customers) = recorded("customers/customers.csv") else { return };
    let Some(avro) = recorded("finnhub/avro-single") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    convert(&customers, folder.path());
    let s3 = S3::start();
    s3.put("market", b"");
    s3.put("market/in/a.csv", &fs::read(&customers).expect("it is there"));

    // The last kill comes before the end of the longest, and sixty small files are read by then.
    let cut = every_format(folder.path(), &avro, &s3, Some("60/s"));
    let mut random = SmallRng::seed_from_u64(3);
    for _ in 0..KILLS {
        let life = Duration::from_millis(600).mul_f64(random.random_range(0.2..1.0));
        assert_eq!(cut.start_drain().run_for(life), None, "it ended by itself");
    }
    cut.drain().ended_with(0);
    cut.balances();
    let uncut = every_format(folder.path(), &avro, &s3, None);
    uncut.drain().ended_with(0);

    for (name, rows) in [("packed", 667), ("carried", 667), ("objects", 667), ("trades", 60)] {
        assert_eq!(uncut.ledger("source", name, "rows_valid"), rows, "{name}");
        let query = format!("SELECT _offset, _row, * FROM {name}_t");
        let (found, expected) = (sorted(&cut.rows(&query)), sorted(&uncut.rows(&query)));
        assert_eq!(expected.len() as i64, rows, "{name}");
        assert_same_rows(&query, &found, &expected);
    }
    let by_hand = "SELECT count(*) FROM packed_t p JOIN carried_t c ON p.id = c.id \
                   AND p.first_name = c.first_name AND p.location = c.location";
    assert_eq!(uncut.count(by_hand), 667, "two formats of one file hold the same rows");
    let reads = uncut.rows("SELECT reads FROM system.sources WHERE name = 'objects'");
    assert_eq!(reads, [json!({"reads": "s3://market/in/*.csv"})]);
}

#[test]
fn the_recorded_customers_and_cities_decode_to_the_row() {
    let Some(customers) = recorded("customers/customers.csv") else { return };
    let Some(cities) = recorded("customers/us_cities.csv") else { return };
    let project = Project::new(&format!(
        r#"
[project]
name = "customers"
[source.customers]
first_of = [
    {{ s3 = {{ url = "s3://market/customers.csv", endpoint = "http://127.0.0.1:1", anonymous = true }} }},
    {{ file = {{ path = "{}" }} }},
]
format.csv = {{ header = true }}
columns = {{ id = "bigint not null", first_name = "text", last_name = "text", age = "int", email = "text", location = "text" }}
[source.cities]
file.path = "{}"
format.csv = {{ delimiter = "|" }}
columns = {{ City = "text", state = {{ type = "text", select = "State short" }} }}
[table.customers_t]
from = "customers"
delta.path = "lake/customers"
[table.cities_t]
from = "cities"
delta.path = "lake/cities"
"#,
        customers.display(),
        cities.display()
    ));
    let said = project.drain().ended_with(0);
    project.balances();
    assert!(said.stderr.contains("files are read from a fall-back"), "{}", said.stderr);
    let reads = project.rows("SELECT reads FROM system.sources WHERE name = 'customers'");
    assert_eq!(reads, [json!({"reads": customers})]);
    assert_eq!(project.count("SELECT count(*) FROM customers_t"), 667);
    assert_eq!(project.count("SELECT count(*) FROM cities_t"), 63_210);
    let usa = "SELECT count(*) FROM customers_t WHERE upper(trim(split_part(location, ',', 1))) \
               IN (SELECT upper(\"City\") FROM cities_t)";
    assert_eq!(project.count(usa), 35);
    assert_eq!(project.count("SELECT count(*) FROM system.quarantine"), 0);
}

#[test]
fn the_recorded_insurance_files_decode_to_the_row() {
    let Some(folder) = recorded("insurance/insurance.txt") else { return };
    let folder = folder.parent().expect("a folder");
    let inputs = [
        ("cost", "cost_sample.csv", ",", "PlanId", 6_667),
        ("area", "area_sample.csv", ",", "ServiceAreaId", 6_667),
        ("crossed", "cross_sample.csv", ",", "State", 6_667),
        ("network", "network_sample.csv", ",", "NetworkName", 2_548),
        ("people", "insurance.txt", "\\t", "age", 892),
        ("plans", "slcsp/plans.csv", ",", "plan_id", 22_239),
        ("zips", "slcsp/zips.csv", ",", "zipcode", 51_541),
        ("slcsp", "slcsp/slcsp.csv", ",", "zipcode", 50),
    ];
    let mut text = "[project]\nname = \"insurance\"\n".to_owned();
    for (name, file, delimiter, column, _) in inputs {
        text.push_str(&format!(
            "[source.{name}]\nfile.path = \"{}/{file}\"\nformat.csv = {{ delimiter = \"{delimiter}\" }}\n\
             columns = {{ \"{column}\" = \"text\" }}\n",
            folder.display()
        ));
    }
    let project = Project::new(&text);
    project.drain().ended_with(0);
    project.balances();
    for (name, _, _, _, rows) in inputs {
        assert_eq!(project.ledger("source", name, "rows_valid"), rows, "{name}");
        assert_eq!(project.ledger("source", name, "frames_received"), rows, "{name}");
    }
}

#[test]
fn what_is_refused_of_a_file_says_where_it_stands() {
    let project = Project::new(
        "[project]\nname = \"ragged\"\n[source.rows]\nfile.path = \"in/*\"\nformat.csv = {}\n\
         columns = { id = \"int not null\", name = \"text\" }\n",
    );
    fs::create_dir(project.path("in")).expect("the folder is ours");
    project.write("in/a.csv", "id,name\n1,x\n\n2,\"y\nz\"\n3\n4,a,b\n5,e\n");
    project.write("in/b.csv", b"id,name\n1,caf\xe9\nx,y\n");
    project.write("in/c.csv", b"PK\x03\x04");
    project.drain().ended_with(0);
    project.balances();
    assert_eq!(project.ledger("source", "rows", "rows_valid"), 3);
    let rows = project.rows("SELECT place, reason FROM system.quarantine ORDER BY \"offset\"");
    let folder = fs::canonicalize(project.path("in")).expect("it is there");
    let expected: Vec<(&str, &str)> = vec![
        ("a.csv:6", "1 fields under a header of 2"),
        ("a.csv:7", "3 fields under a header of 2"),
        ("b.csv:2", "not UTF-8 at byte 5"),
        ("b.csv:3", "id: expected a whole number, found \"x\""),
        ("c.csv:1", "it is a zip archive or a spreadsheet, which is not read"),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(place, reason)| {
            json!({"place": format!("{}/{place}", folder.display()), "reason": reason})
        })
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn columns_that_a_file_carries_are_known_to_check() {
    let Some(customers) = recorded("customers/customers.csv") else { return };
    let text = |column: &str| {
        format!(
            "[project]\nname = \"carried\"\n[source.people]\nfile.path = \"*.parquet\"\n\
             format.parquet = {{}}\nkey = [\"{column}\"]\n[stream.names]\n\
             sql = \"SELECT first_name FROM people\"\n"
        )
    };
    let project = Project::new(&text("id"));
    let said = run(project.command("check", &[]));
    assert!(
        said.stderr.contains("there is no file at") || said.stdout.contains("there is no file at"),
        "{said:?}"
    );
    convert(&customers, project.path(".").as_path());
    run(project.command("check", &[])).ended_with(0);
    project.write("thalweg.toml", text("idd"));
    let said = run(project.command("check", &[])).ended_with(1);
    let told = format!("{}{}", said.stdout, said.stderr);
    assert!(
        told.contains("no column `idd` in source `people`") && told.contains("did you mean `id`?"),
        "{told}"
    );
}
