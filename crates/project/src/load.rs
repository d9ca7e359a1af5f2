//! Loading: the files of a project, through all phases, to a [`Project`] and its problems.
//!
//! reading → shape → names → lowering → what belongs together. No phase stops the next: all
//! problems of all files come at once. SQL is parsed and typed by the engine afterwards, over the
//! [`SqlText`](crate::SqlText)s of what was lowered.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use thalweg_core::problem::{Place, Problem, Severity, nearest};

use crate::check;
use crate::codes::{self, Telling};
use crate::entry::Lowering;
use crate::files::{Folder, ProjectFiles};
use crate::keys::{Kind, Shape};
use crate::kinds::{
    Connector, Dashboard, Known, TableInput, TaskAction, TopicInput, ViewInput, alert, dashboard,
    job, lower_all, model, route, runtime, sink, source, stream, table, test, topic, view,
};
use crate::names::{self, Definitions};
use crate::project::Project;
use crate::secret::{Environment, parse_env_file};
use crate::source_map::SourceMap;
use crate::spanned::Spanned;
use crate::tree::{self, Node, Value};

/// A project as far as it could be read, and everything that is wrong with it.
#[derive(Debug)]
pub struct Loaded {
    /// What could be read; none when there is no project at all. It is fit to run only when
    /// [`Loaded::has_errors`] says no.
    pub project: Option<Project>,
    /// In the order of files and places; what has no place comes last.
    pub problems: Vec<Problem>,
    /// The files, for rendering.
    pub sources: SourceMap,
    /// Variables that the project reads and nobody has set, sorted.
    pub secrets_missing: Vec<String>,
    /// Relations whose declaration has an error. What the engine would say of SQL that reads them
    /// is likely a consequence and not worth telling.
    pub broken: BTreeSet<String>,
}

impl Loaded {
    /// Whether the project cannot run.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }
}

impl Project {
    /// Loads the project in a folder. `env` looks up variables of the process; `.env` in the folder
    /// comes after it.
    pub fn load(dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Loaded {
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        Self::load_from(&dir, &Folder(&dir), env)
    }

    /// Loads a project whose files come from elsewhere, as if they stood in `dir`.
    pub fn load_from(
        dir: &Path,
        files: &dyn ProjectFiles,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Loaded {
        load(dir, files, env).0
    }
}

pub(crate) const MAIN_FILE: &str = "thalweg.toml";
const MORE_FILES: &str = "thalweg.d";
const ENV_FILE: &str = ".env";

/// Loads, and says which keys of the table lowering has read.
pub(crate) fn load(
    dir: &Path,
    files: &dyn ProjectFiles,
    env: &dyn Fn(&str) -> Option<String>,
) -> (Loaded, BTreeSet<&'static str>) {
    let mut sources = SourceMap::default();
    let mut problems = Vec::new();
    let mut lost = Vec::new();
    let Some(root) = read(files, &mut sources, &mut lost, &mut problems) else {
        let broken = BTreeSet::new();
        let loaded =
            Loaded { project: None, problems, sources, secrets_missing: Vec::new(), broken };
        return (loaded, BTreeSet::new());
    };
    let is_whole = problems.is_empty();
    let syntax_count = problems.len();
    let environment = Environment::new(env, read_env_file(files, &mut problems));
    let checked = check::check(&root, is_whole, &environment, &sources, &mut problems);
    let definitions = Definitions::collect(&root);
    names::check(&root, &definitions, is_whole, &mut problems);
    let named_files = read_named_files(&root, files, &mut sources, &mut problems);
    let lowering = Lowering {
        dir,
        environment: &environment,
        sources: &sources,
        definitions: &definitions,
        is_whole,
        named_files: &named_files,
        problems: RefCell::default(),
        reads: RefCell::default(),
    };
    let mut project = lower(&lowering, &root);
    count_partitions(&mut project);
    project.secrets = environment.secrets();
    let reads = lowering.reads.take();
    problems.append(&mut lowering.problems.take());
    what_belongs_together(&project, &mut problems);
    let is_lost = |problem: &Problem| {
        problem.place.as_ref().is_some_and(|place| {
            lost.iter().any(|from| from.file == place.file && from.range.start <= place.range.start)
        })
    };
    let mut later = problems.split_off(syntax_count);
    later.retain(|problem| !is_lost(problem));
    problems.append(&mut later);

    for secret in &checked.secrets_in_files {
        sources.mask(secret);
    }
    sort(&mut problems, &sources);
    let broken = broken(&root, &problems);
    let secrets_missing = checked.secrets_missing.into_iter().collect();
    let loaded = Loaded { project: Some(project), problems, sources, secrets_missing, broken };
    (loaded, reads)
}

/// Reads and parses every TOML file into one tree; none when there is no project. `lost` takes the
/// places from which on a file means nothing.
fn read(
    files: &dyn ProjectFiles,
    sources: &mut SourceMap,
    lost: &mut Vec<Place>,
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    let main = match files.read(Path::new(MAIN_FILE)) {
        Ok(bytes) => bytes,
        Err(error) => {
            let problem = match error.kind() {
                io::ErrorKind::NotFound => {
                    let message = format!("there is no `{MAIN_FILE}` here");
                    codes::problem_outside(codes::NO_PROJECT, message)
                        .hint("`thalweg init` makes a project that runs at once.")
                }
                _ => unreadable(MAIN_FILE, &error),
            };
            problems.push(problem);
            return None;
        }
    };
    let mut parse = |path: &Path, bytes, problems: &mut Vec<Problem>| {
        let file = tree::add_text(sources, path, bytes, problems);
        let parsed = tree::parse(&file, sources.text(&file).unwrap_or_default(), problems);
        lost.extend(parsed.lost_from.map(|from| Place { file, range: from..from }));
        parsed.root
    };
    let mut root = parse(Path::new(MAIN_FILE), main, problems);
    let more = files.list(Path::new(MORE_FILES)).unwrap_or_else(|error| {
        problems.push(unreadable(MORE_FILES, &error));
        Vec::new()
    });
    for path in more.iter().filter(|path| path.extension().is_some_and(|end| end == "toml")) {
        match files.read(path) {
            Ok(bytes) => {
                let other = parse(path, bytes, problems);
                tree::merge(&mut root, other, problems);
            }
            Err(error) => problems.push(unreadable(&path.display().to_string(), &error)),
        }
    }
    Some(root)
}

fn unreadable(path: &str, error: &io::Error) -> Problem {
    codes::problem_outside(codes::UNREADABLE, format!("`{path}` cannot be read: {error}"))
}

fn read_env_file(
    files: &dyn ProjectFiles,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let bytes = match files.read(Path::new(ENV_FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            problems.push(unreadable(ENV_FILE, &error));
            return BTreeMap::new();
        }
    };
    let (values, wrong_lines) = parse_env_file(&String::from_utf8_lossy(&bytes));
    // The line itself is not shown: it may hold a secret.
    problems.extend(wrong_lines.into_iter().map(|line| {
        let message = format!("line {line} of `{ENV_FILE}` is not `NAME=value`");
        codes::problem_outside(codes::ENV_FILE, message)
    }));
    values
}

/// Reads every file with a query or a schema that the project names.
fn read_named_files(
    root: &Node,
    files: &dyn ProjectFiles,
    sources: &mut SourceMap,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Arc<PathBuf>> {
    let mut named: Vec<(&str, &Place)> = Vec::new();
    names::visit(root, &mut |node, _, shape| {
        if let (Shape::SqlFile | Shape::AvroFile, Value::Text(path)) = (shape, &node.value) {
            named.push((path, &node.place));
        }
    });
    let mut found = BTreeMap::new();
    for (name, place) in named {
        let path = Path::new(name);
        let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside || path.as_os_str().is_empty() {
            let message = format!("`{name}` leaves the project folder");
            problems.push(codes::problem(codes::MALFORMED, message, place.clone()));
            continue;
        }
        match files.read(path) {
            Ok(bytes) => {
                let file = tree::add_text(sources, path, bytes, problems);
                found.insert(name.to_owned(), file);
            }
            Err(error) => {
                let message = format!("`{name}` cannot be read: {error}");
                problems.push(codes::problem(codes::UNREADABLE, message, place.clone()));
            }
        }
    }
    found
}

fn lower(lowering: &Lowering<'_>, root: &Node) -> Project {
    let root = lowering.root(root);
    let project = root.child("project");
    let folder = lowering.dir.file_name().and_then(|name| name.to_str());
    let sources = lower_all(root, "source", source::lower);
    let models = lower_all(root, "model", model::lower);
    let known = Known { sources: &sources, models: &models };
    let dashboards: Vec<Dashboard> =
        lower_all(root, "dashboard", |name, entry| dashboard::lower(name, entry, known));
    Project {
        dir: lowering.dir.to_owned(),
        name: project.get("name").unwrap_or_else(|| folder.unwrap_or("project").to_owned()),
        timezone: project.spanned("timezone"),
        notify: project.spanned("notify"),
        streams: lower_all(root, "stream", stream::lower),
        tables: lower_all(root, "table", table::lower),
        lookups: lower_all(root, "table", source::lookup::lower),
        routes: lower_all(root, "route", route::lower),
        topics: lower_all(root, "topic", topic::lower),
        views: lower_all(root, "view", view::lower),
        sinks: lower_all(root, "sink", sink::lower),
        jobs: lower_all(root, "job", job::lower),
        alerts: lower_all(root, "alert", alert::lower),
        notifies: lower_all(root, "notify", alert::lower_notify),
        dashboards,
        tests: lower_all(root, "test", test::lower),
        runtime: runtime::lower(root),
        server: runtime::lower_server(root),
        secrets: Vec::new(),
        sources,
        models,
    }
}

/// Tells sources of topics how many partitions those have.
fn count_partitions(project: &mut Project) {
    let topics = &project.topics;
    for source in &mut project.sources {
        let Connector::Topic(input) = &mut source.connector else { continue };
        let declared = topics.iter().find(|topic| topic.name.value == input.name.value);
        input.partitions = declared.map_or(1, |topic| topic.partitions);
    }
}

/// What one declaration asks of another.
fn what_belongs_together(project: &Project, problems: &mut Vec<Problem>) {
    for view in &project.views {
        let ViewInput::Merge { batch, live, .. } = &view.input else { continue };
        let Some(table) = project.table(batch) else { continue };
        if !matches!(&table.input, TableInput::BatchOf { stream, .. } if stream.value == live.value)
        {
            let message = format!("table `{batch}` is not a batch of stream `{live}`");
            problems.push(
                codes::problem(codes::DOES_NOT_FIT, message, batch.place.clone())
                    .hint("Both layers of a merged view run the same SQL (S17).")
                    .related(format!("`{batch}` is declared here"), table.name.place.clone()),
            );
        }
    }
    let mut published: BTreeMap<&str, &Spanned<String>> = BTreeMap::new();
    for (topic, _) in project.published() {
        match published.get(topic.as_str()) {
            None => {
                published.insert(topic, topic);
            }
            Some(first) => {
                let message = format!("topic `{topic}` is published to twice");
                let problem = codes::problem(codes::DOES_NOT_FIT, message, topic.place.clone());
                let text = format!("`{topic}` is published to here, too");
                problems.push(
                    problem
                        .related(text, first.place.clone())
                        .hint("What goes in exactly once has one writer; take another name."),
                );
            }
        }
    }
    for source in &project.sources {
        let Connector::Topic(TopicInput { name, .. }) = &source.connector else { continue };
        let published = project.published().map(|(topic, _)| topic.as_str());
        let declared = project.topics.iter().map(|topic| topic.name.as_str());
        let known: Vec<&str> = published.chain(declared).collect();
        if !known.contains(&name.as_str()) {
            let message = format!("no topic is named `{name}`");
            let problem = codes::problem(codes::NO_SUCH_NAME, message, name.place.clone());
            problems.push(match nearest(name, known.iter().copied()) {
                Some(near) => problem.label(format!("did you mean `{near}`?")),
                None => problem.hint("A sink or an arm publishes one, or `[topic.X]` declares it."),
            });
        }
    }
    for task in project.jobs.iter().flat_map(|job| &job.tasks) {
        let TaskAction::Refresh { table: name, .. } = &task.action else { continue };
        let Some(table) = project.table(name) else { continue };
        if !matches!(table.input, TableInput::BatchOf { .. }) {
            let message = format!("table `{name}` has no `batch_of`, so nothing can rebuild it");
            problems.push(
                codes::problem(codes::DOES_NOT_FIT, message, name.place.clone())
                    .related(format!("`{name}` is declared here"), table.name.place.clone()),
            );
        }
    }
    for task in project.jobs.iter().flat_map(|job| &job.tasks) {
        if let TaskAction::Shell { place, .. } = &task.action
            && !project.server.shell
        {
            let message = "the server runs no programs".to_owned();
            let problem = codes::problem(codes::DOES_NOT_FIT, message, place.clone());
            problems.push(problem.hint("Allow it with `[server] shell = true`."));
        }
    }
    for table in &project.tables {
        let TableInput::BatchOf { over, .. } = &table.input else { continue };
        for (source, history) in over {
            let Some(fed) = project.table(history) else { continue };
            if !matches!(&fed.input, TableInput::From(from) if from.value == source.value) {
                let message = format!("table `{history}` does not hold the rows of `{source}`");
                problems.push(
                    codes::problem(codes::DOES_NOT_FIT, message, history.place.clone())
                        .related(format!("`{history}` is declared here"), fed.name.place.clone()),
                );
            }
        }
    }
}

/// In the order of files and places, each once; what has no place last.
fn sort(problems: &mut Vec<Problem>, sources: &SourceMap) {
    problems.sort_by_cached_key(|problem| {
        let place = problem.place.as_ref();
        let file = place.map_or(usize::MAX, |place| sources.order(&place.file));
        (place.is_none(), file, place.map_or(0, |place| place.range.start), problem.code)
    });
    problems.dedup();
}

/// Relations with an error in their declaration. That a variable is not set is none of it.
fn broken(root: &Node, problems: &[Problem]) -> BTreeSet<String> {
    let places: Vec<&Place> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .filter(|problem| problem.code != codes::SECRET_MISSING)
        .filter_map(|problem| problem.place.as_ref())
        .collect();
    let sections = root
        .members()
        .iter()
        .filter(|section| Kind::of_section(&section.key).is_some_and(Kind::is_relation));
    sections
        .flat_map(|section| section.node.members())
        .filter(|member| is_touched(&member.key.place, &places) || holds(&member.node, &places))
        .map(|member| member.key.value.clone())
        .collect()
}

fn holds(node: &Node, places: &[&Place]) -> bool {
    is_touched(&node.place, places)
        || node.items().iter().any(|item| holds(item, places))
        || node
            .members()
            .iter()
            .any(|member| is_touched(&member.key.place, places) || holds(&member.node, places))
}

fn is_touched(place: &Place, problems: &[&Place]) -> bool {
    problems.iter().any(|problem| {
        problem.file == place.file
            && problem.range.start <= place.range.end
            && place.range.start <= problem.range.end
    })
}

#[cfg(test)]
mod tests;
