//! What a test gives to sources, in the place of what they are connected to.
//!
//! Records come one at a time, so that each is an epoch of its own: what is late is so by the rows
//! before it, and the same test always gives the same. A record is received when it says
//! (`_received_at`), else when the test says (`now`), else at its event time or that of an earlier
//! record, whichever is later; never before the one before it (S1).
//!
//! Not here: which rows (`trial`), and what becomes of them: that is the source's own decoder, its
//! checks and its pipelines.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::AsArray as _;
use arrow::datatypes::TimestampMicrosecondType;
use async_trait::async_trait;
use bytes::Bytes;
use thalweg_connect::codecs::json::{JsonConfig, JsonDecoder};
use thalweg_connect::sources::file::{FileInput, Framing, Place};
use thalweg_core::decode::Decoder;
use thalweg_core::env::Env;
use thalweg_core::frame::{FrameSpan, Frames};
use thalweg_core::schema::{Column, meta};
use thalweg_core::source::{Chunk, Input, Origin, ReadLimit, line_ends};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;
use thalweg_core::{Error, Result};
use thalweg_project::{Format, Source};
use thalweg_stream::intake::Intake;
use thalweg_stream::sql::Planner;

use super::sources::{self, Inputs};

/// Records that a test may give to one source.
const RECORDS_MAX: usize = 100_000;
/// Bytes that a test may give to one source.
const BYTES_MAX: usize = 256 << 20;
/// When a test begins that says nothing of time.
const SOME_DAY: &str = "2000-01-01";

/// What every source of a project reads in a test.
pub(crate) struct Given {
    sources: BTreeMap<String, GivenSource>,
}

/// What one source reads.
pub(crate) struct GivenSource {
    source: Source,
    reads: Reads,
    records: Arc<[Chunk]>,
}

/// What its records are.
enum Reads {
    /// Objects by the names of its columns.
    Rows,
    /// Messages as the feed sends them.
    Messages,
    /// Frames of files, whose headers decoders ask for.
    Files(Box<Mutex<FileInput>>),
}

/// A row by the names of columns.
pub(crate) struct GivenRow {
    /// An object with the columns that the row has.
    pub json: Bytes,
    /// When it says that it was received.
    pub received_at: Option<Timestamp>,
}

impl Given {
    /// Nothing for any of these sources, yet.
    pub(crate) fn nothing(sources: &[Source]) -> Result<Self> {
        let nothing = |source: &Source| {
            Ok((source.name.value.clone(), GivenSource::rows(source, Vec::new(), None)?))
        };
        Ok(Self { sources: sources.iter().map(nothing).collect::<Result<_>>()? })
    }

    /// Gives this to its source.
    pub(crate) fn give(&mut self, given: GivenSource) {
        self.sources.insert(given.source.name.value.clone(), given);
    }

    pub(super) fn source(&self, name: &str) -> Option<&GivenSource> {
        self.sources.get(name)
    }

    /// When the first record is received; some day without any.
    pub(crate) fn begins_at(&self) -> Timestamp {
        self.received(|records| records.first()).min().unwrap_or_else(some_day)
    }

    /// When the last record is received.
    pub(crate) fn ends_at(&self) -> Timestamp {
        self.received(|records| records.last()).max().unwrap_or_else(some_day)
    }

    fn received(
        &self,
        which: impl Fn(&[Chunk]) -> Option<&Chunk>,
    ) -> impl Iterator<Item = Timestamp> {
        self.sources.values().filter_map(move |source| received_at(which(&source.records)?))
    }
}

fn some_day() -> Timestamp {
    Timestamp::parse(SOME_DAY).unwrap_or(Timestamp(0))
}

impl GivenSource {
    /// Rows by the names of the source's columns.
    ///
    /// # Errors
    ///
    /// `Invalid` when there are too many.
    pub(crate) fn rows(
        source: &Source,
        rows: Vec<GivenRow>,
        now: Option<Timestamp>,
    ) -> Result<Self> {
        let mut chunks = Vec::with_capacity(rows.len());
        let mut said = Vec::with_capacity(rows.len());
        for (offset, row) in (0..).zip(rows) {
            said.push(row.received_at);
            chunks.push(frame(offset, row.json, some_day())?);
        }
        let mut given = Self { source: source.clone(), reads: Reads::Rows, records: Arc::new([]) };
        given.receive(chunks, &said, now)?;
        Ok(given)
    }

    /// The frames of a file: for a source of files as it reads them; else a message a line where the
    /// file's name ends in `.jsonl` or `.ndjson`, and one message where it does not.
    ///
    /// # Errors
    ///
    /// `Unavailable` when it cannot be read, `Invalid` when it holds too much.
    pub(crate) async fn frames(
        source: &Source,
        path: &Path,
        now: Option<Timestamp>,
        env: &Env,
    ) -> Result<Self> {
        let place = Place::Disk(path.to_string_lossy().into_owned());
        let mut config = sources::file_config(source, place)?;
        // Nobody writes to it.
        config.settle = Duration::ZERO;
        if source.is_live() {
            let has_lines = path.extension().is_some_and(|end| end == "jsonl" || end == "ndjson");
            config.encoding = None;
            config.framing = match (&source.format, has_lines) {
                (Format::Json(_), true) => Framing::Lines,
                _ => Framing::Document,
            };
        }
        let mut input = FileInput::new(config, env)?;
        let chunks = read_whole(&mut input).await?;
        let said = vec![None; chunks.len()];
        let reads = match source.is_live() {
            true => Reads::Messages,
            false => Reads::Files(Box::new(Mutex::new(input))),
        };
        let mut given = Self { source: source.clone(), reads, records: Arc::new([]) };
        given.receive(chunks, &said, now)?;
        Ok(given)
    }

    /// Takes records, each received when it says, when the test says, or when it happened.
    fn receive(
        &mut self,
        mut chunks: Vec<Chunk>,
        said: &[Option<Timestamp>],
        now: Option<Timestamp>,
    ) -> Result<()> {
        if chunks.len() > RECORDS_MAX {
            let message =
                format!("{} records are given, and {RECORDS_MAX} are the most", chunks.len());
            return Err(Error::invalid(message));
        }
        let mut decoder = self.decoder()?;
        let event_time = self.source.event_time.as_str();
        let mut newest: Option<Timestamp> = None;
        let mut waiting = 0;
        for at in 0..chunks.len() {
            let happened = match event_time {
                meta::RECEIVED_AT => None,
                column => {
                    let rows = decoder.decode(&chunks[at].frames)?.rows;
                    let times = rows.column_by_name(column);
                    let times =
                        times.and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
                    times.and_then(arrow::compute::max).map(Timestamp)
                }
            };
            let received = said[at].or(now).or(happened);
            let Some(received) = received.max(newest) else { continue };
            newest = Some(received);
            // What came before anything said when came then, too.
            for chunk in &mut chunks[waiting..=at] {
                set_received(chunk, received);
            }
            waiting = at + 1;
        }
        self.records = chunks.into();
        Ok(())
    }

    fn decoder(&self) -> Result<Box<dyn Decoder>> {
        match &self.reads {
            Reads::Rows => {
                let columns = self.source.columns.iter().map(by_name).collect();
                Ok(Box::new(JsonDecoder::new(&JsonConfig { columns, ..JsonConfig::default() })?))
            }
            Reads::Messages => sources::decoder(&self.source, None),
            Reads::Files(input) => {
                let input = input.lock().unwrap_or_else(PoisonError::into_inner);
                sources::decoder(&self.source, Some(input.header_source()))
            }
        }
    }

    pub(super) fn input_and_intake(&self, planner: &Planner) -> Result<(Inputs, Intake)> {
        let input = GivenInput { records: Arc::clone(&self.records) };
        let intake = sources::intake(&self.source, planner, self.decoder()?)?;
        Ok((BTreeMap::from([(0, Box::new(input) as Box<dyn Input>)]), intake))
    }
}

/// A column of a row by names: found by its own, whatever the source calls it.
fn by_name(column: &Column) -> Column {
    let select = (!column.name.contains('\'')).then(|| format!("['{}']", column.name));
    Column { select, ..column.clone() }
}

fn frame(offset: Offset, bytes: Bytes, received_at: Timestamp) -> Result<Chunk> {
    let len = u32::try_from(bytes.len())
        .map_err(|_| Error::invalid("a row is longer than a frame can be"))?;
    let spans = vec![FrameSpan { start: 0, len, offset, received_at }];
    let frames = Frames { partition: 0, data: bytes, spans, rows: None };
    Ok(Chunk { frames, next: offset + 1, ..Chunk::default() })
}

/// Every frame of a file, each in a chunk of its own.
async fn read_whole(input: &mut FileInput) -> Result<Vec<Chunk>> {
    let limit = ReadLimit {
        frames_max: 1_000,
        bytes_max: 4 << 20,
        until: None,
        is_rerun: false,
        wait: Duration::from_millis(10),
    };
    input.restore(None)?;
    let mut from = input.start().await?;
    let mut bytes = 0;
    let mut chunks = Vec::new();
    loop {
        let chunk = input.read(from, limit).await?;
        bytes += chunk.frames.data.len();
        if bytes > BYTES_MAX || chunks.len() > RECORDS_MAX {
            return Err(Error::invalid("the file holds more than a test may give").with_detail(
                format!("{RECORDS_MAX} records and {BYTES_MAX} bytes are the most."),
            ));
        }
        let (next, at_end) = (chunk.next, chunk.at_end);
        split(chunk, &mut chunks);
        if at_end || next <= from {
            return Ok(chunks);
        }
        from = next;
    }
}

/// Cuts what was read into chunks of one frame each.
fn split(chunk: Chunk, out: &mut Vec<Chunk>) {
    let first = chunk.frames.spans.first().map_or(0, |span| span.start as usize);
    let mut alone: Vec<Chunk> = Vec::with_capacity(chunk.frames.len());
    for (index, span) in chunk.frames.spans.iter().enumerate() {
        let rows = chunk.frames.rows.as_ref().map(|rows| rows.slice(index, 1));
        let origin = chunk.origin.as_ref().map(|origin| {
            let lines = match origin.is_row {
                true => index as u64,
                false => {
                    let before = chunk.frames.data.get(first..span.start as usize);
                    line_ends(before.unwrap_or_default())
                }
            };
            Origin { number: origin.number + lines, ..origin.clone() }
        });
        let frames =
            Frames { partition: 0, data: chunk.frames.data.clone(), spans: vec![*span], rows };
        alone.push(Chunk { frames, next: span.offset + 1, origin, ..Chunk::default() });
    }
    let aside =
        |offset| Chunk { next: offset + 1, origin: chunk.origin.clone(), ..Chunk::default() };
    for oversized in chunk.oversized.clone() {
        alone.push(Chunk { oversized: vec![oversized.clone()], ..aside(oversized.offset) });
    }
    for unreadable in chunk.unreadable.clone() {
        alone.push(Chunk { unreadable: vec![unreadable.clone()], ..aside(unreadable.offset) });
    }
    alone.sort_by_key(|chunk| chunk.next);
    out.extend(alone);
}

fn received_at(chunk: &Chunk) -> Option<Timestamp> {
    let spans = chunk.frames.spans.iter().map(|span| span.received_at);
    let oversized = chunk.oversized.iter().map(|it| it.received_at);
    spans.chain(oversized).chain(chunk.unreadable.iter().map(|it| it.received_at)).next()
}

fn set_received(chunk: &mut Chunk, at: Timestamp) {
    chunk.frames.spans.iter_mut().for_each(|span| span.received_at = at);
    chunk.oversized.iter_mut().for_each(|it| it.received_at = at);
    chunk.unreadable.iter_mut().for_each(|it| it.received_at = at);
}

/// Hands the records of a test out, one a read.
struct GivenInput {
    records: Arc<[Chunk]>,
}

#[async_trait]
impl Input for GivenInput {
    fn restore(&mut self, _manifest: Option<&str>) -> Result<()> {
        Ok(())
    }

    async fn read(&mut self, from: Offset, limit: ReadLimit) -> Result<Chunk> {
        let at = self.records.partition_point(|chunk| chunk.next <= from);
        let record = self.records.get(at);
        let record = record.filter(|it| limit.until.is_none_or(|until| it.next <= until));
        Ok(match record {
            Some(chunk) => Chunk { at_end: at + 1 == self.records.len(), ..chunk.clone() },
            None => Chunk { next: from, at_end: true, ..Chunk::default() },
        })
    }

    async fn start(&mut self) -> Result<Offset> {
        Ok(0)
    }

    async fn unread_heads(&mut self, _from: Offset) -> Result<Frames> {
        Ok(Frames::default())
    }

    fn is_bounded(&self) -> bool {
        true
    }
}
