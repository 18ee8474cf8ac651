//! Bytes and meaning: what was written reads back, and nothing else does.

use super::*;

const HEADER: SegmentHeader =
    SegmentHeader { identity: 1 << 60, nonce: 7 << 40, number: 9, epoch: 3, directory: 1023 };

fn record(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let header = RecordHeader {
        kind: RecordKind::State,
        nonce: 0x0102_0304_0506_0708,
        sequence: 77,
        id: MessageId(1 << 63),
    };
    let bytes = u32::try_from(payload.len()).expect("short");
    out.extend_from_slice(&header.encode(bytes, crc32c::crc32c(payload)));
    out.extend_from_slice(payload);
    out
}

#[test]
fn a_segment_header_reads_back_and_no_flipped_bit_passes() {
    let mut block = Vec::new();
    HEADER.encode(&mut block);
    assert_eq!(block.len(), 4_096);
    assert_eq!(SegmentHeader::decode(&block), HeaderBlock::Valid(HEADER));
    for bit in 0..64 * 8 {
        let mut bad = block.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHeader::decode(&bad), HeaderBlock::Invalid, "bit {bit}");
    }
    assert_eq!(SegmentHeader::decode(&[0; 4_096]), HeaderBlock::Blank);
    assert_eq!(SegmentHeader::decode(&block[..63]), HeaderBlock::Invalid);
}

#[test]
fn another_version_is_told_from_damage() {
    let of_version = |version: u8| {
        let mut block = Vec::new();
        HEADER.encode(&mut block);
        block[12] = version;
        let crc = crc32c::crc32c(&block[12..64]);
        block[8..12].copy_from_slice(&crc.to_le_bytes());
        SegmentHeader::decode(&block)
    };
    // A spool outlives the program that wrote it.
    assert_eq!(of_version(1), HeaderBlock::Valid(HEADER));
    assert_eq!(of_version(2), HeaderBlock::Valid(HEADER));
    assert_eq!(of_version(0), HeaderBlock::Version(0));
    assert_eq!(of_version(3), HeaderBlock::Version(3));
}

#[test]
fn a_record_reads_back_and_no_flipped_bit_or_missing_octet_passes() {
    let bytes = record(b"thirteen octs");
    let end = u32::try_from(bytes.len()).expect("short");
    let read = Record::decode(&bytes, 0, end).expect("valid");
    assert_eq!((read.payload, read.bytes(), read.end()), (&b"thirteen octs"[..], 53, 56));
    assert_eq!((read.header.sequence, read.header.id), (77, MessageId(1 << 63)));
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Record::decode(&bad, 0, end), None, "bit {bit}");
    }
    for cut in 0..end {
        assert_eq!(Record::decode(&bytes, 0, cut), None, "cut at {cut}");
        assert_eq!(Record::decode(&bytes[..cut as usize], 0, end), None, "cut at {cut}");
    }
    assert_eq!(Record::decode(&bytes, u32::MAX, u32::MAX), None);
}

#[test]
fn the_documented_offsets_are_those_written() {
    let bytes = record(b"x");
    assert_eq!(bytes[8..13], [1, 0, 0, 0, 3]);
    assert_eq!(bytes[16..24], 0x0102_0304_0506_0708u64.to_le_bytes());
    assert_eq!(bytes[24..32], 77u64.to_le_bytes());
    assert_eq!(bytes[32..40], (1u64 << 63).to_le_bytes());
    let head = GroupHead {
        segment: 1,
        epoch: 2,
        head_bytes: 80,
        bytes: 90,
        records: 5,
        committed: LogEnd { segment: 6, offset: 7 },
    };
    let mut out = Vec::new();
    head.encode(3, 4, &mut out);
    assert_eq!(out.len(), GROUP_RECORD_BYTES as usize);
    let fields: Vec<u32> = out[40..].chunks(4).map(|four| u32_at(four, 0)).collect();
    assert_eq!(fields, [1, 2, 80, 90, 5, 6, 7, 0]);
    let read = Record::decode(&out, 0, 72).expect("valid");
    assert_eq!(GroupHead::decode(&read, 90), Some(head));
    assert_eq!(GroupHead::decode(&read, 89), None, "past the segment's end");
}
