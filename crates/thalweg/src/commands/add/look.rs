//! A look at what a source will read: a sample of it, and its rows as the block decodes them.

use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use thalweg_connect::codecs::columns::carried_columns;
use thalweg_connect::sampling::{
    self, BYTES_MAX, Proposal, ProposedFormat, ROWS_MAX, Whole, propose, propose_messages,
};
use thalweg_connect::sources::file::{FileInput, Place, RowFormat, carried_schema};
use thalweg_core::decode::{Decoded, Decoder};
use thalweg_core::env::Env;
use thalweg_core::frame::{FrameSpan, Frames};
use thalweg_core::source::{Input as _, ReadLimit, SourceEvent};
use thalweg_core::{Error, ErrorKind, Result};
use thalweg_log::OsDisk;
use thalweg_project::Source;
use thalweg_stream::program::visible;

use super::block::Block;
use super::place::What;
use super::{load, with_block};
use crate::app::sources;
use crate::commands::machine;
use crate::commands::run::simulate_feeds;

/// Attempts to connect.
const ATTEMPTS: usize = 3;
/// Longest wait for a connection, or for the answer of a poll.
const CONNECT_WAIT: Duration = Duration::from_secs(30);

/// What there is to see.
pub(super) struct Look {
    /// The rows of the sample.
    pub rows: RecordBatch,
    /// Frames and rows of it that were refused.
    pub refused: usize,
    frames: usize,
    filtered: u64,
    reason: Option<String>,
}

impl Look {
    /// What came of the sample, in a line or two.
    pub(super) fn summary(&self) -> String {
        let mut text = format!("{} rows of {} sampled records", self.rows.num_rows(), self.frames);
        if self.filtered > 0 {
            text.push_str(&format!(", {} left out by `only_if`", self.filtered));
        }
        if let Some(reason) = &self.reason {
            text.push_str(&format!("; {} refused, the first: {reason}", self.refused));
        }
        text
    }
}

/// Samples what the block names, completes the block, and decodes the sample with it.
pub(super) async fn look(
    dir: &Path,
    text: &str,
    block: &mut Block,
    wait: Duration,
) -> Result<Look> {
    let env = machine(None);
    match block.what.clone() {
        What::File { path, .. } => {
            let path = path.to_string_lossy().into_owned();
            block.proposal = Some(of_file(&path, &env)?);
            let source = declared(dir, text, block)?;
            of_frames(read_file(&source, &path, &env).await?)
        }
        what => {
            let messages = receive(dir, text, block, wait, &env).await?;
            let now = env.clock.now();
            block.proposal = match what {
                What::Http(_) => Some(propose(&messages[0], Whole::Body, false, now)?),
                What::WebSocket(_) => {
                    Some(propose_messages(messages.iter().map(|it| &it[..]), now)?)
                }
                _ => Some(of_preset(dir, text, block)?),
            };
            let source = declared(dir, text, block)?;
            let decoder = sources::decoder(&source, None)?;
            of_frames(decode(decoder, frames(&messages, &env)?)?)
        }
    }
}

/// What a preset brings, written out.
fn of_preset(dir: &Path, text: &str, block: &Block) -> Result<Proposal> {
    let source = declared(dir, text, block)?;
    // The preset has the format; it is not written.
    let mut proposal = sampling::with_columns(ProposedFormat::Parquet, source.columns.clone());
    proposal.key = source.key.first().cloned();
    proposal.event_time = Some(source.event_time);
    Ok(proposal)
}

fn of_file(path: &str, env: &Env) -> Result<Proposal> {
    let head = sampling::head(path)?;
    let proposal = propose(&head.bytes, Whole::File, head.is_cut, env.clock.now())?;
    let format = match proposal.format {
        ProposedFormat::Parquet => RowFormat::Parquet,
        ProposedFormat::Avro => RowFormat::Avro,
        _ => return Ok(proposal),
    };
    let disk = std::sync::Arc::new(OsDisk) as std::sync::Arc<dyn thalweg_core::env::Disk>;
    let schema = carried_schema(&disk, path, format)?;
    Ok(sampling::with_columns(proposal.format, carried_columns(&schema)))
}

/// The source as the project would have it.
fn declared(dir: &Path, text: &str, block: &Block) -> Result<Source> {
    let mut loaded = load(dir, &with_block(text, block)?, block);
    crate::check::check(&mut loaded);
    let source = loaded.project.as_ref().and_then(|project| project.source(block.name()).cloned());
    source.ok_or_else(|| {
        let name = block.name();
        let begins = |problem: &&thalweg_core::problem::Problem| {
            problem.place.as_ref().is_some_and(|place| {
                loaded.sources.text(&place.file).is_some_and(|text| {
                    text.find(&format!("[source.{name}]")).is_some_and(|at| place.range.start >= at)
                })
            })
        };
        let said = loaded.problems.iter().find(begins).or(loaded.problems.first());
        let detail = said.map_or(String::new(), |problem| problem.message.clone());
        Error::invalid(format!("source `{name}` cannot be declared")).with_detail(detail)
    })
}

/// What a feed sends for a while, or what an address answers.
async fn receive(
    dir: &Path,
    text: &str,
    block: &Block,
    wait: Duration,
    env: &Env,
) -> Result<Vec<Bytes>> {
    let with_block = with_block(text, block)?;
    let mut loaded = load(dir, &with_block, block);
    crate::check::check(&mut loaded);
    let name = block.name();
    let missing = loaded.secrets_missing.clone();
    let project = loaded.project.as_mut();
    let project = project.ok_or_else(|| Error::invalid("there is no project here"))?;
    let read: Vec<&String> =
        missing.iter().filter(|it| block.toml().contains(&format!("${{{it}}}"))).collect();
    if let Some(variable) = read.first() {
        return Err(Error::invalid(format!("`{variable}` is not set"))
            .with_hint(format!("Set it in the environment, or write `{variable}=…` into .env.")));
    }
    project.sources.retain(|source| source.name.value == name);
    simulate_feeds(env, project).await?;
    let source = project.source(name).cloned();
    let source = match source {
        Some(source) => source,
        None => declared(dir, text, block)?,
    };
    let mut live = sources::live(&source, env, true)?;
    let mut messages: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    let mut failed = None;
    for _ in 0..ATTEMPTS {
        let connected = env.clock.sleep(CONNECT_WAIT);
        tokio::select! {
            connect = live.connect() => match connect {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::Invalid => return Err(error),
                Err(error) => { failed = Some(error); continue; }
            },
            () = connected => {
                failed = Some(Error::unavailable("it does not answer"));
                continue;
            }
        }
        // A poll ends by itself.
        let until = match block.what {
            What::WebSocket(_) | What::Finnhub(_) => wait,
            _ => CONNECT_WAIT,
        };
        let mut over = std::pin::pin!(env.clock.sleep(until));
        loop {
            let event = tokio::select! {
                event = live.next() => event,
                () = &mut over => break,
            };
            match event {
                Ok(SourceEvent::Frame(frame)) => {
                    bytes += frame.bytes.len();
                    messages.push(frame.bytes);
                    if messages.len() >= ROWS_MAX || bytes >= 8 * BYTES_MAX {
                        break;
                    }
                }
                Ok(SourceEvent::Oversized { length, .. }) => {
                    let message = format!("a message is {length} bytes long, more than 10 MB");
                    return Err(Error::invalid(message));
                }
                Ok(SourceEvent::Alive) => {}
                Ok(SourceEvent::Closed(reason)) => {
                    failed = Some(Error::unavailable(format!("it closed: {reason}")));
                    break;
                }
                Ok(SourceEvent::End) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        live.disconnect().await;
        if !messages.is_empty() {
            return Ok(messages);
        }
    }
    Err(failed.unwrap_or_else(|| {
        Error::unavailable(format!("nothing came within {} s", wait.as_secs())).with_hint(
            "Wait longer with `--for 1m`; many feeds want a message first: `--subscribe`.",
        )
    }))
}

fn frames(messages: &[Bytes], env: &Env) -> Result<Frames> {
    let mut data = Vec::new();
    let mut spans = Vec::with_capacity(messages.len());
    let now = env.clock.now();
    let too_much = |_| Error::invalid("the sample is too large");
    for (offset, message) in (0..).zip(messages) {
        let start = u32::try_from(data.len()).map_err(too_much)?;
        let len = u32::try_from(message.len()).map_err(too_much)?;
        data.extend_from_slice(message);
        spans.push(FrameSpan { start, len, offset, received_at: now });
    }
    Ok(Frames { partition: 0, data: data.into(), spans, rows: None })
}

type Sampled = (Decoded, usize);

fn decode(mut decoder: Box<dyn Decoder>, frames: Frames) -> Result<Sampled> {
    Ok((decoder.decode(&frames)?, frames.len()))
}

/// The first records of a file, as the source reads them.
async fn read_file(source: &Source, path: &str, env: &Env) -> Result<Sampled> {
    let mut config = sources::file_config(source, Place::Disk(path.to_owned()))?;
    config.settle = Duration::ZERO;
    let mut input = FileInput::new(config, env)?;
    let decoder = sources::decoder(source, Some(input.header_source()))?;
    input.restore(None)?;
    let mut from = input.start().await?;
    let limit = |frames_max| ReadLimit {
        frames_max,
        bytes_max: BYTES_MAX,
        until: None,
        is_rerun: false,
        wait: Duration::from_millis(10),
    };
    loop {
        let chunk = input.read(from, limit(ROWS_MAX)).await?;
        if let Some(part) = chunk.unreadable.first() {
            return Err(Error::invalid(format!("it cannot be read: {}", part.reason)));
        }
        if !chunk.frames.is_empty() || chunk.at_end || chunk.next <= from {
            return decode(decoder, chunk.frames);
        }
        from = chunk.next;
    }
}

fn of_frames((decoded, frames): Sampled) -> Result<Look> {
    let columns: Vec<usize> = visible(&decoded.rows.schema())
        .fields()
        .iter()
        .filter_map(|field| decoded.rows.schema().index_of(field.name()).ok())
        .collect();
    let rows = decoded.rows.project(&columns).map_err(|error| {
        Error::internal("rows of the sample do not fit together").with_source(error)
    })?;
    Ok(Look {
        rows,
        refused: decoded.rejects.len(),
        frames,
        filtered: decoded.frames.filtered,
        reason: decoded.rejects.first().map(|reject| reject.reason.clone()),
    })
}
