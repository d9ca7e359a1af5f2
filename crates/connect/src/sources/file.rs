//! Files as an input, read again by position: a frame a line, record, element or row.
//!
//! A file source is one partition in list order. Files are listed by name when reading begins; ones
//! that match later come after them, as does what is appended to a file that is already behind the
//! position. What such a list means, and how a changed file is noticed, stands in `manifest` (S0,
//! S1).
//!
//! # What is a frame
//!
//! A line without its line end (`\n` or `\r\n`), a record of CSV, an element of a JSON array, a whole
//! file, or a row of Parquet or Avro; see [`Framing`]. Blank lines, a UTF-8 byte order mark at the front of a file and, where
//! there is one, the header are no frames. Files may have different headers;
//! [`FileInput::header_source`] tells decoders which.
//!
//! Compressed files and those in other encodings are unpacked on the way (`unpack`); an offset is
//! then one of the text. What cannot be unpacked is set aside with its reason, and the next file is
//! read.
//!
//! A last line without a line end is a frame once the file has not grown for
//! [`FileConfig::settle`]; it is then the end of that stretch of the file, also when it is read
//! again. If the file then goes on in the middle of that line, reading stops with an error.
//!
//! # Cost
//!
//! One buffer of 1 MiB is read, cut and handed over; it is used again when whoever got it has let it
//! go. Nothing is allocated a line, and no file is held in memory.
//!
//! Not here: what frames mean (`codecs`).

mod disk;
mod files;
mod find;
mod framing;
mod heads;
mod manifest;
mod objects;
mod pace;
mod pattern;
mod piece;
mod rows;
mod step;
mod unpack;

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use encoding_rs::UTF_8;
use thalweg_core::env::{Alarm, Env};
use thalweg_core::error::{Error, Result};
use thalweg_core::frame::Frames;
use thalweg_core::source::{Chunk, Input, ReadLimit};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;

use self::disk::DiskFiles;
use self::files::Files;
use self::find::find;
use self::heads::{Head, Headers};
use self::manifest::{Manifest, Position, Stretch};
use self::objects::ObjectFiles;
use self::objects::http::HttpFile;
use self::objects::stores::StoredObjects;
use self::pace::Pace;
use self::piece::{PackedFile, Piece};
use self::rows::OpenRows;
use self::step::Step;
use super::redact_url;

pub use encoding_rs::Encoding;

pub use self::framing::{Framing, RowFormat};
pub use self::heads::carried_header;
pub use self::pace::Rate;
pub use self::rows::carried_schema;
pub use crate::stores::S3Config;

/// Bytes read at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Progress after which the list is handed out again, for the prints in it.
const MANIFEST_EVERY_BYTES: u64 = 16 << 20;
/// Time after which it is handed out when everything was read.
const MANIFEST_EVERY: Duration = Duration::from_secs(1);

/// Where files are. `*`, `?` and `[…]` match within a name, `**` any number of folders.
#[derive(Clone)]
pub enum Place {
    /// A path of this machine.
    Disk(String),
    /// One `http://…` or `https://…`, which may hold a secret.
    Http {
        /// The address.
        url: String,
        /// Headers of each request: name and value; secret.
        headers: Vec<(String, String)>,
    },
    /// `hdfs://namenode:port/path`, with wildcards.
    Hdfs(String),
    /// Objects of an S3 bucket.
    S3(S3Config),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path) => f.write_str(path),
            Self::Http { url, .. } => f.write_str(&redact_url(url)),
            Self::Hdfs(url) | Self::S3(S3Config { url, .. }) => f.write_str(url),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

impl Place {
    fn files(&self, env: &Env) -> Result<Arc<dyn Files>> {
        Ok(match self {
            Self::Disk(path) => Arc::new(DiskFiles::new(Arc::clone(&env.disk), path)?),
            Self::Http { url, headers } => Arc::new(ObjectFiles::new(HttpFile::new(url, headers)?)),
            Self::Hdfs(url) => Arc::new(ObjectFiles::new(StoredObjects::hdfs(url)?)),
            Self::S3(config) => Arc::new(ObjectFiles::new(StoredObjects::s3(config)?)),
        })
    }

    /// A text that changes whenever the files do: their names, sizes, and tags or times of writing.
    ///
    /// # Errors
    ///
    /// As [`count`](Self::count).
    pub async fn state(&self, env: &Env) -> Result<String> {
        let mut state = String::new();
        for file in self.files(env)?.list().await? {
            let written = match self {
                Self::Disk(_) => env.disk.written_at(Path::new(&file.path)).ok().flatten(),
                _ => None,
            };
            let written = written.map(|at| at.0.to_string());
            let mark = file.tag.or(written).unwrap_or_default();
            let _ = writeln!(state, "{} {} {mark}", file.path, file.size);
        }
        Ok(state)
    }

    /// How many files there are now.
    ///
    /// # Errors
    ///
    /// `Unavailable` when they cannot be listed, `Invalid` when what is set cannot be right.
    pub async fn count(&self, env: &Env) -> Result<usize> {
        Ok(self.files(env)?.list().await?.len())
    }
}

/// Which files, and how they are read.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// Where they are. No default.
    pub place: Place,
    /// How bytes are cut into frames. Default lines.
    pub framing: Framing,
    /// What texts are encoded in, where no byte order mark says so. Default UTF-8.
    pub encoding: Option<&'static Encoding>,
    /// Frames per time, such as `200/s`. Default as fast as they are taken.
    pub rate: Option<Rate>,
    /// How long a file must not have grown before a last line without line end is a frame. Default
    /// 1 s; longer than a writer rests in the middle of a line.
    pub settle: Duration,
    /// How often to look for new files and for growth once everything was read. Default 1 s.
    pub poll_interval: Duration,
}

impl FileConfig {
    /// The files at `path` on this machine, with the default of every other field.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            place: Place::Disk(path.into()),
            framing: Framing::Lines,
            encoding: None,
            rate: None,
            settle: Duration::from_secs(1),
            poll_interval: Duration::from_secs(1),
        }
    }
}

/// Reads files.
pub struct FileInput {
    config: FileConfig,
    files: Arc<dyn Files>,
    env: Env,
    manifest: Manifest,
    pace: Option<Pace>,
    // When the pace allows the next frame; a clock that leaps stops there, whoever waits.
    next_frame: Option<Alarm>,
    // The part of a file that was read last; what is left of it serves the next read.
    piece: Option<(usize, Piece)>,
    packed: Option<PackedFile>,
    rows: Option<OpenRows>,
    row_heads: HashMap<usize, RecordBatch>,
    // So many lines end before a byte of a stretch.
    lines: Option<(usize, u64, u64)>,
    heads: HashMap<usize, Head>,
    headers: Headers,
    listed_at: Option<Timestamp>,
    // Nothing was given out since the files were listed.
    is_list_fresh: bool,
    report: Report,
}

/// When the list was handed out, and why it must be again.
#[derive(Debug)]
struct Report {
    has_changed: bool,
    bytes_since: u64,
    at: Timestamp,
}

impl FileInput {
    /// An input over the files that `config` names.
    ///
    /// # Errors
    ///
    /// `Invalid` when the path is no pattern, or delimiter and quote do not differ.
    pub fn new(mut config: FileConfig, env: &Env) -> Result<Self> {
        config.encoding = config.encoding.filter(|encoding| *encoding != UTF_8);
        if let Framing::Csv { delimiter, quote, .. } = config.framing
            && (delimiter == quote || [delimiter, quote].iter().any(|byte| b"\r\n".contains(byte)))
        {
            return Err(Error::invalid("delimiter and quote of a CSV file do not differ")
                .with_detail("Neither may be a line end."));
        }
        Ok(Self {
            files: config.place.files(env)?,
            pace: config.rate.map(Pace::new),
            next_frame: None,
            config,
            env: env.clone(),
            manifest: Manifest::default(),
            piece: None,
            packed: None,
            rows: None,
            row_heads: HashMap::new(),
            lines: None,
            heads: HashMap::new(),
            headers: Headers::default(),
            listed_at: None,
            is_list_fresh: false,
            report: Report { has_changed: false, bytes_since: 0, at: Timestamp::MIN },
        })
    }

    /// Lists the files and adds what is new. Returns whether anything was.
    async fn list(&mut self) -> Result<bool> {
        let is_first = self.listed_at.is_none();
        let _busy = self.env.clock.busy();
        // The first time in a process, files behind the position are compared, too.
        let found = find(&*self.files, &self.manifest, self.config.framing, is_first).await?;
        let now = self.env.clock.now();
        let (is_news, first_new) = (!found.is_empty(), self.manifest.files.len());
        for found in found {
            let files = &self.manifest.files;
            let stretch = match files.iter().rfind(|file| found.is_known && file.path == found.path)
            {
                Some(file) => file.grown(found.start, found.size, now),
                None => Stretch::new(found.path, found.size, now),
            };
            self.manifest.push(stretch);
        }
        self.share_headers(first_new);
        self.report.has_changed |= is_news;
        (self.listed_at, self.is_list_fresh) = (Some(now), true);
        Ok(is_news)
    }

    /// Ends stretch `number`.
    fn seal(&mut self, number: usize, end: u64, cut: bool) {
        self.report.has_changed |= self.manifest.seal(number, end, cut);
    }

    /// Adds the list to a chunk when it must be handed out.
    fn with_manifest(&mut self, mut chunk: Chunk) -> Chunk {
        let now = self.env.clock.now();
        let report = &mut self.report;
        let is_due = report.has_changed
            || report.bytes_since >= MANIFEST_EVERY_BYTES
            || (chunk.at_end && report.bytes_since > 0 && now.since(report.at) >= MANIFEST_EVERY);
        if is_due {
            chunk.manifest = Some(self.manifest.to_json());
            *report = Report { has_changed: false, bytes_since: 0, at: now };
        }
        chunk
    }

    /// How many frames the rate allows now; waits for the next one while there is time left.
    /// `None` when there is none in that time.
    async fn allowance(&mut self, wait_left: &mut Duration) -> Option<usize> {
        loop {
            let Some(pace) = &mut self.pace else { return Some(usize::MAX) };
            let now = self.env.clock.now();
            match pace.allowance(now) {
                Ok(frames) => {
                    self.next_frame = None;
                    return Some(frames);
                }
                Err(until_next) => {
                    let clock = &self.env.clock;
                    let alarm =
                        self.next_frame.get_or_insert_with(|| clock.alarm(now.plus(until_next)));
                    if wait_left.is_zero() {
                        return None;
                    }
                    let is_due = tokio::select! {
                        () = alarm.wait() => true,
                        slept = self.env.doze(*wait_left) => {
                            if !slept {
                                return None;
                            }
                            false
                        }
                    };
                    *wait_left = wait_left.saturating_sub(clock.now().since(now));
                    if is_due {
                        self.next_frame = None;
                    }
                }
            }
        }
    }

    /// Sleeps for `wanted`, or for what is left of the wait. Returns whether it slept.
    async fn rest(&mut self, wanted: Duration, wait_left: &mut Duration) -> bool {
        let slept = wanted.min(*wait_left);
        *wait_left -= slept;
        !slept.is_zero() && self.env.doze(slept).await
    }
}

#[async_trait]
impl Input for FileInput {
    fn restore(&mut self, manifest: Option<&str>) -> Result<()> {
        self.manifest = manifest.map(Manifest::parse).transpose()?.unwrap_or_default();
        (self.piece, self.packed, self.lines, self.listed_at) = (None, None, None, None);
        self.rows = None;
        self.heads.clear();
        self.row_heads.clear();
        self.share_headers(0);
        Ok(())
    }

    async fn read(&mut self, from: Offset, limit: ReadLimit) -> Result<Chunk> {
        let mut wait_left = limit.wait;
        let mut limit = limit;
        // An epoch that runs again reads what it read, at once.
        let is_rerun = limit.is_rerun;
        let mut position = Position::from_offset(from);
        if !is_rerun {
            if self.listed_at.is_none() {
                self.list().await?;
            }
            match self.allowance(&mut wait_left).await {
                Some(allowed) => limit.frames_max = limit.frames_max.min(allowed),
                None => return empty_chunk(position),
            }
        }
        if position.number > self.manifest.files.len() {
            return Err(Error::invalid("the position of the source is beyond its list of files"));
        }
        loop {
            if limit.until.is_some_and(|until| position.offset().is_ok_and(|at| at >= until)) {
                return empty_chunk(position);
            }
            match self.step(position, &limit).await? {
                Step::Took(chunk) => {
                    self.is_list_fresh = false;
                    if let Some(pace) = self.pace.as_mut().filter(|_| !is_rerun) {
                        pace.give(chunk.frames.len());
                    }
                    return Ok(self.with_manifest(chunk));
                }
                Step::Moved(next) => position = next,
                Step::Unsettled(left) => {
                    if is_rerun || !self.rest(left, &mut wait_left).await {
                        let chunk = empty_chunk(position)?;
                        return Ok(self.with_manifest(chunk));
                    }
                }
                Step::AtEnd => {
                    let listed = self.listed_at.unwrap_or(Timestamp::MIN);
                    let is_due = !self.is_list_fresh
                        || self.env.clock.now().since(listed) >= self.config.poll_interval;
                    if !is_rerun && is_due && self.list().await? {
                        continue;
                    }
                    if is_rerun || !self.rest(self.config.poll_interval, &mut wait_left).await {
                        let chunk = Chunk { at_end: true, ..empty_chunk(position)? };
                        return Ok(self.with_manifest(chunk));
                    }
                }
            }
        }
    }

    async fn start(&mut self) -> Result<Offset> {
        Ok(0)
    }

    async fn unread_heads(&mut self, from: Offset) -> Result<Frames> {
        self.heads_from(Position::from_offset(from)).await
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// A chunk without frames that ends at `next`.
fn empty_chunk(next: Position) -> Result<Chunk> {
    Ok(Chunk { next: next.offset()?, ..Chunk::default() })
}

/// Runs what blocks on a thread that may.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("reading a file ended early").with_source(error))
}
