//! What the console shows, on a clock stepped by hand.

use arrow::array::{Array, Float64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;

/// An output that can be read from outside.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no writer panicked"));
        String::from_utf8(bytes).expect("only text is printed")
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn rows(cells: &[(&str, Option<f64>)]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("price", DataType::Float64, true),
    ]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(cells.iter().map(|cell| Some(cell.0)).collect::<StringArray>()),
            Arc::new(cells.iter().map(|cell| cell.1).collect::<Float64Array>()),
        ],
    )
    .expect("two columns of one length")
}

async fn commit(sink: &mut ConsoleSink, epoch: Epoch, batch: &RecordBatch) -> Committed {
    let stamp = Stamp { incarnation: "i".to_owned(), pipeline: "changes".to_owned(), epoch };
    sink.write(epoch, batch).await.expect("it only stages");
    sink.commit(&stamp).await.expect("the screen takes everything")
}

fn sink(rows_max: usize) -> (ConsoleSink, Screen, Clock) {
    let (screen, clock) = (Screen::default(), Clock::stepped(Timestamp(0)));
    let config = ConsoleConfig { every: Duration::from_secs(1), rows_max };
    let sink = ConsoleSink::new(config, "changes", Box::new(screen.clone()), clock.clone());
    (sink, screen, clock)
}

#[tokio::test]
async fn rows_are_an_aligned_table() {
    let (mut sink, screen, _) = sink(10);
    let committed = commit(&mut sink, 1, &rows(&[("AAPL", Some(1.5)), ("BTC-USD", None)])).await;
    assert_eq!(committed, Committed { rows_written: 2, rows_superseded: 0 });
    assert_eq!(
        screen.take(),
        "changes · 2 rows\n  symbol   price\n  AAPL       1.5\n  BTC-USD      –\n"
    );
}

#[test]
fn instants_are_written_in_utc() {
    let times = TimestampMicrosecondArray::from(vec![1_703_258_644_022_000]).with_timezone("UTC");
    let schema = Schema::new(vec![Field::new("at", times.data_type().clone(), false)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times)]).expect("one column");
    assert_eq!(
        table("bars", 1, &[batch]).expect("times can be written"),
        "bars · 1 row\n  at\n  2023-12-22T15:24:04.022Z\n"
    );
}

#[tokio::test]
async fn at_most_one_table_a_period_shows_the_newest_rows() {
    let (mut sink, screen, clock) = sink(2);
    commit(&mut sink, 1, &rows(&[("A", Some(1.0))])).await;
    assert!(screen.take().starts_with("changes · 1 row\n"));

    for epoch in 2..5 {
        let batch = rows(&[("B", Some(epoch as f64)), ("C", None), ("D", None)]);
        assert_eq!(commit(&mut sink, epoch, &batch).await.rows_written, 3);
    }
    assert_eq!(screen.take(), "", "the period has not passed");

    clock.step_to(Timestamp(1_000_000));
    commit(&mut sink, 5, &rows(&[("E", Some(2.0))])).await;
    assert_eq!(
        screen.take(),
        "changes · 10 rows, the newest 2\n  symbol  price\n  D           –\n  E         2.0\n"
    );
}

#[tokio::test]
async fn what_was_held_back_is_printed_at_the_end() {
    let (mut sink, screen, _) = sink(10);
    commit(&mut sink, 1, &rows(&[("A", None)])).await;
    commit(&mut sink, 2, &rows(&[("B", None)])).await;
    sink.write(3, &rows(&[("C", None)])).await.expect("it only stages");
    screen.take();
    drop(sink);
    assert_eq!(screen.take(), "changes · 1 row\n  symbol  price\n  B           –\n");
}

#[tokio::test]
async fn discarded_rows_are_not_printed() {
    let (mut sink, screen, _) = sink(10);
    sink.write(1, &rows(&[("A", None)])).await.expect("it only stages");
    sink.discard().await;
    commit(&mut sink, 1, &rows(&[("B", None)])).await;
    assert_eq!(screen.take(), "changes · 1 row\n  symbol  price\n  B           –\n");
}

#[test]
fn a_cell_is_one_short_line_a_terminal_does_not_obey() {
    check_cell("plain", "plain");
    check_cell("\u{1b}[31mred\nnext", "\u{FFFD}[31mred\u{FFFD}next");
    check_cell("a\u{202E}b", "a\u{FFFD}b");
    check_cell(&"x".repeat(40), &"x".repeat(40));
    check_cell(&"é".repeat(41), &format!("{}…", "é".repeat(39)));
}

#[track_caller]
fn check_cell(text: &str, expected: &str) {
    assert_eq!(cell(text), expected);
}
