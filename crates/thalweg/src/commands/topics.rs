//! `thalweg topics`: a look at topics, of the running server or beside a stopped one.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use thalweg_core::env::Disk;
use thalweg_core::log::tail::{RECORDS_MAX, Tail, TailFrom, TailRecord, TailRequest, tail};
use thalweg_core::records::{Record, RecordHeader};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use thalweg_log::{EmbeddedLog, OsDisk};

use super::place::{Place, of_server};
use super::{Failure, listen_to_signals, machine, rows, unreachable_server};
use crate::app::data_folder::{DataFolder, Use};
use crate::cli::{Dir, Format, TailArgs, TopicsVerb};
use crate::client::Client;
use crate::output;

/// Time between two looks for what has come.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn run(
    verb: TopicsVerb,
    at: impl Fn(Dir) -> Place,
) -> std::result::Result<u8, Failure> {
    match verb {
        TopicsVerb::List(dir) => rows::print(&at(dir), rows::TOPICS).await,
        TopicsVerb::Show { topic } => {
            let sql = format!(
                "SELECT \"partition\", log_start, high_watermark, log_end, bytes \
                 FROM system.topics WHERE name = {} ORDER BY \"partition\"",
                rows::text(&topic.name)
            );
            rows::print(&at(topic.dir), &sql).await
        }
        TopicsVerb::Tail(args) => {
            let place = at(args.topic.dir.clone());
            print_tail(&place, &args).await
        }
    }
}

async fn print_tail(place: &Place, args: &TailArgs) -> std::result::Result<u8, Failure> {
    let mut request = TailRequest {
        topic: args.topic.name.clone(),
        partition: args.partition,
        from: TailFrom::parse(&args.from)?,
        limit: args.limit.unwrap_or(RECORDS_MAX),
    };
    let format = place.format.unwrap_or(Format::Jsonl);
    let Some(server) = place.server() else {
        if args.follow {
            let error = Error::unavailable("no server runs, so nothing comes")
                .with_hint("Start one with `thalweg run`, or leave `--follow` out.");
            return Err(unreachable_server(error));
        }
        let found = of_folder(place, &request).await?;
        print(&found.records, args.raw, format)?;
        return Ok(0);
    };
    let client = Client::new(&server, &place.data).map_err(unreachable_server)?;
    let mut found = of_running(&client, &request).await.map_err(of_server)?;
    print(&found.records, args.raw, format)?;
    if !args.follow {
        return Ok(0);
    }
    let env = machine(None);
    let signals = listen_to_signals(&env);
    let mut left = args.limit.map(|limit| limit.saturating_sub(found.records.len()));
    while left != Some(0) && env.sleep(FOLLOW_EVERY).await {
        for (partition, offset) in std::mem::take(&mut found.next) {
            request.partition = Some(partition);
            request.from = TailFrom::Offset(offset);
            request.limit = left.unwrap_or(RECORDS_MAX);
            let more = of_running(&client, &request).await.map_err(of_server)?;
            print(&more.records, args.raw, format)?;
            left = left.map(|left| left.saturating_sub(more.records.len()));
            found.next.extend(more.next);
        }
    }
    Ok(signals.code())
}

/// Looks into the log of a data folder that no server has open.
async fn of_folder(place: &Place, request: &TailRequest) -> Result<Tail> {
    let folder = DataFolder::open(&machine(None), &place.data, Use::Question).await?;
    let log_folder = folder.path.join("log");
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let opened = tokio::task::spawn_blocking(move || EmbeddedLog::open(disk, log_folder)).await;
    let (log, _) =
        opened.map_err(|error| Error::internal("opening the log ended").with_source(error))??;
    tail(&log, request).await
}

/// Asks the running server.
async fn of_running(client: &Client, request: &TailRequest) -> Result<Tail> {
    let from = match request.from {
        TailFrom::Beginning => "beginning".to_owned(),
        TailFrom::Newest(count) => format!("-{count}"),
        TailFrom::Offset(offset) => offset.to_string(),
        TailFrom::Time(time) => time.to_string(),
    };
    let partition = request.partition.map_or(String::new(), |it| format!("&partition={it}"));
    let path =
        format!("/topics/{}/records?from={from}&limit={}{partition}", request.topic, request.limit);
    let answer = client.get(&path).await?;
    let records = answer["records"].as_array().map(Vec::as_slice).unwrap_or_default();
    let next = answer["next"].as_object().into_iter().flatten();
    Ok(Tail {
        records: records.iter().map(record).collect::<Option<_>>().ok_or_else(broken)?,
        next: next
            .map(|(partition, offset)| Some((partition.parse().ok()?, offset.as_i64()?)))
            .collect::<Option<_>>()
            .ok_or_else(broken)?,
    })
}

fn broken() -> Error {
    Error::unavailable("the server's answer is not understood")
}

fn record(value: &Value) -> Option<TailRecord> {
    let text = |value: &Value| value.as_str().map(|text| Bytes::from(text.to_owned()));
    let headers = value["headers"].as_array()?.iter().map(|header| {
        let header = header.as_array()?;
        Some(RecordHeader { name: text(header.first()?)?, value: header.get(1).and_then(text) })
    });
    let bytes = value["value_base64"].as_str().and_then(|text| STANDARD.decode(text).ok());
    Some(TailRecord {
        partition: u32::try_from(value["partition"].as_u64()?).ok()?,
        offset: value["offset"].as_i64()?,
        record: Record {
            timestamp: Timestamp::parse(value["timestamp"].as_str()?)?,
            key: text(&value["key"]),
            value: bytes.map(Bytes::from).or_else(|| text(&value["value"])),
            headers: headers.collect::<Option<_>>()?,
        },
    })
}

fn print(records: &[TailRecord], raw: bool, format: Format) -> Result<()> {
    if raw {
        let mut out = std::io::stdout().lock();
        for found in records {
            let value = found.record.value.as_deref().unwrap_or_default();
            let written = out.write_all(value).and_then(|()| out.write_all(b"\n"));
            match written {
                // Whoever reads has seen enough.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                written => written
                    .map_err(|error| Error::unavailable("cannot print").with_source(error))?,
            }
        }
        return Ok(());
    }
    if records.is_empty() {
        return Ok(());
    }
    output::print(&[table(records)?], format)
}

/// Records as rows.
fn table(records: &[TailRecord]) -> Result<RecordBatch> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let headers = |record: &Record| {
        let headers = record.headers.iter();
        let named = headers.map(|it| (text(&it.name), it.value.as_ref().map(text).into()));
        Value::Object(named.collect()).to_string()
    };
    let partitions = records.iter().map(|it| i32::try_from(it.partition).ok());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("partition", Arc::new(partitions.collect::<Int32Array>())),
        ("offset", Arc::new(records.iter().map(|it| Some(it.offset)).collect::<Int64Array>())),
        ("timestamp", texts(records, |it| Some(it.record.timestamp.to_string()))),
        ("key", texts(records, |it| it.record.key.as_ref().map(text))),
        ("value", texts(records, |it| it.record.value.as_ref().map(text))),
        ("headers", texts(records, |it| Some(headers(&it.record)))),
    ];
    RecordBatch::try_from_iter(columns)
        .map_err(|error| Error::internal("records are no rows").with_source(error))
}

fn texts(records: &[TailRecord], of: impl Fn(&TailRecord) -> Option<String>) -> ArrayRef {
    Arc::new(records.iter().map(of).collect::<StringArray>())
}
