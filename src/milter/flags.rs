//! Agree with a milter on what it may do and what it is told (`SMFIC_OPTNEG`, `SMFIF_`, `SMFIP_`).
//!
//! In: its answer to our offer. Out: [`Agreed`]. Invariant: nothing is agreed on that was not
//! offered.

use crate::milter::{Failure, Stage};

/// The version that we speak.
const VERSION: u32 = 6;
/// The oldest that is spoken by anyone (sendmail 8.11 to 8.13).
const VERSION_MIN: u32 = 2;
/// From this version on DATA is told.
const VERSION_DATA: u32 = 4;
/// From this version on a connection may be used for another client.
const VERSION_QUIT_NC: u32 = 6;

/// All actions but 0x100, a list of macros by the milter: it gets all that there are.
const ACTIONS: u32 = 0xFF;

const NO_HEADERS: u32 = 0x20;
const NR_HEADER: u32 = 0x80;
const NO_UNKNOWN: u32 = 0x100;
const NO_DATA: u32 = 0x200;
const SKIP: u32 = 0x400;
const LEADING_SPACE: u32 = 0x0010_0000;
/// Steps that may be left out: connect 1, helo 2, mail 4, rcpt 8, body 0x10, headers, eoh 0x40.
const NO_STEPS: u32 = 0x7F;
/// Answers that may be left out: connect 0x1000, helo, mail, rcpt, data, unknown, eoh, body.
const NO_REPLIES: u32 = 0x000F_F000;
/// Everything that changes what we send. Not 0x800 (to hear of recipients that were refused): at
/// the end of data nobody remembers them.
const STEPS: u32 =
    NO_STEPS | NO_HEADERS | NR_HEADER | NO_UNKNOWN | NO_DATA | SKIP | NO_REPLIES | LEADING_SPACE;

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    version: u32,
    steps: u32,
}

impl Agreed {
    /// The data of our offer.
    pub(super) fn offer() -> [u8; 12] {
        let mut data = [0; 12];
        data[..4].copy_from_slice(&VERSION.to_be_bytes());
        data[4..8].copy_from_slice(&ACTIONS.to_be_bytes());
        data[8..].copy_from_slice(&STEPS.to_be_bytes());
        data
    }

    /// Read the answer, which is the first packet that a milter sends.
    pub(super) fn read_packet(what: u8, data: &[u8]) -> Result<Self, Failure> {
        if what != b'O' {
            return Err(Failure::Protocol("no options", Stage::Negotiation));
        }
        Self::read(data)
    }

    /// Read the data of the answer. What follows the three numbers is about macros.
    pub(super) fn read(data: &[u8]) -> Result<Self, Failure> {
        let refused = |what| Err(Failure::Protocol(what, Stage::Negotiation));
        let Some((numbers, _)) = data.split_first_chunk::<12>() else {
            return refused("short options");
        };
        let number = |at: usize| {
            u32::from_be_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]])
        };
        let (version, actions, steps) = (number(0), number(4), number(8));
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return refused("a version that was not offered");
        }
        if actions & !ACTIONS != 0 {
            return refused("actions that were not offered");
        }
        if steps & !STEPS != 0 {
            return refused("steps that were not offered");
        }
        Ok(Self { version, steps })
    }

    /// Whether the milter is told of `stage`.
    pub(super) fn tells(self, stage: Stage) -> bool {
        let left_out = match stage {
            Stage::Connect => 0x1,
            Stage::Hello => 0x2,
            Stage::Mail => 0x4,
            Stage::Rcpt => 0x8,
            Stage::Body => 0x10,
            Stage::Header => NO_HEADERS,
            Stage::EndOfHeader => 0x40,
            Stage::Data if self.version < VERSION_DATA => return false,
            Stage::Data => NO_DATA,
            Stage::Negotiation | Stage::End => 0,
        };
        self.steps & left_out == 0
    }

    /// Whether the milter answers what it is told of `stage`.
    pub(super) fn answers(self, stage: Stage) -> bool {
        let left_out = match stage {
            Stage::Connect => 0x1000,
            Stage::Hello => 0x2000,
            Stage::Mail => 0x4000,
            Stage::Rcpt => 0x8000,
            Stage::Data => 0x0001_0000,
            Stage::EndOfHeader => 0x0004_0000,
            Stage::Body => 0x0008_0000,
            Stage::Header => NR_HEADER,
            Stage::Negotiation | Stage::End => 0,
        };
        self.steps & left_out == 0
    }

    /// Whether values of fields go with the white space behind the colon, both ways.
    pub(super) fn keeps_leading_space(self) -> bool {
        self.steps & LEADING_SPACE != 0
    }

    /// Whether a connection may be used for another client (`SMFIC_QUIT_NC`).
    pub(super) fn takes_new_client(self) -> bool {
        self.version >= VERSION_QUIT_NC
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: u32, actions: u32, steps: u32) -> Vec<u8> {
        [version, actions, steps].iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    #[test]
    fn what_was_offered_may_be_taken_and_nothing_else() {
        assert!(Agreed::read(&Agreed::offer()).is_ok(), "all of it");
        assert!(Agreed::read(&answer(2, 0, 0)).is_ok(), "nothing of it");
        let with_macros = [answer(6, 1, 0).as_slice(), b"\0\0\0\x01i {client_addr}\0"].concat();
        assert!(Agreed::read(&with_macros).is_ok());
        for (version, actions, steps) in [
            (1, 0, 0),
            (7, 0, 0),
            (6, 0x100, 0),
            (6, 0x8000_0000, 0),
            (6, 0, 0x800),
            (6, 0, 0x1000_0000),
        ] {
            let read = Agreed::read(&answer(version, actions, steps));
            assert!(read.is_err(), "{version} {actions:x} {steps:x}");
        }
        assert!(Agreed::read(&answer(6, 1, 0)[..11]).is_err());
    }

    #[test]
    fn each_step_and_each_answer_has_its_bit() {
        let stages = [
            Stage::Connect,
            Stage::Hello,
            Stage::Mail,
            Stage::Rcpt,
            Stage::Data,
            Stage::Header,
            Stage::EndOfHeader,
            Stage::Body,
        ];
        let none = Agreed { version: 6, steps: 0 };
        let all = Agreed { version: 6, steps: STEPS };
        for stage in stages {
            assert!(none.tells(stage) && none.answers(stage), "{stage:?}");
            assert!(!all.tells(stage) && !all.answers(stage), "{stage:?}");
        }
        assert!(all.tells(Stage::End) && all.answers(Stage::End), "the end is always answered");
        let single = (0..32).map(|bit| Agreed { version: 6, steps: 1 << bit });
        let silent = single.filter(|one| stages.iter().any(|stage| !one.answers(*stage)));
        assert_eq!(silent.count(), stages.len(), "one bit each");
    }

    #[test]
    fn old_versions_know_neither_data_nor_a_second_client() {
        let of = |version| Agreed { version, steps: 0 };
        assert!(!of(3).tells(Stage::Data) && of(4).tells(Stage::Data));
        assert!(!of(5).takes_new_client() && of(6).takes_new_client());
    }
}
