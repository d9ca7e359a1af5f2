//! What is new among the files that match: those nobody knew, and what was appended to known ones.

use std::collections::HashMap;

use bytes::BytesMut;
use thalweg_core::error::Result;

use super::files::{Files, Listed, ReadError, Watched};
use super::framing::Framing;
use super::manifest::{Manifest, Prints};

/// What is known of a file that was read to the end of its last stretch.
#[derive(Clone, Debug)]
struct Known {
    /// Where the stretch ends.
    end: u64,
    /// Length of the file at that time.
    size: u64,
    tag: Option<String>,
    /// Its last line had no line end.
    cut: bool,
    /// `end` is a byte of the file.
    is_plain: bool,
    /// It cannot be read beyond its end.
    is_broken: bool,
    prints: Prints,
}

/// Bytes that are not in the list yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: String,
    pub(super) is_known: bool,
    pub(super) start: u64,
    pub(super) size: u64,
}

/// The files that match, in order, as far as they hold something that `manifest` has not.
///
/// # Errors
///
/// `Invalid` when a known file has changed; `Unavailable` when a folder or file cannot be read.
pub(super) async fn find(
    files: &dyn Files,
    manifest: &Manifest,
    framing: Framing,
    check_all: bool,
) -> Result<Vec<Found>> {
    let mut known: HashMap<&str, Option<Known>> = HashMap::with_capacity(manifest.files.len());
    for stretch in &manifest.files {
        // One that is not read to its end grows where it is.
        let read = stretch.end.map(|end| Known {
            end,
            size: stretch.size,
            tag: stretch.tag.clone(),
            cut: stretch.cut,
            is_plain: stretch.is_plain(),
            is_broken: stretch.broken.is_some(),
            prints: stretch.prints,
        });
        known.insert(&stretch.path, read);
    }
    let mut found = Vec::new();
    for listed in files.list().await? {
        let Some(known) = known.get(listed.path.as_str()) else {
            let Listed { path, size, .. } = listed;
            found.push(Found { path, is_known: false, start: 0, size });
            continue;
        };
        let Some(known) = known else { continue };
        match grown(files, &listed, known, framing, check_all).await {
            Ok(Some((start, size))) => {
                found.push(Found { path: listed.path, is_known: true, start, size });
            }
            // A file that goes once it was read is nobody's loss.
            Ok(None) | Err(ReadError::Gone) => {}
            Err(error) => return Err(error.about(&listed.path)),
        }
    }
    Ok(found)
}

/// Where what was appended to a known file begins, and its length now; none when nothing was.
async fn grown(
    files: &dyn Files,
    listed: &Listed,
    known: &Known,
    framing: Framing,
    check_always: bool,
) -> Result<Option<(u64, u64)>, ReadError> {
    let is_measured = known.is_plain && !known.is_broken;
    let size_then = if is_measured { known.end } else { known.size };
    let is_same = match &listed.tag {
        Some(_) => listed.tag == known.tag,
        None => listed.size == size_then && !check_always,
    };
    if is_same {
        return Ok(None);
    }
    // Behind the end: the line end that a last line lacked, or nothing of interest.
    let next = if known.is_plain { known.end..known.end + 2 } else { 0..0 };
    let watched = Watched::new(&known.prints, None);
    let part = files.read(&listed.path, next, watched, BytesMut::new()).await?;
    part.check(&known.prints)?;
    if part.size < size_then {
        return Err(ReadError::Changed("is shorter than what was read of it"));
    }
    if part.size == size_then {
        return Ok(None);
    }
    let went_on = "went on behind what was taken to be its end";
    if known.is_broken {
        return Err(ReadError::Changed("went on where it could not be read"));
    }
    if !known.cut {
        return Ok(Some((known.end, part.size)));
    }
    if !known.is_plain || matches!(framing, Framing::Array | Framing::Document) {
        return Err(ReadError::Changed(went_on));
    }
    // The last line was given out without a line end, which must be what comes now.
    match (&part.data[..], framing) {
        ([b'\n', ..], _) => Ok(Some((known.end + 1, part.size))),
        (b"\r\n", _) => Ok(Some((known.end + 2, part.size))),
        ([b'\r', _], Framing::Csv { .. }) => Ok(Some((known.end + 1, part.size))),
        (b"\r", _) => Ok(None),
        _ => Err(ReadError::Changed(went_on)),
    }
}
