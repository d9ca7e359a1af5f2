//! Writes rows into staged files, where no reader looks (F4), and hands over what it wrote.
//!
//! A folder has one open file at a time, at most [`OPEN_FILES_MAX`] folders have one: the file that
//! was written to least recently is closed for the next. A file rolls at the table's file size; what
//! encoders hold is bounded by [`HELD_BYTES_MAX`] over all open files.

use std::sync::Arc;

use arrow::array::RecordBatch;
use object_store::buffered::BufWriter;
use thalweg_core::Result;
use tokio::io::AsyncWriteExt as _;

use super::encode::{Encoding, Format};
use super::layout::{Folder, Layout};
use super::log::STAGED;
use crate::error::fold;
use crate::place::Place;
use crate::storage::unique;

const OPEN_FILES_MAX: usize = 8;
const HELD_BYTES_MAX: usize = 64 << 20;
/// What staged files end with.
const ENDING: &str = ".staged";

/// Writes rows into new files of one table.
pub(crate) struct Writer {
    place: Place,
    layout: Arc<Layout>,
    format: Format,
    file_bytes: u64,
    /// The least recently written first.
    open: Vec<OpenFile>,
    finished: Vec<Staged>,
    has_full: bool,
}

/// A file that is written, whole and durable, and not in the table.
pub(crate) struct Staged {
    /// Where it is, below the table's folder.
    pub(crate) path: String,
    /// The folder that it belongs into.
    pub(crate) values: Vec<Option<String>>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

struct OpenFile {
    staged: Staged,
    encoding: Encoding,
    upload: BufWriter,
}

impl Writer {
    /// A writer of files of about `file_bytes`.
    pub(crate) fn new(place: Place, layout: Arc<Layout>, format: Format, file_bytes: u64) -> Self {
        let (open, finished) = (Vec::new(), Vec::new());
        Self { place, layout, format, file_bytes, open, finished, has_full: false }
    }

    /// Whether a file has reached its size.
    pub(crate) fn has_full(&self) -> bool {
        self.has_full
    }

    /// Writes rows, whatever files they belong to.
    pub(crate) async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let layout = self.layout.clone();
        for folder in layout.split(rows)? {
            self.append(folder).await?;
        }
        self.bound_memory().await
    }

    /// Closes all files and returns them.
    pub(crate) async fn finish(&mut self) -> Result<Vec<Staged>> {
        while !self.open.is_empty() {
            let file = self.open.remove(0);
            self.close(file).await?;
        }
        Ok(std::mem::take(&mut self.finished))
    }

    /// Removes everything written.
    pub(crate) async fn discard(mut self) {
        for file in &mut self.open {
            // What a store keeps of an upload that was given up is its own to forget.
            if let Err(error) = file.upload.abort().await {
                tracing::debug!(path = file.staged.path, %error, "an upload was left behind");
            }
        }
        remove(&self.place, self.finished.iter().map(|staged| staged.path.as_str())).await;
    }

    async fn append(&mut self, Folder { values, rows }: Folder) -> Result<()> {
        let open = self.open.iter().position(|file| file.staged.values == values);
        let mut file = match open {
            Some(position) => self.open.remove(position),
            None => {
                if self.open.len() == OPEN_FILES_MAX {
                    let oldest = self.open.remove(0);
                    self.close(oldest).await?;
                }
                self.create(values)?
            }
        };
        file.encoding.write(&rows)?;
        file.staged.rows += rows.num_rows() as u64;
        file.move_on(&self.place).await?;
        if file.staged.bytes + file.encoding.held() as u64 >= self.file_bytes {
            self.has_full = true;
            self.close(file).await
        } else {
            self.open.push(file);
            Ok(())
        }
    }

    fn create(&self, values: Vec<Option<String>>) -> Result<OpenFile> {
        let path = format!("{STAGED}/{}{ENDING}", unique());
        let upload = self.place.upload(&path)?;
        let encoding = self.format.begin(&self.layout.file)?;
        Ok(OpenFile { staged: Staged { path, values, rows: 0, bytes: 0 }, encoding, upload })
    }

    async fn close(&mut self, mut file: OpenFile) -> Result<()> {
        file.encoding.finish()?;
        file.move_on(&self.place).await?;
        let closed = self.place.answered(file.upload.shutdown()).await?;
        closed.map_err(|error| cannot_write(&self.place, error))?;
        self.finished.push(file.staged);
        Ok(())
    }

    /// Moves the largest row group in progress out of memory when there is too much there.
    async fn bound_memory(&mut self) -> Result<()> {
        let held: usize = self.open.iter().map(|file| file.encoding.held()).sum();
        if held <= HELD_BYTES_MAX {
            return Ok(());
        }
        let largest = self.open.iter_mut().max_by_key(|file| file.encoding.held());
        let Some(file) = largest else { return Ok(()) };
        file.encoding.flush()?;
        file.move_on(&self.place).await
    }
}

impl OpenFile {
    /// Hands the bytes that are ready to the store.
    async fn move_on(&mut self, place: &Place) -> Result<()> {
        let bytes = self.encoding.take();
        self.staged.bytes += bytes.len() as u64;
        let written = place.answered(self.upload.write_all(&bytes)).await?;
        written.map_err(|error| cannot_write(place, error))
    }
}

fn cannot_write(place: &Place, error: std::io::Error) -> thalweg_core::Error {
    fold(format!("cannot write a file of {place}"), error)
}

/// Removes staged files. One that stays is removed after the next start.
pub(crate) async fn remove(place: &Place, paths: impl Iterator<Item = &str>) {
    for path in paths {
        if let Err(error) = place.delete(path).await {
            tracing::debug!(path, error = error.chain(), "a staged file was left behind");
        }
    }
}
