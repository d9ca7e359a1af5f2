//! System C: health insurance files, streamed row by row, counted and averaged by group, in MySQL.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::mysql::Database;
use crate::project::Project;
use crate::support::{python, recorded, root, run};

/// Counts and averages of a CSV file as DuckDB has them, one object a group.
const DUCKDB: &str = "
import duckdb, json, sys
file, delimiter, group, value = sys.argv[1:]
rows = duckdb.sql(f'''SELECT \"{group}\" AS grouped, count(*) AS number,
    avg(TRY_CAST(\"{value}\" AS DOUBLE)) AS mean
    FROM read_csv('{file}', delim = '{delimiter}', header = true, all_varchar = true,
        nullstr = ['', 'NA'], quote = '\"') GROUP BY ALL ORDER BY ALL''').fetchall()
for row in rows: print(json.dumps(row))
";

/// A recorded file: its name, delimiter, columns to group by and to average with its type, rows.
type Input = (&'static str, &'static str, &'static str, (&'static str, &'static str), i64);

const INPUTS: [Input; 8] = [
    ("cost_sample.csv", ",", "StateCode", ("IssuerId", "bigint"), 6_667),
    ("area_sample.csv", ",", "StateCode", ("County", "double"), 6_667),
    ("cross_sample.csv", ",", "State", ("IssuerID_2016", "double"), 6_667),
    ("network_sample.csv", ",", "StateCode", ("VersionNum", "bigint"), 2_548),
    ("insurance.txt", "\t", "region", ("charges", "double"), 892),
    ("slcsp/plans.csv", ",", "metal_level", ("rate", "double"), 22_239),
    ("slcsp/zips.csv", ",", "state", ("rate_area", "int"), 51_541),
    ("slcsp/slcsp.csv", ",", "zipcode", ("zipcode", "int"), 50),
];

/// Lines that are not as wide as the header, and how they are refused.
fn ragged(width: usize) -> [(String, String); 2] {
    let told = |count: usize| format!("{count} fields under a header of {width}");
    [("x,".repeat(width - 2) + "x", told(width - 1)), ("x,".repeat(width) + "x", told(width + 1))]
}

#[test]
fn every_recorded_file_is_counted_and_averaged_as_duckdb_does() {
    let Some(folder) = recorded("insurance/insurance.txt") else { return };
    let folder = folder.parent().expect("a folder");
    let database = Database::new();
    let project = Project::new("");
    let mut text =
        "[project]\nname = \"insurance\"\n[runtime]\ncheckpoint.every = \"200ms\"\n".to_owned();
    for (number, (file, delimiter, group, (value, kind), _)) in INPUTS.iter().enumerate() {
        // A copy, with two ragged lines at its end.
        let delimiter_text = if *delimiter == "\t" { "\\t" } else { delimiter };
        let mut content = fs::read_to_string(folder.join(file)).expect("it is text");
        let header = content.lines().next().expect("it has a header").to_owned();
        if !content.ends_with('\n') {
            content.push('\n');
        }
        for (line, _) in ragged(header.split(delimiter).count()) {
            content.push_str(&(line.replace(',', delimiter) + "\n"));
        }
        project.write(&format!("{number}.csv"), content);
        // A null in the key is not one, so a group without a name is given one.
        text.push_str(&format!(
            "[source.s{number}]\nfile.path = \"{number}.csv\"\nfile.rate = \"20000/s\"\n\
             format.csv = {{ delimiter = \"{delimiter_text}\", null = [\"\", \"NA\"] }}\n\
             [source.s{number}.columns]\n\
             grouped = {{ type = \"text\", select = \"{group}\" }}\n\
             value = {{ type = \"{kind}\", select = \"{value}\" }}\n\
             [stream.g{number}]\nsql = \"SELECT coalesce(grouped, '') AS grouped, \
             count(*) AS number, avg(value) AS mean FROM s{number} GROUP BY coalesce(grouped, '')\"\n\
             [sink.m{number}]\nfrom = \"g{number}\"\nmysql.url = \"{}\"\n\
             mysql.table = \"g{number}\"\nmode = \"upsert\"\nkey = [\"grouped\"]\n",
            database.url
        ));
    }
    project.write("thalweg.toml", text);
    project.drain().ended_with(0);
    project.balances();

    for (number, (file, delimiter, group, (value, _), rows)) in INPUTS.iter().enumerate() {
        let path = folder.join(file);
        let arguments = [path.as_path(), Path::new(delimiter), Path::new(group), Path::new(value)];
        let expected = python(DUCKDB, &arguments);
        assert_eq!(project.ledger("source", &format!("s{number}"), "rows_valid"), *rows, "{file}");
        check_groups(file, &database, &format!("g{number}"), &expected);

        let query = format!(
            "SELECT place, reason FROM system.quarantine WHERE name = 's{number}' \
             ORDER BY \"offset\""
        );
        let content = fs::read_to_string(project.path(&format!("{number}.csv"))).expect("text");
        let (lines, header) = (content.lines().count(), content.lines().next().expect("a header"));
        let place = project.path(&format!("{number}.csv")).canonicalize().expect("it is there");
        let refused = ragged(header.split(delimiter).count());
        let refused = refused.iter().zip(lines - 1..).map(|((_, reason), line)| {
            json!({"place": format!("{}:{line}", place.display()), "reason": reason})
        });
        assert_eq!(project.rows(&query), refused.collect::<Vec<_>>(), "{file}");
    }
}

/// Fails unless a table holds the groups, counts and averages that DuckDB has, averages to a
/// millionth.
fn check_groups(what: &str, database: &Database, table: &str, expected: &[Value]) {
    let found = database.rows(&format!("SELECT grouped, number, mean FROM {table}"));
    assert_eq!(found.len(), expected.len(), "groups of {what}");
    for group in expected {
        let name = group[0].as_str().unwrap_or_default();
        let row = found.iter().map(|row| row.split('|').collect::<Vec<_>>());
        let row = row.into_iter().find(|row| row[0] == name);
        let row = row.unwrap_or_else(|| panic!("{what}: no group {name:?}"));
        assert_eq!(row[1], group[1].to_string(), "{what}: {name:?}");
        match (group[2].as_f64(), row[2].parse::<f64>()) {
            (Some(expected), Ok(found)) => {
                let near = 1e-6 * expected.abs().max(1.0);
                assert!((found - expected).abs() <= near, "{what}: {found}, expected {expected}");
            }
            (None, Err(_)) => assert_eq!(row[2], "–", "{what}: {name:?}"),
            (expected, found) => panic!("{what}: {name:?}: {found:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn the_template_runs_offline_with_nothing_installed() {
    let project = Project::init("insurance");
    run(project.command("check", &[])).ended_with(0);
    let file = project.path("thalweg.toml");
    let text = fs::read_to_string(&file).expect("it was made");
    fs::write(&file, text.replace("file.rate  = \"20/s\"\n", "")).expect("the folder is ours");
    project.drain().ended_with(0);
    project.balances();
    let sums = "SELECT sum(claims) AS claims, sum(charges) AS charges, count(*) AS states \
                FROM by_state";
    let history = "SELECT count(*) AS claims, sum(charge) AS charges, \
                   count(DISTINCT state) AS states FROM claims_history";
    assert_eq!(project.rows(sums), project.rows(history));
    assert_eq!(project.rows(sums)[0]["claims"], json!(1_196));
    let refused = project.rows("SELECT place, reason FROM system.quarantine ORDER BY \"offset\"");
    let folder = project.path("data").canonicalize().expect("it was made");
    let refused: Vec<String> = refused
        .iter()
        .map(|row| format!("{} {}", row["place"], row["reason"]).replace('"', ""))
        .map(|row| row.replace(&format!("{}/", folder.display()), ""))
        .collect();
    assert_eq!(refused.len(), 4, "{refused:?}");
    for (row, part) in refused.iter().zip([
        "claims.csv:138 5 fields under a header of 6",
        "claims.csv:403 7 fields under a header of 6",
        "claims.csv:778 charge: expected",
        "claims.csv:1004 ",
    ]) {
        assert!(row.starts_with(part), "{part:?}: {refused:?}");
    }
}

#[test]
fn the_template_writes_to_mysql_when_its_lines_are_brought_back() {
    let project = Project::init("insurance");
    let database = Database::new();
    let file = project.path("thalweg.toml");
    let text = fs::read_to_string(&file).expect("it was made");
    let mut is_sink = false;
    let text: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with("# needs another server"))
        .map(|line| {
            is_sink = line.starts_with("# [sink.") || is_sink && line.starts_with("# ");
            if is_sink { line.trim_start_matches("# ").to_owned() } else { line.to_owned() }
        })
        .map(|line| line.replace("\"20/s\"", "\"2000/s\""))
        .collect();
    fs::write(&file, text.join("\n") + "\n").expect("the folder is ours");
    project.write(".env", format!("MYSQL_URL={}\n", database.url));
    // Killed on the way, and started again.
    for _ in 0..3 {
        let mut process = project.start_drain();
        process.run_for(std::time::Duration::from_millis(700));
    }
    project.drain().ended_with(0);
    project.balances();
    let history = "
import duckdb, json, sys
rows = duckdb.sql(f'''SELECT state AS grouped, count(*), avg(charge) FROM read_csv('{sys.argv[1]}',
    header = true, nullstr = ['', 'NA'], ignore_errors = true, columns = {{'claim_id': 'BIGINT',
    'day': 'DATE', 'state': 'VARCHAR', 'metal_level': 'VARCHAR', 'age': 'INT',
    'charge': 'DECIMAL(12,2)'}}, strict_mode = true) WHERE charge > 0 GROUP BY 1 ORDER BY 1''').fetchall()
for row in rows: print(json.dumps(row))
";
    let expected = python(history, &[&root().join("examples/insurance/data/claims.csv")]);
    database.rows(
        "CREATE VIEW as_groups AS SELECT state AS grouped, claims AS number, mean_charge AS mean \
         FROM by_state",
    );
    check_groups("claims", &database, "as_groups", &expected);
    assert_eq!(database.rows("SELECT sum(claims) FROM by_level"), ["1196"]);
}
