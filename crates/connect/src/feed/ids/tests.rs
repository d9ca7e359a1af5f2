//! Ids and sequence numbers: what is missing, what comes again, what begins anew.

use bytes::Bytes;
use thalweg_core::frame::FrameSpan;

use super::*;

fn rule(scope: IdScope) -> IdRule {
    let (rows, id) = match scope {
        IdScope::Key(_) => ("$.data[*]", "i"),
        IdScope::Connection => ("$", "$.n"),
    };
    IdRule { rows: Some(rows.parse().expect("a path")), only_if: None, id: id.to_owned(), scope }
}

fn by_key() -> IdWatch {
    IdWatch::new("trades", 0, &rule(IdScope::Key("s".to_owned()))).expect("a rule")
}

/// Frames received a millisecond apart.
fn frames(texts: &[&str], from: Offset) -> Frames {
    let mut frames = Frames { data: Bytes::from(texts.concat()), ..Frames::default() };
    let mut start = 0;
    for (offset, text) in (from..).zip(texts) {
        let len = u32::try_from(text.len()).expect("a short text");
        let received_at = Timestamp::from_millis(offset);
        frames.spans.push(FrameSpan { start, len, offset, received_at });
        start += len;
    }
    frames
}

/// Key, first and last missing id of each gap.
fn shown(rows: &[GapRow]) -> Vec<String> {
    let line = |(_, gap): &GapRow| {
        let (first, last) = gap.ids.expect("it is of ids");
        format!("{} {first}–{last}", gap.key)
    };
    rows.iter().map(line).collect()
}

#[test]
fn what_is_missing_between_two_ids_of_a_key_is_a_gap() {
    let mut watch = by_key();
    let rows = watch.look(
        &frames(
            &[
                r#"{"data":[{"s":"A","i":7},{"s":"B","i":100}]}"#,
                r#"{"data":[{"s":"A","i":8}]}"#,
                "no JSON",
                r#"{"data":[{"s":"A","i":12},{"s":"B","i":101}]}"#,
                r#"{"data":[{"s":"B","i":103}]}"#,
            ],
            0,
        ),
        5,
    );
    let rows = rows.expect("frames decode");
    assert_eq!(shown(&rows), ["A 9–11", "B 102–102"]);
    let (id, gap) = &rows[0];
    assert_eq!(id, "trades/0/ids/00000000000000001000/A/00000000000000000009");
    assert_eq!((gap.from, gap.to), (Timestamp(1_000), Some(Timestamp(3_000))));
    assert_eq!(gap.reason, "ids 9 to 11 are missing");
    assert_eq!(rows[1].1.reason, "id 102 is missing");
}

#[test]
fn repeats_and_lists_that_begin_with_the_newest_are_no_gaps() {
    let mut watch = by_key();
    let rows = watch.look(
        &frames(
            &[
                r#"{"data":[{"s":"A","i":9},{"s":"A","i":8},{"s":"A","i":7}]}"#,
                r#"{"data":[{"s":"A","i":9},{"s":"A","i":10},{"s":"A","i":7}]}"#,
                r#"{"data":[{"s":"A","i":11}]}"#,
            ],
            0,
        ),
        3,
    );
    assert_eq!(shown(&rows.expect("frames decode")), [""; 0]);
}

#[test]
fn ids_of_a_key_go_on_over_connections_and_processes() {
    let mut watch = by_key();
    watch.look(&frames(&[r#"{"data":[{"s":"A","i":7}]}"#], 0), 1).expect("frames decode");
    watch.connected();
    let value = serde_json::to_value(watch.note()).expect("a note is JSON");
    let mut next = by_key();
    next.resume(IdNote::deserialize(value).expect("it was one"));
    assert_eq!(next.note().next, 1);
    let rows = next.look(&frames(&[r#"{"data":[{"s":"A","i":9}]}"#], 1), 2).expect("they decode");
    assert_eq!(shown(&rows), ["A 8–8"]);
}

#[test]
fn messages_of_a_connection_are_counted_anew_by_the_next() {
    let mut watch = IdWatch::new("t", 0, &rule(IdScope::Connection)).expect("a rule");
    let rows = watch.look(&frames(&[r#"{"n":0}"#, r#"{"n":3}"#], 0), 2).expect("they decode");
    assert_eq!(shown(&rows), ["* 1–2"]);
    assert_eq!(rows[0].1.reason, "messages 1 to 2 are missing");
    watch.connected();
    let rows = watch.look(&frames(&[r#"{"n":9}"#, r#"{"n":10}"#], 2), 4).expect("they decode");
    assert_eq!(shown(&rows), [""; 0]);
}

#[test]
fn ids_at_the_ends_of_their_range_do_no_harm() {
    let mut watch = by_key();
    let texts = [
        format!(r#"{{"data":[{{"s":"A","i":{}}}]}}"#, i64::MAX),
        format!(r#"{{"data":[{{"s":"A","i":{}}},{{"s":"B","i":{}}}]}}"#, i64::MIN, i64::MIN),
        format!(r#"{{"data":[{{"s":"B","i":{}}}]}}"#, i64::MAX),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let rows = watch.look(&frames(&texts, 0), 3).expect("frames decode");
    assert_eq!(shown(&rows), [format!("B {}–{}", i64::MIN + 1, i64::MAX - 1)]);
}
