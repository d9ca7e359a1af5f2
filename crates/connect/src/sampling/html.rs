//! Pages: the table with the most rows, its columns by their headers.

use scraper::Html;
use thalweg_core::schema::{Column, ColumnType};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::roles::{self, Names};
use super::values::{Inferred, Seen, infer};
use super::{Proposal, ProposedColumn, ProposedFormat};
use crate::codecs::html::{Clean, NULLS, ShownTable, reads_as, shown_tables};

/// What an amount of a page is kept in: exact, and wide enough for any market.
const AMOUNT: ColumnType = ColumnType::Decimal(28, 8);

pub(super) fn of_page(text: &str, now: Timestamp) -> Result<Proposal> {
    let page = Html::parse_document(text);
    let tables = shown_tables(&page).into_iter().filter(|table| {
        let named = table.headers.iter().filter(|header| !header.is_empty()).count();
        named > 1 && !table.rows.is_empty()
    });
    let table = tables.max_by_key(|table| table.rows.len()).ok_or_else(|| {
        Error::invalid("the page has no table with headers and rows")
            .with_detail("What its scripts would make of it is not there.")
            .with_hint("Declare the source by hand: `format.html = { rows = \"css selector\" }`.")
    })?;
    of_table(&table, now)
}

fn of_table(table: &ShownTable, now: Timestamp) -> Result<Proposal> {
    let mut names = Names::default();
    let (mut columns, mut headers, mut checks) = (Vec::new(), Vec::new(), Vec::new());
    for (at, header) in table.headers.iter().enumerate() {
        // What has no name cannot be bound to; one that stands twice is ambiguous.
        let stands = table.headers.iter().filter(|other| *other == header).count();
        let texts: Vec<&str> =
            table.rows.iter().filter_map(|row| row.get(at)?.as_deref()).collect();
        if header.is_empty() || stands > 1 || texts.iter().all(|text| text.is_empty()) {
            continue;
        }
        let name = names.take(header);
        let (inferred, seen) = of_texts(header, &texts, now);
        let column = Column {
            select: Some(header.clone()),
            name,
            kind: inferred.kind,
            nullable: inferred.nullable,
            unit: inferred.unit,
            allow_nan: false,
        };
        checks.extend(roles::check(&column, &seen));
        headers.push(header.clone());
        columns.push(ProposedColumn { column, clean: inferred.clean });
    }
    let plain: Vec<Column> = columns.iter().map(|it| it.column.clone()).collect();
    let (key, event_time) = (roles::key(&plain), roles::event_time(&plain));
    Ok(Proposal { format: ProposedFormat::Html { headers }, columns, key, event_time, checks })
}

fn of_texts(header: &str, texts: &[&str], now: Timestamp) -> (Inferred, Vec<Seen>) {
    let values: Vec<&str> = texts.iter().copied().filter(|it| !NULLS.contains(it)).collect();
    let nullable = values.len() < texts.len();
    let plain = |text: &&str| match NULLS.contains(text) {
        true => Seen::Null,
        false => Seen::Plain((*text).to_owned()),
    };
    let seen: Vec<Seen> = texts.iter().map(plain).collect();
    let inferred = infer(header, &seen, now);
    let all_read_as = |clean| !values.is_empty() && values.iter().all(|it| reads_as(clean, it));
    let has = |symbols: &[char]| values.iter().any(|text| text.contains(symbols));
    let amounts = [
        (Clean::Percent, has(&['%'])),
        (Clean::Money, has(&['$', '€', '£', '¥', '₿', '₽', '₹'])),
        (Clean::Number, inferred.kind == ColumnType::Text),
    ];
    for (clean, is_meant) in amounts {
        if is_meant && all_read_as(clean) {
            let amount = Inferred { kind: AMOUNT, nullable, unit: None, clean: Some(clean) };
            return (amount, Vec::new());
        }
    }
    match inferred.kind {
        ColumnType::Text => (Inferred { clean: Some(Clean::Text), ..inferred }, seen),
        _ => (inferred, seen),
    }
}
