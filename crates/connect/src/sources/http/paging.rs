//! Pages: whether an answer has more behind it, and where. Pure.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::client::Answer;
use super::round::{Page, set};
use crate::codecs::json::JsonPath;

/// How the pages of an answer are found.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Paging {
    /// There is one page.
    #[default]
    None,
    /// The header `Link: <…>; rel="next"` names the next page.
    Link {
        /// Most pages of one poll.
        pages_max: usize,
    },
    /// A value of the body names the next page; missing, null, false or empty: there is none.
    Next {
        /// Where it stands.
        path: JsonPath,
        /// The parameter of the query that takes the value; none: the value is an address.
        param: Option<String>,
        /// Most pages of one poll.
        pages_max: usize,
    },
    /// A parameter of the query counts up until a page has no rows.
    Number {
        /// The parameter.
        param: String,
        /// Its first value.
        first: u64,
        /// The list of rows in the body.
        rows: JsonPath,
        /// Most pages of one poll.
        pages_max: usize,
    },
    /// Rows have a time, and the ones behind the newest seen are asked for.
    Cursor(CursorRule),
}

/// Rows asked for by time, each once: those that begin behind the newest one given out and are final.
#[derive(Clone, Debug, PartialEq)]
pub struct CursorRule {
    /// Parameter of the query for the first time wanted, in milliseconds.
    pub start_param: String,
    /// Parameter for the last time wanted.
    pub end_param: String,
    /// Where an element of the body, a list, has its time.
    pub time: JsonPath,
    /// Rows of a full page: fewer mean that there is no more.
    pub page_rows: usize,
    /// How long after its time a row is final.
    pub length: Duration,
    /// How much longer is waited, for clocks that differ.
    pub settle: Duration,
    /// How much of the past to ask for when nothing is known.
    pub history: Duration,
}

/// Times to ask for, in the venue's milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: i64,
    pub(super) end: i64,
    /// When all of it is final.
    pub(super) closes_ms: i64,
}

impl CursorRule {
    /// What to ask for at the venue's time `now_ms`; none when no further row can be final yet.
    pub(super) fn window(&self, now_ms: i64, cursor: Option<i64>) -> Option<Window> {
        let length = millis(self.length);
        let end = now_ms.saturating_sub(length).saturating_sub(millis(self.settle));
        let start = match cursor {
            Some(cursor) if cursor.saturating_add(length) > end => return None,
            Some(cursor) => cursor.saturating_add(1),
            // Two rows back: whether the venue counts a row by its begin or its end, one is within.
            None => {
                let past = millis(self.history).max(length.saturating_mul(2));
                end.saturating_sub(past).saturating_add(1)
            }
        };
        Some(Window { start, end, closes_ms: end.saturating_add(length) })
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What is behind a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Follow {
    pub(super) has_more: bool,
    /// Where; none: the round knows.
    pub(super) url: Option<Url>,
    /// The newest cursor on the page.
    pub(super) cursor: Option<i64>,
    /// Whether the page is known to hold no rows.
    pub(super) is_empty: bool,
}

impl Follow {
    fn to(url: Option<Url>, page: &Page, pages_max: usize) -> Self {
        let is_new = url.as_ref().is_some_and(|url| *url != page.url);
        let has_more = is_new && page.number + 1 < pages_max;
        Self { has_more, url: url.filter(|_| has_more), ..Self::default() }
    }
}

impl Paging {
    /// What is behind `page`. A body that cannot be read has nothing behind it: what is wrong with
    /// it is for the decoder to say.
    pub(super) fn follow(&self, page: &Page, answer: &Answer) -> Follow {
        let body = || serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        match self {
            Self::None => Follow::default(),
            Self::Link { pages_max } => {
                let next = answer.header("link").and_then(|link| next_link(&link, &answer.url));
                Follow::to(next, page, *pages_max)
            }
            Self::Next { path, param, pages_max } => {
                let body = body();
                let next = path.of(&body).and_then(token).and_then(|token| match param {
                    Some(param) => {
                        let mut url = page.url.clone();
                        set(&mut url, param, &token);
                        Some(url)
                    }
                    None => same_origin(&answer.url, &token),
                });
                Follow::to(next, page, *pages_max)
            }
            Self::Number { rows, pages_max, .. } => {
                let count = rows.of(&body()).and_then(Value::as_array).map_or(0, Vec::len);
                let has_more = count > 0 && page.number + 1 < *pages_max;
                Follow { has_more, is_empty: count == 0 && page.number > 0, ..Follow::default() }
            }
            Self::Cursor(rule) => {
                let body = body();
                let Some(rows) = body.as_array() else { return Follow::default() };
                let times = rows.iter().filter_map(|row| rule.time.of(row)?.as_i64());
                let cursor = times.max();
                let has_more = rows.len() >= rule.page_rows && cursor.is_some();
                Follow { has_more, cursor, is_empty: rows.is_empty(), url: None }
            }
        }
    }
}

/// A token as the text of a query; none where it says that there is no more.
fn token(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An address the far end names, if it is on the host that named it: headers with secrets go there.
fn same_origin(base: &Url, address: &str) -> Option<Url> {
    base.join(address).ok().filter(|url| url.origin() == base.origin())
}

/// The address behind `rel="next"` of a `Link` header (RFC 8288).
fn next_link(header: &str, base: &Url) -> Option<Url> {
    header.split(',').find_map(|link| {
        let (address, parameters) = link.split_once('>')?;
        let address = address.trim().strip_prefix('<')?;
        let is_next = parameters.split(';').any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let mut relations = value.trim().trim_matches('"').split_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        is_next.then(|| same_origin(base, address)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn the_next_link_is_followed_on_the_same_host_only() {
        let base = url("https://api.example.com/v1/rows?page=1");
        let header = r#"<https://api.example.com/v1/rows?page=1>; rel="prev", </v1/rows?page=3>; title=x; rel="last next""#;
        assert_eq!(next_link(header, &base), Some(url("https://api.example.com/v1/rows?page=3")));
        assert_eq!(next_link(r#"<https://evil.example.com/>; rel="next""#, &base), None);
        assert_eq!(next_link(r#"<>; rel=prev"#, &base), None);
        assert_eq!(next_link("nonsense", &base), None);
    }

    fn minutes() -> CursorRule {
        CursorRule {
            start_param: "startTime".to_owned(),
            end_param: "endTime".to_owned(),
            time: "[0]".parse().expect("a path"),
            page_rows: 1000,
            length: Duration::from_secs(60),
            settle: Duration::from_secs(2),
            history: Duration::ZERO,
        }
    }

    #[test]
    fn only_rows_that_are_final_are_asked_for() {
        let rule = minutes();
        // At 10:05:30 the bar of 10:04 is the newest that is closed; that of 10:03 has been seen.
        let minute = |n: i64| n * 60_000;
        let now = minute(605) + 30_000;
        let window = rule.window(now, Some(minute(603))).expect("a bar is closed");
        assert_eq!(window.start, minute(603) + 1);
        assert!((minute(604)..minute(605)).contains(&window.end));
        assert!(window.closes_ms <= now);
        assert_eq!(rule.window(now, Some(minute(604))), None, "the bar of 10:05 is still open");
        assert_eq!(rule.window(minute(606) + 1_999, Some(minute(604))), None);
        assert!(rule.window(minute(606) + 2_000, Some(minute(604))).is_some());
    }

    #[test]
    fn the_past_is_asked_for_once() {
        let rule = CursorRule { history: Duration::from_secs(86_400), ..minutes() };
        let window = rule.window(100_000_000, None).expect("a window");
        assert_eq!(window.end - window.start, 86_400_000 - 1);
        assert!(minutes().window(100_000_000, None).is_some_and(|it| it.end - it.start < 120_000));
    }
}
