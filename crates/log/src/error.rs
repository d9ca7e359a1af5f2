//! What goes wrong with files, as errors that cross the crate's boundary.

use std::io;
use std::path::Path;

use thalweg_core::Error;

/// Whether the disk, a quota or the file system's own limit is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// A failure to do something with a file: `cannot <doing> <path>`.
pub(crate) fn cannot(doing: &str, path: &Path, error: io::Error) -> Error {
    let full = is_full(&error);
    let folded =
        Error::unavailable(format!("cannot {doing} {}", path.display())).with_source(error);
    if full { folded.with_hint("Free some space on the disk.") } else { folded }
}

/// Bytes on disk that are not what was written there.
pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Error {
    Error::internal(format!("{} is damaged", path.display())).with_detail(reason).with_hint(
        "Nothing was changed. Restore the folder from a copy, or move the topic's folder away to \
         begin it anew.",
    )
}
