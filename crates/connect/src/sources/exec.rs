//! A program of your own: a record a line of its standard output.
//!
//! Without a period it runs on, and is started again by the driver's back-off when it ends. With one
//! it is run at `start + n × every`; a slot that passes while it runs is left out, and a run that ends
//! with an error counts as a failed connection.
//!
//! Its standard error is logged line by line, cut where lines are long; the last line is in the error
//! when it fails. It is started in a process group of its own, in the project folder, with standard
//! input closed; when the source stops, the group is asked to end, and killed after
//! [`ExecConfig::grace`]. Only a `kill -9` of thalweg itself leaves it behind: it ends then at its
//! next write.
//!
//! Blank lines are no records. A line longer than a frame may be is kept by its head. Not here:
//! back-off, gaps and watchdogs ([`crate::feed`]).

use std::fmt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use thalweg_core::env::{Clock, Env};
use thalweg_core::error::{Error, Result};
use thalweg_core::frame::{FRAME_BYTES_MAX, Frame};
use thalweg_core::source::{Source, SourceEvent};
use thalweg_core::time::Timestamp;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use tracing::info;

use crate::group;

/// How much of a line that is too long is kept.
const HEAD_BYTES: usize = 64 << 10;
/// How much of a line of standard error is logged.
const SAID_BYTES: usize = 1_000;
/// How long a program that has closed its output may take to end.
const END_WAIT: Duration = Duration::from_secs(5);

/// What to run, and when.
#[derive(Clone)]
pub struct ExecConfig {
    /// Name of the source, for the log.
    pub name: String,
    /// The program and its arguments; at least one. Arguments may be secret and are never shown.
    pub command: Vec<String>,
    /// The folder it runs in.
    pub folder: PathBuf,
    /// Time between two runs; without it the program runs on.
    pub every: Option<Duration>,
    /// Whether to run it once and then end. Default false.
    pub once: bool,
    /// Silence after which it counts as dead and is started again.
    pub stale_after: Duration,
    /// How long it may take to end when it is asked to. Default 3 s.
    pub grace: Duration,
}

impl fmt::Debug for ExecConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExecConfig({})", self.program())
    }
}

impl ExecConfig {
    fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }
}

/// Runs a program and reads its lines.
pub struct Exec {
    config: ExecConfig,
    clock: Clock,
    env: Env,
    running: Option<Running>,
    // When the next run is due, with a period.
    due: Option<Timestamp>,
}

/// A program that runs.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    line: Line,
    said: Arc<Mutex<String>>,
}

/// A line as far as it has come.
#[derive(Default)]
struct Line {
    head: BytesMut,
    // Its whole length so far.
    length: u64,
}

impl Exec {
    /// A source that has not been started.
    ///
    /// # Errors
    ///
    /// `Invalid` without a program, or with a period of zero.
    pub fn new(config: ExecConfig, env: &Env) -> Result<Self> {
        if config.program().is_empty() {
            return Err(Error::invalid("there is no program to run"));
        }
        if config.every.is_some_and(|every| every.is_zero()) {
            return Err(Error::invalid("the time between two runs is zero"));
        }
        Ok(Self { config, clock: env.clock.clone(), env: env.clone(), running: None, due: None })
    }

    fn start(&mut self) -> Result<()> {
        let mut command = Command::new(self.config.program());
        command
            .args(&self.config.command[1..])
            .current_dir(&self.config.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let program = self.config.program();
        let mut child = command.spawn().map_err(|error| {
            let cannot = format!("`{program}` cannot be started");
            Error::unavailable(cannot)
                .with_source(error)
                .with_hint("`exec.command` is a program of the PATH or a path, and its arguments.")
        })?;
        let (output, errors) = child
            .stdout
            .take()
            .zip(child.stderr.take())
            .ok_or_else(|| Error::internal("a program has no output"))?;
        let said = Arc::new(Mutex::new(String::new()));
        self.env.spawn(log_lines(self.config.name.clone(), errors, Arc::clone(&said)));
        let output = BufReader::with_capacity(64 << 10, output);
        self.running = Some(Running { child, output, line: Line::default(), said });
        Ok(())
    }

    /// The next event of the program that runs.
    async fn read(&mut self) -> Result<SourceEvent> {
        loop {
            let Some(running) = &mut self.running else { return Err(nothing_runs()) };
            let Some(line) = running.line.next(&mut running.output).await.map_err(|error| {
                Error::unavailable("the output of a program cannot be read").with_source(error)
            })?
            else {
                return self.ended().await;
            };
            let received_at = self.clock.now();
            if line.length > FRAME_BYTES_MAX as u64 {
                let mut head = line.head;
                head.truncate(HEAD_BYTES);
                let length = line.length;
                return Ok(SourceEvent::Oversized { received_at, length, head: head.freeze() });
            }
            let mut bytes = line.head.freeze();
            if bytes.ends_with(b"\r") {
                bytes.truncate(bytes.len() - 1);
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return Ok(SourceEvent::Frame(Frame { received_at, connection: 0, bytes }));
        }
    }

    /// What the end of a program means.
    async fn ended(&mut self) -> Result<SourceEvent> {
        let Some(running) = &mut self.running else { return Err(nothing_runs()) };
        let program = self.config.program();
        let waited = timeout(END_WAIT, running.child.wait()).await;
        let Some(mut running) = self.running.take() else { return Err(nothing_runs()) };
        let status = match waited {
            Ok(status) => status.map_err(|error| {
                Error::unavailable(format!("`{program}` cannot be waited for")).with_source(error)
            })?,
            Err(_) => {
                group::end(&mut running.child, Duration::ZERO).await;
                return Err(Error::unavailable(format!(
                    "`{program}` closed its output and did not end"
                )));
            }
        };
        let said = running.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if self.config.every.is_none() {
            let how = format!("`{program}` ended with {}", shown(status));
            if self.config.once && status.success() {
                return Ok(SourceEvent::End);
            }
            return Err(with_said(Error::unavailable(how), &said));
        }
        if !status.success() {
            let how = format!("`{program}` ended with {}", shown(status));
            return Err(with_said(Error::unavailable(how), &said));
        }
        if self.config.once { Ok(SourceEvent::End) } else { Ok(SourceEvent::Alive) }
    }

    /// Waits for the slot of the next run.
    async fn wait(&mut self, every: Duration) {
        let now = self.clock.now();
        let due = *self.due.get_or_insert(now);
        if due > now {
            self.clock.sleep(due.since(now)).await;
        }
        let mut next = due.plus(every);
        let now = self.clock.now();
        while next <= now {
            next = next.plus(every);
        }
        self.due = Some(next);
    }
}

/// It is started by the next connection.
fn nothing_runs() -> Error {
    Error::unavailable("no program runs")
}

fn with_said(error: Error, said: &str) -> Error {
    match said {
        "" => error,
        said => error.with_detail(format!("The last line of its standard error: {said}")),
    }
}

fn shown(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("code {code}"),
        None => "a signal".to_owned(),
    }
}

impl Line {
    /// The next line, without its end; none at the end of the output.
    ///
    /// # Cancel safety
    ///
    /// What was read of a line is kept.
    async fn next<R: AsyncRead + Unpin>(
        &mut self,
        output: &mut BufReader<R>,
    ) -> std::io::Result<Option<Self>> {
        loop {
            let buffer = output.fill_buf().await?;
            if buffer.is_empty() {
                let rest = std::mem::take(self);
                return Ok((rest.length > 0).then_some(rest));
            }
            let end = memchr::memchr(b'\n', buffer);
            let part = &buffer[..end.unwrap_or(buffer.len())];
            // Bounded, whatever the program writes.
            let room = (FRAME_BYTES_MAX + 1).saturating_sub(self.head.len());
            self.head.extend_from_slice(&part[..part.len().min(room)]);
            self.length += part.len() as u64;
            let used = part.len() + usize::from(end.is_some());
            output.consume(used);
            if end.is_some() {
                return Ok(Some(std::mem::take(self)));
            }
        }
    }
}

/// Logs what a program says on its standard error, and keeps the last line.
async fn log_lines(source: String, errors: impl AsyncRead + Unpin, said: Arc<Mutex<String>>) {
    let mut errors = BufReader::new(errors);
    let mut line = Line::default();
    while let Ok(Some(found)) = line.next(&mut errors).await {
        let bytes: Bytes = found.head.freeze();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SAID_BYTES)]).into_owned();
        if !text.trim().is_empty() {
            info!(source, said = text.trim_end(), "the program says");
            *said.lock().unwrap_or_else(PoisonError::into_inner) = text.trim_end().to_owned();
        }
    }
}

#[async_trait]
impl Source for Exec {
    async fn connect(&mut self) -> Result<()> {
        self.disconnect().await;
        match self.config.every {
            // It is started when it is due.
            Some(_) => Ok(()),
            None => self.start(),
        }
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        if self.running.is_none()
            && let Some(every) = self.config.every
        {
            self.wait(every).await;
            self.start()?;
        }
        self.read().await
    }

    async fn disconnect(&mut self) {
        if let Some(mut running) = self.running.take() {
            group::end(&mut running.child, self.config.grace).await;
        }
    }

    fn keys(&self) -> Vec<String> {
        vec!["*".to_owned()]
    }

    fn stale_after(&self) -> Duration {
        self.config.stale_after
    }
}

#[cfg(test)]
mod tests;
