//! Sources: a connector, how its frames decode to rows, and checks.

mod avro;
mod exchange;
mod html;
mod http;
pub(crate) mod lookup;
mod lower;
mod preset;
mod unique;

use std::path::PathBuf;
use std::time::Duration;

use thalweg_core::problem::{Place, Problem};
use thalweg_core::schema::{Column, EpochUnit};

pub use self::avro::{AvroMessages, AvroSchema};
pub use self::exchange::{BinanceChannel, Channel, CoinbaseChannel, Exchange, KrakenChannel};
pub use self::html::{Clean, Cleaning, HtmlFormat, HtmlRows, Locale};
pub use self::http::{Binance, BinanceEndpoint, Http, Pages, PagesBy, PollEmit};
use self::lower::Columns;
pub(crate) use self::lower::lower;
use self::unique::NamedUnique;
pub use self::unique::Unique;
use crate::entry::from_text;
use crate::secret::Secret;
use crate::spanned::Spanned;
use crate::sql_text::SqlText;

/// One feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name in SQL.
    pub name: Spanned<String>,
    /// Where frames come from.
    pub connector: Connector,
    /// How a frame decodes to rows.
    pub format: Format,
    /// The declared columns, or those of the preset. None where the format carries them, until
    /// [`Source::carry`] was told what they are.
    pub columns: Vec<Column>,
    /// How the text of each column is read, in their order; of pages, which people read.
    pub cleaning: Vec<Cleaning>,
    /// What must hold of a row.
    pub checks: Vec<Check>,
    /// Columns of the entity a row is about; not unique (S16). Default none, or the preset's.
    pub key: Vec<String>,
    /// What makes a row a repetition of another (S16). Default none, or the preset's.
    pub unique: Option<Unique>,
    /// The column that says when it happened: a declared `timestamp`, or `_received_at`.
    pub event_time: String,
    /// How late a row may be (S2). Default 5 s; 0 where the event time is `_received_at`.
    pub watermark: Duration,
    /// How far ahead of its receipt a row may be (S2). Default 1 min; none for files.
    pub max_ahead: Option<Duration>,
    /// A partition silent for longer does not hold the watermark (S2). Default 60 s.
    pub idle: Duration,
    /// A live feed silent for longer is dead (S14). Default 2 min, Finnhub 5 min, Binance's streams
    /// 1 min, Coinbase and Kraken 10 s, what is polled three periods and at least 2 min.
    pub stale_after: Duration,
    /// What becomes of a row that does not decode or fails a check. Default quarantine.
    pub on_invalid: OnInvalid,
    /// Whether frames are kept in the topic `NAME.raw` (S0): always for live feeds, for files only
    /// when the project says so.
    pub journal: bool,
    /// How much stays in memory for queries (S17a).
    pub keep: Keep,
    /// Places of the declared columns, in their order; none for those of a preset.
    column_places: Vec<Option<Place>>,
    /// Columns that the file names as key, event time and id.
    named: Named,
}

/// Columns that the file names, to be held against those that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Named {
    key: Vec<Spanned<String>>,
    event_time: Option<Spanned<String>>,
    unique: NamedUnique,
    allow_nan: bool,
}

impl Source {
    /// Where a column is declared; none for those of a preset.
    pub fn column_place(&self, name: &str) -> Option<&Place> {
        let index = self.columns.iter().position(|column| column.name == name)?;
        self.column_places.get(index)?.as_ref()
    }

    /// Time between two polls, where it polls.
    pub fn polled_every(&self) -> Option<Duration> {
        self.connector.polled_every()
    }

    /// Takes the columns that its first file carries, and says what does not fit them.
    pub fn carry(&mut self, columns: Vec<Column>) -> Vec<Problem> {
        self.columns = columns;
        for column in &mut self.columns {
            column.allow_nan = self.named.allow_nan;
        }
        lower::name_columns(self)
    }

    /// Whether it is files, which end.
    pub fn is_files(&self) -> bool {
        matches!(self.connector, Connector::File(_))
    }

    /// Whether its frames cannot be read again, so that they are journaled (S0).
    pub fn is_live(&self) -> bool {
        !matches!(self.connector, Connector::File(_) | Connector::Topic(_))
    }
}

/// Where frames come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Connector {
    /// Any WebSocket.
    Websocket(Websocket),
    /// Finnhub's trades.
    Finnhub(Finnhub),
    /// Files that are there.
    File(FileInput),
    /// Any address, polled.
    Http(Http),
    /// Binance's market data, polled.
    Binance(Binance),
    /// An exchange's market data, streamed.
    Exchange(Exchange),
    /// A program of your own.
    Exec(Exec),
    /// Records that others post.
    Push,
    /// A topic of the log.
    Topic(TopicInput),
}

impl Connector {
    fn polled_every(&self) -> Option<Duration> {
        match self {
            Self::Http(http) => Some(http.every),
            Self::Binance(binance) => Some(binance.every),
            Self::Exec(exec) => exec.every,
            Self::Websocket(_)
            | Self::Finnhub(_)
            | Self::File(_)
            | Self::Exchange(_)
            | Self::Push
            | Self::Topic(_) => None,
        }
    }
}

/// A topic of the log; a record is a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInput {
    /// Its name.
    pub name: Spanned<String>,
    /// Number of its partitions.
    pub partitions: u32,
}

/// A program of your own; a line of its output is a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The program and its arguments; at least one.
    pub command: Vec<Secret>,
    /// The folder it runs in.
    pub folder: PathBuf,
    /// Time between two runs; none for one that goes on for ever.
    pub every: Option<Duration>,
}

/// A WebSocket; a message is a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Websocket {
    /// `ws://…` or `wss://…`.
    pub url: Secret,
    /// Messages sent after each connect, in order.
    pub subscribe: Vec<Secret>,
    /// Pause between two of them. Default 20 ms.
    pub subscribe_interval: Duration,
    /// Messages that only show that the feed is alive, such as `$.type = 'ping'`.
    pub alive: Vec<Spanned<String>>,
    /// What is missed while there is no connection; empty for the feed as a whole.
    pub keys: Vec<String>,
    /// Headers of the opening request: name and value.
    pub headers: Vec<(String, Secret)>,
    /// A message sent again and again.
    pub heartbeat: Option<Heartbeat>,
}

/// A message a feed wants to hear again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The message.
    pub message: String,
    /// Time between two. Default 20 s.
    pub every: Duration,
}

/// Finnhub's trades.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finnhub {
    /// The API key.
    pub token: Secret,
    /// Symbols to subscribe to; at least one.
    pub symbols: Vec<String>,
    /// Address, without the token. Default `wss://ws.finnhub.io`.
    pub url: Secret,
}

/// Files, in the first place that has them.
#[derive(Clone, Debug, PartialEq)]
pub struct FileInput {
    /// Where they may be, the preferred place first; at least one.
    pub places: Vec<FilePlace>,
}

/// Where files are.
#[derive(Clone, Debug, PartialEq)]
pub struct FilePlace {
    /// Machine or store, and names there.
    pub location: Location,
    /// Rows per second at most; none for as fast as possible.
    pub rate_per_second: Option<f64>,
}

/// A machine or store, and names there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Path with `*`, `?`, `[…]` and `**` on this machine.
    Disk(PathBuf),
    /// `http://…` or `https://…`: one file.
    Http {
        /// Its address.
        url: Secret,
        /// Headers of requests: name and value.
        headers: Vec<(String, Secret)>,
    },
    /// `hdfs://namenode:port/path`, with wildcards.
    Hdfs(String),
    /// Objects of a bucket.
    S3(S3),
}

/// Objects of an S3 bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// `s3://bucket/key`, with wildcards, or all below a name that ends with `/`.
    pub url: String,
    /// Whether to send no credentials.
    pub anonymous: bool,
    /// Default `AWS_REGION`, else `us-east-1`.
    pub region: Option<String>,
    /// Address of a server other than Amazon's.
    pub endpoint: Option<String>,
    /// Key id, secret and session token; none for those of the environment.
    pub keys: Option<(Secret, Secret, Option<Secret>)>,
}

/// How a frame decodes to rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON, one value a frame.
    Json(JsonFormat),
    /// Comma-separated values, one row a frame.
    Csv(CsvFormat),
    /// A web page a frame.
    Html(HtmlFormat),
    /// Parquet files.
    Parquet,
    /// Avro object containers.
    Avro,
    /// Avro messages, one record a frame.
    AvroMessages(AvroMessages),
}

impl Format {
    /// Whether it says what its columns are.
    pub fn carries_columns(&self) -> bool {
        self.is_rows() || matches!(self, Self::AvroMessages(_))
    }

    /// Whether its files keep rows, with what their columns are.
    pub fn is_rows(&self) -> bool {
        matches!(self, Self::Parquet | Self::Avro)
    }
}

/// JSON, one value a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonFormat {
    /// Where the rows are, such as `$.data[*]`; none when the frame is one row.
    pub rows: Option<Spanned<String>>,
    /// Which frames hold rows, such as `$.type = 'trade'`; none for all.
    pub only_if: Option<Spanned<String>>,
    /// Frames in which the feed reports an error (S14).
    pub notices: Vec<Notice>,
    /// What a file holds.
    pub layout: JsonLayout,
}

/// What a JSON file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JsonLayout {
    /// A value a line.
    #[default]
    Lines,
    /// One array; each element is a frame.
    Array,
    /// One value, which is the frame.
    Document,
}

/// Frames in which a feed reports an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which frames, such as `$.type = 'error'`.
    pub when: Spanned<String>,
    /// Where the message is, such as `$.msg`.
    pub message: Spanned<String>,
}

/// Comma-separated values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvFormat {
    /// Whether the first line of each file names the columns. Default true.
    pub header: bool,
    /// Fields that mean NULL. Default the empty one.
    pub null: Vec<String>,
    /// What separates fields; ASCII. Default `,`.
    pub delimiter: char,
    /// What encloses fields; ASCII. Default `"`.
    pub quote: char,
    /// What files are encoded in, by its name in the Encoding Standard. Default `utf-8`.
    pub encoding: String,
}

/// What must hold of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Quarantine names it as the reason.
    pub name: Spanned<String>,
    /// An SQL boolean; true and NULL pass (S13).
    pub sql: SqlText,
}

/// What becomes of a row that is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// It goes to quarantine.
    Quarantine,
    /// The source stops.
    Fail,
}

/// How much of the newest rows stays in memory (S17a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Default 10 min.
    pub age: Duration,
    /// Default 64 MB.
    pub bytes: u64,
}

from_text! {
    JsonLayout: |text| match text {
        "lines" => Some(Self::Lines),
        "array" => Some(Self::Array),
        "document" => Some(Self::Document),
        _ => None,
    };
    OnInvalid: |text| match text {
        "quarantine" => Some(Self::Quarantine),
        "fail" => Some(Self::Fail),
        _ => None,
    };
    EpochUnit: |text| match text {
        "s" => Some(Self::Seconds),
        "ms" => Some(Self::Millis),
        "us" => Some(Self::Micros),
        "ns" => Some(Self::Nanos),
        _ => None,
    };
}
