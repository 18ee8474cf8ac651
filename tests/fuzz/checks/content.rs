//! Content: the same at every split, what a slow reading makes of it, and out again as it came in.
//!
//! Input: rules, room, cuts; then octets behind 354, or of chunks.

use relay_fast::smtp::content::{Decoder, Fault, Framing, LineEndings, Progress, Rules};
use relay_fast::smtp::stuffing::Stuffing;

use super::cuts::Cuts;
use super::taken;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    content: Vec<u8>,
    fault: Option<Fault>,
    /// Octets that were used up to the end of data; `None`: there was none.
    end: Option<usize>,
    eight_bit: bool,
}

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&[flags, room, cuts], octets)) = data.split_first_chunk() else { return };
    let rules = Rules {
        framing: match flags & 3 {
            0 | 3 => Framing::Dot,
            1 => Framing::Chunked,
            _ => Framing::Binary,
        },
        line_endings: if flags & 4 == 0 { LineEndings::Strict } else { LineEndings::Normalize },
        line_max: if flags & 8 == 0 { 2_048 } else { 24 },
        bytes_max: if flags & 16 == 0 { 1 << 20 } else { 64 },
    };
    let whole = decode(rules, octets, Cuts::Free(0), usize::MAX);
    // Room for so little that each piece fills it.
    let room = 6 + usize::from(room);
    let cut = decode(rules, octets, Cuts::LinesAnd(cuts), room);
    assert_eq!(whole, cut, "a split matters");
    if whole.fault.is_none() {
        compare(rules, octets, &whole);
    }
    stuff(octets, cuts);
}

fn decode(rules: Rules, octets: &[u8], cuts: Cuts, room: usize) -> Read {
    let mut decoder = Decoder::new(rules);
    let (mut content, mut used, mut end) = (Vec::new(), 0, None);
    'all: for mut piece in cuts.pieces(octets) {
        while !piece.is_empty() {
            let mut into = Vec::new();
            let (taken, progress) = decoder.decode(piece, &mut into, room);
            assert!(into.len() <= room, "{} octets in {room}", into.len());
            content.extend(into);
            used += taken;
            piece = &piece[taken..];
            match progress {
                Progress::More => assert!(piece.is_empty(), "octets are left"),
                Progress::Full => assert!(taken > 0, "it is full and takes nothing"),
                Progress::End => {
                    end = Some(used);
                    break 'all;
                }
            }
        }
    }
    if end.is_none() && rules.framing != Framing::Dot {
        decoder.finish(&mut content);
    }
    let fault = decoder.fault();
    match fault {
        None => assert_eq!(decoder.bytes(), content.len() as u64),
        // What came before it went out in pieces of any size.
        Some(_) => content.clear(),
    }
    // Behind a fault nothing is known of octets that are read only for their end.
    let eight_bit = fault.is_none() && decoder.is_eight_bit();
    Read { content, fault, end, eight_bit }
}

/// Beside a slow reading.
fn compare(rules: Rules, octets: &[u8], read: &Read) {
    let normalize = rules.line_endings == LineEndings::Normalize;
    let expected = match (rules.framing, read.end) {
        (Framing::Dot, Some(end)) => taken::content(octets, 0, end, taken::Framing::Dot, normalize),
        (Framing::Dot, None) => {
            let whole = [b"\r\n", octets].concat();
            let end = whole.windows(5).position(|part| part == b"\r\n.\r\n");
            return assert_eq!(end, None, "its end was not seen");
        }
        (Framing::Chunked, _) if normalize => taken::whole_ends(octets),
        (Framing::Chunked | Framing::Binary, _) => octets.to_vec(),
    };
    assert_eq!(read.content, expected);
    assert_eq!(read.eight_bit, !read.content.is_ascii());
    assert!(read.content.len() as u64 <= rules.bytes_max);
    if rules.framing != Framing::Binary {
        taken::assert_text(&read.content, rules.line_max);
    }
}

/// What goes out as DATA ends once, at its end, and comes in again as what it was.
fn stuff(octets: &[u8], cuts: u8) {
    let write = |cuts: Cuts| {
        let (mut stuffing, mut wire) = (Stuffing::default(), Vec::new());
        cuts.pieces(octets).iter().for_each(|piece| stuffing.push(piece, &mut wire));
        stuffing.finish(&mut wire);
        wire
    };
    let wire = write(Cuts::Free(0));
    assert_eq!(wire, write(Cuts::LinesAnd(cuts)), "a split matters");
    taken::assert_whole_ends(&wire);
    let mut expected = taken::whole_ends(octets);
    if !expected.is_empty() && !expected.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    let (framing, used) = (taken::Framing::Dot, wire.len());
    assert_eq!(taken::content(&wire, 0, used, framing, false), expected);
}
