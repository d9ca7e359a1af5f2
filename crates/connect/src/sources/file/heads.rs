//! What stands at the front of files: their header, and the first frames of those not yet begun.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use thalweg_core::env::Env;
use thalweg_core::error::{Error, Result};
use thalweg_core::frame::{FRAME_BYTES_MAX, FrameSpan, Frames};
use thalweg_core::source::Input as _;

use super::files::ReadError;
use super::framing::{Framing, Front, ScanLimit, front, scan};
use super::manifest::Position;
use super::piece::Piece;
use super::{FileConfig, FileInput};
use crate::codecs::csv::{HeaderSource, header_names};

/// Bytes read first when looking for a first frame.
const LOOK_BYTES: usize = 4096;
/// Longest first frame that is kept for the next time.
const KEPT_BYTES_MAX: usize = 4096;

/// The first frame of a stretch.
#[derive(Clone, Debug)]
pub(super) struct Head {
    bytes: Bytes,
    // The byte of the file where it begins.
    byte: u64,
}

/// The headers of files by number of stretch, shared with decoders.
#[derive(Clone, Default)]
pub(super) struct Headers(Arc<Mutex<HashMap<i64, Bytes>>>);

impl Headers {
    fn get(&self, number: i64) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    fn set(&self, number: usize, header: &str) {
        let number = i64::try_from(number).expect("offsets have room for 23 bits");
        let header = Bytes::copy_from_slice(header.as_bytes());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number, header);
    }
}

/// The names in the header of the first file of CSV that `config` names, on this machine. Blocks.
///
/// # Errors
///
/// `Invalid` when there is no such file, it holds no row, or its framing has no header.
pub fn carried_header(config: FileConfig, env: &Env) -> Result<Vec<String>> {
    let Framing::Csv { delimiter, quote, header: true } = config.framing else {
        return Err(Error::invalid("without a header there are no names"));
    };
    let place = config.place.to_string();
    let mut input = FileInput::new(config, env)?;
    // Whoever asks may be in a runtime already, in which no other can wait.
    let looked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| Error::internal("no runtime to look at a file").with_source(error))?;
        runtime.block_on(input.unread_heads(0))?;
        Ok::<_, Error>(input.headers.get(0))
    })
    .join();
    let header = looked.map_err(|_| Error::internal("looking at a file ended early"))??;
    let header = header.and_then(|header| String::from_utf8(header.to_vec()).ok());
    let names = header.and_then(|header| header_names(&header, delimiter, quote));
    names.ok_or_else(|| {
        Error::invalid(format!("there is no file with a header and a row at {place}"))
    })
}

impl FileInput {
    /// Gives decoders the header of each file, which is no frame: what
    /// [`CsvDecoder::with_headers`](crate::codecs::csv::CsvDecoder::with_headers) wants. It knows
    /// the header of every file of which a frame was given out.
    pub fn header_source(&self) -> HeaderSource {
        let headers = self.headers.clone();
        Box::new(move |number| Ok(headers.get(number)))
    }

    /// Takes the header of a file.
    pub(super) fn note_header(&mut self, number: usize, header: &[u8]) {
        let header = String::from_utf8_lossy(header);
        if self.manifest.note_header(number, &header) {
            self.report.has_changed = true;
            self.headers.set(number, &header);
        }
    }

    /// Shares the headers that the list knows from stretch `first` on.
    pub(super) fn share_headers(&mut self, first: usize) {
        for number in first..self.manifest.files.len() {
            if let Some(header) = self.manifest.header(number) {
                self.headers.set(number, header);
            }
        }
    }

    /// The first frame of every stretch that is not begun at `from`, in one buffer.
    pub(super) async fn heads_from(&mut self, from: Position) -> Result<Frames> {
        if self.listed_at.is_none() {
            self.list().await?;
        }
        if let Framing::Rows(format) = self.config.framing {
            return self.row_heads(format, from).await;
        }
        self.heads.retain(|number, _| *number >= from.number);
        // Looking elsewhere must not cost the rest of the piece that is being read.
        let kept = (self.piece.take(), self.packed.take());
        let mut data = BytesMut::new();
        let mut spans = Vec::new();
        for number in from.number..self.manifest.files.len() {
            if number == from.number && from.byte > self.manifest.files[number].start {
                continue;
            }
            // What is only looked at may still change.
            let prints = self.manifest.files[number].prints;
            let head = self.head_of(number).await;
            self.manifest.files[number].prints = prints;
            let Some(head) = head? else { continue };
            spans.push(FrameSpan {
                start: u32::try_from(data.len()).unwrap_or(u32::MAX),
                len: u32::try_from(head.bytes.len()).expect("a frame is shorter than 4 GiB"),
                offset: Position { number, byte: head.byte }.offset()?,
                received_at: self.manifest.files[number].discovered_at,
            });
            data.extend_from_slice(&head.bytes);
        }
        (self.piece, self.packed) = kept;
        Ok(Frames { data: data.freeze(), spans, ..Frames::default() })
    }

    /// The first frame of a stretch; none when it has none yet, or one that is too long.
    async fn head_of(&mut self, number: usize) -> Result<Option<Head>> {
        if let Some(head) = self.heads.get(&number) {
            return Ok(Some(head.clone()));
        }
        let start = self.manifest.files[number].start;
        let mut bytes_max = LOOK_BYTES;
        loop {
            let piece = match self.piece_at(number, start, bytes_max).await {
                Ok(piece) => piece,
                Err(ReadError::Gone) => return Ok(None),
                Err(error) => return Err(error.about(&self.manifest.files[number].path)),
            };
            let is_last = self.reaches_end(number, &piece);
            if let Some((head, has_line_end)) = self.head_in(number, &piece, is_last) {
                if has_line_end && head.bytes.len() <= KEPT_BYTES_MAX {
                    self.heads.insert(number, head.clone());
                }
                return Ok(Some(head));
            }
            if is_last || bytes_max >= FRAME_BYTES_MAX {
                return Ok(None);
            }
            bytes_max *= 16;
        }
    }

    /// The first frame in the first piece of a stretch, and whether it has a line end: at the end
    /// of a file it is taken without one, too.
    fn head_in(&mut self, number: usize, piece: &Piece, is_last: bool) -> Option<(Head, bool)> {
        let framing = self.config.framing;
        let mut begin = 0;
        if piece.at == 0 {
            let Front::Whole { header, start } = front(framing, &piece.data) else { return None };
            if let Some(header) = header {
                self.note_header(number, &piece.data[header]);
            }
            begin = start;
        }
        let one = ScanLimit { frames_max: 1, bytes_max: usize::MAX, begin_before: usize::MAX };
        let mut first = None;
        let scanned =
            scan(framing, &piece.data, begin, one, |start, length| first = Some((start, length)));
        let last = framing.last(&piece.data[scanned.next..], false);
        let (start, length) = match first {
            Some(first) => first,
            None if is_last && (1..=FRAME_BYTES_MAX).contains(&last.len()) => {
                (scanned.next + last.start, last.len())
            }
            None => return None,
        };
        // A copy: the piece is much longer than its first line.
        let bytes = Bytes::copy_from_slice(&piece.data[start..start + length]);
        Some((Head { bytes, byte: piece.at + start as u64 }, first.is_some()))
    }
}
