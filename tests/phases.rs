//! The whole table of what is legal when, refused pairs included, as it stands in `data/`.
//!
//! When the table changes on purpose: `UPDATE_GOLDEN=1 cargo test --test phases`, then read the
//! difference.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]

use std::fmt::Write;
use std::path::Path;

use relay_fast::smtp::command::Verb;
use relay_fast::smtp::phase::{Phase, Rule, rule};
use relay_fast::smtp::server::{Auth, Options, Security};

#[path = "support/session.rs"]
mod session;

use session::{Server, code, options};

fn table() -> String {
    let mut text = String::from("# phase, command: the phase that follows a yes, or the refusal\n");
    for phase in Phase::ALL {
        writeln!(text).expect("text");
        for verb in Verb::ALL {
            let (from, name) = (format!("{phase:?}"), verb.name());
            match rule(phase, verb) {
                Rule::Proceed(next) => writeln!(text, "{from:<10} {name:<10} -> {next:?}"),
                Rule::Close => writeln!(text, "{from:<10} {name:<10} -> the end"),
                Rule::Refuse(answer) => {
                    let mut reply = Vec::new();
                    answer.write("HOST", &mut reply);
                    let reply = String::from_utf8(reply).expect("ASCII");
                    writeln!(text, "{from:<10} {name:<10} {}", reply.trim_end())
                }
            }
            .expect("text");
        }
    }
    text
}

#[test]
fn the_table_is_as_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/phases.golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, table()).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(table(), golden);
}

/// All that can be on offer.
fn offering() -> Options {
    let auth = Auth { plain: true, without_tls: true, ..Auth::default() };
    Options { security: Security::StartTls, auth, ..options() }
}

/// A session in `phase`, come there by legal commands.
fn session_in(phase: Phase) -> Server {
    let mail = "MAIL FROM:<a@a.example>\r\n";
    let rcpt = "RCPT TO:<b@b.example>\r\n";
    match phase {
        Phase::Connected => {
            let mut server = Server::new(offering());
            server.session.offer_xclient();
            server.output();
            server
        }
        Phase::Refused => {
            use relay_fast::base::time::Monotonic;
            use relay_fast::smtp::answer::Answer;
            use relay_fast::smtp::server::Session;
            let now = Monotonic(0);
            let mut session = Session::refused(offering().into(), Answer::NO_SERVICE, now);
            session.offer_xclient();
            let mut server = Server::of(session, now, |_, _| unreachable!("no question"));
            assert_eq!(code(&server.output()), 554);
            server
        }
        Phase::Ready => {
            let mut server = Server::new(offering());
            server.session.offer_xclient();
            server.past_hello()
        }
        Phase::Mail => {
            let mut server = session_in(Phase::Ready);
            server.send(mail);
            server
        }
        Phase::Rcpt => {
            let mut server = session_in(Phase::Mail);
            server.send(rcpt);
            server
        }
        Phase::Chunks => {
            let mut server = session_in(Phase::Rcpt);
            server.send("BDAT 3\r\na\r\n");
            server
        }
    }
}

/// The verb as a whole, well-formed command, with the chunk that BDAT announces.
fn command(verb: Verb) -> &'static str {
    match verb {
        Verb::Ehlo => "EHLO client.example\r\n",
        Verb::Helo => "HELO client.example\r\n",
        Verb::Mail => "MAIL FROM:<a@a.example>\r\n",
        Verb::Rcpt => "RCPT TO:<b@b.example>\r\n",
        Verb::Data => "DATA\r\n",
        Verb::Bdat => "BDAT 6\r\nQUIT\r\n",
        Verb::BdatLast => "BDAT 6 LAST\r\nQUIT\r\n",
        Verb::Rset => "RSET\r\n",
        Verb::Vrfy => "VRFY b\r\n",
        Verb::Expn => "EXPN list\r\n",
        Verb::Help => "HELP\r\n",
        Verb::Noop => "NOOP\r\n",
        Verb::Quit => "QUIT\r\n",
        Verb::StartTls => "STARTTLS\r\n",
        Verb::Auth => "AUTH PLAIN AGEAYg==\r\n",
        Verb::Xclient => "XCLIENT ADDR=192.0.2.1\r\n",
        Verb::Http => "GET / HTTP/1.1\r\n",
        Verb::Unknown => "XYZZY\r\n",
    }
}

#[test]
fn the_machine_does_what_the_table_says() {
    for phase in Phase::ALL {
        for verb in Verb::ALL {
            let mut server = session_in(phase);
            let reply = server.send(command(verb));
            let positive = code(&reply) < 400;
            match rule(phase, verb) {
                Rule::Proceed(_) | Rule::Close => {
                    assert!(positive, "{phase:?} {verb:?}: {reply}");
                }
                Rule::Refuse(answer) => {
                    let expected = answer.code.as_u16();
                    assert_eq!(code(&reply), expected, "{phase:?} {verb:?}: {reply}");
                }
            }
            let closes = code(&reply) == 421 || *rule(phase, verb) == Rule::Close;
            assert_eq!(server.session.is_over(), closes, "{phase:?} {verb:?}");
        }
    }
}

#[test]
fn a_refused_command_changes_no_phase() {
    for phase in Phase::ALL {
        for verb in Verb::ALL {
            let Rule::Refuse(answer) = rule(phase, verb) else { continue };
            if answer.code.as_u16() == 421 {
                continue;
            }
            for probe in Verb::ALL {
                let mut server = session_in(phase);
                server.send(command(verb));
                let mut other = session_in(phase);
                // Not a first command any more: HTTP is told apart there alone.
                other.send("XYZZY\r\n");
                let (after, before) = (server.send(command(probe)), other.send(command(probe)));
                assert_eq!(after, before, "{phase:?}: {verb:?}, then {probe:?}");
            }
        }
    }
}
