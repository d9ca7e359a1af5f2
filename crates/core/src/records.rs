//! Record batches: Kafka's format v2, byte for byte.
//!
//! The unit the log stores, Kafka clients send and pipelines read. Encoded once, by whoever
//! produces; only the base offset and the leader epoch are patched at append (L4).
//!
//! ```text
//! baseOffset i64 · batchLength i32 · partitionLeaderEpoch i32 · magic i8 = 2 · crc u32 (CRC-32C of
//! all that follows) · attributes i16 · lastOffsetDelta i32 · baseTimestamp i64 · maxTimestamp i64 ·
//! producerId i64 · producerEpoch i16 · baseSequence i32 · count i32 · records
//! ```
