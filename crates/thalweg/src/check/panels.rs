//! What panels become: hidden streams where a stream can run their GROUP BY (S17a).
//!
//! A panel that reads a source, or a row-wise stream, in any other way is shown the rows that are in
//! memory (`keep`), and `check` says so: nothing reads a history at each refresh.

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_core::problem::{Severity, SqlProblem};
use thalweg_project::{SqlText, ViewInput};
use thalweg_stream::panels::{self, Compiled};
use thalweg_stream::program::{Shape, StreamQuery};
use thalweg_stream::sql::rewrite::Mode;
use thalweg_stream::sql::{Named, Names};

use super::Typing;

/// What the panels of a project become.
#[derive(Clone, Default)]
pub(crate) struct Panels {
    /// By SQL, for every panel that reads sources: the fingerprints of its hidden streams.
    pub by_sql: BTreeMap<String, Vec<String>>,
    /// The hidden streams, by the name of their pipeline.
    pub streams: BTreeMap<String, PanelStream>,
}

/// A hidden stream.
#[derive(Clone)]
pub(crate) struct PanelStream {
    /// What it runs.
    pub query: StreamQuery,
    /// Tells it from others.
    pub fingerprint: String,
    /// Windows kept of each key at least.
    pub windows_kept: usize,
}

impl Typing<'_> {
    /// Compiles what panels, their bands and the options of filters read of sources.
    pub(super) fn panels(&mut self) {
        let names = self.panel_names();
        for dashboard in &self.project.dashboards {
            let options = dashboard.filters.iter().map(|filter| &filter.options);
            let panels = dashboard.rows.iter().flatten().flat_map(|panel| panel.queries());
            for sql in panels.chain(options) {
                if self.is_ready(sql) == Some(true) {
                    self.panel(dashboard.name.as_str(), sql, &names);
                }
            }
        }
    }

    fn panel(&mut self, dashboard: &str, sql: &SqlText, names: &Names) {
        if self.checked.panels.by_sql.contains_key(sql.as_str()) {
            return;
        }
        let sources = self.checked.sources.keys().cloned().collect();
        let compiled = panels::compile(&self.checked.planner, sql.as_str(), names, &sources);
        // What is wrong with it was told when it was typed.
        let Ok(Compiled { streams, windows_shown, direct, refusals }) = compiled else { return };
        if streams.is_empty() && direct.is_empty() {
            return;
        }
        let fingerprints = streams.iter().map(|(fingerprint, _)| fingerprint.clone()).collect();
        self.checked.panels.by_sql.insert(sql.as_str().to_owned(), fingerprints);
        for (fingerprint, query) in streams {
            let known = &mut self.checked.panels.streams;
            match known.values_mut().find(|panel| panel.fingerprint == fingerprint) {
                Some(panel) => panel.windows_kept = panel.windows_kept.max(windows_shown),
                None => {
                    let name = format!("panel.{dashboard}.{:016x}", hash(&fingerprint));
                    let panel = PanelStream { query, fingerprint, windows_kept: windows_shown };
                    known.insert(name, panel);
                }
            }
        }
        if let Some(source) = direct.first() {
            let problem = SqlProblem {
                code: "T0313",
                message: format!(
                    "this reads the rows of `{source}` that are in memory, not all of them"
                ),
                label: refusals.into_iter().next(),
                hint: Some(
                    "A panel does not read a history at each refresh. Show a GROUP BY that a \
                     stream can run, a stream, a table or a view of those."
                        .to_owned(),
                ),
                range: None,
            };
            let mut problem = self.project.sql_problem(sql, &problem);
            problem.severity = Severity::Warning;
            self.problems.push(problem);
        }
    }

    /// The names as the engine has them: views and row-wise streams are looked through, a stream
    /// with GROUP BY is its result.
    fn panel_names(&self) -> Names {
        let mut names = self.names.clone();
        for (name, query) in &self.checked.streams {
            if query.shape != Shape::RowWise {
                names.insert(name, Named::Rows(Arc::clone(&query.schema)), query.key.clone());
            }
        }
        for name in &self.checked.latest {
            let source = self.checked.sources.get(name);
            let stream = self.checked.streams.get(name).map(|query| &query.schema);
            let key = self.names.get(name).map(|entry| entry.key.clone()).unwrap_or_default();
            if let Some(schema) = source.or(stream).filter(|_| !key.is_empty()) {
                let rows = Named::Rows(Arc::clone(schema));
                names.insert(format!("latest.{name}"), rows, key);
            }
        }
        for name in &self.views_in_order {
            let view = self.project.views.iter().find(|view| view.name.as_str() == name);
            if let Some(ViewInput::Query(sql)) = view.map(|view| &view.input)
                && let Ok(planned) = self.checked.planner.plan(sql.as_str(), &names, Mode::Query)
            {
                names.insert(name, Named::Plan(planned.plan), Vec::new());
            }
        }
        names
    }
}

/// FNV-1a: the same on every machine and in every version.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
