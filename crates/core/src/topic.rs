//! Topics, partitions and offsets: the log's words.

use std::fmt;
use std::sync::Arc;

/// A record's number in its partition; dense where the log gives it out.
///
/// For a file source it is `file number × 2^40 + byte offset` (S1): ordered, not dense.
pub type Offset = i64;

/// One ordered part of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Name of the topic, such as `trades.raw`.
    pub topic: Arc<str>,
    /// Number of the partition, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Whether `name` can name a topic: Kafka's rule, 1–249 of `a-z A-Z 0-9 . _ -`, not `.` or `..`.
pub fn is_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
