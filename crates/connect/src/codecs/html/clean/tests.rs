//! Amounts as pages write them, and as no page should.

use proptest::prelude::*;

use super::*;

/// The decimal text of a text, or why there is none.
fn read(clean: Clean, text: &str, locale: Option<DecimalMark>) -> Result<String, &'static str> {
    Amount::parse(clean, &plain(text)).and_then(|amount| amount.decimal(locale, None))
}

#[track_caller]
fn check(clean: Clean, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(read(clean, text, None).as_deref(), Ok(*expected), "{clean:?} {text:?}");
    }
}

#[track_caller]
fn refuse(clean: Clean, texts: &[&str]) {
    for text in texts {
        let found = read(clean, text, None);
        assert!(found.is_err(), "{clean:?} {text:?} was read as {found:?}");
    }
}

#[test]
fn money_is_read_digit_for_digit() {
    check(
        Clean::Money,
        &[
            ("$3400.27", "3400.27"),
            ("$9,061.58", "9061.58"),
            ("$59,591,148,812", "59591148812"),
            ("$7.299.982.172", "7299982172"),
            ("$26,259.61", "26259.61"),
            ("$0.00000829", "0.00000829"),
            ("$0.123", "0.123"),
            ("9.061,58\u{a0}€", "9061.58"),
            ("CHF 9’061.58", "9061.58"),
            ("9\u{202f}061,58 €", "9061.58"),
            ("₹12,34,567.89", "1234567.89"),
            ("$1.2B", "1200000000"),
            ("$511.98B", "511980000000"),
            ("$1.2 bn", "1200000000"),
            ("1.2B USD", "1200000000"),
            ("$ 12.5 M", "12500000"),
            ("₿0.5", "0.5"),
            ("0.50 BTC", "0.50"),
            ("US$5", "5"),
            ("$5 USD", "5"),
            ("-$5.00", "-5"),
            ("$-5.5", "-5.5"),
            ("−5,5\u{a0}$", "-5.5"),
            ("($5.25)", "-5.25"),
            ("+$5", "5"),
            ("-$0.00", "0"),
            ("12", "12"),
        ],
    );
}

#[test]
fn percentages_keep_their_sign() {
    check(
        Clean::Percent,
        &[
            ("1.52%", "1.52"),
            ("-0.20%", "-0.20"),
            ("-0,33 %", "-0.33"),
            ("−0,33\u{a0}%", "-0.33"),
            ("▼0.33%", "-0.33"),
            ("▲ 12%", "12"),
            ("(+0.5%)", "0.5"),
            ("100%", "100"),
        ],
    );
    refuse(Clean::Percent, &["", "1.52", "$1%", "1.5% 2.5%", "(0.33%)", "+-1%", "1 % p.a.", "%"]);
}

#[test]
fn numbers_may_have_a_unit() {
    check(
        Clean::Number,
        &[
            ("17,525,437 BTC", "17525437"),
            ("19.496.962\u{a0}BTC", "19496962"),
            ("41,169,202,069 XRP *", "41169202069"),
            ("49,400,933 B2G", "49400933"),
            ("17.5M", "17500000"),
            ("17.5M XRP", "17500000"),
            ("1.2 million", "1200000"),
            (".5", "0.5"),
            ("007", "7"),
        ],
    );
    refuse(
        Clean::Number,
        &["$5", "5%", "five", "100 T", "17 525 437", "5x", "5B2G", "5 2B", "1'2", "12,34,5"],
    );
}

#[test]
fn what_can_be_read_in_two_ways_is_not() {
    for (text, point, comma) in [("$1,234", "1234", "1.234"), ("1.234 €", "1.234", "1234")] {
        assert!(read(Clean::Money, text, None).is_err(), "{text}");
        assert_eq!(read(Clean::Money, text, Some(DecimalMark::Point)).as_deref(), Ok(point));
        assert_eq!(read(Clean::Money, text, Some(DecimalMark::Comma)).as_deref(), Ok(comma));
    }
    assert!(read(Clean::Money, "$1.5", Some(DecimalMark::Comma)).is_err(), "not in its locale");
    let amount = Amount::parse(Clean::Money, "$1,234").expect("an amount");
    assert_eq!(amount.decimal(None, Some(DecimalMark::Point)).as_deref(), Ok("1234"));
    refuse(
        Clean::Money,
        &[
            "$511.98B $511,982,705,805",
            "$511.98B$511,982,705,805",
            "100 T",
            "$5 BTC",
            "1,2,3",
            "1.2.3,4",
            "1,23,456.7.8",
            "$",
            "--",
            "?",
            "free",
            "about $5",
            "$5 each",
            "1 234",
            "5-",
            "1e5",
            "٣",
        ],
    );
}

proptest! {
    /// An amount written in either locale, with any currency and sign, is read back to the digit.
    #[test]
    fn what_is_written_is_read_back(
        whole in 0..10_u64.pow(15),
        fraction in "[0-9]{0,8}",
        is_comma: bool,
        is_grouped: bool,
        is_negative: bool,
        (before, after) in prop::sample::select(vec![
            ("$", ""), ("€ ", ""), ("", " €"), ("", "\u{a0}BTC"), ("CHF ", ""), ("", ""),
        ]),
    ) {
        let (group, mark) = if is_comma { ('.', ',') } else { (',', '.') };
        let mut text = whole.to_string();
        if is_grouped {
            let mut at = text.len();
            while at > 3 {
                at -= 3;
                text.insert(at, group);
            }
        }
        if !fraction.is_empty() {
            text.push(mark);
            text.push_str(&fraction);
        }
        let sign = if is_negative { "-" } else { "" };
        let locale = if is_comma { DecimalMark::Comma } else { DecimalMark::Point };
        let found = read(Clean::Money, &format!("{sign}{before}{text}{after}"), Some(locale));
        let is_whole = fraction.bytes().all(|byte| byte == b'0');
        let is_zero = whole == 0 && is_whole;
        let sign = if is_zero { "" } else { sign };
        let expected = if is_whole { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
        prop_assert_eq!(found, Ok(expected));
    }

    /// Without a locale a text is read as it is with one that it fits, or not at all.
    #[test]
    fn nothing_is_guessed(text in "[-+($]?[$€]?[0-9]{1,4}([.,'][0-9]{1,4}){0,3}[KMB]?( ?[%€]| BTC)?[)]?") {
        for clean in [Clean::Money, Clean::Percent, Clean::Number] {
            if let Ok(found) = read(clean, &text, None) {
                let readings = [DecimalMark::Point, DecimalMark::Comma]
                    .map(|locale| read(clean, &text, Some(locale)));
                let fitting: Vec<_> = readings.into_iter().flatten().collect();
                prop_assert!(fitting.iter().all(|reading| *reading == found), "{} {:?}", text, fitting);
                prop_assert!(!fitting.is_empty());
            }
        }
    }

    /// Foreign texts do no harm.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}", is_comma: bool) {
        let locale = is_comma.then_some(DecimalMark::Comma);
        for clean in [Clean::Money, Clean::Percent, Clean::Number] {
            if let Ok(found) = read(clean, &text, locale) {
                let digits = found.strip_prefix('-').unwrap_or(&found);
                prop_assert!(digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{}", found);
            }
        }
    }
}
