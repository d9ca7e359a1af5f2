//! Looking at files: what blocks. Each function is called on a thread that may.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use thalweg_core::env::{Disk, DiskFile};
use thalweg_core::error::{Error, Result};

use super::manifest::Print;
use super::pattern::PathPattern;

/// A part of a file.
pub(super) struct Piece {
    /// The byte of the file at which it begins.
    pub(super) at: u64,
    pub(super) data: Bytes,
    /// Length of the file when it was read.
    pub(super) size: u64,
}

impl Piece {
    /// The byte of the file behind its last one.
    pub(super) fn end(&self) -> u64 {
        self.at + self.data.len() as u64
    }
}

/// Why a file could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// There is no such file.
    Gone,
    /// What was read of it does not stand there any more.
    Changed(&'static str),
    /// Anything else.
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Io(error),
        }
    }
}

impl ReadError {
    /// The error a person sees.
    pub(super) fn about(self, path: &str) -> Error {
        match self {
            Self::Gone => Error::invalid(format!("{path} has gone before it was read to its end"))
                .with_hint("Put it back, or reset the source."),
            Self::Changed(how) => {
                Error::invalid(format!("{path} has changed behind the position it was read to"))
                    .with_detail(format!("It {how}."))
                    .with_hint("Only append to a file that is read, or give it a new name.")
            }
            Self::Io(error) => Error::unavailable(format!("cannot read {path}")).with_source(error),
        }
    }
}

/// Reads up to `bytes_max` bytes from byte `at` on into `buffer`, once the prints fit.
pub(super) fn read_piece(
    disk: &dyn Disk,
    path: &str,
    prints: [Print; 2],
    at: u64,
    bytes_max: usize,
    mut buffer: BytesMut,
) -> Result<Piece, ReadError> {
    let file = disk.open_to_read(Path::new(path))?;
    let size = file.len()?;
    check(&*file, size, at, prints)?;
    let there = usize::try_from(size - at).unwrap_or(usize::MAX);
    buffer.resize(there.min(bytes_max), 0);
    let length = read_full(&*file, &mut buffer, at)?;
    buffer.truncate(length);
    Ok(Piece { at, data: buffer.freeze(), size })
}

/// Compares what was read of a file before.
fn check(file: &dyn DiskFile, size: u64, at: u64, prints: [Print; 2]) -> Result<(), ReadError> {
    let read_to = prints.map(|print| print.range().end).into_iter().fold(at, u64::max);
    if size < read_to {
        return Err(ReadError::Changed("is shorter than what was read of it"));
    }
    for print in prints {
        let range = print.range();
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let read = read_full(file, &mut bytes, range.start)?;
        if !print.fits(&bytes[..read]) {
            return Err(ReadError::Changed("holds other bytes where it was read"));
        }
    }
    Ok(())
}

fn read_full(file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// What is known of a file that was read to the end of its last stretch.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) end: u64,
    /// Its last line had no line end.
    pub(super) cut: bool,
    pub(super) prints: [Print; 2],
}

/// Bytes that are not in the list yet: a new file, or what was appended to a known one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: String,
    pub(super) is_known: bool,
    pub(super) start: u64,
    pub(super) size: u64,
}

/// Lists the files that match, in order, as far as they hold something new. `known` has every path
/// of the list; `None` for files that are not read to their end, which grow where they are.
///
/// # Errors
///
/// `Invalid` when a known file has changed; `Unavailable` when a folder or file cannot be read.
pub(super) fn find(
    disk: &dyn Disk,
    pattern: &PathPattern,
    known: &HashMap<String, Option<Known>>,
    check_all: bool,
) -> Result<Vec<Found>> {
    let paths = pattern.expand(disk).map_err(|error| {
        Error::unavailable("cannot list the files of the source").with_source(error)
    })?;
    let mut found = Vec::new();
    for path in paths {
        // A path that is no text could not be written into the list.
        let Ok(path) = path.into_os_string().into_string() else { continue };
        let news = match known.get(&path) {
            Some(None) => Ok(None),
            Some(Some(known)) => grown(disk, &path, known, check_all),
            None => discovered(disk, &path),
        };
        match news {
            Ok(Some((start, size))) => {
                found.push(Found { is_known: known.contains_key(&path), path, start, size });
            }
            // A file that goes once it was read, or before it was listed, is nobody's loss.
            Ok(None) | Err(ReadError::Gone) => {}
            Err(error) => return Err(error.about(&path)),
        }
    }
    Ok(found)
}

/// The start and length of a file nobody knew; none for what is no file.
fn discovered(disk: &dyn Disk, path: &str) -> Result<Option<(u64, u64)>, ReadError> {
    let looked = disk.open_to_read(Path::new(path)).and_then(|file| {
        // A folder can be opened, but not read.
        file.read_at(&mut [0], 0)?;
        file.len()
    });
    match looked {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(None),
        size => Ok(Some((0, size?))),
    }
}

/// Where what was appended to a known file begins, and its length now; none when nothing was.
fn grown(
    disk: &dyn Disk,
    path: &str,
    known: &Known,
    check_always: bool,
) -> Result<Option<(u64, u64)>, ReadError> {
    let file = disk.open_to_read(Path::new(path))?;
    let size = file.len()?;
    if size == known.end && !check_always {
        return Ok(None);
    }
    check(&*file, size, known.end, known.prints)?;
    if size == known.end {
        return Ok(None);
    }
    if !known.cut {
        return Ok(Some((known.end, size)));
    }
    // The last line was given out without a line end, which must be what comes now.
    let mut next = [0; 2];
    let read = read_full(&*file, &mut next, known.end)?;
    match &next[..read] {
        [b'\n', ..] => Ok(Some((known.end + 1, size))),
        b"\r\n" => Ok(Some((known.end + 2, size))),
        b"\r" => Ok(None),
        _ => Err(ReadError::Changed(
            "went on in the middle of a line that was taken to be its last one",
        )),
    }
}
