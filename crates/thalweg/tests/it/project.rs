//! Projects that tests run: `examples/market-lambda` against other servers, or a text of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{PATIENCE, Process, Said, block_on, run, thalweg, webhook};

const MARKET_LAMBDA: &str = include_str!("../../../../examples/market-lambda/thalweg.toml");

/// Epochs become durable, and sinks commit, often enough for a kill to land in between.
const SHORT_CYCLES: &str = "\n[runtime]\ncheckpoint.every = \"100ms\"\ncommit.every = \"200ms\"\n";

/// A project in a folder of its own, gone when this is dropped.
pub(crate) struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// A project of one file.
    pub(crate) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
        let project = Self { folder };
        project.write("thalweg.toml", text);
        project
    }

    /// What `thalweg init --template` makes.
    pub(crate) fn init(template: &str) -> Self {
        let project = Self { folder: tempfile::tempdir().expect("a folder") };
        run(project.command("init", &["--template", template])).ended_with(0);
        project
    }

    /// market-lambda, fed by the simulator at `feed`.
    pub(crate) fn market(feed: &str, database: &str) -> Self {
        let text = replaced(
            MARKET_LAMBDA,
            "finnhub.symbols",
            &format!("finnhub.url     = \"{feed}\"\nfinnhub.symbols"),
        );
        Self::with_secrets(&text, database)
    }

    /// market-lambda, fed by a file of the messages that Finnhub sends; `rate` such as `200/s`.
    pub(crate) fn market_from_file(file: &Path, rate: Option<&str>, database: &str) -> Self {
        let text = MARKET_LAMBDA.lines().filter(|line| !line.starts_with("finnhub.symbols"));
        let text = text.collect::<Vec<_>>().join("\n");
        let token = text.lines().find(|line| line.starts_with("finnhub.token"));
        let token = token.expect("the example has a token");
        let rate = rate.map_or_else(String::new, |rate| format!("file.rate = \"{rate}\"\n"));
        let source = format!(
            "file.path = \"{}\"\n{rate}format.json = {{ rows = \"$.data[*]\", only_if = \"$.type = 'trade'\" }}",
            file.display()
        );
        Self::with_secrets(&replaced(&text, token, &source), database)
    }

    fn with_secrets(text: &str, database: &str) -> Self {
        let project = Self::new(&format!("{text}{SHORT_CYCLES}"));
        let secrets =
            format!("FINNHUB_TOKEN=demo\nDATABASE_URL={database}\nOPS_WEBHOOK={}\n", webhook());
        project.write(".env", &secrets);
        project
    }

    /// Declares more in the project's file.
    pub(crate) fn declare(&self, text: &str) {
        let file = self.path("thalweg.toml");
        let declared = fs::read_to_string(&file).expect("the project has a file");
        self.write("thalweg.toml", format!("{declared}{text}"));
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("the folder is ours");
    }

    /// A path in the project's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.path(".thalweg")
    }

    /// `thalweg <verb> <this project> <options>`.
    pub(crate) fn command(&self, verb: &str, options: &[&str]) -> Command {
        let mut command = thalweg();
        command.arg(verb).arg(self.folder.path()).args(options);
        command
    }

    /// Starts `run` with these options.
    pub(crate) fn start(&self, options: &[&str]) -> Process {
        Process::start(self.command("run", options))
    }

    /// Starts `run --drain`.
    pub(crate) fn start_drain(&self) -> Process {
        self.start(&["--drain", "--idle", "1500ms"])
    }

    /// Runs `run --drain` to its end.
    pub(crate) fn drain(&self) -> Said {
        self.start_drain().end()
    }

    /// What the server of a running project answers, as its admin is answered.
    pub(crate) fn get(&self, path: &str) -> Value {
        let addresses = fs::read_to_string(self.data().join("addresses.json")).expect("it listens");
        let addresses: Value = serde_json::from_str(&addresses).expect("the file is JSON");
        let token = fs::read_to_string(self.data().join("admin_token")).expect("a token");
        let url = format!("{}{path}", addresses["http"].as_str().expect("an address"));
        block_on(async {
            let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
            let request = http.expect("a client").get(url).bearer_auth(token.trim());
            let answer = request.send().await.expect("the server answers");
            answer.error_for_status().expect("it is found").json().await.expect("it is JSON")
        })
    }

    /// Rows of a query.
    #[track_caller]
    pub(crate) fn rows(&self, sql: &str) -> Vec<Value> {
        run(self.command("sql", &["--format", "jsonl", "-c", sql])).ended_with(0).json_lines()
    }

    /// The one number that a query gives.
    #[track_caller]
    pub(crate) fn count(&self, sql: &str) -> i64 {
        let rows = self.rows(sql);
        let value = rows.first().and_then(|row| row.as_object()?.values().next()?.as_i64());
        value.unwrap_or_else(|| panic!("{sql} gave {rows:?}"))
    }

    /// Fails unless every line of the ledger balances.
    #[track_caller]
    pub(crate) fn balances(&self) {
        let broken = self.rows("SELECT * FROM system.ledger WHERE NOT balanced");
        assert!(broken.is_empty(), "S12: {broken:?}");
        assert!(self.count("SELECT count(*) FROM system.ledger") > 0, "S12: the ledger is empty");
    }

    /// A count of the ledger.
    #[track_caller]
    pub(crate) fn ledger(&self, part: &str, name: &str, count: &str) -> i64 {
        self.count(&format!(
            "SELECT value FROM system.ledger \
             WHERE part = '{part}' AND name = '{name}' AND \"count\" = '{count}'"
        ))
    }
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the project file has no {from}");
    text.replacen(from, to, 1)
}
