//! Reading batches: nothing is copied, and what is malformed is an error, never a panic (S30).

use bytes::Bytes;

use super::{
    BATCH_HEADER_BYTES, BatchHeader, CRC_START, Compression, Record, RecordHeader, malformed,
    varint,
};
use crate::error::{Error, Result};
use crate::time::Timestamp;
use crate::topic::Offset;

/// Fewest bytes a record can have: what bounds an allocation by a count.
const RECORD_BYTES_MIN: usize = 7;

/// A record and where it lies in its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedRecord {
    /// Its offset.
    pub offset: Offset,
    /// The record; its bytes are slices of the buffer it was decoded from.
    pub record: Record,
}

/// Decodes every record of a buffer of whole batches. Control batches hold no data and are skipped.
///
/// # Errors
///
/// `Data` when a batch is cut off, damaged, malformed or compressed.
pub fn decode(buffer: &Bytes) -> Result<Vec<DecodedRecord>> {
    let mut decoded = Vec::new();
    for batch in batches(buffer) {
        let batch = batch?;
        batch.check_crc()?;
        if batch.header.is_control() {
            continue;
        }
        let records = batch.records()?;
        decoded.reserve(records.size_hint().0);
        for record in records {
            decoded.push(record?.to_owned_in(buffer));
        }
    }
    Ok(decoded)
}

/// Splits a buffer into batches; ends after the first error.
pub fn batches(buffer: &[u8]) -> Batches<'_> {
    Batches { rest: buffer }
}

/// The batches of a buffer, in order.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = Batch::parse(self.rest);
        self.rest = batch.as_ref().map_or(&[], |batch| &self.rest[batch.bytes.len()..]);
        Some(batch)
    }
}

/// One whole batch in a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Its fixed part.
    pub header: BatchHeader,
    /// All of it, header included.
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Takes the batch at the start of `bytes`, which may go on behind it.
    ///
    /// # Errors
    ///
    /// `Data` when the header is malformed or the batch is cut off.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let header = BatchHeader::parse(bytes)?;
        match bytes.get(..header.length) {
            Some(bytes) => Ok(Self { header, bytes }),
            None => Err(malformed(format!(
                "it is cut off after {} of {} bytes",
                bytes.len(),
                header.length
            ))),
        }
    }

    /// Compares the CRC.
    ///
    /// # Errors
    ///
    /// `Data` when it differs.
    pub fn check_crc(&self) -> Result<()> {
        if crc32c::crc32c(&self.bytes[CRC_START..]) == self.header.crc {
            Ok(())
        } else {
            Err(malformed("its CRC does not match its bytes"))
        }
    }

    /// Checks all that a log must know before it takes the batch: the CRC; at least one record;
    /// offsets that are dense; and each record, unless they are compressed.
    ///
    /// # Errors
    ///
    /// `Data`, with the reason.
    pub fn check(&self) -> Result<()> {
        self.check_crc()?;
        if self.header.count == 0 || self.header.count - 1 != self.header.last_offset_delta {
            return Err(malformed(format!(
                "its {} records do not take {} offsets",
                self.header.count,
                i64::from(self.header.last_offset_delta) + 1
            )));
        }
        if self.header.compression() == Compression::None {
            // Deltas rise and end at the last one, so as many records as deltas means dense.
            self.records()?.try_for_each(|record| record.map(|_| ()))?;
        }
        Ok(())
    }

    /// The records. The CRC is not looked at.
    ///
    /// # Errors
    ///
    /// `Data` when they are compressed.
    pub fn records(&self) -> Result<Records<'a>> {
        match self.header.compression() {
            Compression::None => Ok(Records {
                header: self.header,
                rest: &self.bytes[BATCH_HEADER_BYTES..],
                count_left: self.header.count,
                offset_delta_min: 0,
            }),
            codec => Err(Error::data(format!(
                "record batch at offset {} is compressed with {}, which is not decoded",
                self.header.base_offset,
                codec.name()
            ))
            .with_hint("Set the producer's compression.type to none.")),
        }
    }
}

/// The records of one batch, in order; ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    rest: &'a [u8],
    count_left: i32,
    offset_delta_min: i32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.count_left == 0 {
            let bytes_left = std::mem::take(&mut self.rest).len();
            return (bytes_left > 0)
                .then(|| Err(malformed(format!("{bytes_left} bytes follow its last record"))));
        }
        let record = self.take_record();
        match &record {
            Ok(_) => self.count_left -= 1,
            Err(_) => (self.count_left, self.rest) = (0, &[]),
        }
        Some(record)
    }

    /// At most as many as there is room for, whatever the header says.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = usize::try_from(self.count_left).unwrap_or(0);
        (count.min(self.rest.len() / RECORD_BYTES_MIN), None)
    }
}

impl<'a> Records<'a> {
    fn take_record(&mut self) -> Result<RecordRef<'a>> {
        let broken = |part| malformed(format!("a record's {part} is malformed"));
        let mut body = take_bytes(&mut self.rest).ok_or_else(|| broken("length"))?;
        let (_attributes, after) = body.split_first().ok_or_else(|| broken("length"))?;
        body = after;
        let timestamp_delta = varint::take(&mut body).ok_or_else(|| broken("timestamp"))?;
        let offset_delta = varint::take_i32(&mut body)
            .filter(|delta| (self.offset_delta_min..=self.header.last_offset_delta).contains(delta))
            .ok_or_else(|| broken("offset"))?;
        let key = take_nullable(&mut body).ok_or_else(|| broken("key"))?;
        let value = take_nullable(&mut body).ok_or_else(|| broken("value"))?;
        let headers = HeaderRefs::take(&mut body).ok_or_else(|| broken("list of headers"))?;
        if !body.is_empty() {
            return Err(broken("end"));
        }
        // The next one is greater; after the greatest of all there is none.
        self.offset_delta_min = offset_delta.saturating_add(1);
        let millis = if self.header.has_append_time() {
            self.header.max_timestamp_ms
        } else {
            self.header.base_timestamp_ms.wrapping_add(timestamp_delta)
        };
        Ok(RecordRef {
            offset: self.header.base_offset.saturating_add(i64::from(offset_delta)),
            timestamp: Timestamp::from_millis(millis),
            key,
            value,
            headers,
        })
    }
}

/// A record in a buffer.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its time, in whole milliseconds.
    pub timestamp: Timestamp,
    /// What it is about.
    pub key: Option<&'a [u8]>,
    /// What it says.
    pub value: Option<&'a [u8]>,
    /// Facts beside the value.
    pub headers: HeaderRefs<'a>,
}

impl RecordRef<'_> {
    /// The record with slices of `buffer`, which this record must lie in.
    fn to_owned_in(self, buffer: &Bytes) -> DecodedRecord {
        let slice = |bytes: &[u8]| buffer.slice_ref(bytes);
        let headers = self
            .headers
            .map(|(name, value)| RecordHeader { name: slice(name), value: value.map(slice) })
            .collect();
        DecodedRecord {
            offset: self.offset,
            record: Record {
                timestamp: self.timestamp,
                key: self.key.map(slice),
                value: self.value.map(slice),
                headers,
            },
        }
    }
}

/// The headers of a record, as names and values.
#[derive(Clone, Copy, Debug)]
pub struct HeaderRefs<'a> {
    // Whole headers: they were walked once when the record was taken.
    rest: &'a [u8],
}

impl<'a> HeaderRefs<'a> {
    /// Takes the count and as many headers from the front of `bytes`.
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let count = varint::take_i32(bytes).filter(|count| *count >= 0)?;
        let all = *bytes;
        for _ in 0..count {
            take_bytes(bytes)?;
            take_nullable(bytes)?;
        }
        Some(Self { rest: &all[..all.len() - bytes.len()] })
    }
}

impl<'a> Iterator for HeaderRefs<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = take_bytes(&mut self.rest)?;
        let value = take_nullable(&mut self.rest)?;
        Some((name, value))
    }
}

/// Takes a length and as many bytes.
fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    take_nullable(bytes)?
}

/// Takes a length and as many bytes; length -1 is null.
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::take_i32(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(taken))
}
