//! What is written down of records reads back, and nothing else does.

use super::*;
use crate::base::prng::Prng;
use crate::spool::format::encode_trailer;
use crate::spool::record::state::encode_state;
use crate::spool::stored::{RecipientState, Standing};

const NONCE: u64 = 0x0123_4567_89ab_cdef;

fn state(recipient: u16, standing: Standing) -> Vec<u8> {
    let mut block = Vec::new();
    encode_state(&RecipientState { recipient, standing }, &mut block);
    block
}

fn pending(held: bool) -> Standing {
    Standing::Pending { attempts: 7, due: WallTime(-5), held, reason: None }
}

/// An index with two states and an end.
fn builder() -> Builder {
    let mut builder = Builder::new(3, LogEnd { segment: 8, offset: 4_711 });
    builder.facts.groups = 2;
    let id = MessageId(u64::MAX - 1);
    builder.push(9, id, RecordKind::State, 4_168, &state(2, pending(true)));
    builder.push(9, id, RecordKind::State, 4_256, &state(0, Standing::Bounced));
    builder.push(9, MessageId(5), RecordKind::Done, 4_312, &[]);
    builder
}

/// A segment that ends with that index, as far as `find` looks at it.
fn segment() -> (Vec<u8>, SegmentHeader) {
    let header = SegmentHeader { identity: 1, nonce: NONCE, number: 9, epoch: 3, directory: 0 };
    let mut segment = Vec::new();
    header.encode(&mut segment);
    segment.resize(8_192, 0xAA);
    let mut payload = Vec::new();
    builder().encode(&mut payload);
    assert_eq!(payload.len(), builder().bytes() as usize);
    let record = crate::spool::format::RecordHeader {
        kind: RecordKind::Index,
        nonce: NONCE,
        sequence: 1,
        id: MessageId(0),
    };
    let bytes = u32::try_from(payload.len()).unwrap();
    segment.extend_from_slice(&record.encode(bytes, crc32c::crc32c(&payload)));
    segment.extend_from_slice(&payload);
    segment.resize(12_288 - 32, 0);
    encode_trailer(8_192, NONCE, &mut segment);
    (segment, header)
}

#[test]
fn an_index_is_found_and_says_what_was_put_in() {
    let (segment, header) = segment();
    let index = Index::find(&segment, &header).expect("it counts");
    assert_eq!(index.facts, builder().facts);
    let mut rest = &segment[index.entries.start as usize..index.entries.end as usize];
    let mut entries = Vec::new();
    while let Some((entry, after)) = Entry::split(rest) {
        entries.push(entry);
        rest = after;
    }
    let id = MessageId(u64::MAX - 1);
    let summary = Summary::Pending { attempts: 7, due: WallTime(-5), held: true };
    let held = StandingEntry { recipient: 2, summary, offset: 4_168 + 40 };
    let bounced = StandingEntry { recipient: 0, summary: Summary::Final, offset: 4_256 + 40 };
    let expected = [
        Entry::State { id, standing: held },
        Entry::State { id, standing: bounced },
        Entry::Done { id: MessageId(5) },
    ];
    assert_eq!(entries, expected);
    assert!(rest.is_empty());
    assert_eq!(ahead(&segment), Ahead::Index(vec![index.entries]));
}

#[test]
fn no_flipped_bit_and_no_other_life_passes() {
    let (whole, header) = segment();
    let used = 8_192..8_192 + 40 + builder().bytes() as usize;
    // The last eight octets of the trailer are free, but covered.
    for place in used.chain(12_288 - 32..12_288) {
        for bit in 0..8 {
            let mut bad = whole.clone();
            bad[place] ^= 1 << bit;
            assert_eq!(Index::find(&bad, &header), None, "bit {bit} of octet {place}");
            assert_eq!(ahead(&bad), Ahead::Everything);
        }
    }
    let others = [
        SegmentHeader { nonce: NONCE + 1, ..header },
        SegmentHeader { epoch: header.epoch + 1, ..header },
    ];
    others.iter().for_each(|other| assert_eq!(Index::find(&whole, other), None));
    for cut in 0..whole.len() {
        assert_eq!(Index::find(&whole[..cut], &header), None, "cut at {cut}");
    }
}

#[test]
fn nothing_is_read_of_a_file_that_was_never_written() {
    assert_eq!(ahead(&[0; 32_768]), Ahead::Nothing);
    let mut headless = vec![0; 32_768];
    headless[4_100] = 1;
    assert_eq!(ahead(&headless), Ahead::Everything);
    assert_eq!(ahead(&[]), Ahead::Everything);
}

#[test]
fn noise_is_no_entry_or_is_split_without_a_panic() {
    let mut prng = Prng::from_number(7);
    for _ in 0..20_000 {
        let mut noise: Vec<u8> = (0..12).flat_map(|_| prng.next_u64().to_le_bytes()).collect();
        noise[0] %= 5;
        if let Some((Entry::Message(message), _)) = Entry::split(&noise) {
            message.domains().for_each(drop);
            message.standings().for_each(drop);
        }
    }
}
