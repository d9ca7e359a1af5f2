//! The second phase: shape. Every key is known, and every value is one of its key's.
//!
//! Walks the whole tree along the table of keys, so that all problems are found at once; lowering
//! then reads what is there and says nothing more. The environment is looked at on the way: every
//! `${NAME}` must have a value (T0401).

use std::collections::BTreeSet;

use thalweg_core::problem::{Place, Problem, nearest};

use crate::codes::{self, Telling};
use crate::keys::shape::{Fault, or};
use crate::keys::{self, Group, KeyNode, Shape, State, Word};
use crate::secret::{Environment, variables};
use crate::source_map::SourceMap;
use crate::spanned::Spanned;
use crate::tree::{Member, Node, Value};

/// What the phase found beside problems.
#[derive(Default)]
pub(crate) struct Checked {
    /// Variables that are not set.
    pub(crate) secrets_missing: BTreeSet<String>,
    /// Secrets that stand in a file, to be masked.
    pub(crate) secrets_in_files: Vec<Place>,
}

/// Checks the tree of a project. `is_whole` is false when a file did not parse: what is missing may
/// then be in the part that was lost, so nothing is said of it.
pub(crate) fn check(
    root: &Node,
    is_whole: bool,
    environment: &Environment<'_>,
    sources: &SourceMap,
    problems: &mut Vec<Problem>,
) -> Checked {
    let checked = Checked::default();
    let mut checker =
        Checker { is_whole, environment, sources, problems, checked, path: Vec::new() };
    checker.table(root, keys::root(), &root.place);
    checker.checked
}

struct Checker<'a> {
    is_whole: bool,
    environment: &'a Environment<'a>,
    sources: &'a SourceMap,
    problems: &'a mut Vec<Problem>,
    checked: Checked,
    /// Keys from the top to the table that is walked.
    path: Vec<String>,
}

impl Checker<'_> {
    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// "in `source.px`", or nothing at the top.
    fn within(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path.join(".")) }
    }

    /// Checks a table; `place` is the key it stands behind.
    fn table(&mut self, table: &Node, keys: &'static KeyNode, place: &Place) {
        for member in table.members() {
            self.member(member, keys);
        }
        self.required(table, keys, place);
        for group in &keys.groups {
            self.group(table, group, place);
        }
        self.companions(table, keys);
    }

    fn member(&mut self, member: &Member, keys: &'static KeyNode) {
        let Some(child) = keys.child(&member.key.value) else {
            let problem = self.unknown_key(&member.key, keys);
            return self.report(problem);
        };
        if let Some(purpose) = child.planned {
            let place = member.key.place.clone();
            return self.report(not_built(&member.key.value, purpose, place));
        }
        self.path.push(member.key.value.clone());
        self.value(&member.node, child, &child.key().shape, &member.key);
        self.path.pop();
    }

    fn unknown_key(&self, key: &Spanned<String>, keys: &KeyNode) -> Problem {
        let message = format!("unknown key `{key}`{}", self.within());
        let problem = codes::problem(codes::UNKNOWN_KEY, message, key.place.clone());
        if let Some(near) = nearest(key, keys.children.keys().copied()) {
            return problem.label(format!("did you mean `{near}`?"));
        }
        let built: Vec<&str> = keys
            .children
            .iter()
            .filter(|(_, child)| child.planned.is_none())
            .map(|(name, _)| *name)
            .collect();
        match built.as_slice() {
            [] => problem,
            names => problem.hint(format!("The keys here are: {}.", names.join(", "))),
        }
    }

    fn value(&mut self, node: &Node, keys: &'static KeyNode, shape: &Shape, key: &Spanned<String>) {
        match (shape, &node.value) {
            (_, Value::Broken) | (Shape::Boolean, Value::Boolean(_)) => {}
            (Shape::Table, Value::Table(_)) => self.table(node, keys, &key.place),
            (Shape::List(inner), Value::List(items)) => {
                for item in items {
                    // A table in a list has no key of its own to point at.
                    let key = Spanned { value: key.value.clone(), place: start_of(item) };
                    self.value(item, keys, inner, &key);
                }
            }
            (Shape::Integer { min, max }, Value::Integer(number)) => {
                if !(*min..=*max).contains(number) {
                    self.report(malformed(&number.to_string(), keys, shape, node.place.clone()));
                }
            }
            (Shape::Time | Shape::Day, Value::Time(text)) => self.text(text, node, keys, shape),
            (Shape::Listen, Value::Integer(port)) => {
                self.text(&port.to_string(), node, keys, shape);
            }
            (shape, Value::Text(text)) if shape.is_text() => self.text(text, node, keys, shape),
            (Shape::Rows, Value::List(rows)) => self.rows(rows, key),
            (Shape::Rows, Value::Text(text)) => self.text(text, node, keys, shape),
            (Shape::Table, value) => {
                let short = keys.key().short_for.and_then(|short| keys.children.get(short));
                let is_list = matches!(value, Value::List(_));
                match short.filter(|it| !is_list || matches!(it.key().shape, Shape::Rows)) {
                    Some(short) => self.value(node, short, &short.key().shape, key),
                    None => self.wrong_type(node, keys, shape, key),
                }
            }
            _ => self.wrong_type(node, keys, shape, key),
        }
    }

    /// Rows of a test: tables, whose columns the engine knows.
    fn rows(&mut self, rows: &[Node], key: &Spanned<String>) {
        for row in rows {
            if !matches!(row.value, Value::Table(_) | Value::Broken) {
                let message =
                    format!("a row of `{key}` must be a table of its columns, not {}", row.noun());
                self.report(
                    codes::problem(codes::WRONG_TYPE, message, row.place.clone())
                        .label("such as `{ price = 1.5 }`"),
                );
            }
        }
    }

    fn wrong_type(&mut self, node: &Node, keys: &KeyNode, shape: &Shape, key: &Spanned<String>) {
        let is_item =
            matches!(keys.key().shape, Shape::List(_)) && !matches!(shape, Shape::List(_));
        let subject = if is_item { "an item of " } else { "" };
        let message = format!("{subject}`{key}` must be {}, not {}", shape.noun(), node.noun());
        let example = match shape {
            Shape::Table => table_example(keys),
            _ if is_item => shape.example(),
            _ => keys.key().shown_example(),
        };
        self.report(
            codes::problem(codes::WRONG_TYPE, message, node.place.clone())
                .label(format!("such as `{example}`")),
        );
    }

    fn text(&mut self, text: &str, node: &Node, keys: &KeyNode, shape: &Shape) {
        match shape.check_text(text) {
            Ok(()) => {}
            Err(Fault::Malformed) => {
                self.report(malformed(text, keys, shape, node.place.clone()));
            }
            Err(Fault::NoSuchWord) => {
                let Shape::Choice(words) = shape else { return };
                self.report(unknown_word(text, keys.key().name(), words, node.place.clone()));
            }
            Err(Fault::PlannedWord(purpose)) => {
                self.report(not_built(text, purpose, node.place.clone()));
            }
        }
        if shape.is_secret() {
            self.secret(text, node, shape);
        } else if !shape.is_sql()
            && let Some(variable) = variables(text).first()
        {
            let place = self.inside(node, &text[variable.range.clone()]);
            let message = format!("`${{…}}` is not replaced in `{}`", keys.key().name());
            let hint = "Variables stand for secrets: in tokens, addresses and headers.";
            self.report(codes::problem(codes::MALFORMED, message, place).hint(hint));
        }
    }

    fn secret(&mut self, text: &str, node: &Node, shape: &Shape) {
        let variables = variables(text);
        for variable in &variables {
            if variable.name.is_none() {
                let written = &text[variable.range.clone()];
                let place = self.inside(node, written);
                let message = format!("`{written}` names no variable");
                let problem = codes::problem(codes::MALFORMED, message, place);
                self.report(problem.label("such as `${DATABASE_URL}`"));
            }
        }
        if let Err(names) = self.environment.expand(text) {
            for name in names {
                if self.checked.secrets_missing.insert(name.clone()) {
                    let place = self.inside(node, &format!("${{{name}}}"));
                    let problem = codes::problem(
                        codes::SECRET_MISSING,
                        format!("`{name}` is not set"),
                        place,
                    );
                    self.report(problem.hint(format!(
                        "Set it in the environment, or write `{name}=…` into `.env` beside \
                         thalweg.toml."
                    )));
                }
            }
        }
        let place = match shape {
            Shape::Token if variables.is_empty() => Some(node.place.clone()),
            _ => password(text).map(|password| self.inside(node, password)),
        };
        if let Some(place) = place {
            self.checked.secrets_in_files.push(place.clone());
            let problem =
                codes::problem(codes::SECRET_IN_FILE, "a secret stands in the file", place);
            let hint = "Write `${NAME}` in its place and set NAME in the environment or in `.env`.";
            self.report(problem.warning().hint(hint));
        }
    }

    /// The place of a part of a text value; of all of it where it is written with escapes.
    fn inside(&self, node: &Node, part: &str) -> Place {
        let at = self.sources.slice(&node.place).and_then(|written| written.find(part));
        match at {
            Some(at) => {
                let start = node.place.range.start + at;
                Place { file: node.place.file.clone(), range: start..start + part.len() }
            }
            None => node.place.clone(),
        }
    }

    fn required(&mut self, table: &Node, keys: &KeyNode, place: &Place) {
        if !self.is_whole {
            return;
        }
        for (name, child) in &keys.children {
            if child.key().is_required && table.member(name).is_none() {
                let owner = self.path.join(".");
                let message = format!("`{owner}` lacks `{name}`");
                let label = format!("add `{name} = {}`", child.key().shown_example());
                let problem = codes::problem(codes::MISSING_KEY, message, place.clone());
                self.report(problem.label(label));
            }
        }
    }

    fn group(&mut self, table: &Node, group: &'static Group, place: &Place) {
        let mut found = table.members().iter().filter(|m| group.keys.contains(&m.key.as_str()));
        let owner = self.path.join(".");
        match (found.next(), found.next()) {
            (None, _) if group.is_required && self.is_whole => {
                let built = built_keys(group);
                let message = format!("`{owner}` lacks {}", group.noun);
                let problem = codes::problem(codes::ONE_OF, message, place.clone());
                let one_of = if built.len() > 1 { "one of " } else { "" };
                self.report(problem.label(format!("{one_of}{} is needed", or(&built))));
            }
            (Some(first), Some(second)) => {
                let message = format!(
                    "`{}` and `{}` cannot both be {} of `{owner}`",
                    first.key,
                    second.key,
                    without_article(group.noun)
                );
                let problem = codes::problem(codes::ONE_OF, message, second.key.place.clone());
                let text = format!("`{}` is here", first.key);
                self.report(problem.related(text, first.key.place.clone()));
            }
            _ => {}
        }
    }

    /// Keys that mean something only beside others.
    fn companions(&mut self, table: &Node, keys: &KeyNode) {
        for member in table.members() {
            let Some(child) = keys.children.get(member.key.as_str()) else { continue };
            let key = child.key();
            if child.planned.is_some() {
                continue;
            }
            if !key.with.is_empty() && !key.with.iter().any(|name| table.member(name).is_some()) {
                let names: Vec<String> = key.with.iter().map(|name| format!("`{name}`")).collect();
                let message = format!("`{}` means nothing without {}", member.key, or(&names));
                self.report(codes::problem(codes::DOES_NOT_FIT, message, member.key.place.clone()));
            }
            for name in key.needs {
                if self.is_whole && table.member(name).is_none() {
                    let example = keys.children.get(name).map(|child| child.key().shown_example());
                    let message = format!("`{}` needs `{name}`", member.key);
                    let label = format!("add `{name} = {}`", example.unwrap_or_default());
                    let problem =
                        codes::problem(codes::MISSING_KEY, message, member.key.place.clone());
                    self.report(problem.label(label));
                }
            }
        }
    }
}

/// The keys of a group that this version builds.
fn built_keys(group: &Group) -> Vec<String> {
    let table = group.path.split('.').try_fold(keys::root(), |node, part| match part {
        "*" => node.any.as_deref(),
        name => node.children.get(name),
    });
    let is_built = |name: &&&str| {
        let child = table.and_then(|table| table.children.get(**name));
        child.is_some_and(|child| child.planned.is_none())
    };
    group.keys.iter().filter(is_built).map(|name| format!("`{name}`")).collect()
}

fn without_article(noun: &str) -> String {
    let noun = noun.strip_prefix("a ").unwrap_or(noun);
    format!("the {noun}").replace("the what", "what")
}

/// A table with one of its keys, as TOML writes it.
fn table_example(keys: &KeyNode) -> String {
    let required = || keys.children.iter().find(|(_, child)| child.key().is_required);
    let first = required().or_else(|| keys.children.first_key_value());
    match (first, keys.any.as_deref()) {
        (Some((name, child)), _) if !child.key().shape.holds_tables() => {
            format!("{{ {name} = {} }}", child.key().shown_example())
        }
        (None, Some(any)) if !any.key().shape.holds_tables() => {
            format!("{{ name = {} }}", any.key().shown_example())
        }
        _ => Shape::Table.example(),
    }
}

/// The opening brace of a table in a list, to point at it as a whole.
fn start_of(item: &Node) -> Place {
    let range = &item.place.range;
    Place { file: item.place.file.clone(), range: range.start..range.end.min(range.start + 1) }
}

fn malformed(text: &str, keys: &KeyNode, shape: &Shape, place: Place) -> Problem {
    let key = keys.key();
    let text = if text.is_empty() { "\"\"".to_owned() } else { format!("`{text}`") };
    let example = match key.shape {
        Shape::List(_) => shape.example(),
        _ => key.shown_example(),
    };
    codes::problem(codes::MALFORMED, format!("{text} is not {}", shape.noun()), place)
        .label(format!("such as `{example}`"))
}

fn unknown_word(text: &str, key: &str, words: &[Word], place: Place) -> Problem {
    let problem = codes::problem(codes::UNKNOWN_WORD, format!("`{key}` cannot be `{text}`"), place);
    let built = words.iter().filter(|word| word.state == State::Built);
    let all: Vec<String> = built.map(|word| format!("`{}`", word.text)).collect();
    match nearest(text, words.iter().map(|word| word.text)) {
        Some(near) => problem.label(format!("did you mean `{near}`?")),
        None => problem.label(format!("one of {}", or(&all))),
    }
}

fn not_built(name: &str, purpose: &str, place: Place) -> Problem {
    let mut purpose = purpose.trim_end_matches('.').to_owned();
    if purpose.chars().nth(1).is_some_and(char::is_lowercase) || purpose.starts_with("A ") {
        purpose[..1].make_ascii_lowercase();
    }
    let message = format!("`{name}` is not built yet: {purpose}");
    codes::problem(codes::NOT_BUILT, message, place)
        .hint("A later version reads it; remove it for now.")
}

/// The password in an address such as `postgres://user:password@host/db`, if it is written out.
fn password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty() && !password.contains("${")).then_some(password)
}
