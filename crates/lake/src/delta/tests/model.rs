//! Random schedules of everything that can happen to a table, against a model of a few lines.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use thalweg_core::ErrorKind;

use super::*;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    /// The pipeline writes an epoch: rows of a day.
    Write {
        day: i32,
        count: u8,
    },
    /// It commits what it wrote.
    Commit,
    /// It commits the same epoch again, with the same rows.
    CommitAgain,
    /// It gives up what it wrote, and opens anew.
    Discard,
    /// The process dies and starts again.
    Crash,
    /// A second process opens a sink, commits, and makes a zombie of the first one's.
    Usurp,
    /// A run replaces a day.
    Replace {
        run: u8,
        day: i32,
        count: u8,
    },
    Compact,
    Checkpoint,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..3, 0u8..5).prop_map(|(day, count)| Event::Write { day, count }),
        5 => Just(Event::Commit),
        1 => Just(Event::CommitAgain),
        1 => Just(Event::Discard),
        2 => Just(Event::Crash),
        1 => Just(Event::Usurp),
        3 => (0u8..3, 0..3, 0u8..4)
            .prop_map(|(run, day, count)| Event::Replace { run, day, count }),
        2 => Just(Event::Compact),
        1 => Just(Event::Checkpoint),
    ]
}

/// What the table must hold.
#[derive(Default)]
struct Model {
    /// Day by id.
    rows: BTreeMap<i64, i32>,
    staged: Vec<(i64, i32)>,
    last_committed: Vec<(i64, i32)>,
    epoch: Epoch,
    runs: BTreeSet<u8>,
    note: Option<String>,
    next_id: i64,
}

impl Model {
    fn new_rows(&mut self, day: i32, count: u8) -> (RecordBatch, Vec<(i64, i32)>) {
        let ids = self.next_id..self.next_id + i64::from(count);
        self.next_id = ids.end;
        (rows(day, ids.clone()), ids.map(|id| (id, day)).collect())
    }
}

struct Table {
    place: Place,
    by_day: bool,
    delta: Delta,
    sink: Box<dyn Sink>,
    model: Model,
}

impl Table {
    async fn new(by_day: bool) -> Self {
        let place = Place::new();
        let delta = open(&place, by_day).await;
        let sink = sink(&delta).await;
        Self { place, by_day, delta, sink, model: Model::default() }
    }

    async fn happens(&mut self, event: Event) {
        match event {
            Event::Write { day, count } => {
                let (batch, staged) = self.model.new_rows(day, count);
                self.sink.write(self.model.epoch + 1, &batch).await.unwrap();
                self.model.staged.extend(staged);
            }
            Event::Commit => self.commit().await,
            Event::CommitAgain => self.commit_again().await,
            Event::Discard => {
                self.sink.discard().await;
                self.model.staged.clear();
                self.check_open().await;
            }
            Event::Crash => {
                // What the sink had staged goes with it.
                self.sink = self.delta.sink().unwrap();
                self.delta = open(&self.place, self.by_day).await;
                self.sink = self.delta.sink().unwrap();
                self.model.staged.clear();
                self.check_open().await;
            }
            Event::Usurp => self.usurp().await,
            Event::Replace { run, day, count } => self.replace(run, day, count).await,
            Event::Compact => {
                self.delta.compact().await.unwrap();
            }
            Event::Checkpoint => self.delta.checkpoint().await.unwrap(),
        }
    }

    async fn commit(&mut self) {
        let epoch = self.model.epoch + 1;
        let committed = self.sink.commit(&stamp(epoch)).await.unwrap();
        assert_eq!(committed.rows_written, self.model.staged.len() as u64);
        if !self.model.staged.is_empty() || self.model.epoch == 0 {
            self.model.epoch = epoch;
            self.model.last_committed = std::mem::take(&mut self.model.staged);
            self.model.rows.extend(self.model.last_committed.iter().copied());
        }
    }

    async fn commit_again(&mut self) {
        if self.model.epoch == 0 || !self.model.staged.is_empty() {
            return;
        }
        for (id, day) in &self.model.last_committed {
            self.sink.write(self.model.epoch, &rows(*day, [*id])).await.unwrap();
        }
        let committed = self.sink.commit(&stamp(self.model.epoch)).await.unwrap();
        assert_eq!(committed.rows_written, 0);
    }

    async fn usurp(&mut self) {
        let delta = open(&self.place, self.by_day).await;
        let mut usurper = sink(&delta).await;
        let (batch, written) = self.model.new_rows(0, 1);
        self.model.epoch += 1;
        usurper.write(self.model.epoch, &batch).await.unwrap();
        usurper.commit(&stamp(self.model.epoch)).await.unwrap();
        self.model.rows.extend(written.iter().copied());
        self.model.last_committed = written;

        self.sink.write(self.model.epoch, &rows(0, [-1])).await.unwrap();
        let refused = self.sink.commit(&stamp(self.model.epoch)).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Fenced);
        self.model.staged.clear();
        (self.delta, self.sink) = (delta, usurper);
    }

    async fn replace(&mut self, run: u8, day: i32, count: u8) {
        let (batch, written) = self.model.new_rows(day, count);
        let note = run.is_multiple_of(2).then(|| format!("run {run}"));
        let replacement = Replacement {
            day_column: if self.by_day { "day" } else { "ts" }.to_owned(),
            ..replacement(&run.to_string(), day, vec![batch], note.as_deref())
        };
        self.delta.replace_days(replacement).await.unwrap();
        if self.model.runs.insert(run) {
            self.model.rows.retain(|_, of| *of != day);
            self.model.rows.extend(written);
            self.model.note = note.or(self.model.note.take());
        }
    }

    async fn check_open(&mut self) {
        let held = self.sink.open().await.unwrap();
        assert_eq!(held.map(|held| held.epoch), Some(self.model.epoch).filter(|epoch| *epoch > 0));
        self.check().await;
    }

    /// What is read is what the model holds, and no day folder holds rows of another.
    async fn check(&self) {
        let expected: Vec<i64> = self.model.rows.keys().copied().collect();
        assert_eq!(ids(&self.delta).await, expected);
        assert_eq!(self.delta.note().await.unwrap(), self.model.note);
        if self.by_day {
            let astray = "SELECT count(*) FROM t WHERE day <> CAST(ts AS DATE) OR day IS NULL";
            assert_eq!(query(&self.delta, astray).await, [0]);
        }
    }
}

async fn open(place: &Place, is_by_day: bool) -> Delta {
    let options = if is_by_day { by_day() } else { DeltaOptions::default() };
    place.open(options).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn whatever_happens_the_table_holds_what_was_committed(
        is_by_day in any::<bool>(),
        events in prop::collection::vec(event(), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut table = Table::new(is_by_day).await;
            for event in events {
                table.happens(event).await;
            }
            table.happens(Event::Crash).await;
        });
    }
}
