//! The table of a page that has the headers, and its cells under them.
//!
//! A table is bound by the texts of its header cells, never by classes, which change with each
//! release of a site. Sites show copies of a header without rows (sticky ones): those are passed
//! over. Two tables with rows under the same headers are one too many. Cells that span columns or
//! rows stand under each header they reach.

use scraper::{ElementRef, Html, Selector};
use thalweg_core::problem::nearest;

use super::EMPTY;
use super::clean::plain;
use super::text::visible;

/// Most columns a cell may span, and a table may have.
const COLUMNS_MAX: usize = 1_000;
/// Longest list of headers that a message repeats.
const SHOWN_HEADERS: usize = 12;

/// A row, its cells as far as it has any.
pub(super) struct Row<'p> {
    /// The cell under each header; none where the row does not reach.
    pub(super) cells: Vec<Option<ElementRef<'p>>>,
}

impl Row<'_> {
    /// Why the row holds no data, if it does not: such rows are filled in later, by a script.
    pub(super) fn placeholder(&self) -> Option<String> {
        let there = self.cells.iter().flatten().count();
        if there != self.cells.len() {
            return Some(format!("{there} cells under a header of {}", self.cells.len()));
        }
        let is_empty = self.cells.iter().flatten().all(|cell| visible(*cell).is_empty());
        is_empty.then(|| EMPTY.to_owned())
    }
}

/// A table with rows under a header.
pub(super) struct Table<'p> {
    /// The texts of the header, folded to compare.
    header: Vec<String>,
    pub(super) rows: Vec<Row<'p>>,
}

impl<'p> Table<'p> {
    /// The one table of the page that has all of `headers` and rows under them; or how the page
    /// differs from that.
    pub(super) fn find(
        page: &'p Html,
        tables: &Selector,
        headers: &[String],
    ) -> Result<Self, String> {
        let wanted: Vec<String> = headers.iter().map(|header| folded(header)).collect();
        let (mut found, mut without_rows, mut seen) = (Vec::new(), 0, Vec::new());
        for element in page.select(tables) {
            let grid = Grid::of(element)?;
            let has_all = |row: &&Vec<String>| wanted.iter().all(|header| row.contains(header));
            match grid.headers.iter().find(has_all) {
                None => seen.extend(grid.headers.into_iter().flatten()),
                Some(_) if grid.rows.is_empty() => without_rows += 1,
                Some(header) => found.push(Self { header: header.clone(), rows: grid.rows }),
            }
        }
        match (found.pop(), found.len()) {
            (Some(mut table), 0) => {
                let width = table.header.len();
                for row in &mut table.rows {
                    row.cells.resize(width.max(row.cells.len()), None);
                }
                Ok(table)
            }
            (Some(_), others) => Err(format!("{} tables have the headers", others + 1)),
            (None, _) if without_rows > 0 => Err("the table has no rows".to_owned()),
            (None, _) => Err(missing(headers, &wanted, &seen)),
        }
    }

    /// Which cell of a row stands under a header; none when there is no such header.
    pub(super) fn position(&self, header: &str) -> Result<Option<usize>, String> {
        let wanted = folded(header);
        let mut found = (0..self.header.len()).filter(|at| self.header[*at] == wanted);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(format!("the header `{header}` stands twice")),
            (at, _) => Ok(at),
        }
    }
}

/// What is not there, and what is near it.
fn missing(headers: &[String], wanted: &[String], seen: &[String]) -> String {
    let absent = wanted.iter().position(|header| !seen.contains(header));
    let Some(absent) = absent else { return "no table has all the headers".to_owned() };
    let name = &headers[absent];
    if let Some(near) = nearest(&wanted[absent], seen.iter().map(String::as_str)) {
        return format!("no table has a header `{name}`, but `{near}`");
    }
    let mut shown: Vec<&str> =
        seen.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
    shown.truncate(SHOWN_HEADERS);
    match shown.as_slice() {
        [] => format!("no table has a header `{name}`; the page has no table"),
        shown => format!("no table has a header `{name}`; there are {}", shown.join(", ")),
    }
}

/// A header's text as it is compared: letters small, arrows for sorting left out.
fn folded(text: &str) -> String {
    let is_arrow = |c: char| matches!(c, '▲' | '▼' | '△' | '▽' | '↑' | '↓' | '↕' | '⇅') || c == ' ';
    plain(text).replace('\u{a0}', " ").trim_matches(is_arrow).to_lowercase()
}

/// A table as a reader sees it.
pub(crate) struct ShownTable {
    /// The texts of its last header.
    pub(crate) headers: Vec<String>,
    /// The texts of its rows; none where a row does not reach.
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// Every table of a page that has a header.
pub(crate) fn shown_tables(page: &Html) -> Vec<ShownTable> {
    let Ok(tables) = Selector::parse("table") else { return Vec::new() };
    let grids = page.select(&tables).filter_map(|element| Grid::of(element).ok());
    let shown = |grid: Grid<'_>| {
        let rows = grid.rows.iter().filter(|row| row.placeholder().is_none());
        let texts = |row: &Row<'_>| row.cells.iter().map(|cell| cell.map(visible)).collect();
        Some(ShownTable { headers: grid.shown.last()?.clone(), rows: rows.map(texts).collect() })
    };
    grids.filter_map(shown).collect()
}

/// The cells of a table where they stand.
struct Grid<'p> {
    headers: Vec<Vec<String>>,
    // The same as they are written.
    shown: Vec<Vec<String>>,
    rows: Vec<Row<'p>>,
}

impl<'p> Grid<'p> {
    fn of(table: ElementRef<'p>) -> Result<Self, String> {
        let mut grid = Self { headers: Vec::new(), shown: Vec::new(), rows: Vec::new() };
        let mut spans = Spans::default();
        let mut has_head = false;
        for part in table.child_elements() {
            let name = part.value().name();
            let rows: Vec<ElementRef<'p>> = match name {
                "thead" | "tbody" => {
                    spans = Spans::default();
                    part.child_elements().filter(|row| row.value().name() == "tr").collect()
                }
                "tr" => vec![part],
                // Sums and the like.
                _ => continue,
            };
            has_head |= name == "thead";
            for row in rows {
                let cells = spans.row(row)?;
                let is_header =
                    name == "thead" || row.child_elements().all(|cell| cell.value().name() == "th");
                // Without any mark of its own the first row is the header.
                let is_first = !has_head && grid.headers.is_empty() && grid.rows.is_empty();
                if is_header || is_first {
                    let text =
                        |cell: &Option<ElementRef<'p>>| cell.map(visible).unwrap_or_default();
                    let shown: Vec<String> = cells.iter().map(text).collect();
                    grid.headers.push(shown.iter().map(|text| folded(text)).collect());
                    grid.shown.push(shown);
                } else {
                    grid.rows.push(Row { cells });
                }
            }
        }
        Ok(grid)
    }
}

/// Cells that reach into rows to come: by column, the cell and how many rows are left.
#[derive(Default)]
struct Spans<'p> {
    columns: Vec<Option<(ElementRef<'p>, usize)>>,
}

impl<'p> Spans<'p> {
    fn row(&mut self, row: ElementRef<'p>) -> Result<Vec<Option<ElementRef<'p>>>, String> {
        let mut cells: Vec<Option<ElementRef<'p>>> = Vec::new();
        for cell in row.child_elements().filter(|it| matches!(it.value().name(), "td" | "th")) {
            self.reach_down(&mut cells);
            let span = |name| cell.attr(name).and_then(|span| span.trim().parse().ok());
            let width = span("colspan").unwrap_or(1_usize).clamp(1, COLUMNS_MAX);
            let height = span("rowspan").unwrap_or(1_usize);
            for _ in 0..width {
                let at = cells.len();
                if at == COLUMNS_MAX {
                    return Err(format!("a table has more than {COLUMNS_MAX} columns"));
                }
                if self.columns.len() <= at {
                    self.columns.resize(at + 1, None);
                }
                self.columns[at] = (height > 1).then(|| (cell, height - 1));
                cells.push(Some(cell));
            }
        }
        self.reach_down(&mut cells);
        Ok(cells)
    }

    /// Adds the cells that reach here from rows above.
    fn reach_down(&mut self, cells: &mut Vec<Option<ElementRef<'p>>>) {
        while let Some(Some((cell, left))) = self.columns.get(cells.len()).copied() {
            self.columns[cells.len()] = (left > 1).then(|| (cell, left - 1));
            cells.push(Some(cell));
        }
    }
}
