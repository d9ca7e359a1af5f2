//! Each spelling of each type, and properties against other readers of the same text.

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use proptest::prelude::*;
use thalweg_core::time::Timestamp;

use super::*;
use crate::codecs::testing::{cases, column};

#[track_caller]
fn check(kind: &str, text: &str, expected: Result<Value<'_>, Mismatch>) {
    assert_eq!(parse(&column(&format!("x {kind}")), text), expected, "{kind} from {text:?}");
}

fn bytes(text: &str) -> Result<Value<'_>, Mismatch> {
    Ok(Value::Bytes(Cow::Borrowed(text.as_bytes())))
}

const KIND: Result<Value<'_>, Mismatch> = Err(Mismatch::Kind);
const RANGE: Result<Value<'_>, Mismatch> = Err(Mismatch::Range);

#[test]
fn texts_are_kept_as_they_are() {
    for text in ["", " a ", "naïve", "null", "\0"] {
        check("text", text, bytes(text));
    }
}

#[test]
fn booleans_have_three_spellings() {
    for (text, value) in [("true", true), ("T", true), ("1", true), ("False", false), ("0", false)]
    {
        check("boolean", text, Ok(Value::Boolean(value)));
    }
    for text in ["", "yes", " true", "2", "truer"] {
        check("boolean", text, KIND);
    }
}

#[test]
fn integers_have_no_fraction_and_no_room_for_more() {
    for (text, value) in [("0", 0), ("-7", -7), ("+7", 7), ("007", 7), ("-0", 0)] {
        check("bigint", text, Ok(Value::Bigint(value)));
        check("int", text, Ok(Value::Int(value as i32)));
    }
    check("bigint", "9223372036854775807", Ok(Value::Bigint(i64::MAX)));
    check("bigint", "-9223372036854775808", Ok(Value::Bigint(i64::MIN)));
    check("bigint", "9223372036854775808", RANGE);
    check("int", "2147483647", Ok(Value::Int(i32::MAX)));
    check("int", "2147483648", RANGE);
    for text in ["", "-", "+-1", "1.0", "1e3", " 1", "1 ", "0x1", "1_000", "１"] {
        check("bigint", text, KIND);
    }
}

#[test]
fn floats_are_rounded_once() {
    for (text, value) in [("1.5", 1.5), ("-0", -0.0), (".5", 0.5), ("5.", 5.0), ("+1E3", 1e3)] {
        check("double", text, Ok(Value::Double(value)));
        check("real", text, Ok(Value::Real(value as f32)));
    }
    // Rounding to a double first would give the neighbour above.
    check("real", "1.00000017881393432617187499", Ok(Value::Real(1.000_000_1)));
    check("double", "1e-400", Ok(Value::Double(0.0)));
    check("double", "1.7976931348623159e308", RANGE);
    check("real", "3.5e38", RANGE);
    for text in ["", ".", "-", "1.2.3", "1,5", "0x10", "1e", "e1", " 1", "$1"] {
        check("double", text, KIND);
    }
}

#[test]
fn not_a_number_needs_permission() {
    let mut allowing = column("x double");
    allowing.allow_nan = true;
    for text in ["NaN", "nan", "Infinity", "-inf", "+Infinity"] {
        check("double", text, Err(Mismatch::NotFinite));
        check("real", text, Err(Mismatch::NotFinite));
        let Ok(Value::Double(value)) = parse(&allowing, text) else { panic!("{text}") };
        assert!(!value.is_finite(), "{text}");
    }
    assert_eq!(parse(&allowing, "1e400"), RANGE, "a number is not infinite by being too great");
}

#[test]
fn decimals_are_exact_or_refused() {
    for (text, value) in [
        ("0", 0),
        ("-0.000", 0),
        ("1.5", 150),
        ("-1.5", -150),
        ("1.500000000000000000000000000000000000000000000000000", 150),
        ("0.000000000000000000000000000000000000000000000001e48", 100),
        ("15000000000000000000000000000000000000000000e-43", 150),
        ("999.99", 99_999),
        ("8e-02", 8),
        ("+.25", 25),
    ] {
        check("decimal(5,2)", text, Ok(Value::Decimal(value)));
    }
    for text in ["1000", "999.995", "0.001", "1e3", "1e99999999999", "1e-99999999999"] {
        check("decimal(5,2)", text, RANGE);
    }
    check("decimal(38,0)", &"9".repeat(38), Ok(Value::Decimal(10_i128.pow(38) - 1)));
    check("decimal(38,0)", &"9".repeat(39), RANGE);
    for text in ["", "-", ".", "1.2.3", "NaN", "1e", "1e1.5", "--1", "1 "] {
        check("decimal(5,2)", text, KIND);
    }
}

#[test]
fn dates_are_days_of_the_calendar() {
    check("date", "1970-01-02", Ok(Value::Int(1)));
    check("date", "2024-02-29", Ok(Value::Int(19_782)));
    for text in ["2023-02-29", "2023-13-01", "2023-1-1", "20230101", "2023-01-01T00:00:00Z", ""] {
        check("date", text, KIND);
    }
}

#[test]
fn instants_have_many_spellings() {
    for text in [
        "2023-12-22T15:24:04.022Z",
        "2023-12-22t15:24:04.022z",
        "2023-12-22 15:24:04.022",
        "2023-12-22 15:24:04.0220009 UTC",
        "2023-12-22T16:24:04.022+01:00",
        "2023-12-22 10:24:04.022000-0500",
        "2023-12-22 15:24:04.022 +00",
        "1703258644022",
        "1703258644022.0009",
        "1.703258644022e12",
    ] {
        let expected = if text.ends_with("UTC") { KIND } else { Ok(Value::Bigint(MICROS)) };
        check("timestamp", text, expected);
    }
    check("timestamp", "2023-12-22", Ok(Value::Bigint(MICROS / MICROS_PER_DAY * MICROS_PER_DAY)));
    check("timestamp", "2023-12-22 15:24", Ok(Value::Bigint(MICROS - 4_022_000)));
    check("timestamp", "1969-12-31T23:59:59.9999999Z", Ok(Value::Bigint(-1)));
    check("timestamp", "2016-12-31T23:59:60Z", Ok(Value::Bigint(1_483_228_800_000_000)));
    for text in [
        "",
        "now",
        "2023-12-22T24:00:00Z",
        "2023-12-22T15:60:00Z",
        "2023-12-22T15:24:04.Z",
        "2023-12-22T15:24:04,5Z",
        "2023-12-22T15:24:04+1",
        "2023-12-22T15:24:04Z ",
        "2023-12-22T15:24:04 ",
        "2023-12-22Z",
        "22/12/2023",
    ] {
        check("timestamp", text, KIND);
    }
    check("timestamp", "1e300", RANGE);
    check("timestamp", "9223372036854776", RANGE);
}

const MICROS: i64 = 1_703_258_644_022_000;

#[test]
fn numbers_are_instants_in_the_unit_of_the_column() {
    for (unit, text, micros) in [
        (EpochUnit::Seconds, "1618678142.557535", 1_618_678_142_557_535),
        (EpochUnit::Seconds, "1762795433.9717445", 1_762_795_433_971_744),
        (EpochUnit::Millis, "-0.0001", -1),
        (EpochUnit::Micros, "1703258644022000", MICROS),
        (EpochUnit::Nanos, "1703258644022000999", MICROS),
        (EpochUnit::Nanos, "-1", -1),
        (EpochUnit::Nanos, "1e-300", 0),
    ] {
        let mut column = column("x timestamp");
        column.unit = Some(unit);
        assert_eq!(parse(&column, text), Ok(Value::Bigint(micros)), "{text} {unit:?}");
    }
}

#[test]
fn json_and_base64_are_checked() {
    check("json", "{\"a\": [1]}", bytes("{\"a\": [1]}"));
    check("json", "nul", KIND);
    for (text, value) in [("aGk=", "hi"), ("aGk", "hi"), ("", "")] {
        check("bytes", text, bytes(value));
    }
    for text in ["a", "aGk==", "aG k=", "_w=="] {
        check("bytes", text, KIND);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// `chrono` and the type of core read the same instant.
    #[test]
    fn rfc_3339_is_read_as_others_read_it(
        micros in -60_000_000_000_000_000_i64..200_000_000_000_000_000,
        offset in -23 * 60_i32..23 * 60,
    ) {
        let zone = chrono::FixedOffset::east_opt(offset * 60).expect("less than a day");
        let time = zone.from_utc_datetime(
            &DateTime::<Utc>::from_timestamp_micros(micros).expect("in range").naive_utc(),
        );
        let text = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        prop_assert_eq!(Timestamp::parse(&text), Some(Timestamp(micros)));
        prop_assert_eq!(parse(&column("x timestamp"), &text), Ok(Value::Bigint(micros)));
    }

    /// What a decimal column holds is written the same again.
    #[test]
    fn decimals_come_back(value in -(10_i128.pow(20))..10_i128.pow(20), zeros in 0..4_usize) {
        let digits = format!("{:09}", value.abs());
        let (whole, places) = digits.split_at(digits.len() - 8);
        let sign = if value < 0 { "-" } else { "" };
        let text = format!("{sign}{}{whole}.{places}{}", "0".repeat(zeros), "0".repeat(zeros));
        prop_assert_eq!(parse(&column("x decimal(24,8)"), &text), Ok(Value::Decimal(value)));
    }

    /// No text makes any type panic.
    #[test]
    fn every_text_has_an_answer(text in ".{0,40}", digits in "[-+0-9.eE: TZ]{0,40}") {
        for kind in ["boolean", "int", "real", "double", "decimal(38,20)", "date", "timestamp", "json", "bytes"] {
            let _ = parse(&column(&format!("x {kind}")), &text);
            let _ = parse(&column(&format!("x {kind}")), &digits);
        }
    }
}
