//! Greeting, EHLO and HELO.

use crate::client_machine::dialogue::Dialogue;

//= RFC 5321 §4.1.1.1, type=test
//# a client SMTP SHOULD start an SMTP session by issuing the EHLO command
#[test]
fn ehlo_opens_a_session() {
    let played = Dialogue::greeted("PIPELINING SIZE=1000").tells(&["ready"]);
    assert!(!played.is_over);
}

//= RFC 5321 §3.2, type=test
//# If the EHLO command is not acceptable to the SMTP server, 501, 500, 502, or 550 failure replies
//# MUST be returned as appropriate.
//= RFC 5321 §3.2, type=test
//# For servers … that do not support … the client … SHOULD fall back to HELO
#[test]
fn helo_follows_where_ehlo_is_refused() {
    for refusal in ["500 what?", "502 no", "550-no\r\n550 really"] {
        let script = Dialogue::new().says("220 mx\r\n").hears("EHLO relay.example\r\n");
        let script = script.says(&format!("{refusal}\r\n")).hears("HELO relay.example\r\n");
        script.clone().says("250 mx\r\n").tells(&["ready"]);
        script
            .says("550 5.7.1 go away\r\n")
            .hears("QUIT\r\n")
            .tells(&["closed at EHLO: 550 5.7.1 go away; []"]);
    }
}

#[test]
fn extensions_of_a_refused_ehlo_do_not_count() {
    Dialogue::new()
        .says("220 mx\r\n")
        .hears("EHLO relay.example\r\n")
        .says("550-x\r\n550 PIPELINING\r\n")
        .hears("HELO relay.example\r\n")
        .says("250 mx\r\n")
        .begins(&["r@b.example"], "x")
        .hears("MAIL FROM:<s@a.example>\r\n")
        .tells(&["ready"]);
}

#[test]
fn a_temporary_refusal_of_ehlo_is_not_argued_with() {
    Dialogue::new()
        .says("220 mx\r\n")
        .hears("EHLO relay.example\r\n")
        .says("450 4.3.2 busy\r\n")
        .hears("QUIT\r\n")
        .tells(&["closed at EHLO: 450 4.3.2 busy; []"]);
}

//= RFC 5321 §3.1, type=test
//# the initial 554 … a server taking this approach MUST still wait for the client to send a QUIT
#[test]
fn a_refusal_instead_of_a_greeting_is_answered_with_quit() {
    let refused = Dialogue::new().says("554 5.3.2 no mail here\r\n").hears("QUIT\r\n");
    assert!(refused.tells(&["closed at greeting: 554 5.3.2 no mail here; []"]).is_over);
    Dialogue::new().says("421 4.3.2 busy\r\n").tells(&["closed at greeting: 421 4.3.2 busy; []"]);
}

#[test]
fn what_is_no_smtp_ends_the_connection() {
    Dialogue::new().says("HTTP/1.1 400 Bad Request\r\nServer: x\r\n").tells(&[
        "closed at greeting: Protocol(\"no reply code: \\\"HTTP/1.1 400 Bad Request\\\"\"); []",
    ]);
    Dialogue::new()
        .says("354 go on\r\n")
        .tells(&["closed at greeting: Protocol(\"reply out of step: 354 go on\"); []"]);
}

#[test]
fn a_surplus_reply_is_never_taken_for_the_next_one() {
    Dialogue::greeted("PIPELINING").says("250 2.1.0 too early\r\n").tells(&[
        "ready",
        "closed at QUIT: Protocol(\"reply out of step: 250 2.1.0 too early\"); []",
    ]);
}

#[test]
fn an_ehlo_reply_longer_than_what_is_kept_of_it_still_counts() {
    let filler: String =
        (0..100).map(|n| format!("250-X-FILLER-{n} {}\r\n", "y".repeat(60))).collect();
    Dialogue::new()
        .says("220 mx\r\n")
        .hears("EHLO relay.example\r\n")
        .says(&format!("250-mx\r\n{filler}250 PIPELINING\r\n"))
        .begins(&["r@b.example"], "x")
        .hears("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@b.example>\r\nDATA\r\n")
        .tells(&["ready"]);
}
