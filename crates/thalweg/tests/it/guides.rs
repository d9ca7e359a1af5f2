//! The guides of the five systems, followed: each command of a page is run as it stands there, in a
//! fresh folder; and what `thalweg init` makes of the five runs without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::postgres::Database;
use crate::project::Project;
use crate::support::{Process, root, run, unset, wait_for, webhook};

/// Whoever follows a page.
struct Follower {
    folder: tempfile::TempDir,
    /// Where the last command has left them.
    dir: PathBuf,
    /// The server of the last `thalweg run`, until the next one.
    server: Option<Process>,
    /// Others that stay.
    others: Vec<Process>,
    commands: usize,
}

impl Follower {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().to_owned();
        Self { folder, dir, server: None, others: Vec::new(), commands: 0 }
    }

    fn shell(&self, script: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_thalweg")).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = unset(Command::new("sh"));
        shell.args(["-c", script]).current_dir(&self.dir);
        shell.env("PATH", format!("{}:{path}", binary.display()));
        shell
    }

    /// A command that ends.
    fn ask(&mut self, command: &str) {
        let left_at = self.folder.path().join("left_at");
        let script = format!("{{ {command}; }} || exit 1; pwd > '{}'", left_at.display());
        let said = run(self.shell(&script));
        assert_eq!(said.code, Some(0), "{command}\n{}\n{}", said.stdout, said.stderr);
        let dir = fs::read_to_string(left_at).expect("it was written");
        self.dir = PathBuf::from(dir.trim_end());
    }

    /// A command that stays, on a port of its own.
    fn start(&mut self, command: &str, option: &str) {
        let command = command.replacen("thalweg ", "exec thalweg ", 1);
        let shell = self.shell(&format!("{command} {option} 127.0.0.1:0"));
        if command.contains("thalweg simulate") {
            let mut process = Process::start(shell);
            process.first_line();
            return self.others.push(process);
        }
        if let Some(server) = self.server.take() {
            server.terminate();
            server.end().ended_with(0);
        }
        let mut server = Process::start(shell);
        wait_for(&format!("`{command}` listens"), || {
            assert!(server.is_alive(), "{}", server.stderr());
            server.stderr().contains("listening on").then_some(())
        });
        self.server = Some(server);
    }
}

/// Runs every command of a page's `sh` blocks in their order, each to success. `replaced` has what a
/// test cannot reach, each with what stands for it; all of it must be on the page.
#[track_caller]
fn follow(page: &str, replaced: &[(&str, &str)]) {
    let text = fs::read_to_string(root().join("docs/guide").join(page)).expect("the page is there");
    let blocks = text.split("```sh\n").skip(1).filter_map(|part| part.split_once("```"));
    let lines: Vec<&str> = blocks.flat_map(|(block, _)| block.lines()).collect();
    for (from, _) in replaced {
        assert!(lines.iter().any(|line| line.contains(from)), "{page} does not say {from:?}");
    }
    let mut follower = Follower::new();
    for line in lines {
        let command = line.split(" #").next().unwrap_or(line).trim();
        let command =
            replaced.iter().fold(command.to_owned(), |line, (from, to)| line.replace(from, to));
        let stays = |verb: &str| command.contains(&format!("thalweg {verb}"));
        if command.is_empty() {
            continue;
        } else if stays("simulate") {
            follower.start(&command, "--listen");
        } else if stays("demo") || stays("run") && !command.contains("--drain") {
            follower.start(&command, "--http");
        } else {
            follower.ask(&command);
        }
        follower.commands += 1;
    }
    assert!(follower.commands >= 5, "{page} has {} commands", follower.commands);
    if let Some(server) = follower.server {
        server.terminate();
        server.end().ended_with(0);
    }
}

#[test]
fn crypto_forecast_is_as_its_guide_says() {
    follow("crypto-forecast.md", &[]);
}

#[test]
fn market_lambda_is_as_its_guide_says() {
    let database = Database::new();
    let example = root().join("examples/market-lambda");
    let copy = format!("cp -r '{}' market && cd market", example.display());
    // With the exchange and the targets of this test in the place of the real ones.
    let secrets = format!(
        "cp .env.example .env && printf 'FINNHUB_TOKEN=demo\\nDATABASE_URL=%s\\nOPS_WEBHOOK=%s\\n' \
         '{}' '{}' > .env && sed -i 's|^finnhub.symbols|finnhub.url = \"simulator:\"\\n&|' thalweg.toml",
        database.url,
        webhook()
    );
    follow(
        "market-lambda.md",
        &[
            ("make demo", "thalweg demo"),
            ("cd examples/market-lambda", &copy),
            ("cp .env.example .env", &secrets),
        ],
    );
}

#[test]
fn insurance_is_as_its_guide_says() {
    follow("insurance.md", &[]);
}

#[test]
fn binance_poll_is_as_its_guide_says() {
    let files = tempfile::tempdir().expect("a folder");
    let files = files.path().display().to_string();
    follow("binance-poll.md", &[("hdfs://namenode:9000/binance/data", &files)]);
}

#[test]
fn customers_is_as_its_guide_says() {
    // The machine of a test may reach the bucket.
    let here = "cd customers && sed -i \
                's|anonymous = true }|anonymous = true, endpoint = \"http://127.0.0.1:1\" }|' \
                thalweg.toml";
    follow("customers.md", &[("cd customers", here)]);
}

#[test]
fn every_template_runs_without_a_network() {
    for (template, source) in [
        ("market-lambda", "trades"),
        ("crypto-forecast", "coins"),
        ("insurance", "claims"),
        ("binance-poll", "prices"),
        ("customers", "customers"),
    ] {
        let project = Project::init(template);
        let text = fs::read_to_string(project.path("thalweg.toml")).expect("it was made");
        let text = text
            .replace("anonymous = true }", "anonymous = true, endpoint = \"http://127.0.0.1:1\" }");
        // Whatever it names beyond this machine is commented out.
        let code = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let far: Vec<&str> =
            code.filter(|line| line.contains("https://") || line.contains("wss://")).collect();
        assert!(far.is_empty(), "{template}: {far:?}");
        project.write("thalweg.toml", &text);
        let mut server = project.start(&["--http", "127.0.0.1:0"]);
        wait_for(&format!("{template} has rows"), || {
            assert!(server.is_alive(), "{template}: {}", server.stderr());
            if !server.stderr().contains("listening on") {
                return None;
            }
            let valid = "SELECT coalesce(sum(rows_valid), 0) FROM system.sources WHERE name = ";
            (project.count(&format!("{valid}'{source}'")) > 0).then_some(())
        });
        server.terminate();
        server.end().ended_with(0);
        project.balances();
    }
}
