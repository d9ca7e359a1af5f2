//! The codes of problems, each with its page: what it means, an example, what to do.
//!
//! The first digits say the phase: `T01` reading, `T02` shape, `T03` names and SQL, `T04`
//! environment, `T05` not built yet. Codes are stable: a code is never used for something else.
//! `T0303` to `T0307` and `T0314` are raised by the engine, `T0313` where panels are compiled, and
//! `T0315` by sinks, which know them by their numbers.

use thalweg_core::problem::{Place, Problem, Severity};

/// A file is not TOML.
pub(crate) const SYNTAX: &str = "T0101";
/// A file cannot be read as text.
pub(crate) const UNREADABLE: &str = "T0102";
/// There is no project in the folder.
pub(crate) const NO_PROJECT: &str = "T0103";
/// No such key.
pub(crate) const UNKNOWN_KEY: &str = "T0201";
/// A value of another kind.
pub(crate) const WRONG_TYPE: &str = "T0202";
/// A key that must be there.
pub(crate) const MISSING_KEY: &str = "T0203";
/// A word that is none of those known.
pub(crate) const UNKNOWN_WORD: &str = "T0204";
/// Text that does not say what it should.
pub(crate) const MALFORMED: &str = "T0205";
/// None, or more than one, of keys of which one is needed.
pub(crate) const ONE_OF: &str = "T0206";
/// Keys that do not go together.
pub(crate) const DOES_NOT_FIT: &str = "T0207";
/// No such thing.
pub(crate) const NO_SUCH_NAME: &str = "T0301";
/// No such column.
pub(crate) const NO_SUCH_COLUMN: &str = "T0302";
/// A name is taken.
pub(crate) const DEFINED_TWICE: &str = "T0308";
/// Not a name.
pub(crate) const BAD_NAME: &str = "T0309";
/// Things that wait for each other.
pub(crate) const CYCLE: &str = "T0310";
/// A thing of another kind.
pub(crate) const WRONG_KIND: &str = "T0311";
/// No such filter.
pub(crate) const NO_SUCH_FILTER: &str = "T0312";
/// A variable is not set.
pub(crate) const SECRET_MISSING: &str = "T0401";
/// A line of `.env` is wrong.
pub(crate) const ENV_FILE: &str = "T0402";
/// A secret stands in the file.
pub(crate) const SECRET_IN_FILE: &str = "T0403";
/// A later version builds it.
pub(crate) const NOT_BUILT: &str = "T0501";

/// Every code with its page, in order.
const PAGES: &[(&str, &str)] = &[
    (SYNTAX, include_str!("codes/T0101.md")),
    (UNREADABLE, include_str!("codes/T0102.md")),
    (NO_PROJECT, include_str!("codes/T0103.md")),
    (UNKNOWN_KEY, include_str!("codes/T0201.md")),
    (WRONG_TYPE, include_str!("codes/T0202.md")),
    (MISSING_KEY, include_str!("codes/T0203.md")),
    (UNKNOWN_WORD, include_str!("codes/T0204.md")),
    (MALFORMED, include_str!("codes/T0205.md")),
    (ONE_OF, include_str!("codes/T0206.md")),
    (DOES_NOT_FIT, include_str!("codes/T0207.md")),
    (NO_SUCH_NAME, include_str!("codes/T0301.md")),
    (NO_SUCH_COLUMN, include_str!("codes/T0302.md")),
    ("T0303", include_str!("codes/T0303.md")),
    ("T0304", include_str!("codes/T0304.md")),
    ("T0305", include_str!("codes/T0305.md")),
    ("T0306", include_str!("codes/T0306.md")),
    ("T0307", include_str!("codes/T0307.md")),
    (DEFINED_TWICE, include_str!("codes/T0308.md")),
    (BAD_NAME, include_str!("codes/T0309.md")),
    (CYCLE, include_str!("codes/T0310.md")),
    (WRONG_KIND, include_str!("codes/T0311.md")),
    (NO_SUCH_FILTER, include_str!("codes/T0312.md")),
    ("T0313", include_str!("codes/T0313.md")),
    ("T0314", include_str!("codes/T0314.md")),
    ("T0315", include_str!("codes/T0315.md")),
    (SECRET_MISSING, include_str!("codes/T0401.md")),
    (ENV_FILE, include_str!("codes/T0402.md")),
    (SECRET_IN_FILE, include_str!("codes/T0403.md")),
    (NOT_BUILT, include_str!("codes/T0501.md")),
];

/// The page of a code, as Markdown: what it means, an example, what to do. Case does not matter.
pub fn explain(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).map(|(_, page)| *page)
}

/// Every code, in order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(code, _)| *code)
}

/// An error at a place.
pub(crate) fn problem(code: &'static str, message: impl Into<String>, place: Place) -> Problem {
    Problem {
        code,
        severity: Severity::Error,
        message: message.into(),
        label: None,
        hint: None,
        place: Some(place),
        related: Vec::new(),
    }
}

/// An error without a place in the files.
pub(crate) fn problem_outside(code: &'static str, message: impl Into<String>) -> Problem {
    Problem {
        code,
        severity: Severity::Error,
        message: message.into(),
        label: None,
        hint: None,
        place: None,
        related: Vec::new(),
    }
}

/// The same problem with what is told beside it.
pub(crate) trait Telling {
    /// Text at the caret.
    fn label(self, label: impl Into<String>) -> Self;
    /// What to do, in a sentence.
    fn hint(self, hint: impl Into<String>) -> Self;
    /// Another place that explains it.
    fn related(self, text: impl Into<String>, place: Place) -> Self;
    /// A warning instead of an error.
    fn warning(self) -> Self;
}

impl Telling for Problem {
    fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn related(mut self, text: impl Into<String>, place: Place) -> Self {
        self.related.push((text.into(), place));
        self
    }

    fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_begins_with_its_code_and_holds_an_example() {
        for (code, page) in PAGES {
            assert!(page.starts_with(&format!("# {code}: ")), "{code}");
            assert!(page.contains("```"), "{code} has no example");
            assert!(page.contains("## What to do"), "{code} does not say what to do");
        }
    }

    #[test]
    fn a_code_is_explained_in_any_case() {
        assert_eq!(explain("t0302"), explain("T0302"));
        assert!(explain("T0302").is_some());
        assert_eq!(explain("T9999"), None);
    }
}
