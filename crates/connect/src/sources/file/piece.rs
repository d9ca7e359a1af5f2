//! Parts of a file's text, whether it is stored so or has to be unpacked.
//!
//! Plain files are read where they are wanted. Packed ones are read from their first byte on, and
//! what was unpacked is kept from the position on, so going on costs nothing and going back, as
//! after a start, unpacks the file once again up to there.

use bytes::{Buf, Bytes, BytesMut};
use thalweg_core::error::Error;
use thalweg_core::source::line_ends;

use super::files::{Part, ReadError, Watched};
use super::manifest::Packing;
use super::unpack::{Progress, Signature, Unpacker, signature};
use super::{FileInput, PIECE_BYTES, on_thread};

/// Bytes that tell what a file is.
const SIGNATURE_BYTES: usize = 8;
/// Bytes of a packed file read at a time.
const PACKED_BYTES: u64 = 256 << 10;

/// A part of a file's text.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// The byte of the text at which it begins.
    pub(super) at: u64,
    pub(super) data: Bytes,
    /// Nothing was behind it when it was read.
    pub(super) is_last: bool,
    /// Why nothing can be read behind it.
    pub(super) broken: Option<Broken>,
}

impl Piece {
    /// The byte behind its last one.
    pub(super) fn end(&self) -> u64 {
        self.at + self.data.len() as u64
    }
}

/// Why a file cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) reason: String,
    /// More may come, and mend it.
    pub(super) may_grow: bool,
}

/// A packed file that is being read.
pub(super) struct PackedFile {
    number: usize,
    unpacker: Unpacker,
    // The next byte of the file to be read.
    file_at: u64,
    // Text from byte `window_at` on.
    window: BytesMut,
    window_at: u64,
    // Lines that end before the window.
    lines: u64,
    end: Option<Progress>,
}

impl PackedFile {
    fn forget_before(&mut self, byte: u64) {
        let length = byte.saturating_sub(self.window_at).min(self.window.len() as u64);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > 0 {
            self.lines += line_ends(&self.window[..length]);
            self.window.advance(length);
            self.window_at += length as u64;
        }
    }

    /// Unpacks until so many bytes from `at` on are there, or more of the file is wanted.
    fn unpack(&mut self, at: u64, bytes_max: usize) {
        loop {
            self.forget_before(at);
            let is_enough = self.window_at == at && self.window.len() >= bytes_max;
            if is_enough || self.end.is_some() {
                return;
            }
            match self.unpacker.unpack(&mut self.window) {
                Progress::Made => {}
                Progress::Hungry => return,
                end => self.end = Some(end),
            }
        }
    }

    /// Why it cannot be read behind the window.
    fn broken(&self) -> Option<Broken> {
        match self.end.as_ref()? {
            Progress::CutOff => {
                let reason = "the compressed file ends too early".to_owned();
                Some(Broken { reason, may_grow: true })
            }
            Progress::Damaged(how) => Some(Broken {
                reason: format!("the compressed file is damaged: {how}"),
                may_grow: false,
            }),
            _ => None,
        }
    }
}

impl FileInput {
    /// Reads a part of stretch `number` from byte `at` on and notes the length of its file.
    pub(super) async fn piece_at(
        &mut self,
        number: usize,
        at: u64,
        bytes_max: usize,
    ) -> Result<Piece, ReadError> {
        let stretch = &self.manifest.files[number];
        let within = stretch.end.map_or(u64::MAX, |end| end.saturating_sub(at));
        let bytes_max = bytes_max.min(usize::try_from(within).unwrap_or(usize::MAX));
        let packing = match stretch.packing {
            Some(packing) => packing,
            None => {
                let from_start =
                    if at == 0 { bytes_max.max(SIGNATURE_BYTES) } else { SIGNATURE_BYTES };
                let part = self.read_file(number, 0, from_start as u64).await?;
                let front = &part.data[..part.data.len().min(SIGNATURE_BYTES)];
                let packing = match signature(front) {
                    Signature::Foreign(what) => {
                        let broken = Broken { reason: format!("it is {what}"), may_grow: false };
                        let (data, broken) = (Bytes::new(), Some(broken));
                        return Ok(Piece { at, data, is_last: true, broken });
                    }
                    Signature::Packed => Packing::Packed,
                    _ if self.config.encoding.is_some() => Packing::Packed,
                    Signature::Plain | Signature::TooShort => Packing::Plain,
                };
                // What is too short to tell is looked at again.
                if signature(front) != Signature::TooShort {
                    self.manifest.files[number].packing = Some(packing);
                }
                if packing == Packing::Plain && at == 0 {
                    return Ok(plain(part, 0, bytes_max));
                }
                packing
            }
        };
        match packing {
            Packing::Plain => {
                let part = self.read_file(number, at, bytes_max as u64).await?;
                Ok(plain(part, at, bytes_max))
            }
            Packing::Packed => self.packed_piece(number, at, bytes_max).await,
        }
    }

    async fn packed_piece(
        &mut self,
        number: usize,
        at: u64,
        bytes_max: usize,
    ) -> Result<Piece, ReadError> {
        let _busy = self.env.clock.busy();
        let kept = self.packed.take().filter(|file| file.number == number && file.window_at <= at);
        let mut file = match kept {
            Some(file) => file,
            None => self.open_packed(number).await?,
        };
        if matches!(file.end, Some(Progress::Ended | Progress::CutOff)) {
            let part = self.read_file(number, file.file_at, 1).await?;
            if !part.data.is_empty() {
                file = self.open_packed(number).await?;
            }
        }
        loop {
            file = on_thread(move || {
                file.unpack(at, bytes_max);
                file
            })
            .await
            .map_err(ReadError::Unavailable)?;
            if file.end.is_some() || (file.window_at == at && file.window.len() >= bytes_max) {
                break;
            }
            let part = self.read_file(number, file.file_at, PACKED_BYTES).await?;
            let stretch = &mut self.manifest.files[number];
            stretch.prints.note_read(file.file_at, &part.data);
            file.file_at += part.data.len() as u64;
            file.unpacker.feed(part.data);
        }
        if file.window_at < at {
            return Err(ReadError::Changed("is shorter than what was read of it"));
        }
        let is_last = file.end.is_some() && file.window.len() <= bytes_max;
        let broken = file.broken().filter(|_| is_last);
        if is_last && broken.is_none() {
            let length = Some(file.window_at + file.window.len() as u64);
            let stretch = &mut self.manifest.files[number];
            self.report.has_changed |= stretch.length != length;
            stretch.length = length;
        }
        let data = Bytes::copy_from_slice(&file.window[..file.window.len().min(bytes_max)]);
        self.packed = Some(file);
        Ok(Piece { at, data, is_last, broken })
    }

    async fn open_packed(&mut self, number: usize) -> Result<PackedFile, ReadError> {
        let front = self.read_file(number, 0, SIGNATURE_BYTES as u64).await?;
        let unpacker = Unpacker::new(&front.data, self.config.encoding).map_err(|error| {
            let error = Error::internal("a file cannot be unpacked").with_source(error);
            ReadError::Unavailable(error)
        })?;
        Ok(PackedFile {
            number,
            unpacker,
            file_at: 0,
            window: BytesMut::new(),
            window_at: 0,
            lines: 0,
            end: None,
        })
    }

    /// Reads bytes of the file of stretch `number`, once what was read before is still there.
    pub(super) async fn read_file(
        &mut self,
        number: usize,
        at: u64,
        length: u64,
    ) -> Result<Part, ReadError> {
        let buffer = self.buffer();
        let _busy = self.env.clock.busy();
        let stretch = &self.manifest.files[number];
        let watched = Watched::new(&stretch.prints, stretch.tag.as_deref());
        let range = at..at.saturating_add(length);
        let part = self.files.read(&stretch.path, range, watched, buffer).await?;
        part.check(&stretch.prints)?;
        if stretch.is_plain() && part.size < at {
            return Err(ReadError::Changed("is shorter than what was read of it"));
        }
        let now = self.env.clock.now();
        let stretch = &mut self.manifest.files[number];
        stretch.note_size(part.size, now);
        stretch.tag.clone_from(&part.tag);
        Ok(part)
    }

    /// The buffer of the last piece, if nobody holds it any more; else a new one.
    fn buffer(&mut self) -> BytesMut {
        let last = self.piece.take().map(|(_, piece)| piece.data);
        last.and_then(|data| data.try_into_mut().ok())
            .filter(|buffer| buffer.capacity() <= 2 * PIECE_BYTES)
            .unwrap_or_default()
    }

    /// How many lines end before byte `byte` of stretch `number`.
    pub(super) async fn lines_before(
        &mut self,
        number: usize,
        byte: u64,
    ) -> Result<u64, ReadError> {
        if let Some((known, at, lines)) = self.lines
            && known == number
            && at == byte
        {
            return Ok(lines);
        }
        let packed = self.packed.as_ref().filter(|file| file.number == number);
        if let Some(file) = packed.filter(|file| file.window_at <= byte) {
            let length = usize::try_from(byte - file.window_at).unwrap_or(usize::MAX);
            return Ok(file.lines + line_ends(&file.window[..length.min(file.window.len())]));
        }
        let stretch = &self.manifest.files[number];
        let known = if stretch.is_plain() { stretch.prints.read_to() } else { 0 };
        // From what is known of it, on or back; or from the first byte, if that is nearer.
        let is_near = known.abs_diff(byte) < byte;
        let (from, to) = if is_near { (known.min(byte), known.max(byte)) } else { (0, byte) };
        let lines_known = stretch.lines;
        let kept = self.piece.take();
        let (mut at, mut counted) = (from, 0);
        while at < to {
            let length = usize::try_from(to - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let piece = self.piece_at(number, at, length).await?;
            if piece.data.is_empty() {
                break;
            }
            counted += line_ends(&piece.data);
            at = piece.end();
        }
        self.piece = kept;
        Ok(match is_near {
            true if byte < known => lines_known.saturating_sub(counted),
            true => lines_known + counted,
            false => counted,
        })
    }
}

/// A piece of a plain file.
fn plain(part: Part, at: u64, bytes_max: usize) -> Piece {
    let is_last = at + part.data.len() as u64 >= part.size;
    let is_cut = part.data.len() > bytes_max;
    let data = if is_cut { part.data.slice(..bytes_max) } else { part.data };
    Piece { at, data, is_last: is_last && !is_cut, broken: None }
}
