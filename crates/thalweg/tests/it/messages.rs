//! Messages of Avro, written by another implementation and posted, in both framings.

use std::fs;

use serde_json::json;

use crate::programs::{post, served};
use crate::project::Project;
use crate::support::{run, spark, wait_for};

const TRADE: &str = r#"{
  "type": "record", "name": "Trade", "namespace": "com.example",
  "fields": [
    { "name": "symbol", "type": "string" },
    { "name": "price", "type": { "type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4 } },
    { "name": "ts", "type": { "type": "long", "logicalType": "timestamp-millis" } }
  ]
}"#;
/// A field more, and another order.
const TRADE_2: &str = r#"{
  "type": "record", "name": "Trade", "namespace": "com.example",
  "fields": [
    { "name": "ts", "type": { "type": "long", "logicalType": "timestamp-micros" } },
    { "name": "venue", "type": ["null", "string"], "default": null },
    { "name": "symbol", "type": "string" },
    { "name": "price", "type": "double" }
  ]
}"#;

const PROJECT: &str = r#"
[project]
name = "messages"
[source.single]
push        = true
format.avro = { schemas = ["schemas/trade.avsc", "schemas/trade-2.avsc"] }
event_time  = "ts"
[source.single.checks]
price_positive = "price > 0"
[source.framed]
push        = true
format.avro = { ids = { 7 = "schemas/trade.avsc", 300 = "schemas/trade-2.avsc" } }
columns     = { symbol = "text not null", price = "double not null" }
[table.kept]
from       = "single"
delta.path = "lake/kept"
[runtime]
checkpoint.every = "100ms"
commit.every     = "200ms"
"#;

/// Prints a message of each schema in each framing, in hex.
const FASTAVRO: &str = r#"
import io, json, pathlib, struct, sys
from datetime import datetime, timezone
from decimal import Decimal
import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form
folder = pathlib.Path(sys.argv[1])
at = datetime(2024, 1, 5, 14, 30, tzinfo=timezone.utc)
records = [
    ('trade.avsc', 7, {'symbol': 'AAPL', 'price': Decimal('187.4400'), 'ts': at}),
    ('trade-2.avsc', 300, {'symbol': 'VOD', 'price': 70.25, 'ts': at, 'venue': 'LSE'}),
    ('trade.avsc', 7, {'symbol': 'BAD', 'price': Decimal('-1'), 'ts': at}),
]
for file, number, record in records:
    text = (folder / file).read_text()
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(text)), record)
    name = fingerprint(to_parsing_canonical_form(json.loads(text)), 'CRC-64-AVRO')
    framed = struct.pack('>bI', 0, number) + body.getvalue()
    print(json.dumps(['c301' + name + body.getvalue().hex(), framed.hex()]))
"#;

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(pair).collect()
}

#[test]
fn posted_avro_is_rows_by_the_schema_each_message_names() {
    let project = Project::new(PROJECT);
    fs::create_dir(project.path("schemas")).expect("the folder is ours");
    project.write("schemas/trade.avsc", "{}");
    project.write("schemas/trade-2.avsc", TRADE_2);
    let refused = run(project.command("check", &[])).ended_with(1);
    assert!(refused.stderr.contains("`schemas/trade.avsc` is no schema"), "{}", refused.stderr);
    assert!(refused.stderr.contains("a type in it is not said"), "{}", refused.stderr);
    project.write("schemas/trade.avsc", TRADE);
    let messages = spark(FASTAVRO, &[&project.path("schemas")]);

    let process = served(&project);
    let token = fs::read_to_string(project.data().join("admin_token")).expect("it was made");
    let token = Some(token.trim());
    let send = |source: &str, message: Vec<u8>| {
        post(&project, &format!("sources/{source}/records"), message, token)
    };
    for (number, message) in messages.iter().enumerate() {
        for (source, hex) in ["single", "framed"].into_iter().zip(message.as_array().expect("two"))
        {
            let answer = send(source, bytes(hex.as_str().expect("text")));
            let taken = json!({ "records": 1, "first_offset": number, "last_offset": number });
            assert_eq!(answer, (202, taken));
        }
    }
    assert_eq!(send("single", Vec::new()).0, 422, "nothing is no message");
    let single = bytes(messages[0][0].as_str().expect("text"));
    let framed = bytes(messages[0][1].as_str().expect("text"));
    // Cut off, two in one, and of an unknown schema.
    for message in
        [&single[..single.len() - 1], &[&single[..], &single].concat(), b"\xc3\x01whoareu?"]
    {
        assert_eq!(send("single", message.to_vec()).0, 202);
    }
    for message in
        [&framed[..3], &[&framed[..], &[0]].concat(), b"\0\0\0\0\x08body", br#"{"symbol": "A"}"#]
    {
        assert_eq!(send("framed", message.to_vec()).0, 202);
    }
    wait_for("all has come through", || {
        let seen = "SELECT count(*) FROM system.quarantine";
        (project.count(seen) == 8).then_some(())
    });
    // Answered is kept: a kill changes nothing.
    let mut process = process;
    process.run_for(std::time::Duration::ZERO);
    drop(process);
    project.drain().ended_with(0);
    project.balances();

    let rows = project.rows(
        "SELECT symbol, CAST(price AS text) AS price, CAST(ts AS text) AS ts, venue FROM single ORDER BY symbol",
    );
    let ts = "2024-01-05T14:30:00Z";
    let expected = [
        json!({ "symbol": "AAPL", "price": "187.4400", "ts": ts }),
        json!({ "symbol": "VOD", "price": "70.2500", "ts": ts, "venue": "LSE" }),
    ];
    assert_eq!(rows, expected, "the columns are those of the schemas");
    assert_eq!(project.count("SELECT count(*) FROM kept"), 2);
    let rows = project.rows("SELECT symbol, price FROM framed ORDER BY price");
    let expected = [("BAD", -1.0), ("VOD", 70.25), ("AAPL", 187.44)];
    assert_eq!(rows, expected.map(|(symbol, price)| json!({ "symbol": symbol, "price": price })));
    let reasons = |source: &str| {
        let sql = format!(
            "SELECT reason FROM system.quarantine WHERE name = '{source}' ORDER BY \"offset\""
        );
        let rows = project.rows(&sql).into_iter();
        rows.map(|row| row["reason"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let length = single.len();
    let refused = reasons("single");
    assert!(refused[0].contains("price_positive"), "{refused:?}");
    let left = format!("bytes left behind the record: {length}");
    let unknown = "no schema with the fingerprint 77686f617265753f";
    assert_eq!(refused[1..], ["ts: cut off".to_owned(), left, unknown.to_owned()]);
    let expected = [
        "cut off before the name of its schema ends",
        "bytes left behind the record: 1",
        "no schema with the id 8",
        "expected 00 of Confluent's framing, found 7b",
    ];
    assert_eq!(reasons("framed"), expected);
}
