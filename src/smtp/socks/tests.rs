//! Proxies that answer as they should, in pieces, and proxies that do not.

use super::*;

const GREETING: &[u8] = b"220 mx.example ESMTP\r\n";

fn peer(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn login() -> Option<Arc<Login>> {
    Login::parse(b"relay:geheim\n").map(Arc::new)
}

/// Answer with `pieces`; what was said before each and at the end, and what came of it, with what
/// is left of the last piece.
fn talk(socks: &mut Socks, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Progress, Vec<u8>) {
    let (mut said, mut last, mut left) = (vec![socks.take_output()], Progress::More, Vec::new());
    for piece in pieces {
        let (taken, progress) = socks.handle_bytes(piece);
        said.push(socks.take_output());
        (last, left) = (progress, piece[taken..].to_vec());
        if last != Progress::More {
            break;
        }
        assert!(left.is_empty(), "octets are left");
    }
    (said, last, left)
}

#[test]
fn the_way_is_asked_for_and_what_follows_is_the_peers() {
    let mut socks = Socks::new(peer("192.0.2.1:25"), None);
    let answer = [&[5, 0, 0, 1, 10, 0, 0, 1, 4, 56][..], GREETING].concat();
    let (said, progress, left) = talk(&mut socks, &[&[5, 0], &answer]);
    assert_eq!(said[..2], [vec![5, 1, 0], vec![5, 1, 0, 1, 192, 0, 2, 1, 0, 25]]);
    assert_eq!((progress, &*left), (Progress::Open, GREETING));
}

#[test]
fn a_login_is_said_where_it_is_asked_for() {
    let mut socks = Socks::new(peer("[2001:db8::1]:2525"), login());
    let name = [&[5, 0, 0, 3, 9][..], b"a.example", &[0, 25]].concat();
    let (said, progress, left) = talk(&mut socks, &[&[5, 2], &[1, 0], &name]);
    let asked = [
        vec![5, 2, 0, 2],
        [&[1, 5][..], b"relay", &[6], b"geheim"].concat(),
        [&[5, 1, 0, 4, 0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1, 9, 221]].concat(),
        Vec::new(),
    ];
    assert_eq!((said, progress, left), (asked.into(), Progress::Open, Vec::new()));
    // Where it is not, it is kept.
    let mut socks = Socks::new(peer("192.0.2.1:25"), login());
    let (said, ..) = talk(&mut socks, &[&[5, 0]]);
    assert_eq!(said[1], [5, 1, 0, 1, 192, 0, 2, 1, 0, 25]);
}

#[test]
fn no_split_matters() {
    let v6 = [&[5, 0, 0, 4][..], &[7; 16], &[0, 25]].concat();
    for answer in [&[5, 0, 0, 1, 1, 2, 3, 4, 0, 9][..], &v6, &[5, 0, 0, 3, 0, 0, 25]] {
        let whole = [&[5, 2, 1, 0][..], answer, GREETING].concat();
        for first in 0..=whole.len() {
            for second in first..=whole.len() {
                let mut socks = Socks::new(peer("192.0.2.1:25"), login());
                let (mut used, mut open) = (0, false);
                for piece in [&whole[..first], &whole[first..second], &whole[second..]] {
                    if open {
                        continue;
                    }
                    let (taken, progress) = socks.handle_bytes(piece);
                    used += taken;
                    open = progress == Progress::Open;
                    assert!(open || progress == Progress::More, "{progress:?}");
                }
                assert!(open && used == whole.len() - GREETING.len(), "{first}, {second}");
            }
        }
    }
}

#[test]
fn a_proxy_that_does_not_want_or_does_not_know_is_told_at_once() {
    let answered =
        |pieces: &[&[u8]]| talk(&mut Socks::new(peer("192.0.2.1:25"), login()), pieces).1;
    for (pieces, why) in [
        (&[&[4][..]][..], NoWay::Protocol),
        (&[b"HTTP/1.1 400"], NoWay::Protocol),
        (&[GREETING], NoWay::Protocol),
        (&[&[5, 255]], NoWay::Method),
        (&[&[5, 1]], NoWay::Method),
        (&[&[5, 2], &[5]], NoWay::Protocol),
        (&[&[5, 2], &[1, 1]], NoWay::Login),
        (&[&[5, 0], &[4]], NoWay::Protocol),
        (&[&[5, 0], &[5, 0, 1]], NoWay::Protocol),
        (&[&[5, 0], &[5, 0, 0, 2]], NoWay::Protocol),
        (&[&[5, 0], &[5, 5]], NoWay::Answer(5)),
        (&[&[5, 0], &[5, 200, 0, 1]], NoWay::Answer(200)),
    ] {
        assert_eq!(answered(pieces), Progress::Failed(why), "{pieces:?}");
    }
    // A method that was not offered is no method.
    let mut socks = Socks::new(peer("192.0.2.1:25"), None);
    assert_eq!(socks.handle_bytes(&[5, 2]), (2, Progress::Failed(NoWay::Method)));
    assert_eq!(socks.handle_bytes(&[5, 0]), (1, Progress::Failed(NoWay::Protocol)), "it is over");
}

#[test]
fn who_is_at_fault_is_known_by_the_answer() {
    let peers = (0..=255).filter(|answer| NoWay::Answer(*answer).is_the_peers());
    assert_eq!(peers.collect::<Vec<u8>>(), [3, 4, 5, 6]);
    assert!(!NoWay::Login.is_the_peers() && !NoWay::Protocol.is_the_peers());
    let told = [5, 9].map(|answer| NoWay::Answer(answer).to_string());
    let expected =
        ["the proxy answers: connection refused", "the proxy answers: no, for no known reason"];
    assert_eq!(told, expected);
}

#[test]
fn a_login_is_one_line_with_both_and_is_not_shown() {
    let shown = |line: &[u8]| Login::parse(line).map(|login| format!("{login:?}"));
    assert_eq!(shown(b"relay:ge:heim\r\n").as_deref(), Some("Login(relay)"));
    let long = [&b"a:"[..], &[b'x'; SOCKS_WORD_MAX]].concat();
    assert!(shown(&long).is_some());
    assert_eq!(shown(&[&long[..], b"x"].concat()), None);
    for wrong in [&b""[..], b"relay", b"relay:", b":geheim", b"a:b\nc:d\n"] {
        assert_eq!(shown(wrong), None, "{wrong:?}");
    }
}
