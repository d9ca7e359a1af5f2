//! The head of a file: its first bytes, unpacked.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use thalweg_core::{Error, Result};

use super::BYTES_MAX;

/// The first bytes of a file.
pub struct Head {
    /// The file: the first of those that a pattern matches.
    pub path: PathBuf,
    /// Its first bytes, at most [`BYTES_MAX`], unpacked where it is packed by gzip or zstd.
    pub bytes: Vec<u8>,
    /// Whether more follow.
    pub is_cut: bool,
}

/// The head of the first file, by name, that `pattern` matches. Blocks.
///
/// # Errors
///
/// `Invalid` when there is none, or what it is packed in is broken; `Unavailable` when it cannot be
/// read.
pub fn head(pattern: &str) -> Result<Head> {
    let path = first(pattern)?;
    let unreadable = |error: std::io::Error| {
        Error::unavailable(format!("cannot read {}", path.display())).with_source(error)
    };
    let mut file = File::open(&path).map_err(unreadable)?;
    let mut magic = [0; 4];
    let read = read_up_to(&mut file, &mut magic).map_err(unreadable)?;
    let file = magic[..read].chain(file);
    let limit = BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let unpacked = match magic {
        [0x1f, 0x8b, ..] => MultiGzDecoder::new(file).take(limit).read_to_end(&mut bytes),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            zstd::stream::read::Decoder::with_buffer(std::io::BufReader::new(file))
                .and_then(|unpacked| unpacked.take(limit).read_to_end(&mut bytes))
        }
        _ => file.take(limit).read_to_end(&mut bytes),
    };
    unpacked.map_err(unreadable)?;
    let is_cut = bytes.len() > BYTES_MAX;
    bytes.truncate(BYTES_MAX);
    Ok(Head { path, bytes, is_cut })
}

fn first(pattern: &str) -> Result<PathBuf> {
    let matches = glob::glob(pattern)
        .map_err(|error| Error::invalid(format!("`{pattern}` is no pattern")).with_source(error))?;
    // A name may hold what a pattern gives a meaning to.
    let named = Some(PathBuf::from(pattern)).filter(|path| path.is_file());
    let mut files = named.into_iter().chain(matches.flatten().filter(|path| path.is_file()));
    files.next().ok_or_else(|| Error::invalid(format!("there is no file `{pattern}`")))
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..])? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}
