//! Tables are made, checked, and never guessed at.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use thalweg_connect::sinks::database::{DatabaseConfig, Mode};
use thalweg_connect::sinks::postgres;
use thalweg_core::ErrorKind;
use thalweg_core::sink::Sink;

use super::server::Database;
use super::trade_sink;
use crate::{hand_over, schema, stamp, trade_schema, trades, upsert};

const COLUMNS: &str = "SELECT column_name, data_type, is_nullable FROM information_schema.columns \
                       WHERE table_name = 'trades' ORDER BY ordinal_position";

#[tokio::test]
async fn a_table_is_made_from_the_schema() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, upsert(&["symbol"]));
    assert_eq!(sink.open().await.expect("it can be made"), None);
    database.check(COLUMNS, &["symbol|text|NO", "price|bigint|YES"]).await;
    let key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint \
               WHERE conrelid = 'trades'::regclass AND contype = 'p'";
    database.check(key, &["PRIMARY KEY (symbol)"]).await;
    assert_eq!(sink.open().await.expect("what it made fits"), None);
}

#[tokio::test]
async fn every_difference_of_a_table_is_listed() {
    let database = &mut Database::shared().await;
    check_table(
        database,
        "symbol varchar(10), price numeric(10,2), at timestamptz NOT NULL, note text",
        upsert(&["symbol"]),
        Some(&[
            "column `symbol`: expected text, found character varying(10)",
            "column `price`: expected bigint, found numeric(10,2)",
            "column `at`: not null without default, not in the rows",
            "no primary key or unique constraint on (symbol)",
        ]),
    )
    .await;
    check_table(
        database,
        "symbol text, price bigint GENERATED ALWAYS AS (1) STORED",
        Mode::Append,
        Some(&["column `price`: expected bigint, found a generated column"]),
    )
    .await;
    check_table(
        database,
        "symbol text",
        Mode::Append,
        Some(&["column `price`: expected bigint, found none"]),
    )
    .await;
    check_table(
        database,
        "symbol text, price bigint, UNIQUE (symbol, price)",
        upsert(&["symbol"]),
        Some(&["no primary key or unique constraint on (symbol)"]),
    )
    .await;
    check_table(
        database,
        "symbol text, price bigint, UNIQUE (symbol) DEFERRABLE",
        upsert(&["symbol"]),
        Some(&["no primary key or unique constraint on (symbol)"]),
    )
    .await;
}

#[tokio::test]
async fn a_table_may_have_more_than_the_rows() {
    let database = &mut Database::shared().await;
    check_table(
        database,
        "id bigint GENERATED ALWAYS AS IDENTITY, price numeric, note text, \
         at timestamptz NOT NULL DEFAULT now(), symbol varchar UNIQUE",
        upsert(&["symbol"]),
        None,
    )
    .await;
    check_table(
        database,
        "price bigint, symbol text, UNIQUE (symbol) INCLUDE (price)",
        upsert(&["symbol"]),
        None,
    )
    .await;
}

/// Writes to a table of these columns: it fits, or is refused for just these differences.
async fn check_table(
    database: &mut Database,
    columns: &str,
    mode: Mode,
    differences: Option<&[&str]>,
) {
    database.run("DROP TABLE IF EXISTS trades, thalweg_stamps").await;
    database.run(&format!("CREATE TABLE trades ({columns})")).await;
    let mut sink = trade_sink(&database.url, mode);
    let outcome = hand_over(&mut sink, &[(1, trades(&[("AAPL", 1)]))]).await;
    match (outcome, differences) {
        (Ok(_), None) => database.check("SELECT symbol, price FROM trades", &["AAPL|1"]).await,
        (Err(error), Some(differences)) => {
            assert_eq!(error.kind, ErrorKind::Invalid, "{columns}");
            assert_eq!(error.detail, Some(format!("{}.", differences.join("; "))), "{columns}");
        }
        (Ok(_), Some(_)) => panic!("{columns}: the table is taken"),
        (Err(error), None) => panic!("{columns}: {}", error.chain()),
    }
}

#[tokio::test]
async fn names_are_taken_as_they_are_written() {
    let mut database = Database::shared().await;
    database.run("CREATE SCHEMA \"Lake 1\"").await;
    let odd = "x\"; DROP TABLE y; --";
    let rows = schema(&[("Symbol", DataType::Utf8), (odd, DataType::Int64)]);
    let table = "Lake 1.T\"; DROP TABLE y; --";
    let config = DatabaseConfig::new(&database.url, table, upsert(&["Symbol"]));
    let mut sink = postgres::sink(config, "changes", rows.clone()).expect("they are names");
    let columns = trades(&[("AAPL", 1), ("AAPL", 2)]).columns().to_vec();
    let batch = RecordBatch::try_new(rows, columns).expect("the same types");
    hand_over(&mut sink, &[(1, batch)]).await.expect("every name is quoted");
    database
        .check(
            "SELECT \"Symbol\", \"x\"\"; DROP TABLE y; --\" FROM \"Lake 1\".\"T\"\"; DROP TABLE y; --\"",
            &["AAPL|2"],
        )
        .await;
    database
        .check("SELECT target FROM \"Lake 1\".thalweg_stamps", &["T\"; DROP TABLE y; --"])
        .await;
}

#[tokio::test]
async fn what_is_not_a_table_is_refused() {
    let mut database = Database::shared().await;
    database.run("CREATE VIEW trades AS SELECT 'x' AS symbol, 1::bigint AS price").await;
    let error = trade_sink(&database.url, Mode::Append).open().await.expect_err("it is a view");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("is not a table"), "{}", error.chain());

    let config = DatabaseConfig::new(&database.url, "nowhere.trades", Mode::Append);
    let mut sink = postgres::sink(config, "changes", trade_schema()).expect("a name");
    let error = sink.open().await.expect_err("there is no such schema");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
    assert!(error.hint.is_some_and(|hint| hint.contains("schema")));
}

#[tokio::test]
async fn a_lost_table_is_not_made_anew_under_its_stamp() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, Mode::Append);
    let epochs = [(1, trades(&[("AAPL", 1)]))];
    hand_over(&mut sink, &epochs).await.expect("it is written");
    database.run("DROP TABLE trades").await;
    let error = sink.open().await.expect_err("rows of epoch 1 would be missing");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.chain().contains("sinks reset"), "{}", error.chain());

    sink.reset().await.expect("it forgets the stamp");
    hand_over(&mut sink, &epochs).await.expect("it is written again");
    database.check("SELECT * FROM trades", &["AAPL|1"]).await;
}

#[tokio::test]
async fn a_user_needs_no_more_rights_than_to_write() {
    let mut database = Database::shared().await;
    database.run("CREATE ROLE narrow LOGIN PASSWORD 'narrow'").await;
    let narrow = database.url_of("narrow", "narrow");
    let error = trade_sink(&narrow, Mode::Append).open().await.expect_err("it may not make tables");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
    assert!(error.hint.is_some_and(|hint| hint.contains("Grant")));

    trade_sink(&database.url, upsert(&["symbol"])).open().await.expect("a superuser may");
    database.run("GRANT SELECT, INSERT, UPDATE, DELETE ON trades, thalweg_stamps TO narrow").await;
    let mut sink = trade_sink(&narrow, upsert(&["symbol"]));
    hand_over(&mut sink, &[(1, trades(&[("AAPL", 1)]))]).await.expect("it may write");
    database.check("SELECT * FROM trades", &["AAPL|1"]).await;
    assert_eq!(sink.open().await.expect("it may read its stamp"), Some(stamp(1)));
}
