//! A file by itself: the rows of a query, whole or not at all.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{Stream, TryStreamExt as _};
use thalweg_core::{Error, Result};
use tokio::io::AsyncWriteExt as _;

use super::encode::Format;
use crate::error::fold;
use crate::place::Place;

/// Bytes that are handed to the store together.
const PORTION_BYTES: usize = 1 << 20;

/// Writes rows of `schema` to the file `name` of a folder, over what lies there; returns how many.
///
/// The file appears when all of it is written.
///
/// # Errors
///
/// `Invalid` when the format cannot hold a column; `Unavailable` when the place cannot be written.
pub async fn export(
    place: &Place,
    name: &str,
    format: Format,
    schema: &SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch>>,
) -> Result<u64> {
    for field in schema.fields() {
        if let Some(reason) = format.refuses(field.name(), field.data_type()) {
            let message = format!("column `{}` cannot be in {name}", field.name());
            return Err(Error::invalid(message).with_detail(reason));
        }
    }
    let mut encoding = format.begin(schema)?;
    let mut file = place.upload(name)?;
    let mut count = 0;
    let mut bytes = Vec::new();
    let mut rows = std::pin::pin!(rows);
    while let Some(rows) = rows.try_next().await? {
        count += rows.num_rows() as u64;
        encoding.write(&rows)?;
        bytes.append(&mut encoding.take());
        if bytes.len() >= PORTION_BYTES {
            write(place, name, file.write_all(&bytes)).await?;
            bytes.clear();
        }
    }
    encoding.finish()?;
    bytes.append(&mut encoding.take());
    write(place, name, file.write_all(&bytes)).await?;
    write(place, name, file.shutdown()).await?;
    Ok(count)
}

async fn write(
    place: &Place,
    name: &str,
    writing: impl Future<Output = std::io::Result<()>>,
) -> Result<()> {
    let written = place.answered(writing).await?;
    written.map_err(|error| fold(format!("cannot write {name} in {place}"), error))
}
