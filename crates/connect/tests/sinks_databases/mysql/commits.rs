//! Once in effect: what commits do, and what stays of them when they are cut off, repeated, or made
//! by two writers (S9, S12).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use thalweg_connect::sinks::database::{DatabaseConfig, Mode};
use thalweg_connect::sinks::mysql;
use thalweg_core::ErrorKind;
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};

use super::server::{Database, OTHERS, losing_commits};
use super::trade_sink;
use crate::{changes, hand_over, stamp, trade_schema, trades, upsert};

const TRADES: &str = "SELECT * FROM trades ORDER BY symbol, price";
const STAMPS: &str = "SELECT target, pipeline, incarnation, epoch FROM thalweg_stamps";

#[tokio::test]
async fn append_adds_every_row() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, Mode::Append);
    assert_eq!(sink.guarantee(), Guarantee::ExactlyOnce);
    let epochs = [(1, trades(&[("A", 1), ("A", 1)])), (2, trades(&[])), (3, trades(&[("A", 2)]))];
    let committed = hand_over(&mut sink, &epochs).await.expect("it is written");
    assert_eq!(committed, Committed { rows_written: 3, rows_superseded: 0 });
    database.check(TRADES, &["A|1", "A|1", "A|2"]).await;
    database.check(STAMPS, &["trades|changes|home|3"]).await;
}

#[tokio::test]
async fn nothing_is_visible_before_the_commit() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, Mode::Append);
    sink.open().await.expect("it can be made");
    sink.write(1, &trades(&[("A", 1)])).await.expect("it only stages");
    database.check(TRADES, &[]).await;
    sink.discard().await;
    sink.write(1, &trades(&[("B", 1)])).await.expect("the epoch can be handed over again");
    sink.commit(&stamp(1)).await.expect("it is written");
    database.check(TRADES, &["B|1"]).await;
}

#[tokio::test]
async fn upsert_keeps_the_last_row_of_each_key() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, upsert(&["symbol"]));
    let first = [(1, trades(&[("A", 1), ("B", 1), ("A", 2)])), (2, trades(&[("A", 3)]))];
    let committed = hand_over(&mut sink, &first).await.expect("it is written");
    assert_eq!(committed, Committed { rows_written: 2, rows_superseded: 2 });
    database.check(TRADES, &["A|3", "B|1"]).await;

    // A row that is new, one that is changed, one that stays what it is: one row each.
    sink.write(3, &trades(&[("C", 1), ("B", 5), ("A", 3)])).await.expect("it only stages");
    let committed = sink.commit(&stamp(3)).await.expect("it is written");
    assert_eq!(committed, Committed { rows_written: 3, rows_superseded: 0 });
    database.check(TRADES, &["A|3", "B|5", "C|1"]).await;
}

#[tokio::test]
async fn keys_that_look_alike_are_not_one() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, upsert(&["symbol"]));
    let rows = [("a", 1), ("A", 2), ("a ", 3), ("ä", 4), ("a\u{308}", 5), ("🦀", 6), ("🦞", 7)];
    let committed = hand_over(&mut sink, &[(1, trades(&rows))]).await.expect("it is written");
    assert_eq!(committed.rows_written, 7);
    database.check("SELECT count(*), count(DISTINCT price) FROM trades", &["7|7"]).await;
}

#[tokio::test]
async fn a_table_that_is_all_key_reports_its_rows() {
    let database = Database::shared().await;
    let mut sink = trade_sink(&database.url, upsert(&["symbol", "price"]));
    let rows = trades(&[("A", 1), ("A", 1), ("B", 1)]);
    for (epoch, held) in [(1, 0), (2, 1)] {
        assert_eq!(sink.open().await.expect("it opens").map_or(0, |stamp| stamp.epoch), held);
        sink.write(epoch, &rows).await.expect("it only stages");
        let committed = sink.commit(&stamp(epoch)).await.expect("it is written");
        assert_eq!(committed, Committed { rows_written: 2, rows_superseded: 1 }, "S12");
    }
}

#[tokio::test]
async fn a_delete_removes_its_key() {
    let mut database = Database::shared().await;
    let config = DatabaseConfig::new(&database.url, "trades", upsert(&["symbol"]));
    let mut sink = mysql::sink(config, "changes", changes(&[]).schema()).expect("it fits");
    let rows = [("A", Some("insert"), 1), ("B", Some("update"), 1), ("C", None, 1)];
    hand_over(&mut sink, &[(1, changes(&rows))]).await.expect("it is written");
    database.check(TRADES, &["A|1", "B|1", "C|1"]).await;

    let rows = [
        ("A", Some("delete"), 0),
        ("B", Some("delete"), 0),
        ("B", Some("insert"), 2),
        ("D", Some("insert"), 1),
        ("D", Some("delete"), 0),
        ("E", Some("delete"), 0),
    ];
    sink.write(2, &changes(&rows)).await.expect("it only stages");
    let committed = sink.commit(&stamp(2)).await.expect("it is written");
    assert_eq!(committed, Committed { rows_written: 4, rows_superseded: 2 }, "S12");
    database.check(TRADES, &["B|2", "C|1"]).await;
}

/// A decimal, an instant and a text as the key: compared as what they are. As doubles, the two
/// decimals would be one.
#[tokio::test]
async fn a_key_of_any_type_is_found_again() {
    let mut database = Database::shared().await;
    let rows = |operation: &str, numbers: &[i128]| {
        let count = numbers.len();
        let amounts = Decimal128Array::from(numbers.to_vec());
        let amounts = amounts.with_precision_and_scale(38, 2).expect("38 digits");
        let at = vec![1_703_258_644_022_001; count];
        let at = TimestampMicrosecondArray::from(at).with_timezone("UTC");
        let columns: [(&str, ArrayRef); 4] = [
            ("_op", Arc::new(StringArray::from(vec![operation; count]))),
            ("amount", Arc::new(amounts)),
            ("at", Arc::new(at)),
            ("name", Arc::new(StringArray::from(vec!["x"; count]))),
        ];
        RecordBatch::try_from_iter(columns).expect("four columns of one length")
    };
    let (one, other) = (1_234_567_890_123_456_789_012, 1_234_567_890_123_456_789_013);
    let first = rows("insert", &[one, other]);
    let key = upsert(&["amount", "at", "name"]);
    let config = DatabaseConfig::new(&database.url, "amounts", key);
    let mut sink = mysql::sink(config, "changes", first.schema()).expect("it fits");
    hand_over(&mut sink, &[(1, first.clone())]).await.expect("it is written");
    database.check("SELECT count(*) FROM amounts", &["2"]).await;
    sink.write(2, &rows("delete", &[one])).await.expect("it only stages");
    sink.commit(&stamp(2)).await.expect("it is written");
    let left = ["12345678901234567890.13|2023-12-22 15:24:04.022001|x"];
    database.check("SELECT * FROM amounts", &left).await;
}

#[tokio::test]
async fn a_changelog_says_what_each_row_does_and_when() {
    let mut database = Database::shared().await;
    let read = "SELECT symbol, price, _op, _epoch FROM trades ORDER BY _epoch, symbol, price";

    let config = DatabaseConfig::new(&database.url, "trades", Mode::Changelog);
    let mut sink = mysql::sink(config, "changes", changes(&[]).schema()).expect("it fits");
    let epochs = [
        (1, changes(&[("A", Some("insert"), 1)])),
        (2, changes(&[("A", Some("update"), 2), ("B", Some("delete"), 0)])),
    ];
    hand_over(&mut sink, &epochs).await.expect("it is written");
    database.check(read, &["A|1|insert|1", "A|2|update|2", "B|0|delete|2"]).await;

    database.run("DROP TABLE trades; DELETE FROM thalweg_stamps").await;
    let mut sink = trade_sink(&database.url, Mode::Changelog);
    hand_over(&mut sink, &[(7, trades(&[("A", 1)]))]).await.expect("it is written");
    database.check(read, &["A|1|insert|7"]).await;
}

#[tokio::test]
async fn a_row_without_its_key_is_refused() {
    let database = Database::shared().await;
    let mut sink = trade_sink(&database.url, upsert(&["symbol"]));
    sink.open().await.expect("it can be made");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("A"), None])),
        Arc::new(Int64Array::from(vec![1, 2])),
    ];
    let rows = RecordBatch::try_new(trade_schema(), columns).expect("two columns");
    let error = sink.write(1, &rows).await.expect_err("no key");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.chain().contains("WHERE symbol IS NOT NULL"), "{}", error.chain());
}

#[tokio::test]
async fn a_commit_of_nothing_moves_the_stamp() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, Mode::Append);
    sink.open().await.expect("it can be made");
    for epoch in [4, 9, 9] {
        let committed = sink.commit(&stamp(epoch)).await.expect("it only moves the stamp");
        assert_eq!(committed, Committed::default());
    }
    database.check(STAMPS, &["trades|changes|home|9"]).await;
}

#[tokio::test]
async fn many_chunks_are_one_commit() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, upsert(&["symbol"]));
    let names: Vec<String> = (0..25_500).map(|number| format!("S{number}")).collect();
    let rows: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let epochs = [(1, trades(&rows)), (2, trades(&rows[..5_000]))];
    let committed = hand_over(&mut sink, &epochs).await.expect("it is written");
    assert_eq!(committed, Committed { rows_written: 25_500, rows_superseded: 5_000 });
    database.check("SELECT count(*), sum(price) FROM trades", &["25500|25500"]).await;

    // One row that the table refuses, in the last chunk, takes all of them back.
    database.run("ALTER TABLE trades ADD CONSTRAINT small CHECK (price < 10)").await;
    let mut rows: Vec<(&str, i64)> = rows.iter().map(|(name, _)| (*name, 2)).collect();
    rows[25_499].1 = 10;
    sink.write(3, &trades(&rows)).await.expect("it only stages");
    sink.commit(&stamp(3)).await.expect_err("10 is refused");
    database.check("SELECT count(*), sum(price) FROM trades", &["25500|25500"]).await;
    database.check(STAMPS, &["trades|changes|home|2"]).await;
}

/// More columns than one statement of a thousand rows has parameters for.
#[tokio::test]
async fn wide_rows_are_written_in_smaller_statements() {
    let mut database = Database::shared().await;
    let names: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
    let column = |number: i64| Arc::new((0..3_000).map(|row| row + number).collect::<Int64Array>());
    let columns = names.iter().zip(0..).map(|(name, number)| (name, column(number) as ArrayRef));
    let rows = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let config = DatabaseConfig::new(&database.url, "wide", Mode::Append);
    let mut sink = mysql::sink(config, "changes", rows.schema()).expect("it fits");
    let committed = hand_over(&mut sink, &[(1, rows)]).await.expect("it is written");
    assert_eq!(committed.rows_written, 3_000);
    database
        .check("SELECT count(*), sum(c0), sum(c99 - c0) FROM wide", &["3000|4498500|297000"])
        .await;
}

#[tokio::test]
async fn a_cut_between_write_and_commit_doubles_nothing() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, Mode::Append);
    let epochs = [(1, trades(&[("A", 1)])), (2, trades(&[("B", 2)]))];
    hand_over(&mut sink, &epochs[..1]).await.expect("it is written");
    sink.write(2, &epochs[1].1).await.expect("it only stages");
    database.cut_sinks().await;
    let error = sink.commit(&stamp(2)).await.expect_err("the connection is cut");
    assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.chain());

    let committed = hand_over(&mut sink, &epochs).await.expect("it connects again");
    assert_eq!(committed.rows_written, 1);
    database.check(TRADES, &["A|1", "B|2"]).await;
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_doubles_nothing() {
    let mut database = Database::shared().await;
    let epochs = [(1, trades(&[("A", 1)])), (2, trades(&[("B", 2)]))];
    let mut sink = trade_sink(&losing_commits(&database.url).await, Mode::Append);
    for (number, all_so_far) in [(1, &["A|1"][..]), (2, &["A|1", "B|2"])] {
        let outcome = hand_over(&mut sink, &epochs[..number]).await;
        let error = outcome.expect_err("the answer is lost");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.chain());
        assert!(error.chain().contains("not known"), "{}", error.chain());
        database.check(TRADES, all_so_far).await;
        let committed = hand_over(&mut sink, &epochs[..number]).await.expect("it connects again");
        assert_eq!(committed, Committed::default(), "the stamp says that all is there");
    }
    database.check(TRADES, &["A|1", "B|2"]).await;
}

#[tokio::test]
async fn a_stamp_is_not_read_while_a_commit_is_under_way() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, Mode::Append);
    hand_over(&mut sink, &[(1, trades(&[("A", 1)]))]).await.expect("it is written");
    let mut commit = database.again().await;
    commit.run("START TRANSACTION; UPDATE thalweg_stamps SET epoch = 2").await;
    let reading = format!("SELECT 1 {OTHERS} AND INFO LIKE '%FOR UPDATE'");
    let (held, ()) = tokio::join!(sink.open(), async {
        database.wait_for(&reading).await;
        commit.run("COMMIT").await;
    });
    assert_eq!(held.expect("it waits for the commit"), Some(stamp(2)));
}

#[tokio::test]
async fn a_dropped_commit_has_no_effect() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, Mode::Append);
    let epochs = [(1, trades(&[("A", 1)]))];
    sink.open().await.expect("it can be made");
    sink.write(1, &epochs[0].1).await.expect("it only stages");
    database.run("LOCK TABLES trades WRITE").await;
    let last = stamp(1);
    let blocked = "SELECT 1 FROM information_schema.PROCESSLIST \
                   WHERE DB = DATABASE() AND STATE LIKE 'Waiting for table metadata lock%'";
    tokio::select! {
        outcome = sink.commit(&last) => panic!("it is blocked, but gave {outcome:?}"),
        () = database.wait_for(blocked) => {}
    }
    let error = sink.write(2, &epochs[0].1).await.expect_err("it must be opened again");
    assert_eq!(error.kind, ErrorKind::Internal);
    database.run("UNLOCK TABLES").await;

    let committed = hand_over(&mut sink, &epochs).await.expect("it connects again");
    assert_eq!(committed.rows_written, 1);
    database.check(TRADES, &["A|1"]).await;
}

#[tokio::test]
async fn a_second_writer_of_the_same_epochs_is_fenced() {
    check_fenced(0).await;
    check_fenced(7).await;
}

/// Two writers open a target that holds `held` epochs; the second to commit is fenced.
async fn check_fenced(held: Epoch) {
    let mut database = Database::shared().await;
    let mut zombie = trade_sink(&database.url, Mode::Append);
    let mut owner = trade_sink(&database.url, Mode::Append);
    owner.open().await.expect("it can be made");
    if held > 0 {
        owner.commit(&stamp(held)).await.expect("it only moves the stamp");
    }
    for sink in [&mut zombie, &mut owner] {
        sink.open().await.expect("both may open");
        sink.write(held + 1, &trades(&[("A", 1)])).await.expect("it only stages");
    }
    owner.commit(&stamp(held + 1)).await.expect("it is the first");
    // A later epoch does not make up for having missed the first.
    zombie.write(held + 2, &trades(&[("B", 2)])).await.expect("it only stages");
    let error = zombie.commit(&stamp(held + 2)).await.expect_err("it is the second");
    assert_eq!(error.kind, ErrorKind::Fenced, "{}", error.chain());
    database.check(TRADES, &["A|1"]).await;
    database.check(STAMPS, &[&format!("trades|changes|home|{}", held + 1)]).await;
}

#[tokio::test]
async fn of_two_commits_at_once_one_is_fenced() {
    let mut database = Database::shared().await;
    let (mut one, mut other) =
        (trade_sink(&database.url, Mode::Append), trade_sink(&database.url, Mode::Append));
    hand_over(&mut one, &[(1, trades(&[("A", 1)]))]).await.expect("it is written");
    other.open().await.expect("both may open");
    for epoch in 2..12 {
        let rows = trades(&[("A", epoch)]);
        let last = stamp(epoch.unsigned_abs());
        one.write(last.epoch, &rows).await.expect("it only stages");
        other.write(last.epoch, &rows).await.expect("it only stages");
        let outcomes = tokio::join!(one.commit(&last), other.commit(&last));
        let mut kinds = [outcomes.0, outcomes.1].map(|outcome| outcome.err().map(|e| e.kind));
        kinds.sort_by_key(Option::is_some);
        assert_eq!(kinds, [None, Some(ErrorKind::Fenced)]);
        for sink in [&mut one, &mut other] {
            sink.discard().await;
            assert_eq!(sink.open().await.expect("it opens again"), Some(last.clone()));
        }
    }
    database.check("SELECT count(*), count(DISTINCT price) FROM trades", &["11|11"]).await;
}

#[tokio::test]
async fn the_target_remembers_what_all_commits_did() {
    let database = Database::shared().await;
    let mut sink = trade_sink(&database.url, upsert(&["symbol"]));
    let first = [(1, trades(&[("A", 1), ("B", 1)])), (2, trades(&[("A", 2), ("A", 3)]))];
    hand_over(&mut sink, &first).await.expect("it is written");
    hand_over(&mut sink, &[(3, trades(&[("B", 2)]))]).await.expect("it is written");
    let done = Committed { rows_written: 3, rows_superseded: 2 };
    assert_eq!(sink.total(), Some(done));

    let mut other = trade_sink(&database.url, upsert(&["symbol"]));
    assert_eq!(other.open().await.expect("it opens"), Some(stamp(3)));
    assert_eq!(other.total(), Some(done), "S12: another process is told so");
}

#[tokio::test]
async fn a_foreign_stamp_is_shown_and_not_overwritten() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, Mode::Append);
    hand_over(&mut sink, &[(5, trades(&[("A", 1)]))]).await.expect("it is written");
    database.run("UPDATE thalweg_stamps SET incarnation = 'elsewhere'").await;
    let foreign = Stamp { incarnation: "elsewhere".to_owned(), ..stamp(5) };
    assert_eq!(sink.open().await.expect("it is not judged"), Some(foreign.clone()));
    sink.write(6, &trades(&[("B", 1)])).await.expect("it only stages");
    let error = sink.commit(&stamp(6)).await.expect_err("the target is another's");
    assert_eq!(error.kind, ErrorKind::Fenced, "{}", error.chain());
    database.check(TRADES, &["A|1"]).await;

    sink.adopt(&stamp(2), Committed::default()).await.expect("a person decided so");
    assert_eq!(sink.open().await.expect("it opens"), Some(stamp(2)));
    sink.reset().await.expect("a person decided so");
    assert_eq!(sink.open().await.expect("it opens"), None);
    database.check(TRADES, &[]).await;
}

#[tokio::test]
async fn pipelines_that_share_a_table_have_stamps_of_their_own() {
    let mut database = Database::shared().await;
    let mut sink = trade_sink(&database.url, Mode::Append);
    hand_over(&mut sink, &[(5, trades(&[("A", 1)]))]).await.expect("it is written");
    let config = DatabaseConfig::new(&database.url, "trades", Mode::Append);
    let mut other = mysql::sink(config, "others", trade_schema()).expect("it fits");
    assert_eq!(other.open().await.expect("it opens"), None);
    let last = Stamp { pipeline: "others".to_owned(), ..stamp(1) };
    other.write(1, &trades(&[("B", 1)])).await.expect("it only stages");
    other.commit(&last).await.expect("it is written");
    database.check(TRADES, &["A|1", "B|1"]).await;
    let error = sink.reset().await.expect_err("rows of the other would go too");
    assert!(error.chain().contains("others"), "{}", error.chain());
    database.check(TRADES, &["A|1", "B|1"]).await;
}
