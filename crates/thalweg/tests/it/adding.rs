//! `thalweg add`: a look at files, addresses and presets, and the block that is made of it.

use std::fs;

use crate::project::Project;
use crate::support::{Said, Simulator, recorded, run, thalweg, wait_for};

const PROJECT: &str = "# mine\n[project]\nname = \"p\" # kept\n";

/// A file as a bank makes it: semicolons, another encoding, `NA`, a code with zeros in front.
const PAYMENTS: &[u8] = b"Id;Payer;Amount;Rate;Paid at;Zip\n\
    1;\"M\xfcller; Sons\";12.50;0.5;2024-01-31T12:00:00Z;01234\n\
    2;Weber;NA;1.25;2024-01-31T12:00:01Z;98765\n\
    3;;7.00;2;2024-01-31T12:00:02Z;00001\n";

const PAYMENTS_BLOCK: &str = r#"
[source.payments]
file.path  = "payments.csv"
format.csv = { header = true, delimiter = ";", null = ["", "NA"], encoding = "windows-1252" }
key        = ["id"]
event_time = "paid_at"
[source.payments.columns]
id      = { type = "int not null", select = "Id" }
payer   = { type = "text", select = "Payer" }
amount  = { type = "decimal(18,2)", select = "Amount" }
rate    = { type = "double not null", select = "Rate" }
paid_at = { type = "timestamp not null", select = "Paid at" }
zip     = { type = "text not null", select = "Zip" }
[source.payments.checks]
amount_nonnegative = "amount >= 0"
"#;

fn add(project: &Project, arguments: &[&str]) -> Said {
    let mut command = thalweg();
    command.current_dir(project.path(".")).arg("add").args(arguments);
    run(command)
}

fn text(project: &Project) -> String {
    fs::read_to_string(project.path("thalweg.toml")).expect("the project has a file")
}

#[test]
fn a_file_becomes_a_block_that_reads_it_whole() {
    let project = Project::new(PROJECT);
    project.write("payments.csv", PAYMENTS);
    let said = add(&project, &["payments", "payments.csv"]).ended_with(4);
    assert_eq!(text(&project), PROJECT, "nobody has confirmed it: {}", said.stderr);
    assert!(said.stderr.contains(PAYMENTS_BLOCK), "{}", said.stderr);
    assert!(
        said.stdout.contains("Müller; Sons") && said.stdout.contains("12.50"),
        "{}",
        said.stdout
    );
    assert!(said.stderr.starts_with("3 rows of 3 sampled records\n"), "{}", said.stderr);

    add(&project, &["payments", "payments.csv", "--yes"]).ended_with(0);
    assert_eq!(text(&project), format!("{PROJECT}{PAYMENTS_BLOCK}"));
    run(project.command("check", &[])).ended_with(0);
    project.drain().ended_with(0);
    assert_eq!(project.count("SELECT count(*) FROM payments WHERE amount > 10"), 1);
    assert_eq!(project.ledger("source", "payments", "rows_valid"), 3);

    let said = add(&project, &["payments", "payments.csv", "--yes"]).ended_with(1);
    assert!(said.stderr.contains("the name `payments` is taken"), "{}", said.stderr);
    for wrong in [["9th", "payments.csv"], ["other", "nowhere.csv"], ["other", "ftp://a/b"]] {
        add(&project, &[wrong[0], wrong[1], "--yes"]).ended_with(1);
    }
    assert_eq!(text(&project), format!("{PROJECT}{PAYMENTS_BLOCK}"), "nothing more was written");
}

#[test]
fn json_in_its_three_layouts_is_told_apart() {
    let project = Project::new(PROJECT);
    let rows = "{\"ts\":1704110400000,\"k\":{\"lastPrice\":\"1.50\"},\"tags\":[1]}";
    project.write("lines.jsonl", format!("{rows}\n{rows}\n"));
    project.write("array.json", format!("[{rows},\n{rows}]"));
    project.write("page.json", format!("{{\n\"meta\": 1,\n\"data\": [{rows},{rows}]\n}}\n"));
    for (name, file, format) in [
        ("lines", "lines.jsonl", "{}"),
        ("listed", "array.json", "{ layout = \"array\" }"),
        ("page", "page.json", "{ rows = \"$.data[*]\", layout = \"document\" }"),
    ] {
        add(&project, &[name, file, "--yes"]).ended_with(0);
        assert!(
            text(&project).contains(&format!("format.json = {format}\n")),
            "{}",
            text(&project)
        );
    }
    let column = "k_last_price = { type = \"decimal(18,2) not null\", select = \"k.lastPrice\" }";
    assert_eq!(text(&project).matches(column).count(), 3);
    assert_eq!(text(&project).matches("event_time  = \"ts\"").count(), 3);
    project.drain().ended_with(0);
    for name in ["lines", "listed", "page"] {
        let sql = format!("SELECT count(*) FROM {name} WHERE k_last_price = 1.5");
        assert_eq!(project.count(&sql), 2, "{name}");
    }
}

#[test]
fn addresses_and_presets_are_sampled_and_their_secrets_kept_apart() {
    let simulator = Simulator::start(&["--rate", "200"]);
    let project = Project::new(PROJECT);
    let http = simulator.http();

    let url = format!("{http}/api/v3/ticker/price?symbol=BTCUSDT&token=s3cret");
    add(&project, &["price", &url, "--yes"]).ended_with(0);
    assert!(text(&project).contains("&token=${PRICE_TOKEN}\""), "{}", text(&project));
    assert!(!text(&project).contains("s3cret"));
    let env = fs::read_to_string(project.path(".env")).expect("the secret is there");
    assert_eq!(env, "PRICE_TOKEN=s3cret\n");

    let said = add(&project, &["coins", &format!("{http}/pages/prices"), "--yes"]).ended_with(0);
    assert!(text(&project).contains("clean = \"money\""), "{}", said.stdout);

    let feed = format!("{}?token=demo", simulator.url);
    let subscribe = r#"{"type":"subscribe","symbol":"BINANCE:BTCUSDT"}"#;
    let arguments = ["ticks", &feed, "--subscribe", subscribe, "--for", "3s", "--yes"];
    add(&project, &arguments).ended_with(0);
    let declared = text(&project);
    let format = "format.json         = { rows = \"$.data[*]\", only_if = \"$.type = 'trade'\" }";
    assert!(declared.contains(format), "{declared}");
    assert!(
        declared.contains("t = { type = \"timestamp not null\", unit = \"ms\" }"),
        "{declared}"
    );

    let preset = ["latest", "binance:ticker/price:BTCUSDT,ETHUSDT", "--url", &http, "--yes"];
    let said = add(&project, &preset).ended_with(0);
    assert!(said.stdout.contains("ETHUSDT"), "{}", said.stdout);
    let preset = ["trades", "finnhub:BINANCE:BTCUSDT", "--url", &simulator.url, "--yes"];
    let said = add(&project, &preset).ended_with(1);
    assert!(said.stderr.contains("`FINNHUB_TOKEN` is not set"), "{}", said.stderr);
    project.write(".env", format!("{env}TICKS_TOKEN=demo\nFINNHUB_TOKEN=demo\n"));
    add(&project, &[&preset[..], &["--for", "3s"]].concat()).ended_with(0);

    run(project.command("check", &[])).ended_with(0);
    assert!(text(&project).starts_with(PROJECT));
    // The feed never falls silent, so this is no drain.
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    for name in ["price", "coins", "ticks", "latest", "trades"] {
        wait_for(&format!("rows of {name}"), || {
            (project.count(&format!("SELECT count(*) FROM {name}")) > 0).then_some(())
        });
        assert_eq!(project.ledger("source", name, "frames_quarantined"), 0, "{name}");
    }
    process.terminate();
    process.end().ended_with(0);
}

#[test]
fn recorded_files_are_added_and_read_to_the_last_row() {
    let Some(customers) = recorded("customers/customers.csv") else { return };
    let project = Project::new(PROJECT);
    let path = customers.to_str().expect("a path in UTF-8");
    add(&project, &["customers", path, "--yes"]).ended_with(0);
    project.drain().ended_with(0);
    let rows = project.count("SELECT count(*) FROM customers");
    let refused = project.ledger("source", "customers", "rows_quarantined");
    assert!(rows > 600 && refused == 0, "{rows} rows, {refused} refused: {}", text(&project));
}
