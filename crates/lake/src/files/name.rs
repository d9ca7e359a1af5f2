//! Names of files: whose rows a file holds, and of which epochs (F3).

use std::fmt;

use thalweg_core::sink::Epoch;

const PREFIX: &str = "part-";
/// Digits that a number is filled up to, so that names sort as epochs do.
const WIDTH: usize = 12;

/// `part-<incarnation>-<first>-<last>-<n>`, without its ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartName {
    /// Id of the data folder that wrote it.
    pub(crate) incarnation: String,
    /// First epoch of its commit that had rows.
    pub(crate) first: Epoch,
    /// Last epoch of its commit.
    pub(crate) last: Epoch,
    /// Number within the commit.
    pub(crate) number: usize,
}

impl PartName {
    /// Reads the name of a file; none when it is not one of ours.
    pub(crate) fn parse(file: &str, ending: &str) -> Option<Self> {
        let stem = file.strip_prefix(PREFIX)?.strip_suffix(ending)?.strip_suffix('.')?;
        let mut parts = stem.rsplitn(4, '-');
        let number = parts.next()?.parse().ok()?;
        let last = parts.next()?.parse().ok()?;
        let first = parts.next()?.parse().ok()?;
        let incarnation = parts.next().filter(|id| !id.is_empty())?.to_owned();
        Some(Self { incarnation, first, last, number })
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { incarnation, first, last, number } = self;
        write!(f, "{PREFIX}{incarnation}-{first:0WIDTH$}-{last:0WIDTH$}-{number}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_ours_has_no_name() {
        for file in ["part-0.csv", "part--1-2-3.csv", "part-a-1-2-3.json", "a-1-2-3.csv", ""] {
            assert_eq!(PartName::parse(file, "csv"), None, "{file}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(
            incarnation in "[0-9a-z-]{0,20}[0-9a-z]", first in 0u64.., last in 0u64.., number in 0usize..
        ) {
            let name = PartName { incarnation, first, last, number };
            prop_assert_eq!(PartName::parse(&format!("{name}.csv"), "csv"), Some(name));
        }
    }
}
