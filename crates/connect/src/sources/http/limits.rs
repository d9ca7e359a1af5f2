//! Limits of the far end: how long it asks us to stay away, and how much of its budget is used.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;
use thalweg_core::time::Timestamp;

/// Longest time a far end may tell us to stay away; Binance bans for up to three days.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long we stay away where it says that it has had too much, but not for how long.
const UNTOLD: Duration = Duration::from_secs(60);

/// How long an answer asks us to stay away, `date` being the far end's time.
pub(crate) fn retry_after(
    status: u16,
    headers: &HeaderMap,
    date: Option<Timestamp>,
    now: Timestamp,
) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    let told = text.and_then(|text| match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => http_date(text).map(|at| at.since(date.unwrap_or(now))),
    });
    match status {
        418 | 429 => Some(told.unwrap_or(UNTOLD)),
        _ => told,
    }
    .map(|wait| wait.min(RETRY_AFTER_MAX))
}

/// An instant as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    let time = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp(time.timestamp_micros()))
}

/// How a venue says how much of its limit is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightRule {
    /// Header of every answer that has the weight used in the window: `x-mbx-used-weight-1m`.
    pub header: String,
    /// The window.
    pub window: Duration,
    /// What one request adds at most.
    pub request_weight: u64,
    /// Where the venue says its limit, in `rateLimits` of the body.
    pub limits_url: String,
    /// The limit is asked for when more than this is used, and taken to be twice this when it is not
    /// told.
    pub carefree_weight: u64,
}

/// Keeps requests within the limit: pure.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    rule: Option<WeightRule>,
    used: u64,
    used_at: Timestamp,
    limit: Option<u64>,
}

impl Weights {
    pub(super) fn new(rule: Option<WeightRule>) -> Self {
        Self { rule, used: 0, used_at: Timestamp::MIN, limit: None }
    }

    /// Notes what an answer says.
    pub(super) fn read(&mut self, headers: &HeaderMap, now: Timestamp) {
        let Some(rule) = &self.rule else { return };
        let used = headers.get(&rule.header).and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(used) = used {
            (self.used, self.used_at) = (used, now);
        }
    }

    /// Where to ask for the limit, when it has come to matter and is not known.
    pub(super) fn wants_limit(&self) -> Option<&str> {
        let rule = self.rule.as_ref()?;
        (self.limit.is_none() && self.used > rule.carefree_weight).then_some(&rule.limits_url)
    }

    /// Notes the limit a body tells; none: it could not be had.
    pub(super) fn learn_limit(&mut self, body: Option<&[u8]>) {
        let Some(rule) = &self.rule else { return };
        let told = body.and_then(|body| limit(body, rule.window));
        self.limit = Some(told.unwrap_or(rule.carefree_weight.saturating_mul(2)));
    }

    /// Until when to wait before the next request, for the venue's window to be over.
    pub(super) fn hold_until(&self, now: Timestamp) -> Option<Timestamp> {
        let (rule, limit) = (self.rule.as_ref()?, self.limit?);
        // A tenth is left to whoever else uses the address.
        let is_spent = self.used.saturating_add(rule.request_weight) > limit - limit / 10;
        let until = self.used_at.plus(rule.window);
        (is_spent && until > now).then_some(until)
    }
}

/// The limit of request weight in `window`, as `exchangeInfo` tells it.
fn limit(body: &[u8], window: Duration) -> Option<u64> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body.get("rateLimits")?.as_array()?.iter().find_map(|limit| {
        let unit = match limit.get("interval")?.as_str()? {
            "SECOND" => 1,
            "MINUTE" => 60,
            "HOUR" => 3_600,
            "DAY" => 86_400,
            _ => return None,
        };
        let seconds = limit.get("intervalNum")?.as_u64()?.checked_mul(unit)?;
        let is_it = limit.get("rateLimitType")?.as_str()? == "REQUEST_WEIGHT"
            && seconds == window.as_secs();
        is_it.then(|| limit.get("limit")?.as_u64()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(784_111_777_000_000);

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn how_long_to_stay_away_is_seconds_or_a_date() {
        let after = |status, text: &'static str, date| {
            retry_after(status, &headers(&[("retry-after", text)]), date, NOW)
        };
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(after(429, "7", None), seconds(7));
        assert_eq!(after(503, " 120 ", None), seconds(120));
        assert_eq!(after(429, "Sun, 06 Nov 1994 08:50:07 GMT", None), seconds(30));
        // By the far end's own clock, which is ten seconds behind.
        let behind = NOW.minus(Duration::from_secs(10));
        assert_eq!(after(429, "Sun, 06 Nov 1994 08:50:07 GMT", Some(behind)), seconds(40));
        assert_eq!(after(418, "99999999999", None), Some(RETRY_AFTER_MAX));
        assert_eq!(after(429, "soon", None), Some(UNTOLD));
        assert_eq!(after(500, "soon", None), None);
        assert_eq!(retry_after(429, &HeaderMap::new(), None, NOW), Some(UNTOLD));
        assert_eq!(retry_after(502, &HeaderMap::new(), None, NOW), None);
    }

    #[test]
    fn requests_wait_for_the_window_before_the_limit_is_reached() {
        let rule = WeightRule {
            header: "x-mbx-used-weight-1m".to_owned(),
            window: Duration::from_secs(60),
            request_weight: 4,
            limits_url: "https://api.example.com/exchangeInfo".to_owned(),
            carefree_weight: 500,
        };
        let mut weights = Weights::new(Some(rule));
        let used = |text| headers(&[("x-mbx-used-weight-1m", text)]);
        weights.read(&used("500"), NOW);
        assert_eq!((weights.wants_limit(), weights.hold_until(NOW)), (None, None));
        weights.read(&used("1078"), NOW);
        assert!(weights.wants_limit().is_some());
        let body = br#"{"rateLimits":[
            {"rateLimitType":"RAW_REQUESTS","interval":"MINUTE","intervalNum":5,"limit":6100},
            {"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":1200}]}"#;
        weights.learn_limit(Some(body));
        assert_eq!(weights.wants_limit(), None);
        let minute = NOW.plus(Duration::from_secs(60));
        assert_eq!(weights.hold_until(NOW), Some(minute), "1,078 and 4 are above 1,080");
        assert_eq!(weights.hold_until(minute), None);
        weights.read(&used("1076"), NOW);
        assert_eq!(weights.hold_until(NOW), None);
        weights.learn_limit(Some(b"<html>"));
        assert_eq!(weights.limit, Some(1000));
    }
}
