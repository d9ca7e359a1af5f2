//! One step of reading: from a position to frames, or to why there are none.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use thalweg_core::error::{Error, Result};
use thalweg_core::frame::{FRAME_BYTES_MAX, FrameSpan, Frames};
use thalweg_core::source::{Chunk, Origin, Oversized, ReadLimit, Unreadable, line_ends};
use tracing::warn;

use super::files::ReadError;
use super::framing::{
    EndFinder, Framing, Front, ScanLimit, front, mark_bytes, scan, without_return,
};
use super::manifest::Position;
use super::piece::{Broken, Piece};
use super::{FileInput, PIECE_BYTES};

/// Bytes kept of a frame that is too long.
const HEAD_BYTES: usize = 64 << 10;

/// What a step came to.
#[expect(clippy::large_enum_variant, reason = "one is alive at a time, and it goes straight out")]
pub(super) enum Step {
    /// Frames, or one that is too long.
    Took(Chunk),
    /// There are none up to this position.
    Moved(Position),
    /// Something without an end, which is taken for what it is when the file does not grow for so
    /// long.
    Unsettled(Duration),
    /// Nothing more is in the list.
    AtEnd,
}

/// What a piece held from some byte on.
#[expect(clippy::large_enum_variant, reason = "one is alive at a time, and it goes straight out")]
enum Cut {
    Step(Step),
    /// A frame that is too long begins there.
    Oversized,
    /// A frame begins there that does not end in the piece, or nothing at all.
    Incomplete,
}

impl FileInput {
    /// Takes one step from `position`.
    pub(super) async fn step(&mut self, position: Position, limit: &ReadLimit) -> Result<Step> {
        let number = position.number;
        let Some(stretch) = self.manifest.files.get(number) else { return Ok(Step::AtEnd) };
        let at = Position { number, byte: position.byte.max(stretch.start) };
        if stretch.end.is_some_and(|end| at.byte >= end) {
            return Ok(Step::Moved(at.next_stretch()));
        }
        if let Framing::Rows(format) = self.config.framing {
            return self.step_rows(format, at, limit).await;
        }
        if let Some((_, piece)) = self.piece.take_if(|(held, piece)| {
            *held == number && piece.at <= at.byte && at.byte < piece.end()
        }) {
            let lines = self.count_lines(at).await?;
            let cut = self.cut(at, &piece, lines, limit)?;
            self.piece = Some((number, piece));
            match cut {
                Cut::Step(step) => return Ok(step),
                Cut::Oversized => return self.step_oversized(at, lines, limit).await,
                Cut::Incomplete => {}
            }
        }
        let mut bytes_max = PIECE_BYTES;
        loop {
            let piece = match self.piece_at(number, at.byte, bytes_max).await {
                Ok(piece) => piece,
                Err(error) => return self.unreadable(at, error, limit),
            };
            let is_last = self.reaches_end(number, &piece);
            let broken = piece.broken.clone();
            let lines = self.count_lines(at).await?;
            let cut = self.cut(at, &piece, lines, limit)?;
            let rest = piece.data.clone();
            self.piece = Some((number, piece));
            match cut {
                Cut::Step(step) => return Ok(step),
                Cut::Incomplete if is_last && rest.len() <= FRAME_BYTES_MAX => {
                    return match broken {
                        Some(broken) => self.step_broken(at, lines, &rest, broken, limit),
                        None => self.step_at_file_end(at, lines, &rest, limit),
                    };
                }
                // A frame of the greatest length with its line end fits; this one is longer.
                Cut::Incomplete if bytes_max < FRAME_BYTES_MAX + 2 => {
                    bytes_max = (4 * bytes_max).min(FRAME_BYTES_MAX + 2);
                }
                Cut::Oversized | Cut::Incomplete => {
                    return self.step_oversized(at, lines, limit).await;
                }
            }
        }
    }

    /// Cuts frames out of a piece from `at` on, before which so many lines end.
    fn cut(&mut self, at: Position, piece: &Piece, lines: u64, limit: &ReadLimit) -> Result<Cut> {
        let framing = self.config.framing;
        let index = |byte: u64| usize::try_from(byte - piece.at).unwrap_or(usize::MAX);
        let from = index(at.byte);
        let mut begin = from;
        if at.byte == 0 {
            match front(framing, &piece.data) {
                Front::Whole { header, start } => {
                    if let Some(header) = header {
                        self.note_header(at.number, &piece.data[header]);
                    }
                    begin = start;
                }
                Front::Incomplete => return Ok(Cut::Incomplete),
                Front::Oversized => return Ok(Cut::Oversized),
            }
        }

        let begin_before = match limit.until.map(Position::from_offset) {
            Some(until) if until.number == at.number => index(until.byte.max(piece.at)),
            _ => usize::MAX,
        };
        let limit = ScanLimit {
            frames_max: limit.frames_max.max(1),
            bytes_max: limit.bytes_max,
            begin_before,
        };
        // Both are checked to fit an offset, so everything between does.
        let base = Position { number: at.number, byte: piece.at }.offset()?;
        Position { number: at.number, byte: piece.end() }.offset()?;
        let received_at = self.manifest.files[at.number].discovered_at;
        let mut spans = Vec::with_capacity(limit.frames_max.min(piece.data.len() / 64));
        let scanned = scan(framing, &piece.data, begin, limit, |start, length| {
            spans.push(FrameSpan {
                start: u32::try_from(start).expect("a piece is shorter than 4 GiB"),
                len: u32::try_from(length).expect("a frame is shorter than its piece"),
                offset: base + i64::try_from(start).expect("a piece is shorter than 4 GiB"),
                received_at,
            });
        });
        if scanned.next == from {
            return Ok(if scanned.is_next_oversized { Cut::Oversized } else { Cut::Incomplete });
        }
        self.note_read(at, &piece.data[from..scanned.next], lines);
        let next = Position { number: at.number, byte: piece.at + scanned.next as u64 };
        let Some(first) = spans.first() else { return Ok(Cut::Step(Step::Moved(next))) };
        let origin = self.origin(at.number, lines, &piece.data[from..first.start as usize]);
        let frames = Frames { data: piece.data.clone(), spans, ..Frames::default() };
        Ok(Cut::Step(Step::Took(Chunk {
            frames,
            next: next.offset()?,
            origin,
            ..Chunk::default()
        })))
    }

    /// At the end of a file, where no frame ends in `rest`.
    fn step_at_file_end(
        &mut self,
        at: Position,
        lines: u64,
        rest: &Bytes,
        limit: &ReadLimit,
    ) -> Result<Step> {
        let number = at.number;
        if rest.is_empty() {
            if number + 1 == self.manifest.files.len() {
                return Ok(Step::AtEnd);
            }
            self.seal(number, at.byte, false);
            return Ok(Step::Moved(at.next_stretch()));
        }
        let end = Position { number, byte: at.byte + rest.len() as u64 };
        if let Some(step) = self.settle(end, limit) {
            return Ok(step);
        }
        self.note_read(at, rest, lines);
        let mark = if at.byte == 0 { mark_bytes(rest) } else { 0 };
        let last = self.config.framing.last(&rest[mark..], at.byte == 0);
        let start = mark + last.start;
        let line = &rest[start..mark + last.end];
        let is_header = at.byte == 0 && self.config.framing.has_header();
        if is_header && !line.is_empty() {
            self.note_header(number, line);
        }
        if is_header || line.is_empty() {
            return Ok(Step::Moved(end));
        }
        let span = FrameSpan {
            start: u32::try_from(start).expect("a frame is shorter than 4 GiB"),
            len: u32::try_from(line.len()).expect("a frame is shorter than 4 GiB"),
            offset: Position { number, byte: at.byte + start as u64 }.offset()?,
            received_at: self.manifest.files[number].discovered_at,
        };
        let origin = self.origin(number, lines, &rest[..start]);
        let frames = Frames { data: rest.clone(), spans: vec![span], ..Frames::default() };
        Ok(Step::Took(Chunk { frames, next: end.offset()?, origin, ..Chunk::default() }))
    }

    /// Sets aside what is left of a file that cannot be read on.
    pub(super) fn step_broken(
        &mut self,
        at: Position,
        lines: u64,
        rest: &Bytes,
        broken: Broken,
        limit: &ReadLimit,
    ) -> Result<Step> {
        let number = at.number;
        // One byte more stands for what cannot be read.
        let next = Position { number, byte: at.byte + rest.len() as u64 + 1 };
        if self.manifest.files[number].end.is_none() {
            if broken.may_grow
                && let Some(step) = self.unsettled(number, limit)
            {
                return Ok(step);
            }
            self.manifest.files[number].broken = Some(broken.reason);
            self.seal(number, next.byte, false);
        }
        let mut origin = self.origin(number, lines, &[]);
        if let Some(origin) = &mut origin {
            origin.is_row = matches!(self.config.framing, Framing::Rows(_));
        }
        let stretch = &self.manifest.files[number];
        let reason = stretch.broken.clone().unwrap_or_else(|| "it could not be read".to_owned());
        let head = rest.slice(..rest.len().min(HEAD_BYTES));
        let (offset, received_at) = (at.offset()?, stretch.discovered_at);
        let unreadable = vec![Unreadable { offset, received_at, reason, head }];
        Ok(Step::Took(Chunk { next: next.offset()?, unreadable, origin, ..Chunk::default() }))
    }

    /// Takes a frame that is too long: keeps its head, counts the rest.
    async fn step_oversized(
        &mut self,
        at: Position,
        lines: u64,
        limit: &ReadLimit,
    ) -> Result<Step> {
        let number = at.number;
        if at.byte == 0 && self.config.framing.has_header() {
            let path = &self.manifest.files[number].path;
            return Err(Error::invalid(format!("the header of {path} does not end"))
                .with_hint("Is a quote missing, or is it no CSV file?"));
        }
        let mut finder = EndFinder::new(self.config.framing);
        let mut head = BytesMut::with_capacity(HEAD_BYTES);
        let mut byte = at.byte;
        let mut line_end_bytes = 0;
        let mut lines_within = 0;
        let last = loop {
            let piece = match self.piece_at(number, byte, PIECE_BYTES).await {
                Ok(piece) => piece,
                Err(error) => return self.unreadable(at, error, limit),
            };
            let is_last = self.reaches_end(number, &piece) || piece.data.is_empty();
            let found = finder.find(&piece.data);
            let end_bytes = self.config.framing.end_bytes();
            let taken = piece.data.slice(..found.map_or(piece.data.len(), |end| end + end_bytes));
            head.extend_from_slice(&taken[..taken.len().min(HEAD_BYTES - head.len())]);
            byte += taken.len() as u64;
            lines_within += line_ends(&taken);
            if let Some(end) = found {
                line_end_bytes = end_bytes + end - without_return(&taken[..end]).len();
                break taken;
            }
            if is_last {
                if let Some(step) = self.settle(Position { number, byte }, limit) {
                    return Ok(step);
                }
                break taken;
            }
        };
        self.note_read(at, &head, lines);
        let before_last = lines + lines_within - line_ends(&last);
        self.note_read(Position { number, byte: byte - last.len() as u64 }, &last, before_last);
        let origin = self.origin(number, lines, &[]);
        let next = Position { number, byte };
        let oversized = Oversized {
            offset: at.offset()?,
            received_at: self.manifest.files[number].discovered_at,
            length: byte - at.byte - line_end_bytes as u64,
            head: head.freeze(),
        };
        Ok(Step::Took(Chunk {
            next: next.offset()?,
            oversized: vec![oversized],
            origin,
            ..Chunk::default()
        }))
    }

    /// Ends the stretch at `end`, where no line ends, if the file has not grown for long enough;
    /// else says what there is to do instead.
    fn settle(&mut self, end: Position, limit: &ReadLimit) -> Option<Step> {
        if self.manifest.files[end.number].end.is_some() {
            return None;
        }
        let step = self.unsettled(end.number, limit);
        if step.is_none() {
            self.seal(end.number, end.byte, true);
        }
        step
    }

    /// What to do instead of ending the stretch, as long as its file may still grow.
    pub(super) fn unsettled(&self, number: usize, limit: &ReadLimit) -> Option<Step> {
        if limit.is_rerun {
            // What runs again ran in a stretch that had an end here, or did not come this far.
            return Some(Step::AtEnd);
        }
        let now = self.env.clock.now();
        let since = self.manifest.files[number].unchanged_since;
        let unchanged = since.map_or(Duration::ZERO, |since| now.since(since));
        let left = self.config.settle.checked_sub(unchanged).filter(|left| !left.is_zero())?;
        Some(Step::Unsettled(left))
    }

    /// What a file that cannot be read means for the position in it.
    pub(super) fn unreadable(
        &mut self,
        at: Position,
        error: ReadError,
        limit: &ReadLimit,
    ) -> Result<Step> {
        let stretch = &self.manifest.files[at.number];
        let was_read = stretch.was_read_before(at.byte);
        let was_begun = at.byte > stretch.start;
        let may_go = stretch.end.is_none() && !limit.is_rerun && (was_read || !was_begun);
        if !matches!(error, ReadError::Gone) || !may_go {
            return Err(error.about(&stretch.path));
        }
        if !was_read {
            warn!(path = stretch.path, "a file has gone before it was read");
        }
        self.seal(at.number, at.byte, false);
        Ok(Step::Moved(at.next_stretch()))
    }

    /// Whether the stretch has nothing behind this piece.
    pub(super) fn reaches_end(&self, number: usize, piece: &Piece) -> bool {
        piece.is_last || self.manifest.files[number].end.is_some_and(|end| piece.end() >= end)
    }

    /// How many lines end before a position.
    async fn count_lines(&mut self, at: Position) -> Result<u64> {
        let counted = self.lines_before(at.number, at.byte).await;
        counted.map_err(|error| error.about(&self.manifest.files[at.number].path))
    }

    /// The place behind so many lines and those of `skipped`.
    fn origin(&self, number: usize, lines: u64, skipped: &[u8]) -> Option<Origin> {
        let file = self.manifest.files[number].path.as_str().into();
        Some(Origin { file, number: lines + line_ends(skipped) + 1, is_row: false })
    }

    /// Notes that `bytes` from `at` on, before which so many lines end, were taken.
    fn note_read(&mut self, at: Position, bytes: &[u8], lines: u64) {
        let to = at.byte + bytes.len() as u64;
        let lines = lines + line_ends(bytes);
        self.lines = Some((at.number, to, lines));
        let stretch = &mut self.manifest.files[at.number];
        if stretch.is_plain() {
            stretch.prints.note_read(at.byte, bytes);
            if stretch.prints.read_to() == to {
                stretch.lines = lines;
            }
        }
        self.report.bytes_since += bytes.len() as u64;
    }
}
