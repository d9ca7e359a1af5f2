//! Sinks into databases against real servers, seen from outside: what a pipeline hands over and what
//! any client reads from the database afterwards.
//!
//! The servers come from `tests/services`. One of each kind is started once per run and stops when
//! this process ends, however that happens; each test has a database of its own.

mod mysql;
mod postgres;
mod services;

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_connect::sinks::database::Mode;
use thalweg_core::Result;
use thalweg_core::sink::{Committed, Epoch, Sink, Stamp};

/// The stamp of pipeline `changes` of the incarnation the tests write as.
fn stamp(epoch: Epoch) -> Stamp {
    Stamp { incarnation: "home".to_owned(), pipeline: "changes".to_owned(), epoch }
}

fn upsert(key: &[&str]) -> Mode {
    Mode::Upsert { key: key.iter().map(|name| (*name).to_owned()).collect() }
}

/// A schema of nullable columns.
fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn trade_schema() -> SchemaRef {
    schema(&[("symbol", DataType::Utf8), ("price", DataType::Int64)])
}

/// Rows of [`trade_schema`].
fn trades(rows: &[(&str, i64)]) -> RecordBatch {
    let symbols: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    let prices: Int64Array = rows.iter().map(|row| Some(row.1)).collect();
    RecordBatch::try_new(trade_schema(), vec![Arc::new(symbols), Arc::new(prices)])
        .expect("two columns of one length")
}

/// Rows with an operation.
fn changes(rows: &[(&str, Option<&str>, i64)]) -> RecordBatch {
    let rows_schema =
        schema(&[("symbol", DataType::Utf8), ("_op", DataType::Utf8), ("price", DataType::Int64)]);
    RecordBatch::try_new(
        rows_schema,
        vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>()),
        ],
    )
    .expect("three columns of one length")
}

/// Does what a pipeline does after a start or an error: asks what the target holds, and hands over
/// everything behind that, in one commit.
async fn hand_over(
    sink: &mut (impl Sink + ?Sized),
    epochs: &[(Epoch, RecordBatch)],
) -> Result<Committed> {
    sink.discard().await;
    let held = sink.open().await?.map_or(0, |stamp| stamp.epoch);
    let mut last = held;
    for (epoch, rows) in epochs.iter().filter(|(epoch, _)| *epoch > held) {
        sink.write(*epoch, rows).await?;
        last = *epoch;
    }
    if last == held {
        return Ok(Committed::default());
    }
    sink.commit(&stamp(last)).await
}
