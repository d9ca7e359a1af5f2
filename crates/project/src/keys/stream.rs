//! Keys of `[stream.X]` and `[view.X]`.

use super::{Group, Key, Kind, Shape, key};

pub(super) const GROUPS: &[Group] = &[
    Group { path: "stream.*", keys: &["sql", "sql_file"], is_required: true, noun: "a query" },
    Group {
        path: "view.*",
        keys: &["sql", "sql_file", "merge"],
        is_required: true,
        noun: "what it shows",
    },
];

pub(super) const KEYS: &[Key] = &[
    key("stream", Shape::Table, "Continuous queries over sources and streams."),
    key("stream.*", Shape::Table, "One query that runs for ever, in epochs with checkpoints (S8)."),
    key("stream.*.sql", Shape::Sql, "The query. It is never templated."),
    key("stream.*.sql_file", Shape::SqlFile, "A file with the query instead."),
    key(
        "stream.*.emit",
        Shape::Emit,
        "For windows: `final`, once, when the watermark has passed; `update`, revised as rows \
         arrive; or `early 1s`, revised at that interval (S5). Default: `final`.",
    )
    .example("update"),
];

pub(super) const VIEW_KEYS: &[Key] = &[
    key("view", Shape::Table, "SQL that is served."),
    key(
        "view.*",
        Shape::Table,
        "One view: a query, or a batch table and a live stream merged at a boundary.",
    ),
    key("view.*.sql", Shape::Sql, "The query."),
    key("view.*.sql_file", Shape::SqlFile, "A file with the query instead."),
    key(
        "view.*.merge",
        Shape::Table,
        "Batch up to its committed boundary, live after it: no hole, no double count (S17).",
    ),
    key("view.*.merge.batch", Shape::Name(&[Kind::Table]), "The table; a `batch_of` the stream.")
        .example("hourly_batch")
        .required(),
    key("view.*.merge.live", Shape::Name(&[Kind::Stream]), "The stream.")
        .example("hourly")
        .required(),
    key("view.*.merge.on", Shape::Column, "The column of both that is compared with the boundary.")
        .example("window_start")
        .required(),
];
