//! How a table of files is laid out: the columns that its files hold, and those that its folders do.
//!
//! ```text
//! day=2023-12-22/exchange=BINANCE/part-….parquet
//! ```
//!
//! A value that names a folder is text: what would not be a name is written `%3A`, as Hive does; null
//! and empty text are `__HIVE_DEFAULT_PARTITION__`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use thalweg_core::schema::meta;
use thalweg_core::{Error, Result};

use super::encode::Format;
use crate::delta::{cast, days, storable_field, tells_day};

/// Folder value of rows without one, by Hive's convention.
const NONE: &str = "__HIVE_DEFAULT_PARTITION__";

/// A column whose values are folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name: letters, digits and `_`.
    pub column: String,
    /// Where its value comes from.
    pub by: By,
}

/// Where the value of a folder comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The UTC day of this column of instants or dates: a column that is added.
    Day(String),
    /// The column of the folder's own name, which the files then lack.
    Itself,
}

/// The columns of one table.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Columns of a file.
    pub(crate) file: SchemaRef,
    /// Columns of folders, in order.
    pub(crate) folders: Vec<Arc<Field>>,
    partitions: Vec<Partition>,
    /// Every column that rows must have, as it is stored.
    stored: Vec<Arc<Field>>,
}

/// The columns of a table of files that is fed with rows of `schema`: of its files, then of its
/// folders.
///
/// # Errors
///
/// `Invalid` when a column cannot be held by `format`, or a folder not be named by its column.
pub fn columns(schema: &Schema, format: Format, partitions: &[Partition]) -> Result<SchemaRef> {
    Ok(Layout::new(schema, format, partitions)?.table())
}

/// Rows of one folder.
pub(crate) struct Folder {
    /// A value for each column of folders; none for a row without one.
    pub(crate) values: Vec<Option<String>>,
    pub(crate) rows: RecordBatch,
}

impl Layout {
    /// Takes over the columns of rows.
    ///
    /// # Errors
    ///
    /// `Invalid` when a column cannot be held by `format`, or a folder not be named by its column.
    pub(crate) fn new(schema: &Schema, format: Format, partitions: &[Partition]) -> Result<Self> {
        let mut stored = Vec::new();
        for field in schema.fields() {
            let field = storable_field(field)?;
            let why = format.refuses(field.name(), field.data_type());
            if let Some(why) = why.filter(|_| !is_hidden(field.name())) {
                let (name, data_type) = (field.name(), field.data_type());
                return Err(Error::invalid(format!(
                    "a table of {} files cannot hold column `{name}` of type {data_type}",
                    format.name()
                ))
                .with_detail(format!("In short: {why}.")));
            }
            stored.push(field);
        }
        let mut folders = Vec::new();
        for partition in partitions {
            folders.push(folder_column(&stored, partition)?);
        }
        let is_left_out = |name: &str| {
            folders.iter().any(|folder: &Arc<Field>| folder.name() == name)
                || (is_hidden(name) && !format.keeps_hidden())
        };
        let file: Vec<Arc<Field>> =
            stored.iter().filter(|field| !is_left_out(field.name())).cloned().collect();
        if file.is_empty() {
            return Err(Error::invalid("every column of the table names folders, none is left"));
        }
        let file = Arc::new(Schema::new(file));
        Ok(Self { file, folders, partitions: partitions.to_vec(), stored })
    }

    /// Every column: of the files, then of the folders.
    pub(crate) fn table(&self) -> SchemaRef {
        let fields = self.file.fields().iter().chain(&self.folders);
        Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
    }

    /// Every column as `name type`, to be compared with those of another time.
    pub(crate) fn described(&self) -> Vec<String> {
        let files = self.file.fields().iter();
        let files = files.map(|field| format!("{} {}", field.name(), field.data_type()));
        let folders = self.folders.iter();
        let folders =
            folders.map(|field| format!("{} {} in folders", field.name(), field.data_type()));
        files.chain(folders).collect()
    }

    /// Which of the folders says a day.
    pub(crate) fn day_folder(&self) -> Option<usize> {
        self.partitions.iter().position(|partition| matches!(partition.by, By::Day(_)))
    }

    /// Splits rows by their folders, each part in the order given and in the shape of a file.
    pub(crate) fn split(&self, rows: &RecordBatch) -> Result<Vec<Folder>> {
        let rows = self.conform(rows)?;
        if self.partitions.is_empty() {
            return Ok(vec![Folder { values: Vec::new(), rows: self.of_file(&rows)? }]);
        }
        let values: Vec<Vec<Option<String>>> =
            self.partitions.iter().map(|by| values(&rows, by)).collect::<Result<_>>()?;
        let mut parts: BTreeMap<Vec<Option<&str>>, Vec<u32>> = BTreeMap::new();
        for (index, row) in (0..).zip(0..rows.num_rows()) {
            let of_row = values.iter().map(|column| column[row].as_deref()).collect();
            parts.entry(of_row).or_default().push(index);
        }
        let file = self.of_file(&rows)?;
        let take = |(values, indices): (Vec<Option<&str>>, Vec<u32>)| {
            let part = take_record_batch(&file, &UInt32Array::from(indices));
            let rows = part.map_err(|error| unfit("rows cannot be split", error))?;
            Ok(Folder { values: values.iter().map(|it| it.map(str::to_owned)).collect(), rows })
        };
        parts.into_iter().map(take).collect()
    }

    /// The folder of these values: empty, or ending with `/`.
    pub(crate) fn folder(&self, values: &[Option<String>]) -> String {
        let mut path = String::new();
        for (folder, value) in self.folders.iter().zip(values) {
            let value = value.as_deref().filter(|value| !value.is_empty());
            let value = value.map_or_else(|| NONE.to_owned(), escaped);
            let _ = write!(path, "{}={value}/", folder.name());
        }
        path
    }

    /// The values that the folder of a file stands for; none when it is not a folder of this table.
    pub(crate) fn values_of(&self, path: &str) -> Option<Vec<Option<String>>> {
        let mut names: Vec<&str> = path.split('/').collect();
        names.pop();
        if names.len() != self.folders.len() {
            return None;
        }
        let value = |(name, folder): (&str, &Arc<Field>)| {
            let value = name.strip_prefix(folder.name().as_str())?.strip_prefix('=')?;
            Some((value != NONE).then(|| unescaped(value)))
        };
        names.into_iter().zip(&self.folders).map(value).collect()
    }

    /// Values of folders as their columns have them.
    pub(crate) fn scalars(&self, values: &[Option<String>]) -> Result<Vec<ScalarValue>> {
        let scalar = |(folder, value): (&Arc<Field>, &Option<String>)| {
            let scalar = match value {
                Some(value) => ScalarValue::try_from_string(value.clone(), folder.data_type()),
                None => ScalarValue::try_from(folder.data_type()),
            };
            scalar.map_err(|error| {
                let value = value.as_deref().unwrap_or("null");
                let message = format!("a folder is named `{}={value}`", folder.name());
                Error::invalid(message).with_source(error)
            })
        };
        self.folders.iter().zip(values).map(scalar).collect()
    }

    /// Brings rows to the columns and types that are stored, by name.
    fn conform(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let known = |name: &str| self.stored.iter().any(|field| field.name() == name);
        if let Some(stray) = rows.schema_ref().fields().iter().find(|field| !known(field.name())) {
            return Err(Error::internal(format!("the table has no column `{}`", stray.name())));
        }
        let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
            Some(column) => cast(column, field),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        };
        let columns: Vec<ArrayRef> = self.stored.iter().map(column).collect::<Result<_>>()?;
        RecordBatch::try_new(Arc::new(Schema::new(self.stored.clone())), columns)
            .map_err(|error| unfit("rows do not fit the table", error))
    }

    fn of_file(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.file.fields().iter();
        let columns: Vec<ArrayRef> =
            columns.filter_map(|field| rows.column_by_name(field.name())).cloned().collect();
        RecordBatch::try_new(self.file.clone(), columns)
            .map_err(|error| unfit("rows do not fit the table", error))
    }
}

/// Whether it is one of the columns that a source adds to its own (S1).
fn is_hidden(name: &str) -> bool {
    name == meta::TOPIC || meta::ALL.contains(&name)
}

fn unfit(message: &str, error: arrow::error::ArrowError) -> Error {
    Error::internal(message).with_source(error)
}

/// The column that names folders.
fn folder_column(stored: &[Arc<Field>], partition: &Partition) -> Result<Arc<Field>> {
    let Partition { column, by } = partition;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if column.is_empty() || !column.bytes().all(is_name) {
        return Err(Error::invalid(format!("folders cannot be named by column `{column}`"))
            .with_detail("It takes letters, digits and `_` only."));
    }
    let find = |name: &str| stored.iter().find(|field| field.name() == name);
    let missing = |name: &str| Error::invalid(format!("there is no column `{name}` to split by"));
    match by {
        By::Day(source) => {
            let told = find(source).ok_or_else(|| missing(source))?;
            if !tells_day(told.data_type()) {
                let of_type = told.data_type();
                let message = format!("column `{source}` of type {of_type} does not tell a day");
                return Err(Error::invalid(message));
            }
            if find(column).is_some() {
                let message = format!("the column `{column}` is there already");
                return Err(Error::invalid(message).with_hint("Give the day column another name."));
            }
            Ok(Arc::new(Field::new(column, DataType::Date32, true)))
        }
        By::Itself => {
            let field = find(column).ok_or_else(|| missing(column))?;
            if !names_folders(field.data_type()) {
                let message =
                    format!("folders cannot be named by `{column}` of type {}", field.data_type());
                return Err(
                    Error::invalid(message).with_detail("Text, boolean, int, bigint and date can.")
                );
            }
            Ok(Arc::new(Field::new(column, field.data_type().clone(), true)))
        }
    }
}

/// Whether values of this type can be names of folders.
pub(crate) fn names_folders(data_type: &DataType) -> bool {
    use DataType::{Boolean, Date32, Int8, Int16, Int32, Int64, Utf8};
    matches!(data_type, Utf8 | Boolean | Int8 | Int16 | Int32 | Int64 | Date32)
}

/// The folder value of each row.
fn values(rows: &RecordBatch, partition: &Partition) -> Result<Vec<Option<String>>> {
    let name = match &partition.by {
        By::Day(source) => source,
        By::Itself => &partition.column,
    };
    let column = rows
        .column_by_name(name)
        .ok_or_else(|| Error::internal(format!("the rows lack column `{name}`")))?;
    if matches!(partition.by, By::Day(_)) {
        return Ok(days(column).map(|day| day.map(|day| day.to_string())).collect());
    }
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(column, &options)
        .map_err(|error| unfit("a column cannot name folders", error))?;
    let value = |row| column.is_valid(row).then(|| formatter.value(row).to_string());
    Ok((0..column.len()).map(value).collect())
}

/// A value as the name of a folder: what Hive escapes, and what is not ASCII, byte by byte.
fn escaped(value: &str) -> String {
    let mut name = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.+@ ".contains(&byte) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name
}

fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten();
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout() -> Layout {
        let fields = vec![
            Field::new("price", DataType::Int64, false),
            Field::new("symbol", DataType::Utf8, true),
        ];
        let by = [Partition { column: "symbol".to_owned(), by: By::Itself }];
        Layout::new(&Schema::new(fields), Format::Parquet, &by).expect("a layout")
    }

    #[test]
    fn folders_are_named_as_hive_names_them() {
        let folder = |value: Option<&str>| layout().folder(&[value.map(str::to_owned)]);
        assert_eq!(folder(Some("BINANCE:BTCUSDT")), "symbol=BINANCE%3ABTCUSDT/");
        assert_eq!(folder(None), "symbol=__HIVE_DEFAULT_PARTITION__/");
        assert_eq!(folder(Some("")), "symbol=__HIVE_DEFAULT_PARTITION__/");
        assert_eq!(layout().values_of("a.parquet"), None);
        assert_eq!(layout().values_of("other=x/a.parquet"), None);
    }

    proptest! {
        #[test]
        fn a_folder_is_read_as_it_was_named(value in ".{1,20}") {
            prop_assume!(value != NONE);
            let values = vec![Some(value)];
            let path = format!("{}a.parquet", layout().folder(&values));
            prop_assert!(object_store::path::Path::parse(&path).is_ok(), "{}", path);
            prop_assert_eq!(layout().values_of(&path), Some(values));
        }

        #[test]
        fn foreign_names_never_panic(name in ".*") {
            layout().values_of(&name);
            unescaped(&name);
        }
    }
}
