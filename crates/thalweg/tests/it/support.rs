//! Processes of the binary, waits with a bound, and where the recorded data is.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// How often a condition is looked at.
const TICK: Duration = Duration::from_millis(10);

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the recorded data, where there is any.
pub(crate) fn recorded(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("THALWEG_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let path = folder.join(file);
    if path.exists() {
        return Some(path.canonicalize().expect("it is there"));
    }
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "the recorded data is missing: {}", path.display());
    eprintln!("SKIPPED, no recorded data: {} (set THALWEG_DATA)", path.display());
    None
}

/// The capture of Finnhub's trades, 22 to 25 December 2023.
pub(crate) fn capture() -> Option<PathBuf> {
    recorded("finnhub/trades-2023-12-22_25.ndjson")
}

/// Waits until `condition` gives something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::park_timeout(TICK);
    }
}

/// The binary, with nothing of the caller's environment that it reads.
pub(crate) fn thalweg() -> Command {
    unset(Command::new(env!("CARGO_BIN_EXE_thalweg")))
}

/// A command that may call the binary, without what that reads of the caller's environment.
pub(crate) fn unset(mut command: Command) -> Command {
    for name in [
        "THALWEG_DATA_DIR",
        "THALWEG_SERVER",
        "THALWEG_HTTP",
        "THALWEG_TOKEN",
        "THALWEG_LOG",
        "THALWEG_PROJECT",
        "THALWEG_FORMAT",
        "THALWEG_COLOR",
        "FINNHUB_TOKEN",
        "DATABASE_URL",
        "MYSQL_URL",
        "OPS_WEBHOOK",
        "NO_COLOR",
    ] {
        command.env_remove(name);
    }
    command
}

/// What a process that ended has said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Fails unless the process ended with this code.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stderr: {}\nstdout: {}", self.stderr, self.stdout);
        self
    }

    /// The objects of JSON lines.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(command: Command) -> Said {
    Process::start(command).end()
}

type Text = Arc<Mutex<String>>;

/// A running process, killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Text,
    stderr: Text,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    /// Starts a command; both its outputs are kept.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be run");
        let (stdout, out) = keep(child.stdout.take().expect("stdout is piped"));
        let (stderr, err) = keep(child.stderr.take().expect("stderr is piped"));
        Self { child, stdout, stderr, readers: vec![out, err] }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Whether it has not ended.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.status().is_none()
    }

    /// Waits until a line of its standard output is there.
    pub(crate) fn first_line(&mut self) -> String {
        let stdout = Arc::clone(&self.stdout);
        wait_for("a line of standard output", || {
            let text = text(&stdout);
            let ended = self.status();
            assert!(text.contains('\n') || ended.is_none(), "it ended: {}", self.stderr());
            text.split_once('\n').map(|(line, _)| line.to_owned())
        })
    }

    /// Lets it run for at most `time`, then kills it; whether it had ended by itself.
    pub(crate) fn run_for(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if let Some(status) = self.status() {
                return Some(status);
            }
            thread::park_timeout(deadline.saturating_duration_since(Instant::now()).min(TICK));
        }
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        None
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status();
        assert!(status.expect("kill can be run").success());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Said {
        let status = {
            let deadline = Instant::now() + 2 * PATIENCE;
            loop {
                if let Some(status) = self.status() {
                    break status;
                }
                assert!(Instant::now() < deadline, "it does not end: {}", self.stderr());
                thread::park_timeout(TICK);
            }
        };
        for reader in std::mem::take(&mut self.readers) {
            reader.join().expect("a reader only reads");
        }
        Said { code: status.code(), stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep(pipe: impl Read + Send + 'static) -> (Text, thread::JoinHandle<()>) {
    let kept = Text::default();
    let text = Arc::clone(&kept);
    let reader = thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    (kept, reader)
}

fn text(kept: &Text) -> String {
    kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// `thalweg simulate` on a free port.
pub(crate) struct Simulator {
    process: Process,
    /// Address of its feed.
    pub(crate) url: String,
}

impl Simulator {
    /// Starts it with these options.
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut command = thalweg();
        command.args(["simulate", "--listen", "127.0.0.1:0"]).args(options);
        let mut process = Process::start(command);
        let url = process.first_line();
        Self { process, url }
    }

    /// Starts a replay of a file.
    pub(crate) fn replay(file: &Path, options: &[&str]) -> Self {
        let file = file.to_str().expect("a path in UTF-8");
        Self::start(&[&["--replay", file], options].concat())
    }

    /// Address of its REST and its pages.
    pub(crate) fn http(&self) -> String {
        self.url.replacen("ws://", "http://", 1).trim_end_matches("/finnhub").to_owned()
    }

    /// Stops it, and gives what it has counted.
    pub(crate) fn stop(self) -> String {
        self.process.terminate();
        self.process.end().ended_with(0).stderr
    }
}

/// Runs a Python script with DuckDB at hand; what it prints is JSON lines.
pub(crate) fn python(script: &str, arguments: &[&Path]) -> Vec<Value> {
    python_of("python.sh", script, arguments)
}

/// As [`python`], with Spark, pandas and an Avro reader.
pub(crate) fn spark(script: &str, arguments: &[&Path]) -> Vec<Value> {
    python_of("spark.sh", script, arguments)
}

fn python_of(service: &str, script: &str, arguments: &[&Path]) -> Vec<Value> {
    let mut command = Command::new(root().join("tests/services").join(service));
    command.stderr(Stdio::inherit());
    let output = command.output().expect("the script can be run");
    assert!(output.status.success(), "{service} says why there is no Python");
    let interpreter = String::from_utf8(output.stdout).expect("a path is text");
    let mut command = Command::new(interpreter.trim_end());
    command.args(["-c", script]).args(arguments);
    run(command).ended_with(0).json_lines()
}

/// Rows as text, one an entry, in an order of their own: rows of any two runs can be compared.
pub(crate) fn sorted(rows: &[Value]) -> Vec<String> {
    let mut lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    lines.sort_unstable();
    lines
}

/// Fails with the first difference of two lists of rows.
#[track_caller]
pub(crate) fn assert_same_rows(what: &str, found: &[String], expected: &[String]) {
    let different = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "{what}: {} rows, expected {}; first difference: {different:?}",
        found.len(),
        expected.len()
    );
}

/// Fails unless the rows are the same, numbers within 1e-9 of each other (S11).
#[track_caller]
pub(crate) fn assert_close_rows(what: &str, found: &[Value], expected: &[Value]) {
    assert_eq!(found.len(), expected.len(), "rows of {what}");
    for (found, expected) in found.iter().zip(expected) {
        let (left, right) = (found.as_object(), expected.as_object());
        let (left, right) = left.zip(right).expect("a row is an object");
        let is_same = left.len() == right.len()
            && left.iter().all(|(name, left)| {
                let right = right.get(name);
                match left.as_f64().zip(right.and_then(Value::as_f64)) {
                    Some((left, right)) => (left - right).abs() <= 1e-9 * right.abs(),
                    None => Some(left) == right,
                }
            });
        assert!(is_same, "{what}: {found}, expected {expected}");
    }
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Address of a webhook that answers 204 to everything, as long as this process lives.
pub(crate) fn webhook() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { continue };
                // One message a connection; the answer to half a message does no harm.
                let mut message = [0; 65_536];
                let _ = connection.read(&mut message);
                let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
                let _ = connection.write_all(answer.as_bytes());
            }
        });
        format!("http://{address}/ops")
    })
}
