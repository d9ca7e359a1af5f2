//! Keys of `[test.X]`.

use super::{Group, Key, Shape, key};

pub(super) const GROUPS: &[Group] = &[Group {
    path: "test.*.given.*",
    keys: &["rows", "frames"],
    is_required: true,
    noun: "what is given",
}];

pub(super) const KEYS: &[Key] = &[
    key("test", Shape::Table, "Tests of the project, for `thalweg test`."),
    key(
        "test.*",
        Shape::Table,
        "One test: what sources receive, and what relations hold then. It runs in process, on a \
         clock of its own, without network and without the project's data.",
    ),
    key(
        "test.*.now",
        Shape::Time,
        "When everything is received that does not say it by `_received_at`, and what `now()` is \
         in views. Default: a row is received at its event time, or at that of an earlier row if \
         it is later.",
    ),
    key("test.*.given", Shape::Table, "What is received, by source.").required(),
    key(
        "test.*.given.*",
        Shape::Table,
        "What one source receives, a row or message at a time. Rows, or a path to rows, is short \
         for `rows`.",
    )
    .short_for("rows"),
    key(
        "test.*.given.*.rows",
        Shape::Rows,
        "Rows by the names of the source's columns, whatever its format; or a file of them: \
         JSON lines, or a JSON array. A column that is left out is NULL.",
    )
    .example("tests/two_trades.jsonl"),
    key(
        "test.*.given.*.frames",
        Shape::Path,
        "A file of what the source itself receives, to be decoded: a message a line for \
         `.jsonl` and `.ndjson`, else one message; for a source of files, a file as it reads them.",
    )
    .example("tests/messages.jsonl"),
    key("test.*.expect", Shape::Table, "What must be there afterwards, by relation.").required(),
    key(
        "test.*.expect.*",
        Shape::Rows,
        "All rows of a relation, of the columns that are named; or a file of them: JSON lines, \
         or a JSON array. Those of a source or row-wise stream in order of arrival, of others in \
         any order. A column that other rows name is NULL where it is left out.",
    )
    .example("tests/changes.jsonl"),
];
