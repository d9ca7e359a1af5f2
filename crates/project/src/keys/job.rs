//! Keys of `[job.X]`.

use super::shape::{Word, word};
use super::{Group, Key, Kind, Shape, key};

const METHODS: &[Word] = &[
    word("POST", "with the run, its day and its period as JSON"),
    word("PUT", "with the same"),
    word("GET", "without a body"),
];

pub(super) const GROUPS: &[Group] = &[Group {
    path: "job.*.tasks.*",
    keys: &["refresh", "compact", "train", "evaluate", "export", "shell", "http"],
    is_required: true,
    noun: "something to do",
}];

pub(super) const KEYS: &[Key] = &[
    key("job", Shape::Table, "Tasks with dependencies, on a schedule."),
    key(
        "job.*",
        Shape::Table,
        "One job. A run covers the time from the fire before to this one, and `$day` is the \
         day on which that period began (S19).",
    ),
    key(
        "job.*.schedule",
        Shape::Schedule,
        "When it runs: cron, `@daily` and the like, or `every 5m`. Default: only when asked to.",
    ),
    key("job.*.timezone", Shape::Timezone, "Time zone of the schedule. Default: the project's."),
    key(
        "job.*.start",
        Shape::Time,
        "The first period begins here. Default: when the project first runs.",
    ),
    key(
        "job.*.catch_up",
        Shape::Boolean,
        "Whether periods missed while nothing ran are run later, each one.",
    )
    .default("false"),
    key(
        "job.*.wait_for",
        Shape::List(&Shape::Name(&[Kind::Source, Kind::Stream])),
        "A run waits until the watermarks of these have passed the end of its period.",
    )
    .example(r#"["trades"]"#),
    key(
        "job.*.max_active",
        Shape::Integer { min: 1, max: 100 },
        "How many runs may be active at a time.",
    )
    .default("1"),
    key("job.*.concurrency_group", Shape::Text, "Jobs of one group never run at the same time.")
        .example("heavy"),
    key("job.*.tasks", Shape::Table, "What it does, by name.").required(),
    key("job.*.tasks.*", Shape::Table, "One task."),
    key(
        "job.*.tasks.*.refresh",
        Shape::Name(&[Kind::Table]),
        "Rebuilds a day of a table with `batch_of`.",
    )
    .example("hourly_batch"),
    key("job.*.tasks.*.day", Shape::Day, "Which day to rebuild: the run's, or always the same.")
        .default("$day")
        .with(&["refresh"]),
    key("job.*.tasks.*.compact", Shape::Name(&[Kind::Table]), "Merges a table's small files.")
        .example("trades_history"),
    key("job.*.tasks.*.train", Shape::Name(&[Kind::Model]), "Trains every candidate of a model.")
        .example("next_volume"),
    key(
        "job.*.tasks.*.evaluate",
        Shape::Name(&[Kind::Model]),
        "Evaluates a model and applies its champion rule.",
    )
    .example("next_volume"),
    key(
        "job.*.tasks.*.after",
        Shape::List(&Shape::Text),
        "Tasks of the job that must have succeeded before.",
    )
    .example(r#"["hourly"]"#),
    key(
        "job.*.tasks.*.retries",
        Shape::Integer { min: 0, max: 100 },
        "How often it is tried again.",
    )
    .default("0"),
    key(
        "job.*.tasks.*.backoff",
        Shape::Duration,
        "Wait before the first retry; it doubles with each.",
    )
    .default("30s"),
    key("job.*.tasks.*.timeout", Shape::Duration, "An attempt that takes longer has failed.")
        .default("1h"),
    key(
        "job.*.tasks.*.export",
        Shape::Table,
        "Writes a query's rows to a file, whole or not at all.",
    ),
    key("job.*.tasks.*.export.sql", Shape::Sql, "The query; `$day` is the day of the run.")
        .required()
        .example("SELECT * FROM trades WHERE date(ts) = $day"),
    key(
        "job.*.tasks.*.export.path",
        Shape::Path,
        "The file, of the format its ending says: `.csv`, `.json`, `.parquet` or `.avro`; `$day` \
         in it is the day of the run. A run again replaces it.",
    )
    .required()
    .example("exports/trades-$day.csv"),
    key(
        "job.*.tasks.*.shell",
        Shape::List(&Shape::Text),
        "Runs a program with its arguments in the project's folder, if `server.shell` allows it; \
         what it prints is the task's log, exit code 0 is success. At least once.",
    )
    .example(r#"["python", "report.py"]"#),
    key(
        "job.*.tasks.*.http",
        Shape::Table,
        "Calls an address; 2xx is success, no answer, 429 and 5xx are tried again. At least once, \
         with an `Idempotency-Key`.",
    ),
    key("job.*.tasks.*.http.url", Shape::Secret, "The address.")
        .required()
        .example("${REPORT_HOOK}"),
    key("job.*.tasks.*.http.method", Shape::Choice(METHODS), "How it is asked.").default("POST"),
    key("job.*.tasks.*.http.headers", Shape::Table, "Headers of the request."),
    key("job.*.tasks.*.http.headers.*", Shape::Secret, "One header.")
        .example("Bearer ${REPORT_TOKEN}"),
];
