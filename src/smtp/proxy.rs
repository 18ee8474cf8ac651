//! Read the header by which a proxy says for whom it connects, and write it for a proxy that is to
//! connect for us: PROXY protocol, versions 1 and 2 (`proxy-protocol.txt` of HAProxy).
//!
//! In: the first octets of a connection, in pieces of any size. Out: the client's address, or that
//! the proxy speaks for itself, or that this is no such header.
//! Invariant: nothing behind the header is taken; a header that is not well-formed to its last
//! octet is none, so that whoever may begin with one cannot begin with anything else.
//! Unit: `PROXY_V1_MAX` and `PROXY_V2_MAX` count all its octets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::limits::{PROXY_V1_MAX, PROXY_V2_MAX};

#[cfg(test)]
mod tests;

/// How version 2 begins (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// How version 1 begins (§2.1).
const WORD: &[u8; 6] = b"PROXY ";
/// Octets of version 2 up to its length, that included.
const FIXED: usize = 16;

/// What we begin with at a proxy that is to connect from `source` to `peer`, of the same family:
/// version 2 (§2.2), as a proxy of ours would say it. The port is the proxy's choice.
pub fn header(source: IpAddr, peer: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let (family, octets): (u8, Vec<u8>) = match (source, peer.ip()) {
        (IpAddr::V4(source), IpAddr::V4(peer)) => (0x11, [source.octets(), peer.octets()].concat()),
        (source, peer) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            (0x21, [octets(source), octets(peer)].concat())
        }
    };
    let length = u16::try_from(octets.len() + 4).expect("two addresses and ports");
    header.extend_from_slice(&[0x21, family]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&octets);
    header.extend_from_slice(&[0, 0]);
    header.extend_from_slice(&peer.port().to_be_bytes());
    header
}

/// Gathers a header. Ends with the first answer that is not [`Read::Partial`].
#[derive(Debug, Default)]
pub struct HeaderReader {
    kept: Vec<u8>,
}

/// What came of some octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The header goes on.
    Partial,
    /// The connection is for a client at this address; without one, for the proxy itself, or for
    /// whom the proxy cannot say: then the connection's own address is all that is known.
    Header(Option<SocketAddr>),
    /// This is no such header: close the connection.
    Refused,
}

impl HeaderReader {
    /// Take octets up to the end of the header: how many, and what came of them.
    pub fn read(&mut self, bytes: &[u8]) -> (usize, Read) {
        for (at, octet) in bytes.iter().enumerate() {
            self.kept.push(*octet);
            let read = if self.kept.starts_with(WORD) {
                version_1(&self.kept)
            } else if self.kept.starts_with(SIGNATURE) {
                version_2(&self.kept)
            } else if WORD.starts_with(&self.kept) || SIGNATURE.starts_with(&self.kept) {
                Read::Partial
            } else {
                Read::Refused
            };
            if read != Read::Partial {
                return (at + 1, read);
            }
        }
        (bytes.len(), Read::Partial)
    }
}

fn version_1(header: &[u8]) -> Read {
    match header.strip_suffix(b"\r\n") {
        Some(line) => {
            let words = std::str::from_utf8(&line[WORD.len()..]).ok();
            words.and_then(client_in_words).map_or(Read::Refused, Read::Header)
        }
        None if header.len() < PROXY_V1_MAX => Read::Partial,
        None => Read::Refused,
    }
}

/// `TCP4 source destination port port`, or `UNKNOWN` and whatever else.
fn client_in_words(text: &str) -> Option<Option<SocketAddr>> {
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let words: Vec<_> = text.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else {
        return None;
    };
    let (port, _) = (number(source_port)?, number(destination_port)?);
    match family {
        "TCP4" => {
            let (source, _) = (source.parse::<Ipv4Addr>(), destination.parse::<Ipv4Addr>().ok()?);
            Some(Some(SocketAddr::new(source.ok()?.into(), port)))
        }
        "TCP6" => {
            let (source, _) = (source.parse::<Ipv6Addr>(), destination.parse::<Ipv6Addr>().ok()?);
            Some(Some(SocketAddr::new(source.ok()?.into(), port)))
        }
        _ => None,
    }
}

/// A port as it is to be written: decimal digits, none of them to spare.
fn number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|octet| octet.is_ascii_digit());
    let spare = text.len() > 1 && text.starts_with('0');
    if plain && !spare { text.parse().ok() } else { None }
}

fn version_2(header: &[u8]) -> Read {
    let Some((fixed, rest)) = header.split_first_chunk::<FIXED>() else { return Read::Partial };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let (command, family) = (fixed[12], fixed[13]);
    let addresses = match (command, family) {
        // LOCAL: "the receiver must … ignore the protocol block", §2.2.
        (0x20, _) => 0,
        (0x21, 0x00) => 0,
        (0x21, 0x11) => 12,
        (0x21, 0x21) => 36,
        // Datagrams, Unix sockets and what does not exist yet bring no SMTP.
        _ => return Read::Refused,
    };
    if length > PROXY_V2_MAX - FIXED || length < addresses {
        return Read::Refused;
    }
    if rest.len() < length {
        return Read::Partial;
    }
    if addresses == 0 {
        return Read::Header(None);
    }
    let (addresses, extensions) = rest.split_at(addresses);
    if !are_whole(extensions) {
        return Read::Refused;
    }
    Read::Header(client_in_octets(addresses))
}

/// Source, destination, and their ports.
fn client_in_octets(addresses: &[u8]) -> Option<SocketAddr> {
    let ports = addresses.len() - 4;
    let port = u16::from_be_bytes([addresses[ports], addresses[ports + 1]]);
    let source = &addresses[..ports / 2];
    let v4 = <[u8; 4]>::try_from(source).map(|octets| Ipv4Addr::from(octets).into());
    let v6 = <[u8; 16]>::try_from(source).map(|octets| Ipv6Addr::from(octets).into());
    v4.or(v6).ok().map(|address| SocketAddr::new(address, port))
}

/// Whether extensions, each a type, a length and so many octets, end where the header does (§2.2).
fn are_whole(mut extensions: &[u8]) -> bool {
    while let [_, high, low, rest @ ..] = extensions {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match rest.split_at_checked(length) {
            Some((_, behind)) => extensions = behind,
            None => return false,
        }
    }
    extensions.is_empty()
}
