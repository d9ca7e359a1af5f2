//! Pages of prices as sites make them: classes that change, two copies of the header without rows,
//! symbols beside names, big numbers cut short; or the same as JSON for a script.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use thalweg_core::time::Timestamp;

use crate::quotes::{COINS, Coin};
use crate::rest::{Answer, Question};

/// How long a page stays what it is.
const FRESH: Duration = Duration::from_secs(5);
/// Most rows that are not filled in.
const LAZY_MAX: usize = 1_000;

/// A page; with `is_changed`, of the site's next release.
pub(crate) fn answer(question: &Question<'_>, is_changed: bool) -> Answer {
    let fresh_ms = i64::try_from(FRESH.as_millis()).unwrap_or(i64::MAX);
    let made = Timestamp::from_millis(question.now.millis().div_euclid(fresh_ms) * fresh_ms);
    let lazy = question.get("lazy").and_then(|lazy| lazy.parse().ok()).unwrap_or(0_usize);
    let body = match question.path {
        "/pages/prices" => prices(question.seed, made, lazy.min(LAZY_MAX), is_changed),
        "/pages/next" => next(question.seed, made),
        _ => return Answer { status: 404, headers: Vec::new(), body: Vec::new(), is_cut: false },
    };
    let etag = format!("\"{}-{lazy}-{is_changed}\"", made.millis());
    let is_known = question.if_none_match == Some(etag.as_str());
    let mut headers = vec![("ETag", etag)];
    if is_known {
        return Answer { status: 304, headers, body: Vec::new(), is_cut: false };
    }
    headers.push(("Content-Type", "text/html; charset=utf-8".to_owned()));
    Answer { status: 200, headers, body: body.into_bytes(), is_cut: false }
}

fn prices(seed: u64, at: Timestamp, lazy: usize, is_changed: bool) -> String {
    // Classes are made anew with each release, and no client should care.
    let class = format!("css-{:x}", at.millis() / 60_000 % 0xffff);
    let price = if is_changed { "Last" } else { "Price" };
    let header = format!(
        "<thead class=\"{class}\"><tr><th>#</th><th>Name</th><th><button>{price}</button></th>\
         <th>24H CHANGE</th><th>24H VOLUME</th><th>Market Cap</th></tr></thead>"
    );
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Prices</title></head>\
         <body><div class=\"sticky\"><table>{header}</table></div><table>{header}</table>\
         <table class=\"{class}\">{header}<tbody>"
    );
    for (index, coin) in COINS.iter().enumerate() {
        let price = coin.price(seed, at);
        let volume = price * coin.supply as f64 * 0.03;
        let change = coin.change(seed, at);
        let _ = write!(
            page,
            "<tr><td>{}</td><td><div><p>{}</p><span>{}</span></div></td><td>{}</td><td>{}{:.2}%</td>\
             <td>{}</td><td>{}</td></tr>",
            index + 1,
            coin.name,
            coin.symbol.trim_end_matches("USDT"),
            money(price),
            if change < 0.0 { "-" } else { "+" },
            change.abs(),
            short(volume),
            short(price * coin.supply as f64),
        );
    }
    for index in 0..lazy {
        let _ =
            write!(page, "<tr><td>{}</td><td><i></i></td><td></td></tr>", COINS.len() + index + 1);
    }
    page + "</tbody></table></body></html>"
}

fn next(seed: u64, at: Timestamp) -> String {
    let coin = |coin: &Coin| json!({ "name": coin.name, "symbol": coin.symbol, "price": format!("{:.8}", coin.price(seed, at)) });
    let coins: Value = COINS.iter().map(coin).collect();
    let data = json!({ "props": { "pageProps": { "coins": coins } }, "page": "/price" });
    format!(
        "<!doctype html><html><body><div id=\"__next\"></div>\
         <script id=\"__NEXT_DATA__\" type=\"application/json\">{data}</script></body></html>"
    )
}

/// `$26,259.61`, and more decimals the smaller it is.
fn money(price: f64) -> String {
    let decimals = match price {
        price if price >= 1.0 => 2,
        price if price >= 0.01 => 4,
        _ => 8,
    };
    let text = format!("{price:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::from("$");
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + "." + fraction
}

/// `$511.98B`.
fn short(amount: f64) -> String {
    match amount {
        amount if amount >= 1e12 => format!("${:.2}T", amount / 1e12),
        amount if amount >= 1e9 => format!("${:.2}B", amount / 1e9),
        amount => format!("${:.2}M", amount / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_for_people() {
        assert_eq!(money(26_259.611), "$26,259.61");
        assert_eq!(money(0.0942), "$0.0942");
        assert_eq!(money(0.0000104), "$0.00001040");
        assert_eq!(short(851_043_210_000.0), "$851.04B");
    }
}
