//! Keys of `[project]`, `[runtime]` and `[server]`.

use super::{Key, Kind, Shape, key, planned};

pub(super) const KEYS: &[Key] = &[
    key("project", Shape::Table, "The project as a whole."),
    key(
        "project.name",
        Shape::Text,
        "What the project is called; also the name of its database on the Postgres wire. \
         Default: the name of its folder.",
    )
    .example("market-lambda"),
    key(
        "project.timezone",
        Shape::Timezone,
        "Time zone of schedules and of times on the screen. Data days are UTC days whatever \
         stands here (S19).",
    )
    .default("UTC"),
    key(
        "project.notify",
        Shape::Name(&[Kind::Notify]),
        "Takes the system's own alerts: a broken ledger, a stopped sink, layers that differ.",
    )
    .example("ops"),
];

pub(super) const MACHINE_KEYS: &[Key] = &[
    key("runtime", Shape::Table, "How the project runs on its machine."),
    key("runtime.checkpoint", Shape::Table, "Checkpoints."),
    key(
        "runtime.checkpoint.every",
        Shape::Duration,
        "Time between checkpoints, at which databases and topics commit (S8, S9).",
    )
    .default("1s"),
    key("runtime.commit", Shape::Table, "Commits of tables."),
    key("runtime.commit.every", Shape::Duration, "Time between commits of tables (S9).")
        .default("5s"),
    key(
        "runtime.memory",
        Shape::Size,
        "Cap on state, newest rows and rows on their way in memory; beyond it nothing more is read (S26).",
    )
    .default("1GB"),
    key(
        "runtime.disk",
        Shape::DiskBudget,
        "How much the data folder may take, in bytes or of its volume's size; beyond it sources pause (S26).",
    )
    .default("80%"),
    planned("runtime.log", Shape::Table, "The log on a Kafka cluster instead of the embedded one."),
    key("runtime.log.kafka", Shape::Text, "Its bootstrap servers.")
        .example("broker1:9092,broker2:9092"),
    planned("runtime.batch", Shape::Table, "Batch SQL on a Ballista cluster."),
    key("runtime.batch.ballista", Shape::Text, "Its scheduler.").example("df://scheduler:50050"),
    planned("runtime.metadata", Shape::Table, "Metadata in PostgreSQL instead of embedded."),
    key("runtime.metadata.url", Shape::Secret, "Its address."),
    key(
        "server",
        Shape::Table,
        "Where the project listens. A port alone is one of 127.0.0.1; port 0 picks a free one.",
    ),
    key("server.http", Shape::Listen, "The screen, the REST API and the metrics.")
        .default("127.0.0.1:7070"),
    key("server.kafka", Shape::Listen, "Kafka's protocol.").default("127.0.0.1:9092").accepted(),
    key("server.postgres", Shape::Listen, "The Postgres wire.")
        .default("127.0.0.1:5433")
        .accepted(),
    key(
        "server.shell",
        Shape::Boolean,
        "Whether tasks of jobs may run programs of the machine, as the user the server runs as.",
    )
    .default("false"),
    planned("server.tls", Shape::Table, "TLS of every listener."),
    key("server.tls.cert", Shape::Path, "Certificate chain, PEM.").example("tls/cert.pem"),
    key("server.tls.key", Shape::Path, "Private key, PEM.").example("tls/key.pem"),
];
