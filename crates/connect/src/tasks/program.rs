//! A program as a task: what it prints is the task's log, its exit code decides.
//!
//! It runs in the project's folder, in a process group of its own, with `THALWEG_RUN`, `THALWEG_DAY`,
//! `THALWEG_PERIOD_START`, `THALWEG_PERIOD_END` and `THALWEG_ATTEMPT` beside what the server's
//! environment has. When the task is cancelled or out of time, the group is asked to end and, if it does
//! not within [`END_WAIT`], killed. Exit code 0 is success; any other is `Data`, which the task's
//! retries are for.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use thalweg_core::task::{Task, TaskContext, TaskLog};
use thalweg_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::group;

/// How long a program may take to end when it is asked to.
const END_WAIT: Duration = Duration::from_secs(5);
/// How much of a line is read; what stands behind it is passed over.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What to run.
#[derive(Clone, Debug)]
pub struct ProgramConfig {
    /// Program and arguments; at least the program. No default.
    pub command: Vec<String>,
    /// Folder to run it in.
    pub folder: PathBuf,
}

/// Runs a program; see the module.
pub struct Program {
    config: ProgramConfig,
}

impl Program {
    /// A task that runs `config`.
    pub fn new(config: ProgramConfig) -> Self {
        Self { config }
    }

    fn start(&self, context: &TaskContext) -> Result<Child> {
        let Some((program, arguments)) = self.config.command.split_first() else {
            return Err(Error::invalid("there is no program to run"));
        };
        Command::new(program)
            .args(arguments)
            .current_dir(&self.config.folder)
            .env("THALWEG_RUN", &context.run)
            .env("THALWEG_DAY", context.day.to_string())
            .env("THALWEG_PERIOD_START", context.period_start.to_string())
            .env("THALWEG_PERIOD_END", context.period_end.to_string())
            .env("THALWEG_ATTEMPT", context.attempt.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                Error::invalid(format!("`{program}` cannot be started")).with_source(error)
            })
    }
}

#[async_trait]
impl Task for Program {
    async fn run(&self, context: &TaskContext) -> Result<String> {
        let mut child = self.start(context)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let log = &*context.log;
        let run = async {
            // Both end when nobody of the group has them open any more.
            tokio::join!(follow(out, log), follow(err, log));
            child.wait().await
        };
        let ended = tokio::select! {
            ended = run => Some(ended),
            () = context.cancel.cancelled() => None,
        };
        match ended {
            Some(Ok(status)) if status.success() => {
                Ok(format!("`{}` ended well", self.config.command[0]))
            }
            Some(Ok(status)) => Err(Error::new(
                ErrorKind::Data,
                format!("`{}` ended with {}", self.config.command[0], told(status)),
            )
            .with_detail("The log of the task has what it printed.")),
            Some(Err(error)) => {
                Err(Error::unavailable("the program cannot be waited for").with_source(error))
            }
            None => {
                group::end(&mut child, END_WAIT).await;
                Err(Error::unavailable(format!("`{}` was ended", self.config.command[0])))
            }
        }
    }
}

fn told(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "a signal".to_owned(),
    }
}

/// Writes lines to the log as they come. How much of them is kept is the log's business.
async fn follow(pipe: Option<impl AsyncRead + Unpin>, log: &dyn TaskLog) {
    let Some(pipe) = pipe else { return };
    let mut pipe = BufReader::new(pipe);
    let (mut line, mut is_too_long) = (Vec::new(), false);
    while let Ok(part) = pipe.fill_buf().await {
        let end = memchr::memchr(b'\n', part);
        let read = end.map_or(part.len(), |end| end + 1);
        let room = (LINE_BYTES_MAX - line.len()).min(end.unwrap_or(read));
        line.extend_from_slice(&part[..room]);
        is_too_long |= room < end.unwrap_or(read);
        let is_over = read == 0;
        pipe.consume(read);
        if end.is_some() || is_over && !line.is_empty() {
            log.line(String::from_utf8_lossy(&line).trim_end());
            if is_too_long {
                log.line("… the rest of this line is left out");
            }
            line.clear();
            is_too_long = false;
        }
        if is_over {
            return;
        }
    }
}
