//! Keys of `[table.X]`.

use super::shape::{Word, planned_word, word};
use super::{Group, Key, Kind, Shape, key, planned};

pub(super) const GROUPS: &[Group] = &[
    Group {
        path: "table.*",
        keys: &["from", "batch_of", "sql", "sql_file"],
        is_required: false,
        noun: "what fills it",
    },
    Group {
        path: "table.*",
        keys: &["delta", "parquet", "avro", "csv", "json"],
        is_required: true,
        noun: "a format",
    },
];

/// What `path` of a Delta table says.
const DELTA_FOLDER: &str = "Its folder: relative to the project folder, or `s3://bucket/folder`, or \
     `hdfs://namenode:port/folder`. It holds this table and nothing else.";

/// What `path` of a table of files says.
const FOLDER: &str = "Their folder: relative to the project folder, or `s3://bucket/folder`, or \
     `hdfs://namenode:port/folder`. It holds this table and nothing else. Of a lookup the files, with \
     wildcards.";

const MODES: &[Word] = &[
    word("append", "every row is added"),
    planned_word("upsert", "the newest row of each key in a table"),
    word(
        "changelog",
        "every row of a stream that changes its rows is added, with `_op` and `_epoch`",
    ),
];

pub(super) const KEYS: &[Key] = &[
    key("table", Shape::Table, "Tables of the lake."),
    key(
        "table.*",
        Shape::Table,
        "One table: fed by a source or stream (`from`), rebuilt by a job (`batch_of`), or with \
         neither a lookup that is only read.",
    ),
    key(
        "table.*.from",
        Shape::Name(&[Kind::Source, Kind::Stream]),
        "Whose rows it takes, exactly once (S9).",
    ),
    key("table.*.delta", Shape::Table, "A Delta table; without `from` a lookup that is only read."),
    key("table.*.delta.path", Shape::Secret, DELTA_FOLDER).example("s3://bucket/trades").required(),
    key("table.*.parquet", Shape::Table, "Parquet files; without `from` a lookup that is only read."),
    key("table.*.parquet.path", Shape::Secret, FOLDER).example("s3://bucket/trades").required(),
    key("table.*.avro", Shape::Table, "Avro object container files; without `from` a lookup that is only read."),
    key("table.*.avro.path", Shape::Secret, FOLDER).example("lake/finnhub_table").required(),
    key("table.*.csv", Shape::Table, "CSV files, each with a header; without `from` a lookup that is only read."),
    key("table.*.csv.path", Shape::Secret, FOLDER)
        .example("hdfs://namenode:9000/binance/data")
        .required(),
    key("table.*.csv.delimiter", Shape::Character, "What separates fields.").default(","),
    key("table.*.csv.quote", Shape::Character, "Of a lookup: what encloses a field that holds delimiters.")
        .default("\""),
    key(
        "table.*.csv.header",
        Shape::Boolean,
        "Of a lookup: whether the first line of a file names the columns.",
    )
    .default("true"),
    key("table.*.csv.null", Shape::List(&Shape::Text), "Of a lookup: fields that mean NULL.").default(r#"[""]"#),
    key("table.*.json", Shape::Table, "Files with a JSON object on each line; without `from` a lookup that is only read."),
    key("table.*.json.path", Shape::Secret, FOLDER).example("lake/events").required(),
    key("table.*.s3", Shape::Table, "How the bucket of an `s3://` path is reached.")
        .with(&["delta", "parquet", "avro", "csv", "json"]),
    key(
        "table.*.s3.region",
        Shape::Text,
        "Region of the bucket. Default: `AWS_REGION`, else `us-east-1`.",
    )
    .example("eu-central-1"),
    key(
        "table.*.s3.endpoint",
        Shape::Secret,
        "Address of a server other than Amazon's, with its path style.",
    )
    .example("http://127.0.0.1:9000"),
    key(
        "table.*.s3.access_key_id",
        Shape::Secret,
        "Default: what the environment has for AWS programs.",
    )
    .example("${AWS_ACCESS_KEY_ID}")
    .needs(&["secret_access_key"]),
    key("table.*.s3.secret_access_key", Shape::Token, "Beside it.")
        .example("${AWS_SECRET_ACCESS_KEY}")
        .needs(&["access_key_id"]),
    key("table.*.s3.session_token", Shape::Token, "Of a role taken for a while.")
        .example("${AWS_SESSION_TOKEN}")
        .needs(&["access_key_id"]),
    key(
        "table.*.roll",
        Shape::Table,
        "When files are ended and appear: at whichever comes first. More rows a file are fewer files, \
         and more to do again after a crash.",
    )
    .with(&["parquet", "avro", "csv", "json"]),
    key("table.*.roll.every", Shape::Duration, "After this time. Default: `runtime.commit.every`.")
        .example("1m"),
    key("table.*.roll.size", Shape::Size, "At about this size.").default("128MB"),
    key("table.*.partition_by", Shape::Table, "Columns that split the table into folders."),
    key(
        "table.*.partition_by.*",
        Shape::Expression,
        "A column to add and how it is computed; or one that is there, by its name.",
    )
    .example("date(ts)"),
    key(
        "table.*.batch_of",
        Shape::Name(&[Kind::Stream]),
        "The stream whose SQL a job runs as a batch over the history of its sources.",
    )
    .example("hourly")
    .needs(&["replace"]),
    key("table.*.over", Shape::Table, "Which table is a source's history, where it has several.")
        .with(&["batch_of"]),
    key("table.*.over.*", Shape::Name(&[Kind::Table]), "The history of the source of this name.")
        .example("trades_history"),
    key(
        "table.*.replace",
        Shape::Expression,
        "The day of a row: a refresh of a day replaces the rows of that day (S18a).",
    )
    .example("date(window_start)")
    .with(&["batch_of"]),
    key("table.*.mode", Shape::Choice(MODES), "What a row does to the table.").default("append"),
    planned(
        "table.*.key",
        Shape::List(&Shape::Column),
        "The columns by which a table is upserted.",
    )
    .example(r#"["symbol"]"#),
    planned("table.*.sql", Shape::Sql, "A table rebuilt from a query of its own."),
    planned(
        "table.*.sql_file",
        Shape::SqlFile,
        "A table rebuilt from a query of its own, in a file.",
    ),
    key(
        "table.*.columns",
        Shape::Table,
        "Columns of a lookup, by name. Default: what Parquet and Avro files and a Delta table on this \
         machine carry; of CSV the header's names, all text.",
    ),
    key(
        "table.*.columns.*",
        Shape::Table,
        "One column; `population = \"bigint\"` is short for `population = { type = \"bigint\" }`.",
    )
    .short_for("type"),
    key("table.*.columns.*.type", Shape::ColumnType, "Its type, as that of a source's column.")
        .required(),
    key(
        "table.*.columns.*.select",
        Shape::Text,
        "Where a row holds it: a path into the JSON, a header of the CSV, a column of the Delta table. \
         Default: its name.",
    )
    .example("State short"),
];
