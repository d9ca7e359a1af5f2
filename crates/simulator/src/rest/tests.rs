//! Answers as the venue's documentation has them.

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_030_000_000);

fn ask(limits: &mut Limits, uri: &str, now: Timestamp, fault: Option<Fault>) -> Answer {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let question = Question { path, query, if_none_match: None, now, seed: 7 };
    answer(&question, fault, limits)
}

fn get(uri: &str) -> (u16, Value) {
    let answer = ask(&mut Limits::new(6_000), uri, NOW, None);
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[test]
fn one_symbol_is_an_object_and_several_are_an_array() {
    let (_, one) = get("/api/v3/ticker/price?symbol=BTCUSDT");
    assert_eq!(one["symbol"], "BTCUSDT");
    let price = one["price"].as_str().unwrap();
    assert_eq!(price.split_once('.').unwrap().1.len(), 8);
    let (_, several) = get("/api/v3/ticker/24hr?symbols=%5B%22BTCUSDT%22,%22ETHUSDT%22%5D");
    assert_eq!(several.as_array().unwrap().len(), 2);
    assert_eq!(several[0].as_object().unwrap().len(), 21);
    assert_eq!(get("/api/v3/ticker/price").1.as_array().unwrap().len(), COINS.len());
}

#[test]
fn what_is_wrong_has_its_code() {
    for (uri, code) in [
        ("/api/v3/ticker/price?symbol=NOPE", -1121),
        ("/api/v3/ticker/price?symbol=BTCUSDT&symbols=%5B%5D", -1128),
        ("/api/v3/klines?interval=1m", -1102),
        ("/api/v3/klines?symbol=BTCUSDT&interval=2m", -1120),
        ("/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1001", -1130),
        ("/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=x", -1100),
    ] {
        assert_eq!(get(uri), (400, get(uri).1));
        assert_eq!(get(uri).1["code"], code, "{uri}");
    }
}

#[test]
fn bars_are_paged_and_the_last_one_is_open() {
    let open = |bars: &Value, at: usize| bars[at][0].as_i64().unwrap();
    let (_, newest) = get("/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=3");
    assert_eq!(newest.as_array().unwrap().len(), 3);
    assert_eq!(newest[0].as_array().unwrap().len(), 12);
    assert!(newest[2][6].as_i64().unwrap() > NOW.millis(), "it is still open");
    let start = open(&newest, 0) - 600_000;
    let (_, oldest) =
        get(&format!("/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=4&startTime={}", start - 1));
    assert_eq!(open(&oldest, 0), start);
    assert_eq!(open(&oldest, 3), start + 180_000);
    let (_, bounded) = get(&format!(
        "/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={start}&endTime={}",
        start + 59_999
    ));
    assert_eq!(bounded.as_array().unwrap().len(), 1);
    assert_eq!(bounded[0], oldest[0]);
}

#[test]
fn who_asks_too_much_is_told_to_wait_and_then_banned() {
    let mut limits = Limits::new(10);
    let mut ask_price = |now| ask(&mut limits, "/api/v3/ticker/price?symbol=BTCUSDT", now, None);
    let header = |answer: &Answer, name: &str| {
        answer.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.clone())
    };
    for used in 1..=5 {
        let answer = ask_price(NOW);
        assert_eq!(answer.status, 200);
        assert_eq!(header(&answer, "X-MBX-USED-WEIGHT-1M"), Some((2 * used).to_string()));
    }
    let refusal = ask_price(NOW);
    assert_eq!(refusal.status, 429);
    let wait = header(&refusal, "Retry-After").unwrap().parse().unwrap();
    let after = NOW.plus(Duration::from_secs(wait));
    assert_eq!(after.millis() % 60_000, 0, "until the minute is over");
    for _ in 0..PATIENCE {
        ask_price(NOW);
    }
    let ban = ask_price(NOW);
    assert_eq!((ban.status, header(&ban, "Retry-After").as_deref()), (418, Some("120")));
    assert_eq!(ask_price(after).status, 418);
    assert_eq!(ask_price(NOW.plus(BAN)).status, 200);
}

#[test]
fn pages_change_with_time_and_with_faults() {
    let mut limits = Limits::new(6_000);
    let page = ask(&mut limits, "/pages/prices?lazy=3", NOW, None);
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert_eq!(text.matches("<table").count(), 3);
    assert_eq!(text.matches("<tr>").count(), 3 + COINS.len() + 3);
    let same = ask(&mut limits, "/pages/prices?lazy=3", NOW.plus(Duration::from_secs(1)), None);
    assert_eq!(same, page);
    let changed = ask(&mut limits, "/pages/prices", NOW, Some(Fault::Layout(FRESH_ENOUGH)));
    assert!(String::from_utf8(changed.body).unwrap().contains("<button>Last</button>"));
    let looped = ask(&mut limits, "/pages/prices", NOW, Some(Fault::RedirectLoop(FRESH_ENOUGH)));
    assert_eq!(looped.status, 302);
    let cut = ask(&mut limits, "/api/v3/time", NOW, Some(Fault::Cut));
    assert!(cut.is_cut);
    let blocked = ask(&mut limits, "/api/v3/time", NOW, Some(Fault::Forbidden(FRESH_ENOUGH)));
    assert!(blocked.status == 403 && blocked.body.starts_with(b"<html>"));
}

const FRESH_ENOUGH: Duration = Duration::from_secs(5);
