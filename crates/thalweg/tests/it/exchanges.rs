//! Exchanges over WebSockets, through the whole binary: every recorded capture held against a count
//! of the file by another program, and what goes wrong at a venue.

use std::path::Path;

use serde_json::Value;

use crate::project::Project;
use crate::support::{Process, Simulator, python, recorded, run, wait_for};

/// A capture, what reads it, and what has to come out.
struct Capture {
    file: &'static str,
    /// The table of keys of the venue, and its path at the simulator.
    venue: &'static str,
    path: &'static str,
    channel: &'static str,
    symbols: &'static [&'static str],
    /// Two decimal columns, whose sums are exact.
    sums: [&'static str; 2],
    /// In Python: the values of the two columns in each row of the message `m`.
    rows_of: &'static str,
    /// Messages of the file, those of them that are heartbeats, those that hold rows, and the rows.
    messages: i64,
    heartbeats: i64,
    decoded: i64,
    rows: i64,
}

const BINANCE_2021: &[&str] = &["NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"];
const COINBASE_2021: &[&str] = &[
    "SKL-USD", "SKL-BTC", "BAND-GBP", "NMR-EUR", "BAND-BTC", "YFI-BTC", "DASH-BTC", "NU-GBP",
    "CRV-EUR", "SKL-GBP",
];
const KRAKEN_2021: &[&str] = &[
    "WAVES/EUR",
    "XMR/USD",
    "KSM/XBT",
    "GRT/ETH",
    "SC/EUR",
    "ETH/CHF",
    "OCEAN/XBT",
    "OMG/USD",
    "XBT/CHF",
    "ADA/XBT",
];

#[rustfmt::skip]
const CAPTURES: &[Capture] = &[
    Capture {
        file: "binance/ws-capture/btcusdt_20240808.gz", venue: "binance", path: "/binance", channel: "trade", symbols: &["BTCUSDT"], sums: ["price", "qty"],
        rows_of: "[(m['data']['p'], m['data']['q'])] if m.get('stream') == 'btcusdt@trade' else []",
        messages: 41_249, heartbeats: 0, decoded: 9_757, rows: 9_757,
    },
    Capture {
        file: "binance/ws-capture/btcusdt_20240808.gz", venue: "binance", path: "/binance", channel: "book_ticker", symbols: &["BTCUSDT"], sums: ["bid_price", "ask_qty"],
        rows_of: "[(m['data']['b'], m['data']['A'])] if m.get('stream') == 'btcusdt@bookTicker' else []",
        messages: 41_249, heartbeats: 0, decoded: 28_040, rows: 28_040,
    },
    Capture {
        file: "binance/ws-capture/btcusdt_20240809.gz", venue: "binance", path: "/binance", channel: "trade", symbols: &["BTCUSDT"], sums: ["price", "qty"],
        rows_of: "[(m['data']['p'], m['data']['q'])] if m.get('stream') == 'btcusdt@trade' else []",
        messages: 58_325, heartbeats: 0, decoded: 10_147, rows: 10_147,
    },
    Capture {
        file: "binance/ws-capture/ethusdt_20240808.gz", venue: "binance", path: "/binance", channel: "trade", symbols: &["ETHUSDT"], sums: ["price", "qty"],
        rows_of: "[(m['data']['p'], m['data']['q'])] if m.get('stream') == 'ethusdt@trade' else []",
        messages: 33_618, heartbeats: 0, decoded: 6_106, rows: 6_106,
    },
    Capture {
        file: "binance/cryptofeed/BINANCE.ws.1.0.gz", venue: "binance", path: "/binance", channel: "agg_trade", symbols: BINANCE_2021, sums: ["price", "qty"],
        rows_of: "[(m['data']['p'], m['data']['q'])] if m['stream'].endswith('@aggTrade') else []",
        messages: 265, heartbeats: 0, decoded: 2, rows: 2,
    },
    Capture {
        file: "binance/cryptofeed/BINANCE.ws.1.0.gz", venue: "binance", path: "/binance", channel: "book_ticker", symbols: BINANCE_2021, sums: ["bid_price", "ask_qty"],
        rows_of: "[(m['data']['b'], m['data']['A'])] if m['stream'].endswith('@bookTicker') else []",
        messages: 265, heartbeats: 0, decoded: 84, rows: 84,
    },
    Capture {
        file: "binance/cryptofeed/BINANCE.ws.1.0.gz", venue: "binance", path: "/binance", channel: "kline_1m", symbols: BINANCE_2021, sums: ["close", "quote_volume"],
        rows_of: "[(m['data']['k']['c'], m['data']['k']['q'])] if m['stream'].endswith('@kline_1m') else []",
        messages: 265, heartbeats: 0, decoded: 2, rows: 2,
    },
    Capture {
        file: "binance/ws-lines/btcusdt_trades_0.txt", venue: "binance", path: "/binance", channel: "trade", symbols: &["BTCUSDT"], sums: ["price", "qty"],
        rows_of: "[(m['p'], m['q'])]",
        messages: 96, heartbeats: 0, decoded: 96, rows: 96,
    },
    Capture {
        file: "binance/ws-lines/btcusdt_kline_1m.txt", venue: "binance", path: "/binance", channel: "kline_1m", symbols: &["BTCUSDT"], sums: ["close", "quote_volume"],
        rows_of: "[(m['k']['c'], m['k']['q'])]",
        messages: 49, heartbeats: 0, decoded: 49, rows: 49,
    },
    Capture {
        file: "binance/ws-lines/btcusdt_miniTicker.txt", venue: "binance", path: "/binance", channel: "ticker", symbols: &["BTCUSDT"], sums: ["last_price", "volume"],
        rows_of: "[(m['c'], m['v'])] if m['e'] == '24hrTicker' else []",
        messages: 36, heartbeats: 0, decoded: 0, rows: 0,
    },
    Capture {
        file: "coinbase/COINBASE.ws.28.0.part1.gz", venue: "coinbase", path: "/coinbase", channel: "matches", symbols: COINBASE_2021, sums: ["price", "qty"],
        rows_of: "[(m['price'], m['size'])] if m['type'] in ('match', 'last_match') else []",
        messages: 6_633, heartbeats: 0, decoded: 47, rows: 47,
    },
    Capture {
        file: "coinbase/COINBASE.ws.28.0.part1.gz", venue: "coinbase", path: "/coinbase", channel: "ticker", symbols: COINBASE_2021, sums: ["price", "volume_30d"],
        rows_of: "[(m['price'], m['volume_30d'])] if m['type'] == 'ticker' else []",
        messages: 6_633, heartbeats: 0, decoded: 47, rows: 47,
    },
    Capture {
        file: "coinbase/advanced-trade-2026-08-09.part1.jsonl.gz", venue: "coinbase", path: "/coinbase", channel: "advanced/market_trades", symbols: &["BTC-USD", "ETH-USD"], sums: ["price", "qty"],
        rows_of: "[(t['price'], t['size']) for e in m['events'] for t in e['trades']] if m['channel'] == 'market_trades' else []",
        messages: 692, heartbeats: 16, decoded: 44, rows: 259,
    },
    Capture {
        file: "coinbase/advanced-trade-2026-08-09.part1.jsonl.gz", venue: "coinbase", path: "/coinbase", channel: "advanced/ticker", symbols: &["BTC-USD", "ETH-USD"], sums: ["price", "best_bid_qty"],
        rows_of: "[(t['price'], t['best_bid_quantity']) for e in m['events'] for t in e['tickers']] if m['channel'] == 'ticker' else []",
        messages: 692, heartbeats: 0, decoded: 108, rows: 108,
    },
    Capture {
        file: "kraken/KRAKEN.ws.48.0", venue: "kraken", path: "/kraken", channel: "v1/trade", symbols: KRAKEN_2021, sums: ["price", "qty"],
        rows_of: "[(t[0], t[1]) for t in m[1]] if isinstance(m, list) and m[-2] == 'trade' else []",
        messages: 49, heartbeats: 30, decoded: 8, rows: 10,
    },
    Capture {
        file: "kraken/KRAKEN.ws.50.0.part1.gz", venue: "kraken", path: "/kraken", channel: "v1/trade", symbols: KRAKEN_2021, sums: ["price", "qty"],
        rows_of: "[(t[0], t[1]) for t in m[1]] if isinstance(m, list) and m[-2] == 'trade' else []",
        messages: 2_886, heartbeats: 23, decoded: 0, rows: 0,
    },
];

/// Counts and exact sums of a capture, from the file alone.
const COUNT: &str = r#"
import decimal, gzip, json, re, sys
decimal.getcontext().prec = 60
path, rows_of = sys.argv[1], eval('lambda m: ' + sys.argv[2])
messages, decoded, rows = 0, 0, []
for line in (gzip.open if path.endswith('.gz') else open)(path, 'rt'):
    if not line.strip() or re.match('wss://|configuration', line): continue
    if line.startswith('{"t":'):
        line = json.loads(line)
        if line['t'] != 'recv': continue
        line = line['data']
    found = rows_of(json.loads(line[re.search('[{[]', line).start():]))
    messages, decoded, rows = messages + 1, decoded + bool(found), rows + found
sums = [format(sum((decimal.Decimal(row[at]) for row in rows), decimal.Decimal()).normalize(), 'f') for at in (0, 1)]
print(json.dumps([messages, decoded, len(rows)] + sums))"#;

#[test]
fn every_recorded_message_of_binance_is_accounted_for() {
    replay("binance");
}

#[test]
fn every_recorded_message_of_coinbase_is_accounted_for() {
    replay("coinbase");
}

#[test]
fn every_recorded_message_of_kraken_is_accounted_for() {
    replay("kraken");
}

fn replay(venue: &str) {
    for capture in CAPTURES.iter().filter(|capture| capture.venue == venue) {
        let Some(file) = recorded(capture.file) else { return };
        capture.check(&file);
    }
}

impl Capture {
    fn check(&self, file: &Path) {
        let what = format!("{} of {}", self.channel, self.file);
        let counted = &python(COUNT, &[file, Path::new(self.rows_of)])[0];
        let counts = [0, 1, 2].map(|at| counted[at].as_i64().expect("a count"));
        assert_eq!(counts, [self.messages, self.decoded, self.rows], "the file: {what}");

        let simulator = Simulator::replay(file, &["--speed", "max"]);
        let project = Project::new(&source(
            self.venue,
            &url(&simulator, self.path),
            self.channel,
            self.symbols,
        ));
        // A busy machine shall not take a slow simulator for silence.
        project.start(&["--drain", "--idle", "5s"]).end().ended_with(0);
        let sent = simulator.stop();
        assert!(sent.contains(&format!(" messages: {},", self.messages)), "{what}: {sent}");
        project.balances();
        let ledger = |count| project.ledger("source", "feed", count);
        assert_eq!(ledger("frames_received"), self.messages - self.heartbeats, "{what}");
        assert_eq!(ledger("frames_decoded"), self.decoded, "{what}");
        assert_eq!(ledger("frames_quarantined"), 0, "{what}");
        assert_eq!(ledger("rows_decoded"), self.rows, "{what}");
        assert_eq!(ledger("rows_valid"), self.rows, "{what}");

        let [first, second] = self.sums;
        let found = project.rows(&format!(
            "SELECT count(*) AS n, CAST(sum({first}) AS VARCHAR) AS a, CAST(sum({second}) AS VARCHAR) AS b FROM feed"
        ));
        let sum = |name: &str| match found[0][name].as_str() {
            Some(sum) => sum.trim_end_matches('0').trim_end_matches('.').to_owned(),
            None => "0".to_owned(),
        };
        assert_eq!(found[0]["n"], self.rows, "{what}");
        assert_eq!((&*sum("a"), &*sum("b")), (text(&counted[3]), text(&counted[4])), "{what}");
        let gaps = project.count("SELECT count(*) FROM system.gaps WHERE first_id IS NOT NULL");
        assert_eq!(gaps, 0, "no id is missing: {what}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn url(simulator: &Simulator, path: &str) -> String {
    simulator.url.replace("/finnhub", path)
}

/// A source `feed` of a venue.
fn source(venue: &str, url: &str, channel: &str, symbols: &[&str]) -> String {
    format!(
        "[source.feed]\n{venue}.url = \"{url}\"\n{venue}.channel = \"{channel}\"\n\
         {venue}.symbols = {symbols:?}\n\
         [runtime]\ncheckpoint.every = \"100ms\"\ncommit.every = \"200ms\"\n"
    )
}

/// Venue, path, channel and symbol of everything that can be asked for.
const CHANNELS: [(&str, &str, &str, &str); 13] = [
    ("binance", "/binance", "trade", "BTCUSDT"),
    ("binance", "/binance", "agg_trade", "BTCUSDT"),
    ("binance", "/binance", "book_ticker", "BTCUSDT"),
    ("binance", "/binance", "ticker", "BTCUSDT"),
    ("binance", "/binance", "kline_1m", "BTCUSDT"),
    ("coinbase", "/coinbase", "matches", "BTC-USD"),
    ("coinbase", "/coinbase", "ticker", "BTC-USD"),
    ("coinbase", "/coinbase", "advanced/market_trades", "BTC-USD"),
    ("coinbase", "/coinbase", "advanced/ticker", "BTC-USD"),
    ("kraken", "/kraken/v2", "trade", "BTC/USD"),
    ("kraken", "/kraken/v2", "ticker", "BTC/USD"),
    ("kraken", "/kraken", "v1/trade", "XBT/USD"),
    ("kraken", "/kraken", "v1/ticker", "XBT/USD"),
];

/// The project, running, ready to be asked.
fn serving(project: &Project) -> Process {
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    process
}

fn stop(running: Process, project: &Project) -> String {
    running.terminate();
    let said = running.end().ended_with(0);
    project.balances();
    said.stderr
}

#[test]
fn every_channel_of_every_venue_gives_rows() {
    let simulator = Simulator::start(&["--rate", "400", "--faults", "fields@#50:50,twice@#150:50"]);
    let sources: Vec<String> = (0..)
        .zip(CHANNELS)
        .map(|(number, (venue, path, channel, symbol))| {
            let declared = source(venue, &url(&simulator, path), channel, &[symbol]);
            let (declared, _) = declared.split_once("[runtime]").expect("both are there");
            declared.replace("[source.feed]", &format!("[source.feed_{number}]"))
        })
        .collect();
    let project = Project::new(&sources.concat());
    run(project.command("check", &[])).ended_with(0);
    let running = serving(&project);
    wait_for("rows of every channel", || {
        let rows = project.rows("SELECT name, rows_valid FROM system.sources WHERE rows_valid < 3");
        rows.is_empty().then_some(())
    });
    stop(running, &project);
    for (number, (_, _, channel, symbol)) in CHANNELS.iter().enumerate() {
        let name = format!("feed_{number}");
        assert_eq!(project.ledger("source", &name, "rows_quarantined"), 0, "{channel}");
        assert_eq!(project.ledger("source", &name, "frames_quarantined"), 0, "{channel}");
        let named = project.rows(&format!("SELECT DISTINCT symbol FROM {name}"));
        assert_eq!(named, [serde_json::json!({"symbol": symbol})], "{channel}");
    }
    simulator.stop();
}

/// What ids show to be missing, once it is there: key, first and last.
fn missing(project: &Project) -> (String, i64, i64) {
    let sql = "SELECT key, first_id, last_id, state FROM system.gaps WHERE first_id IS NOT NULL";
    let rows = wait_for("a gap of ids", || {
        let rows = project.rows(sql);
        (!rows.is_empty()).then_some(rows)
    });
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["state"], "unfillable");
    let id = |name: &str| rows[0][name].as_i64().expect("an id");
    (text(&rows[0]["key"]).to_owned(), id("first_id"), id("last_id"))
}

#[test]
fn trades_that_were_kept_back_are_a_gap_and_nothing_else_is() {
    for (venue, path, channel, symbol, id) in [
        ("binance", "/binance", "trade", "ETHUSDT", "trade_id"),
        ("binance", "/binance", "agg_trade", "ETHUSDT", "agg_trade_id"),
        ("coinbase", "/coinbase", "matches", "ETH-USD", "trade_id"),
        ("coinbase", "/coinbase", "advanced/market_trades", "ETH-USD", "trade_id"),
        ("kraken", "/kraken/v2", "trade", "ETH/USD", "trade_id"),
    ] {
        let simulator = Simulator::start(&["--rate", "400", "--faults", "skip@#20:3"]);
        let project = Project::new(&source(venue, &url(&simulator, path), channel, &[symbol]));
        let running = serving(&project);
        let (key, first, last) = missing(&project);
        assert_eq!((key.as_str(), last - first), (symbol, 2), "{channel}");
        wait_for("trades after the gap", || {
            let after = format!("SELECT count(*) FROM feed WHERE {id} > {last}");
            (project.count(&after) > 5).then_some(())
        });
        let said = stop(running, &project);
        assert!(said.contains(&format!("ids {first} to {last} are missing")), "{said}");
        // The ids that are there and those that are missing are all there are.
        let rows = project.rows(&format!(
            "SELECT count(*) AS n, count(DISTINCT {id}) AS ids, min({id}) AS low, max({id}) AS high FROM feed"
        ));
        let count = |name: &str| rows[0][name].as_i64().expect("a count");
        assert_eq!((count("n"), count("n") + 3), (count("ids"), count("high") - count("low") + 1));
        assert!(simulator.stop().contains("messages_skipped: 3,"));
    }
}

#[test]
fn a_missing_message_of_a_connection_is_a_gap() {
    let simulator = Simulator::start(&["--rate", "400", "--faults", "skip@#20:2"]);
    let at = url(&simulator, "/coinbase");
    let project = Project::new(&source("coinbase", &at, "advanced/ticker", &["BTC-USD"]));
    let running = serving(&project);
    // A heartbeat may come between the two, so that they are one gap or two.
    let missing = wait_for("gaps of the connection", || {
        let rows = project
            .rows("SELECT key, first_id, last_id FROM system.gaps WHERE first_id IS NOT NULL");
        let span = |row: &Value| Some(row["last_id"].as_i64()? - row["first_id"].as_i64()? + 1);
        let missing: i64 = rows.iter().filter_map(span).sum();
        assert!(rows.iter().all(|row| row["key"] == "*"), "{rows:?}");
        (missing > 0).then_some(missing)
    });
    assert!((1..=2).contains(&missing), "{missing}");
    stop(running, &project);
}

#[test]
fn a_lost_connection_of_kraken_is_made_good_by_its_snapshot_without_repeats() {
    let simulator = Simulator::start(&["--rate", "400", "--faults", "close@#30,dup@#60:5"]);
    let project = Project::new(&format!(
        "{}[table.kept]\nfrom = \"feed\"\ndelta.path = \"lake/kept\"\n",
        source("kraken", &url(&simulator, "/kraken/v2"), "trade", &["BTC/USD"])
    ));
    let running = serving(&project);
    wait_for("trades after both", || {
        (project.count("SELECT count(*) FROM feed") > 150).then_some(())
    });
    stop(running, &project);
    let connections = simulator.stop();
    assert!(connections.contains("connections: 2,"), "{connections}");
    assert!(project.ledger("source", "feed", "rows_duplicate") >= 5, "repeats are counted");
    for relation in ["feed", "kept"] {
        let rows = project.rows(&format!(
            "SELECT count(*) AS n, count(DISTINCT trade_id) AS ids, \
             max(trade_id) - min(trade_id) + 1 AS span FROM {relation}"
        ));
        assert_eq!(
            (&rows[0]["n"], &rows[0]["n"]),
            (&rows[0]["ids"], &rows[0]["span"]),
            "{relation}"
        );
    }
    let outage = "SELECT count(*) FROM system.gaps WHERE first_id IS NULL AND \"to\" IS NOT NULL";
    assert!(project.count(outage) >= 1, "the outage itself is marked");
}

#[test]
fn what_a_venue_refuses_is_counted_logged_and_shown() {
    for (venue, path, channel, symbols, reason) in [
        (
            "coinbase",
            "/coinbase",
            "matches",
            &["BTC-USD", "NO-WAY"][..],
            "NO-WAY is not a valid product",
        ),
        (
            "kraken",
            "/kraken/v2",
            "trade",
            &["NO/WAY", "BTC/USD"][..],
            "Currency pair not supported NO/WAY",
        ),
        (
            "kraken",
            "/kraken",
            "v1/trade",
            &["NO/WAY", "XBT/USD"][..],
            "Currency pair not supported NO/WAY",
        ),
    ] {
        let simulator = Simulator::start(&[]);
        let project = Project::new(&source(venue, &url(&simulator, path), channel, symbols));
        let running = serving(&project);
        let shown = format!(
            "SELECT count(*) FROM system.sources WHERE errors >= 1 AND reason = '{reason}'"
        );
        wait_for("the error in `system.sources`", || (project.count(&shown) == 1).then_some(()));
        let said = stop(running, &project);
        assert!(said.contains("the feed reports an error") && said.contains(reason), "{said}");
        assert_eq!(project.ledger("source", "feed", "frames_quarantined"), 0);
    }
}

#[test]
fn an_error_of_binance_and_its_goodbye_are_survived() {
    let simulator =
        Simulator::start(&["--rate", "400", "--faults", "error@#5,garbage@#10,shutdown@#20"]);
    let at = url(&simulator, "/binance");
    let project = Project::new(&source("binance", &at, "trade", &["BTCUSDT", "NOPEUSDT"]));
    let running = serving(&project);
    wait_for("a second connection", || {
        let sql = "SELECT count(*) FROM system.sources WHERE reconnects = 1 AND rows_valid > 60";
        (project.count(sql) == 1).then_some(())
    });
    let said = stop(running, &project);
    assert!(
        said.contains("Too many subscriptions") && said.contains("as it is shutting down"),
        "{said}"
    );
    assert_eq!(project.ledger("source", "feed", "frames_quarantined"), 1, "the garbage");
    simulator.stop();
}
