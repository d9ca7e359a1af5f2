//! Folds the errors of the libraries beneath into the one error type.
//!
//! What storage refuses can be retried and becomes `Unavailable`; anything else these libraries
//! say means that a file or a log is not what it should be, and becomes `Invalid`.

use std::error::Error as StdError;
use std::io;

use thalweg_core::{Error, ErrorKind};

/// Folds `error`, which came of what `message` says was being done.
pub(crate) fn fold(
    message: impl Into<String>,
    error: impl StdError + Send + Sync + 'static,
) -> Error {
    let cause = storage_cause(&error);
    let kind = if cause.is_some() { ErrorKind::Unavailable } else { ErrorKind::Invalid };
    let folded = Error::new(kind, message).with_source(error);
    match cause.flatten() {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            folded.with_hint("The disk is full: make room, then it goes on by itself.")
        }
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            folded.with_hint("Make the folder writable for the account that runs this program.")
        }
        _ => folded,
    }
}

/// Whether storage is at the bottom of `error`, and if it is a file, what the file said.
fn storage_cause(error: &(dyn StdError + 'static)) -> Option<Option<io::ErrorKind>> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(file) = error.downcast_ref::<io::Error>() {
            return Some(Some(file.kind()));
        }
        if error.is::<object_store::Error>() {
            found = Some(None);
        }
        next = error.source();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_found_at_the_bottom_and_the_rest_is_the_tables_fault() {
        let full = object_store::Error::Generic {
            store: "files",
            source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
        };
        let folded = fold("cannot write", parquet::errors::ParquetError::External(Box::new(full)));
        assert_eq!(folded.kind, ErrorKind::Unavailable);
        assert!(folded.hint.is_some_and(|hint| hint.contains("full")));

        let corrupt = parquet::errors::ParquetError::General("no magic".into());
        assert_eq!(fold("cannot read", corrupt).kind, ErrorKind::Invalid);
    }
}
