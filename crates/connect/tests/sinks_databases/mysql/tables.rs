//! Tables are made, checked, and never guessed at.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use thalweg_connect::sinks::database::{DatabaseConfig, Mode};
use thalweg_connect::sinks::mysql;
use thalweg_core::ErrorKind;
use thalweg_core::sink::Sink;

use super::server::{Database, exact_collation, per_server, restartable};
use super::trade_sink;
use crate::{hand_over, schema, stamp, trade_schema, trades, upsert};

const COLUMNS: &str = "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_KEY, COLLATION_NAME \
                       FROM information_schema.COLUMNS \
                       WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'trades' \
                       ORDER BY ORDINAL_POSITION";

#[tokio::test]
async fn a_table_is_made_from_the_schema() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, upsert(&["symbol"]));
    assert_eq!(sink.open().await.expect("it can be made"), None);
    let symbol = format!("symbol|varchar(255)|NO|PRI|{}", exact_collation());
    let price = per_server("price|bigint(20)|YES||–", "price|bigint|YES||–");
    database.check(COLUMNS, &[&symbol, price]).await;
    let engine = "SELECT ENGINE FROM information_schema.TABLES \
                  WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'trades'";
    database.check(engine, &["InnoDB"]).await;
    assert_eq!(sink.open().await.expect("what it made fits"), None);
}

#[tokio::test]
async fn every_difference_of_a_table_is_listed() {
    let database = &mut Database::shared().await;
    check_table(
        database,
        "symbol int, price decimal(10,2), at datetime NOT NULL, note text",
        upsert(&["symbol"]),
        Some(&[
            &format!(
                "column `symbol`: expected varchar(255), found {}",
                per_server("int(11)", "int")
            ),
            "column `price`: expected bigint, found decimal(10,2)",
            "column `at`: not null without default, not in the rows",
            "no primary key or unique index on (symbol)",
        ]),
    )
    .await;
    check_table(
        database,
        "symbol text CHARACTER SET latin1, price bigint AS (1) STORED",
        Mode::Append,
        Some(&[
            "column `symbol`: expected longtext, found text in latin1, where not every character \
             has a place",
            "column `price`: expected bigint, found a generated column",
        ]),
    )
    .await;
    check_table(
        database,
        "symbol text CHARACTER SET utf8mb4",
        Mode::Append,
        Some(&["column `price`: expected bigint, found none"]),
    )
    .await;
    check_table(
        database,
        &format!(
            "symbol varchar(20) CHARACTER SET utf8mb4 COLLATE {}, price bigint, \
             UNIQUE (symbol, price), UNIQUE p (price), UNIQUE s (symbol(5))",
            exact_collation()
        ),
        upsert(&["symbol"]),
        Some(&[
            "no primary key or unique index on (symbol)",
            "its unique index `p` on (price) would let one row replace another of another key",
            "its unique index `s` on (symbol(5)) would let one row replace another of another key",
        ]),
    )
    .await;
    check_table(
        database,
        "symbol varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, \
         price bigint",
        upsert(&["symbol"]),
        Some(&["column `symbol` of the key: its collation utf8mb4_general_ci takes texts for \
                equal that are not: expected utf8mb4_0900_bin or utf8mb4_nopad_bin"]),
    )
    .await;
    check_table_made(
        database,
        "(symbol longtext CHARACTER SET utf8mb4, price bigint) ENGINE = MyISAM",
        Mode::Append,
        Some(&["its engine MyISAM has no transactions: expected InnoDB"]),
    )
    .await;
}

#[tokio::test]
async fn a_table_may_have_more_than_the_rows() {
    let database = &mut Database::shared().await;
    check_table(
        database,
        &format!(
            "id bigint AUTO_INCREMENT PRIMARY KEY, price decimal(30,2), note text, \
             at datetime NOT NULL DEFAULT now(), \
             symbol varchar(9) CHARACTER SET utf8mb4 COLLATE {} UNIQUE",
            exact_collation()
        ),
        upsert(&["symbol"]),
        None,
    )
    .await;
    check_table(
        database,
        "price bigint, symbol text CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, \
         twice bigint AS (2 * price)",
        Mode::Append,
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
    check_table_made(database, &format!("({columns})"), mode, differences).await;
}

async fn check_table_made(
    database: &mut Database,
    made: &str,
    mode: Mode,
    differences: Option<&[&str]>,
) {
    database.run("DROP TABLE IF EXISTS trades, thalweg_stamps").await;
    database.run(&format!("CREATE TABLE trades {made}")).await;
    let mut sink = trade_sink(&database.url, mode);
    let outcome = hand_over(&mut sink, &[(1, trades(&[("AAPL", 1)]))]).await;
    match (outcome, differences) {
        (Ok(_), None) => {
            database.check("SELECT symbol, price + 0 = 1 FROM trades", &["AAPL|1"]).await;
        }
        (Err(error), Some(differences)) => {
            assert_eq!(error.kind, ErrorKind::Invalid, "{made}");
            assert_eq!(error.detail, Some(format!("{}.", differences.join("; "))), "{made}");
        }
        (Ok(_), Some(_)) => panic!("{made}: the table is taken"),
        (Err(error), None) => panic!("{made}: {}", error.chain()),
    }
}

#[tokio::test]
async fn names_are_taken_as_they_are_written() {
    let mut database = Database::shared().await;
    let schema_name = database.rows("SELECT DATABASE()").await.remove(0);
    let odd = "x`; DROP TABLE y; --?";
    let rows = schema(&[("Symbol", DataType::Utf8), (odd, DataType::Int64)]);
    let table = format!("{schema_name}.T`?; DROP TABLE y; --");
    let config = DatabaseConfig::new(&database.url, table, upsert(&["Symbol"]));
    let mut sink = mysql::sink(config, "changes", rows.clone()).expect("they are names");
    let columns = trades(&[("AAPL", 1), ("AAPL", 2)]).columns().to_vec();
    let batch = RecordBatch::try_new(rows, columns).expect("the same types");
    hand_over(&mut sink, &[(1, batch)]).await.expect("every name is quoted");
    database
        .check(
            "SELECT `Symbol`, `x``; DROP TABLE y; --?` FROM `T``?; DROP TABLE y; --`",
            &["AAPL|2"],
        )
        .await;
    database.check("SELECT target FROM thalweg_stamps", &["T`?; DROP TABLE y; --"]).await;

    for wrong in ["", "a.b.c", "x ", "🦀", &"x".repeat(65)] {
        let config = DatabaseConfig::new(&database.url, wrong, Mode::Append);
        let sink = mysql::sink(config, "changes", trade_schema());
        assert_eq!(sink.err().map(|error| error.kind), Some(ErrorKind::Invalid), "{wrong:?}");
    }
}

#[tokio::test]
async fn what_is_not_a_table_is_refused() {
    let mut database = Database::shared().await;
    database.run("CREATE VIEW trades AS SELECT 'x' AS symbol, 1 AS price").await;
    let error = trade_sink(&database.url, Mode::Append).open().await.expect_err("it is a view");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("is not a table"), "{}", error.chain());

    let config = DatabaseConfig::new(&database.url, "nowhere.trades", Mode::Append);
    let mut sink = mysql::sink(config, "changes", trade_schema()).expect("a name");
    let error = sink.open().await.expect_err("there is no such database");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
    assert!(error.hint.is_some_and(|hint| hint.contains("database")));

    let (server, _) = database.url.rsplit_once('/').expect("the URL names a database");
    let error = trade_sink(server, Mode::Append).open().await.expect_err("no database is named");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
    assert!(error.hint.is_some_and(|hint| hint.contains("database.table")));
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

/// Some who host a server take no table without a primary key, and then one made by hand has one.
#[tokio::test]
async fn a_server_that_wants_a_primary_key_says_what_to_do() {
    let server = restartable();
    let mut database = Database::make(&server.url).await;
    let setting = per_server("innodb_force_primary_key", "sql_require_primary_key");
    database.run(&format!("SET GLOBAL {setting} = ON")).await;
    trade_sink(&database.url, upsert(&["symbol"])).open().await.expect("it has a key");
    database.run("DROP TABLE trades, thalweg_stamps").await;

    let mut sink = trade_sink(&database.url, Mode::Append);
    let error = sink.open().await.expect_err("it has none");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
    assert!(error.chain().contains("`id bigint AUTO_INCREMENT PRIMARY KEY`"), "{}", error.chain());
    let columns = "id bigint AUTO_INCREMENT PRIMARY KEY, \
                   symbol text CHARACTER SET utf8mb4, price bigint";
    database.run(&format!("CREATE TABLE trades ({columns})")).await;
    hand_over(&mut sink, &[(1, trades(&[("AAPL", 1)]))]).await.expect("it is written");
    database.check("SELECT symbol, price FROM trades", &["AAPL|1"]).await;

    // MySQL can also add a key itself, in a column that is not seen.
    if let Some(setting) = per_server(None, Some("sql_generate_invisible_primary_key")) {
        database
            .run(&format!("SET GLOBAL {setting} = ON; DROP TABLE trades, thalweg_stamps"))
            .await;
        for _ in 0..2 {
            assert_eq!(sink.open().await.expect("it is made and fits"), None);
        }
        hand_over(&mut sink, &[(1, trades(&[("AAPL", 1)]))]).await.expect("it is written");
        database.check("SELECT * FROM trades", &["AAPL|1"]).await;
    }
}

#[tokio::test]
async fn a_user_needs_no_more_rights_than_to_write() {
    let mut database = Database::shared().await;
    database.run("CREATE USER narrow IDENTIFIED BY 'narrow'").await;
    let narrow = database.url_of("narrow", "narrow");
    let error = trade_sink(&narrow, Mode::Append).open().await.expect_err("it may see nothing");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
    let schema_name = database.rows("SELECT DATABASE()").await.remove(0);
    database.run(&format!("GRANT SELECT ON {schema_name}.* TO narrow")).await;
    let error = trade_sink(&narrow, Mode::Append).open().await.expect_err("it may not make tables");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
    assert!(error.hint.is_some_and(|hint| hint.contains("Grant")));

    trade_sink(&database.url, upsert(&["symbol"])).open().await.expect("the owner may");
    for table in ["trades", "thalweg_stamps"] {
        let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO narrow");
        database.run(&grant).await;
    }
    let mut sink = trade_sink(&narrow, upsert(&["symbol"]));
    hand_over(&mut sink, &[(1, trades(&[("AAPL", 1)]))]).await.expect("it may write");
    database.check("SELECT * FROM trades", &["AAPL|1"]).await;
    assert_eq!(sink.open().await.expect("it may read its stamp"), Some(stamp(1)));
}
