//! Paths and conditions: what is read, what is refused, what holds.

use super::*;

#[test]
fn paths_are_written_as_they_are_read() {
    for text in [
        "s",
        "k.c",
        "a[0]",
        "levels[0][1]",
        "[3]",
        "$",
        "$[*]",
        "$.data[*]",
        "$.a.b[*]",
        "$[1][*]",
        "$.events[*].trades[*]",
        "24H CHANGE",
        "a['b.c']",
        "$['a b']",
    ] {
        let path: JsonPath = text.parse().expect(text);
        let again: JsonPath = path.to_string().parse().expect(text);
        assert_eq!(path, again, "{text} was written as {path}");
    }
    let path: JsonPath = "$.a.b[*]".parse().expect("a path");
    assert_eq!(path.to_string(), "$.a.b[*]");
}

#[test]
fn what_is_not_a_path_is_refused() {
    for text in ["", ".", "a.", "a..b", "a[", "a[x]", "a[-1]", "a['b", "$x", "a]b[0"] {
        let parsed = text.parse::<JsonPath>();
        // A bare key may hold a bracket that closes nothing.
        assert_eq!(parsed.is_ok(), text == "a]b[0]", "{text:?}: {parsed:?}");
    }
}

#[track_caller]
fn check(condition: &str, raw: Option<&str>, expected: bool) {
    let condition: Condition = condition.parse().expect(condition);
    assert_eq!(condition.holds(raw.map(str::as_bytes)), expected, "{condition:?} of {raw:?}");
}

#[test]
fn conditions_compare_as_sql_does() {
    check("$.type = 'trade'", Some("\"trade\""), true);
    check("$.type='trade'", Some("\"tr\\u0061de\""), true);
    check("$.type = 'it''s'", Some("\"it's\""), true);
    check("$.type = 'trade'", Some("\"trades\""), false);
    check("$.type = '5'", Some("5"), false);
    check("$.type != 'trade'", Some("\"ping\""), true);
    check("$.type <> 'trade'", Some("7"), true);
    check("$.code = 5", Some("5.0"), true);
    check("$.code = -1121", Some("-1121"), true);
    check("$.k.x = true", Some("true"), true);
    check("$.k.x = false", Some("true"), false);
    check("$.type in ('match', 'last_match')", Some("\"last_match\""), true);
    check("$.type NOT IN ('a',1 , true)", Some("1"), false);
    check("$.type not in ('a', 1)", Some("2"), true);
    check("$.result is null", None, true);
    check("$.result IS NULL", Some("null"), true);
    check("$.result is not null", Some("[]"), true);
    for condition in ["$.a = 'b'", "$.a != 'b'", "$.a in ('b')", "$.a not in ('b')"] {
        check(condition, None, false);
        check(condition, Some("null"), false);
    }
}

#[test]
fn what_is_not_a_condition_is_refused() {
    for text in [
        "",
        "$.a",
        "$.a =",
        "$.a = b",
        "$.a = 'b",
        "$.a = 'b' and $.c = 'd'",
        "$.a is",
        "$.a is nul",
        "$.a in ()",
        "$.a in ('b'",
        "$.a in 'b'",
        "= 'b'",
        "$.a == 'b'",
        "$.a = NaN",
        "$.a isnull",
    ] {
        assert!(text.parse::<Condition>().is_err(), "{text:?}");
    }
}
