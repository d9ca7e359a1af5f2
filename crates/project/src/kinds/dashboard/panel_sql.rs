//! The SQL of a panel's shorthand. The table of the parent module is what is made here.

use std::time::Duration;

use super::relation::{Relation, relation};
use super::{Band, Known, KpiFormat, PanelKind};
use crate::codes::{self, Telling};
use crate::entry::Entry;
use crate::spanned::Spanned;
use crate::sql_text::{SqlBuilder, SqlText};

/// A panel but for what all panels have.
pub(super) struct Built {
    pub(super) kind: PanelKind,
    pub(super) sql: SqlText,
    pub(super) key: Vec<String>,
    pub(super) label: String,
}

/// Every key of a panel, as far as its SQL goes.
pub(super) struct Build<'a> {
    entry: Entry<'a>,
    known: Known<'a>,
    kpi: Option<SqlText>,
    format: KpiFormat,
    ranking: Option<SqlText>,
    table: Option<SqlText>,
    candles: Option<SqlText>,
    line: Option<SqlText>,
    bars: Option<SqlText>,
    pivot: Option<SqlText>,
    order_by: Option<SqlText>,
    limit: usize,
    flash: Option<String>,
    spark: Option<String>,
    price: Option<Spanned<String>>,
    volume: Option<Spanned<String>>,
    bucket: Option<Duration>,
    time: Option<Spanned<String>>,
    x: Option<SqlText>,
    y: Option<SqlText>,
    color: Option<SqlText>,
    points: usize,
    by: Option<By>,
    band: Option<Spanned<String>>,
    rows: Option<SqlText>,
    columns: Option<SqlText>,
    values: Option<SqlText>,
}

/// What tells series apart.
struct By {
    column: Spanned<String>,
    /// Whether the filter of that name chooses one.
    is_filtered: bool,
}

impl<'a> Build<'a> {
    pub(super) fn read(entry: Entry<'a>, known: Known<'a>) -> Self {
        Self {
            entry,
            known,
            kpi: entry.sql("kpi"),
            format: entry.value("format"),
            ranking: entry.sql("ranking"),
            table: entry.sql("table"),
            candles: entry.sql("candles"),
            line: entry.sql("line"),
            bars: entry.sql("bars"),
            pivot: entry.sql("pivot"),
            order_by: entry.sql("order_by"),
            limit: entry.value("limit"),
            flash: entry.get("flash"),
            spark: entry.get("spark"),
            price: entry.spanned("price"),
            volume: entry.spanned("volume"),
            bucket: entry.get("bucket"),
            time: entry.spanned("time"),
            x: entry.sql("x"),
            y: entry.sql("y"),
            color: entry.sql("color"),
            points: entry.value("points"),
            by: entry.spanned("by").map(By::of),
            band: entry.spanned("band"),
            rows: entry.sql("rows"),
            columns: entry.sql("columns"),
            values: entry.sql("values"),
        }
    }

    /// The panel; none when a problem was reported of it.
    pub(super) fn panel(self) -> Option<Built> {
        if let Some(sql) = &self.kpi {
            let kind = PanelKind::Kpi { format: self.format };
            return Some(Built { kind, sql: sql.clone(), key: Vec::new(), label: String::new() });
        }
        if let Some(from) = &self.ranking {
            let kind = PanelKind::Ranking { flash: self.flash.clone(), spark: self.spark.clone() };
            return self.list(from, kind);
        }
        if let Some(from) = &self.table {
            return self.list(from, PanelKind::Table { flash: self.flash.clone() });
        }
        if let Some(from) = &self.candles {
            return self.candles(from);
        }
        if let Some(from) = &self.line {
            return self.plot(from, PanelKind::Line { band: self.band() });
        }
        if let Some(from) = &self.bars {
            return self.plot(from, PanelKind::Bars);
        }
        self.pivot()
    }

    fn list(&self, from: &SqlText, kind: PanelKind) -> Option<Built> {
        let relation = relation(from.as_str())?;
        let mut sql = SqlBuilder::new(from.whole_place().clone());
        sql.made("SELECT * FROM ");
        push_from(&mut sql, from, relation);
        if let Some(order_by) = &self.order_by {
            sql.made(" ORDER BY ").text(order_by);
            if is_one_bare_order(order_by.as_str()) {
                sql.made(" NULLS LAST");
            }
        }
        sql.made(&format!(" LIMIT {}", self.limit));
        Some(Built { kind, sql: sql.finish(), key: self.key(relation), label: label(relation) })
    }

    fn candles(&self, from: &SqlText) -> Option<Built> {
        let relation = relation(from.as_str())?;
        let mut sql = SqlBuilder::new(from.whole_place().clone());
        sql.made("SELECT ");
        self.push_by_column(&mut sql);
        if let Some(price) = &self.price {
            self.push_candles_of_rows(&mut sql, from, relation, price)?;
        } else {
            let time = self.time.as_ref();
            push_column(&mut sql, time, "window_start");
            sql.made(" AS window_start, open, high, low, close");
            if let Some(volume) = &self.volume {
                sql.made(", ");
                push_column(&mut sql, Some(volume), "volume");
                sql.made(" AS volume");
            }
            sql.made(" FROM ");
            push_from(&mut sql, from, relation);
            self.push_where(&mut sql);
        }
        sql.made(&format!(" ORDER BY window_start DESC LIMIT {}", self.points));
        let by = self.by.as_ref().map(|by| by.column.value.clone());
        let key = by.iter().cloned().chain(["window_start".to_owned()]).collect();
        let kind = PanelKind::Candles { by, band: self.band() };
        Some(Built { kind, sql: sql.finish(), key, label: label(relation) })
    }

    fn push_candles_of_rows(
        &self,
        sql: &mut SqlBuilder,
        from: &SqlText,
        relation: Relation<'_>,
        price: &Spanned<String>,
    ) -> Option<()> {
        let Relation::Name(name) = relation else {
            let place = from.whole_place().clone();
            let message = "candles are made from the rows of a source, stream, table or view";
            let problem = codes::problem(codes::DOES_NOT_FIT, message, place);
            self.entry.report(problem.label("a name is needed"));
            return None;
        };
        let bucket = self.bucket?;
        let time = match &self.time {
            Some(time) => quoted(time),
            None => quoted(&self.event_time(name, from)?),
        };
        let price = quoted(price);
        sql.made(&format!(
            "window_start, first_value({price} ORDER BY {time}) AS open, max({price}) AS high, \
             min({price}) AS low, last_value({price} ORDER BY {time}) AS close"
        ));
        if let Some(volume) = &self.volume {
            sql.made(", sum(");
            push_column(sql, Some(volume), "volume");
            sql.made(") AS volume");
        }
        sql.made(" FROM tumble(").text(from);
        sql.made(&format!(", {time}, interval '{}')", interval(bucket)));
        self.push_where(sql);
        sql.made(" GROUP BY ");
        self.push_by_column(sql);
        sql.made("window_start");
        Some(())
    }

    /// The event time of a source; of anything else the file must say it.
    fn event_time(&self, name: &str, from: &SqlText) -> Option<String> {
        if let Some(source) = self.known.sources.iter().find(|source| source.name.value == name) {
            return Some(source.event_time.clone());
        }
        // A source that could not be lowered has been reported.
        let kind = self.entry.lowering.definitions.find(name, &[crate::keys::Kind::Source])?.0;
        if kind != crate::keys::Kind::Source {
            let message = format!("the candles of `{name}` lack `time`");
            let place = from.whole_place().clone();
            let problem = codes::problem(codes::MISSING_KEY, message, place);
            self.entry.report(
                problem
                    .label("add `time = \"…\"`")
                    .hint("Only a source says which column holds its event time."),
            );
        }
        None
    }

    fn plot(&self, from: &SqlText, kind: PanelKind) -> Option<Built> {
        let relation = relation(from.as_str())?;
        let mut sql = SqlBuilder::new(from.whole_place().clone());
        sql.made("SELECT ").text(self.x.as_ref()?).made(" AS x, ").text(self.y.as_ref()?);
        sql.made(" AS y");
        let mut key = vec!["x".to_owned()];
        if let Some(color) = &self.color {
            sql.made(", ").text(color).made(" AS color");
            key.push("color".to_owned());
        } else if let Some(by) = &self.by {
            sql.made(", ");
            push_column(&mut sql, Some(&by.column), "color");
            sql.made(" AS color");
            key.push("color".to_owned());
        }
        sql.made(" FROM ");
        push_from(&mut sql, from, relation);
        self.push_where(&mut sql);
        sql.made(&format!(" ORDER BY 1 DESC LIMIT {}", self.points));
        Some(Built { kind, sql: sql.finish(), key, label: label(relation) })
    }

    fn pivot(&self) -> Option<Built> {
        let from = self.pivot.as_ref()?;
        let relation = relation(from.as_str())?;
        let mut sql = SqlBuilder::new(from.whole_place().clone());
        sql.made("SELECT ").text(self.rows.as_ref()?).made(" AS pivot_row, ");
        sql.text(self.columns.as_ref()?).made(" AS pivot_column, ");
        sql.text(self.values.as_ref()?).made(" AS pivot_value FROM ");
        push_from(&mut sql, from, relation);
        sql.made(" GROUP BY 1, 2 ORDER BY 1, 2");
        let key = vec!["pivot_row".to_owned(), "pivot_column".to_owned()];
        Some(Built { kind: PanelKind::Pivot, sql: sql.finish(), key, label: label(relation) })
    }

    fn band(&self) -> Option<Band> {
        let name = self.band.clone()?;
        let model = self.known.models.iter().find(|model| model.name.value == name.value)?;
        let is_key = |by: &&By| model.key.iter().any(|key| key.value == by.column.value);
        let by = self.by.as_ref().filter(is_key);
        let mut sql = SqlBuilder::new(name.place.clone());
        sql.made("SELECT ");
        if let Some(by) = by {
            push_column(&mut sql, Some(&by.column), "");
            sql.made(", ");
        }
        sql.made("for_time, prediction, lower, upper FROM ").made(&name);
        if by.is_some() {
            self.push_where(&mut sql);
        }
        sql.made(&format!(" ORDER BY for_time DESC LIMIT {}", self.points));
        Some(Band { model: name, sql: sql.finish() })
    }

    fn push_by_column(&self, sql: &mut SqlBuilder) {
        if let Some(by) = &self.by {
            push_column(sql, Some(&by.column), "");
            sql.made(", ");
        }
    }

    fn push_where(&self, sql: &mut SqlBuilder) {
        if let Some(by) = self.by.as_ref().filter(|by| by.is_filtered) {
            sql.made(" WHERE ");
            push_column(sql, Some(&by.column), "");
            sql.made(" = ").made_at(&format!("${}", by.column), by.column.place.clone());
        }
    }

    /// The entity of a source; what it is of anything else takes knowing the SQL.
    fn key(&self, relation: Relation<'_>) -> Vec<String> {
        let Relation::Latest(name) = relation else { return Vec::new() };
        let source = self.known.sources.iter().find(|source| source.name.value == name);
        source.map(|source| source.key.clone()).unwrap_or_default()
    }
}

impl By {
    fn of(text: Spanned<String>) -> Self {
        let column = text.value.strip_prefix('$').map(str::to_owned);
        let is_filtered = column.is_some();
        let column = Spanned { value: column.unwrap_or(text.value), place: text.place };
        Self { column, is_filtered }
    }
}

fn push_from(sql: &mut SqlBuilder, from: &SqlText, relation: Relation<'_>) {
    match relation {
        Relation::Query => sql.made("(").text(from).made(") AS panel"),
        Relation::Name(_) | Relation::Latest(_) => sql.text(from),
    };
}

/// A column the file names, or the one that is meant when it names none.
fn push_column(sql: &mut SqlBuilder, column: Option<&Spanned<String>>, default: &str) {
    match column {
        Some(column) => sql.made_at(&quoted(column), column.place.clone()),
        None => sql.made(default),
    };
}

/// A column's name as SQL reads it.
fn quoted(name: &str) -> String {
    let is_bare = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_bare { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn label(relation: Relation<'_>) -> String {
    match relation {
        Relation::Name(name) | Relation::Latest(name) => name.to_owned(),
        Relation::Query => String::new(),
    }
}

/// Whether an order is one column or expression that does not say where NULLs go.
fn is_one_bare_order(order: &str) -> bool {
    !order.contains(',') && !order.to_ascii_lowercase().contains("nulls")
}

/// A length of time in words SQL knows.
fn interval(length: Duration) -> String {
    let millis = length.as_millis();
    let units = [("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000)];
    let unit = units.into_iter().find(|(_, size)| millis.is_multiple_of(*size));
    let (name, size) = unit.unwrap_or(("millisecond", 1));
    let count = millis / size;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}
