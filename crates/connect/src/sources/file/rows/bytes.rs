//! Any bytes of one file, for readers that jump about in it and block.
//!
//! Blocks of 256 KiB are read and the last of them kept, so that a format that reads a few bytes
//! here and there asks its store seldom. At most [`KEPT_MAX`] blocks are held, whatever lengths the
//! file names (S30).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;

use crate::sources::file::files::{Files, ReadError, Watched};
use crate::sources::file::manifest::{Print, Prints};

const BLOCK_BYTES: u64 = 256 << 10;
/// Blocks that are kept: 32 MiB.
const KEPT_MAX: usize = 128;
/// Bytes at either end by which a file is known again.
const PRINT_BYTES: u64 = 64;

/// One file.
pub(super) struct FileBytes {
    files: Arc<dyn Files>,
    path: String,
    size: u64,
    tag: Option<String>,
    runtime: Handle,
    kept: Mutex<VecDeque<(u64, Bytes)>>,
    // Why a read failed, kept across a reader that only knows errors of its own.
    failure: Mutex<Option<ReadError>>,
}

impl FileBytes {
    /// Looks at a file, which holds what `prints` are of. Blocks.
    pub(super) fn open(
        files: Arc<dyn Files>,
        path: &str,
        prints: &Prints,
        runtime: Handle,
    ) -> Result<Self, ReadError> {
        let watched = Watched::new(prints, None);
        let part = runtime.block_on(files.read(path, 0..0, watched, BytesMut::new()))?;
        part.check(prints)?;
        Ok(Self {
            files,
            path: path.to_owned(),
            size: part.size,
            tag: part.tag,
            runtime,
            kept: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// Its length when it was opened.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What its store called its version then.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The bytes from `at` on that lie in one block; none behind the end.
    pub(super) fn some(&self, at: u64) -> Result<Bytes, ReadError> {
        if at >= self.size {
            return Ok(Bytes::new());
        }
        let start = at - at % BLOCK_BYTES;
        let block = match self.kept(start) {
            Some(block) => block,
            None => self.read(start)?,
        };
        let skipped = usize::try_from(at - start).unwrap_or(usize::MAX);
        Ok(block.slice(skipped.min(block.len())..))
    }

    /// `length` bytes from `at` on, which the caller knows to lie in the file; fewer at its end.
    pub(super) fn exact(&self, at: u64, length: usize) -> Result<Bytes, ReadError> {
        let first = self.some(at)?;
        if first.len() >= length {
            return Ok(first.slice(..length));
        }
        let there = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::with_capacity(length.min(there));
        bytes.extend_from_slice(&first);
        while bytes.len() < length {
            let next = self.some(at + bytes.len() as u64)?;
            if next.is_empty() {
                break;
            }
            bytes.extend_from_slice(&next[..next.len().min(length - bytes.len())]);
        }
        Ok(bytes.freeze())
    }

    /// Keeps an error for [`take_failure`](Self::take_failure).
    pub(super) fn fail(&self, error: ReadError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// The error that was kept.
    pub(super) fn take_failure(&self) -> Option<ReadError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What the file is known by once it was read up to `end`.
    pub(super) fn prints(&self, end: u64) -> Result<Prints, ReadError> {
        let print = |from: u64| -> Result<Print, ReadError> {
            let length = usize::try_from(PRINT_BYTES.min(end - from)).unwrap_or(usize::MAX);
            let bytes = self.exact(from, length)?;
            Ok(Print::new(from + bytes.len() as u64, &bytes))
        };
        Ok(Prints { head: print(0)?, tail: print(end.saturating_sub(PRINT_BYTES))? })
    }

    fn kept(&self, start: u64) -> Option<Bytes> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(at, _)| *at == start)?;
        let block = kept.remove(found)?;
        kept.push_back(block.clone());
        Some(block.1)
    }

    fn read(&self, start: u64) -> Result<Bytes, ReadError> {
        let range = start..(start + BLOCK_BYTES).min(self.size);
        let length = range.end - range.start;
        let watched = Watched { ranges: [0..0, 0..0], tag: self.tag.as_deref() };
        let read = self.files.read(&self.path, range, watched, BytesMut::new());
        let part = self.runtime.block_on(read)?;
        if part.tag != self.tag || (part.data.len() as u64) < length {
            return Err(ReadError::Changed("changed while it was read"));
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((start, part.data.clone()));
        Ok(part.data)
    }
}
