//! Cut a milter's octets into packets, and write packets to it.
//!
//! In: octets cut anywhere. Out: packets, whole. Invariant: no packet is longer than
//! `MILTER_PACKET_MAX`, so no more than one of them and one piece is held. Unit: octets.

use crate::base::limits::MILTER_PACKET_MAX;

/// Octets of the length that comes first.
const LENGTH: usize = 4;

/// A length that no packet has: zero, or more than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLength;

/// Octets of a milter that are not used yet.
#[derive(Debug, Default)]
pub(super) struct Packets {
    buffer: Vec<u8>,
    used: usize,
}

impl Packets {
    /// Take what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next packet: what it is, and its data.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &[u8])>, BadLength> {
        let rest = &self.buffer[self.used..];
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > MILTER_PACKET_MAX {
            return Err(BadLength);
        }
        let Some(packet) = rest.get(..length) else { return Ok(None) };
        self.used += LENGTH + length;
        Ok(Some((packet[0], &packet[1..])))
    }

    /// Whether a part of a packet has come.
    pub(super) fn is_midway(&self) -> bool {
        self.used < self.buffer.len()
    }

    /// Octets of memory held.
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity()
    }
}

/// Append a packet whose data is `parts`, one behind another.
pub(super) fn write(command: u8, parts: &[&[u8]], into: &mut Vec<u8>) {
    let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(length).expect("packets are bounded by what they are made from");
    into.extend_from_slice(&length.to_be_bytes());
    into.push(command);
    parts.iter().for_each(|part| into.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_the_same_wherever_they_are_cut() {
        let mut bytes = Vec::new();
        write(b'c', &[], &mut bytes);
        write(b'h', &[b"X-A\0", b"1\0"], &mut bytes);
        write(b'a', &[], &mut bytes);
        for cut in 0..=bytes.len() {
            let mut packets = Packets::default();
            let mut found = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                packets.push(piece);
                while let Some((what, data)) = packets.next().expect("well-formed") {
                    found.push((what, data.to_vec()));
                }
            }
            let expected = [(b'c', &b""[..]), (b'h', b"X-A\x001\0"), (b'a', b"")];
            assert!(found.iter().map(|(what, data)| (*what, data.as_slice())).eq(expected));
            assert!(!packets.is_midway());
        }
    }

    #[test]
    fn a_length_that_lies_is_found_before_anything_is_kept_for_it() {
        for (length, fits) in [
            (0u32, false),
            (1, true),
            (MILTER_PACKET_MAX as u32, true),
            (MILTER_PACKET_MAX as u32 + 1, false),
            (u32::MAX, false),
        ] {
            let mut packets = Packets::default();
            packets.push(&length.to_be_bytes());
            assert_eq!(packets.next().is_ok(), fits, "{length}");
        }
    }
}
