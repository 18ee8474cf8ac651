//! What a hostile client may say: nothing comes of it, and it costs no more than its bound.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]

use std::time::Duration;

use relay_fast::base::limits::RECIPIENTS_MAX;
use relay_fast::smtp::server::{Event, Options};

#[path = "support/session.rs"]
mod session;

use session::{Server, code, codes, options};

const MAIL: &str = "MAIL FROM:<a@a.example>";
const RCPT: &str = "RCPT TO:<b@b.example>";
const EVIL: &str = "MAIL FROM:<evil@a.example>\r\nRCPT TO:<c@c.example>\r\nDATA\r\n";

/// The replies to `input`, which must not depend on where it is cut.
fn at_every_cut(options: &Options, input: &[u8]) -> (Vec<u16>, Server) {
    let ready = || Server::new(options.clone()).past_hello();
    let mut server = ready();
    let whole = server.send(input);
    for cut in 1..input.len() {
        let mut other = ready();
        let pieces = other.send(&input[..cut]) + &other.send(&input[cut..]);
        assert_eq!(pieces, whole, "cut at {cut}");
        assert_eq!(other.events, server.events, "cut at {cut}");
    }
    (codes(&whole), server)
}

// --- Chunks ---

//= RFC 3030 §2, type=test
//# the receiver-SMTP MUST accept and discard the associated message data before sending the
//# appropriate 5XX or 4XX code
#[test]
fn chunks_behind_a_refused_one_hide_no_commands() {
    let evil = format!("{EVIL}evil\r\n.\r\n");
    let input = format!(
        "{MAIL}\r\n{RCPT}\r\nBDAT 4\r\na\nb\nBDAT {len}\r\n{evil}BDAT {len} LAST\r\n{evil}NOOP\r\n",
        len = evil.len()
    );
    let (replies, server) = at_every_cut(&options(), input.as_bytes());
    assert_eq!(replies, [250, 250, 554, 503, 503, 250]);
    assert_eq!(server.events, [Event::Mail, Event::Rcpt, Event::Content, Event::Aborted]);
}

#[test]
fn a_chunk_holds_commands_as_content() {
    let evil = format!("{EVIL}evil\r\n.\r\nBDAT 3 LAST\r\n");
    let input = format!("{MAIL}\r\n{RCPT}\r\nBDAT {} LAST\r\n{evil}NOOP\r\n", evil.len());
    let (replies, server) = at_every_cut(&options(), input.as_bytes());
    assert_eq!(replies, [250, 250, 250, 250]);
    assert_eq!(server.messages.len(), 1);
    assert_eq!(server.messages[0].content, evil.as_bytes());
}

/// DATA amid chunks is refused; who sends content behind it without waiting is not heard further.
#[test]
fn data_amid_chunks_begins_no_content() {
    let mut server = Server::ready();
    server.codes(&[MAIL, RCPT]);
    let reply = server.send(format!("BDAT 3\r\na\r\nDATA\r\n{EVIL}"));
    assert_eq!(codes(&reply), [250, 503, 421]);
    assert!(server.session.is_over() && server.messages.is_empty());
    // Who waits goes on with chunks.
    let mut server = Server::ready();
    server.codes(&[MAIL, RCPT]);
    assert_eq!(codes(&server.send("BDAT 3\r\na\r\n")), [250]);
    assert_eq!(codes(&server.send("DATA\r\n")), [503]);
    assert_eq!(codes(&server.send("BDAT 3 LAST\r\nb\r\n")), [250]);
    assert_eq!(server.messages[0].content, b"a\r\nb\r\n");
}

#[test]
fn sizes_of_chunks_never_overflow() {
    let most = u64::MAX;
    for (size, replies) in [
        (String::from("00000000000000000003"), vec![250, 250]),
        (String::from("000000000000000000003"), vec![421]),
        (most.to_string(), vec![421]),
        (String::from("18446744073709551616"), vec![421]),
        (format!("{}", most / 2), vec![421]),
        (String::from("0x3"), vec![421]),
        (String::from("3.0"), vec![421]),
        (String::from("+3"), vec![421]),
        (String::from("٣"), vec![421]),
    ] {
        // As a first chunk, behind another, and where it is refused.
        let mut server = Server::ready();
        server.codes(&[MAIL, RCPT]);
        assert_eq!(codes(&server.send(format!("BDAT {size}\r\na\r\nNOOP\r\n"))), replies, "{size}");
        let mut server = Server::ready();
        server.codes(&[MAIL, RCPT]);
        assert_eq!(codes(&server.send("BDAT 3\r\na\r\n")), [250]);
        assert_eq!(codes(&server.send(format!("BDAT {size}\r\na\r\nNOOP\r\n"))), replies, "{size}");
        let refused: Vec<u16> = replies
            .iter()
            .enumerate()
            .map(|(at, it)| if at == 0 && *it == 250 { 503 } else { *it })
            .collect();
        let mut server = Server::ready();
        assert_eq!(codes(&server.send(format!("BDAT {size}\r\na\r\nNOOP\r\n"))), refused, "{size}");
    }
}

//= RFC 3030 §2, type=test
//# The RSET command, when issued after the first BDAT and before the BDAT LAST, clears all segments
//# sent during that transaction and resets the session.
#[test]
fn rset_amid_chunks_forgets_them() {
    let input = format!(
        "{MAIL}\r\n{RCPT}\r\nBDAT 3\r\na\r\nRSET\r\nBDAT 3 LAST\r\nb\r\n{MAIL}\r\n{RCPT}\r\n\
         BDAT 3 LAST\r\nc\r\n"
    );
    let (replies, server) = at_every_cut(&options(), input.as_bytes());
    assert_eq!(replies, [250, 250, 250, 250, 503, 250, 250, 250]);
    assert_eq!(server.messages.len(), 1);
    assert_eq!(server.messages[0].content, b"c\r\n");
}

#[test]
fn empty_chunks_add_up_to_nothing() {
    let mut server = Server::ready();
    server.codes(&[MAIL, RCPT]);
    let replies = codes(&server.send("BDAT 0\r\n".repeat(1_000)));
    assert_eq!(replies, vec![250; 1_000]);
    assert_eq!(codes(&server.send("BDAT 0 LAST\r\n")), [250]);
    assert_eq!(server.messages[0].content, b"");
}

/// Each chunk comes in time, and their sum never does.
#[test]
fn chunks_that_trickle_in_buy_no_time() {
    let mut server = Server::ready();
    server.codes(&[MAIL, RCPT]);
    for _ in 0..15 {
        assert_eq!(codes(&server.send("BDAT 1\r\nx")), [250]);
        assert_eq!(server.wait(Duration::from_secs(239)), "");
    }
    assert_eq!(codes(&server.send("NOOP\r\n")), [250]);
    assert_eq!(codes(&server.wait(Duration::from_secs(15))), [421], "an hour has passed");
    assert_eq!(server.events.last(), Some(&Event::Aborted));
}

/// A transaction that comes to no content does not outlive the session's time for good.
#[test]
fn commands_that_trickle_in_buy_no_time() {
    let mut server = Server::ready();
    let day = Duration::from_secs(24 * 60 * 60);
    server.codes(&[MAIL, RCPT]);
    let minutes = Duration::from_secs(4 * 60);
    let mut passed = Duration::ZERO;
    while passed + minutes < day + Duration::from_secs(60 * 60) {
        passed += minutes;
        assert_eq!(server.wait(minutes), "");
        assert_eq!(codes(&server.send("NOOP\r\n")), [250]);
    }
    assert_eq!(codes(&server.wait(minutes)), [421]);
    assert_eq!(server.events.last(), Some(&Event::Aborted));
}

// --- Lines without end ---

#[test]
fn a_line_of_content_that_never_ends_is_not_kept() {
    let small = Options { message_bytes_max: 100_000, ..options() };
    let mut server = Server::new(small).past_hello();
    server.begin_data();
    let piece = "x".repeat(1_000);
    let mut sent = 0;
    while !server.session.is_over() {
        let reply = server.send(&piece);
        sent += piece.len();
        assert!(sent < 3_000 || server.session.take_content().capacity() == 0, "after {sent}");
        assert!(sent <= 201_000, "read to no end");
        assert!(reply.is_empty() || codes(&reply) == [421], "{reply}");
    }
    assert!(server.messages.is_empty());
}

#[test]
fn a_command_that_never_ends_is_told_once_and_then_cut() {
    let mut server = Server::ready();
    let mut replies = String::new();
    for _ in 0..200 {
        replies += &server.send("x".repeat(1_000));
    }
    assert_eq!(codes(&replies), [500, 421]);
}

/// What a TLS client says first, on a port where TLS is not spoken.
#[test]
fn a_tls_client_says_nothing_that_is_a_command() {
    let mut server = Server::new(options());
    server.output();
    let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    hello.extend((0..=255).filter(|octet| *octet != b'\n'));
    let reply = server.send(&hello);
    assert_eq!(codes(&reply), [500]);
    assert!(server.events.is_empty());
}

// --- Arguments ---

/// No two relays may read these differently, so nobody gets to.
#[test]
fn addresses_that_could_be_read_in_two_ways_are_refused() {
    let paths = [
        "<b@b.example>@evil.example>",
        "<b@b.example> <c@c.example>",
        "<b@b.example>,<c@c.example>",
        "<b@b.example,c@c.example>",
        "<b@b.example>c@c.example",
        "<b@b.example@c.example>",
        "<b@b.example(c)>",
        "<(c)b@b.example>",
        "Bob <b@b.example>",
        "\"Bob\" <b@b.example>",
        "< b@b.example>",
        "<b@b.example >",
        "<b @b.example>",
        "<b@ b.example>",
        "<\"b@b.example>",
        "<\"b\"c@b.example>",
        "<b\"@b.example>",
        "<b@\"b.example\">",
        "<b@b..example>",
        "<b@.b.example>",
        "<b@b.example.>",
        "<b@-b.example>",
        "<b@b_b.example>",
        "<b@[b.example]>",
        "<b@[192.0.2.1>",
        "<b@192.0.2.1]>",
        "<b@[IPv6:::1%lo]>",
        "<b@[010.0.2.1]>",
        "<b@[0x7f.1]>",
        "<b@[2130706433]>",
        "<@evil.example>",
        "<@evil.example:>",
        "<@:b@b.example>",
        "<@evil.example;b@b.example>",
        "<b@b.example:@evil.example>",
        "b@b.example",
        "<>",
        "",
    ];
    for path in paths {
        let mut server = Server::ready();
        assert_eq!(server.codes(&[MAIL]), [250]);
        assert_eq!(server.codes(&[&format!("RCPT TO:{path}"), "DATA"]), [501, 554], "{path}");
        assert_eq!(server.events, [Event::Mail], "{path}");
        if path == "<>" {
            continue;
        }
        let mut server = Server::ready();
        assert_eq!(server.codes(&[&format!("MAIL FROM:{path}"), RCPT]), [501, 503], "{path}");
        assert!(server.events.is_empty(), "{path}");
    }
}

//= RFC 5321 §2.3.11, type=test
//# the local-part MUST be interpreted and assigned semantics only by the host specified in the
//# domain part of the address
#[test]
fn what_looks_like_another_route_is_only_a_local_part() {
    let paths = [
        ("<@evil.example:b@b.example>", "b@b.example"),
        ("<@evil.example,@[192.0.2.1]:b@b.example>", "b@b.example"),
        ("<\"b@evil.example\"@b.example>", "\"b@evil.example\"@b.example"),
        ("<b%evil.example@b.example>", "b%evil.example@b.example"),
        ("<evil.example!b@b.example>", "evil.example!b@b.example"),
        ("<\"@evil.example:b\"@b.example>", "\"@evil.example:b\"@b.example"),
        ("<\"> SIZE=1 <\"@b.example>", "\"> SIZE=1 <\"@b.example"),
    ];
    for (path, address) in paths {
        let mut server = Server::ready();
        assert_eq!(server.codes(&[MAIL, &format!("RCPT TO:{path}")]), [250, 250], "{path}");
        let recipient = &server.session.envelope().expect("a transaction").recipients[0];
        assert_eq!(recipient.forward_path.as_str(), address);
        assert_eq!(recipient.forward_path.domain().expect("a domain").as_str(), "b.example");
    }
}

#[test]
fn parameters_cannot_be_piled_up() {
    let many = |parameter: &str| parameter.repeat(1_900 / parameter.len());
    let cases = [
        (many(" SIZE=1"), 501),
        (many(" X=1"), 555),
        (many(" BODY=8BITMIME"), 501),
        (many(" SMTPUTF8"), 501),
        (many(" ="), 501),
        (many(" "), 250),
        (format!(" ENVID={}", "x".repeat(1_900)), 501),
        (format!(" {}=1", "X".repeat(1_900)), 555),
        (String::from(" SIZE=1\tBODY=8BITMIME"), 501),
        (String::from(" SIZE=1 RCPT TO:<b@b.example>"), 555),
        (String::from(" AUTH=<>"), 555),
    ];
    for (parameters, reply) in cases {
        let mut server = Server::ready();
        assert_eq!(server.codes(&[&format!("{MAIL}{parameters}")]), [reply], "{parameters:.40}");
        assert_eq!(server.session.envelope().is_some(), reply == 250, "{parameters:.40}");
    }
    let cases = [
        (many(" NOTIFY=NEVER"), 501),
        (format!(" NOTIFY={}", "DELAY,".repeat(300)), 501),
        (format!(" ORCPT=rfc822;{}", "+20".repeat(600)), 501),
        (many(" ORCPT=rfc822;x"), 501),
        (String::from(" ORCPT=rfc822;x+0D+0ARSET"), 501),
    ];
    for (parameters, reply) in cases {
        let mut server = Server::ready();
        server.codes(&[MAIL]);
        assert_eq!(server.codes(&[&format!("{RCPT}{parameters}")]), [reply], "{parameters:.40}");
        assert_eq!(server.events, [Event::Mail], "{parameters:.40}");
    }
}

#[test]
fn recipients_over_the_limit_leave_those_before_them() {
    let mut server = Server::ready();
    server.codes(&[MAIL]);
    for _ in 0..RECIPIENTS_MAX {
        server.send(format!("{RCPT}\r\n"));
    }
    for _ in 0..2 * RECIPIENTS_MAX {
        assert_eq!(code(&server.send(format!("{RCPT}\r\n"))), 452);
    }
    let envelope = server.session.envelope().expect("a transaction");
    assert_eq!(envelope.recipients.len(), RECIPIENTS_MAX);
    assert_eq!(server.events.len(), 1 + RECIPIENTS_MAX, "the policy is not asked any more");
}

// --- Replies ---

//= RFC 2920 §3.2, type=test
//# MUST send all pending responses immediately whenever the local TCP input buffer is emptied.
#[test]
fn no_reply_waits_for_what_comes_next() {
    let mut server = Server::ready();
    assert_eq!(codes(&server.send("NOOP\r\nNO")), [250]);
    assert_eq!(codes(&server.send("OP\r\nNOOP\r")), [250]);
    assert_eq!(codes(&server.send("\n")), [250]);
}

/// RFC 5321 §4.1.1.1: the name is not what it should be, and mail is taken all the same.
//= RFC 5321 §4.1.4, type=test
//# However, if the verification fails, the server MUST NOT refuse to accept a message on that
//# basis.
#[test]
fn no_mail_is_refused_for_the_name_at_ehlo() {
    for name in ["x", "localhost", "[127.0.0.1]", "my_host", "192.0.2.1", "-", "a..b"] {
        let mut server = Server::new(options());
        server.output();
        let hello = format!("EHLO {name}");
        assert_eq!(server.codes(&[&hello, MAIL, RCPT, "DATA"]), [250, 250, 250, 354], "{name}");
    }
}
