//! What is polled, through the whole binary: Binance's REST and pages of prices of the simulator,
//! and recorded pages.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::project::Project;
use crate::support::{Process, Simulator, recorded, run, wait_for};

/// A source of prices, and a table that keeps them.
fn prices(url: &str, every: &str, more: &str) -> Project {
    Project::new(&format!(
        "[source.prices]\nbinance.url = \"{url}\"\nbinance.poll = \"ticker/price\"\n\
         binance.symbols = [\"BTCUSDT\"]\nbinance.every = \"{every}\"\n{more}\n\
         [table.price_history]\nfrom = \"prices\"\ndelta.path = \"lake/prices\"\n\
         [runtime]\ncheckpoint.every = \"100ms\"\ncommit.every = \"200ms\"\n"
    ))
}

fn coins(url: &str, format: &str, more: &str) -> Project {
    Project::new(&format!(
        "[source.coins]\nhttp.url = \"{url}\"\nhttp.every = \"1s\"\n{more}\nformat.html = {format}\n\
         key = [\"name\"]\n\
         [source.coins.columns]\n\
         name = {{ type = \"text not null\", select = \"Name >> p\" }}\n\
         price = {{ type = \"decimal(24,10) not null\", select = \"Price\", clean = \"money\" }}\n\
         change_24h = {{ type = \"double\", select = \"24H CHANGE\", clean = \"percent\" }}\n\
         market_cap = {{ type = \"decimal(30,2)\", select = \"Market Cap\", clean = \"money\" }}\n\
         [table.coin_history]\nfrom = \"coins\"\ndelta.path = \"lake/coins\"\n\
         [runtime]\ncheckpoint.every = \"100ms\"\ncommit.every = \"200ms\"\n"
    ))
}

const TABLE: &str = "{ table = { headers = [\"Name\", \"Price\", \"24H CHANGE\", \"24H VOLUME\", \"Market Cap\"] } }";

/// The project, running, ready to be asked.
fn serving(project: &Project) -> Process {
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    process
}

/// A count of what the simulator says at its end.
fn counted(said: &str, name: &str) -> u64 {
    let found = said.split([',', '{', '}']).find_map(|part| {
        let (key, value) = part.split_once(':')?;
        (key.trim() == name).then(|| value.trim().parse().expect("a count"))
    });
    found.unwrap_or_else(|| panic!("no {name} in {said}"))
}

#[test]
fn the_examples_that_poll_have_no_problems() {
    for text in [
        include_str!("../../../../examples/binance-poll/thalweg.toml"),
        include_str!("../../../../examples/crypto-forecast/thalweg.toml"),
    ] {
        run(Project::new(text).command("check", &[])).ended_with(0);
    }
}

#[test]
fn selectors_and_paths_are_checked_where_they_stand() {
    let project = coins("http://127.0.0.1:1/", "{ table = { selector = \"table[\" } }", "");
    let text = std::fs::read_to_string(project.path("thalweg.toml")).expect("the project");
    project.write("thalweg.toml", text.replace("Name >> p", "Name >> p[[") + "[source.rows]\n\
        http.url = \"http://127.0.0.1:1/\"\nhttp.every = \"1s\"\nformat.json = { rows = \"$.a[\" }\n\
        columns.n = \"int\"\n");
    let said = run(project.command("check", &[])).ended_with(1);
    for (place, problem) in [
        ("thalweg.toml:5:", "`table[` is no CSS selector"),
        ("thalweg.toml:8:1", "`p[[` is no CSS selector"),
        ("thalweg.toml:21:", "`$.a[` is not a path"),
    ] {
        let said = format!("{}{}", said.stdout, said.stderr);
        assert!(said.contains(place) && said.contains(problem), "{said}");
    }
}

#[test]
fn a_drain_polls_each_polled_source_once() {
    let simulator = Simulator::start(&[]);
    let address = simulator.http();
    let project = Project::new(&format!(
        "[source.prices]\nbinance.url = \"{address}\"\nbinance.poll = \"ticker/price\"\n\
         binance.symbols = [\"BTCUSDT\", \"ETHUSDT\"]\n\
         [source.days]\nbinance.url = \"{address}\"\nbinance.poll = \"ticker/24hr\"\n\
         binance.symbols = [\"BTCUSDT\"]\n\
         [source.bars]\nbinance.url = \"{address}\"\nbinance.poll = \"klines\"\n\
         binance.symbols = [\"BTCUSDT\", \"ETHUSDT\"]\nbinance.history = \"20h\"\n\
         [table.bar_history]\nfrom = \"bars\"\ndelta.path = \"lake/bars\"\n\
         [table.price_history]\nfrom = \"prices\"\ndelta.path = \"lake/prices\"\n"
    ));
    // Polls end by themselves; a busy machine shall not take a slow page for silence.
    let drain = || project.start(&["--drain", "--idle", "30s"]).end().ended_with(0);
    drain();
    project.balances();
    assert_eq!(project.count("SELECT count(*) FROM price_history"), 2);
    let price = project.rows("SELECT price FROM price_history WHERE symbol = 'BTCUSDT'");
    assert!(price[0]["price"].to_string().contains('.'), "a price is exact: {price:?}");
    assert_eq!(project.ledger("source", "days", "rows_valid"), 1);
    // 20 hours of closed minutes, over two pages a symbol, none twice and none left out.
    let bars = project.rows(
        "SELECT symbol, count(*) AS bars, count(DISTINCT open_time) AS times, \
         min(high - greatest(open, close)) >= 0 AS is_high FROM bar_history GROUP BY symbol",
    );
    assert_eq!(bars.len(), 2, "{bars:?}");
    for row in &bars {
        assert!((1_199..=1_201).contains(&row["bars"].as_i64().unwrap_or_default()), "{row}");
        assert_eq!((&row["bars"], &row["is_high"]), (&row["times"], &Value::Bool(true)), "{row}");
    }
    // Another drain fetches only the bars that have closed since.
    let first = project.count("SELECT count(*) FROM bar_history");
    drain();
    let twice = "SELECT count(*) FROM (SELECT symbol, open_time FROM bar_history \
                 GROUP BY symbol, open_time HAVING count(*) > 1)";
    assert_eq!(project.count(twice), 0);
    assert!(project.count("SELECT count(*) FROM bar_history") - first <= 4);
    assert_eq!(project.count("SELECT count(*) FROM price_history"), 4);
    let said = simulator.stop();
    // Prices twice, days twice, two pages a symbol, and then one if a minute has closed.
    assert!((8..=10).contains(&counted(&said, "answers")), "{said}");
}

#[test]
fn a_drain_that_cannot_poll_says_so() {
    let project = prices("http://127.0.0.1:1", "5s", "");
    let said = project.drain().ended_with(1);
    assert!(said.stderr.contains("source `prices` could not be polled"), "{}", said.stderr);
}

#[test]
fn polls_do_not_drift_and_keep_to_retry_after() {
    let simulator = Simulator::start(&["--faults", "http429@#25:2s,http500@#32:1s,cut@#36"]);
    let project = prices(&simulator.http(), "200ms", "");
    let running = serving(&project);
    let polls = || project.count("SELECT count(*) FROM price_history");
    wait_for("polls after the faults", || (polls() >= 45).then_some(()));
    running.terminate();
    running.end().ended_with(0);
    let rows = project
        .rows("SELECT date_part('epoch', _received_at) AS at FROM price_history ORDER BY _offset");
    let times: Vec<f64> = rows.iter().map(|row| row["at"].as_f64().expect("a time")).collect();
    // Before the faults the polls stand on one grid, however long answers took: the least late of the
    // first and of the last are late by the same.
    let base = times[0] - 0.05;
    let least_late =
        |times: &[f64]| times.iter().map(|at| (at - base).rem_euclid(0.2)).fold(f64::MAX, f64::min);
    let drift = least_late(&times[14..21]) - least_late(&times[..7]);
    assert!(times[20] - times[0] > 3.9 && drift.abs() < 0.05, "{drift}: {times:?}");
    let pause = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!((1.5..10.0).contains(&pause), "it stays away, and comes back: {pause}");
    let said = simulator.stop();
    assert_eq!(counted(&said, "answers_early"), 0, "{said}");
    assert!(counted(&said, "answers_refused") >= 2, "{said}");
    project.balances();
    assert!(project.count("SELECT count(*) FROM system.gaps WHERE source = 'prices'") >= 2);
}

#[test]
fn a_page_of_prices_becomes_rows_and_a_changed_one_a_snapshot() {
    let simulator = Simulator::start(&["--faults", "layout@#1:500ms,maintenance@#2:1500ms"]);
    let url = format!("{}/pages/prices?lazy=3", simulator.http());
    let (ops, told) = serve(|_| ("text/plain", Vec::new()));
    let project = coins(&url, TABLE, "");
    let text = std::fs::read_to_string(project.path("thalweg.toml")).expect("the project");
    let notify = format!("[project]\nnotify = \"ops\"\n[notify.ops]\nwebhook.url = \"{ops}\"\n");
    project.write("thalweg.toml", format!("{notify}{text}"));
    let running = serving(&project);
    let quarantined =
        || project.count("SELECT count(*) FROM system.quarantine WHERE \"row\" IS NULL");
    wait_for("both kinds of changed pages", || (quarantined() >= 2).then_some(()));
    wait_for("an alert that says so", || told().contains("the page has changed").then_some(()));
    running.terminate();
    let said = running.end().ended_with(0);
    project.balances();
    let rows = project.ledger("source", "coins", "rows_valid");
    let frames = project.ledger("source", "coins", "frames_decoded");
    assert_eq!((rows % 20, rows / 20), (0, frames), "20 coins a page");
    let coins = project.rows("SELECT * FROM coin_history ORDER BY _offset, _row LIMIT 20");
    assert_eq!((&coins[0]["name"], &coins[19]["name"]), (&"Bitcoin".into(), &"Pepe".into()));
    assert!(coins.iter().all(|coin| coin["change_24h"].is_number()), "{coins:?}");

    let reasons = project.rows(
        "SELECT reason, count(*) AS n, min(bytes) AS bytes FROM system.quarantine GROUP BY reason ORDER BY reason",
    );
    let reason = |part: &str| {
        let mut found = reasons.iter().filter(|row| row["reason"].to_string().contains(part));
        found.next().unwrap_or_else(|| panic!("no {part} in {reasons:?}"))
    };
    let lazy = reason("3 cells under a header of 6");
    assert_eq!(lazy["n"].as_i64(), Some(3 * frames));
    assert_eq!(lazy["bytes"], "21 |  | ", "a row is kept, not its whole page");
    let layout = reason("no table has a header `Price`");
    assert!(layout["bytes"].as_str().is_some_and(|page| page.contains("<button>Last</button>")));
    reason("no table has a header `Name`; the page has no table");
    assert!(said.stderr.contains("the page has changed"), "{}", said.stderr);
}

#[test]
fn only_changed_pages_are_frames_and_json_is_read_out_of_them() {
    let simulator = Simulator::start(&[]);
    let project = Project::new(&format!(
        "[source.coins]\nhttp.url = \"{}/pages/next\"\nhttp.every = \"200ms\"\nhttp.emit = \"changed\"\n\
         format.html = {{ json = \"script#__NEXT_DATA__\", rows = \"$.props.pageProps.coins[*]\" }}\n\
         columns.name = \"text not null\"\ncolumns.price = \"decimal(24,8) not null\"\n",
        simulator.http()
    ));
    let running = serving(&project);
    let frames = || project.ledger("source", "coins", "frames_received");
    wait_for("a second version of the page", || (frames() >= 2).then_some(()));
    running.terminate();
    running.end().ended_with(0);
    let frames = frames();
    assert_eq!(project.ledger("source", "coins", "rows_valid"), 20 * frames);
    let said = simulator.stop();
    assert!(counted(&said, "answers") > frames.unsigned_abs(), "{said}");
    // A restart knows the page that the journal ends with.
    project.balances();
}

#[test]
fn pages_with_secrets_in_headers_and_bodies_of_arrays() {
    let (url, heard) = serve(|request| {
        let is_allowed = request.contains("x-api-key: c0ffee");
        let body = if is_allowed { r#"[{"n":1,"p":"0.1"},{"n":2,"p":0.2}]"# } else { "{}" };
        ("application/json", body.as_bytes().to_vec())
    });
    let project = Project::new(&format!(
        "[source.rows]\nhttp.url = \"{url}/rows\"\nhttp.every = \"1m\"\n\
         http.headers = {{ X-Api-Key = \"${{API_KEY}}\" }}\nformat.json = {{ rows = \"$[*]\" }}\n\
         columns.n = \"int not null\"\ncolumns.p = \"decimal(3,2) not null\"\n\
         [table.kept]\nfrom = \"rows\"\ndelta.path = \"lake/rows\"\n"
    ));
    project.write(".env", "API_KEY=c0ffee\n");
    let said = project.drain().ended_with(0);
    assert!(!format!("{said:?}").contains("c0ffee"));
    let rows = project.rows("SELECT n, p FROM kept ORDER BY n");
    assert_eq!(rows.len(), 2);
    assert!(rows[1]["p"].to_string().contains("0.2"), "{rows:?}");
    assert!(heard().to_lowercase().contains("x-api-key: c0ffee"));
}

/// The recorded pages, served as they were saved: what they hold was counted by hand.
#[test]
fn recorded_pages_give_their_hundred_rows() {
    for (file, first, last, price) in [
        ("coinmarketcap-2019-02-07T2028Z.html", "Bitcoin", "Wanchain", "3400.27"),
        ("coinmarketcap-2020-01-28T2101Z.html", "Bitcoin", "SOLVE", "9061.58"),
    ] {
        let Some(path) = recorded(&format!("crypto-html/{file}")) else { return };
        let page = std::fs::read(path).expect("a page");
        let (url, _) = serve(move |_| ("text/html", page.clone()));
        let name = if file.contains("2019") { "Name >> a.currency-name-container" } else { "Name" };
        let project = Project::new(&format!(
            "[source.coins]\nhttp.url = \"{url}/\"\nhttp.every = \"5m\"\n\
             format.html = {{ table = {{ headers = [\"Name\", \"Price\", \"Market Cap\"] }}, rows_min = 100, rows_max = 100 }}\n\
             [source.coins.columns]\n\
             name = {{ type = \"text not null\", select = \"{name}\" }}\n\
             price = {{ type = \"decimal(24,10) not null\", select = \"Price\", clean = \"money\" }}\n\
             [table.kept]\nfrom = \"coins\"\ndelta.path = \"lake/coins\"\n"
        ));
        project.drain().ended_with(0);
        let rows = project.rows("SELECT name, price FROM kept ORDER BY _row");
        assert_eq!(rows.len(), 100, "{file}");
        assert_eq!((&rows[0]["name"], &rows[99]["name"]), (&first.into(), &last.into()));
        assert!(rows[0]["price"].to_string().contains(price), "{}", rows[0]);
        assert_eq!(project.count("SELECT count(*) FROM system.quarantine"), 0);
        project.balances();
    }
}

/// Serves each request with what `answer` makes of its head, as long as this process lives; gives
/// the address, and what was heard last.
fn serve(
    answer: impl Fn(&str) -> (&'static str, Vec<u8>) + Send + 'static,
) -> (String, impl Fn() -> String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let heard = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let last = heard.clone();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { continue };
            let _ = connection.set_read_timeout(Some(Duration::from_secs(10)));
            let mut head = String::new();
            let mut reader = BufReader::new(connection.try_clone().expect("a socket"));
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).is_ok_and(|count| count > 0) {
                    continue;
                }
                break;
            }
            let (kind, body) = answer(&head.to_lowercase());
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            let mut sent = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut sent).is_ok() {
                head += &String::from_utf8_lossy(&sent);
            }
            *last.lock().expect("no test panics in here") = head;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = connection.write_all(head.as_bytes());
            let _ = connection.write_all(&body);
        }
    });
    (url, move || heard.lock().expect("no test panics in here").clone())
}
