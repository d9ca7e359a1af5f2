//! A client that applies the frames of a subscription has the newest state, however few it gets.

use proptest::prelude::*;
use serde_json::Value;

use super::super::diff::tests::result;
use super::super::feed::History;
use super::*;

/// What happens between a feed and a client.
#[derive(Clone, Debug)]
enum Step {
    /// The feed has a new result: symbols and prices.
    Publish(Vec<(u8, i64)>),
    /// The feed could not evaluate.
    Fail,
    /// The client takes a frame, if there is one.
    Take,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rows = prop::collection::vec((0..6_u8, 0..4_i64), 0..8);
    let step = prop_oneof![
        4 => rows.prop_map(Step::Publish),
        1 => Just(Step::Fail),
        3 => Just(Step::Take),
    ];
    prop::collection::vec(step, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever states a result goes through, and whichever of them a slow client misses, its frames
    /// give it the newest, and count without holes.
    #[test]
    fn a_client_always_has_the_newest_state(steps in steps(), keyed: bool, ordered: bool) {
        let key = if keyed { &["symbol"][..] } else { &[] };
        let (sender, receiver) = watch::channel(News::Pending);
        let mut subscription = Subscription::new(receiver, Arc::default());
        let mut history = History::default();
        let mut client = Client::default();
        let mut newest: Option<Vec<Value>> = None;
        for step in steps.into_iter().chain([Step::Take]) {
            match step {
                Step::Publish(rows) => {
                    let result = result(key, ordered, &rows);
                    newest = Some(result.rows.iter().map(|row| parse(row.json.get())).collect());
                    let news = history.add(result, &sender.borrow());
                    if let Some(news) = news {
                        sender.send_replace(news);
                    }
                }
                Step::Fail => {
                    let problem = Arc::new(Problem::unavailable("the lake does not answer"));
                    sender.send_replace(News::Failed { problem, retrying: true });
                    newest = None;
                }
                Step::Take => {
                    if let Some(frame) = subscription.frame(Some("a")) {
                        client.apply(&parse(&frame.text));
                    }
                    let (has, shall) = (client.rows.clone(), newest.clone());
                    if ordered {
                        prop_assert_eq!(has, shall);
                    } else {
                        prop_assert_eq!(has.map(sorted), shall.map(sorted));
                    }
                }
            }
        }
    }
}

/// A client, exactly as the reference page says; without rows while they are old.
#[derive(Default)]
struct Client {
    seq: u64,
    key: Option<Vec<usize>>,
    rows: Option<Vec<Value>>,
}

impl Client {
    fn apply(&mut self, frame: &Value) {
        assert_eq!(frame["id"], "a");
        if frame.get("error").is_some() {
            assert_eq!(frame["retrying"], true);
            self.rows = None;
            return;
        }
        self.seq += 1;
        assert_eq!(frame["seq"], self.seq);
        match frame.get("snapshot") {
            Some(snapshot) => self.replace(snapshot),
            None => self.change(frame),
        }
    }

    fn replace(&mut self, snapshot: &Value) {
        let names: Vec<&Value> = list(&snapshot["columns"]).map(|column| &column["name"]).collect();
        let place = |name: &Value| names.iter().position(|other| *other == name);
        self.key =
            snapshot["key"].is_array().then(|| list(&snapshot["key"]).filter_map(place).collect());
        self.rows = Some(list(&snapshot["rows"]).cloned().collect());
    }

    fn change(&mut self, delta: &Value) {
        let mut rows = self.rows.take().expect("a delta follows a snapshot");
        for gone in list(&delta["delete"]) {
            let place = rows.iter().position(|row| self.key_of(row) == *gone);
            rows.remove(place.expect("a row that is deleted was there"));
        }
        for row in list(&delta["upsert"]) {
            let is_same =
                |other: &Value| self.key.is_some() && self.key_of(other) == self.key_of(row);
            match rows.iter().position(is_same) {
                Some(place) => rows[place] = row.clone(),
                None => rows.push(row.clone()),
            }
        }
        if let Some(order) = delta["order"].as_array() {
            let place = |place: &Value| usize::try_from(place.as_u64().unwrap()).unwrap();
            rows = order.iter().map(|index| rows[place(index)].clone()).collect();
        }
        self.rows = Some(rows);
    }

    fn key_of(&self, row: &Value) -> Value {
        match &self.key {
            Some(places) => places.iter().map(|&place| row[place].clone()).collect(),
            None => row.clone(),
        }
    }
}

/// The elements of an array; none when there is none.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn sorted(rows: Vec<Value>) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort();
    rows
}
