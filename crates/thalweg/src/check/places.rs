//! The small languages of a source: paths and conditions of JSON, selectors of pages. Checked by those
//! who read them, so that a wrong one is told at its place before anything starts.

use thalweg_connect::codecs::html;
use thalweg_connect::codecs::json::{Condition, JsonPath};
use thalweg_core::problem::{Place, Problem};
use thalweg_core::{Error, Result};
use thalweg_project::{Connector, Format, HtmlRows, JsonFormat, PagesBy, Source, Spanned};

/// What is wrong with the places a source names.
pub(super) fn problems(source: &Source) -> Vec<Problem> {
    let mut found = Found::default();
    match &source.connector {
        Connector::Http(http) => match http.pages.as_ref().map(|pages| &pages.by) {
            Some(PagesBy::Next { path, .. }) => found.path(path),
            Some(PagesBy::Number { rows, .. }) => found.path(rows),
            Some(PagesBy::Link) | None => {}
        },
        Connector::Websocket(websocket) => {
            for rule in &websocket.alive {
                found.check(&rule.place, rule.as_str().parse::<Condition>());
            }
        }
        _ => {}
    }
    let check_column: fn(&str) -> Result<()> = match &source.format {
        Format::Json(json) => {
            found.json(json);
            |path| path.parse::<JsonPath>().map(|_| ())
        }
        Format::Html(page) => {
            if let Some(label) = &page.encoding {
                found.check(&label.place, html::check_encoding(label.as_str()));
            }
            match &page.rows {
                HtmlRows::Table { selector, .. } => {
                    found.check(&selector.place, html::check_selector(selector.as_str()));
                    |place| html::check_place(place, false)
                }
                HtmlRows::Elements(rows) => {
                    found.check(&rows.place, html::check_selector(rows.as_str()));
                    |place| html::check_place(place, true)
                }
                HtmlRows::Json { element, rows } => {
                    found.check(&element.place, html::check_selector(element.as_str()));
                    if let Some(rows) = rows {
                        found.path(rows);
                    }
                    |path| path.parse::<JsonPath>().map(|_| ())
                }
            }
        }
        _ => return found.0,
    };
    for column in &source.columns {
        // What a preset brings is right, and stands nowhere.
        if let Some(place) = source.column_place(&column.name) {
            found.check(place, check_column(column.path()));
        }
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    fn json(&mut self, json: &JsonFormat) {
        if let Some(rows) = &json.rows {
            self.path(rows);
        }
        if let Some(condition) = &json.only_if {
            self.check(&condition.place, condition.as_str().parse::<Condition>());
        }
        for notice in &json.notices {
            self.check(&notice.when.place, notice.when.as_str().parse::<Condition>());
            self.path(&notice.message);
        }
    }

    fn path(&mut self, path: &Spanned<String>) {
        self.check(&path.place, path.as_str().parse::<JsonPath>());
    }

    fn check<T>(&mut self, place: &Place, checked: Result<T>) {
        if let Err(Error { message, hint, .. }) = checked {
            self.0.push(super::problem("T0205", message, hint, place.clone()));
        }
    }
}
