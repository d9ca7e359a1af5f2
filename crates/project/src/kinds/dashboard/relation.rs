//! What may follow FROM in a panel, and the parameters of a query.

use std::ops::Range;

/// What a text in the place of a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation<'a> {
    /// A name.
    Name(&'a str),
    /// `latest(name)`.
    Latest(&'a str),
    /// A query.
    Query,
}

/// Reads what stands in the place of a relation.
pub(super) fn relation(text: &str) -> Option<Relation<'_>> {
    let text = text.trim();
    if is_name(text) {
        return Some(Relation::Name(text));
    }
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    match word.to_ascii_lowercase().as_str() {
        "select" | "with" => Some(Relation::Query),
        "latest" => {
            let inside = text[word.len()..].trim_start().strip_prefix('(')?.strip_suffix(')')?;
            Some(inside.trim()).filter(|name| is_name(name)).map(Relation::Latest)
        }
        _ => None,
    }
}

/// Whether a text can stand in the place of a relation.
pub(crate) fn is_relation(text: &str) -> bool {
    relation(text).is_some()
}

/// The name in the place of a relation; none for a query, and for what is no relation.
pub(crate) fn relation_name(text: &str) -> Option<&str> {
    match relation(text)? {
        Relation::Name(name) | Relation::Latest(name) => Some(name),
        Relation::Query => None,
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

/// The parameters of a query, `$` included: those outside texts, quoted names and comments.
pub(super) fn parameters(sql: &str) -> Vec<Range<usize>> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = &sql[at..];
        let skip = match byte {
            b'\'' | b'"' => {
                let quote = char::from(*byte);
                rest[1..].find(quote).map_or(rest.len(), |end| end + 2)
            }
            b'-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            b'$' => {
                let word = rest[1..]
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(rest.len() - 1);
                if rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    found.push(at..at + 1 + word);
                }
                1 + word
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += skip;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_names_latest_and_queries() {
        check("trades", Some(Relation::Name("trades")));
        check(" latest ( changes ) ", Some(Relation::Latest("changes")));
        check("system.gaps", Some(Relation::Name("system.gaps")));
        check("select 1", Some(Relation::Query));
        check("WITH a AS (SELECT 1) SELECT * FROM a", Some(Relation::Query));
        check("latest(a, b)", None);
        check("drop table a", None);
        check("", None);
    }

    #[track_caller]
    fn check(text: &str, expected: Option<Relation<'_>>) {
        assert_eq!(relation(text), expected);
    }

    #[test]
    fn parameters_are_found_outside_texts_and_comments() {
        let sql =
            "SELECT '$a' || $b, \"$c\" -- $d\n/* $e */ FROM ä WHERE x = $f_1 AND $1 = 'it''s $g'";
        let found: Vec<&str> = parameters(sql).into_iter().map(|range| &sql[range]).collect();
        assert_eq!(found, ["$b", "$f_1"]);
    }
}
