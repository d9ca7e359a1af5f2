//! Sources as they run: connector, input and decoder of each.

mod pages;
mod polled;

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_connect::codecs::csv::{CsvConfig, CsvDecoder, Header};
use thalweg_connect::codecs::json::{JsonConfig, JsonDecoder, NoticeRule};
use thalweg_connect::presets::finnhub::{FinnhubConfig, preset};
use thalweg_connect::sources::file::{FileConfig, FileInput, Framing, Rate};
use thalweg_connect::sources::http::{Http, HttpConfig};
use thalweg_connect::sources::journal::JournalInput;
use thalweg_connect::sources::websocket::{Heartbeat, WebSocket, WebSocketConfig};
use thalweg_core::decode::Decoder;
use thalweg_core::env::Env;
use thalweg_core::log::Log;
use thalweg_core::source::Input;
use thalweg_core::topic::TopicPartition;
use thalweg_core::{Error, Result};
use thalweg_project::{Connector, CsvFormat, Format, JsonFormat, Project, Source};
use thalweg_stream::intake::{Intake, IntakeConfig};
use thalweg_stream::sql::Planner;

/// The topic that holds a live source's frames.
pub(super) fn journal_topic(source: &str) -> String {
    format!("{source}.raw")
}

/// A live source, ready to connect; with `once`, what polls polls once and ends.
pub(super) fn live(
    source: &Source,
    env: &Env,
    once: bool,
) -> Result<Box<dyn thalweg_core::source::Source>> {
    let mut config = match &source.connector {
        Connector::Http(http) => return poller(polled::http(http)?, source, env, once),
        Connector::Binance(binance) => {
            return poller(polled::binance(binance)?, source, env, once);
        }
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
        Connector::File(_) => return Err(Error::internal("a file is not a live source")),
    };
    config.stale_after = source.stale_after;
    Ok(Box::new(WebSocket::new(config, env)?))
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
type Inputs = BTreeMap<u32, Box<dyn Input>>;

/// Who reads a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A pipeline, at the pace the project asks for.
    Pipeline,
    /// A query, as fast as it can.
    Query,
}

/// The inputs of a source, one a partition, and the intake that takes their frames.
pub(super) fn input_and_intake(
    project: &Project,
    source: &Source,
    planner: &Planner,
    env: &Env,
    log: &Arc<dyn Log>,
    reader: Reader,
) -> Result<(Inputs, Intake)> {
    let (input, decoder): (Box<dyn Input>, Box<dyn Decoder>) = match &source.connector {
        Connector::File(file) => {
            let path = project.dir.join(&file.path);
            let mut config = FileConfig::new(path.to_string_lossy());
            if let Format::Csv(csv) = &source.format {
                config.framing = Framing::Csv {
                    delimiter: ascii(csv.delimiter)?,
                    quote: ascii(csv.quote)?,
                    header: csv.header,
                };
            }
            if reader == Reader::Pipeline {
                config.rate =
                    file.rate_per_second.and_then(|rate| Rate::parse(&format!("{rate}/s")));
            }
            let input = FileInput::new(config, env)?;
            let decoder: Box<dyn Decoder> = match &source.format {
                Format::Json(json) => Box::new(JsonDecoder::new(&json_config(source, json)?)?),
                Format::Csv(csv) => Box::new(
                    CsvDecoder::new(csv_config(source, csv)?)?.with_headers(input.header_source()),
                ),
                Format::Html(html) => pages::decoder(source, html)?,
            };
            (Box::new(input), decoder)
        }
        Connector::Finnhub(_)
        | Connector::Websocket(_)
        | Connector::Http(_)
        | Connector::Binance(_) => {
            let partition = TopicPartition::new(journal_topic(source.name.as_str()), 0);
            let input = JournalInput::new(Arc::clone(log), partition);
            let decoder: Box<dyn Decoder> = match &source.format {
                Format::Json(json) => Box::new(JsonDecoder::new(&json_config(source, json)?)?),
                Format::Csv(csv) => {
                    let mut config = csv_config(source, csv)?;
                    if csv.header {
                        // A frame is a message or a body, with a header of its own.
                        config.header = Header::Frame;
                    }
                    Box::new(CsvDecoder::new(config)?)
                }
                Format::Html(html) => pages::decoder(source, html)?,
            };
            (Box::new(input), decoder)
        }
    };
    let config = IntakeConfig {
        source: source.name.value.clone(),
        topic: match source.is_live() {
            true => journal_topic(source.name.as_str()),
            // Files are their own journal: there is no topic but the source.
            false => source.name.value.clone(),
        },
        event_time: source.event_time.clone(),
        max_ahead_micros: source.max_ahead.map(thalweg_core::time::micros),
        checks: source
            .checks
            .iter()
            .map(|check| (check.name.value.clone(), check.sql.as_str().to_owned()))
            .collect(),
    };
    let intake = Intake::new(planner, config, decoder)?;
    Ok((BTreeMap::from([(0, input)]), intake))
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
