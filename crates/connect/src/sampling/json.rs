//! JSON: where the rows are, which messages hold some, and columns by their paths.

use serde_json::de::Deserializer;
use thalweg_core::schema::Column;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::ordered::Ordered;
use super::roles::{self, Names};
use super::values::{Seen, infer};
use super::{COLUMNS_MAX, JsonLayout, Proposal, ProposedColumn, ProposedFormat, ROWS_MAX, Whole};

/// Objects within objects that become columns of their own.
const DEPTH_MAX: usize = 3;
/// Keys whose text says what a message is.
const KINDS: [&str; 9] =
    ["type", "e", "event", "channel", "op", "topic", "stream", "action", "kind"];
/// Names of lists that hold rows even where there is one.
const LISTS: [&str; 10] =
    ["data", "results", "result", "items", "rows", "records", "list", "trades", "events", "values"];

/// What a file or body holds.
pub(super) fn of_text(text: &str, whole: Whole, is_cut: bool, now: Timestamp) -> Result<Proposal> {
    let values = values(text, is_cut)?;
    if let [Ordered::List(rows)] = values.as_slice() {
        let (layout, path) = match whole {
            Whole::File => (JsonLayout::Array, None),
            Whole::Body => (JsonLayout::Document, Some("$[*]".to_owned())),
        };
        let rows: Vec<&Ordered> = rows.iter().take(ROWS_MAX).collect();
        return of_rows(&rows, path, None, layout, now);
    }
    if values.len() > 1 && whole == Whole::File {
        return of_values(&values, JsonLayout::Lines, now);
    }
    let Some(document) = values.first() else {
        return Err(Error::invalid("there is no JSON value in it"));
    };
    let lines = text.trim_end().lines().count();
    let layout = if lines == 1 { JsonLayout::Lines } else { JsonLayout::Document };
    of_values(std::slice::from_ref(document), layout, now)
}

/// What messages hold.
pub(super) fn of_messages<'a>(
    messages: impl Iterator<Item = &'a [u8]>,
    now: Timestamp,
) -> Result<Proposal> {
    let values: Vec<Ordered> =
        messages.filter_map(|message| serde_json::from_slice(message).ok()).collect();
    if values.is_empty() {
        return Err(Error::invalid("no message came that is JSON"));
    }
    of_values(&values, JsonLayout::Lines, now)
}

/// Every value of a text; of an array that is cut, its elements so far.
fn values(text: &str, is_cut: bool) -> Result<Vec<Ordered>> {
    let mut found = Vec::new();
    for value in Deserializer::from_str(text).into_iter::<Ordered>().take(ROWS_MAX) {
        match value {
            Ok(value) => found.push(value),
            Err(_) if is_cut && !found.is_empty() => break,
            Err(_) if is_cut && text.trim_start().starts_with('[') => {
                return Ok(vec![Ordered::List(elements(text))]);
            }
            Err(error) if is_cut && error.is_eof() => {
                return Err(Error::invalid("one JSON value is longer than what is sampled"));
            }
            Err(error) => {
                return Err(Error::invalid(format!("it is not JSON: {error}")));
            }
        }
    }
    Ok(found)
}

/// The elements of an array whose end is not there.
fn elements(text: &str) -> Vec<Ordered> {
    let mut rest = text.trim_start().get(1..).unwrap_or_default();
    let mut found = Vec::new();
    while found.len() < ROWS_MAX {
        let mut values = Deserializer::from_str(rest).into_iter::<Ordered>();
        let Some(Ok(value)) = values.next() else { break };
        found.push(value);
        rest = rest[values.byte_offset()..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    found
}

fn of_values(values: &[Ordered], layout: JsonLayout, now: Timestamp) -> Result<Proposal> {
    let kind = kind_of_most(values);
    let is_one = |value: &&Ordered| match &kind {
        Some((key, word)) => value.get(key).and_then(Ordered::as_text) == Some(word),
        None => matches!(value, Ordered::Object(_) | Ordered::List(_)),
    };
    let chosen: Vec<&Ordered> = values.iter().filter(is_one).collect();
    let only_if = kind.as_ref().map(|(key, word)| format!("$.{key} = '{word}'"));
    if let Some(steps) = list_of_rows(&chosen) {
        let rows: Vec<&Ordered> = chosen
            .iter()
            .filter_map(|value| steps.iter().try_fold(*value, |at, step| at.get(step)))
            .flat_map(|list| match list {
                Ordered::List(rows) => rows.as_slice(),
                _ => &[],
            })
            .take(ROWS_MAX)
            .collect();
        let steps: Vec<String> = steps.iter().map(|step| key_step(step)).collect();
        let path = format!("${}[*]", steps.concat());
        return of_rows(&rows, Some(path), only_if, layout, now);
    }
    let is_list = chosen.iter().all(|value| matches!(value, Ordered::List(_)));
    if is_list && !chosen.is_empty() {
        // Messages that are lists hold rows, if those are objects or lists.
        let rows: Vec<&Ordered> = chosen.iter().flat_map(|value| items(value)).collect();
        if rows.iter().all(|row| matches!(row, Ordered::Object(_) | Ordered::List(_))) {
            return of_rows(&rows, Some("$[*]".to_owned()), only_if, layout, now);
        }
    }
    of_rows(&chosen, None, only_if, layout, now)
}

fn items(value: &Ordered) -> &[Ordered] {
    match value {
        Ordered::List(items) => items,
        _ => &[],
    }
}

/// The key that says what messages are, and what most of them are; none where none does.
fn kind_of_most(values: &[Ordered]) -> Option<(String, String)> {
    KINDS.into_iter().find_map(|key| {
        let words: Vec<&str> =
            values.iter().filter_map(|value| value.get(key)?.as_text()).collect();
        let count = |word: &str| words.iter().filter(|it| **it == word).count();
        let most = words.iter().copied().max_by_key(|word| count(word))?;
        let is_told = count(most) * 2 >= values.len() && !most.contains('\'');
        // With a word for each row it is a column, not a kind.
        let is_kind = values.len() > 1 && count(most) > 1 && words.len() >= count(most);
        let others = words.iter().filter(|word| **word != most).count();
        (is_told && is_kind && others * 4 <= values.len())
            .then(|| (key.to_owned(), most.to_owned()))
    })
}

/// The way to the list of objects that holds the rows of every value, if there is one.
fn list_of_rows(values: &[&Ordered]) -> Option<Vec<String>> {
    let first = values.first()?;
    let mut ways = Vec::new();
    lists(first, &mut Vec::new(), &mut ways);
    let in_all = |way: &Vec<String>| {
        values.iter().all(|value| {
            let list = way.iter().try_fold(*value, |at, step| at.get(step));
            matches!(list, Some(Ordered::List(_)))
        })
    };
    let scalars = match first {
        Ordered::Object(members) => members
            .iter()
            .filter(|(_, value)| !matches!(value, Ordered::List(_) | Ordered::Object(_)))
            .count(),
        _ => 0,
    };
    let is_rows = |way: &Vec<String>, count: usize| {
        let name = way.last().map(String::as_str).unwrap_or_default();
        LISTS.contains(&name) || (scalars <= 3 && count > 1)
    };
    ways.into_iter()
        .filter(|(way, count)| in_all(way) && is_rows(way, *count))
        .max_by_key(|(way, count)| (*count, usize::MAX - way.len()))
        .map(|(way, _)| way)
}

fn lists(value: &Ordered, way: &mut Vec<String>, found: &mut Vec<(Vec<String>, usize)>) {
    let Ordered::Object(members) = value else { return };
    for (name, value) in members {
        way.push(name.clone());
        match value {
            Ordered::List(items)
                if !items.is_empty()
                    && items
                        .iter()
                        .all(|item| matches!(item, Ordered::Object(_) | Ordered::List(_))) =>
            {
                found.push((way.clone(), items.len()));
            }
            Ordered::Object(_) if way.len() < DEPTH_MAX => lists(value, way, found),
            _ => {}
        }
        way.pop();
    }
}

/// A step of a path, as paths are written.
fn key_step(key: &str) -> String {
    let is_plain =
        key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) && !key.is_empty();
    if is_plain { format!(".{key}") } else { format!("['{key}']") }
}

fn of_rows(
    rows: &[&Ordered],
    path: Option<String>,
    only_if: Option<String>,
    layout: JsonLayout,
    now: Timestamp,
) -> Result<Proposal> {
    let mut found: Vec<(String, Vec<Seen>)> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        flatten(row, "", 0, number, &mut found);
    }
    if found.is_empty() {
        return Err(Error::invalid("there are no rows in it")
            .with_hint("A row is a JSON object, or a list of values."));
    }
    if found.len() > COLUMNS_MAX {
        let message = format!("its rows have {} members, more than {COLUMNS_MAX}", found.len());
        return Err(Error::invalid(message));
    }
    let mut names = Names::default();
    let mut columns = Vec::with_capacity(found.len());
    let mut checks = Vec::new();
    for (place, mut seen) in found {
        seen.resize(rows.len(), Seen::Null);
        let name = names.take(&place.replace(['[', ']'], " "));
        let inferred = infer(&place, &seen, now);
        let column = Column {
            select: (name != place).then_some(place),
            name,
            kind: inferred.kind,
            nullable: inferred.nullable,
            unit: inferred.unit,
            allow_nan: false,
        };
        checks.extend(roles::check(&column, &seen));
        columns.push(column);
    }
    let (key, event_time) = (roles::key(&columns), roles::event_time(&columns));
    let format = ProposedFormat::Json { rows: path, only_if, layout };
    let columns = columns.into_iter().map(|column| ProposedColumn { column, clean: None });
    Ok(Proposal { format, columns: columns.collect(), key, event_time, checks })
}

/// Adds the values of a row to those of the columns at their places.
fn flatten(
    value: &Ordered,
    place: &str,
    depth: usize,
    number: usize,
    found: &mut Vec<(String, Vec<Seen>)>,
) {
    match value {
        Ordered::Object(members) if depth < DEPTH_MAX && !members.is_empty() => {
            for (name, value) in members {
                let step = key_step(name);
                let place = match place.is_empty() {
                    true => step.strip_prefix('.').unwrap_or(&step).to_owned(),
                    false => format!("{place}{step}"),
                };
                flatten(value, &place, depth + 1, number, found);
            }
        }
        Ordered::List(items) if depth == 0 => {
            for (at, value) in items.iter().enumerate() {
                add(value, &format!("[{at}]"), number, found);
            }
        }
        _ if place.is_empty() => {}
        value => add(value, place, number, found),
    }
}

fn add(value: &Ordered, place: &str, number: usize, found: &mut Vec<(String, Vec<Seen>)>) {
    let at = match found.iter().position(|(known, _)| known == place) {
        Some(at) => at,
        None if found.len() > COLUMNS_MAX => return,
        None => {
            found.push((place.to_owned(), Vec::new()));
            found.len() - 1
        }
    };
    let column = &mut found[at].1;
    column.resize(number, Seen::Null);
    column.push(match value {
        Ordered::Null => Seen::Null,
        Ordered::Boolean => Seen::Boolean,
        Ordered::Integer(number) => Seen::Integer(*number),
        Ordered::Float(number) => Seen::Float(*number),
        Ordered::Text(text) => Seen::Quoted(text.clone()),
        Ordered::List(_) | Ordered::Object(_) => Seen::Nested,
    });
}
