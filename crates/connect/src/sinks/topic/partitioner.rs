//! Which partition a key is in: as Kafka's own clients choose it, so that theirs and ours agree.
//!
//! The hash is MurmurHash2 (Austin Appleby, 2008) with the seed of Kafka's
//! `org.apache.kafka.common.utils.Utils.murmur2`.

/// The partition of a record: by its key, or by its number where it has none.
pub(super) fn partition_of(key: Option<&[u8]>, number: u64, partitions: u32) -> u32 {
    let partitions = partitions.max(1);
    match key {
        Some(key) => (murmur2(key) & 0x7fff_ffff) % partitions,
        None => u32::try_from(number % u64::from(partitions)).unwrap_or(0),
    }
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the tests of Kafka's Java client (`UtilsTest.testMurmur2`).
    #[test]
    fn the_hash_is_kafkas() {
        let known: [(&str, i32); 7] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
        ];
        for (text, hash) in known {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    #[test]
    fn without_a_key_records_go_round() {
        let partitions: Vec<u32> = (0..5).map(|number| partition_of(None, number, 3)).collect();
        assert_eq!(partitions, [0, 1, 2, 0, 1]);
    }
}
