//! Dashboards: panels, each with the SQL it shows.
//!
//! A panel is a query or a shorthand for one. The SQL of the shorthands, `[…]` where the key is
//! given; `FROM r` is the relation as it is written, in parentheses when it is a query:
//!
//! | panel | SQL |
//! |---|---|
//! | `kpi = q` | `q` |
//! | `ranking = r` | `SELECT * FROM r ORDER BY order_by NULLS LAST LIMIT limit` |
//! | `table = r` | `SELECT * FROM r [ORDER BY order_by] LIMIT limit` |
//! | `candles = r` with `price` | `SELECT [by,] window_start, first_value(price ORDER BY time) AS open, max(price) AS high, min(price) AS low, last_value(price ORDER BY time) AS close [, sum(volume) AS volume] FROM tumble(r, time, interval 'bucket') [WHERE by = $by] GROUP BY [by,] window_start ORDER BY window_start DESC LIMIT points` |
//! | `candles = r` without | `SELECT [by,] time AS window_start, open, high, low, close [, volume] FROM r [WHERE by = $by] ORDER BY window_start DESC LIMIT points` |
//! | `line = r`, `bars = r` | `SELECT x AS x, y AS y [, color AS color] FROM r [WHERE by = $by] ORDER BY 1 DESC LIMIT points` |
//! | `pivot = r` | `SELECT rows AS pivot_row, columns AS pivot_column, values AS pivot_value FROM r GROUP BY 1, 2 ORDER BY 1, 2` |
//! | `band = m` | `SELECT [by,] for_time, prediction, lower, upper FROM m [WHERE by = $by] ORDER BY for_time DESC LIMIT points` |
//!
//! `by = "$symbol"` means the column `symbol` and the filter `symbol`; `by = "symbol"` only the
//! column. A source's `time` is its event time.
//!
//! Not here: running the SQL and drawing it.

mod panel_sql;
mod relation;

use serde_json::{Map, Value as Json, json};
use thalweg_core::problem::nearest;

use self::panel_sql::Build;
pub(crate) use self::relation::{is_relation, relation_name};
use super::{Model, Source};
use crate::codes::{self, Telling};
use crate::entry::{Entry, from_text};
use crate::spanned::Spanned;
use crate::sql_text::SqlText;

/// Columns of the grid.
const GRID_COLUMNS: usize = 12;

/// A page of panels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dashboard {
    /// Its name.
    pub name: Spanned<String>,
    /// What stands above it. Default its name.
    pub title: String,
    /// Choices the reader makes.
    pub filters: Vec<Filter>,
    /// Panels, row by row.
    pub rows: Vec<Vec<Panel>>,
}

/// A choice the reader makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The parameter, without `$`.
    pub name: Spanned<String>,
    /// What stands before it. Default its name.
    pub label: String,
    /// A query whose first column lists the choices.
    pub options: SqlText,
    /// The choice made at first; none for NULL.
    pub default: Option<String>,
}

/// One panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel {
    /// Row and column in the file, from 1, such as `2-1`; unique within the dashboard.
    pub id: String,
    /// How it is drawn.
    pub kind: PanelKind,
    /// What stands above it.
    pub label: String,
    /// What it shows.
    pub sql: SqlText,
    /// Columns that tell its rows apart; empty when that takes knowing the SQL.
    pub key: Vec<String>,
    /// Filters its SQL reads, without `$`.
    pub params: Vec<String>,
    /// The filter that a click on a row sets.
    pub sets: Option<String>,
    /// Columns of the twelve of the grid.
    pub width: usize,
}

/// How a panel is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PanelKind {
    /// The first column of the first row.
    Kpi {
        /// How it is written. Default a number.
        format: KpiFormat,
    },
    /// Rows in order.
    Ranking {
        /// The column whose cells flash.
        flash: Option<String>,
        /// The column whose recent values are a small line.
        spark: Option<String>,
    },
    /// Rows as they are.
    Table {
        /// The column whose cells flash.
        flash: Option<String>,
    },
    /// Columns `window_start`, `open`, `high`, `low`, `close`, perhaps `volume` and one of series.
    Candles {
        /// The column that tells series apart.
        by: Option<String>,
        /// Predictions drawn over it.
        band: Option<Band>,
    },
    /// Columns `x`, `y`, perhaps `color`.
    Line {
        /// Predictions drawn over it.
        band: Option<Band>,
    },
    /// Columns `x`, `y`, perhaps `color`.
    Bars,
    /// Columns `pivot_row`, `pivot_column`, `pivot_value`.
    Pivot,
}

/// Predictions of a model, with their interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// The model.
    pub model: Spanned<String>,
    /// Columns `for_time`, `prediction`, `lower`, `upper`, perhaps one of series.
    pub sql: SqlText,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KpiFormat {
    /// With separators.
    Number,
    /// With a percent sign.
    Percent,
    /// As bytes.
    Bytes,
    /// How long ago an instant was.
    Age,
    /// An instant.
    Time,
}

impl KpiFormat {
    /// Its name in the project file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Percent => "percent",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Time => "time",
        }
    }
}

from_text! {
    KpiFormat: |text| {
        let all = [Self::Number, Self::Percent, Self::Bytes, Self::Age, Self::Time];
        all.into_iter().find(|format| format.name() == text)
    };
}

impl PanelKind {
    /// Its key in the project file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kpi { .. } => "kpi",
            Self::Ranking { .. } => "ranking",
            Self::Table { .. } => "table",
            Self::Candles { .. } => "candles",
            Self::Line { .. } => "line",
            Self::Bars => "bars",
            Self::Pivot => "pivot",
        }
    }
}

impl Panel {
    /// What drawing it takes beside its SQL, by the names of the project file; `band` is an object
    /// of `model` and `sql`.
    pub fn options(&self) -> Map<String, Json> {
        let band = |band: &Option<Band>| {
            band.as_ref().map(|band| json!({ "model": band.model.value, "sql": band.sql.as_str() }))
        };
        let options = match &self.kind {
            PanelKind::Kpi { format } => vec![("format", Some(json!(format.name())))],
            PanelKind::Ranking { flash, spark } => {
                vec![
                    ("flash", flash.clone().map(Json::from)),
                    ("spark", spark.clone().map(Json::from)),
                ]
            }
            PanelKind::Table { flash } => vec![("flash", flash.clone().map(Json::from))],
            PanelKind::Candles { by, band: predicted } => {
                vec![("by", by.clone().map(Json::from)), ("band", band(predicted))]
            }
            PanelKind::Line { band: predicted } => vec![("band", band(predicted))],
            PanelKind::Bars | PanelKind::Pivot => Vec::new(),
        };
        let given = options.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        given.collect()
    }

    /// Its SQL, and that of its band.
    pub fn queries(&self) -> impl Iterator<Item = &SqlText> {
        let band = match &self.kind {
            PanelKind::Candles { band, .. } | PanelKind::Line { band } => band.as_ref(),
            _ => None,
        };
        std::iter::once(&self.sql).chain(band.map(|band| &band.sql))
    }
}

/// What panels refer to.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) sources: &'a [Source],
    pub(crate) models: &'a [Model],
}

pub(crate) fn lower(
    name: &Spanned<String>,
    entry: Entry<'_>,
    known: Known<'_>,
) -> Option<Dashboard> {
    let filters: Vec<Filter> =
        entry.child("filters").items().into_iter().filter_map(lower_filter).collect();
    let rows = entry.child("rows").items().into_iter().enumerate().map(|(row, entry)| {
        let panels = entry.items();
        let widths = widths(&panels);
        let panels = panels.into_iter().zip(widths).enumerate();
        panels
            .filter_map(|(column, (panel, width))| {
                let id = format!("{}-{}", row + 1, column + 1);
                lower_panel(panel, id, width, &filters, known)
            })
            .collect()
    });
    let rows = rows.collect();
    let title = entry.get("title").unwrap_or_else(|| name.value.clone());
    Some(Dashboard { name: name.clone(), title, filters, rows })
}

fn lower_filter(entry: Entry<'_>) -> Option<Filter> {
    let name: Option<Spanned<String>> = entry.spanned("name");
    let (label, default) = (entry.get("label"), entry.get("default"));
    let options = entry.sql("options");
    let name = name?;
    Some(Filter {
        label: label.unwrap_or_else(|| name.value.clone()),
        name,
        options: options?,
        default,
    })
}

/// Widths of the panels of a row: those given, the rest of the grid shared evenly.
fn widths(panels: &[Entry<'_>]) -> Vec<usize> {
    let given: Vec<Option<usize>> = panels.iter().map(|panel| panel.get("width")).collect();
    let taken: usize = given.iter().flatten().sum();
    let open = given.iter().filter(|width| width.is_none()).count();
    if let Some(panel) = panels.first()
        && taken + open > GRID_COLUMNS
    {
        let message = format!(
            "the panels of this row take {} columns of the grid, which has {GRID_COLUMNS}",
            taken + open
        );
        let problem = codes::problem(codes::DOES_NOT_FIT, message, panel.place());
        panel.report(problem.hint("Give them less width, or put some into a row of their own."));
    }
    let left = GRID_COLUMNS.saturating_sub(taken);
    let mut shared = 0;
    let share = |width: Option<usize>| {
        width.unwrap_or_else(|| {
            shared += 1;
            (left / open + usize::from(shared <= left % open)).max(1)
        })
    };
    given.into_iter().map(share).collect()
}

fn lower_panel(
    entry: Entry<'_>,
    id: String,
    width: usize,
    filters: &[Filter],
    known: Known<'_>,
) -> Option<Panel> {
    let built = Build::read(entry, known).panel();
    let label: Option<String> = entry.get("label");
    let sets: Option<Spanned<String>> = entry.spanned("sets");
    let mut all_there = true;
    let mut refuse = |name: &str, place| {
        if filters.iter().any(|filter| filter.name.value == name) {
            return;
        }
        all_there = false;
        let message = format!("no filter of this dashboard is named `{name}`");
        let problem = codes::problem(codes::NO_SUCH_FILTER, message, place);
        let near = nearest(name, filters.iter().map(|filter| filter.name.as_str()));
        entry.report(match near.and_then(|near| filters.iter().find(|f| f.name.value == near)) {
            Some(filter) => problem
                .label(format!("did you mean `{}`?", filter.name))
                .related(format!("`{}` is declared here", filter.name), filter.name.place.clone()),
            None => problem.hint("Filters are declared in `filters` of the dashboard."),
        });
    };
    if let Some(sets) = &sets {
        refuse(sets, sets.place.clone());
    }
    let built = built?;
    let mut panel = Panel {
        id,
        kind: built.kind,
        label: label.unwrap_or(built.label),
        sql: built.sql,
        key: built.key,
        params: Vec::new(),
        sets: sets.map(|sets| sets.value),
        width,
    };
    let mut params = Vec::new();
    for sql in panel.queries() {
        for range in relation::parameters(sql.as_str()) {
            let name = &sql.as_str()[range.start + 1..range.end];
            // The band reads what its panel reads; once is enough to say.
            if !params.iter().any(|known| known == name) {
                refuse(name, sql.place(range.clone()));
                params.push(name.to_owned());
            }
        }
    }
    panel.params = params;
    all_there.then_some(panel)
}

#[cfg(test)]
mod tests;
