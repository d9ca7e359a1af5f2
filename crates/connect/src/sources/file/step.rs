//! One step of reading: from a position to frames, or to why there are none.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use thalweg_core::error::{Error, Result};
use thalweg_core::frame::{FRAME_BYTES_MAX, FrameSpan, Frames};
use thalweg_core::source::{Chunk, Oversized, ReadLimit};
use tracing::warn;

use super::disk::{Piece, ReadError};
use super::framing::{EndFinder, Front, ScanLimit, front, mark_bytes, scan, without_return};
use super::manifest::Position;
use super::{FileInput, PIECE_BYTES};

/// Bytes kept of a frame that is too long.
const HEAD_BYTES: usize = 64 << 10;

/// What a step came to.
pub(super) enum Step {
    /// Frames, or one that is too long.
    Took(Chunk),
    /// There are none up to this position.
    Moved(Position),
    /// A last line without line end, which is a frame when the file does not grow for so long.
    Unsettled(Duration),
    /// Nothing more is in the list.
    AtEnd,
}

/// What a piece held from some byte on.
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
        if let Some((_, piece)) = self.piece.take_if(|(held, piece)| {
            *held == number && piece.at <= at.byte && at.byte < piece.end()
        }) {
            let cut = self.cut(at, &piece, limit)?;
            self.piece = Some((number, piece));
            match cut {
                Cut::Step(step) => return Ok(step),
                Cut::Oversized => return self.step_oversized(at, limit).await,
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
            let cut = self.cut(at, &piece, limit)?;
            let rest = piece.data.clone();
            self.piece = Some((number, piece));
            match cut {
                Cut::Step(step) => return Ok(step),
                Cut::Incomplete if is_last && rest.len() <= FRAME_BYTES_MAX => {
                    return self.step_at_file_end(at, &rest, limit);
                }
                // A frame of the greatest length with its line end fits; this one is longer.
                Cut::Incomplete if bytes_max < FRAME_BYTES_MAX + 2 => {
                    bytes_max = (4 * bytes_max).min(FRAME_BYTES_MAX + 2);
                }
                Cut::Oversized | Cut::Incomplete => return self.step_oversized(at, limit).await,
            }
        }
    }

    /// Cuts frames out of a piece from `at` on.
    fn cut(&mut self, at: Position, piece: &Piece, limit: &ReadLimit) -> Result<Cut> {
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
        self.note_read(at, &piece.data[from..scanned.next]);
        let next = Position { number: at.number, byte: piece.at + scanned.next as u64 };
        if spans.is_empty() {
            return Ok(Cut::Step(Step::Moved(next)));
        }
        let frames = Frames { partition: 0, data: piece.data.clone(), spans };
        Ok(Cut::Step(Step::Took(Chunk { frames, next: next.offset()?, ..Chunk::default() })))
    }

    /// At the end of a file, where `rest` has no line end.
    fn step_at_file_end(&mut self, at: Position, rest: &Bytes, limit: &ReadLimit) -> Result<Step> {
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
        self.note_read(at, rest);
        let start = if at.byte == 0 { mark_bytes(rest) } else { 0 };
        let line = without_return(&rest[start..]);
        let is_header = at.byte == 0 && self.config.framing.has_header();
        if is_header && !line.is_empty() {
            self.note_header(number, line);
        }
        if is_header || line.is_empty() {
            return Ok(Step::Moved(end));
        }
        let span = FrameSpan {
            start: u32::try_from(start).expect("a mark has three bytes"),
            len: u32::try_from(line.len()).expect("a frame is shorter than 4 GiB"),
            offset: Position { number, byte: at.byte + start as u64 }.offset()?,
            received_at: self.manifest.files[number].discovered_at,
        };
        let frames = Frames { partition: 0, data: rest.clone(), spans: vec![span] };
        Ok(Step::Took(Chunk { frames, next: end.offset()?, ..Chunk::default() }))
    }

    /// Takes a frame that is too long: keeps its head, counts the rest.
    async fn step_oversized(&mut self, at: Position, limit: &ReadLimit) -> Result<Step> {
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
        let last = loop {
            let piece = match self.piece_at(number, byte, PIECE_BYTES).await {
                Ok(piece) => piece,
                Err(error) => return self.unreadable(at, error, limit),
            };
            let is_last = self.reaches_end(number, &piece) || piece.data.is_empty();
            let found = finder.find(&piece.data);
            let taken = piece.data.slice(..found.map_or(piece.data.len(), |end| end + 1));
            head.extend_from_slice(&taken[..taken.len().min(HEAD_BYTES - head.len())]);
            byte += taken.len() as u64;
            if let Some(end) = found {
                line_end_bytes = 1 + end - without_return(&taken[..end]).len();
                break taken;
            }
            if is_last {
                if let Some(step) = self.settle(Position { number, byte }, limit) {
                    return Ok(step);
                }
                break taken;
            }
        };
        self.note_read(at, &head);
        self.note_read(Position { number, byte: byte - last.len() as u64 }, &last);
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
            ..Chunk::default()
        }))
    }

    /// Ends the stretch at `end`, where no line ends, if the file has not grown for long enough;
    /// else says what there is to do instead.
    fn settle(&mut self, end: Position, limit: &ReadLimit) -> Option<Step> {
        let stretch = &self.manifest.files[end.number];
        if stretch.end.is_some() {
            return None;
        }
        if limit.until.is_some() {
            // What runs again ran in a stretch that had an end here, or did not come this far.
            return Some(Step::AtEnd);
        }
        let now = self.env.clock.now();
        let unchanged = stretch.unchanged_since.map_or(Duration::ZERO, |since| now.since(since));
        match self.config.settle.checked_sub(unchanged).filter(|left| !left.is_zero()) {
            Some(left) => Some(Step::Unsettled(left)),
            None => {
                self.seal(end.number, end.byte, true);
                None
            }
        }
    }

    /// What a file that cannot be read means for the position in it.
    fn unreadable(&mut self, at: Position, error: ReadError, limit: &ReadLimit) -> Result<Step> {
        let stretch = &self.manifest.files[at.number];
        let was_read = at.byte >= stretch.size;
        let was_begun = at.byte > stretch.start;
        let may_go = stretch.end.is_none() && limit.until.is_none() && (was_read || !was_begun);
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
        piece.end() >= self.manifest.files[number].end.unwrap_or(piece.size)
    }

    fn note_read(&mut self, at: Position, bytes: &[u8]) {
        let stretch = &mut self.manifest.files[at.number];
        let before = stretch.read_to();
        stretch.note_read(at.byte, bytes);
        self.report.bytes_since += stretch.read_to() - before;
    }
}
