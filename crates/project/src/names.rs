//! The third phase: names. Each is a name, means one thing, and what refers to it refers to a thing
//! of the right kind.
//!
//! Names inside SQL are the engine's business; so are columns, but for those a source declares.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_core::problem::{Place, Problem, nearest};
use thalweg_core::topic::is_topic_name;

use crate::codes::{self, Telling};
use crate::keys::shape::or;
use crate::keys::{self, Key, KeyNode, Kind, Shape};
use crate::kinds::relation_name;
use crate::spanned::Spanned;
use crate::tree::{Node, Value};

/// Everything a project declares by name, in the order of the files.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    all: Vec<(Kind, Spanned<String>)>,
}

impl Definitions {
    /// Collects the names. One in a section whose own name is misspelt counts as what was meant.
    pub(crate) fn collect(root: &Node) -> Self {
        let mut all = Vec::new();
        for section in root.members() {
            let sections = Kind::ALL.map(Kind::section);
            let Some(kind) = nearest(&section.key, sections).and_then(Kind::of_section) else {
                continue;
            };
            all.extend(section.node.members().iter().map(|member| (kind, member.key.clone())));
            if kind == Kind::Route {
                all.extend(section.node.members().iter().flat_map(|route| arms(&route.node)));
            }
        }
        Self { all }
    }

    /// What is called `name`, of one of these kinds if there is one, else of any.
    pub(crate) fn find(&self, name: &str, kinds: &[Kind]) -> Option<(Kind, &Spanned<String>)> {
        let named = || self.all.iter().filter(|(_, key)| key.value == name);
        let found = named().find(|(kind, _)| kinds.contains(kind)).or_else(|| named().next());
        found.map(|(kind, key)| (*kind, key))
    }

    /// Names of things of these kinds.
    fn names<'a>(&'a self, kinds: &'a [Kind]) -> impl Iterator<Item = &'a str> {
        self.all.iter().filter(|(kind, _)| kinds.contains(kind)).map(|(_, key)| key.as_str())
    }

    /// Why `name` cannot stand where a thing of these kinds is meant; none when it can. `is_whole`
    /// is false when a file did not parse: what is missing may be in the part that was lost.
    pub(crate) fn refuse(
        &self,
        name: &str,
        kinds: &[Kind],
        is_whole: bool,
        place: &Place,
    ) -> Option<Problem> {
        let words: Vec<&str> = kinds.iter().map(|kind| kind.section()).collect();
        let wanted = or(&words);
        match self.find(name, kinds) {
            Some((kind, _)) if kinds.contains(&kind) => None,
            Some((kind, declared)) => {
                let message =
                    format!("`{name}` is a {kind}; here the name of a {wanted} is needed");
                let problem = codes::problem(codes::WRONG_KIND, message, place.clone());
                Some(problem.related(format!("`{name}` is declared here"), declared.place.clone()))
            }
            None => {
                let message = format!("no {wanted} is named `{name}`");
                let problem = codes::problem(codes::NO_SUCH_NAME, message, place.clone());
                let near = nearest(name, self.names(kinds));
                match near.and_then(|near| self.find(near, kinds)) {
                    Some((_, declared)) => {
                        let text = format!("`{declared}` is declared here");
                        let label = format!("did you mean `{declared}`?");
                        Some(problem.label(label).related(text, declared.place.clone()))
                    }
                    None if !is_whole => None,
                    None => {
                        let all: Vec<&str> = self.names(kinds).collect();
                        Some(if all.is_empty() {
                            problem
                        } else {
                            problem.hint(format!("There are: {}.", all.join(", ")))
                        })
                    }
                }
            }
        }
    }
}

/// Checks every name and every reference of the tree.
pub(crate) fn check(
    root: &Node,
    definitions: &Definitions,
    is_whole: bool,
    problems: &mut Vec<Problem>,
) {
    let mut relations: BTreeMap<&str, (Kind, &Spanned<String>)> = BTreeMap::new();
    for (kind, name) in &definitions.all {
        if *kind == Kind::Topic {
            problems.extend(wrong_topic(name));
        } else if !is_identifier(name) {
            let message = format!("`{name}` is not a name");
            let problem = codes::problem(codes::BAD_NAME, message, name.place.clone());
            problems.push(
                problem.hint("A name is small letters, digits and `_`, and begins with a letter."),
            );
        }
        if !kind.is_relation() {
            continue;
        }
        match relations.get(name.as_str()) {
            // Within one section it was reported when the files were read; an arm is in none.
            Some((other, _)) if other == kind && *kind != Kind::Stream => {}
            Some((_, first)) if first.place == name.place => {}
            Some((other, first)) => {
                let message = format!("`{name}` is already the name of a {other}");
                let problem = codes::problem(codes::DEFINED_TWICE, message, name.place.clone());
                let text = format!("the {other} `{first}` is declared here");
                problems.push(
                    problem
                        .related(text, first.place.clone())
                        .hint("What SQL can read has names of its own, of whatever kind it is."),
                );
            }
            None => {
                relations.insert(name, (*kind, name));
            }
        }
    }
    visit(root, &mut |node, _, shape| {
        let (name, kinds, place) = match (shape, &node.value) {
            (Shape::Name(kinds), Value::Text(name)) => (name.as_str(), *kinds, node.place.clone()),
            (Shape::Relation, Value::Text(text)) => match relation_name(text) {
                Some(name) if !name.starts_with("system.") => (name, RELATIONS, node.place.clone()),
                _ => return,
            },
            _ => return,
        };
        problems.extend(definitions.refuse(name, kinds, is_whole, &place));
    });
}

/// The names of a route's arms: relations, as streams are.
fn arms(route: &Node) -> impl Iterator<Item = (Kind, Spanned<String>)> {
    let arms = route.member("arms").map(|arms| arms.node.items()).unwrap_or_default();
    arms.iter().filter_map(|arm| {
        let name = &arm.member("name")?.node;
        let value = name.as_text()?.to_owned();
        Some((Kind::Stream, Spanned { value, place: name.place.clone() }))
    })
}

/// What is wrong with the name of a topic that is declared or published to.
pub(crate) fn wrong_topic(name: &Spanned<String>) -> Option<Problem> {
    if !is_topic_name(name) {
        let message = format!("`{name}` is not the name of a topic");
        let problem = codes::problem(codes::BAD_NAME, message, name.place.clone());
        return Some(problem.hint("It is letters, digits, `.`, `_` and `-`, 249 at most."));
    }
    if name.ends_with(".raw") || name.starts_with('_') {
        let message = format!("`{name}` is a name of thalweg's own topics");
        let problem = codes::problem(codes::BAD_NAME, message, name.place.clone());
        let hint = "Those that begin with `_` are internal, `NAME.raw` holds what source NAME got.";
        return Some(problem.hint(hint));
    }
    None
}

const RELATIONS: &[Kind] =
    &[Kind::Source, Kind::Topic, Kind::Stream, Kind::Table, Kind::View, Kind::Model];

/// Whether SQL reads a name as it is written, without quotes.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Calls `visitor` for every value of a known key that is built, with its key and its own shape.
pub(crate) fn visit<'a>(
    root: &'a Node,
    visitor: &mut dyn FnMut(&'a Node, &'static Key, &'static Shape),
) {
    visit_table(root, keys::root(), visitor);
}

type Visitor<'v, 'a> = &'v mut dyn FnMut(&'a Node, &'static Key, &'static Shape);

fn visit_table<'a>(table: &'a Node, keys: &'static KeyNode, visitor: Visitor<'_, 'a>) {
    for member in table.members() {
        if let Some(child) = keys.child(&member.key)
            && child.planned.is_none()
        {
            visit_value(&member.node, child, &child.key().shape, visitor);
        }
    }
}

fn visit_value<'a>(
    node: &'a Node,
    keys: &'static KeyNode,
    shape: &'static Shape,
    visitor: Visitor<'_, 'a>,
) {
    match (shape, &node.value) {
        (Shape::Table, Value::Table(_)) => visit_table(node, keys, visitor),
        (Shape::List(inner), Value::List(items)) => {
            for item in items {
                visit_value(item, keys, inner, visitor);
            }
        }
        _ => visitor(node, keys.key(), shape),
    }
}

/// A chain of names that leads back to its beginning, if there is one: `[a, b, a]`.
pub(crate) fn cycle(depends_on: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    // What depends on nothing is taken away until there is no such thing (Kahn, 1962); whatever is
    // left depends on something that is left.
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, needs) in depends_on {
        let needs = needs.iter().filter(|need| depends_on.contains_key(*need));
        open.insert(name, needs.clone().count());
        for need in needs {
            dependents.entry(need).or_default().push(name);
        }
    }
    let mut free: Vec<&str> =
        open.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    while let Some(name) = free.pop() {
        open.remove(name);
        for dependent in dependents.get(name).into_iter().flatten() {
            if let Some(count) = open.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    free.push(dependent);
                }
            }
        }
    }
    let mut chain: Vec<&str> = vec![open.keys().next()?];
    loop {
        let last = chain.last()?;
        let next = depends_on.get(*last)?.iter().find(|need| open.contains_key(need.as_str()))?;
        let start = chain.iter().position(|earlier| earlier == next);
        chain.push(next);
        if let Some(start) = start {
            return Some(chain[start..].iter().map(ToString::to_string).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_found_and_nothing_else_is_one() {
        check(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])], Some(&["b", "c", "b"]));
        check(&[("a", &["a"])], Some(&["a", "a"]));
        check(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"])], None);
    }

    #[track_caller]
    fn check(edges: &[(&str, &[&str])], expected: Option<&[&str]>) {
        let depends_on = edges
            .iter()
            .map(|(name, needs)| {
                (name.to_string(), needs.iter().map(|need| need.to_string()).collect())
            })
            .collect();
        let expected =
            expected.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(cycle(&depends_on), expected);
    }
}
