//! Say what is legal when: one table of every command in every phase of a session.
//!
//! In: a phase and a verb. Out: the phase that follows once the command is answered with yes, or
//! the answer that refuses it. RFC 5321 §4.1.4, RFC 3030 §2.
//! Invariant: a refused command changes no phase. `tests/data/phases.golden` shows the table.

use crate::smtp::answer::Answer;
use crate::smtp::command::Verb;

/// How far a session has come, as far as it decides what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Greeted with 220; no EHLO or HELO yet.
    Connected,
    /// Greeted with 554: nothing but QUIT is heard (RFC 5321 §3.1).
    Refused,
    /// EHLO or HELO has been said; no transaction.
    Ready,
    /// MAIL was accepted, no recipient as yet.
    Mail,
    /// At least one recipient was accepted.
    Rcpt,
    /// A chunk was accepted, and not the last.
    Chunks,
}

impl Phase {
    /// Every phase, in the order of the table.
    pub const ALL: [Self; 6] =
        [Self::Connected, Self::Refused, Self::Ready, Self::Mail, Self::Rcpt, Self::Chunks];
}

/// What the table says of a command in a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Go on, and if the answer is yes, be in this phase then.
    Proceed(Phase),
    /// Say goodbye; the session is over.
    Close,
    /// Say this; nothing changes.
    Refuse(Answer),
}

/// The rule for `verb` in `phase`.
pub const fn rule(phase: Phase, verb: Verb) -> &'static Rule {
    &TABLE[verb as usize][phase as usize]
}

const CONNECTED: Rule = Rule::Proceed(Phase::Connected);
const READY: Rule = Rule::Proceed(Phase::Ready);
const MAIL: Rule = Rule::Proceed(Phase::Mail);
const RCPT: Rule = Rule::Proceed(Phase::Rcpt);
const CHUNKS: Rule = Rule::Proceed(Phase::Chunks);
const CLOSE: Rule = Rule::Close;

const NO_EHLO: Rule = Rule::Refuse(Answer::HELLO_FIRST);
const NO_MAIL: Rule = Rule::Refuse(Answer::MAIL_FIRST);
const NO_RCPT: Rule = Rule::Refuse(Answer::NO_RECIPIENTS);
const NESTED: Rule = Rule::Refuse(Answer::NESTED_MAIL);
const BDAT_ONLY: Rule = Rule::Refuse(Answer::BDAT_ONLY);
const SEQUENCE: Rule = Rule::Refuse(Answer::BAD_SEQUENCE);
const NOT_HERE: Rule = Rule::Refuse(Answer::NOT_OFFERED);
const UNKNOWN: Rule = Rule::Refuse(Answer::UNKNOWN_COMMAND);
const NOT_HTTP: Rule = Rule::Refuse(Answer::NOT_HTTP);

/// A row for each verb in the order of `Verb::ALL`, a column for each phase in that of
/// `Phase::ALL`.
///
/// HTTP is told apart where a browser speaks first; anywhere else its words are unknown commands.
#[rustfmt::skip]
static TABLE: [[Rule; Phase::ALL.len()]; Verb::ALL.len()] = [
    //               Connected  Refused   Ready     Mail      Rcpt      Chunks
    /* EHLO      */ [READY,     SEQUENCE, READY,    READY,    READY,    READY],
    /* HELO      */ [READY,     SEQUENCE, READY,    READY,    READY,    READY],
    /* MAIL      */ [NO_EHLO,   SEQUENCE, MAIL,     NESTED,   NESTED,   NESTED],
    /* RCPT      */ [NO_EHLO,   SEQUENCE, NO_MAIL,  RCPT,     RCPT,     BDAT_ONLY],
    /* DATA      */ [NO_EHLO,   SEQUENCE, NO_MAIL,  NO_RCPT,  READY,    BDAT_ONLY],
    /* BDAT      */ [NO_EHLO,   SEQUENCE, NO_MAIL,  NO_RCPT,  CHUNKS,   CHUNKS],
    /* BDAT LAST */ [NO_EHLO,   SEQUENCE, NO_MAIL,  NO_RCPT,  READY,    READY],
    /* RSET      */ [CONNECTED, SEQUENCE, READY,    READY,    READY,    READY],
    /* VRFY      */ [CONNECTED, SEQUENCE, READY,    MAIL,     RCPT,     CHUNKS],
    /* EXPN      */ [NOT_HERE,  SEQUENCE, NOT_HERE, NOT_HERE, NOT_HERE, NOT_HERE],
    /* HELP      */ [CONNECTED, SEQUENCE, READY,    MAIL,     RCPT,     CHUNKS],
    /* NOOP      */ [CONNECTED, SEQUENCE, READY,    MAIL,     RCPT,     CHUNKS],
    /* QUIT      */ [CLOSE,     CLOSE,    CLOSE,    CLOSE,    CLOSE,    CLOSE],
    /* STARTTLS  */ [NO_EHLO,   SEQUENCE, READY,    SEQUENCE, SEQUENCE, SEQUENCE],
    /* AUTH      */ [NO_EHLO,   SEQUENCE, READY,    SEQUENCE, SEQUENCE, SEQUENCE],
    /* XCLIENT   */ [CONNECTED, SEQUENCE, CONNECTED, SEQUENCE, SEQUENCE, SEQUENCE],
    /* HTTP      */ [NOT_HTTP,  NOT_HTTP, UNKNOWN,  UNKNOWN,  UNKNOWN,  UNKNOWN],
    /* unknown   */ [UNKNOWN,   SEQUENCE, UNKNOWN,  UNKNOWN,  UNKNOWN,  UNKNOWN],
];

// The table is read by position: both lists must be in the order of their enums.
const _: () = {
    let mut place = 0;
    while place < Verb::ALL.len() {
        assert!(Verb::ALL[place] as usize == place);
        place += 1;
    }
    place = 0;
    while place < Phase::ALL.len() {
        assert!(Phase::ALL[place] as usize == place);
        place += 1;
    }
};
