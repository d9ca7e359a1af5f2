//! Looking at a topic: a few records of all its partitions, from a place that a person names.
//!
//! For people and their tools; a pipeline reads a partition by position instead.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{FetchLimit, Log};
use crate::error::{Error, Result};
use crate::records::{DecodedRecord, Record, decode};
use crate::time::Timestamp;
use crate::topic::{Offset, TopicPartition};

/// Most records of one look.
pub const RECORDS_MAX: usize = 100_000;
/// Most bytes of keys and values of one look; it ends behind the record that reaches them.
const BYTES_MAX: usize = 32 << 20;
/// Bytes fetched at a time.
const FETCH_BYTES: usize = 1 << 20;

/// Where a look begins, in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailFrom {
    /// At the oldest record held.
    Beginning,
    /// So that the newest records of all partitions are shown, so many.
    Newest(u64),
    /// At an offset; the oldest held, if that is behind it.
    Offset(Offset),
    /// At the first record that is not older.
    Time(Timestamp),
}

impl TailFrom {
    /// Reads `beginning`, `-N`, an offset or an instant.
    ///
    /// # Errors
    ///
    /// `Invalid` when it is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "beginning" {
            return Ok(Self::Beginning);
        }
        if let Some(count) = text.strip_prefix('-').and_then(|count| count.parse().ok()) {
            return Ok(Self::Newest(count));
        }
        let offset = text.parse().ok().map(Self::Offset);
        let time = || Timestamp::parse(text).map(Self::Time);
        offset.or_else(time).ok_or_else(|| {
            Error::invalid(format!("`{text}` is no place in a topic"))
                .with_hint("It is `beginning`, `-N` for the newest N, an offset, or an instant.")
        })
    }
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct TailRequest {
    /// The topic.
    pub topic: String,
    /// One partition; none for all.
    pub partition: Option<u32>,
    /// Where to begin.
    pub from: TailFrom,
    /// Most records shown; more than [`RECORDS_MAX`] is that.
    pub limit: usize,
}

/// What a look has found.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// The records, by time, those of one partition in their order.
    pub records: Vec<TailRecord>,
    /// Where each partition goes on behind them.
    pub next: BTreeMap<u32, Offset>,
}

/// A record, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailRecord {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: Offset,
    /// What it says.
    pub record: Record,
}

/// Looks at a topic.
///
/// # Errors
///
/// `Invalid` when there is no such topic or partition; `Data` when a record is compressed.
pub async fn tail(log: &dyn Log, request: &TailRequest) -> Result<Tail> {
    let topics = log.topics().await?;
    let Some((_, settings)) = topics.iter().find(|(name, _)| *name == request.topic) else {
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        let near = crate::problem::nearest(&request.topic, names.iter().copied());
        let hint = match near {
            Some(near) => format!("Did you mean `{near}`?"),
            None => format!("There are: {}.", names.join(", ")),
        };
        return Err(Error::invalid(format!("no topic `{}`", request.topic)).with_hint(hint));
    };
    let partitions = match request.partition {
        Some(one) => one..one.saturating_add(1),
        None => 0..settings.partitions,
    };
    let limit = request.limit.min(RECORDS_MAX);
    let mut heads = Vec::new();
    let mut found = Tail::default();
    for number in partitions {
        let partition = TopicPartition::new(request.topic.as_str(), number);
        let (records, next) = look(log, &partition, request.from, limit).await?;
        found.next.insert(number, next);
        heads.push(VecDeque::from(records));
    }
    let mut records = merged(heads);
    if let TailFrom::Newest(count) = request.from {
        let shown = usize::try_from(count).unwrap_or(limit).min(limit);
        records.drain(..records.len().saturating_sub(shown));
    } else {
        for left in records.drain(limit.min(records.len())..) {
            let next = found.next.entry(left.partition).or_insert(left.offset);
            *next = (*next).min(left.offset);
        }
    }
    found.records = records;
    Ok(found)
}

/// Records of several partitions by time, those of one in their order.
fn merged(mut heads: Vec<VecDeque<TailRecord>>) -> Vec<TailRecord> {
    let mut records = Vec::with_capacity(heads.iter().map(VecDeque::len).sum());
    let time = |head: &VecDeque<TailRecord>| head.front().map(|it| it.record.timestamp);
    while let Some(first) = heads
        .iter_mut()
        .filter(|head| !head.is_empty())
        .min_by_key(|head| time(head))
        .and_then(VecDeque::pop_front)
    {
        records.push(first);
    }
    records
}

/// The records of one partition, and where it goes on behind them.
async fn look(
    log: &dyn Log,
    partition: &TopicPartition,
    from: TailFrom,
    limit: usize,
) -> Result<(Vec<TailRecord>, Offset)> {
    let bounds = log.bounds(partition).await?;
    let start = match from {
        TailFrom::Beginning | TailFrom::Time(_) => bounds.log_start,
        TailFrom::Newest(count) => {
            bounds.high_watermark.saturating_sub(Offset::try_from(count).unwrap_or(Offset::MAX))
        }
        TailFrom::Offset(offset) => offset,
    };
    let since = match from {
        TailFrom::Time(time) => Some(time),
        _ => None,
    };
    let mut at = start.max(bounds.log_start);
    let (mut records, mut bytes) = (Vec::new(), 0);
    while at < bounds.high_watermark && records.len() < limit && bytes < BYTES_MAX {
        let fetch = FetchLimit { bytes_max: FETCH_BYTES, wait: Duration::ZERO };
        let fetched = log.fetch(partition, at, fetch).await?;
        for DecodedRecord { offset, record } in decode(&fetched.batches)? {
            let is_before = offset < at || since.is_some_and(|since| record.timestamp < since);
            if is_before || records.len() >= limit || bytes >= BYTES_MAX {
                continue;
            }
            let length = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
            bytes += length(&record.key) + length(&record.value);
            records.push(TailRecord { partition: partition.partition, offset, record });
        }
        if fetched.next <= at {
            break;
        }
        at = fetched.next;
    }
    let next = match records.last() {
        Some(last) if records.len() >= limit || bytes >= BYTES_MAX => last.offset + 1,
        _ => at,
    };
    Ok((records, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_people_write_it() {
        let check = |text: &str, expected| assert_eq!(TailFrom::parse(text).ok(), expected);
        check("beginning", Some(TailFrom::Beginning));
        check("-5", Some(TailFrom::Newest(5)));
        check("17", Some(TailFrom::Offset(17)));
        check("2024-01-01T00:00:00Z", Some(TailFrom::Time(Timestamp(1_704_067_200_000_000))));
        check("end of the world", None);
    }
}
