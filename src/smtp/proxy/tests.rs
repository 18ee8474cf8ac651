//! Headers of both versions, at every split, and what is none.

use super::*;

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a short block");
    [&SIGNATURE[..], &[command, family], &length.to_be_bytes(), block].concat()
}

fn v4_block() -> Vec<u8> {
    [&[192, 0, 2, 7][..], &[198, 51, 100, 1], &1234u16.to_be_bytes(), &25u16.to_be_bytes()].concat()
}

fn v6_block() -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().expect("an address").octets();
    let ports = [1234u16.to_be_bytes(), 25u16.to_be_bytes()].concat();
    [&address("2001:db8::7")[..], &address("2001:db8::1"), &ports].concat()
}

/// What comes of it in two pieces, at every split, and octet by octet.
fn read(header: &[u8]) -> (usize, Read) {
    let whole = HeaderReader::default().read(header);
    for split in 0..=header.len() {
        let mut reader = HeaderReader::default();
        let (used, first) = reader.read(&header[..split]);
        let in_two = if first == Read::Partial {
            assert_eq!(used, split, "all is taken of what goes on");
            let (more, second) = reader.read(&header[split..]);
            (used + more, second)
        } else {
            (used, first)
        };
        assert_eq!(in_two, whole, "split at {split}");
    }
    let mut reader = HeaderReader::default();
    let single = header.iter().enumerate().find_map(|(at, octet)| {
        let (_, read) = reader.read(&[*octet]);
        (read != Read::Partial).then_some((at + 1, read))
    });
    assert_eq!(single.unwrap_or((header.len(), Read::Partial)), whole);
    whole
}

/// What comes of it when SMTP follows at once; none of that may be taken.
fn read_before_smtp(header: &[u8]) -> Read {
    let (used, read) = read(&[header, b"EHLO client.example\r\n"].concat());
    assert!(used == header.len() || read == Read::Refused, "{used} of {}", header.len());
    read
}

fn client(text: &str) -> Read {
    Read::Header(Some(text.parse().expect("an address and a port")))
}

//= proxy-protocol.txt §2.1, type=test
//# the string "PROXY", a space, the protocol, a space, both addresses, both ports, CRLF
#[test]
fn version_1_names_the_client() {
    let v4 = b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 25\r\n";
    assert_eq!(read_before_smtp(v4), client("192.0.2.7:1234"));
    let v6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 65535 0\r\n";
    assert_eq!(read_before_smtp(v6), client("[2001:db8::7]:65535"));
}

//= proxy-protocol.txt §2.1, type=test
//# For UNKNOWN the receiver must ignore whatever comes before the CRLF, and is to use the
//# connection's own addresses.
#[test]
fn version_1_may_not_know() {
    assert_eq!(read_before_smtp(b"PROXY UNKNOWN\r\n"), Read::Header(None));
    let worst = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", "ffff:".repeat(7) + "ffff");
    assert_eq!(worst.len(), PROXY_V1_MAX);
    assert_eq!(read_before_smtp(worst.as_bytes()), Read::Header(None));
}

#[test]
fn a_line_of_version_1_that_is_not_to_the_letter_is_refused() {
    for line in [
        "",
        "TCP4",
        "TCP4 192.0.2.7 198.51.100.1 1234",
        "TCP4 192.0.2.7 198.51.100.1 1234 25 ",
        "TCP4  192.0.2.7 198.51.100.1 1234 25",
        "TCP4 192.0.2.7 198.51.100.1 1234 65536",
        "TCP4 192.0.2.7 198.51.100.1 01234 25",
        "TCP4 192.0.2.7 198.51.100.1 +1234 25",
        "TCP4 192.0.2.07 198.51.100.1 1234 25",
        "TCP4 2001:db8::7 2001:db8::1 1234 25",
        "TCP6 192.0.2.7 198.51.100.1 1234 25",
        "TCP4 192.0.2.7 2001:db8::1 1234 25",
        "tcp4 192.0.2.7 198.51.100.1 1234 25",
        "UDP4 192.0.2.7 198.51.100.1 1234 25",
        "UNKNOWNS",
        "TCP4 192.0.2.7\r198.51.100.1 1234 25",
    ] {
        assert_eq!(
            read_before_smtp(format!("PROXY {line}\r\n").as_bytes()),
            Read::Refused,
            "{line}"
        );
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(PROXY_V1_MAX));
    assert_eq!(read(long.as_bytes()), (PROXY_V1_MAX, Read::Refused));
    let endless = b"PROXY UNKNOWN 1\n2\r3".repeat(2);
    assert_eq!(read(&endless).1, Read::Partial, "only CR LF ends it");
}

//= proxy-protocol.txt §2.2, type=test
//# signature, version and command, family and protocol, length; then both addresses, both ports
#[test]
fn version_2_names_the_client() {
    assert_eq!(read_before_smtp(&v2(0x21, 0x11, &v4_block())), client("192.0.2.7:1234"));
    assert_eq!(read_before_smtp(&v2(0x21, 0x21, &v6_block())), client("[2001:db8::7]:1234"));
}

//= proxy-protocol.txt §2.2, type=test
//# LOCAL: the receiver must use the real endpoints and ignore the family and what follows; UNSPEC:
//# it may use the real endpoints.
#[test]
fn version_2_may_be_for_the_proxy_itself_or_not_know() {
    for header in [
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, &v4_block()),
        v2(0x20, 0xff, b"\x01whatever"),
        v2(0x21, 0x00, b""),
        v2(0x21, 0x00, b"ignored"),
    ] {
        assert_eq!(read_before_smtp(&header), Read::Header(None), "{header:x?}");
    }
}

//= proxy-protocol.txt §2.2.1, type=test
//# A receiver that does not understand a type must be able to skip it by its length.
#[test]
fn extensions_are_skipped_by_their_length() {
    let extensions = [&b"\x02\0\x04mail"[..], b"\x04\0\0", b"\xee\x01\0", &[7; 256]].concat();
    let header = v2(0x21, 0x11, &[v4_block(), extensions].concat());
    assert_eq!(read_before_smtp(&header), client("192.0.2.7:1234"));
    for torn in [&b"\x02"[..], b"\x02\0", b"\x02\0\x01", b"\x04\0\0\x02\0\x05mail"] {
        let header = v2(0x21, 0x21, &[&v6_block(), torn].concat());
        assert_eq!(read_before_smtp(&header), Read::Refused, "{torn:x?}");
    }
}

#[test]
fn what_version_2_does_not_have_is_refused() {
    for (command, family) in
        [(0x11, 0x11), (0x22, 0x11), (0x31, 0x11), (0x21, 0x12), (0x21, 0x31), (0x21, 0x01), (0, 0)]
    {
        let header = v2(command, family, &v6_block());
        assert_eq!(read_before_smtp(&header), Read::Refused, "{command:x} {family:x}");
    }
    assert_eq!(read_before_smtp(&v2(0x21, 0x11, &v4_block()[1..])), Read::Refused);
    assert_eq!(read_before_smtp(&v2(0x21, 0x21, &v4_block())), Read::Refused);
}

#[test]
fn a_header_of_version_2_has_a_bound() {
    let room = PROXY_V2_MAX - FIXED;
    let filled = |more: usize| {
        let filler = room - v4_block().len() - 3 + more;
        let length = u16::try_from(filler).expect("16 bits").to_be_bytes();
        v2(0x21, 0x11, &[&v4_block()[..], &[4], &length, &vec![0; filler]].concat())
    };
    assert_eq!(HeaderReader::default().read(&filled(0)), (PROXY_V2_MAX, client("192.0.2.7:1234")));
    assert_eq!(HeaderReader::default().read(&filled(1)), (FIXED, Read::Refused), "at once");
}

#[test]
fn anything_else_is_refused_at_its_first_wrong_octet() {
    for (start, used) in [
        (&b"EHLO client.example\r\n"[..], 1),
        (b"PROXYTCP4", 6),
        (b"proxy TCP4", 1),
        (b"\r\nEHLO", 3),
        (b"\r\n\r\n\0\r\nQUIT\r\n", 12),
        (b"\x16\x03\x01", 1),
        (b"\0", 1),
    ] {
        assert_eq!(read(start), (used, Read::Refused), "{start:x?}");
    }
    assert_eq!(read(b""), (0, Read::Partial));
}

#[test]
fn what_is_written_is_read_again() {
    for (source, peer) in [
        ("192.0.2.1", "198.51.100.7:25"),
        ("2001:db8::1", "[2001:db8::9]:2525"),
        ("192.0.2.1", "[2001:db8::9]:25"),
    ] {
        let (source, peer) = (source.parse().expect("an address"), peer.parse().expect("one"));
        let header = header(source, peer);
        let (used, read) = HeaderReader::default().read(&header);
        let Read::Header(Some(client)) = read else { panic!("{read:?}") };
        assert_eq!((used, client.ip().to_canonical(), client.port()), (header.len(), source, 0));
        assert!(header.ends_with(&peer.port().to_be_bytes()));
    }
    let header = header("192.0.2.1".parse().unwrap(), "198.51.100.7:25".parse().unwrap());
    assert_eq!(header[12..], [0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 7, 0, 0, 0, 25]);
}
