//! A SOCKS5 proxy: whatever it says, the same at every split, and what is the peer's stays so.
//!
//! Input: cuts, as its first octet, of which the lowest bit says whether there is a login; then
//! the proxy's octets.

use std::net::SocketAddr;
use std::sync::Arc;

use relay_fast::smtp::socks::{Login, Progress, Socks};

use super::cuts::Cuts;

/// An answer to each of three questions, the last with the longest name.
const ANSWERS_MAX: usize = 2 + 2 + 4 + 1 + 255 + 2;

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&cuts, octets)) = data.split_first() else { return };
    let has_login = cuts & 1 == 1;
    let (said, used, whole) = talk(octets, has_login, Cuts::Free(0));
    let split = talk(octets, has_login, Cuts::Free(cuts | 1));
    assert_eq!((&said, used, &whole), (&split.0, split.1, &split.2), "a split matters");
    assert!(used <= ANSWERS_MAX, "it takes what is the peer's");
    let asked = said.windows(4).filter(|octets| *octets == [5, 1, 0, 1]).count();
    match whole {
        Progress::More => assert_eq!(used, octets.len(), "octets are left"),
        Progress::Open => assert!(asked >= 1, "open before it was asked for"),
        Progress::Failed(_) => {}
    }
    assert!(has_login || !said.windows(6).any(|octets| octets == b"geheim"), "whose login?");
}

/// What was said, how many octets were taken, and what came of it.
fn talk(octets: &[u8], has_login: bool, cuts: Cuts) -> (Vec<u8>, usize, Progress) {
    let login = Login::parse(b"relay:geheim").filter(|_| has_login).map(Arc::new);
    let peer = SocketAddr::from(([192, 0, 2, 1], 25));
    let mut socks = Socks::new(peer, login);
    let (mut said, mut used) = (socks.take_output(), 0);
    for piece in cuts.pieces(octets) {
        let (taken, progress) = socks.handle_bytes(piece);
        said.append(&mut socks.take_output());
        used += taken;
        if progress != Progress::More {
            return (said, used, progress);
        }
        assert_eq!(taken, piece.len(), "octets are left");
    }
    (said, used, Progress::More)
}
