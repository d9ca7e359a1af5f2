//! A project: everything its files declare.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use thalweg_core::problem::{Place, Problem, SqlProblem};

use crate::codes::{self, Telling};
use crate::kinds::{
    Alert, Dashboard, Job, Model, Notify, Route, Runtime, Server, Sink, Source, Stream, Table,
    TableInput, Target, Test, Topic, View,
};
use crate::names;
use crate::secret::Secret;
use crate::spanned::Spanned;
use crate::sql_text::SqlText;

/// Everything the files of a project declare, each kind in the order of the files.
///
/// It is made by [`Project::load`]; what is missing from it because of a problem is reported.
#[derive(Clone, Debug)]
pub struct Project {
    /// The project folder.
    pub dir: PathBuf,
    /// What it is called. Default: the name of its folder.
    pub name: String,
    /// Time zone of schedules and of the screen; an IANA name that nobody has looked up yet; none
    /// for UTC.
    pub timezone: Option<Spanned<String>>,
    /// Takes the system's own alerts.
    pub notify: Option<Spanned<String>>,
    /// `[source.X]`
    pub sources: Vec<Source>,
    /// `[stream.X]`
    pub streams: Vec<Stream>,
    /// `[table.X]`
    pub tables: Vec<Table>,
    /// `[table.X]` of files that nothing fills: they are read whole, as sources of files are.
    pub lookups: Vec<Source>,
    /// `[route.X]`
    pub routes: Vec<Route>,
    /// `[topic.X]`
    pub topics: Vec<Topic>,
    /// `[view.X]`
    pub views: Vec<View>,
    /// `[model.X]`
    pub models: Vec<Model>,
    /// `[sink.X]`
    pub sinks: Vec<Sink>,
    /// `[job.X]`
    pub jobs: Vec<Job>,
    /// `[alert.X]`
    pub alerts: Vec<Alert>,
    /// `[notify.X]`
    pub notifies: Vec<Notify>,
    /// `[dashboard.X]`
    pub dashboards: Vec<Dashboard>,
    /// `[test.X]`
    pub tests: Vec<Test>,
    /// `[runtime]`
    pub runtime: Runtime,
    /// `[server]`
    pub server: Server,
    /// Values of the environment that the project uses, and all of `.env`: nothing shows them.
    pub secrets: Vec<Secret>,
}

impl Project {
    /// The time zone of schedules and of the screen.
    pub fn timezone_name(&self) -> &str {
        self.timezone.as_ref().map_or("UTC", |timezone| timezone.as_str())
    }

    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name.value == name)
    }

    /// The stream of this name.
    pub fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.name.value == name)
    }

    /// The route that has an arm of this name, and the number of the arm.
    pub fn arm(&self, name: &str) -> Option<(&Route, usize)> {
        self.routes.iter().find_map(|route| {
            let number = route.arms.iter().position(|arm| arm.name.value == name)?;
            Some((route, number))
        })
    }

    /// The lookup of this name.
    pub fn lookup(&self, name: &str) -> Option<&Source> {
        self.lookups.iter().find(|lookup| lookup.name.value == name)
    }

    /// How a topic is kept, where the project says so.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name.value == name)
    }

    /// Topics that are published, with what is: a sink's or an arm's name. A topic that two publish
    /// to was reported.
    pub fn published(&self) -> impl Iterator<Item = (&Spanned<String>, &Spanned<String>)> {
        let sinks = self.sinks.iter().filter_map(|sink| match &sink.target {
            Target::Topic { name } => Some((name, &sink.name)),
            _ => None,
        });
        let arms = self.routes.iter().flat_map(|route| &route.arms);
        sinks.chain(arms.filter_map(|arm| Some((arm.topic.as_ref()?, &arm.name))))
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name.value == name)
    }

    /// The model of this name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name.value == name)
    }

    /// The tables that take the rows of a source or stream.
    pub fn tables_from(&self, name: &str) -> impl Iterator<Item = &Table> {
        let is_from = move |table: &&Table| match &table.input {
            TableInput::From(from) => from.value == name,
            TableInput::BatchOf { .. } | TableInput::ReadOnly => false,
        };
        self.tables.iter().filter(is_from)
    }

    /// The columns that tell a sink's rows apart: those it declares, else the key of the source it
    /// takes from. Empty for a stream's sink that declares none: its GROUP BY columns are meant,
    /// which the engine knows.
    pub fn sink_key(&self, sink: &Sink) -> Vec<String> {
        if !sink.key.is_empty() {
            return sink.key.iter().map(|column| column.value.clone()).collect();
        }
        self.source(&sink.from).map(|source| source.key.clone()).unwrap_or_default()
    }

    /// Where something SQL can read is declared.
    pub fn declaration(&self, name: &str) -> Option<&Place> {
        let names = self.sources.iter().map(|source| &source.name);
        let names = names.chain(self.streams.iter().map(|stream| &stream.name));
        let arms = self.routes.iter().flat_map(|route| &route.arms);
        let names = names.chain(arms.map(|arm| &arm.name));
        let names = names.chain(self.tables.iter().map(|table| &table.name));
        let names = names.chain(self.lookups.iter().map(|lookup| &lookup.name));
        let names = names.chain(self.views.iter().map(|view| &view.name));
        let mut names = names.chain(self.models.iter().map(|model| &model.name));
        names.find(|declared| declared.value == name).map(|declared| &declared.place)
    }

    /// A problem the engine found in a text of this project, at its place in the file.
    ///
    /// The engine knows names and the project knows places: where the problem's label suggests a
    /// name that is declared here, its declaration is shown beside it.
    pub fn sql_problem(&self, sql: &SqlText, problem: &SqlProblem) -> Problem {
        let mapped = sql.problem(problem);
        let suggested = problem.label.as_deref().and_then(|label| backticked(label).next());
        let Some(suggested) = suggested else { return mapped };
        let declared = match problem.code {
            codes::NO_SUCH_NAME => self.declaration(suggested),
            codes::NO_SUCH_COLUMN => backticked(&problem.message)
                .skip(1)
                .find_map(|relation| self.source(relation)?.column_place(suggested)),
            _ => None,
        };
        match declared {
            Some(place) => mapped.related(format!("`{suggested}` is declared here"), place.clone()),
            None => mapped,
        }
    }

    /// The problem of relations that read each other in a circle, if they do. `depends_on` says of
    /// each relation what its SQL reads.
    pub fn cycle_problem(
        &self,
        depends_on: &BTreeMap<String, BTreeSet<String>>,
    ) -> Option<Problem> {
        let cycle = names::cycle(depends_on)?;
        let message = format!("relations read each other: {}", cycle.join(" reads "));
        let problem = match self.declaration(&cycle[0]) {
            Some(place) => codes::problem(codes::CYCLE, message, place.clone()),
            None => codes::problem_outside(codes::CYCLE, message),
        };
        let others = cycle[1..cycle.len() - 1].iter();
        Some(others.fold(problem, |problem, name| match self.declaration(name) {
            Some(place) => problem.related(format!("`{name}` is declared here"), place.clone()),
            None => problem,
        }))
    }
}

/// The words of a text that stand in backticks.
fn backticked(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
