//! Polling over HTTP, against a server whose every answer the test writes.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use thalweg_connect::feed::{Feed, FeedState, FeedStatus};
use thalweg_connect::presets::binance::rest::{BinancePoll, Endpoint, Interval, preset};
use thalweg_connect::sources::http::{Emit, Http, HttpConfig, Paging};
use thalweg_core::env::Env;
use thalweg_core::frame::FRAME_BYTES_MAX;
use thalweg_core::source::{Source, SourceEvent};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::TopicPartition;
use thalweg_core::{Error, ErrorKind};

use crate::support::web::{Web, answer};
use crate::support::{MemLog, MemStore, START, env, eventually, soon, step_to_next_sleeper};

const PERIOD: Duration = Duration::from_secs(5);

fn config(web: &Web, path: &str) -> HttpConfig {
    HttpConfig::new(format!("{}{path}", web.url), PERIOD)
}

fn http(config: HttpConfig, env: &Env) -> Http {
    Http::new(config, env).unwrap()
}

/// The next event, stepping the clock when the source sleeps.
async fn next(source: &mut Http, env: &Env) -> Result<SourceEvent, Error> {
    soon("an event", async {
        let mut event = Box::pin(source.next());
        loop {
            tokio::select! {
                biased;
                event = &mut event => return event,
                _ = step_to_next_sleeper(&env.clock) => {}
            }
        }
    })
    .await
}

/// The frames of the next poll.
async fn poll(source: &mut Http, env: &Env) -> Vec<String> {
    let mut frames = Vec::new();
    loop {
        match next(source, env).await.unwrap() {
            SourceEvent::Frame(frame) => frames.push(String::from_utf8_lossy(&frame.bytes).into()),
            SourceEvent::Alive if !frames.is_empty() => return frames,
            SourceEvent::Alive => {}
            SourceEvent::End => return frames,
            other => panic!("{other:?}"),
        }
    }
}

/// All frames of a source that polls once.
async fn once(mut config: HttpConfig, env: &Env) -> Result<Vec<String>, Error> {
    config.once = true;
    let mut source = http(config, env);
    soon("an answer", source.connect()).await?;
    let mut frames = Vec::new();
    loop {
        match next(&mut source, env).await? {
            SourceEvent::Frame(frame) => frames.push(String::from_utf8_lossy(&frame.bytes).into()),
            SourceEvent::End => return Ok(frames),
            _ => {}
        }
    }
}

/// What [`once`] fails with.
async fn refused(config: HttpConfig, env: &Env) -> Error {
    once(config, env).await.expect_err("the poll is refused")
}

#[tokio::test]
async fn a_hundred_polls_take_exactly_a_hundred_periods() {
    let env = env();
    let web =
        Web::start(&env, |_, count| answer("200 OK", &[], format!("{{\"n\":{count}}}"))).await;
    let mut source = http(config(&web, "/price?token=c0ffee"), &env);
    soon("the first poll", source.connect()).await.unwrap();
    let mut frames = 0;
    while frames < 101 {
        frames += usize::from(matches!(next(&mut source, &env).await, Ok(SourceEvent::Frame(_))));
    }
    let asked = web.asked();
    assert_eq!(asked.len(), 101, "one request a poll, however often `next` is dropped");
    assert_eq!(asked[100].at.since(asked[0].at), 100 * PERIOD);
    assert_eq!(asked[0].uri, "/price?token=c0ffee");
}

#[tokio::test]
async fn dropping_next_sends_no_request_twice() {
    let env = env();
    let web = Web::start(&env, |_, _| answer("200 OK", &[], "{}")).await;
    let mut source = http(config(&web, "/"), &env);
    assert_eq!(source.next().now_or_never().map(Result::unwrap), Some(SourceEvent::Alive));
    for _ in 0..50 {
        if source.next().now_or_never().is_some() {
            break;
        }
        tokio::task::yield_now().await;
    }
    eventually("it was asked", || !web.asked().is_empty()).await;
    next(&mut source, &env).await.unwrap();
    assert_eq!(web.asked().len(), 1);
}

#[tokio::test]
async fn after_429_there_is_no_request_before_the_time_told_and_one_right_after() {
    let env = env();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let web = Web::start(&env, move |_, count| match count {
        2 => answer("429 Too Many Requests", &[("Retry-After", "37")], "slow down"),
        3 => answer("418 I'm a teapot", &[("Retry-After", "120")], "{\"code\":-1003}"),
        4 => {
            over.store(true, Ordering::Relaxed);
            answer("200 OK", &[], "{}")
        }
        _ => answer("200 OK", &[], "{}"),
    })
    .await;
    let (log, store) = (Arc::new(MemLog::new()), Arc::new(MemStore::default()));
    let status = Arc::new(FeedStatus::default());
    let source = Box::new(http(config(&web, "/"), &env));
    let running = env.spawn({
        let (env, log, store, status) = (env.clone(), log.clone(), store.clone(), status.clone());
        async move {
            let partition = TopicPartition::new("prices.raw", 0);
            Feed::run(&env, source, log, partition, store, status).await
        }
    });
    while !is_over.load(Ordering::Relaxed) {
        // Longer sleeps than a period are the watchdog's, but for the one that was asked for.
        let sleeps = || {
            let next = env.clock.next_deadline()?;
            let is_waiting = status.read(env.clock.now()).state == FeedState::Waiting;
            (is_waiting || next.since(env.clock.now()) <= PERIOD).then_some(next)
        };
        eventually("it waits", || sleeps().is_some() || is_over.load(Ordering::Relaxed)).await;
        if let Some(next) = sleeps() {
            env.clock.step_to(next);
        }
    }
    let asked: Vec<u64> = web.asked().iter().map(|asked| asked.at.since(START).as_secs()).collect();
    assert_eq!(asked[..5], [0, 5, 10, 47, 167]);
    let errors = status.read(env.clock.now()).last_errors;
    let said: Vec<&str> = errors.iter().map(|(_, text)| text.as_str()).collect();
    assert!(said[0].contains("HTTP 429") && said[0].contains("slow down"), "{said:?}");
    assert!(said[1].contains("has banned this address"), "{said:?}");
    eventually("it is live again", || status.read(env.clock.now()).state == FeedState::Live).await;
    env.shutdown.cancel();
    soon("the end", running).await.unwrap().unwrap();
    // Nothing was missed until the poll that failed was due.
    let gaps: Vec<_> = store.gaps().into_iter().filter(|gap| gap.to.is_some()).collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].from, START.plus(2 * PERIOD));
    assert_eq!(gaps[0].to, Some(START.plus(Duration::from_secs(167))));
}

#[tokio::test]
async fn answers_that_are_no_success_are_errors_that_say_who_can_help() {
    let env = env();
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(&str, Headers, &str, ErrorKind, &str); 6] = [
        (
            "400 Bad Request",
            &[],
            r#"{"code":-1121,"msg":"Invalid symbol."}"#,
            ErrorKind::Invalid,
            "refused the request (HTTP 400)",
        ),
        (
            "403 Forbidden",
            &[("Content-Type", "text/html")],
            "<html><title>403</title><script>x</script><h1>Blocked c0ffee",
            ErrorKind::Invalid,
            "refused access (HTTP 403)",
        ),
        ("401 Unauthorized", &[], "", ErrorKind::Invalid, "refused the token (HTTP 401)"),
        ("500 Oops", &[], "", ErrorKind::Unavailable, "is out of order (HTTP 500)"),
        (
            "503 Busy",
            &[("Retry-After", "9")],
            "",
            ErrorKind::Unavailable,
            "out of order (HTTP 503)",
        ),
        (
            "200 OK",
            &[("Content-Length", "100")],
            "{\"cut\":",
            ErrorKind::Unavailable,
            "the body was cut short by",
        ),
    ];
    for (status, headers, body, kind, message) in cases {
        let web = Web::start(&env, move |_, _| answer(status, headers, body)).await;
        let error = refused(config(&web, "/?token=c0ffee"), &env).await;
        assert_eq!(error.kind, kind, "{status}");
        assert!(error.message.contains(message), "{status}: {}", error.message);
        let shown = format!("{} {:?}", error.chain(), error);
        assert!(!shown.contains("c0ffee"), "{shown}");
        if !body.is_empty() && status != "200 OK" {
            assert!(error.detail.is_some_and(|it| it.starts_with("It says: ")), "{status}");
        }
    }
}

#[tokio::test]
async fn what_does_not_answer_in_time_is_given_up() {
    let env = env();
    let web = Web::start(&env, |_, _| Vec::new()).await;
    let mut slow = config(&web, "/");
    slow.timeout = Duration::from_millis(100);
    let error = refused(slow, &env).await;
    assert!(error.message.ends_with("did not answer in time"), "{}", error.message);
    let nobody = HttpConfig::new("http://127.0.0.1:1/", PERIOD);
    assert!(refused(nobody, &env).await.message.starts_with("cannot reach http://127.0.0.1:1/"));
}

#[tokio::test]
async fn redirects_are_followed_without_secrets_and_not_for_ever() {
    let env = env();
    let other = Web::start(&env, |_, _| answer("200 OK", &[], "[1]")).await;
    let target = format!("{}/moved", other.url);
    let web = Web::start(&env, move |asked, _| match asked.uri.as_str() {
        "/" => answer("302 Found", &[("Location", "/there")], "<html>"),
        "/there" => answer("308 Permanent Redirect", &[("Location", &target)], ""),
        _ => answer("301 Moved Permanently", &[("Location", "/loop")], ""),
    })
    .await;
    let mut moved = config(&web, "/");
    moved.headers = vec![("X-Api-Key".to_owned(), "c0ffee".to_owned())];
    assert_eq!(once(moved, &env).await.unwrap(), ["[1]"]);
    assert_eq!(web.asked()[1].header("x-api-key"), Some("c0ffee"));
    assert_eq!(other.asked()[0].header("x-api-key"), None, "{:?}", other.asked());

    let error = refused(config(&web, "/loop"), &env).await;
    assert!(error.message.ends_with("redirects more than 5 times"), "{}", error.message);
    assert_eq!(web.uris().iter().filter(|uri| *uri == "/loop").count(), 6);
}

#[tokio::test]
async fn only_what_has_changed_is_a_frame() {
    let env = env();
    let web = Web::start(&env, |asked, count| {
        let is_known = asked.header("if-none-match") == Some("\"one\"")
            && asked.header("if-modified-since").is_some();
        match count {
            0 => answer(
                "200 OK",
                &[("ETag", "\"one\""), ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
                "first",
            ),
            1 if is_known => answer("304 Not Modified", &[], ""),
            // The same again, from a server that does not keep to it.
            2 => answer("200 OK", &[("ETag", "\"two\"")], "first"),
            3 => answer("200 OK", &[], "second"),
            4 => answer("200 OK", &[], "first"),
            _ => answer("200 OK", &[], format!("asked {count}")),
        }
    })
    .await;
    let mut changed = config(&web, "/");
    changed.emit = Emit::Changed;
    let mut source = http(changed.clone(), &env);
    soon("the first poll", source.connect()).await.unwrap();
    let mut frames = Vec::new();
    for _ in 0..3 {
        frames.extend(poll(&mut source, &env).await);
    }
    assert_eq!(frames, ["first", "second", "first"]);
    assert_eq!(web.asked()[4].header("if-none-match"), None, "it gave none with the last answer");

    // A restart goes on from what the journal holds.
    let web = Web::start(&env, |_, _| answer("200 OK", &[], "first")).await;
    let mut after = changed;
    after.requests[0].url = format!("{}/", web.url);
    let mut before = http(after.clone(), &env);
    soon("the first poll", before.connect()).await.unwrap();
    assert!(matches!(next(&mut before, &env).await, Ok(SourceEvent::Frame(_))));
    let position = before.position().unwrap();
    after.once = true;
    let mut source = http(after, &env);
    source.restore(&position).unwrap();
    soon("a poll", source.connect()).await.unwrap();
    assert_eq!(next(&mut source, &env).await.unwrap(), SourceEvent::Alive);
    assert_eq!(next(&mut source, &env).await.unwrap(), SourceEvent::End);
    source.restore(b"not ours").unwrap();
}

#[tokio::test]
async fn bodies_are_unpacked_and_none_is_too_long() {
    let env = env();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"{\"price\":\"1.5\"}").unwrap();
    let packed = packed.finish().unwrap();
    let web = Web::start(&env, move |asked, _| match asked.uri.as_str() {
        "/packed" => answer("200 OK", &[("Content-Encoding", "gzip")], &packed),
        "/long" => answer("200 OK", &[], vec![b' '; FRAME_BYTES_MAX + 1]),
        _ => answer("204 No Content", &[], ""),
    })
    .await;
    assert_eq!(once(config(&web, "/packed"), &env).await.unwrap(), [r#"{"price":"1.5"}"#]);
    assert_eq!(web.asked()[0].header("accept-encoding"), Some("gzip"));
    assert_eq!(once(config(&web, "/nothing"), &env).await.unwrap(), [""; 0]);
    let mut long = http(config(&web, "/long"), &env);
    soon("a poll", long.connect()).await.unwrap();
    let Ok(SourceEvent::Oversized { length, head, .. }) = next(&mut long, &env).await else {
        panic!("it is too long")
    };
    assert_eq!((length, head.len()), (FRAME_BYTES_MAX as u64 + 1, 64 << 10));
}

#[tokio::test]
async fn pages_are_followed_in_each_of_the_three_ways() {
    let env = env();
    let web = Web::start(&env, |asked, _| match asked.uri.as_str() {
        "/link" => answer("200 OK", &[("Link", "</link?page=2>; rel=\"next\"")], "a"),
        "/link?page=2" => answer("200 OK", &[("Link", "</link>; rel=\"prev\"")], "b"),
        "/next?k=1" => answer("200 OK", &[], r#"{"next":"/next?k=2"}"#),
        "/next?k=2" => answer("200 OK", &[], r#"{"next":null}"#),
        "/token?k=1" => answer("200 OK", &[], r#"{"meta":{"cursor":"x y"}}"#),
        "/token?k=1&c=x+y" => answer("200 OK", &[], r#"{"meta":{}}"#),
        "/number?page=7" | "/number?page=8" => answer("200 OK", &[], r#"{"rows":[1]}"#),
        _ => answer("200 OK", &[], r#"{"rows":[]}"#),
    })
    .await;
    let paged = |path: &str, paging| HttpConfig { paging, ..config(&web, path) };
    let path = |text: &str| text.parse().unwrap();
    let link = paged("/link", Paging::Link { pages_max: 9 });
    assert_eq!(once(link, &env).await.unwrap(), ["a", "b"]);
    let next = |param: Option<&str>, text: &str| Paging::Next {
        path: path(text),
        param: param.map(str::to_owned),
        pages_max: 9,
    };
    assert_eq!(once(paged("/next?k=1", next(None, "$.next")), &env).await.unwrap().len(), 2);
    let token = paged("/token?k=1", next(Some("c"), "$.meta.cursor"));
    assert_eq!(once(token, &env).await.unwrap().len(), 2);
    let number = |pages_max| Paging::Number {
        param: "page".to_owned(),
        first: 7,
        rows: path("$.rows"),
        pages_max,
    };
    let frames = once(paged("/number", number(9)), &env).await.unwrap();
    assert_eq!(frames, [r#"{"rows":[1]}"#; 2], "the page without rows is none");
    assert_eq!(once(paged("/number", number(1)), &env).await.unwrap().len(), 1);
}

/// Bars of a minute as Binance has them, the one that is open among them, 2 a page.
fn bars(asked: &str, now: Timestamp) -> Vec<u8> {
    let url = url::Url::parse(&format!("http://host{asked}")).unwrap();
    let time = |name: &str| {
        let (_, value) = url.query_pairs().find(|(found, _)| found == name).unwrap();
        value.parse::<i64>().unwrap()
    };
    let first = time("startTime").div_euclid(60_000) + i64::from(time("startTime") % 60_000 != 0);
    let last = time("endTime").min(now.millis()).div_euclid(60_000);
    let bar = |minute: i64| format!("[{},\"1.0\",{}]", minute * 60_000, minute * 60_000 + 59_999);
    let bars: Vec<String> = (first..=last).take(1000).map(bar).collect();
    answer("200 OK", &[("X-MBX-USED-WEIGHT-1M", "2")], format!("[{}]", bars.join(",")))
}

#[tokio::test]
async fn every_bar_comes_once_when_it_is_closed_through_restarts_and_outages() {
    let env = env();
    let is_down = Arc::new(AtomicBool::new(false));
    let (down, clock) = (is_down.clone(), env.clock.clone());
    let web = Web::start(&env, move |asked, _| {
        if down.load(Ordering::Relaxed) {
            return answer("502 Bad Gateway", &[], "<html>");
        }
        bars(&asked.uri, clock.now())
    })
    .await;
    let endpoint = Endpoint::Klines {
        interval: Interval::parse("1m").unwrap(),
        history: Duration::from_secs(2_500 * 60),
    };
    let config = preset(&BinancePoll {
        endpoint,
        symbols: vec!["BTCUSDT".to_owned()],
        every: Duration::from_secs(20),
        url: web.url.clone(),
    })
    .unwrap();

    let opens = |frame: &str| -> Vec<i64> {
        let value: serde_json::Value = serde_json::from_str(frame).unwrap();
        assert_eq!(value["symbol"], "BTCUSDT");
        let bars = value["klines"].as_array().unwrap();
        bars.iter().map(|bar| bar[0].as_i64().unwrap()).collect()
    };
    let mut source = http(config.clone(), &env);
    soon("a poll", source.connect()).await.unwrap();
    let mut seen = Vec::new();
    let mut closed_at = |frame: &str, now: Timestamp| {
        for open in opens(frame) {
            assert!(open + 60_000 <= now.millis(), "the bar of {open} is still open");
            seen.push(open / 60_000);
        }
        seen.len()
    };
    for frame in poll(&mut source, &env).await {
        closed_at(&frame, env.clock.now());
    }
    for _ in 0..3 {
        for frame in poll(&mut source, &env).await {
            closed_at(&frame, env.clock.now());
        }
    }
    let position = source.position().unwrap();

    // An outage of ten minutes, and a restart.
    is_down.store(true, Ordering::Relaxed);
    env.clock.step_to(env.clock.now().plus(Duration::from_secs(90)));
    let mut source = http(config, &env);
    source.restore(&position).unwrap();
    assert!(soon("an answer", source.connect()).await.is_err());
    env.clock.step_to(env.clock.now().plus(Duration::from_secs(600)));
    is_down.store(false, Ordering::Relaxed);
    soon("a poll", source.connect()).await.unwrap();
    for frame in poll(&mut source, &env).await {
        closed_at(&frame, env.clock.now());
    }
    let count = closed_at(r#"{"symbol":"BTCUSDT","klines":[]}"#, env.clock.now());
    assert!(count > 2_510, "{count} bars");
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "none twice, none left out");
    assert!(source.keys().is_empty(), "nothing of this is ever missing");
}
