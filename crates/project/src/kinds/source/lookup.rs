//! Lookups: tables that are only read (S11).
//!
//! A lookup of files reads as a source of files does, whole, so it is lowered to one; it has no pipeline, no
//! watermark and no position. A lookup that is a Delta table is lowered as a table is.

use std::time::Duration;

use thalweg_core::schema::{Column, ColumnType, EpochUnit, meta};

use super::lower::{Declared, is_column_name, lower_path};
use super::{
    Columns, Connector, CsvFormat, FileInput, FilePlace, Format, JsonFormat, Keep, Location, Named,
    OnInvalid, S3, Source,
};
use crate::codes::{self, Telling};
use crate::entry::Entry;
use crate::keys::Kind;
use crate::kinds::table::lower_s3;
use crate::spanned::Spanned;

/// The files of a table that nothing fills; none for any other table, and for one that is wrong.
pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Source> {
    let columns = lookup_columns(entry);
    let csv = entry.child("csv").written().map(|csv| {
        let format = CsvFormat {
            header: csv.value("header"),
            null: csv.value("null"),
            delimiter: csv.value("delimiter"),
            quote: csv.value("quote"),
            encoding: "utf-8".to_owned(),
        };
        (Format::Csv(format), csv.child("path"))
    });
    let plain = [
        ("json", Format::Json(JsonFormat::default())),
        ("parquet", Format::Parquet),
        ("avro", Format::Avro),
    ];
    let plain = plain.into_iter().filter_map(|(key, format)| {
        let path = entry.child(key).written()?.child("path");
        Some((format, path))
    });
    let (format, path) = csv.into_iter().chain(plain).next()?;
    if !is_only_read(entry) {
        return None;
    }
    let s3 = lower_s3(entry.child("s3"));
    let url = path.read_secret()?.reveal().to_owned();
    let location = match url.starts_with("s3://") {
        true => Location::S3(S3 { url, ..s3 }),
        false => lower_path(path)?,
    };
    let columns = match columns {
        Some(columns) => columns?,
        None if matches!(format, Format::Json(_)) => {
            let message = format!("`{}.{name}` lacks `columns`", Kind::Table);
            let problem = codes::problem(codes::MISSING_KEY, message, entry.place());
            let hint = "Columns of JSON are declared, such as `columns.city = \"text\"`.";
            entry.report(problem.hint(hint));
            return None;
        }
        None => Columns::of_preset(Vec::new()),
    };
    let place = FilePlace { location, rate_per_second: None };
    Some(Source {
        name: name.clone(),
        connector: Connector::File(FileInput { places: vec![place] }),
        format,
        columns: columns.columns,
        cleaning: columns.cleaning,
        checks: Vec::new(),
        key: Vec::new(),
        unique: None,
        event_time: meta::RECEIVED_AT.to_owned(),
        watermark: Duration::ZERO,
        max_ahead: None,
        idle: Duration::ZERO,
        stale_after: Duration::ZERO,
        on_invalid: OnInvalid::Fail,
        journal: false,
        keep: Keep { age: Duration::ZERO, bytes: 0 },
        column_places: columns.places,
        named: Named::default(),
    })
}

/// The declared columns; the outer none when there are none, the inner when one of them is wrong.
fn lookup_columns(entry: Entry<'_>) -> Option<Option<Columns>> {
    let members = entry.child("columns").members();
    if members.is_empty() {
        return None;
    }
    let column = |(name, entry): &(&Spanned<String>, Entry<'_>)| {
        let (declared, select) = (entry.get::<Declared>("type"), entry.get("select"));
        if !is_column_name(name, *entry) {
            return None;
        }
        let Declared { kind, nullable } = declared?;
        let unit = (kind == ColumnType::Timestamp).then_some(EpochUnit::Millis);
        Some(Column { name: name.value.clone(), kind, nullable, select, unit, allow_nan: false })
    };
    let columns: Vec<Column> = members.iter().filter_map(column).collect();
    let is_whole = columns.len() == members.len();
    let places = members.iter().map(|(name, _)| Some(name.place.clone())).collect();
    Some(is_whole.then(|| Columns { places, ..Columns::of_preset(columns) }))
}

/// The columns that a lookup declares, and none of them wrong; empty when it declares none.
pub(crate) fn declared_columns(entry: Entry<'_>) -> Option<Vec<Column>> {
    match lookup_columns(entry) {
        Some(columns) => Some(columns?.columns),
        None => Some(Vec::new()),
    }
}

/// Whether nothing fills the table.
pub(crate) fn is_only_read(entry: Entry<'_>) -> bool {
    ["from", "batch_of"].into_iter().all(|key| entry.child(key).written().is_none())
}
