//! When a shape is learned, kept and used; that its rows are right is shown in `json/tests`.

use super::*;
use crate::codecs::json::{JsonConfig, JsonDecoder};
use crate::codecs::testing::{columns, frames};
use thalweg_core::decode::Decoder;

/// Decodes flat rows and tells how many took a shape.
#[track_caller]
fn check(texts: &[String], by_shape: u64) {
    let wanted = ["s text not null", "p double", "t timestamp", "i bigint", "c double from k.c"];
    let config = JsonConfig { columns: columns(&wanted), ..JsonConfig::default() };
    let mut decoder = JsonDecoder::new(&config).expect("a valid config");
    let decoded = decoder.decode(&frames(texts)).expect("no internal error");
    assert_eq!(decoded.rows.num_rows(), texts.len(), "{:?}", decoded.rejects);
    assert_eq!(decoder.rows_by_shape(), by_shape);
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_literal_is_equal_or_not_at_every_length() {
    let text = b"{\"price\":1.5,\"symbol\":\"AAPL\"}";
    for start in 0..text.len() {
        for end in start..=text.len() {
            let literal = Literal::new(&text[start..end]);
            assert_eq!(literal.pass(Scan { bytes: text }, start), Some(end));
            assert_eq!(literal.pass(Scan { bytes: &text[..end] }, start), Some(end));
            if end > start {
                assert_eq!(literal.pass(Scan { bytes: &text[..end - 1] }, start), None);
                let mut other = text.to_vec();
                other[end - 1] ^= 1;
                assert_eq!(literal.pass(Scan { bytes: &other }, start), None);
            }
        }
    }
}

#[test]
fn one_shape_serves_what_nobody_wants_and_nulls() {
    check(
        &texts(&[
            r#"{"s":"A","x":1,"p":1.5,"t":1703258644022,"i":7}"#,
            r#"{"s":"naïve","x":[1,{"a":"}"}],"p":1e3,"t":null,"i":-7}"#,
            r#"{"s":"q\"","x":null,"p":null,"t":0,"i":null}"#,
            r#"{"s":"","x":"}","p":0.1234567890123456789,"t":1,"i":0}"#,
        ]),
        3,
    );
}

#[test]
fn nested_columns_are_part_of_a_shape() {
    check(
        &texts(&[
            r#"{"s":"A","k":{"x":true,"c":1.5}}"#,
            r#"{"s":"B","k":{"x":[],"c":2}}"#,
            r#"{"s":"C","k":null}"#,
            r#"{"s":"D","k":{"x":0,"c":null}}"#,
        ]),
        2,
    );
}

#[test]
fn what_has_no_shape_is_decoded_all_the_same() {
    check(
        &texts(&[
            r#"{"\u0073":"A"}"#,
            r#"{"\u0073":"A"}"#,
            r#"{"s":"A","s":"B"}"#,
            r#"{"s":"A","s":"B"}"#,
            r#"{"k":{"c":1},"s":"A","k":{}}"#,
            r#"{"k":{"c":1},"s":"A","k":{}}"#,
        ]),
        0,
    );
}

#[test]
fn a_feed_that_changes_is_learned_again() {
    let mut all: Vec<String> =
        (0..SHAPES_MAX).map(|n| format!("{{\"s\":\"A\",\"x{n}\":1}}")).collect();
    let misses = RELEARN_EVERY as usize;
    all.extend(vec!["{\"new\":1,\"s\":\"A\"}".to_owned(); misses + 10]);
    check(&all, 10);
}
