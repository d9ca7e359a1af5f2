//! Recordings as they are, and such as gzip has packed.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

/// How gzip begins.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Takes the bytes of a file, and gives those of the recording.
pub(super) enum Unpack {
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

impl Unpack {
    /// What a file needs that begins like this.
    pub(super) fn of(begin: &[u8]) -> Self {
        match begin.starts_with(&MAGIC) {
            true => Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            false => Self::Plain,
        }
    }

    /// Adds what `piece` holds to `out`.
    ///
    /// # Errors
    ///
    /// When it is not as gzip writes it.
    pub(super) fn add(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Plain => out.extend_from_slice(piece),
            Self::Gzip(decoder) => {
                decoder.write_all(piece)?;
                // What it still holds would be missing at the end.
                decoder.flush()?;
                out.append(decoder.get_mut());
            }
        }
        Ok(())
    }
}
