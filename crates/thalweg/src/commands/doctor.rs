//! `thalweg doctor`: each link between the project file and its rows, and which one is broken.
//!
//! Nothing is changed. Where a server runs, it is asked; where none does, what can be seen from here
//! is looked at: that addresses are free and that targets and feeds take a connection.

use std::path::Path;
use std::time::Duration;

use arrow::array::AsArray as _;
use serde_json::json;
use thalweg_core::env::Clock;
use thalweg_core::time::Timestamp;
use thalweg_project::{Connector, Project};
use tokio::net::{TcpListener, TcpStream};

use super::place::Place;
use super::rows::query;
use super::{Failure, load};
use crate::cli::Format;

/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(3);

/// How one link is.
struct Link {
    name: String,
    is_whole: bool,
    says: String,
    hint: Option<String>,
}

/// What has been found so far.
#[derive(Default)]
struct Findings(Vec<Link>);

impl Findings {
    fn whole(&mut self, name: impl Into<String>, says: impl Into<String>) {
        self.0.push(Link { name: name.into(), is_whole: true, says: says.into(), hint: None });
    }

    fn broken(&mut self, name: impl Into<String>, says: impl Into<String>, hint: &str) {
        let (name, says) = (name.into(), says.into());
        self.0.push(Link { name, is_whole: false, says, hint: Some(hint.to_owned()) });
    }
}

pub(super) async fn run(place: &Place) -> Result<u8, Failure> {
    let mut findings = Findings::default();
    let project = configuration(place, &mut findings);
    data_folder(&place.data, &mut findings);
    clock(&place.data, &mut findings);
    let answers = server(place, &mut findings).await;
    if let Some(project) = &project {
        if answers {
            parts(place, &mut findings).await;
        } else {
            if place.server().is_none() {
                port(project, &mut findings).await;
            }
            reach(project, &mut findings).await;
        }
    }
    let is_whole = findings.0.iter().all(|link| link.is_whole);
    if place.format == Some(Format::Json) {
        let links = findings.0.iter().map(|link| {
            json!({ "link": link.name, "ok": link.is_whole, "message": link.says, "hint": link.hint })
        });
        println!("{:#}", json!(links.collect::<Vec<_>>()));
        return Ok(u8::from(!is_whole));
    }
    for link in &findings.0 {
        let word = if link.is_whole { "ok    " } else { "BROKEN" };
        println!("{word}  {}: {}", link.name, link.says);
        if let Some(hint) = &link.hint {
            println!("        {hint}");
        }
    }
    Ok(u8::from(!is_whole))
}

/// Configuration and environment: the whole check, in one line each.
fn configuration(place: &Place, findings: &mut Findings) -> Option<Project> {
    let mut loaded = load(&place.dir);
    crate::check::check(&mut loaded);
    match (loaded.has_errors(), loaded.problems.len()) {
        (false, 0) => findings.whole("configuration", "no problems"),
        (false, count) => findings.whole("configuration", format!("{count} warnings")),
        (true, count) => {
            let first = loaded.problems.first().map_or("", |problem| problem.message.as_str());
            let says = format!("{count} problems; the first: {first}");
            findings.broken("configuration", says, "`thalweg check` shows all of them.");
        }
    }
    loaded.project
}

fn data_folder(data: &Path, findings: &mut Findings) {
    if !data.exists() {
        findings.whole("data folder", format!("{} will be made by the first run", data.display()));
        return;
    }
    let probe = data.join("doctor.tmp");
    let written = std::fs::File::create(&probe).and_then(|mut file| {
        use std::io::Write as _;
        file.write_all(&[0; 65_536])?;
        file.sync_all()
    });
    // What could not be made need not be removed.
    let _ = std::fs::remove_file(&probe);
    match written {
        Ok(()) => findings.whole("data folder", format!("{} takes writes", data.display())),
        Err(error) => findings.broken(
            "data folder",
            format!("{} takes no writes: {error}", data.display()),
            "Make room, give permission, or choose another folder with `--data-dir`.",
        ),
    }
}

/// A clock that went back makes everything stored lie in the future.
fn clock(data: &Path, findings: &mut Findings) {
    let now = Clock::system().now();
    let newest =
        ["store.sqlite", "store.sqlite-wal", "incarnation"].into_iter().filter_map(|name| {
            let modified = std::fs::metadata(data.join(name)).ok()?.modified().ok()?;
            let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(Timestamp(0).plus(since))
        });
    match newest.max() {
        Some(newest) if newest > now.plus(Duration::from_secs(60)) => findings.broken(
            "clock",
            format!("it is {now}, but the data folder was written at {newest}"),
            "Set the machine's clock.",
        ),
        _ => findings.whole("clock", now.to_string()),
    }
}

/// Whether a server runs, of which version, and what it complains of.
async fn server(place: &Place, findings: &mut Findings) -> bool {
    let Some(address) = place.server() else {
        findings.whole("server", "none runs on this data folder");
        return false;
    };
    let Ok(client) = place.client() else {
        let hint = "Name the server's data folder with `--data-dir`, or set THALWEG_TOKEN.";
        findings.broken("server", format!("there is no token for {address}"), hint);
        return false;
    };
    let project = match client.get("/project").await {
        Ok(project) => project,
        Err(error) => {
            let hint = "It may have been killed; `thalweg run` starts it again.";
            findings.broken("server", error.chain(), hint);
            return false;
        }
    };
    let (theirs, ours) =
        (project["version"].as_str().unwrap_or("unknown"), env!("CARGO_PKG_VERSION"));
    if theirs == ours {
        findings.whole("server", format!("{address} runs version {ours}"));
    } else {
        let says = format!("{address} runs version {theirs}, this is {ours}");
        findings.broken("server", says, "Restart the server with this binary.");
    }
    true
}

/// Sources, streams and sinks of the running server.
async fn parts(place: &Place, findings: &mut Findings) {
    let sql = "SELECT 'source' AS kind, name, state, reason FROM system.sources \
               UNION ALL SELECT 'stream', name, state, reason FROM system.streams \
               UNION ALL SELECT 'sink', name, state, reason FROM system.sinks ORDER BY kind, name";
    let rows = match query(place, sql).await {
        Ok(rows) => rows,
        Err(failure) => {
            findings.broken("parts", failure.error.chain(), "The server's log says more.");
            return;
        }
    };
    for batch in &rows {
        let text = |column: usize, row: usize| {
            let column = batch.column(column).as_string::<i32>();
            (!arrow::array::Array::is_null(column, row)).then(|| column.value(row).to_owned())
        };
        for row in 0..batch.num_rows() {
            let name = format!(
                "{} {}",
                text(0, row).unwrap_or_default(),
                text(1, row).unwrap_or_default()
            );
            let state = text(2, row).unwrap_or_default();
            let reason = text(3, row).map(|reason| format!(": {reason}")).unwrap_or_default();
            let is_broken = matches!(state.as_str(), "stopped" | "retrying" | "waiting" | "failed");
            if is_broken {
                findings.broken(
                    name,
                    format!("{state}{reason}"),
                    "`thalweg status` shows it with the others.",
                );
            } else {
                findings.whole(name, state);
            }
        }
    }
}

async fn port(project: &Project, findings: &mut Findings) {
    let listen = project.server.http;
    match TcpListener::bind(listen).await {
        Ok(_) => findings.whole("port", format!("{listen} is free")),
        Err(error) => findings.broken(
            "port",
            format!("{listen} cannot be listened on: {error}"),
            "Choose another with `--http 127.0.0.1:0` or `[server] http`.",
        ),
    }
}

/// Whether feeds and targets take a connection.
async fn reach(project: &Project, findings: &mut Findings) {
    for source in &project.sources {
        let name = format!("source {}", source.name.as_str());
        match &source.connector {
            Connector::Finnhub(finnhub) => connect(name, finnhub.url.reveal(), findings).await,
            Connector::Websocket(websocket) => {
                connect(name, websocket.url.reveal(), findings).await
            }
            Connector::Http(http) => connect(name, http.url.reveal(), findings).await,
            Connector::Binance(binance) => connect(name, binance.url.reveal(), findings).await,
            Connector::Exchange(exchange) => connect(name, exchange.url.reveal(), findings).await,
            Connector::File(_) | Connector::Exec(_) | Connector::Push | Connector::Topic(_) => {}
        }
    }
    for sink in &project.sinks {
        if let Some(target) = sink.target.database() {
            connect(format!("sink {}", sink.name.as_str()), target.url.reveal(), findings).await;
        }
    }
}

/// Connects to the host of a URL; what else stands in it may be secret, and is not shown.
async fn connect(name: String, url: &str, findings: &mut Findings) {
    if url == super::run::BUILT_IN {
        findings.whole(name, "the built-in simulator");
        return;
    }
    let Ok(url) = reqwest::Url::parse(url) else {
        findings.broken(name, "its address is no URL", "`thalweg check` shows where it stands.");
        return;
    };
    let default = match url.scheme() {
        "postgres" | "postgresql" => 5432,
        "mysql" | "mariadb" => 3306,
        "ws" | "http" => 80,
        _ => 443,
    };
    let Some(host) = url.host_str() else {
        findings.broken(name, "its address has no host", "`thalweg check` shows where it stands.");
        return;
    };
    let port = url.port().unwrap_or(default);
    let connecting = tokio::time::timeout(CONNECT_WAIT, TcpStream::connect((host, port))).await;
    let hint = "Start it, or correct its address; a server that runs goes on trying.";
    match connecting {
        Ok(Ok(_)) => findings.whole(name, format!("{host}:{port} takes connections")),
        Ok(Err(error)) => {
            findings.broken(name, format!("{host}:{port} takes no connection: {error}"), hint)
        }
        Err(_) => findings.broken(name, format!("{host}:{port} does not answer"), hint),
    }
}
