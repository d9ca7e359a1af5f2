//! Which field of a record each column is.

use thalweg_core::problem::nearest;
use thalweg_core::schema::Column;
use thalweg_core::{Error, Result};

use super::records::Record;

/// The fields of a kind of record.
pub(super) struct Fields {
    /// The field of each column, in order; none: the column is NULL.
    pub(super) columns: Vec<Option<usize>>,
    expected: Expected,
}

/// How many fields a record has.
enum Expected {
    /// As many as the header.
    Exactly(usize),
    /// As many as the columns reach; there may be others behind.
    AtLeast(usize),
}

impl Fields {
    /// Whether a record with so many fields can be read; else what is wrong with it.
    pub(super) fn check(&self, found: usize) -> Result<(), String> {
        match self.expected {
            Expected::Exactly(count) if found != count => {
                Err(format!("{found} fields under a header of {count}"))
            }
            Expected::AtLeast(count) if found < count => {
                Err(format!("{found} fields where the columns need {count}"))
            }
            _ => Ok(()),
        }
    }
}

/// Finds the columns by the header's texts, or says why they are not there.
pub(super) fn by_header(columns: &[Column], header: &Record<'_>) -> Result<Fields, String> {
    let find = |column: &Column| {
        let wanted = column.path();
        let mut found = (0..header.len()).filter(|field| header.field(*field) == wanted);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(format!("header: `{wanted}` stands twice")),
            (None, _) if !column.nullable => Err(match nearest(wanted, header.fields()) {
                Some(near) => format!("header: no `{wanted}`, but `{near}`"),
                None => format!("header: no `{wanted}`"),
            }),
            (field, _) => Ok(field),
        }
    };
    let fields: Vec<_> = columns.iter().map(find).collect::<Result<_, _>>()?;
    if !fields.is_empty() && fields.iter().all(Option::is_none) {
        return Err("header: none of the columns".to_owned());
    }
    Ok(Fields { columns: fields, expected: Expected::Exactly(header.len()) })
}

/// Takes the columns by position.
///
/// # Errors
///
/// `Invalid` when a `select` is not a position such as `[3]`.
pub(super) fn by_position(columns: &[Column]) -> Result<Fields> {
    let position = |(index, column): (usize, &Column)| {
        let Some(select) = &column.select else { return Ok(Some(index)) };
        let number = select.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        number.and_then(|number| number.parse().ok()).map(Some).ok_or_else(|| {
            Error::invalid(format!("`{select}` is not a position, and there is no header"))
                .with_hint("Without a header a column is selected like `[3]`, counted from 0.")
        })
    };
    let fields = columns.iter().enumerate().map(position).collect::<Result<Vec<_>>>()?;
    let reach = fields.iter().flatten().max().map_or(0, |last| last.saturating_add(1));
    Ok(Fields { columns: fields, expected: Expected::AtLeast(reach) })
}
