//! What may go: the oldest closed segments, whole, by age and by size. A pure decision.

use thalweg_core::log::TopicSettings;
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;

use crate::index::SegmentIndex;

/// What retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Number of segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How many of the `closed` segments, oldest first, may go.
///
/// One may go when it has outlived the age limit (by its newest record) or the partition is above
/// its size limit, and nobody holds a record of it (S26). The first that must stay keeps all behind
/// it, so a partition has no holes.
pub(crate) fn expired<'a>(
    closed: impl Iterator<Item = &'a SegmentIndex> + Clone,
    active_bytes: u64,
    settings: &TopicSettings,
    held_from: Option<Offset>,
    now: Timestamp,
) -> usize {
    let mut bytes = active_bytes + closed.clone().map(|segment| segment.length).sum::<u64>();
    closed
        .take_while(|segment| {
            let held = held_from.is_some_and(|from| from < segment.end);
            let too_many = settings.retention_bytes.is_some_and(|limit| bytes > limit);
            let goes = !held && (too_many || has_outlived(segment, settings, now));
            if goes {
                bytes -= segment.length;
            }
            goes
        })
        .count()
}

/// Whether even the newest record of a segment is older than the age limit.
pub(crate) fn has_outlived(
    segment: &SegmentIndex,
    settings: &TopicSettings,
    now: Timestamp,
) -> bool {
    settings
        .retention_age
        .is_some_and(|age| Timestamp::from_millis(segment.max_timestamp_ms).plus(age) < now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Three closed segments of 100 bytes and ten records each, with times 1 s, 2 s and 3 s.
    fn closed() -> Vec<SegmentIndex> {
        (0..3)
            .map(|number| {
                let mut segment = SegmentIndex::new(number * 10);
                segment.end = number * 10 + 10;
                segment.length = 100;
                segment.max_timestamp_ms = number * 1000 + 1000;
                segment
            })
            .collect()
    }

    #[track_caller]
    fn check(
        age_s: Option<u64>,
        bytes: Option<u64>,
        held: Option<Offset>,
        now_s: i64,
        gone: usize,
    ) {
        let settings = TopicSettings {
            retention_age: age_s.map(Duration::from_secs),
            retention_bytes: bytes,
            ..TopicSettings::default()
        };
        let now = Timestamp::from_millis(now_s * 1000);
        assert_eq!(expired(closed().iter(), 50, &settings, held, now), gone);
    }

    #[test]
    fn the_oldest_go_by_age_and_size_unless_held() {
        check(None, None, None, 1_000_000, 0);
        check(Some(10), None, None, 11, 0);
        check(Some(10), None, None, 12, 1);
        check(Some(10), None, None, 100, 3);
        check(None, Some(350), None, 0, 0);
        check(None, Some(349), None, 0, 1);
        check(None, Some(150), None, 0, 2);
        check(None, Some(0), None, 0, 3);
        check(Some(10), Some(249), None, 12, 2);
        check(Some(10), Some(0), Some(0), 100, 0);
        check(Some(10), Some(0), Some(19), 100, 1);
        check(Some(10), Some(0), Some(20), 100, 2);
        check(Some(10), Some(0), Some(30), 100, 3);
    }
}
