//! Small values of the project file: sizes, shares, rates, addresses, schedules.
//!
//! Lengths of time and instants are read by [`thalweg_core::time`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use thalweg_core::time::parse_duration;

/// Parses a number of bytes above zero: `64MB`, `10 GB`, `512KiB`; steps of 1000, with `i` of 1024.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let count: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim_start() {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    count.checked_mul(unit).filter(|bytes| *bytes > 0)
}

/// Parses a share from 0 to 100 percent: `1%`, `0.5 %`. The result is in percent.
pub(crate) fn parse_percent(text: &str) -> Option<f64> {
    let number: f64 = text.trim().strip_suffix('%')?.trim_end().parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number)
}

/// Parses a number per unit of time above zero: `200/s`, `1000/m`, `50/100ms`. The result is per
/// second.
pub(crate) fn parse_rate(text: &str) -> Option<f64> {
    let (count, unit) = text.split_once('/')?;
    let count: u32 = count.trim().parse().ok()?;
    let unit = unit.trim();
    let seconds = if unit.starts_with(|c: char| c.is_ascii_digit()) {
        parse_duration(unit)?
    } else {
        parse_duration(&format!("1{unit}"))?
    }
    .as_secs_f64();
    (count > 0 && seconds > 0.0).then(|| f64::from(count) / seconds)
}

/// Parses where to listen: `7070`, `127.0.0.1:7070`, `[::1]:7070`, `localhost:7070`. A port alone
/// is one of 127.0.0.1 (S28).
pub(crate) fn parse_listen(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return parse_listen(port);
    }
    text.parse().ok()
}

/// Whether a text has the form of a schedule: `@daily`, `every 5m`, or five or six fields of cron.
/// What the fields say is judged by the scheduler.
pub(crate) fn is_schedule(text: &str) -> bool {
    let text = text.trim();
    if let Some(every) = text.strip_prefix("every ") {
        return parse_duration(every).is_some_and(|every| !every.is_zero());
    }
    if let Some(word) = text.strip_prefix('@') {
        return matches!(
            word,
            "hourly" | "daily" | "midnight" | "weekly" | "monthly" | "yearly" | "annually"
        );
    }
    matches!(text.split_whitespace().count(), 5 | 6)
}

/// Splits `double not null` into the type and whether it may be null.
pub(crate) fn split_not_null(text: &str) -> (&str, bool) {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let Some(rest) = lower.strip_suffix("null") else { return (text, true) };
    let Some(rest) = rest.trim_end().strip_suffix("not") else { return (text, true) };
    let kind = rest.trim_end();
    if kind.len() == rest.len() { (text, true) } else { (&text[..kind.len()], false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        check(parse_size("64MB"), Some(64_000_000));
        check(parse_size("10 GB"), Some(10_000_000_000));
        check(parse_size("1KiB"), Some(1024));
        check(parse_size("0B"), None);
        check(parse_size("64"), None);
        check(parse_size("MB"), None);
        check(parse_size("99999999999999 TB"), None);
    }

    #[test]
    fn shares_and_rates_are_read() {
        check(parse_percent("1%"), Some(1.0));
        check(parse_percent("0.5 %"), Some(0.5));
        check(parse_percent("101%"), None);
        check(parse_percent("nan%"), None);
        check(parse_percent("1"), None);
        check(parse_rate("200/s"), Some(200.0));
        check(parse_rate("50/100ms"), Some(500.0));
        check(parse_rate("0/s"), None);
        check(parse_rate("5/0s"), None);
        check(parse_rate("5"), None);
    }

    #[test]
    fn a_port_alone_is_one_of_the_loopback() {
        check(parse_listen("0").map(|at| at.to_string()), Some("127.0.0.1:0".to_owned()));
        check(parse_listen("localhost:80").map(|at| at.to_string()), Some("127.0.0.1:80".into()));
        check(parse_listen("[::1]:80").map(|at| at.to_string()), Some("[::1]:80".into()));
        check(parse_listen("0.0.0.0"), None);
        check(parse_listen("70000"), None);
    }

    #[test]
    fn schedules_are_recognised_by_their_form() {
        for text in ["15 0 * * *", "@daily", "every 5m", "0 3 * * MON", "0 0 3 * * MON"] {
            assert!(is_schedule(text), "{text}");
        }
        for text in ["", "daily", "every", "every 0s", "@often", "* * * *"] {
            assert!(!is_schedule(text), "{text}");
        }
    }

    #[test]
    fn not_null_is_split_off_a_type() {
        check(split_not_null("double not null"), ("double", false));
        check(split_not_null(" decimal(3,1)  NOT  NULL "), ("decimal(3,1)", false));
        check(split_not_null("text"), ("text", true));
        check(split_not_null("not null"), ("not null", true));
        check(split_not_null("textnot null"), ("textnot null", true));
    }

    #[track_caller]
    fn check<T: PartialEq + std::fmt::Debug>(found: T, expected: T) {
        assert_eq!(found, expected);
    }
}
