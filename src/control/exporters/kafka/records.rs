//! Make batches of records (magic 2), and say which partition a key belongs to.
//!
//! In: records. Out: the octets that a partition's log takes as they are.

use crate::base::time::WallTime;
use crate::control::exporters::kafka::wire::Writer;

/// An event, as Kafka has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) time: WallTime,
    pub(super) key: &'a str,
    pub(super) value: &'a [u8],
    pub(super) headers: [(&'a str, &'a str); 2],
}

/// Records of one partition, at least one, neither compressed nor numbered by us.
pub(super) fn batch(records: &[Record<'_>]) -> Vec<u8> {
    let first = records.first().map_or(0, |one| one.time.0);
    let last = records.iter().map(|one| one.time.0).max().unwrap_or(first);
    let count = i32::try_from(records.len()).expect("a batch has a bound");
    // Attributes: none. Producer, its epoch and sequence: there are none.
    let mut checked = Writer::default()
        .int16(0)
        .int32(count - 1)
        .int64(first)
        .int64(last)
        .int64(-1)
        .int16(-1)
        .int32(-1)
        .int32(count);
    for (offset, one) in (0..).zip(records) {
        let head = Writer::default().int8(0).varint(one.time.0 - first).varint(offset);
        let body = head.varbytes(one.key.as_bytes()).varbytes(one.value);
        let counted = body.varint(one.headers.len().cast_signed() as i64);
        let record = one.headers.iter().fold(counted, |record, (name, value)| {
            record.varbytes(name.as_bytes()).varbytes(value.as_bytes())
        });
        checked = checked.varbytes(&record.0);
    }
    let checked = checked.0;
    // What its length counts begins with the epoch of the leader: unknown. Then magic and sum.
    let counted = i32::try_from(4 + 1 + 4 + checked.len()).expect("a batch has a bound");
    let sum = crc32c::crc32c(&checked).cast_signed();
    let mut batch = Writer::default().int64(0).int32(counted).int32(-1).int8(2).int32(sum);
    batch.0.extend(checked);
    batch.0
}

/// The partition of `partitions` for a key, as Kafka's own client chooses it.
pub(super) fn partition(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions.max(1)
}

/// MurmurHash2 with Kafka's seed.
fn murmur2(octets: &[u8]) -> u32 {
    const FACTOR: u32 = 0x5bd1_e995;
    let (words, rest) = octets.as_chunks::<4>();
    let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
    let mut hash = words.iter().fold(0x9747_b28c ^ length, |hash, word| {
        let word = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        let word = (word ^ (word >> 24)).wrapping_mul(FACTOR);
        hash.wrapping_mul(FACTOR) ^ word
    });
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, octet| tail << 8 | u32::from(*octet));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hashed_as_kafka_does() {
        // Of Kafka's own test of it (UtilsTest).
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert!((0..100).all(|one| partition(format!("{one}").as_bytes(), 3) < 3));
    }

    #[test]
    fn a_batch_is_summed_and_counted() {
        let headers = [("node", "n"), ("id", "n/0/7")];
        let one = Record { time: WallTime(1_000), key: "n/0", value: b"{}", headers };
        let octets = batch(&[one, Record { time: WallTime(1_001), ..one }]);
        let number = |at: usize| u32::from_be_bytes(octets[at..at + 4].try_into().unwrap());
        assert_eq!(number(8) as usize, octets.len() - 12);
        assert_eq!((octets[16], number(17)), (2, crc32c::crc32c(&octets[21..])));
        // The last offset, and how many.
        assert_eq!((number(23), number(57)), (1, 2));
        let record = b"\x36\0\0\0\x06n/0\x04{}\x04\x08node\x02n\x04id\x0an/0/7";
        assert_eq!(&octets[61..61 + record.len()], record);
        assert_eq!(octets[61 + record.len()..][..4], [0x36, 0, 2, 2]);
    }
}
