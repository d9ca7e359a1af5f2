//! The rules of JSON decoding, one table a rule; learned and unlearned ways held to the same rows.

mod fuzz;
mod recorded;
mod reference;

use thalweg_core::frame::FRAME_BYTES_MAX;
use thalweg_core::schema::EpochUnit;

use super::*;
use crate::codecs::testing::{assert_balanced, column, columns, frames, show};

/// The columns of a Finnhub trade.
fn trade_columns() -> Vec<Column> {
    columns(&[
        "symbol text not null from s",
        "price double not null from p",
        "volume double not null from v",
        "ts timestamp not null from t",
    ])
}

fn config(columns: Vec<Column>) -> JsonConfig {
    JsonConfig { columns, ..JsonConfig::default() }
}

fn path(text: &str) -> JsonPath {
    text.parse().expect("a path")
}

fn condition(text: &str) -> Condition {
    text.parse().expect("a condition")
}

/// The wire format of Finnhub, as its preset describes it.
fn finnhub() -> JsonConfig {
    JsonConfig {
        columns: trade_columns(),
        rows: Some(path("$.data[*]")),
        only_if: Some(condition("$.type = 'trade'")),
        notices: vec![NoticeRule { when: condition("$.type = 'error'"), message: path("$.msg") }],
    }
}

/// Decodes the texts three times in one go, so that later ones meet learned shapes, and expects
/// each time, shapes or not, what `expected` shows of the first.
#[track_caller]
fn check(config: &JsonConfig, texts: &[&str], expected: &str) {
    let input = frames(texts);
    let mut decoder = JsonDecoder::new(config).expect("a valid config");
    let mut unlearned = JsonDecoder::without_shapes(config).expect("a valid config");
    for _ in 0..3 {
        for decoder in [&mut decoder, &mut unlearned] {
            let decoded = decoder.decode(&input).expect("no internal error");
            assert_balanced(&decoded, &input);
            assert_eq!(decoded.rows.schema(), *decoder.schema());
            assert_eq!(show(&decoded), expected);
        }
    }
    assert_eq!(unlearned.rows_by_shape(), 0);
}

/// One row with one column `x`, from a flat object.
#[track_caller]
fn check_value(declared: Column, value: &str, expected: &str) {
    let text = format!("{{\"x\":{value}}}");
    check(&config(vec![declared]), &[&text], &format!("{expected}\n"));
}

#[test]
fn each_type_accepts_its_forms() {
    for (kind, value, expected) in [
        ("text", "\"a\\nb\\u00e9\\ud83d\\ude00\"", "0.0 x=a\nbé😀"),
        ("text", "5", "! 0.0 x: expected a string, found 5"),
        ("boolean", "true", "0.0 x=true"),
        ("boolean", "\"F\"", "0.0 x=false"),
        ("boolean", "1", "! 0.0 x: expected true or false, found 1"),
        ("int", "-7", "0.0 x=-7"),
        ("int", "\"7\"", "0.0 x=7"),
        ("int", "3000000000", "! 0.0 x: 3000000000 does not fit int"),
        ("bigint", "3000000000", "0.0 x=3000000000"),
        ("bigint", "1.0", "! 0.0 x: expected a whole number, found 1.0"),
        ("bigint", "1e3", "! 0.0 x: expected a whole number, found 1e3"),
        ("bigint", "18239578009413566319", "! 0.0 x: 18239578009413566319 does not fit bigint"),
        ("real", "0.1", "0.0 x=0.1"),
        ("real", "1e39", "! 0.0 x: 1e39 does not fit real"),
        ("double", "8e-05", "0.0 x=0.00008"),
        ("double", "\"61837.63000000\"", "0.0 x=61837.63"),
        ("double", "\"abc\"", "! 0.0 x: expected a number, found \"abc\""),
        ("double", "\"\"", "! 0.0 x: expected a number, found \"\""),
        ("double", "\"NaN\"", "! 0.0 x: \"NaN\" is not a finite number"),
        ("double", "true", "! 0.0 x: expected a number, found true"),
        ("double", "[1]", "! 0.0 x: expected a number, found an array"),
        ("double", "{\"a\":1}", "! 0.0 x: expected a number, found an object"),
        ("decimal(24,10)", "105944.20", "0.0 x=105944.2000000000"),
        ("decimal(24,10)", "\"0.0000000001\"", "0.0 x=0.0000000001"),
        ("decimal(4,2)", "0.125", "! 0.0 x: 0.125 does not fit decimal(4,2)"),
        ("date", "\"2023-12-22\"", "0.0 x=2023-12-22"),
        ("date", "20231222", "! 0.0 x: expected a date such as 2023-12-22, found 20231222"),
        ("timestamp", "1703258644022", "0.0 x=2023-12-22T15:24:04.022Z"),
        ("timestamp", "1703258644022.5", "0.0 x=2023-12-22T15:24:04.022500Z"),
        ("timestamp", "\"2023-12-22T15:24:04.022Z\"", "0.0 x=2023-12-22T15:24:04.022Z"),
        (
            "timestamp",
            "\"soon\"",
            "! 0.0 x: expected a time such as 2023-12-22T15:24:04Z, or a number, found \"soon\"",
        ),
        ("json", "{ \"a\" : [1.50, null] }", "0.0 x={ \"a\" : [1.50, null] }"),
        ("json", "\"text\"", "0.0 x=\"text\""),
        ("json", "1.50", "0.0 x=1.50"),
        ("bytes", "\"aGk=\"", "0.0 x=6869"),
        ("bytes", "\"?\"", "! 0.0 x: expected base64, found \"?\""),
    ] {
        check_value(column(&format!("x {kind}")), value, expected);
        check_value(column(&format!("x {kind} not null")), value, expected);
        check_value(column(&format!("x {kind}")), "null", "0.0 x=null");
        let refused = "! 0.0 x: null in a column that is not null";
        check_value(column(&format!("x {kind} not null")), "null", refused);
    }
}

#[test]
fn units_and_permission_belong_to_the_column() {
    let mut seconds = column("x timestamp");
    seconds.unit = Some(EpochUnit::Seconds);
    check_value(seconds.clone(), "1703258644", "0.0 x=2023-12-22T15:24:04Z");
    check_value(seconds.clone(), "\"1703258644.022\"", "0.0 x=2023-12-22T15:24:04.022Z");
    check_value(seconds, "1e300", "! 0.0 x: 1e300 does not fit timestamp");
    let mut allowing = column("x double");
    allowing.allow_nan = true;
    check_value(allowing.clone(), "\"NaN\"", "0.0 x=NaN");
    check_value(allowing, "\"-Infinity\"", "0.0 x=-inf");
}

#[test]
fn a_long_value_is_cut_in_the_reason() {
    let value = format!("\"{}\"", "é".repeat(500));
    let shown = format!("\"{}…", "é".repeat(29));
    let expected = format!("! 0.0 x: expected a number, found {shown} (1002 bytes)");
    check_value(column("x double"), &value, &expected);
}

#[test]
fn columns_are_found_by_path() {
    let wanted = columns(&[
        "flat text",
        "c double from k.c",
        "deep bigint from k.d.e",
        "first text from a[0]",
        "second double from a[1].p",
        "odd text from ['x.y']",
        "all json from k",
    ]);
    check(
        &config(wanted),
        &[
            r#"{"flat":"f","k":{"x":[1,{"c":9}],"c":1.5,"d":{"e":7}},"a":["z",{"p":"2"}],"x.y":"o"}"#,
            r#" { "a" : [ "z" ] , "k" : null } "#,
            r#"{"k":{"c":null,"d":null},"a":[null,null,3]}"#,
            "{}",
        ],
        "0.0 flat=f c=1.5 deep=7 first=z second=2.0 odd=o \
         all={\"x\":[1,{\"c\":9}],\"c\":1.5,\"d\":{\"e\":7}}\n\
         1.0 flat=null c=null deep=null first=z second=null odd=null all=null\n\
         2.0 flat=null c=null deep=null first=null second=null odd=null \
         all={\"c\":null,\"d\":null}\n\
         3.0 flat=null c=null deep=null first=null second=null odd=null all=null\n",
    );
}

#[test]
fn a_changed_kind_on_the_way_to_a_column_is_refused() {
    let wanted = columns(&["c double from k.c", "e text from k.d.e", "first text from a[0]"]);
    check(
        &config(wanted),
        &[r#"{"k":5}"#, r#"{"k":{"d":"x"}}"#, r#"{"a":{"0":"z"}}"#, r#"{"k":[]}"#],
        "! 0.0 c: expected an object at `k`, found 5\n\
         ! 1.0 e: expected an object at `k.d`, found \"x\"\n\
         ! 2.0 first: expected an array at `a`, found an object\n\
         ! 3.0 c: expected an object at `k`, found an array\n",
    );
}

#[test]
fn of_equal_keys_the_last_counts_and_unknown_ones_are_ignored() {
    let wanted = columns(&["x bigint", "c bigint from k.c", "d bigint from k.d"]);
    check(
        &config(wanted),
        &[
            r#"{"x":1,"x":2}"#,
            r#"{"x":"a","y":{"x":[3]},"\u0078":2}"#,
            r#"{"x":2,"k":{"c":1},"k":{"d":2}}"#,
            r#"{"x":2,"k":{"c":1},"k":null}"#,
            r#"{"x":1,"x":null}"#,
        ],
        "0.0 x=2 c=null d=null\n1.0 x=2 c=null d=null\n2.0 x=2 c=null d=2\n\
         3.0 x=2 c=null d=null\n4.0 x=null c=null d=null\n",
    );
}

#[test]
fn a_missing_value_is_null_or_a_reject() {
    let wanted = columns(&["a bigint", "b bigint not null"]);
    check(
        &config(wanted),
        &[r#"{"a":1}"#, r#"{"b":1}"#, r#"{"a":null,"b":null}"#],
        "1.0 a=null b=1\n! 0.0 b: missing\n! 2.0 b: null in a column that is not null\n",
    );
}

#[test]
fn one_value_may_feed_several_columns() {
    let wanted = columns(&["price double from p", "exact decimal(10,4) from p", "raw json from p"]);
    check(&config(wanted), &[r#"{"p":1.50}"#], "0.0 price=1.5 exact=1.5000 raw=1.50\n");
}

#[test]
fn the_rows_of_a_frame_keep_their_numbers() {
    check(
        &finnhub(),
        &[
            r#"{"data":[{"c":["1","12"],"p":226.89,"s":"AAPL","t":1731599126006,"v":30},
                {"c":null,"p":"?","s":"AAPL","t":1731599126006,"v":30}, 7 ,
                {"p":43694,"s":"BINANCE:BTCUSDT","t":1731599126007,"v":8e-05}],"type":"trade"}"#,
            r#"{"type":"trade","data":[]}"#,
        ],
        "0.0 symbol=AAPL price=226.89 volume=30.0 ts=2024-11-14T15:45:26.006Z\n\
         0.3 symbol=BINANCE:BTCUSDT price=43694.0 volume=0.00008 ts=2024-11-14T15:45:26.007Z\n\
         ! 0.1 price: expected a number, found \"?\"\n\
         ! 0.2 expected the row to be an object, found 7\n",
    );
}

#[test]
fn frames_of_no_interest_are_filtered_and_errors_of_the_feed_told() {
    check(
        &finnhub(),
        &[
            r#"{"type":"ping"}"#,
            r#"{"msg":"Subscribing to too many symbols","type":"error"}"#,
            r#"{"type":"error","msg":{"code":7}}"#,
            r#"{"type":"error"}"#,
            "",
            " \r\n",
            "[]",
            r#"{"data":[{"s":"A","p":1,"v":1,"t":1},{"s":5}],"type":"status"}"#,
        ],
        "? Subscribing to too many symbols\n? {\"code\":7}\n? {\"type\":\"error\"}\nfiltered 8\n",
    );
}

#[test]
fn only_the_newest_notices_are_kept() {
    let texts: Vec<_> =
        (0..20).map(|n| format!("{{\"type\":\"error\",\"msg\":\"{n}\"}}")).collect();
    let decoded = JsonDecoder::new(&finnhub())
        .and_then(|mut decoder| decoder.decode(&frames(&texts)))
        .expect("no internal error");
    assert_eq!(decoded.frames.filtered, 20);
    assert_eq!(decoded.notices.len(), NOTICES_MAX);
    assert_eq!(decoded.notices.last().map(String::as_str), Some("19"));
}

#[test]
fn a_frame_that_is_not_json_is_refused_with_its_place() {
    let mut texts: Vec<Vec<u8>> = [
        &b"{\"s\":\"A\",\"p\":1,\"v\":1,\"t\":1"[..],
        b"{\"s\":\"A\"} x",
        b"{\"s\":\"\xff\"}",
        b"{\"s\":\"\\ud800\"}",
        b"{\"n\":1e999}",
        b"PING",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    texts.push("[".repeat(1000).into_bytes());
    let input = frames(&texts);
    let decoded = JsonDecoder::new(&config(trade_columns()))
        .and_then(|mut decoder| decoder.decode(&input))
        .expect("no internal error");
    assert_balanced(&decoded, &input);
    let odd = "! {} not JSON: deeper than 127 levels, a number beyond a double, or half a \
               surrogate pair\n";
    assert_eq!(
        show(&decoded),
        format!(
            "! 0 not JSON: EOF while parsing an object at line 1 column 26\n\
             ! 1 not JSON: trailing characters at line 1 column 11\n\
             ! 2 not UTF-8 at byte 6\n\
             {}{}\
             ! 5 not JSON: expected value at line 1 column 1\n\
             ! 6 not JSON: EOF while parsing a list at line 1 column 1000\n\
             quarantined 7\n",
            odd.replace("{}", "3"),
            odd.replace("{}", "4")
        )
    );
}

#[test]
fn a_frame_without_the_way_to_its_rows_is_refused() {
    let wanted = || columns(&["x bigint"]);
    let with_rows = |rows: &str| JsonConfig { rows: Some(path(rows)), ..config(wanted()) };
    check(
        &with_rows("$.a.b[*]"),
        &[
            "{}",
            r#"{"a":{}}"#,
            r#"{"a":7}"#,
            r#"{"a":{"b":{}}}"#,
            r#"{"a":{"b":null}}"#,
            "7",
            r#"{"a":{"b":[{"x":1}]},"a":{}}"#,
            r#"{"a":7,"a":{"b":[{"x":1}],"b":[{"x":2},{}]}}"#,
        ],
        "7.0 x=2\n7.1 x=null\n\
         ! 0 rows: nothing at `$.a.b[*]`\n\
         ! 1 rows: nothing at `$.a.b[*]`\n\
         ! 2 rows: expected an object at `$.a`, found 7\n\
         ! 3 rows: expected an array at `$.a.b`, found an object\n\
         ! 4 rows: expected an array at `$.a.b`, found null\n\
         ! 5 rows: expected an object at `$`, found 7\n\
         ! 6 rows: nothing at `$.a.b[*]`\n\
         quarantined 7\n",
    );
    check(
        &with_rows("$.events[*].trades[*]"),
        &[
            r#"{"events":[{"trades":[{"x":1},{"x":2}]},{},{"trades":[{"x":3}],"trades":[{"x":4}]}]}"#,
            r#"{"events":[{"trades":[{"x":1}]},{"trades":5}]}"#,
            r#"{"events":[]}"#,
        ],
        "0.0 x=1\n0.1 x=2\n0.2 x=4\n\
         ! 1 rows: expected an array at `$.events[*].trades`, found 5\nquarantined 1\n",
    );
    check(
        &with_rows("$[*]"),
        &[r#"[{"x":1},null,{"x":3}]"#, r#"{"x":1}"#],
        "0.0 x=1\n0.2 x=3\n\
         ! 0.1 expected the row to be an object, found null\n\
         ! 1 rows: expected an array at `$`, found an object\nquarantined 1\n",
    );
    check(&with_rows("$"), &["{\"x\":1}", "[]"], {
        "0.0 x=1\n! 1.0 expected the row to be an object, found an array\n"
    });
}

#[test]
fn a_row_may_be_an_array_and_take_values_of_its_frame() {
    let kraken = JsonConfig {
        columns: columns(&[
            "price decimal(18,8) not null from [0]",
            "side text not null from [3]",
            "pair text not null from $[3]",
        ]),
        rows: Some(path("$[1][*]")),
        only_if: Some(condition("$[2] = 'trade'")),
        notices: Vec::new(),
    };
    check(
        &kraken,
        &[
            r#"[993,[["354.11","0.8","1618.5","s","l",""],["354.2","1","1618.6","b"]],"trade","XMR/USD"]"#,
            r#"{"event":"heartbeat"}"#,
            r#"[993,[["1","1","1","s"]],"trade",null]"#,
            r#"[993,[],"trade",null]"#,
        ],
        "0.0 price=354.11000000 side=s pair=XMR/USD\n\
         0.1 price=354.20000000 side=b pair=XMR/USD\n\
         ! 2 pair: null in a column that is not null\nfiltered 1\nquarantined 1\n",
    );
}

#[test]
fn conditions_inside_the_one_row_of_a_frame_hold_too() {
    let binance = JsonConfig {
        columns: columns(&[
            "symbol text not null from s",
            "price double from p",
            "at text from $.stream",
        ]),
        rows: Some(path("$.data")),
        only_if: Some(condition("$.data.e = 'trade'")),
        notices: vec![NoticeRule {
            when: condition("$.error is not null"),
            message: path("$.error.msg"),
        }],
    };
    check(
        &binance,
        &[
            r#"{"stream":"b@trade","data":{"e":"trade","s":"BTCUSDT","p":"61837.63000000"}}"#,
            r#"{"stream":"b@book","data":{"e":"book","s":"BTCUSDT","p":"61837.63000000"}}"#,
            r#"{"stream":"b@book","data":{"s":"BTCUSDT","p":"61837.63000000"}}"#,
            r#"{"data":{"e":"trade","s":"BTCUSDT","p":"1"},"data":{"e":"trade","s":"B","p":"2"}}"#,
            r#"{"data":{"e":"trade","s":"BTCUSDT","p":"1"},"data":{}}"#,
            r#"{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}"#,
            r#"{"stream":"b@trade","data":{"e":"trade","p":"1"}}"#,
        ],
        "0.0 symbol=BTCUSDT price=61837.63 at=b@trade\n\
         3.0 symbol=B price=2.0 at=null\n\
         ! 6.0 symbol: missing\n\
         ? Too many subscriptions\nfiltered 4\n",
    );
}

#[test]
fn a_value_that_goes_into_every_row_must_be_short() {
    let config = JsonConfig {
        columns: columns(&["x bigint", "name text from $.name"]),
        rows: Some(path("$.rows[*]")),
        ..JsonConfig::default()
    };
    let long = format!("{{\"name\":\"{}\",\"rows\":[{{}}]}}", "n".repeat(255));
    check(
        &config,
        &[&long],
        "! 0 name: 257 bytes, and a value that goes into every row of a frame has 256 at most\n\
         quarantined 1\n",
    );
    // Where a frame is one row, nothing is repeated.
    let config = JsonConfig {
        columns: columns(&["x bigint", "frame json from $"]),
        rows: Some(path("$.row")),
        ..JsonConfig::default()
    };
    let long = format!("{{\"name\":\"{}\",\"row\":{{}}}}", "n".repeat(255));
    check(&config, &[&long], &format!("0.0 x=null frame={long}\n"));
}

#[test]
fn a_frame_has_a_bounded_length() {
    let long = " ".repeat(FRAME_BYTES_MAX) + "7";
    let expected = "! 0 10000001 bytes, and a frame has 10000000 at most\nquarantined 1\n";
    check(&config(columns(&["x bigint"])), &[&long], expected);
}

#[test]
fn a_frame_holds_a_million_rows_at_most() {
    let config = JsonConfig { rows: Some(path("$[*]")), ..config(columns(&["x bigint"])) };
    let million = format!("[{}{{}}]", "{},".repeat(999_999));
    let more = format!("[{}{{}}]", "{},".repeat(1_000_000));
    let decoded = JsonDecoder::new(&config)
        .and_then(|mut decoder| decoder.decode(&frames(&[million, more])))
        .expect("no internal error");
    assert_eq!(decoded.rows.num_rows(), 1_000_000);
    let reasons: Vec<_> = decoded.rejects.iter().map(|reject| &*reject.reason).collect();
    assert_eq!(reasons, ["more than 1000000 rows in one frame"]);
}

#[test]
fn a_config_that_cannot_work_is_refused() {
    for (texts, rows) in [
        (&["x bigint", "x text"][..], "$"),
        (&["_offset bigint"], "$"),
        (&["x bigint from a[*]"], "$"),
        (&["x bigint from a..b"], "$"),
        (&["x bigint from $.a[*].b"], "$.a[*]"),
    ] {
        let config = JsonConfig { rows: Some(path(rows)), ..config(columns(texts)) };
        let error = JsonDecoder::new(&config).err().expect("refused");
        assert_eq!(error.kind, thalweg_core::ErrorKind::Invalid, "{texts:?}");
    }
}
