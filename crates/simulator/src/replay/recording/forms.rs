//! What recorders write round a message.
//!
//! | line | message |
//! |---|---|
//! | `{"e":"trade",…}`, or anything else | the line |
//! | `1723161254087896568 {…}`, `1633998512.06: {…}`, `2022-05-22 01:38:08.07 \| … \| {…}` | what is behind the time, which is in nanoseconds or seconds |
//! | `{"t":"recv","ts":1786309548.6,"data":"…",…}` | the text in `data`; other values of `t` are none |
//! | `wss://… <- 1618677817.02: {…}`, `wss://… <-> …`, `configuration: …` | none: what was said to the venue, or of the recording |

use std::borrow::Cow;

use serde::Deserialize;
use thalweg_core::time::Timestamp;

/// Digits of a time, at least: fewer can be anything.
const TIME_DIGITS: usize = 10;

/// The message of a line and when it was received, as far as the line says; none when it has none.
pub(super) fn message(line: &[u8]) -> Option<(Cow<'_, [u8]>, Option<Timestamp>)> {
    if [&b"wss://"[..], b"ws://", b"configuration: "].iter().any(|start| line.starts_with(start)) {
        return None;
    }
    if line.starts_with(b"{\"t\":\"")
        && let Ok(entry) = serde_json::from_slice::<Entry>(line)
    {
        let at = entry.ts.map(|seconds| Timestamp((seconds * 1e6) as i64));
        return (entry.t == "recv").then(|| (Cow::Owned(entry.data.into_bytes()), at));
    }
    let begin = line.iter().position(|byte| matches!(byte, b'{' | b'['));
    let (head, rest) = line.split_at(begin.unwrap_or(0));
    let digits = head.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_time = head.iter().all(|byte| byte.is_ascii_digit() || b" .:|-".contains(byte));
    match is_time && digits >= TIME_DIGITS {
        true => Some((Cow::Borrowed(rest), time(head))),
        false => Some((Cow::Borrowed(line), None)),
    }
}

/// A time in seconds with a fraction, or in nanoseconds.
fn time(head: &[u8]) -> Option<Timestamp> {
    let head = std::str::from_utf8(head).ok()?.trim_end_matches([' ', ':']);
    if head.len() == 19 && head.bytes().all(|byte| byte.is_ascii_digit()) {
        return head.parse().ok().map(|nanos: i64| Timestamp(nanos / 1_000));
    }
    head.parse().ok().map(|seconds: f64| Timestamp((seconds * 1e6) as i64))
}

/// A line of a recorder that writes JSON.
#[derive(Deserialize)]
struct Entry {
    t: String,
    ts: Option<f64>,
    #[serde(default)]
    data: String,
    #[serde(rename = "conn")]
    _conn: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(&str, Option<i64>)>) {
        let found = message(line.as_bytes());
        let found = found.as_ref().map(|(text, at)| (&**text, at.map(|at| at.0)));
        assert_eq!(found, expected.map(|(text, at)| (text.as_bytes(), at)), "{line}");
    }

    #[test]
    fn what_is_round_a_message_is_taken_off() {
        let event = r#"{"e":"trade"}"#;
        check(event, Some((event, None)));
        check(&format!("1723161254087896568 {event}"), Some((event, Some(1_723_161_254_087_896))));
        check(&format!("1633998512.5: {event}"), Some((event, Some(1_633_998_512_500_000))));
        let dates =
            "2022-05-22 01:38:08.072755 | 2022-05-22 01:38:08.07 | 2022-05-22 01:38:08.0 | ";
        check(&format!("{dates}{event}"), Some((event, None)));
        check(
            "1618678142.5: [993,[],\"trade\",\"XMR/USD\"]",
            Some(("[993,[],\"trade\",\"XMR/USD\"]", Some(1_618_678_142_500_000))),
        );
    }

    #[test]
    fn entries_of_a_recorder_are_what_was_received() {
        let entry = r#"{"t":"recv","conn":"a","ts":1.5,"data":"{\"a\":1}"}"#;
        check(entry, Some((r#"{"a":1}"#, Some(1_500_000))));
        check(&entry.replace("recv", "send"), None);
        check(r#"{"t":"header","format":2}"#, None);
        check("wss://ws.kraken.com <- 1.5: {}", None);
        check("configuration: {}", None);
    }

    #[test]
    fn what_is_no_form_is_the_message() {
        for line in ["no JSON", "<html>", "7 {", "a {}", r#"{"t":5}"#, r#"{"t":"x","data":{}}"#] {
            check(line, Some((line, None)));
        }
    }
}
