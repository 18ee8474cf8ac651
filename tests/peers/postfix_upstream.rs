//! Postfix as upstream relay, with mailboxes behind it.

use serde_json::{Value, json};

use super::mail::{hard_text, message, swaks, transaction};
use super::network::Network;
use super::node::Node;
use super::postfix::Postfix;
use super::process::until;
use super::python::{self, read_dsn, talk};

const CONFIG: &str = "\
default_route = \"postfix\"
[[listener]]
address = \"127.0.0.1:0\"
[[upstream]]
name = \"postfix\"
hosts = \"127.0.0.1:25\"
";

#[test]
fn mailboxes_behind_postfix_hold_what_was_sent() {
    if !python::is_here() {
        return;
    }
    let Some(network) = Network::own() else { return };
    let Some(postfix) = Postfix::start(&network, "") else { return };
    let node = Node::start(&network, CONFIG);
    let server = node.listener(0);
    let (from, to) = ("sender@mail.example", "user@mail.example");

    let text = message(from, to, &hard_text());
    let Some(_) = swaks(&network, server, from, to, &["--pipeline"], &text) else { return };
    let message_in_box = postfix.wait_for("user", text.as_bytes());
    let header = String::from_utf8(message_in_box).unwrap();
    // Postfix says what we called ourselves, and how we spoke.
    assert!(header.contains("Received: from relay.example ("), "{header}");
    assert!(header.contains("by postfix.example (Postfix) with ESMTP id"), "{header}");
    assert!(
        header.contains("Received: from client.example ([127.0.0.1])\n\tby relay.example"),
        "{header}"
    );

    // Content in 8 bits by DATA, then by BDAT with every octet that text may hold.
    let eight_bit = "Subject: 8\r\n\r\n.\u{c3}\u{a9}\r\n.\r\n\u{ff}\u{80}\r\n";
    let octets: String = (1..=255u8).filter(|o| !b"\r\n".contains(o)).map(char::from).collect();
    let chunk = format!("Subject: chunks\r\n\r\n.\r\n{octets}\r\n..\r\n");
    let mut steps = vec![json!(["ehlo", "client.example"])];
    steps.extend(transaction(from, &[to], &["BODY=8BITMIME"], eight_bit));
    steps.push(json!(["mail", from, ["BODY=8BITMIME"]]));
    steps.push(json!(["rcpt", to, []]));
    steps.push(json!(["bdat", chunk, "LAST"]));
    let replies = talk(&network, server, &steps);
    assert!(replies.iter().all(|reply| matches!(reply.code, 250 | 354)), "{replies:?}");
    for content in [eight_bit, &chunk] {
        let octets: Vec<u8> =
            content.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        postfix.wait_for("user", &octets);
    }
    assert_eq!(postfix.mailbox("user").len(), 3);
}

/// DSNs in the sender's mailbox, read by Python, by the recipient that they tell of.
fn dsns(postfix: &Postfix<'_>) -> Vec<Value> {
    postfix.mailbox("sender").iter().map(|message| read_dsn(message)).collect()
}

fn about<'d>(dsns: &'d [Value], recipient: &str) -> Option<&'d Value> {
    let final_recipient = format!("rfc822; {recipient}");
    dsns.iter().find(|dsn| dsn["recipients"][0]["final-recipient"] == final_recipient)
}

//= RFC 3464 §2, type=test
//# A DSN is a MIME message with a top-level content-type of multipart/report
#[test]
fn what_postfix_refuses_comes_back_as_a_dsn() {
    if !python::is_here() {
        return;
    }
    let Some(network) = Network::own() else { return };
    let Some(postfix) = Postfix::start(&network, "") else { return };
    let node = Node::start(&network, CONFIG);
    let from = "sender@mail.example";
    let text = "Message-ID: <1@mail.example>\r\nSubject: original\r\n\r\nits body\r\n";
    let send = |mail: &[&str], to: &str, rcpt: &[&str]| {
        let steps = [
            json!(["ehlo", "client.example"]),
            json!(["mail", from, mail]),
            json!(["rcpt", to, rcpt]),
            json!(["data", text]),
        ];
        let replies = talk(&network, node.listener(0), &steps);
        assert_eq!(replies[3].status(), (250, "2.0.0"), "{replies:?}");
    };
    send(&[], "never@mail.example", &["NOTIFY=NEVER"]);
    send(&[], "plain@mail.example", &[]);
    let options = &["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;First+20One@old.example"];
    send(&["RET=FULL", "ENVID=QQ314159"], "full@mail.example", options);
    send(&["RET=HDRS"], "headers@mail.example", &["NOTIFY=FAILURE"]);
    node.wait_until_empty();
    let dsns = until("three DSNs", || {
        let dsns = dsns(&postfix);
        (dsns.len() == 3).then_some(dsns)
    });
    assert!(about(&dsns, "never@mail.example").is_none());

    let dsn = about(&dsns, "full@mail.example").unwrap();
    check_header(dsn);
    check_fields(dsn);
    assert_eq!(dsn["returned"][0], "message/rfc822");
    assert!(dsn["returned"][1].as_str().unwrap().ends_with(text), "{dsn}");
    for recipient in ["plain@mail.example", "headers@mail.example"] {
        let dsn = about(&dsns, recipient).unwrap();
        assert_eq!(dsn["returned"][0], "text/rfc822-headers");
        let header = dsn["returned"][1].as_str().unwrap();
        assert!(header.contains("Subject: original") && !header.contains("its body"), "{header}");
        assert!(dsn["recipients"][0].get("original-recipient").is_none(), "{dsn}");
        assert!(dsn["message"].get("original-envelope-id").is_none(), "{dsn}");
    }
}

fn check_header(dsn: &Value) {
    assert_eq!(dsn["type"], json!(["multipart/report", "delivery-status", 3]));
    let header = &dsn["headers"];
    assert_eq!(header["from"], "Mail Delivery System <MAILER-DAEMON@relay.example>");
    assert_eq!(header["to"], "sender@mail.example");
    assert_eq!(header["return-path"], "<>", "the null reverse-path");
    assert_eq!(header["auto-submitted"], "auto-replied");
    assert_eq!(header["in-reply-to"], "<1@mail.example>");
    let text = dsn["text"].as_str().unwrap();
    assert!(text.contains("full@mail.example") && text.contains("550 5.1.1"), "{text}");
}

fn check_fields(dsn: &Value) {
    assert_eq!(dsn["status_type"], "message/delivery-status");
    assert_eq!(dsn["message"]["reporting-mta"], "dns; relay.example");
    assert_eq!(dsn["message"]["original-envelope-id"], "QQ314159");
    assert!(dsn["message"]["arrival-date"].is_string());
    let about = &dsn["recipients"][0];
    assert_eq!(about["original-recipient"], "rfc822; First One@old.example");
    assert_eq!(about["action"], "failed");
    assert_eq!(about["status"], "5.1.1");
    assert_eq!(about["remote-mta"], "dns; [127.0.0.1]");
    assert_eq!(
        about["diagnostic-code"],
        "smtp; 550 5.1.1 <full@mail.example>: Recipient address rejected: User unknown in \
         virtual mailbox table"
    );
    assert!(about["last-attempt-date"].is_string());
}
