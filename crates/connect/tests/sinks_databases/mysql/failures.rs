//! What goes wrong between here and the server, and what the caller is told to do.

use std::time::Duration;

use thalweg_connect::sinks::database::{DatabaseConfig, Mode};
use thalweg_connect::sinks::mysql;
use thalweg_core::sink::Sink;
use thalweg_core::{Error, ErrorKind};

use super::server::{Database, per_server, restartable};
use super::trade_sink;
use crate::{hand_over, stamp, trade_schema, trades, upsert};

async fn open_error(url: &str) -> Error {
    trade_sink(url, Mode::Append).open().await.expect_err("it cannot be opened")
}

#[track_caller]
fn check(error: &Error, kind: ErrorKind, part: &str) {
    let text = format!("{}\n{error:?}", error.chain());
    assert_eq!(error.kind, kind, "{text}");
    assert!(text.contains(part), "{part:?} in {text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_wrong_login_is_told_without_the_password() {
    let database = Database::shared().await;
    let wrong = open_error(&database.url_of("thalweg", "s3cret")).await;
    check(&wrong, ErrorKind::Invalid, "Check the user and password");
    let unknown = open_error(&database.url_of("nobody", "s3cret")).await;
    check(&unknown, ErrorKind::Invalid, "Check the user and password");
    let missing = open_error(&format!("{}_missing", database.url)).await;
    check(&missing, ErrorKind::Invalid, "Create the database");

    let config = DatabaseConfig::new(database.url_of("thalweg", "s3cret"), "trades", Mode::Append);
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[tokio::test]
async fn tls_is_used_and_checked_as_the_url_says() {
    // As the binary does; another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = restartable();
    let mut database = Database::make(&server.url).await;
    database.run("CREATE USER careful IDENTIFIED BY 's3cret' REQUIRE SSL").await;
    database.run("GRANT ALL ON *.* TO careful").await;
    let careful = database.url_of("careful", "s3cret");
    let authority = server.folder().join("ca.pem");
    let authority = authority.to_str().expect("a path in UTF-8");

    let without = format!("{careful}?ssl-mode=DISABLED");
    let socket = server.folder().join("socket");
    let socket = socket.to_str().expect("a path in UTF-8");
    let refused = "Check the user and password";
    // MySQL asks for the password, which is not sent, before it looks at what the user may do.
    let at_first = per_server(refused, "wants a log-in over TLS");
    check(&open_error(&without).await, ErrorKind::Invalid, at_first);
    let plain = open_error(&format!("{without}&socket={socket}")).await;
    check(&plain, ErrorKind::Invalid, "take `ssl-mode=DISABLED` out of it");
    let unknown = open_error(&format!("{careful}?ssl-mode=VERIFY_CA")).await;
    check(&unknown, ErrorKind::Unavailable, "`ssl-mode` and `ssl-ca`");
    for options in [
        String::new(),
        "?ssl-mode=REQUIRED".to_owned(),
        format!("?ssl-mode=VERIFY_CA&ssl-ca={authority}"),
        format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}"),
        format!("?ssl-mode=REQUIRED&socket={socket}"),
    ] {
        let mut sink = trade_sink(&format!("{careful}{options}"), Mode::Append);
        if let Err(error) = sink.open().await {
            panic!("{options:?}: {}", error.chain());
        }
    }
    check(&open_error(&without).await, ErrorKind::Invalid, refused);

    database.run("SET GLOBAL require_secure_transport = ON").await;
    let plain = open_error(&format!("{}?ssl-mode=DISABLED", database.url)).await;
    check(&plain, ErrorKind::Invalid, per_server(refused, "The server wants TLS"));
}

/// MySQL knows the password of a user who has logged in since it started; before, it must be sent.
#[tokio::test]
async fn a_password_is_not_sent_without_tls() {
    let mut database = Database::shared().await;
    database.run("CREATE USER plain IDENTIFIED BY 's3cret'").await;
    database.run("GRANT ALL ON *.* TO plain").await;
    let url = database.url_of("plain", "s3cret");
    let without = format!("{url}?ssl-mode=DISABLED");
    let mut sink = trade_sink(&without, Mode::Append);
    match per_server(None, Some("take `ssl-mode=DISABLED` out of the URL")) {
        None => assert_eq!(sink.open().await.expect("its log-in hides the password"), None),
        Some(hint) => check(&open_error(&without).await, ErrorKind::Invalid, hint),
    }
    trade_sink(&url, Mode::Append).open().await.expect("over TLS it is hidden");
    assert_eq!(sink.open().await.expect("it is known"), None);
}

/// What only a person can mend stops the sink; that others are logged in passes.
#[tokio::test]
async fn an_account_that_may_not_log_in_is_told_apart_from_one_that_waits() {
    let mut database = Database::shared().await;
    for (name, options) in [
        ("locked", "ACCOUNT LOCK"),
        ("expired", "PASSWORD EXPIRE"),
        ("few", "WITH MAX_USER_CONNECTIONS 1"),
    ] {
        database.run(&format!("CREATE USER {name} IDENTIFIED BY 's3cret' {options}")).await;
        database.run(&format!("GRANT ALL ON *.* TO {name}")).await;
    }
    let locked = open_error(&database.url_of("locked", "s3cret")).await;
    check(&locked, ErrorKind::Invalid, "Unlock");
    let expired = open_error(&database.url_of("expired", "s3cret")).await;
    check(&expired, ErrorKind::Invalid, "new password");

    let few = database.url_of("few", "s3cret");
    let mut first = trade_sink(&few, Mode::Append);
    first.open().await.expect("one may");
    check(&open_error(&few).await, ErrorKind::Unavailable, "max_user_connections");
    drop(first);
}

#[tokio::test]
async fn a_server_that_was_down_is_written_to_when_it_is_up() {
    let server = restartable();
    let mut database = Database::make(&server.url).await;
    let url = database.url.clone();
    let mut sink = trade_sink(&url, upsert(&["symbol"]));
    let epochs = [(1, trades(&[("A", 1)])), (2, trades(&[("A", 2), ("B", 2)]))];
    hand_over(&mut sink, &epochs[..1]).await.expect("it is written");
    sink.write(2, &epochs[1].1).await.expect("it only stages");
    drop(database);
    server.stop();

    let error = sink.commit(&stamp(2)).await.expect_err("the server is down");
    assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.chain());
    let (_, place) = url.rsplit_once('@').expect("the URL has a user");
    let (address, name) = place.rsplit_once('/').expect("the URL has a database");
    check(
        &hand_over(&mut sink, &epochs).await.expect_err("still"),
        ErrorKind::Unavailable,
        address,
    );

    server.start_again();
    let committed = hand_over(&mut sink, &epochs).await.expect("the server is up");
    assert_eq!(committed.rows_written, 2);
    database = Database::connect(&server.url, name).await;
    database.check("SELECT * FROM trades ORDER BY symbol", &["A|2", "B|2"]).await;
}

#[tokio::test]
async fn no_wait_is_without_end() {
    let mut database = Database::shared().await;
    let mut config = DatabaseConfig::new(&database.url, "trades", Mode::Append);
    config.statement_timeout = Duration::from_millis(100);
    let mut sink = mysql::sink(config, "changes", trade_schema()).expect("it fits");
    let epochs = [(1, trades(&[("A", 1)]))];
    sink.open().await.expect("it can be made");
    sink.write(1, &epochs[0].1).await.expect("it only stages");
    database.run("LOCK TABLES trades WRITE").await;
    let error = sink.commit(&stamp(1)).await.expect_err("the table is locked");
    check(&error, ErrorKind::Unavailable, "timeout");
    database.run("UNLOCK TABLES").await;
    hand_over(&mut sink, &epochs).await.expect("the table is free");
    database.check("SELECT * FROM trades", &["A|1"]).await;

    // A listener that never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("it is bound").to_string();
    let mut config =
        DatabaseConfig::new(format!("mysql://u:s3cret@{address}/d"), "trades", Mode::Append);
    config.connect_timeout = Duration::from_millis(100);
    let mut sink = mysql::sink(config, "changes", trade_schema()).expect("it fits");
    let error = sink.open().await.expect_err("nobody answers");
    check(&error, ErrorKind::Unavailable, &format!("MySQL at {address} does not answer"));
}

#[tokio::test]
async fn a_row_the_table_refuses_stops_the_sink_and_says_why() {
    let mut database = Database::shared().await;
    let columns = "symbol varchar(3) CHARACTER SET utf8mb4, price bigint";
    database
        .run(&format!("CREATE TABLE trades ({columns}, CONSTRAINT small CHECK (price < 10))"))
        .await;
    let mut sink = trade_sink(&database.url, Mode::Append);
    let outcome = hand_over(&mut sink, &[(1, trades(&[("A", 1), ("B", 11)]))]).await;
    let told = per_server("CONSTRAINT `small` failed", "Check constraint 'small' is violated");
    check(&outcome.expect_err("11 is refused"), ErrorKind::Invalid, told);
    let outcome = hand_over(&mut sink, &[(1, trades(&[("A", 1), ("AAPL", 1)]))]).await;
    check(&outcome.expect_err("nothing is cut"), ErrorKind::Invalid, "Data too long for column");
    database.check("SELECT * FROM trades", &[]).await;
    assert_eq!(sink.open().await.expect("it opens"), None, "the stamp did not move either");
}
