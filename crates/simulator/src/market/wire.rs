//! How trades are written: keys in the order c, p, s, t, v, and `type` after `data`.

use super::process::{Conditions, Process, Trade};

/// Units of a [`Decimal`] in 1.
pub(super) const SCALE: i64 = 100_000_000;

/// A number of hundred-millionths, written as JSON without an exponent or needless zeros: `43694`,
/// `0.00008`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal(pub(super) i64);

impl Decimal {
    /// The one nearest to `value`.
    pub(super) fn nearest(value: f64) -> Self {
        Self((value * SCALE as f64).round() as i64)
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        if self.0 < 0 {
            out.push(b'-');
        }
        let units = self.0.unsigned_abs();
        let (whole, rest) = (units / SCALE.unsigned_abs(), units % SCALE.unsigned_abs());
        out.extend_from_slice(whole.to_string().as_bytes());
        if rest > 0 {
            let rest = format!("{rest:08}");
            out.push(b'.');
            out.extend_from_slice(rest.trim_end_matches('0').as_bytes());
        }
    }
}

/// What is wrong with a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    NegativeVolume,
    PriceAsText,
    PriceNan,
    PriceMissing,
}

/// Writes the message of `trades`, with a flaw in one of them if told to.
pub(super) fn message(
    trades: &[Trade],
    processes: &[Process],
    kind: &str,
    flaw: Option<(usize, Flaw)>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + 96 * trades.len());
    out.extend_from_slice(b"{\"data\":[");
    for (number, one) in trades.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        let flaw = flaw.filter(|(flawed, _)| *flawed == number).map(|(_, flaw)| flaw);
        trade(one, processes[one.instrument].symbol_json(), flaw, &mut out);
    }
    out.extend_from_slice(b"],\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\"}");
    out
}

fn trade(trade: &Trade, symbol_json: &str, flaw: Option<Flaw>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"c\":");
    conditions(trade.conditions, out);
    match flaw {
        Some(Flaw::PriceMissing) => {}
        Some(Flaw::PriceNan) => out.extend_from_slice(b",\"p\":\"NaN\""),
        Some(Flaw::PriceAsText) => {
            out.extend_from_slice(b",\"p\":\"");
            trade.price.write(out);
            out.push(b'"');
        }
        Some(Flaw::NegativeVolume) | None => {
            out.extend_from_slice(b",\"p\":");
            trade.price.write(out);
        }
    }
    out.extend_from_slice(b",\"s\":");
    out.extend_from_slice(symbol_json.as_bytes());
    out.extend_from_slice(b",\"t\":");
    out.extend_from_slice(trade.millis.to_string().as_bytes());
    out.extend_from_slice(b",\"v\":");
    match flaw {
        // A volume of 0 has no sign to turn.
        Some(Flaw::NegativeVolume) => Decimal(-trade.volume.0.max(1)).write(out),
        _ => trade.volume.write(out),
    }
    out.push(b'}');
}

fn conditions(conditions: Option<Conditions>, out: &mut Vec<u8>) {
    let Some(conditions) = conditions else {
        out.extend_from_slice(b"null");
        return;
    };
    let codes = [
        (conditions.is_regular, "1"),
        (conditions.is_marked, "8"),
        (conditions.is_outside, "24"),
        (conditions.is_odd_lot, "12"),
    ];
    out.push(b'[');
    for (number, (_, code)) in codes.iter().filter(|(is_there, _)| *is_there).enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(code.as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_venue_does() {
        check_decimal(43694.0, "43694");
        check_decimal(43694.01, "43694.01");
        check_decimal(226.8988, "226.8988");
        check_decimal(0.00008, "0.00008");
        check_decimal(0.0, "0");
        check_decimal(-1.5, "-1.5");
        check_decimal(1e9, "1000000000");
    }

    #[track_caller]
    fn check_decimal(value: f64, text: &str) {
        let mut out = Vec::new();
        Decimal::nearest(value).write(&mut out);
        assert_eq!(String::from_utf8(out).expect("text"), text);
    }
}
