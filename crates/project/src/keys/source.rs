//! Keys of `[source.X]`. What polls, what reads pages or Avro, and the exchanges have keys in files of
//! their own.

mod avro;
mod exchanges;
mod pages;
mod polled;

use super::shape::{Word, word};
use super::{Group, Key, Shape, key, planned};

pub(super) use self::avro::{GROUPS as AVRO_GROUPS, KEYS as AVRO_KEYS};
pub(super) use self::exchanges::KEYS as EXCHANGE_KEYS;
pub(super) use self::pages::{GROUPS as PAGE_GROUPS, KEYS as PAGE_KEYS};
pub(super) use self::polled::{GROUPS as POLL_GROUPS, KEYS as POLL_KEYS};

const TEXTS: Shape = Shape::List(&Shape::Text);
const SECRETS: Shape = Shape::List(&Shape::Secret);
const COLUMNS: Shape = Shape::List(&Shape::Column);

const ON_INVALID: &[Word] = &[
    word("quarantine", "the row goes to quarantine with the reason, and the source goes on"),
    word("fail", "the source stops at the row"),
];

const EPOCH_UNITS: &[Word] = &[
    word("s", "seconds"),
    word("ms", "milliseconds"),
    word("us", "microseconds"),
    word("ns", "nanoseconds, cut to microseconds"),
];

const JSON_LAYOUTS: &[Word] = &[
    word("lines", "a value a line"),
    word("array", "one array; each element is a frame"),
    word("document", "one value, which is the frame"),
];

/// Encodings by the names that the Encoding Standard gives them.
pub(crate) const ENCODINGS: &[Word] = &[
    word("utf-8", "UTF-8"),
    word("utf-16le", "UTF-16, low byte first"),
    word("utf-16be", "UTF-16, high byte first"),
    word("windows-1252", "Western European"),
    word("iso-8859-1", "read as windows-1252, which holds it"),
    word("iso-8859-2", "Central European"),
    word("iso-8859-15", "Western European with the euro sign"),
    word("windows-1250", "Central European"),
    word("windows-1251", "Cyrillic"),
    word("windows-1253", "Greek"),
    word("windows-1254", "Turkish"),
    word("windows-1255", "Hebrew"),
    word("windows-1256", "Arabic"),
    word("windows-1257", "Baltic"),
    word("koi8-r", "Russian"),
    word("ibm866", "Cyrillic of DOS"),
    word("macintosh", "Western European of old Macs"),
    word("shift_jis", "Japanese"),
    word("euc-jp", "Japanese"),
    word("gbk", "Simplified Chinese"),
    word("gb18030", "Chinese"),
    word("big5", "Traditional Chinese"),
    word("euc-kr", "Korean"),
];

pub(super) const GROUPS: &[Group] = &[
    Group {
        path: "source.*",
        keys: &[
            "websocket",
            "finnhub",
            "file",
            "http",
            "binance",
            "coinbase",
            "kraken",
            "s3",
            "topic",
            "kafka",
            "exec",
            "push",
            "first_of",
        ],
        is_required: true,
        noun: "a connector",
    },
    Group { path: "source.*.first_of", keys: &["s3", "file"], is_required: true, noun: "a place" },
    Group {
        path: "source.*.format",
        keys: &["json", "csv", "html", "parquet", "avro"],
        is_required: true,
        noun: "a format",
    },
];

/// Keys of what files are read from, below a source and below an item of `first_of`.
macro_rules! place_keys {
    ($owner:literal) => {
        &[
            key(
                concat!($owner, ".file"),
                Shape::Table,
                "Files, in the order of their names, and whatever is added to them or beside them \
                 later. Needs `format`. gzip and Zstandard are undone.",
            ),
            key(
                concat!($owner, ".file.path"),
                Shape::Secret,
                "Path relative to the project folder, or `https://…`, or `hdfs://…`. `*`, `?` and \
                 `[…]` match within a name, `**` any number of folders; not over HTTP.",
            )
            .example("data/*.csv")
            .required(),
            key(
                concat!($owner, ".file.rate"),
                Shape::Rate,
                "Rows to read at most per unit of time, to replay a file as if it were live. \
                 Default: as fast as possible.",
            ),
            key(concat!($owner, ".file.headers"), Shape::Table, "Headers of requests over HTTP."),
            key(concat!($owner, ".file.headers.*"), Shape::Secret, "One header.")
                .example("Bearer ${FILES_KEY}"),
            key(
                concat!($owner, ".s3"),
                Shape::Table,
                "Objects of an S3 bucket, read as files are. Needs `format`.",
            ),
            key(
                concat!($owner, ".s3.url"),
                Shape::Text,
                "The object, or objects by `*`, `?`, `[…]` and `**`; all below a name that ends \
                 with `/`.",
            )
            .example("s3://bucket/customers.csv")
            .required(),
            key(
                concat!($owner, ".s3.anonymous"),
                Shape::Boolean,
                "Whether to send no credentials.",
            )
            .default("false"),
            key(
                concat!($owner, ".s3.region"),
                Shape::Text,
                "Region of the bucket. Default: `AWS_REGION`, else `us-east-1`.",
            )
            .example("eu-central-1"),
            key(
                concat!($owner, ".s3.endpoint"),
                Shape::Text,
                "Address of a server other than Amazon's, with its path style.",
            )
            .example("http://127.0.0.1:9000"),
            key(
                concat!($owner, ".s3.access_key_id"),
                Shape::Secret,
                "Default: what the environment has for AWS programs.",
            )
            .example("${AWS_ACCESS_KEY_ID}")
            .needs(&["secret_access_key"]),
            key(concat!($owner, ".s3.secret_access_key"), Shape::Token, "Beside it.")
                .example("${AWS_SECRET_ACCESS_KEY}")
                .needs(&["access_key_id"]),
            key(concat!($owner, ".s3.session_token"), Shape::Token, "Of a role taken for a while.")
                .example("${AWS_SESSION_TOKEN}")
                .needs(&["access_key_id"]),
            key(
                concat!($owner, ".s3.rate"),
                Shape::Rate,
                "Rows to read at most per unit of time. Default: as fast as possible.",
            ),
        ]
    };
}

pub(super) const PLACE_KEYS: &[Key] = place_keys!("source.*");

pub(super) const FIRST_OF_KEYS: &[Key] = place_keys!("source.*.first_of");

pub(super) const KEYS: &[Key] = &[
    key(
        "source",
        Shape::Table,
        "Feeds: a connector that receives frames, how a frame decodes to rows, and checks.",
    ),
    key(
        "source.*",
        Shape::Table,
        "One feed. What cannot be read again is journaled in the topic `NAME.raw` before it is \
         parsed (S0).",
    ),
    key(
        "source.*.first_of",
        Shape::List(&Shape::Table),
        "Places of files in the order of preference: the first one that can be listed and holds a \
         file is read, then and after every start. `system.sources` shows which.",
    ),
    key(
        "source.*.websocket",
        Shape::Table,
        "A WebSocket; a message is a frame. The format is JSON unless `format` says otherwise.",
    ),
    key("source.*.websocket.url", Shape::Secret, "Its address, `ws://` or `wss://`.")
        .example("wss://feed.example.com/v1?key=${FEED_KEY}")
        .required(),
    key("source.*.websocket.subscribe", SECRETS, "Messages to send after each connect, in order.")
        .example(r#"['{"op":"subscribe","channel":"trades"}']"#),
    key("source.*.websocket.subscribe_interval", Shape::Delay, "Pause between two of them.")
        .default("20ms"),
    key(
        "source.*.websocket.alive",
        TEXTS,
        "Messages that only show that the feed is alive; they are not journaled.",
    )
    .example(r#"["$.type = 'ping'"]"#),
    key(
        "source.*.websocket.keys",
        TEXTS,
        "What is missed while there is no connection, such as symbols; a gap is marked for each \
         (S14). Default: one gap for the feed as a whole.",
    )
    .example(r#"["BTC-USD"]"#),
    key("source.*.websocket.headers", Shape::Table, "Headers of the opening request."),
    key("source.*.websocket.headers.*", Shape::Secret, "One header.").example("Bearer ${FEED_KEY}"),
    key(
        "source.*.websocket.heartbeat",
        Shape::Table,
        "A message to send again and again, where the feed wants one.",
    ),
    key("source.*.websocket.heartbeat.message", Shape::Text, "The message.")
        .example(r#"{"op":"ping"}"#)
        .required(),
    key("source.*.websocket.heartbeat.every", Shape::Duration, "Time between two.").default("20s"),
    key(
        "source.*.finnhub",
        Shape::Table,
        "Trades from Finnhub: a preset of `websocket` that brings format, columns, `key` and \
         `event_time`.",
    ),
    key("source.*.finnhub.token", Shape::Token, "The API key.")
        .example("${FINNHUB_TOKEN}")
        .required(),
    key("source.*.finnhub.symbols", TEXTS, "Symbols to subscribe to.")
        .example(r#"["AAPL", "BINANCE:BTCUSDT"]"#)
        .required(),
    key("source.*.finnhub.url", Shape::Secret, "Its address; that of `thalweg simulate`, say, or `simulator:` for the one that is built in.")
        .default("wss://ws.finnhub.io"),
    key("source.*.format", Shape::Table, "How a frame decodes to rows."),
    key("source.*.format.json", Shape::Table, "JSON, one value a frame."),
    key(
        "source.*.format.json.rows",
        Shape::Text,
        "Where in the frame the rows are. Default: the frame is one row.",
    )
    .example("$.data[*]"),
    key(
        "source.*.format.json.only_if",
        Shape::Text,
        "Frames for which this does not hold are counted as filtered: pings, acknowledgements, \
         errors of the feed.",
    )
    .example("$.type = 'trade'"),
    key(
        "source.*.format.json.notices",
        Shape::List(&Shape::Table),
        "Frames in which the feed reports an error: counted, logged and shown (S14).",
    ),
    key("source.*.format.json.notices.when", Shape::Text, "Which frames.")
        .example("$.type = 'error'")
        .required(),
    key("source.*.format.json.notices.message", Shape::Text, "Where the message is.")
        .example("$.msg")
        .required(),
    key(
        "source.*.format.json.layout",
        Shape::Choice(JSON_LAYOUTS),
        "What a file holds; a message of a feed is always one value.",
    )
    .default("lines"),
    key("source.*.format.csv", Shape::Table, "Comma-separated values."),
    key(
        "source.*.format.csv.encoding",
        Shape::Choice(ENCODINGS),
        "What files are encoded in, where no byte order mark says so.",
    )
    .default("utf-8"),
    key(
        "source.*.format.csv.header",
        Shape::Boolean,
        "Whether the first line of each file names the columns; without it columns are taken \
         in the order of their declaration.",
    )
    .default("true"),
    key("source.*.format.csv.null", TEXTS, "Fields that mean NULL.").default(r#"[""]"#),
    key("source.*.format.csv.delimiter", Shape::Character, "What separates fields.").default(","),
    key(
        "source.*.format.csv.quote",
        Shape::Character,
        "What encloses a field that holds delimiters.",
    )
    .default("\""),
    key(
        "source.*.format.parquet",
        Shape::Table,
        "Parquet files; they bring their columns, unless some are declared.",
    ),
    key(
        "source.*.columns",
        Shape::Table,
        "The columns of a row, by name. Their order is the order of the columns in SQL.",
    ),
    key(
        "source.*.columns.*",
        Shape::Table,
        "One column; `id = \"bigint not null\"` is short for `id = { type = \"bigint not \
         null\" }`.",
    )
    .short_for("type"),
    key(
        "source.*.columns.*.type",
        Shape::ColumnType,
        "Its type: text, boolean, int, bigint, real, double, decimal(p,s), date, timestamp, \
         json or bytes; then `not null`, if a row without it is invalid.",
    )
    .required(),
    key(
        "source.*.columns.*.select",
        Shape::Text,
        "Where a row holds it: a path into the JSON, a header of the CSV or the web page's table. \
         Default: its name.",
    )
    .example("p"),
    key(
        "source.*.columns.*.unit",
        Shape::Choice(EPOCH_UNITS),
        "Unit of a timestamp that is given as a number.",
    )
    .default("ms"),
    key(
        "source.*.checks",
        Shape::Table,
        "What must hold of a row, by name. A check passes on true and NULL (S13).",
    ),
    key("source.*.checks.*", Shape::Expression, "An SQL boolean over the row's columns.")
        .example("price > 0"),
    key(
        "source.*.key",
        COLUMNS,
        "The entity a row is about: `latest(…)` and rankings show one row for each. Not unique \
         (S16).",
    )
    .example(r#"["symbol"]"#),
    key(
        "source.*.event_time",
        Shape::Column,
        "When what a row tells happened. Default: the preset's, else `_received_at`.",
    )
    .example("ts"),
    key(
        "source.*.watermark",
        Shape::Delay,
        "How much later than the newest row an older one may come (S2). 0 where the event time \
         is `_received_at`.",
    )
    .default("5s"),
    key(
        "source.*.max_ahead",
        Shape::Delay,
        "Rows of a live feed further ahead of their receipt than this are invalid (S2). Files \
         have no such limit.",
    )
    .default("1m"),
    key(
        "source.*.idle",
        Shape::Duration,
        "A partition silent for longer does not hold the watermark back (S2).",
    )
    .default("60s"),
    key(
        "source.*.stale_after",
        Shape::Duration,
        "A live feed silent for longer is dead, and is connected again (S14). Default: 2m; \
         Finnhub 5m; Binance's streams 1m; Coinbase and Kraken 10s; what is polled, three periods \
         and at least 2m.",
    )
    .example("60s"),
    key(
        "source.*.on_invalid",
        Shape::Choice(ON_INVALID),
        "What becomes of a row that does not decode or fails a check.",
    )
    .default("quarantine"),
    key(
        "source.*.allow_nan",
        Shape::Boolean,
        "Whether `real` and `double` columns may hold NaN and infinities (S13).",
    )
    .default("false"),
    key(
        "source.*.journal",
        Shape::Boolean,
        "Whether frames are kept in the topic `NAME.raw` (S0). Default: for live feeds, which \
         cannot do without; not for files.",
    )
    .example("true"),
    key(
        "source.*.keep",
        Shape::Table,
        "How much of the newest rows stays in memory for queries (S17a); older ones are read \
         from the table, the journal or the files. A length of time alone is `age`.",
    )
    .short_for("age"),
    key("source.*.keep.age", Shape::Duration, "How old they may be.").default("10m"),
    key(
        "source.*.keep.size",
        Shape::Size,
        "How much memory they may take; never more than a sixteenth of `runtime.memory`.",
    )
    .default("64MB"),
    key(
        "source.*.unique",
        COLUMNS,
        "Columns that together are the id of a row: a row that repeats one is dropped, and counted \
         as duplicate (S16). Without it two equal rows are two rows; NULL equals nothing. Default: \
         the preset's.",
    )
    .example(r#"["symbol", "trade_id"]"#),
    key(
        "source.*.unique_within",
        Shape::Duration,
        "How long an id is remembered at least, by `_received_at`. Default: 1h, or the preset's.",
    )
    .example("1h"),
    planned("source.*.gap_hold", Shape::Duration, "How long an open gap holds the watermark."),
    planned(
        "source.*.idle_advance",
        Shape::Boolean,
        "A watermark that moves on while all partitions are idle.",
    ),
    planned("source.*.start", Shape::Text, "Where in a topic to begin.").example("earliest"),
    key(
        "source.*.topic",
        Shape::Table,
        "A topic of the log that a sink or a route of this project publishes to, or `[topic.X]` \
         declares. It is its own journal; its records are JSON.",
    ),
    key("source.*.topic.name", Shape::Text, "Its name.").example("customers-usa").required(),
    planned("source.*.kafka", Shape::Table, "A topic of a Kafka cluster."),
    key("source.*.kafka.url", Shape::Secret, "Its bootstrap servers.").example("broker1:9092"),
    key("source.*.kafka.topic", Shape::Text, "The topic.").example("trades"),
    key(
        "source.*.exec",
        Shape::Table,
        "A program of your own: a record a line of its standard output, started in the project \
         folder, and again with back-off when it ends. Its standard error goes to the log.",
    ),
    key("source.*.exec.command", SECRETS, "The program and its arguments.")
        .example(r#"["python", "scrape.py"]"#)
        .required(),
    key(
        "source.*.exec.every",
        Shape::Duration,
        "Time between two runs. Default: it runs once and goes on for ever.",
    )
    .example("5m"),
    key(
        "source.*.push",
        Shape::Boolean,
        "Records that others post to `/api/v1/sources/NAME/records`: a JSON value or an array, \
         answered with 202 when they are on stable storage. The token is needed.",
    )
    .example("true"),
];
