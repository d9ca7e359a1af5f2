//! Secrets: `${NAME}` in the project file, read from the environment or from `.env` beside it;
//! `${NAME:-default}` where it need not be set.
//!
//! Invariant (S28): what a [`Secret`] holds is shown by nothing but [`Secret::reveal`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

/// Text that holds, or may hold, something secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the connection it is meant for and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where `${NAME}` is looked up: the process's environment first, `.env` after it.
pub(crate) struct Environment<'a> {
    process: &'a dyn Fn(&str) -> Option<String>,
    file: BTreeMap<String, String>,
    /// Values that were asked for.
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(
        process: &'a dyn Fn(&str) -> Option<String>,
        file: BTreeMap<String, String>,
    ) -> Self {
        Self { process, file, used: RefCell::default() }
    }

    /// What must not be shown: every value that was asked for, and all of `.env`.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let used = self.used.borrow();
        let all: BTreeSet<&String> = used.iter().chain(self.file.values()).collect();
        all.into_iter().filter(|value| !value.is_empty()).map(Secret::new).collect()
    }

    /// The value of a variable; an empty one counts as not set.
    fn get(&self, name: &str) -> Option<String> {
        let process = (self.process)(name).filter(|value| !value.is_empty());
        let value =
            process.or_else(|| self.file.get(name).filter(|value| !value.is_empty()).cloned())?;
        self.used.borrow_mut().insert(value.clone());
        Some(value)
    }

    /// `text` with every variable replaced, or the names of those that are not set.
    pub(crate) fn expand(&self, text: &str) -> Result<Secret, Vec<String>> {
        let mut expanded = String::new();
        let mut missing = Vec::new();
        let mut rest = 0;
        for variable in variables(text) {
            expanded.push_str(&text[rest..variable.range.start]);
            match (variable.name.and_then(|name| self.get(name)), variable.default) {
                (Some(value), _) => expanded.push_str(&value),
                (None, Some(default)) => expanded.push_str(default),
                (None, None) => missing.extend(variable.name.map(str::to_owned)),
            }
            rest = variable.range.end;
        }
        expanded.push_str(&text[rest..]);
        if missing.is_empty() { Ok(Secret(expanded)) } else { Err(missing) }
    }
}

/// One `${…}` of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variable<'a> {
    /// The name between the braces; none when there is no name, or no closing brace.
    pub(crate) name: Option<&'a str>,
    /// What stands for it when it is not set: the text behind `:-`.
    pub(crate) default: Option<&'a str>,
    /// From `$` to `}`, or to the end of the text.
    pub(crate) range: Range<usize>,
}

/// Every `${…}` of a text, in order.
pub(crate) fn variables(text: &str) -> Vec<Variable<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("${") {
        let start = from + at;
        let inside = &text[start + 2..];
        let (name, default, end) = match inside.find('}') {
            Some(len) => {
                let (name, default) = match inside[..len].split_once(":-") {
                    Some((name, default)) => (name, Some(default)),
                    None => (&inside[..len], None),
                };
                let name = Some(name).filter(|name| is_name(name));
                (name, default.filter(|_| name.is_some()), start + 2 + len + 1)
            }
            None => (None, None, text.len()),
        };
        found.push(Variable { name, default, range: start..end });
        from = end;
    }
    found
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads an `.env` file: `NAME=value` lines, `export` before them, quotes round the value, `#`
/// comments. The second part has the numbers, from 1, of lines that are none of these.
pub(crate) fn parse_env_file(text: &str) -> (BTreeMap<String, String>, Vec<usize>) {
    let mut values = BTreeMap::new();
    let mut wrong_lines = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        match line.split_once('=') {
            Some((name, value)) if is_name(name.trim()) => {
                values.insert(name.trim().to_owned(), env_value(value.trim()).to_owned());
            }
            _ => wrong_lines.push(index + 1),
        }
    }
    (values, wrong_lines)
}

fn env_value(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inside) = value.strip_prefix(quote)
            && let Some((inside, _)) = inside.split_once(quote)
        {
            return inside;
        }
    }
    value.split_once(" #").map_or(value, |(value, _)| value.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nothing_but_reveal() {
        let secret = Secret::new("hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {:?}", Some(&secret)),
            "*** Secret(***) Some(Secret(***))"
        );
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let process = |name: &str| match name {
            "A" => Some("process".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let (file, wrong) = parse_env_file(
            "# comment\nA=file\nexport B = \"two # words\" # why\nEMPTY='from file'\nC=c # why\nwrong line\n=x\n",
        );
        assert_eq!(wrong, [6, 7]);
        let environment = Environment::new(&process, file);
        let check = |text: &str, expected: Result<&str, &[&str]>| {
            let expanded = environment.expand(text);
            let expanded = expanded
                .as_ref()
                .map(Secret::reveal)
                .map_err(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(expanded, expected.map_err(<[&str]>::to_vec), "{text}");
        };
        check("${A}", Ok("process"));
        check("-${B}-${C}-", Ok("-two # words-c-"));
        check("${EMPTY}", Ok("from file"));
        check("${X} ${A} ${Y}", Err(&["X", "Y"]));
        check("$A {A}", Ok("$A {A}"));
        check("${X:-lake}/${A:-b} ${X:-}", Ok("lake/process "));
        let secrets = environment.secrets();
        let secrets: Vec<&str> = secrets.iter().map(Secret::reveal).collect();
        assert_eq!(secrets, ["c", "file", "from file", "process", "two # words"]);
    }

    #[test]
    fn variables_without_a_name_are_found_too() {
        let found = variables("a${B}c${}d${1x}e${F");
        let found: Vec<_> = found.iter().map(|v| (v.name, v.range.clone())).collect();
        assert_eq!(found, [(Some("B"), 1..5), (None, 6..9), (None, 10..15), (None, 16..19)]);
    }
}
