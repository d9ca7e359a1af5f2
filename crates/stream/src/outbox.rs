//! The outbox of a sink: rows its target does not hold yet, in memory and beyond that on disk.
//!
//! Entries are in the order of their epochs. Files are Arrow IPC streams, one an entry, and belong
//! to this process only: what a crash leaves is removed when the outbox is made again.

use std::collections::VecDeque;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use thalweg_core::env::Disk;
use thalweg_core::sink::Epoch;
use thalweg_core::{Error, Result};

use crate::operators::expressions::engine_error;

/// Rows by epoch, waiting.
pub struct Outbox {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    memory_bytes_max: usize,
    entries: VecDeque<(Epoch, Entry)>,
    memory_bytes: usize,
    disk_bytes: u64,
    next_file: u64,
}

enum Entry {
    Memory(RecordBatch, usize),
    File(PathBuf, u64),
}

impl Outbox {
    /// An empty outbox; files of an earlier process are removed.
    pub fn new(disk: Arc<dyn Disk>, folder: PathBuf, memory_bytes_max: usize) -> Self {
        for old in disk.list(&folder).unwrap_or_default() {
            // What cannot be removed now is only space.
            let _ = disk.remove(&folder.join(old));
        }
        Self {
            disk,
            folder,
            memory_bytes_max,
            entries: VecDeque::new(),
            memory_bytes: 0,
            disk_bytes: 0,
            next_file: 0,
        }
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    /// Adds rows of an epoch, on disk when memory is full. When the disk fails too, memory has to
    /// do, and the error says so.
    pub fn push(&mut self, epoch: Epoch, rows: RecordBatch) -> Result<()> {
        let bytes = rows.get_array_memory_size();
        if self.memory_bytes + bytes <= self.memory_bytes_max || self.entries.is_empty() {
            self.memory_bytes += bytes;
            self.entries.push_back((epoch, Entry::Memory(rows, bytes)));
            return Ok(());
        }
        match self.spill(&rows) {
            Ok((file, bytes)) => {
                self.disk_bytes += bytes;
                self.entries.push_back((epoch, Entry::File(file, bytes)));
                Ok(())
            }
            Err(error) => {
                self.memory_bytes += bytes;
                self.entries.push_back((epoch, Entry::Memory(rows, bytes)));
                Err(error)
            }
        }
    }

    fn spill(&mut self, rows: &RecordBatch) -> Result<(PathBuf, u64)> {
        let mut writer =
            StreamWriter::try_new(Vec::new(), rows.schema_ref()).map_err(engine_error)?;
        writer.write(rows).map_err(engine_error)?;
        let bytes = writer.into_inner().map_err(engine_error)?;
        let file = self.folder.join(format!("{:012}.arrow", self.next_file));
        self.next_file += 1;
        let written = self.disk.create_dir_all(&self.folder).and_then(|()| {
            let handle = self.disk.open(&file, true)?;
            handle.truncate(0)?;
            handle.write_at(&bytes, 0)
        });
        written.map_err(|error| {
            Error::unavailable(format!("cannot write the outbox {}", file.display()))
                .with_source(error)
        })?;
        Ok((file, bytes.len() as u64))
    }

    /// Entry `index` from the oldest.
    pub fn get(&self, index: usize) -> Result<Option<(Epoch, RecordBatch)>> {
        let Some((epoch, entry)) = self.entries.get(index) else { return Ok(None) };
        let rows = match entry {
            Entry::Memory(rows, _) => rows.clone(),
            Entry::File(file, _) => {
                let bytes = self.disk.read(file).map_err(|error| {
                    Error::unavailable(format!("cannot read the outbox {}", file.display()))
                        .with_source(error)
                })?;
                let mut reader =
                    StreamReader::try_new(Cursor::new(bytes), None).map_err(engine_error)?;
                reader
                    .next()
                    .ok_or_else(|| Error::internal("a file of the outbox is empty"))?
                    .map_err(engine_error)?
            }
        };
        Ok(Some((*epoch, rows)))
    }

    /// Forgets everything up to `epoch`.
    pub fn drop_through(&mut self, epoch: Epoch) {
        while self.entries.front().is_some_and(|(first, _)| *first <= epoch) {
            match self.entries.pop_front() {
                Some((_, Entry::Memory(_, bytes))) => self.memory_bytes -= bytes,
                Some((_, Entry::File(file, bytes))) => {
                    self.disk_bytes -= bytes;
                    // What cannot be removed now is removed at the next start.
                    let _ = self.disk.remove(&file);
                }
                None => {}
            }
        }
    }
}
