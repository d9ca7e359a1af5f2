//! Lowering of sources: the connector, what its preset brings, and what the file says.

use std::time::Duration;

use thalweg_core::problem::{Place, Problem, nearest};
use thalweg_core::schema::{Column, ColumnType, EpochUnit, meta};

use super::avro::lower_avro;
use super::exchange::lower_venues;
use super::html::{Clean, Cleaning, HtmlRows, Locale, lower_html};
use super::http::lower_http;
use super::preset::Preset;
use super::unique::NamedUnique;
use super::{
    Check, Connector, CsvFormat, Exec, FileInput, FilePlace, Finnhub, Format, Heartbeat,
    JsonFormat, Keep, Location, Named, Notice, OnInvalid, S3, Source, TopicInput, Websocket,
};
use crate::codes::{self, Telling};
use crate::entry::{Bytes, Entry, FromValue, Rate};
use crate::spanned::Spanned;
use crate::tree::Value;
use crate::values;

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Source> {
    let connector = lower_connector(entry);
    let format = entry.child("format").written().map(lower_format);
    let columns = lower_columns(entry);
    let options = Options::read(entry);
    // Everything has been read, so that it has been reported; what follows needs a connector.
    let connector = connector?;
    let preset = Preset::of(&connector);
    let is_live = !matches!(connector, Connector::File(_) | Connector::Topic(_));
    if let Some(journal) = &options.journal
        && journal.value != is_live
    {
        let (code, message, hint) = if is_live {
            (
                codes::DOES_NOT_FIT,
                "a live feed cannot do without its journal",
                "What cannot be read again is kept before it is parsed (S0).",
            )
        } else {
            (
                codes::NOT_BUILT,
                "a journal of files is not built yet",
                "Files are read again by position: they are their own journal (S0).",
            )
        };
        entry.report(codes::problem(code, message, journal.place.clone()).hint(hint));
        return None;
    }
    let format = match (format, preset.format) {
        (Some(format), _) => format?,
        (None, Some(format)) => format,
        (None, None) => {
            let add = "add `format.csv = { header = true }` or `format.json = {}`";
            entry.report(lacks(name, "format", entry).label(add));
            return None;
        }
    };
    let Columns { mut columns, places: column_places, cleaning } = match columns {
        Some(columns) => columns?,
        None if !preset.columns.is_empty() => Columns::of_preset(preset.columns),
        None if format.is_rows() && is_on_disk(&connector) => Columns::of_preset(Vec::new()),
        None if matches!(format, Format::AvroMessages(_)) => Columns::of_preset(Vec::new()),
        None => {
            let hint = "Columns are declared, such as `columns.price = \"double not null\"`.";
            entry.report(lacks(name, "columns", entry).hint(hint));
            return None;
        }
    };
    if !is_for_people(&format) && has_cleaning(entry) {
        return None;
    }
    if let (Connector::File(_), Format::Html(_)) = (&connector, &format) {
        let message = "a page is not read from files: they are read line by line";
        let place = entry.child("format").place();
        entry.report(codes::problem(codes::DOES_NOT_FIT, message, place));
        return None;
    }
    if let Some(every) = connector.polled_every()
        && options.stale_after.is_some_and(|stale_after| stale_after <= every)
    {
        let place = entry.child("stale_after").place();
        let message = "`stale_after` is not longer than the time between two polls";
        entry.report(codes::problem(codes::DOES_NOT_FIT, message, place));
        return None;
    }
    if let (Connector::Push | Connector::Topic(_), Format::Csv(_) | Format::Html(_)) =
        (&connector, &format)
    {
        let message = "records that are posted or published are JSON";
        entry.report(codes::problem(codes::DOES_NOT_FIT, message, entry.child("format").place()));
        return None;
    }
    if let Some(message) = misplaced_rows(&connector, &format) {
        let mut problem =
            codes::problem(codes::DOES_NOT_FIT, message, entry.child("format").place());
        if format == Format::Avro {
            problem = problem.hint("Messages name their schema: `format.avro.schemas`, or `ids`.");
        }
        entry.report(problem);
        return None;
    }
    for column in &mut columns {
        column.allow_nan = options.allow_nan;
    }
    let is_declared = |name: &str| columns.iter().any(|column| column.name == name);
    let event_time =
        preset.event_time.filter(|name| is_declared(name)).unwrap_or(meta::RECEIVED_AT);
    let key = preset.key.into_iter().filter(|name| is_declared(name)).collect();
    let unique = preset.unique.filter(|unique| unique.columns.iter().all(|name| is_declared(name)));
    let source = Source {
        name: name.clone(),
        connector,
        format,
        columns,
        cleaning,
        checks: options.checks,
        key,
        unique,
        event_time: event_time.to_owned(),
        watermark: options.watermark,
        max_ahead: is_live.then_some(options.max_ahead),
        idle: options.idle,
        stale_after: options.stale_after.unwrap_or(preset.stale_after),
        on_invalid: options.on_invalid,
        journal: options.journal.map_or(is_live, |journal| journal.value),
        keep: options.keep,
        column_places,
        named: Named {
            key: options.key,
            event_time: options.event_time,
            unique: options.unique,
            allow_nan: options.allow_nan,
        },
    };
    if source.columns.is_empty() {
        // They are told later, and named columns are looked for then.
        return Some(source);
    }
    let mut source = source;
    let problems = name_columns(&mut source);
    let all_there = problems.is_empty();
    problems.into_iter().for_each(|problem| entry.report(problem));
    all_there.then_some(source)
}

/// Whether columns that files carry can be looked up without a network.
fn is_on_disk(connector: &Connector) -> bool {
    let Connector::File(file) = connector else { return false };
    file.places.iter().any(|place| matches!(place.location, Location::Disk(_)))
}

/// Sets the columns the file names as key and event time, and says which of them are not there.
pub(super) fn name_columns(source: &mut Source) -> Vec<Problem> {
    let Named { key, event_time, unique, .. } = source.named.clone();
    let named = key.iter().chain(&event_time).chain(unique.columns.iter().flatten());
    let mut problems: Vec<Problem> =
        named.filter_map(|column| not_a_column(source, column)).collect();
    source.unique = unique.apply(source.unique.take());
    if !key.is_empty() {
        source.key = key.into_iter().map(|column| column.value).collect();
    }
    if let Some(event_time) = event_time {
        problems.extend(not_a_timestamp(source, &event_time));
        source.event_time = event_time.value;
    }
    if source.event_time == meta::RECEIVED_AT {
        source.watermark = Duration::ZERO;
    }
    problems
}

fn lacks(name: &str, key: &str, entry: Entry<'_>) -> Problem {
    codes::problem(codes::MISSING_KEY, format!("`source.{name}` lacks `{key}`"), entry.place())
}

/// What is read of a source beside connector, format and columns.
struct Options {
    checks: Vec<Check>,
    key: Vec<Spanned<String>>,
    event_time: Option<Spanned<String>>,
    unique: NamedUnique,
    watermark: Duration,
    max_ahead: Duration,
    idle: Duration,
    stale_after: Option<Duration>,
    on_invalid: OnInvalid,
    allow_nan: bool,
    journal: Option<Spanned<bool>>,
    keep: Keep,
}

impl Options {
    fn read(entry: Entry<'_>) -> Self {
        let keep = entry.child("keep");
        let checks = entry.child("checks").members().into_iter();
        Self {
            checks: checks
                .filter_map(|(name, check)| {
                    Some(Check { name: name.clone(), sql: check.read_sql()? })
                })
                .collect(),
            key: entry.list("key"),
            event_time: entry.spanned("event_time"),
            unique: NamedUnique::read(entry),
            watermark: entry.value("watermark"),
            max_ahead: entry.value("max_ahead"),
            idle: entry.value("idle"),
            stale_after: entry.get("stale_after"),
            on_invalid: entry.value("on_invalid"),
            allow_nan: entry.value("allow_nan"),
            journal: entry.spanned("journal"),
            keep: Keep { age: keep.value("age"), bytes: keep.value::<Bytes>("size").0 },
        }
    }
}

fn lower_connector(entry: Entry<'_>) -> Option<Connector> {
    let websocket = entry.child("websocket").written().map(lower_websocket);
    let finnhub = entry.child("finnhub").written().map(lower_finnhub);
    let place = lower_places(entry);
    let first_of = entry.child("first_of").written().map(|list| {
        let items = list.items();
        let places: Vec<_> = items.iter().filter_map(|item| lower_places(*item)).collect();
        let is_whole = places.len() == items.len();
        if items.is_empty() {
            let problem = codes::problem(codes::MALFORMED, "`first_of` is empty", list.place());
            list.report(problem);
        }
        (is_whole && !places.is_empty()).then_some(Connector::File(FileInput { places }))
    });
    let file = place.map(|place| Some(Connector::File(FileInput { places: vec![place] })));
    let http = entry.child("http").written().map(|http| lower_http(http).map(Connector::Http));
    let exec = entry.child("exec").written().map(lower_exec);
    let push = entry.child("push").written().map(|push| {
        let is_open: bool = push.read()?;
        if !is_open {
            let message = "`push = false` leaves the source without a connector";
            push.report(codes::problem(codes::DOES_NOT_FIT, message, push.place()));
        }
        is_open.then_some(Connector::Push)
    });
    let topic = entry.child("topic").written();
    let topic = topic.map(|topic| {
        // How many partitions it has is known when all topics are.
        let name = topic.spanned("name")?;
        Some(Connector::Topic(TopicInput { name, partitions: 1 }))
    });
    let named = websocket.or(finnhub).or(file).or(first_of).or(http).or(lower_venues(entry));
    named.or(exec).or(push).or(topic)?
}

fn lower_exec(entry: Entry<'_>) -> Option<Connector> {
    let list = entry.child("command");
    let command: Vec<_> = list.items().into_iter().filter_map(Entry::read_secret).collect();
    let every = entry.get("every");
    if list.written().is_some() && command.first().is_none_or(|it| it.reveal().trim().is_empty()) {
        let problem = codes::problem(codes::MALFORMED, "`command` names no program", list.place());
        entry.report(problem.label("such as `[\"python\", \"scrape.py\"]`"));
        return None;
    }
    let folder = entry.lowering.dir.to_owned();
    (!command.is_empty()).then_some(Connector::Exec(Exec { command, folder, every }))
}

fn lower_websocket(entry: Entry<'_>) -> Option<Connector> {
    let headers = entry.child("headers").members().into_iter();
    let heartbeat = entry.child("heartbeat");
    let (message, every) = (heartbeat.get("message"), heartbeat.value("every"));
    let keys: Option<Vec<String>> = entry.get("keys");
    Some(Connector::Websocket(Websocket {
        url: entry.secret("url")?,
        subscribe: entry
            .child("subscribe")
            .items()
            .into_iter()
            .filter_map(Entry::read_secret)
            .collect(),
        headers: headers
            .filter_map(|(name, header)| Some((name.value.clone(), header.read_secret()?)))
            .collect(),
        heartbeat: message.map(|message| Heartbeat { message, every }),
        subscribe_interval: entry.value("subscribe_interval"),
        alive: entry.list("alive"),
        keys: keys.unwrap_or_default(),
    }))
}

fn lower_finnhub(entry: Entry<'_>) -> Option<Connector> {
    let symbols: Option<Vec<String>> = entry.get("symbols");
    if symbols.as_ref().is_some_and(Vec::is_empty) {
        let place = entry.child("symbols").place();
        let problem = codes::problem(codes::MALFORMED, "`symbols` is empty", place);
        entry.report(problem.label("such as `[\"AAPL\", \"BINANCE:BTCUSDT\"]`"));
    }
    Some(Connector::Finnhub(Finnhub {
        token: entry.secret("token")?,
        symbols: symbols.filter(|symbols| !symbols.is_empty())?,
        url: entry.secret("url")?,
    }))
}

/// The places of an item of `first_of`, or of the source itself.
fn lower_places(entry: Entry<'_>) -> Option<FilePlace> {
    let file = entry.child("file").written().map(lower_file);
    let s3 = entry.child("s3").written().map(lower_s3);
    file.or(s3)?
}

fn lower_file(entry: Entry<'_>) -> Option<FilePlace> {
    let rate = entry.get::<Rate>("rate");
    let headers = entry.child("headers");
    let header = |(name, header): (&Spanned<String>, Entry<'_>)| {
        Some((name.value.clone(), header.read_secret()?))
    };
    let header_values: Vec<_> = headers.members().into_iter().filter_map(header).collect();
    let mut location = lower_path(entry.child("path"))?;
    match (&mut location, headers.written()) {
        (Location::Http { headers, .. }, _) => *headers = header_values,
        (_, Some(headers)) => {
            let message = "`headers` are for files over HTTP";
            entry.report(codes::problem(codes::DOES_NOT_FIT, message, headers.place()));
            return None;
        }
        (_, None) => {}
    }
    Some(FilePlace { location, rate_per_second: rate.map(|rate| rate.0) })
}

/// Where the files of a `path` are.
pub(super) fn lower_path(entry: Entry<'_>) -> Option<Location> {
    let written: Spanned<String> = entry.read_spanned()?;
    let path = entry.read_secret()?;
    let wrong = |code, message: String| codes::problem(code, message, written.place.clone());
    if written.trim().is_empty() {
        entry.report(wrong(codes::MALFORMED, "the path of the files is empty".to_owned()));
        return None;
    }
    let scheme = path.reveal().split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        None => Some(Location::Disk(entry.lowering.dir.join(path.reveal()))),
        Some("http" | "https") => Some(Location::Http { url: path, headers: Vec::new() }),
        Some("hdfs") => Some(Location::Hdfs(path.reveal().to_owned())),
        Some("s3" | "s3a") => {
            let problem = wrong(codes::DOES_NOT_FIT, "a bucket is no path".to_owned());
            entry.report(problem.hint("Write `s3.url` in place of `file.path`."));
            None
        }
        Some(scheme) => {
            let message = format!("files cannot be read from `{scheme}://`");
            let hint = "A path, `http://`, `https://` and `hdfs://` can.";
            entry.report(wrong(codes::MALFORMED, message).hint(hint));
            None
        }
    }
}

fn lower_s3(entry: Entry<'_>) -> Option<FilePlace> {
    let rate = entry.get::<Rate>("rate");
    let (id, secret) = (entry.child("access_key_id"), entry.child("secret_access_key"));
    let token = entry.child("session_token");
    let read = |entry: Entry<'_>| entry.written().and_then(Entry::read_secret);
    let (id, secret, token) = (read(id), read(secret), read(token));
    let (region, endpoint) = (entry.get("region"), entry.get("endpoint"));
    let anonymous = entry.value("anonymous");
    let url: Spanned<String> = entry.spanned("url")?;
    let key = url.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    if key.is_none_or(|(bucket, _)| bucket.is_empty()) {
        let message = format!("`{url}` names no object of a bucket");
        let problem = codes::problem(codes::MALFORMED, message, url.place);
        entry.report(problem.label("such as `s3://bucket/data/*.csv`"));
        return None;
    }
    let keys = id.zip(secret).map(|(id, secret)| (id, secret, token));
    let location = Location::S3(S3 { url: url.value, anonymous, region, endpoint, keys });
    Some(FilePlace { location, rate_per_second: rate.map(|rate| rate.0) })
}

fn lower_format(entry: Entry<'_>) -> Option<Format> {
    let json = entry.child("json").written().map(|json| {
        let notices = json.child("notices").items().into_iter().filter_map(|notice| {
            let (when, message) = (notice.spanned("when"), notice.spanned("message"));
            Some(Notice { when: when?, message: message? })
        });
        let notices = notices.collect();
        let (rows, only_if) = (json.spanned("rows"), json.spanned("only_if"));
        Format::Json(JsonFormat { rows, only_if, notices, layout: json.value("layout") })
    });
    let csv = entry.child("csv").written().map(|csv| {
        Format::Csv(CsvFormat {
            header: csv.value("header"),
            null: csv.value("null"),
            delimiter: csv.value("delimiter"),
            quote: csv.value("quote"),
            encoding: csv.value("encoding"),
        })
    });
    let html = entry.child("html").written().map(lower_html);
    let parquet = entry.child("parquet").written().map(|_| Format::Parquet);
    let avro = entry.child("avro").written().map(lower_avro);
    let plain = json.or(csv).or(parquet);
    plain.map(Some).or(html.map(|html| html.map(Format::Html))).or(avro)?
}

/// What is wrong with columns that come from such a connector.
fn misplaced_rows(connector: &Connector, format: &Format) -> Option<&'static str> {
    match (connector, format) {
        (Connector::File(_), Format::AvroMessages(_)) => {
            Some("files of Avro carry their schema: `format.avro = {}`")
        }
        (Connector::File(_), _) => None,
        (_, Format::Parquet | Format::Avro) => {
            Some("a message of a feed is no file of Parquet or Avro")
        }
        (Connector::Exec(_), Format::AvroMessages(_)) => {
            Some("a line of text is no message of Avro")
        }
        (
            Connector::Finnhub(_) | Connector::Binance(_) | Connector::Exchange(_),
            Format::AvroMessages(_),
        ) => Some("an exchange sends no Avro"),
        _ => None,
    }
}

/// Whether texts of the format are made for people to read.
fn is_for_people(format: &Format) -> bool {
    matches!(format, Format::Html(html) if !matches!(html.rows, HtmlRows::Json { .. }))
}

/// Whether a column says how it is cleaned, which is reported: nothing is cleaned in this format.
fn has_cleaning(entry: Entry<'_>) -> bool {
    let mut found = false;
    for (name, column) in entry.child("columns").members() {
        if let Some(clean) = column.child("clean").written() {
            let message = format!("`clean` means nothing for `{name}`: it is not of a web page");
            let problem = codes::problem(codes::DOES_NOT_FIT, message, clean.place());
            entry.report(
                problem.hint("JSON and CSV say numbers exactly; they are read as they are."),
            );
            found = true;
        }
    }
    found
}

/// Columns, with where they are declared and how their texts are read.
pub(super) struct Columns {
    pub(super) columns: Vec<Column>,
    pub(super) places: Vec<Option<Place>>,
    pub(super) cleaning: Vec<Cleaning>,
}

impl Columns {
    pub(super) fn of_preset(columns: Vec<Column>) -> Self {
        let cleaning = vec![Cleaning::default(); columns.len()];
        Self { columns, places: Vec::new(), cleaning }
    }
}

/// The declared columns; the outer none when there are none, the inner when one of them is wrong.
fn lower_columns(entry: Entry<'_>) -> Option<Option<Columns>> {
    let members = entry.child("columns").members();
    if members.is_empty() {
        return None;
    }
    let count = members.len();
    let (columns, cleaning): (Vec<Column>, Vec<Cleaning>) =
        members.iter().filter_map(|(name, column)| lower_column(name, *column)).unzip();
    let places = members.iter().map(|(name, _)| Some(name.place.clone())).collect();
    Some((columns.len() == count).then_some(Columns { columns, places, cleaning }))
}

/// Whether a column can be called so; else it is reported.
pub(super) fn is_column_name(name: &Spanned<String>, entry: Entry<'_>) -> bool {
    let is_name = !name.starts_with('_') && !name.trim().is_empty();
    if !is_name {
        let message = format!("`{name}` cannot name a column");
        let problem = codes::problem(codes::BAD_NAME, message, name.place.clone());
        entry.report(problem.hint("Names that begin with `_` are columns of thalweg's own (S1)."));
    }
    is_name
}

fn lower_column(name: &Spanned<String>, entry: Entry<'_>) -> Option<(Column, Cleaning)> {
    if !is_column_name(name, entry) {
        return None;
    }
    let select: Option<String> = entry.get("select");
    let unit: Option<Spanned<EpochUnit>> = entry.spanned("unit");
    let default_unit: EpochUnit = entry.value("unit");
    let clean: Option<Spanned<Clean>> = entry.spanned("clean");
    let locale: Option<Locale> = entry.get("locale");
    let declared: Declared = entry.get("type")?;
    if let Some(clean) = &clean
        && !holds(declared.kind, clean.value)
    {
        let message = format!("a column of type {} cannot hold what `clean` reads", declared.kind);
        let problem = codes::problem(codes::DOES_NOT_FIT, message, clean.place.clone());
        entry.report(problem.hint("It reads numbers: decimal(p,s) keeps every digit."));
        return None;
    }
    if let Some(unit) = &unit
        && declared.kind != ColumnType::Timestamp
    {
        let message = format!("`unit` means nothing for a column of type {}", declared.kind);
        entry.report(codes::problem(codes::DOES_NOT_FIT, message, unit.place.clone()));
        return None;
    }
    let column = Column {
        name: name.value.clone(),
        kind: declared.kind,
        nullable: declared.nullable,
        select,
        unit: (declared.kind == ColumnType::Timestamp)
            .then(|| unit.map_or(default_unit, |unit| unit.value)),
        allow_nan: false,
    };
    Some((column, Cleaning { clean: clean.map(|clean| clean.value), locale }))
}

/// Whether a column of this type holds what a cleaning reads.
fn holds(kind: ColumnType, clean: Clean) -> bool {
    match kind {
        ColumnType::Text => true,
        ColumnType::Int
        | ColumnType::Bigint
        | ColumnType::Real
        | ColumnType::Double
        | ColumnType::Decimal(..) => clean != Clean::Text,
        _ => false,
    }
}

/// A type with its nullability.
pub(super) struct Declared {
    pub(super) kind: ColumnType,
    pub(super) nullable: bool,
}

impl FromValue for Declared {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        let (kind, nullable) = values::split_not_null(text);
        Some(Self { kind: ColumnType::parse(kind)?, nullable })
    }
}

/// What is wrong with a name of a column, when the source has no such column.
fn not_a_column(source: &Source, name: &Spanned<String>) -> Option<Problem> {
    let is_known = |column: &&str| *column == name.value;
    let declared = source.columns.iter().map(|column| column.name.as_str());
    if declared.clone().chain([meta::RECEIVED_AT]).any(|column| is_known(&column)) {
        return None;
    }
    let message = format!("no column `{name}` in source `{}`", source.name);
    let problem = codes::problem(codes::NO_SUCH_COLUMN, message, name.place.clone());
    Some(match nearest(name, declared.clone()) {
        Some(near) => {
            let problem = problem.label(format!("did you mean `{near}`?"));
            match source.column_place(near) {
                Some(place) => problem.related(format!("`{near}` is declared here"), place.clone()),
                None => problem,
            }
        }
        None => {
            let names: Vec<&str> = declared.collect();
            problem.hint(format!("The columns are: {}.", names.join(", ")))
        }
    })
}

/// What is wrong with an event time, when its column holds no instants.
fn not_a_timestamp(source: &Source, name: &Spanned<String>) -> Option<Problem> {
    let column = source.columns.iter().find(|column| column.name == name.value)?;
    if column.kind == ColumnType::Timestamp {
        return None;
    }
    let message = format!("`{name}` is of type {}; an event time is a timestamp", column.kind);
    let problem = codes::problem(codes::DOES_NOT_FIT, message, name.place.clone());
    Some(match source.column_place(name) {
        Some(place) => problem.related(format!("`{name}` is declared here"), place.clone()),
        None => problem,
    })
}
