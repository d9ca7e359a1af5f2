//! The recogniser accepts what `serde_json` accepts, and nothing else.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::codecs::testing::{cases, recorded};

#[track_caller]
fn check(bytes: &[u8]) {
    let expected = serde_json::from_slice::<Value>(bytes);
    assert_eq!(
        is_json(bytes),
        expected.is_ok(),
        "{:?}: {:?}",
        String::from_utf8_lossy(bytes),
        expected.err()
    );
}

#[test]
fn edges() {
    for text in [
        "",
        " ",
        "null",
        "nul",
        "nulll",
        "true",
        "false",
        "False",
        "[]",
        "[ ]",
        "{}",
        "{ }",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "[1 2]",
        "[[[]]]",
        "[}",
        "{]",
        "\"",
        "\"\\\"",
        "\"\\\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\\ud83dx\"",
        "\"a\tb\"",
        "\"a\u{7f}b\"",
        "\"日本語 naïve\"",
        "\u{feff}{}",
        "{}\u{0}",
        "\u{0}",
        "[1]\n",
        "\r\n[1]",
        "{\"a\":{\"b\":[1,{}]}}",
        "[1e400]",
        "[-]",
        "{\"\":0}",
        "{\"a\\\"b\" :1 , \"c\":\"\\/\"}",
    ] {
        check(text.as_bytes());
    }
    check(b"\"\xff\"");
    check(b"\"1234567\xc3\"");
    check(b"\xc3\xa9");
}

#[test]
fn nesting_ends_where_serde_json_ends_it() {
    for depth in 120..135 {
        check(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
        let objects = "{\"a\":".repeat(depth);
        check(format!("{objects}1{}", "}".repeat(depth)).as_bytes());
    }
    check("[".repeat(1_000_000).as_bytes());
}

#[test]
fn the_json_test_suite_is_judged_as_serde_json_judges_it() {
    let Some(folder) = recorded("robustness/json-test-suite") else { return };
    let mut files = 0;
    for kind in std::fs::read_dir(folder).expect("a folder") {
        let Ok(kind) = std::fs::read_dir(kind.expect("an entry").path()) else { continue };
        for file in kind {
            let file = file.expect("an entry").path();
            let bytes = std::fs::read(&file).expect("a file");
            check(&bytes);
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("y_") {
                assert!(is_json(&bytes), "{name}");
            } else if name.starts_with("n_") {
                assert!(!is_json(&bytes), "{name}");
            }
            files += 1;
        }
    }
    assert!(files > 200, "only {files} files of the suite");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases() * 5))]

    #[test]
    fn tokens_in_any_order(tokens in prop::collection::vec(token(), 0..24)) {
        check(tokens.concat().as_bytes());
    }

    #[test]
    fn values_with_a_byte_changed(value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = value.into_bytes();
        check(&bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check(&bytes);
        bytes.truncate(at);
        check(&bytes);
    }

    /// Nothing behind the end of a string is looked at, wherever its end falls in a word.
    #[test]
    fn strings_of_every_length(text in "[ -~é日\\\\\"\u{0}-\u{1f}]{0,40}") {
        check(format!("\"{text}\"").as_bytes());
        check(serde_json::to_string(&text).expect("a string").as_bytes());
    }
}

fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "{", "}", "[", "]", ":", ",", "\"a\"", "\"b\\n\"", "1", "-2.5e3", "true", "null", " ",
        "{}", "[]", "\"a\":1", "[1,2]", "\\", "\"",
    ])
}

/// A valid value as text.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<f64>()
            .prop_filter("JSON has no such number", |x| x.is_finite())
            .prop_map(|x| x.to_string()),
        ".{0,12}".prop_map(|text| serde_json::to_string(&text).expect("a string")),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec(("[a-c]{0,2}", inner), 0..5).prop_map(|fields| {
                let fields: Vec<_> = fields.iter().map(|(k, v)| format!("\"{k}\" :{v}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}
