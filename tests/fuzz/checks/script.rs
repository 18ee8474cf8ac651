//! What the other side of a connection says and when else something happens, out of an input.
//!
//! Octets stand for themselves, but for ESCAPE: `ESCAPE n` is event number n, and `ESCAPE n x` with
//! n of [`REPEAT`] or more is many times the octet x. No UTF-8 text has that octet.

const ESCAPE: u8 = 0xfe;
/// From here on, 40 times as many as the number is above it.
const REPEAT: u8 = 0xc0;
/// Octets of a whole script: an input of a few octets must not cost seconds.
const SCRIPT_MAX: usize = 40_000;

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The other side sends this.
    Says(Vec<u8>),
    /// This happens.
    Event(u8),
}

/// The turns of a script.
pub(crate) fn turns(script: &[u8]) -> Vec<Turn> {
    let (mut turns, mut said, mut total) = (Vec::new(), Vec::new(), 0);
    let mut octets = script.iter().copied();
    while let Some(octet) = octets.next().filter(|_| total < SCRIPT_MAX) {
        if octet != ESCAPE {
            said.push(octet);
            total += 1;
            continue;
        }
        match octets.next() {
            Some(many @ REPEAT..) => {
                let count = (usize::from(many - REPEAT) + 1) * 40;
                said.extend(std::iter::repeat_n(octets.next().unwrap_or(b'x'), count));
                total += count;
            }
            Some(number) => {
                turns.push(Turn::Says(std::mem::take(&mut said)));
                turns.push(Turn::Event(number));
                total += 1;
            }
            None => {}
        }
    }
    turns.push(Turn::Says(said));
    turns
}
