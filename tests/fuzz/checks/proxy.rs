//! The PROXY header: the same at every split, to its last octet and no further.
//!
//! Input: octets of a connection; then cuts, as its last octet.

use std::net::SocketAddr;

use relay_fast::base::limits::{PROXY_V1_MAX, PROXY_V2_MAX};
use relay_fast::smtp::proxy::{HeaderReader, Read};

use super::cuts::Cuts;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&cuts, octets)) = data.split_last() else { return };
    let (used, whole) = read(octets, Cuts::Free(0));
    assert_eq!((used, whole), read(octets, Cuts::LinesAnd(cuts)), "a split matters");
    assert_eq!((used, whole), read(octets, Cuts::LinesAnd(0)), "a split matters");
    let header = &octets[..used];
    match whole {
        Read::Partial => {
            let is_v2 = header.starts_with(SIGNATURE) && used >= 16;
            let end = if is_v2 { v2_length(header) } else { PROXY_V1_MAX };
            assert!(used == octets.len() && used < end && end <= PROXY_V2_MAX, "endless");
        }
        Read::Refused => {
            // Version 2 is looked at once it is there.
            let at_end = header.starts_with(SIGNATURE) && used == v2_length(header);
            assert!(used <= PROXY_V1_MAX || (at_end && used <= PROXY_V2_MAX), "refused late");
        }
        Read::Header(client) if header.starts_with(b"PROXY ") => {
            assert!(header.ends_with(b"\r\n") && used <= PROXY_V1_MAX);
            let text = std::str::from_utf8(header).expect("text");
            assert_eq!(text.matches("\r\n").count(), 1, "it goes on behind its end");
            client.iter().for_each(|client| assert_v1(text, *client));
        }
        Read::Header(client) => {
            assert!(header.starts_with(SIGNATURE) && (16..=PROXY_V2_MAX).contains(&used));
            assert_eq!(used, v2_length(header), "not to its last octet");
            client.iter().for_each(|client| assert_v2(header, *client));
        }
    }
}

fn v2_length(header: &[u8]) -> usize {
    16 + usize::from(u16::from_be_bytes([header[14], header[15]]))
}

fn read(octets: &[u8], cuts: Cuts) -> (usize, Read) {
    let mut reader = HeaderReader::default();
    let mut used = 0;
    for piece in cuts.pieces(octets) {
        let (taken, read) = reader.read(piece);
        used += taken;
        if read != Read::Partial {
            return (used, read);
        }
        assert_eq!(taken, piece.len(), "octets are left");
    }
    (used, Read::Partial)
}

/// Written again, it says the same.
fn assert_v1(text: &str, client: SocketAddr) {
    let words: Vec<_> = text.trim_end().split(' ').collect();
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    assert_eq!((words.len(), words[1]), (6, family));
    let again =
        format!("PROXY {family} {} {} {} {}\r\n", client.ip(), words[3], client.port(), words[5]);
    if again.len() <= PROXY_V1_MAX {
        assert_eq!(read(again.as_bytes(), Cuts::Free(0)).1, Read::Header(Some(client)));
    }
}

fn assert_v2(header: &[u8], client: SocketAddr) {
    let (address, port) = match client {
        SocketAddr::V4(v4) => (v4.ip().octets().to_vec(), 24),
        SocketAddr::V6(v6) => (v6.ip().octets().to_vec(), 48),
    };
    assert_eq!(header[12], 0x21, "who speaks for itself has no client");
    assert_eq!(&header[16..16 + address.len()], &address[..]);
    assert_eq!(header[port..port + 2], client.port().to_be_bytes());
}
