//! Intake: frames of a source to valid rows, the rest to quarantine with its reason.
//!
//! Decoding, rows from the future (S2), and the source's checks (S13), in that order. Every pipeline
//! of a source runs the same intake; only the source's own keeps what was refused and the counts.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow_json::LineDelimitedWriter;
use datafusion::common::{DFSchema, ToDFSchema};
use datafusion::physical_expr::PhysicalExpr;
use thalweg_core::decode::{Decoder, FrameCounts};
use thalweg_core::frame::Frames;
use thalweg_core::ledger::SourceLedger;
use thalweg_core::problem::SqlProblem;
use thalweg_core::schema::{meta, with_topic};
use thalweg_core::source::Chunk;
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;
use thalweg_core::{Error, Result};

use crate::operators::FailedRow;
use crate::operators::expressions::{engine_error, evaluate};
use crate::program::evaluable::evaluable;
use crate::sql::problems::{Text, from_datafusion};
use crate::sql::{Names, Planner};

/// What an intake is made of, beside its decoder.
pub struct IntakeConfig {
    /// Name of the source.
    pub source: String,
    /// The topic of its records, `_topic` of every row (S1).
    pub topic: String,
    /// Column of the event time.
    pub event_time: String,
    /// How far ahead of `_received_at` an event time may be; none for files.
    pub max_ahead_micros: Option<i64>,
    /// Checks by name: SQL booleans over the columns.
    pub checks: Vec<(String, String)>,
}

/// Turns frames of one source into valid rows.
pub struct Intake {
    config: IntakeConfig,
    decoder: Box<dyn Decoder>,
    checks: Vec<Check>,
    event_time: usize,
    schema: SchemaRef,
}

/// What became of frames.
pub struct Taken {
    /// Rows that are valid.
    pub rows: RecordBatch,
    /// Frames and rows that are not.
    pub refused: Vec<Refused>,
    /// Counts of these frames and rows.
    pub ledger: SourceLedger,
    /// Highest event time of the valid rows.
    pub highest: Option<Timestamp>,
    /// Errors the feed sent as data.
    pub notices: Vec<String>,
}

/// A frame or row that is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `_partition` of the record.
    pub partition: u32,
    /// `_offset` of the record.
    pub offset: Offset,
    /// `_row` within it; none when the whole frame is refused.
    pub row: Option<u32>,
    /// `_received_at` of the record.
    pub received_at: Timestamp,
    /// What is wrong.
    pub reason: String,
    /// Name of the check that failed; `decode` when it did not get that far.
    pub check: String,
    /// First bytes of the frame.
    pub bytes: Vec<u8>,
    /// Whole length of the frame.
    pub length: u64,
    /// Where it stands in its file, such as `data/a.csv:17`; none for what comes from no file.
    pub place: Option<String>,
}

/// Bytes of a refused frame that are kept (S13).
const BYTES_KEPT_MAX: usize = 64 * 1024;

/// A check that is typed: its name and its condition.
pub type Check = (String, Arc<dyn PhysicalExpr>);

/// Types a source's checks against its columns.
///
/// # Errors
///
/// A list of (name of the check, problem), all at once.
pub fn prepare_checks(
    planner: &Planner,
    schema: &SchemaRef,
    checks: &[(String, String)],
) -> Result<Vec<Check>, Vec<(String, SqlProblem)>> {
    let df_schema = Arc::clone(schema).to_dfschema().map_err(|error| {
        let text = Text::new("");
        let problems = from_datafusion(error, &text, &Names::default());
        problems.into_iter().map(|problem| (String::new(), problem)).collect::<Vec<_>>()
    })?;
    let mut ready = Vec::new();
    let mut problems = Vec::new();
    for (name, sql) in checks {
        match prepare_check(planner, &df_schema, sql) {
            Ok(check) => ready.push((name.clone(), check)),
            Err(found) => problems.extend(found.into_iter().map(|it| (name.clone(), it))),
        }
    }
    if problems.is_empty() { Ok(ready) } else { Err(problems) }
}

fn prepare_check(
    planner: &Planner,
    schema: &DFSchema,
    sql: &str,
) -> Result<Arc<dyn PhysicalExpr>, Vec<SqlProblem>> {
    let text = Text::new(sql);
    let problem = |error| {
        let mut problems = from_datafusion(error, &text, &Names::default());
        for problem in problems.iter_mut().filter(|problem| problem.range.is_none()) {
            problem.range = planner.place_in_expression(sql, schema);
        }
        problems
    };
    let expression = planner.state().create_logical_expr(sql, schema).map_err(problem)?;
    let expression = crate::sql::rewrite::now_is_received_at(expression).map_err(problem)?;
    let expression = evaluable(expression, schema, planner.state()).map_err(problem)?;
    let check = planner.state().create_physical_expr(expression, schema).map_err(problem)?;
    let data_type = check.data_type(schema.as_arrow()).map_err(problem)?;
    if data_type != arrow::datatypes::DataType::Boolean {
        return Err(vec![SqlProblem {
            code: "T0304",
            message: format!("a check is a boolean, this is {data_type}"),
            label: None,
            hint: Some("Write a condition, such as `price > 0`.".to_owned()),
            range: Some(0..sql.len()),
        }]);
    }
    Ok(check)
}

impl Intake {
    /// An intake with a decoder of its own.
    ///
    /// # Errors
    ///
    /// `Invalid` when a check or the event time does not fit the decoder's columns; `check` finds
    /// that with places, before anything starts.
    pub fn new(planner: &Planner, config: IntakeConfig, decoder: Box<dyn Decoder>) -> Result<Self> {
        let schema = decoder.schema();
        let event_time = schema.index_of(&config.event_time).map_err(|error| {
            Error::invalid(format!(
                "source `{}` has no column `{}`",
                config.source, config.event_time
            ))
            .with_source(error)
        })?;
        let checks = prepare_checks(planner, schema, &config.checks).map_err(|problems| {
            let (name, problem) = &problems[0];
            Error::invalid(format!("check `{name}` of `{}`: {}", config.source, problem.message))
        })?;
        let schema = with_topic(schema);
        Ok(Self { config, decoder, checks, event_time, schema })
    }

    /// Columns of the rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes what a read brought.
    pub fn take(&mut self, chunk: &Chunk) -> Result<Taken> {
        let Chunk { frames, oversized, unreadable, .. } = chunk;
        let decoded = self.decoder.decode(frames)?;
        let set_aside = (oversized.len() + unreadable.len()) as u64;
        let mut ledger = SourceLedger {
            frames_received: frames.len() as u64 + set_aside,
            ..counts(decoded.frames)
        };
        ledger.frames_quarantined += set_aside;
        let mut refused = Vec::new();
        for part in unreadable {
            refused.push(Refused {
                partition: frames.partition,
                offset: part.offset,
                row: None,
                received_at: part.received_at,
                reason: part.reason.clone(),
                check: "decode".to_owned(),
                bytes: part.head[..part.head.len().min(BYTES_KEPT_MAX)].to_vec(),
                length: part.head.len() as u64,
                place: chunk.place_of_first(),
            });
        }
        for frame in oversized {
            refused.push(Refused {
                partition: frames.partition,
                offset: frame.offset,
                row: None,
                received_at: frame.received_at,
                reason: format!("the frame is {} bytes long, more than 10 MB", frame.length),
                check: "decode".to_owned(),
                bytes: frame.head[..frame.head.len().min(BYTES_KEPT_MAX)].to_vec(),
                length: frame.length,
                place: chunk.place_of_first(),
            });
        }
        for reject in decoded.rejects {
            if reject.row.is_some() {
                ledger.rows_decoded += 1;
                ledger.rows_quarantined += 1;
            }
            let bytes = match &reject.excerpt {
                Some(excerpt) => Cow::Borrowed(&excerpt[..]),
                None => shown(frames, reject.frame),
            };
            refused.push(Refused {
                partition: frames.partition,
                offset: reject.offset,
                row: reject.row,
                received_at: frames.spans[reject.frame].received_at,
                reason: reject.reason,
                check: "decode".to_owned(),
                bytes: bytes[..bytes.len().min(BYTES_KEPT_MAX)].to_vec(),
                length: bytes.len() as u64,
                place: None,
            });
        }
        let mut rows = decoded.rows;
        ledger.rows_decoded += rows.num_rows() as u64;
        if let Some(limit) = self.config.max_ahead_micros {
            rows = self.refuse_future(rows, limit, chunk, &mut refused)?;
        }
        rows = self.run_checks(rows, chunk, &mut refused)?;
        let refused_rows = refused.iter().filter(|it| it.row.is_some() && it.check != "decode");
        ledger.rows_quarantined += refused_rows.count() as u64;
        ledger.rows_valid += rows.num_rows() as u64;
        let times = rows.column(self.event_time);
        let highest = arrow::compute::max(times.as_primitive::<TimestampMicrosecondType>());
        refused.sort_by_key(|refused| (refused.offset, refused.row));
        let mut places = chunk.places();
        for refused in refused.iter_mut().filter(|it| it.place.is_none()) {
            let frame = frames.spans.binary_search_by_key(&refused.offset, |span| span.offset);
            refused.place = frame.ok().and_then(|frame| places.of(frame));
        }
        Ok(Taken {
            rows: self.of_topic(&rows)?,
            refused,
            ledger,
            highest: highest.map(Timestamp),
            notices: decoded.notices,
        })
    }

    /// Lowest event time of what `heads` hold, for the watermark of unread files.
    pub fn earliest(&mut self, heads: &Frames) -> Result<Option<Timestamp>> {
        if heads.is_empty() {
            return Ok(None);
        }
        let decoded = self.decoder.decode(heads)?;
        let times = decoded.rows.column(self.event_time);
        Ok(arrow::compute::min(times.as_primitive::<TimestampMicrosecondType>()).map(Timestamp))
    }

    fn of_topic(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let topics = std::iter::repeat_n(&self.config.topic, rows.num_rows());
        let topics: ArrayRef = Arc::new(StringArray::from_iter_values(topics));
        let columns = rows.columns().iter().cloned().chain([topics]).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(engine_error)
    }

    fn refuse_future(
        &self,
        rows: RecordBatch,
        limit: i64,
        chunk: &Chunk,
        refused: &mut Vec<Refused>,
    ) -> Result<RecordBatch> {
        let times = rows.column(self.event_time).as_primitive::<TimestampMicrosecondType>().clone();
        let Some(received) = rows.column_by_name(meta::RECEIVED_AT) else { return Ok(rows) };
        let received = received.as_primitive::<TimestampMicrosecondType>().clone();
        let fine: BooleanArray = (0..rows.num_rows())
            .map(|row| {
                Some(
                    times.is_null(row)
                        || times.value(row) <= received.value(row).saturating_add(limit),
                )
            })
            .collect();
        self.keep(rows, &fine, "max_ahead", chunk, refused, |row| {
            format!(
                "the event time {} is more than {} s ahead of its receipt",
                Timestamp(times.value(row)),
                limit / thalweg_core::time::MICROS_PER_SECOND
            )
        })
    }

    fn run_checks(
        &self,
        mut rows: RecordBatch,
        chunk: &Chunk,
        refused: &mut Vec<Refused>,
    ) -> Result<RecordBatch> {
        for (name, check) in &self.checks {
            let mut failed: Vec<FailedRow> = Vec::new();
            let (passed, evaluated) = evaluate(std::slice::from_ref(check), &rows, &mut failed)?;
            for row in failed {
                let row_number = u32::try_from(row.row).unwrap_or(0);
                refused.push(refusal(chunk, row.offset, row_number, name, row.reason));
            }
            let passed = passed[0].as_boolean();
            // A check passes on true or NULL.
            let fine = match passed.nulls() {
                None => passed.clone(),
                Some(_) => passed.iter().map(|it| Some(it.unwrap_or(true))).collect(),
            };
            rows = self.keep(evaluated, &fine, name, chunk, refused, |_| {
                format!("check `{name}` failed")
            })?;
        }
        Ok(rows)
    }

    fn keep(
        &self,
        rows: RecordBatch,
        fine: &BooleanArray,
        check: &str,
        chunk: &Chunk,
        refused: &mut Vec<Refused>,
        reason: impl Fn(usize) -> String,
    ) -> Result<RecordBatch> {
        if fine.true_count() == fine.len() {
            return Ok(rows);
        }
        let offsets = column::<Int64Type>(&rows, meta::OFFSET)?;
        let numbers = column::<Int32Type>(&rows, meta::ROW)?;
        for row in (0..fine.len()).filter(|row| !fine.value(*row)) {
            let number = u32::try_from(numbers.value(row)).unwrap_or(0);
            refused.push(refusal(chunk, offsets.value(row), number, check, reason(row)));
        }
        filter_record_batch(&rows, fine).map_err(engine_error)
    }
}

fn refusal(chunk: &Chunk, offset: Offset, row: u32, check: &str, reason: String) -> Refused {
    let frames = &chunk.frames;
    let frame = frames.spans.binary_search_by_key(&offset, |span| span.offset).ok();
    let bytes = frame.map(|frame| shown(frames, frame)).unwrap_or_default();
    Refused {
        partition: frames.partition,
        offset,
        row: Some(row),
        received_at: frame.map_or(Timestamp(0), |frame| frames.spans[frame].received_at),
        reason,
        check: check.to_owned(),
        bytes: bytes[..bytes.len().min(BYTES_KEPT_MAX)].to_vec(),
        length: bytes.len() as u64,
        place: None,
    }
}

/// A frame as quarantine shows it: its bytes, or as JSON a row that never had any of its own.
pub(crate) fn shown(frames: &Frames, frame: usize) -> Cow<'_, [u8]> {
    let Some(rows) = &frames.rows else { return Cow::Borrowed(frames.bytes(frame)) };
    let mut writer = LineDelimitedWriter::new(Vec::new());
    // Types that JSON does not know leave nothing to show.
    let written = writer.write(&rows.slice(frame, 1)).and_then(|()| writer.finish());
    let text = writer.into_inner();
    Cow::Owned(if written.is_ok() { text.trim_ascii_end().to_vec() } else { Vec::new() })
}

fn column<'a, T: arrow::datatypes::ArrowPrimitiveType>(
    rows: &'a RecordBatch,
    name: &str,
) -> Result<&'a arrow::array::PrimitiveArray<T>> {
    rows.column_by_name(name)
        .and_then(|column| column.as_primitive_opt::<T>())
        .ok_or_else(|| Error::internal(format!("decoded rows have no column `{name}`")))
}

fn counts(frames: FrameCounts) -> SourceLedger {
    SourceLedger {
        frames_decoded: frames.decoded,
        frames_filtered: frames.filtered,
        frames_quarantined: frames.quarantined,
        ..SourceLedger::default()
    }
}

/// Adds the counts of a batch to a source's.
pub fn add(total: &mut SourceLedger, batch: &SourceLedger) {
    total.frames_received += batch.frames_received;
    total.frames_decoded += batch.frames_decoded;
    total.frames_filtered += batch.frames_filtered;
    total.frames_quarantined += batch.frames_quarantined;
    total.rows_decoded += batch.rows_decoded;
    total.rows_valid += batch.rows_valid;
    total.rows_quarantined += batch.rows_quarantined;
    total.rows_duplicate += batch.rows_duplicate;
}
