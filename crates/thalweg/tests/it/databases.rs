//! PostgreSQL and MySQL side by side: every mode, once in effect whatever is killed, every type, and
//! what is told when rows and a database do not fit.

use std::fs;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::mysql::per_server;
use crate::project::Project;
use crate::services::Restartable;
use crate::support::{Process, wait_for};
use crate::{mysql, postgres};

/// How often the runs are killed.
const KILLS: u64 = 12;
/// Rows of the input.
const ROWS: i64 = 2_400;

/// Both kinds, by the key of the project file.
const KINDS: [&str; 2] = ["postgres", "mysql"];

/// A project whose source `rows` goes to tables of both databases in every mode.
fn every_mode(urls: [&str; 2], rate: &str) -> Project {
    let mut text = format!(
        "[project]\nname = \"modes\"\n[runtime]\ncheckpoint.every = \"100ms\"\n\
         [source.rows]\nfile.path = \"rows.jsonl\"\n{rate}format.json = {{}}\nkey = [\"id\"]\n\
         columns = {{ id = \"bigint not null\", team = \"text not null\", \
         amount = \"decimal(24,10) not null\" }}\n\
         [stream.totals]\nsql = \"SELECT team, count(*) AS number, sum(amount) AS amount \
         FROM rows GROUP BY team\"\n"
    );
    for (kind, url) in KINDS.iter().zip(urls) {
        for (name, from, mode) in [
            ("all_rows", "rows", "append"),
            ("newest", "totals", "upsert"),
            ("history", "totals", "changelog"),
        ] {
            text.push_str(&format!(
                "[sink.{name}_{kind}]\nfrom = \"{from}\"\n{kind}.url = \"{url}\"\n\
                 {kind}.table = \"{name}\"\nmode = \"{mode}\"\n"
            ));
        }
    }
    let project = Project::new(&text);
    let rows = (0..ROWS).map(|id| {
        format!("{{\"id\":{id},\"team\":\"t{}\",\"amount\":{}.{id:010}}}\n", id % 7, id * 37)
    });
    project.write("rows.jsonl", rows.collect::<String>());
    project
}

/// Rows of a query in one of the databases.
type Ask<'a> = &'a dyn Fn(&str) -> Vec<String>;

/// Fails unless the tables of every mode hold the input once.
fn check_every_mode(project: &Project, kind: &str, ask: Ask<'_>) {
    let all = [format!("{ROWS}|{ROWS}|{}", ROWS * (ROWS - 1) / 2)];
    let found = ask("SELECT count(*), count(DISTINCT id), sum(id) FROM all_rows");
    assert_eq!(found, all, "S9: {kind}");

    let totals = project.rows("SELECT team, number, CAST(amount AS text) AS amount FROM totals");
    let mut expected: Vec<String> = totals
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            format!("{}|{}|{}", text("team"), row["number"], text("amount"))
        })
        .collect();
    expected.sort_unstable();
    assert_eq!(expected.len(), 7);
    assert_eq!(ask("SELECT * FROM newest ORDER BY team"), expected, "S9: {kind}");

    // The newest change of each team is what it is now; no change is there twice.
    let newest = "SELECT team, number, amount FROM history AS one WHERE number = \
                  (SELECT max(number) FROM history AS other WHERE other.team = one.team) \
                  ORDER BY team";
    assert_eq!(ask(newest), expected, "S9: {kind}");
    let twice = "SELECT team, number FROM history GROUP BY team, number HAVING count(*) > 1";
    assert_eq!(ask(twice), [""; 0], "S9: {kind}");
    for name in ["all_rows", "history"] {
        let written = project.ledger("sink", &format!("{name}_{kind}"), "rows_written");
        assert_eq!(ask(&format!("SELECT count(*) FROM {name}")), [written.to_string()], "S12");
    }
}

#[test]
fn every_mode_holds_each_row_once_through_kills_and_restarts_of_the_servers() {
    let (postgres, mysql) = (postgres::restartable(), mysql::restartable());
    // The last kill comes before the end of the file; MySQL takes longer to stop and to start.
    let rate = per_server("file.rate = \"300/s\"\n", "file.rate = \"150/s\"\n");
    let project = every_mode([&postgres.url, &mysql.url], rate);
    let mut random = SmallRng::seed_from_u64(7);
    for number in 1..=KILLS {
        let mut process = project.start_drain();
        let life = Duration::from_millis(random.random_range(0..800));
        if number.is_multiple_of(4) {
            let server: &Restartable = if number.is_multiple_of(8) { &postgres } else { &mysql };
            assert_eq!(run_on(&mut process, life), Some(()), "it ended after {number} kills");
            server.stop();
            assert_eq!(run_on(&mut process, life), Some(()), "it ended after {number} kills");
            server.start_again();
        }
        let ended = process.run_for(life);
        assert_eq!(ended, None, "it ended by itself after {number} kills");
    }
    project.drain().ended_with(0);
    project.balances();
    let (in_postgres, in_mysql) = (postgres::Database::of(&postgres), mysql::Database::of(&mysql));
    check_every_mode(&project, "postgres", &|sql| in_postgres.rows(sql));
    check_every_mode(&project, "mysql", &|sql| in_mysql.rows(sql));
}

/// Lets a process run for a time; whether it still does.
fn run_on(process: &mut Process, time: Duration) -> Option<()> {
    let deadline = std::time::Instant::now() + time;
    wait_for("time passes", || {
        let is_over = std::time::Instant::now() >= deadline;
        (is_over || !process.is_alive()).then(|| process.is_alive().then_some(()))
    })
}

#[test]
fn every_type_arrives_exactly_in_both_databases() {
    let columns = "columns = { id = \"bigint not null\", whole = \"int\", yes = \"boolean\", \
                   exact = \"decimal(38,10)\", near = \"double\", day = \"date\", \
                   at = \"timestamp\", name = \"text\", extra = \"json\" }";
    let (in_postgres, in_mysql) = (postgres::Database::new(), mysql::Database::new());
    let mut text = format!(
        "[project]\nname = \"types\"\n[source.rows]\nfile.path = \"rows.jsonl\"\n\
         format.json = {{}}\nkey = [\"id\"]\n{columns}\n"
    );
    text.push_str(
        "[stream.picked]\nsql = \"SELECT id, extra AS kept, upper(extra) AS changed \
         FROM (SELECT * FROM rows WHERE id > 1) AS picked\"\n",
    );
    for (kind, url) in KINDS.iter().zip([&in_postgres.url, &in_mysql.url]) {
        for (from, table) in [("rows", "rows_of"), ("picked", "picked")] {
            text.push_str(&format!(
                "[sink.{from}_{kind}]\nfrom = \"{from}\"\n{kind}.url = \"{url}\"\n\
                 {kind}.table = \"{table}\"\nmode = \"upsert\"\nkey = [\"id\"]\n"
            ));
        }
    }
    let project = Project::new(&text);
    project.write(
        "rows.jsonl",
        "{\"id\":9223372036854775807,\"whole\":-2147483648,\"yes\":true,\
         \"exact\":\"1234567890123456789012345678.0123456789\",\"near\":0.1,\
         \"day\":\"2016-02-29\",\"at\":\"2023-12-22T15:24:04.022001Z\",\
         \"name\":\"naïve 日本 🦀\",\"extra\":{\"b\": 1.10, \"a\": [1, null]}}\n{\"id\":1}\n",
    );
    project.drain().ended_with(0);
    project.balances();
    let nothing = "1|–|–|–|–|–|–|–|–";
    let (digits, name) = ("1234567890123456789012345678.0123456789", "naïve 日本 🦀");
    let json = project.rows("SELECT extra FROM rows WHERE id > 1")[0]["extra"].clone();
    let json = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    let row = |yes: &str, at: &str, json: &str| {
        format!("9223372036854775807|-2147483648|{yes}|{digits}|0.1|2016-02-29|{at}|{name}|{json}")
    };
    let read = "SELECT id, whole, yes, exact, near, day, at, name, extra FROM rows_of ORDER BY id";
    in_postgres.rows("SELECT 1");
    let in_utc = read.replace(" at,", " at AT TIME ZONE 'UTC',");
    let expected = [nothing.to_owned(), row("t", "2023-12-22 15:24:04.022001", &json)];
    assert_eq!(in_postgres.rows(&in_utc), expected);
    // MySQL keeps what JSON means, not how it was written.
    let kept = per_server(json.as_str(), r#"{"a": [1, null], "b": 1.1}"#);
    let expected = [nothing.to_owned(), row("1", "2023-12-22 15:24:04.022001", kept)];
    assert_eq!(in_mysql.rows(read), expected);

    let types = "SELECT data_type FROM information_schema.columns \
                 WHERE table_name = 'rows_of' ORDER BY ordinal_position";
    let made = [
        "bigint",
        "integer",
        "boolean",
        "numeric",
        "double precision",
        "date",
        "timestamp with time zone",
        "text",
        "json",
    ];
    assert_eq!(in_postgres.rows(types), made);
    let types = "SELECT COLUMN_TYPE FROM information_schema.COLUMNS \
                 WHERE TABLE_NAME = 'rows_of' AND TABLE_SCHEMA = DATABASE() \
                 ORDER BY ORDINAL_POSITION";
    let made = [
        per_server("bigint(20)", "bigint"),
        per_server("int(11)", "int"),
        "tinyint(1)",
        "decimal(38,10)",
        "double",
        "date",
        "datetime(6)",
        "longtext",
        per_server("longtext", "json"),
    ];
    assert_eq!(in_mysql.rows(types), made);
    assert_eq!(
        in_mysql.rows("SELECT json_value(extra, '$.a[0]') FROM rows_of WHERE id > 1"),
        ["1"]
    );

    // A column that a stream passes on is what it was; what it makes of one is text.
    let types = "SELECT data_type FROM information_schema.columns \
                 WHERE table_name = 'picked' ORDER BY ordinal_position";
    assert_eq!(in_postgres.rows(types), ["bigint", "json", "text"]);
    let checks = "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS \
                  WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME = 'picked'";
    let types = "SELECT COLUMN_TYPE FROM information_schema.COLUMNS \
                 WHERE TABLE_NAME = 'picked' AND COLUMN_NAME = 'kept' \
                 AND TABLE_SCHEMA = DATABASE()";
    let (read, found) = per_server((checks, "json_valid(`kept`)"), (types, "json"));
    assert_eq!(in_mysql.rows(read), [found]);
    assert_eq!(in_postgres.rows("SELECT kept FROM picked"), [json.as_str()]);
}

#[test]
fn a_table_that_does_not_fit_is_told_and_nothing_else_stops() {
    let (in_postgres, in_mysql) = (postgres::Database::new(), mysql::Database::new());
    let project = every_mode([&in_postgres.url, &in_mysql.url], "");
    in_postgres.rows("CREATE TABLE newest (team text PRIMARY KEY, number text, amount numeric)");
    in_mysql.rows("CREATE TABLE newest (team varchar(20), number bigint, amount decimal(10,2))");
    let said = project.start(&["--drain", "--wait", "5s"]).end().ended_with(1);
    let postgres = "column `number`: expected bigint, found text";
    let mysql = [
        "column `amount`: expected decimal(34,10), found decimal(10,2)",
        "no primary key or unique index on (team)",
    ];
    for part in mysql.into_iter().chain([postgres, "newest_mysql", "newest_postgres"]) {
        assert!(said.stderr.contains(part), "{part:?} in {}", said.stderr);
    }
    let all = [ROWS.to_string()];
    assert_eq!(in_mysql.rows("SELECT count(*) FROM all_rows"), all);
    assert_eq!(in_postgres.rows("SELECT count(*) FROM all_rows"), all);
    let dump = fs::read_to_string(project.path("thalweg.toml")).expect("the project has a file");
    let (_, password) = in_mysql.url.split_once("thalweg:").expect("the URL has a user");
    let (password, _) = password.split_once('@').expect("the URL has a password");
    assert!(dump.contains(password) && !said.stderr.contains(password), "it is a secret");
}

#[test]
fn a_value_without_a_place_in_mysql_is_refused_with_a_reason() {
    let (in_postgres, in_mysql) = (postgres::Database::new(), mysql::Database::new());
    let mut text = "[project]\nname = \"places\"\n[source.rows]\nfile.path = \"rows.jsonl\"\n\
                    format.json = {}\nkey = [\"id\"]\ncolumns = { id = \"bigint not null\", \
                    near = \"double\" }\n[stream.large]\nsql = \"SELECT id, near * 1e300 AS near \
                    FROM rows\"\n"
        .to_owned();
    for (kind, url) in KINDS.iter().zip([&in_postgres.url, &in_mysql.url]) {
        text.push_str(&format!(
            "[sink.{kind}]\nfrom = \"large\"\n{kind}.url = \"{url}\"\n{kind}.table = \"large\"\n"
        ));
    }
    let project = Project::new(&text);
    project.write("rows.jsonl", "{\"id\":1,\"near\":1.5}\n{\"id\":2,\"near\":1e300}\n");
    let said = project.start(&["--drain", "--wait", "5s"]).end().ended_with(1);
    for part in ["column `near` cannot be written", "MySQL has no place for the value inf"] {
        assert!(said.stderr.contains(part), "{part:?} in {}", said.stderr);
    }
    assert_eq!(in_mysql.rows("SELECT count(*) FROM large"), ["0"]);
    let near = in_postgres.rows("SELECT near FROM large ORDER BY id");
    assert_eq!(near.last().map(String::as_str), Some("Infinity"), "{near:?}");
}
