//! Where files are, as the file source sees it: listed by name, read by ranges.
//!
//! A store may give a *tag* with what it reads, which changes with the bytes of a file (the ETag of
//! an object, the time of change of a file of HDFS); none on the machine's own disk. What was read
//! of a file is compared again whenever its tag is not the one it was compared under (S0).
//!
//! Not here: what the bytes mean.

use std::ops::Range;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use thalweg_core::error::{Error, Result};

use super::manifest::Prints;

/// Somewhere files are.
#[async_trait]
pub(super) trait Files: Send + Sync {
    /// The files that match, by path.
    ///
    /// # Errors
    ///
    /// `Unavailable` when they cannot be listed.
    async fn list(&self) -> Result<Vec<Listed>>;

    /// Reads bytes of a file into `buffer`: those of `range` that are there.
    ///
    /// `watched` says what to read beside it, unless its tag is still the same.
    async fn read(
        &self,
        path: &str,
        range: Range<u64>,
        watched: Watched<'_>,
        buffer: BytesMut,
    ) -> Result<Part, ReadError>;
}

/// A file of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) tag: Option<String>,
}

/// Two ranges that are read beside what is wanted, unless the file has this tag.
#[derive(Clone, Debug)]
pub(super) struct Watched<'a> {
    pub(super) ranges: [Range<u64>; 2],
    pub(super) tag: Option<&'a str>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(prints: &Prints, tag: Option<&'a str>) -> Self {
        Self { ranges: [prints.head.range(), prints.tail.range()], tag }
    }

    /// Whether the tag says that nothing has changed.
    pub(super) fn is_same(&self, tag: Option<&str>) -> bool {
        tag.is_some() && self.tag == tag
    }
}

/// What was read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) data: Bytes,
    /// Length of the file at that time.
    pub(super) size: u64,
    pub(super) tag: Option<String>,
    /// The ranges beside it, as far as they are there; none when the tag is the same.
    pub(super) watched: Option<[Bytes; 2]>,
}

impl Part {
    /// Compares what was read of the file before.
    pub(super) fn check(&self, prints: &Prints) -> Result<(), ReadError> {
        let Some([head, tail]) = &self.watched else { return Ok(()) };
        if self.size < prints.read_to() {
            return Err(ReadError::Changed("is shorter than what was read of it"));
        }
        if !prints.head.fits(head) || !prints.tail.fits(tail) {
            return Err(ReadError::Changed("holds other bytes where it was read"));
        }
        Ok(())
    }
}

/// Why a file could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// There is no such file.
    Gone,
    /// What was read of it does not stand there any more.
    Changed(&'static str),
    /// It cannot be reached now.
    Unavailable(Error),
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
            Self::Unavailable(error) => error,
        }
    }
}
