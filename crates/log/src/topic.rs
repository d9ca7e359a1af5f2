//! A topic's settings on disk: the file `topic` in its folder.
//!
//! ```text
//! thalweg topic 1
//! partitions 1
//! retention_age_ms 604800000
//! retention_bytes 10000000000
//! segment_bytes 1024
//! crc32c 5f3bf640
//! ```
//!
//! Text, so that a person can read it; a limit that is not set has no line. The CRC is over all
//! lines before it. Written whole, by rename.

use std::fmt::Write as _;
use std::time::Duration;

use thalweg_core::log::TopicSettings;
use thalweg_core::topic::is_topic_name;
use thalweg_core::{Error, Result};

/// Name of the file.
pub(crate) const FILE: &str = "topic";

/// Name it is written under first; a crash may leave it.
pub(crate) const UNNAMED: &str = "topic.tmp";

const FIRST_LINE: &str = "thalweg topic 1";
/// Each partition has a file open and a sync of its own.
const PARTITIONS_MAX: u32 = 1024;
/// Below this a segment is hardly more than its header.
const SEGMENT_BYTES_MIN: u64 = 1024;

/// Refuses a topic that cannot be made.
pub(crate) fn check(name: &str, settings: &TopicSettings) -> Result<()> {
    if !is_topic_name(name) {
        return Err(Error::invalid(format!("{name:?} cannot name a topic"))
            .with_detail("A name is 1 to 249 of a-z A-Z 0-9 . _ - and not . or .. alone."));
    }
    if !(1..=PARTITIONS_MAX).contains(&settings.partitions) {
        return Err(Error::invalid(format!(
            "topic {name} cannot have {} partitions",
            settings.partitions
        ))
        .with_hint(format!("Take 1 to {PARTITIONS_MAX}.")));
    }
    if settings.segment_bytes < SEGMENT_BYTES_MIN {
        return Err(Error::invalid(format!(
            "topic {name} cannot have segments of {} bytes",
            settings.segment_bytes
        ))
        .with_hint(format!("Take {SEGMENT_BYTES_MIN} or more.")));
    }
    Ok(())
}

/// The file's bytes.
pub(crate) fn encode(settings: &TopicSettings) -> Vec<u8> {
    let mut text = format!("{FIRST_LINE}\npartitions {}\n", settings.partitions);
    let mut line = |name: &str, number: u64| {
        writeln!(text, "{name} {number}").expect("a string takes everything");
    };
    if let Some(age) = settings.retention_age {
        line("retention_age_ms", u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    }
    if let Some(bytes) = settings.retention_bytes {
        line("retention_bytes", bytes);
    }
    line("segment_bytes", settings.segment_bytes);
    let crc = crc32c::crc32c(text.as_bytes());
    writeln!(text, "crc32c {crc:08x}").expect("a string takes everything");
    text.into_bytes()
}

/// Reads the file's bytes.
///
/// # Errors
///
/// What is wrong, as a sentence.
pub(crate) fn decode(bytes: &[u8]) -> Result<TopicSettings, String> {
    let text = str::from_utf8(bytes).map_err(|_| "It is not text.")?;
    if !text.starts_with(FIRST_LINE) {
        let line = text.lines().next().unwrap_or_default();
        return Err(format!("It begins with {line:?}, not with {FIRST_LINE:?}."));
    }
    let (lines, crc) = text.rsplit_once("crc32c ").ok_or("Its last line is missing.")?;
    if crc != format!("{:08x}\n", crc32c::crc32c(lines.as_bytes())) {
        return Err("Its CRC does not match its lines.".to_owned());
    }

    let number = |name: &str| {
        let line = lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|number| number.parse::<u64>().map_err(|_| format!("Its {name} is no number.")))
            .transpose()
    };
    let partitions = number("partitions")?.and_then(|count| u32::try_from(count).ok());
    Ok(TopicSettings {
        partitions: partitions.ok_or("It has no number of partitions.")?,
        retention_age: number("retention_age_ms")?.map(Duration::from_millis),
        retention_bytes: number("retention_bytes")?,
        segment_bytes: number("segment_bytes")?.ok_or("It has no size of segments.")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_and_read_back() {
        for retention_age in [None, Some(Duration::from_millis(1500))] {
            for retention_bytes in [None, Some(u64::MAX)] {
                let settings = TopicSettings {
                    partitions: 7,
                    retention_age,
                    retention_bytes,
                    segment_bytes: 4096,
                };
                assert_eq!(decode(&encode(&settings)), Ok(settings));
            }
        }
    }

    #[test]
    fn damage_is_noticed() {
        let good = encode(&TopicSettings::default());
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            assert!(decode(&bad).is_err(), "{:?}", String::from_utf8_lossy(&bad));
            assert!(decode(&good[..place]).is_err());
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let with = |partitions, segment_bytes| TopicSettings {
            partitions,
            segment_bytes,
            ..TopicSettings::default()
        };
        assert!(check("trades.raw", &with(1, 1024)).is_ok());
        assert!(check("_epochs", &with(1024, u64::MAX)).is_ok());
        for (name, settings) in [
            ("a/b", with(1, 1024)),
            ("..", with(1, 1024)),
            ("", with(1, 1024)),
            ("t", with(0, 1024)),
            ("t", with(1025, 1024)),
            ("t", with(1, 1023)),
        ] {
            assert_eq!(check(name, &settings).unwrap_err().kind, thalweg_core::ErrorKind::Invalid);
        }
    }
}
