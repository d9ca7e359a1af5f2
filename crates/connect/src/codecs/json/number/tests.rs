//! Numbers against `str::parse` and `serde_json`, with all kinds of bytes behind them.

use proptest::prelude::*;

use super::*;
use crate::codecs::testing::cases;

/// What `serde_json` takes for a number, as a double.
fn oracle(text: &str) -> Option<f64> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Number(number)) => number.as_f64(),
        _ => None,
    }
}

#[track_caller]
fn check(text: &str, behind: &str) {
    let frame = format!("{text}{behind}");
    let scan = Scan { bytes: frame.as_bytes() };
    let expected = oracle(text).map(|value| (value.to_bits(), text.len()));
    let found = double(scan, 0).map(|(value, end)| (value.to_bits(), end));
    assert_eq!(found, expected, "double {frame:?}");
    assert_eq!(end(scan, 0), expected.map(|(_, end)| end), "end {frame:?}");
    let is_whole = expected.is_some() && !text.contains(['.', 'e', 'E']);
    let expected = text.parse::<i64>().ok().filter(|_| is_whole);
    assert_eq!(integer(scan, 0), expected.map(|value| (value, text.len())), "integer {frame:?}");
}

#[test]
fn edges() {
    for text in [
        "0",
        "-0",
        "-0.0",
        "0.0",
        "1",
        "12345678",
        "1234567.8",
        "123456.7",
        "99999999.99999999",
        "9007199254740993",
        "0.1",
        "1e22",
        "1E+5",
        "1.5e-3",
        "4.9e-324",
        "2.2250738585072011e-308",
        "1.7976931348623157e308",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "18446744073709551616",
        "123456789012345678901234567890.5",
        "10000000",
        "100000000",
        "1000000000000000",
        "1703624240000",
        "0.00000000000000000001",
        // Refused: not numbers of JSON, or beyond a double.
        "-",
        "01",
        "-01",
        "00.5",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e+",
        "1.e5",
        "1e400",
        "-1e400",
        "NaN",
    ] {
        for behind in ["", ",", "}", "]", " ", "\"", "\u{0}", ",\"v\":1.5}"] {
            let is_prefix_only = oracle(text).is_none();
            if !is_prefix_only || behind.is_empty() {
                check(text, behind);
            }
        }
    }
    check(&format!("1{}", "0".repeat(308)), ",");
    assert_eq!(end(Scan { bytes: format!("1{}", "0".repeat(309)).as_bytes() }, 0), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases() * 5))]

    #[test]
    fn short_decimals(
        text in "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,9})?",
        behind in "([,}\\] \"][,}0-9.eE]{0,9})?",
    ) {
        check(&text, &behind);
    }

    #[test]
    fn all_decimals(
        text in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?",
        behind in "([,}\\] \"].{0,9})?",
    ) {
        check(&text, &behind);
    }

    #[test]
    fn doubles_come_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        check(&format!("{value}"), ",");
        check(&format!("{value:e}"), "}");
    }

    #[test]
    fn what_looks_like_a_number(text in "[-+0-9.eE]{1,24}") {
        check_whole(&text);
    }
}

/// A text of the characters of a number: taken whole exactly when it is one.
#[track_caller]
fn check_whole(text: &str) {
    let scan = Scan { bytes: text.as_bytes() };
    let takes_all = |end: Option<usize>| end == Some(text.len());
    assert_eq!(takes_all(end(scan, 0)), oracle(text).is_some(), "{text:?}");
    if let Some((value, end)) = double(scan, 0) {
        assert_eq!(oracle(&text[..end]).map(f64::to_bits), Some(value.to_bits()), "{text:?}");
    }
}
