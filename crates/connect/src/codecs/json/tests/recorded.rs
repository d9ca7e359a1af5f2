//! Real messages: every trade of the Finnhub capture, and lines quoted from the wire.

use std::collections::BTreeMap;

use super::*;
use crate::codecs::testing::{recorded, rows};

fn lines(name: &str) -> Option<Vec<Vec<u8>>> {
    let bytes = std::fs::read(recorded(name)?).expect("a file");
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Some(lines.map(<[u8]>::to_vec).collect())
}

#[test]
fn the_finnhub_capture_decodes_whole() {
    let Some(lines) = lines("finnhub/trades-2023-12-22_25.ndjson") else { return };
    let input = frames(&lines);
    let mut decoder = JsonDecoder::new(&finnhub()).expect("a valid config");
    let decoded = decoder.decode(&input).expect("no internal error");
    assert_balanced(&decoded, &input);
    assert_eq!(decoded.frames, FrameCounts { decoded: 864, ..FrameCounts::default() });
    assert_eq!(decoded.rejects, []);
    let mut counts = BTreeMap::new();
    for row in rows(&decoded.rows) {
        *counts.entry(row.values[0].1.clone()).or_insert(0) += 1;
    }
    let expected = [
        ("AAPL", 313),
        ("AMZN", 189),
        ("BINANCE:BTCUSDT", 3_386),
        ("BINANCE:ETHUSDT", 2_633),
        ("MSFT", 438),
    ];
    assert_eq!(counts, expected.map(|(symbol, count)| (symbol.to_owned(), count)).into());
    // One shape serves stocks, crypto and `"c"` of either kind; it misses the row it is learned from.
    assert_eq!(decoder.rows_by_shape(), 6_958);

    let plain = JsonDecoder::without_shapes(&finnhub())
        .and_then(|mut decoder| decoder.decode(&input))
        .expect("no internal error");
    assert_eq!(plain.rows, decoded.rows);
}

#[test]
fn lines_from_the_wire_decode() {
    let Some(lines) = lines("finnhub/raw-wire-lines.ndjson") else { return };
    let input = frames(&lines);
    let decoded = JsonDecoder::new(&finnhub())
        .and_then(|mut decoder| decoder.decode(&input))
        .expect("no internal error");
    assert_balanced(&decoded, &input);
    assert_eq!(decoded.frames, FrameCounts { decoded: 6, filtered: 3, quarantined: 0 });
    assert_eq!(decoded.notices, ["Subscribing to too many symbols", "Invalid symbol"]);
    assert_eq!(decoded.rejects, []);
}
