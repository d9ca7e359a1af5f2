//! The reference page of the project file, made from the table of keys.

use std::fmt::Write as _;

use crate::keys::{self, KeyNode, Shape, State, Word};

/// The page as Markdown: a section for each top-level table, a row for each key.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    let mut sections: Vec<&str> = Vec::new();
    for key in keys::keys() {
        let section = key.path.split('.').next().unwrap_or_default();
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    for section in sections {
        write_section(&mut page, section, &keys::root().children[section]);
    }
    page
}

const INTRODUCTION: &str = "\
# The project file, key by key

A project is a folder with `thalweg.toml` and, if wanted, `thalweg.d/*.toml` and files of SQL. This
page is made from the same table that `thalweg check` reads the files with. `X` is a name you choose;
where a key stands in a table of its own, dots and tables mean the same: `finnhub.token = …` is
`finnhub = { token = … }`.

Lengths of time are written `250ms`, `5s`, `1m`, `2h`, `7d`, `1w` or several of them, `1h 30m`;
numbers of bytes `512kB`, `64MB`, `1GB` (steps of 1000) or `KiB`, `MiB`, `GiB` (of 1024). `${NAME}`
in a token, an address or a header is read from the environment, or from `.env` beside the file.
";

fn write_section(page: &mut String, section: &str, keys: &KeyNode) {
    let named = keys.any.as_deref();
    let title = if named.is_some() { format!("{section}.X") } else { section.to_owned() };
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## `[{title}]`\n\n{}", keys.key().doc);
    if let Some(named) = named {
        let _ = write!(page, " {}", named.key().doc);
        if named.planned.is_some() {
            page.push_str(" **Not built yet.**");
        }
    }
    page.push_str("\n\n| key | value | default | meaning |\n|---|---|---|---|\n");
    write_rows(page, "", named.unwrap_or(keys), named.is_some_and(|named| named.planned.is_some()));
}

fn write_rows(page: &mut String, prefix: &str, keys: &KeyNode, is_planned: bool) {
    let mut children: Vec<(&str, &KeyNode)> =
        keys.children.iter().map(|(name, child)| (*name, child)).collect();
    children.extend(keys.any.as_deref().map(|any| ("X", any)));
    // In the order of the table, which is that of the tree's paths as they were written.
    let order: Vec<&str> = keys::keys().map(|key| key.path).collect();
    children.sort_by_key(|(_, child)| order.iter().position(|path| *path == child.key().path));
    for (name, child) in children {
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        write_row(page, &name, child, is_planned);
        let nested = match child.key().shape {
            Shape::List(_) => format!("{name}[]"),
            _ => name,
        };
        write_rows(page, &nested, child, is_planned || child.planned.is_some());
    }
}

fn write_row(page: &mut String, name: &str, keys: &KeyNode, is_parent_planned: bool) {
    let key = keys.key();
    let value = match key.shape {
        Shape::Table => key.shape.noun(),
        Shape::Choice(words) => listed(words),
        Shape::List(Shape::Choice(words)) => format!("a list of {}", listed(words)),
        _ if key.default.is_some() => key.shape.noun(),
        _ => format!("{}, such as `{}`", key.shape.noun(), key.shown_example()),
    };
    let default = match key.default {
        Some(default) => format!("`{}`", key.shape.quoted(default)),
        None if key.is_required => "**required**".to_owned(),
        None => String::new(),
    };
    let mut meaning = key.doc.to_owned();
    if !key.with.is_empty() {
        let _ = write!(meaning, " Goes with `{}`.", key.with.join("` or `"));
    }
    if !key.needs.is_empty() {
        let _ = write!(meaning, " Needs `{}`.", key.needs.join("` and `"));
    }
    if key.state == State::Accepted {
        meaning.push_str(" Accepted, without effect yet.");
    }
    if keys.planned.is_some() && !is_parent_planned {
        meaning.push_str(" **Not built yet.**");
    }
    let cells = [format!("`{name}`"), value, default, meaning];
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

/// The words of a choice, each with what it means.
fn listed(words: &[Word]) -> String {
    let words: Vec<String> = words
        .iter()
        .map(|word| match word.state {
            State::Planned(_) => format!("`\"{}\"` ({}; not built yet)", word.text, word.doc),
            State::Built | State::Accepted => format!("`\"{}\"` ({})", word.text, word.doc),
        })
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_row_with_its_sentence() {
        let page = reference();
        for key in keys::keys().filter(|key| key.path.matches('.').count() >= 2) {
            let doc = key.doc.replace('|', "\\|");
            let is_there = |line: &str| line.contains(&doc) && line.contains(key.name());
            let name = key.name() == "*" || page.lines().any(is_there);
            assert!(name, "`{}`", key.path);
        }
    }

    #[test]
    fn rows_have_four_cells() {
        for line in reference().lines().filter(|line| line.starts_with('|')) {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
        }
    }
}
