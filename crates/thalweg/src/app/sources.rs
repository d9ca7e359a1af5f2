//! Sources as they run: connector, input and decoder of each.

mod avro;
mod exchanges;
mod pages;
mod polled;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thalweg_connect::codecs::columns::ColumnsDecoder;
use thalweg_connect::codecs::csv::{CsvConfig, CsvDecoder, Header, HeaderSource};
use thalweg_connect::codecs::json::{JsonConfig, JsonDecoder, NoticeRule};
use thalweg_connect::feed::IdRule;
use thalweg_connect::presets::finnhub::{FinnhubConfig, preset};
use thalweg_connect::sources::exec::{Exec, ExecConfig};
use thalweg_connect::sources::file::{
    Encoding, FileConfig, FileInput, Framing, Place, Rate, RowFormat, S3Config,
};
use thalweg_connect::sources::http::{Http, HttpConfig};
use thalweg_connect::sources::journal::JournalInput;
use thalweg_connect::sources::push::Body;
use thalweg_connect::sources::websocket::{Heartbeat, WebSocket, WebSocketConfig};
use thalweg_core::decode::Decoder;
use thalweg_core::env::Env;
use thalweg_core::log::Log;
use thalweg_core::source::Input;
use thalweg_core::store::{Expected, Store};
use thalweg_core::topic::TopicPartition;
use thalweg_core::{Error, Result};
use thalweg_project::{
    Connector, CsvFormat, FileInput as FileSource, FilePlace, Format, JsonFormat, JsonLayout,
    Location, Secret, Source,
};
use thalweg_stream::intake::{Intake, IntakeConfig};
use thalweg_stream::sql::Planner;

use super::given::{Given, GivenSource};

/// How long a program may take to end when it is asked to.
const EXEC_GRACE: Duration = Duration::from_secs(3);

/// The topic that holds a live source's frames.
pub(super) fn journal_topic(source: &str) -> String {
    format!("{source}.raw")
}

/// A live source, ready to connect; with `once`, what polls polls once and ends.
pub(crate) fn live(
    source: &Source,
    env: &Env,
    once: bool,
) -> Result<Box<dyn thalweg_core::source::Source>> {
    let mut config = match &source.connector {
        Connector::Http(http) => return poller(polled::http(http)?, source, env, once),
        Connector::Binance(binance) => {
            return poller(polled::binance(binance)?, source, env, once);
        }
        Connector::Exchange(exchange) => exchanges::streamed(exchange)?.websocket,
        Connector::Finnhub(finnhub) => {
            let config = FinnhubConfig {
                token: finnhub.token.reveal().to_owned(),
                symbols: finnhub.symbols.clone(),
                url: Some(finnhub.url.reveal().to_owned()),
            };
            preset(&config)?.websocket
        }
        Connector::Websocket(websocket) => {
            let mut config = WebSocketConfig::new(websocket.url.reveal());
            config.subscribe =
                websocket.subscribe.iter().map(|text| text.reveal().to_owned()).collect();
            config.subscribe_interval = websocket.subscribe_interval;
            config.headers = websocket
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
                .collect();
            config.alive =
                websocket.alive.iter().map(|rule| rule.as_str().parse()).collect::<Result<_>>()?;
            config.keys.clone_from(&websocket.keys);
            config.heartbeat = websocket.heartbeat.as_ref().map(|heartbeat| Heartbeat {
                message: heartbeat.message.clone(),
                every: heartbeat.every,
            });
            config
        }
        Connector::Exec(exec) => {
            let config = ExecConfig {
                name: source.name.value.clone(),
                command: exec.command.iter().map(|part| part.reveal().to_owned()).collect(),
                folder: exec.folder.clone(),
                every: exec.every,
                once: once && exec.every.is_some(),
                stale_after: source.stale_after,
                grace: EXEC_GRACE,
            };
            return Ok(Box::new(Exec::new(config, env)?));
        }
        Connector::File(_) | Connector::Push | Connector::Topic(_) => {
            let message = format!("`{}` is not a source that connects", source.name);
            return Err(Error::internal(message));
        }
    };
    config.stale_after = source.stale_after;
    Ok(Box::new(WebSocket::new(config, env)?))
}

/// What those who post to a source send.
pub(super) fn posted(source: &Source) -> Body {
    match source.format {
        Format::Json(_) => Body::Json,
        _ => Body::Message,
    }
}

/// What shows that records of a live source are missing, if anything does.
pub(super) fn id_rule(source: &Source) -> Result<Option<IdRule>> {
    match &source.connector {
        Connector::Exchange(exchange) => exchanges::id_rule(exchange, source),
        _ => Ok(None),
    }
}

fn poller(
    mut config: HttpConfig,
    source: &Source,
    env: &Env,
    once: bool,
) -> Result<Box<dyn thalweg_core::source::Source>> {
    config.once = once;
    config.stale_after = Some(source.stale_after);
    Ok(Box::new(Http::new(config, env)?))
}

/// One input a partition.
pub(super) type Inputs = BTreeMap<u32, Box<dyn Input>>;

/// Who reads a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A pipeline, at the pace the project asks for.
    Pipeline,
    /// A query, as fast as it can.
    Query,
}

/// The inputs of a source, one a partition, and the intake that takes their frames. `used` is the
/// number of the place its files are read from.
pub(super) fn input_and_intake(
    source: &Source,
    planner: &Planner,
    env: &Env,
    log: &Arc<dyn Log>,
    reader: Reader,
    used: usize,
) -> Result<(Inputs, Intake)> {
    let (input, decoder): (Box<dyn Input>, Box<dyn Decoder>) = match &source.connector {
        Connector::File(file) => {
            let place = &file.places[used];
            let mut config = file_config(source, self::place(place))?;
            if reader == Reader::Pipeline {
                config.rate = place.rate_per_second.and_then(Rate::per_second);
            }
            let input = FileInput::new(config, env)?;
            let decoder = decoder(source, Some(input.header_source()))?;
            (Box::new(input), decoder)
        }
        Connector::Topic(topic) => {
            let config = intake_config(source);
            let intake = Intake::new(planner, config, decoder(source, None)?)?;
            let partitions = (0..topic.partitions).map(|number| {
                let partition = TopicPartition::new(topic.name.as_str(), number);
                let input = JournalInput::new(Arc::clone(log), partition);
                (number, Box::new(input) as Box<dyn Input>)
            });
            return Ok((partitions.collect(), intake));
        }
        Connector::Finnhub(_)
        | Connector::Websocket(_)
        | Connector::Http(_)
        | Connector::Binance(_)
        | Connector::Exchange(_)
        | Connector::Exec(_)
        | Connector::Push => {
            let partition = TopicPartition::new(journal_topic(source.name.as_str()), 0);
            let input = JournalInput::new(Arc::clone(log), partition);
            let decoder = decoder(source, None)?;
            (Box::new(input), decoder)
        }
    };
    let intake = intake(source, planner, decoder)?;
    Ok((BTreeMap::from([(0, input)]), intake))
}

/// What makes valid rows of a source's frames.
pub(super) fn intake(
    source: &Source,
    planner: &Planner,
    decoder: Box<dyn Decoder>,
) -> Result<Intake> {
    Intake::new(planner, intake_config(source), decoder)
}

/// The topic that a source's frames are read from; none for files.
pub(super) fn journal_of(source: &Source) -> Option<String> {
    match &source.connector {
        Connector::Topic(topic) => Some(topic.name.value.clone()),
        _ => source.is_live().then(|| journal_topic(source.name.as_str())),
    }
}

/// What the intake of a source is told.
fn intake_config(source: &Source) -> IntakeConfig {
    IntakeConfig {
        source: source.name.value.clone(),
        // Files are their own journal: there is no topic but the source.
        topic: journal_of(source).unwrap_or_else(|| source.name.value.clone()),
        event_time: source.event_time.clone(),
        max_ahead_micros: source.max_ahead.map(thalweg_core::time::micros),
        checks: source
            .checks
            .iter()
            .map(|check| (check.name.value.clone(), check.sql.as_str().to_owned()))
            .collect(),
    }
}

/// A text that changes whenever the files of a source do.
pub(super) async fn state(source: &Source, env: &Env, places: &Places) -> Result<String> {
    let Connector::File(file) = &source.connector else {
        return Err(Error::internal(format!("`{}` is no source of files", source.name)));
    };
    let used = places.used(source.name.as_str()).unwrap_or(0);
    place(&file.places[used]).state(env).await
}

/// How the files of a source are cut into frames.
pub(crate) fn file_config(source: &Source, place: Place) -> Result<FileConfig> {
    let mut config = FileConfig::new("");
    config.place = place;
    match &source.format {
        Format::Csv(csv) => {
            config.framing = Framing::Csv {
                delimiter: ascii(csv.delimiter)?,
                quote: ascii(csv.quote)?,
                header: csv.header,
            };
            config.encoding = Encoding::for_label(csv.encoding.as_bytes());
        }
        Format::Json(json) => {
            config.framing = match json.layout {
                JsonLayout::Lines => Framing::Lines,
                JsonLayout::Array => Framing::Array,
                JsonLayout::Document => Framing::Document,
            };
        }
        // One page or message, whole.
        Format::Html(_) | Format::AvroMessages(_) => config.framing = Framing::Document,
        Format::Parquet => config.framing = Framing::Rows(RowFormat::Parquet),
        Format::Avro => config.framing = Framing::Rows(RowFormat::Avro),
    }
    Ok(config)
}

/// What makes rows of a source's frames.
pub(crate) fn decoder(source: &Source, headers: Option<HeaderSource>) -> Result<Box<dyn Decoder>> {
    Ok(match &source.format {
        Format::Json(json) => Box::new(JsonDecoder::new(&json_config(source, json)?)?),
        Format::Csv(csv) => {
            let mut config = csv_config(source, csv)?;
            match headers {
                Some(headers) => Box::new(CsvDecoder::new(config)?.with_headers(headers)),
                None => {
                    if csv.header {
                        // A frame is a message or a body, with a header of its own.
                        config.header = Header::Frame;
                    }
                    Box::new(CsvDecoder::new(config)?)
                }
            }
        }
        Format::Html(html) => pages::decoder(source, html)?,
        Format::Parquet | Format::Avro => Box::new(ColumnsDecoder::new(source.columns.clone())?),
        Format::AvroMessages(messages) => avro::decoder(source, messages)?,
    })
}

/// Where files are, as the connector takes it.
fn place(place: &FilePlace) -> Place {
    match &place.location {
        Location::Disk(path) => Place::Disk(path.to_string_lossy().into_owned()),
        Location::Http { url, headers } => Place::Http {
            url: url.reveal().to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
                .collect(),
        },
        Location::Hdfs(url) => Place::Hdfs(url.clone()),
        Location::S3(s3) => Place::S3(S3Config {
            url: s3.url.clone(),
            anonymous: s3.anonymous,
            region: s3.region.clone(),
            endpoint: s3.endpoint.clone(),
            keys: s3.keys.as_ref().map(|(id, secret, token)| {
                let reveal = |secret: &Secret| secret.reveal().to_owned();
                (reveal(id), reveal(secret), token.as_ref().map(reveal))
            }),
        }),
    }
}

/// Which of its places each source of files is read from, once that was decided.
///
/// Positions mean something in one place only, and every pipeline of a source reads the same files;
/// so what was decided holds for the life of the data folder, or until the project no longer names
/// that place.
#[derive(Clone, Default)]
pub(super) struct Places {
    decided: Arc<Decided>,
    // In a test, what stands in the place of all of them.
    given: Option<Arc<Given>>,
}

#[derive(Default)]
struct Decided {
    used: Mutex<BTreeMap<String, usize>>,
    // Pipelines of one source ask at the same time.
    turn: tokio::sync::Mutex<()>,
}

impl Decided {
    fn set(&self, source: &str, used: usize) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(source.to_owned(), used);
    }
}

/// Kind of the rows that hold the decisions, by source.
const DECISIONS: &str = "file_place";

impl Places {
    pub(super) fn new(given: Option<Arc<Given>>) -> Self {
        Self { decided: Arc::default(), given }
    }

    /// What a test gives to a source.
    pub(super) fn given(&self, source: &str) -> Option<&GivenSource> {
        self.given.as_ref()?.source(source)
    }

    /// Whether a test gives what sources read.
    pub(super) fn are_given(&self) -> bool {
        self.given.is_some()
    }

    /// The number of the place in use, if it was decided.
    pub(super) fn used(&self, source: &str) -> Option<usize> {
        self.decided.used.lock().unwrap_or_else(PoisonError::into_inner).get(source).copied()
    }

    /// The place that a source of files is read from, as it is shown.
    pub(super) fn shown(&self, source: &Source) -> Option<String> {
        let Connector::File(file) = &source.connector else { return None };
        let used = match file.places.len() {
            1 => Some(0),
            _ => self.used(source.name.as_str()),
        };
        Some(place(file.places.get(used?)?).to_string())
    }

    /// Takes back what was decided in an earlier life, for those who only look.
    pub(super) async fn recall(&self, sources: &[Source], store: &Arc<dyn Store>) -> Result<()> {
        for source in sources {
            let Connector::File(file) = &source.connector else { continue };
            let name = source.name.as_str();
            if file.places.len() > 1
                && let Some(used) = stored(name, file, store).await?
            {
                self.decided.set(name, used);
            }
        }
        Ok(())
    }

    /// Decides where the files of a source are read from: the first of its places that can be
    /// listed and holds a file; without any of those, the first that can be listed.
    ///
    /// # Errors
    ///
    /// `Unavailable` when no place can be listed.
    pub(super) async fn decide(
        &self,
        source: &Source,
        env: &Env,
        store: &Arc<dyn Store>,
    ) -> Result<usize> {
        let Connector::File(file) = &source.connector else { return Ok(0) };
        let name = source.name.as_str();
        if file.places.len() == 1 {
            return Ok(0);
        }
        let _turn = self.decided.turn.lock().await;
        if let Some(used) = self.used(name) {
            return Ok(used);
        }
        let used = match stored(name, file, store).await? {
            Some(used) => used,
            None => {
                let places: Vec<Place> = file.places.iter().map(place).collect();
                let used = first_that_works(name, &places, env).await?;
                let shown = places[used].to_string().into();
                store.put(DECISIONS, name, Expected::Any, &shown).await?;
                let place = &places[used];
                if used > 0 {
                    tracing::warn!(source = name, %place, "files are read from a fall-back");
                } else {
                    tracing::info!(source = name, %place, "files are read from the first place");
                }
                used
            }
        };
        self.decided.set(name, used);
        Ok(used)
    }
}

/// The place that was decided for a source, as far as the project still names it.
async fn stored(name: &str, file: &FileSource, store: &Arc<dyn Store>) -> Result<Option<usize>> {
    let row = store.get(DECISIONS, name).await?;
    Ok(row.and_then(|row| {
        let is_it = |it: &FilePlace| row.value.as_str() == Some(&place(it).to_string());
        file.places.iter().position(is_it)
    }))
}

async fn first_that_works(name: &str, places: &[Place], env: &Env) -> Result<usize> {
    let mut empty = None;
    let mut failures = Vec::new();
    for (number, place) in places.iter().enumerate() {
        match place.count(env).await {
            Ok(0) => {
                tracing::warn!(source = name, %place, "no file is there");
                empty.get_or_insert(number);
            }
            Ok(_) => return Ok(number),
            Err(error) => {
                tracing::warn!(source = name, %place, error = error.chain(), "it cannot be read");
                failures.push(format!("{place}: {}", error.message));
            }
        }
    }
    empty.ok_or_else(|| {
        Error::unavailable(format!("no place of source `{name}` can be read"))
            .with_detail(failures.join("; "))
    })
}

fn json_config(source: &Source, format: &JsonFormat) -> Result<JsonConfig> {
    let mut notices = Vec::new();
    for notice in &format.notices {
        notices.push(NoticeRule {
            when: notice.when.as_str().parse()?,
            message: notice.message.as_str().parse()?,
        });
    }
    if notices.is_empty() && matches!(source.connector, Connector::Finnhub(_)) {
        notices.push(NoticeRule { when: "$.type = 'error'".parse()?, message: "$.msg".parse()? });
    }
    Ok(JsonConfig {
        columns: source.columns.clone(),
        rows: format.rows.as_ref().map(|path| path.as_str().parse()).transpose()?,
        only_if: format.only_if.as_ref().map(|rule| rule.as_str().parse()).transpose()?,
        notices,
    })
}

fn csv_config(source: &Source, format: &CsvFormat) -> Result<CsvConfig> {
    Ok(CsvConfig {
        columns: source.columns.clone(),
        header: if format.header { Header::File } else { Header::None },
        null: format.null.clone(),
        delimiter: ascii(format.delimiter)?,
        quote: ascii(format.quote)?,
    })
}

fn ascii(character: char) -> Result<u8> {
    u8::try_from(character)
        .map_err(|_| Error::invalid(format!("`{character}` is not one ASCII character")))
}
