//! The generated pages of `docs/`.

use std::fs;

use crate::{command, features, tree};

/// Tests that hold a page against the code, and write it when the variable is set.
const PAGES: [(&str, &str); 2] = [
    (
        "UPDATE_EXPECTED",
        "cargo test -p thalweg-project --test check the_reference_page_in_the_repository_is_fresh",
    ),
    (
        "UPDATE_TRANSCRIPTS",
        "cargo test -p thalweg-serve --test it the_document_in_the_repository_is_fresh",
    ),
];

/// Writes all of them.
pub(crate) fn run() -> Result<(), String> {
    let root = tree::root();
    let list = fs::read_to_string(root.join(features::LIST)).map_err(|error| error.to_string())?;
    let page = features::page(&features::parse(&list)?);
    fs::write(root.join(features::PAGE), page).map_err(|error| error.to_string())?;
    for (variable, line) in PAGES {
        command::run(&root, &[(variable, "1")], line)?;
    }
    Ok(())
}
