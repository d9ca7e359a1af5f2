//! Folds sqlx's errors into [`thalweg_core::Error`], by what the caller must do next.

use thalweg_core::{Error, ErrorKind};

/// SQLite's primary result codes that ask for something else than giving up (sqlite.org/rescode).
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const IOERR: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const NOTADB: i32 = 26;
}

/// The error of `doing`, such as `write row nightly`.
pub(crate) fn fold(doing: &str, error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|error| error.code());
    // The low byte of an extended result code is the primary one.
    let code = code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xFF);
    let (kind, hint) = match code {
        Some(code::FULL) => {
            (ErrorKind::Unavailable, Some("The disk is full: free some space, then it goes on."))
        }
        Some(code::BUSY | code::LOCKED) => {
            (ErrorKind::Unavailable, Some("Another process holds the metadata store locked."))
        }
        Some(code::READONLY | code::CANTOPEN | code::IOERR) => {
            (ErrorKind::Unavailable, Some("See whether the data folder exists and is writable."))
        }
        Some(code::NOTADB) => {
            (ErrorKind::Invalid, Some("The file is no SQLite database; move it away."))
        }
        Some(code::CORRUPT) => {
            (ErrorKind::Internal, Some("The metadata store is damaged; restore it from a backup."))
        }
        Some(_) => (ErrorKind::Internal, None),
        None => match error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => (ErrorKind::Unavailable, None),
            _ => (ErrorKind::Internal, None),
        },
    };
    let folded = Error::new(kind, format!("cannot {doing} in the metadata store"));
    let folded = match hint {
        Some(hint) => folded.with_hint(hint),
        None => folded,
    };
    folded.with_source(error)
}
