//! Encode and decode state blocks: how one recipient stands.
//!
//! A State record's payload is one block; a moved message's record holds one for each of its
//! recipients. A block checks itself, so that the queue can name it by its offset alone.
//!
//! | | | |
//! |---|---|---|
//! | 0 | 4 | checksum of the rest |
//! | 4 | 2 | octets of the block |
//! | 6 | 2 | recipient: its place in the envelope |
//! | 8 | 1 | 0 pending, 1 delivered, 2 bounced, 3 ended; after 1 to 3 only zeros up to 12 |
//! | 9 | 1 | flags: 1 held, 2 has a reason, 4 it has a reply, 8 with an enhanced status |
//! | 10 | 1 | stage, in the order of `mail::outcome::Stage` |
//! | 11 | 1 | status: class |
//! | 12 | 4 | attempts |
//! | 16 | 8 | due: milliseconds since 1970, signed |
//! | 24 | 4 | status: subject, detail |
//! | 28 | 2 | reply code |
//! | 30 | 2 | the reply's own status: class |
//! | 32 | 4 | the reply's own status: subject, detail |
//! | 36 | 6 | octets of reply text, of detail, of peer |
//! | 42 | | reply text, detail, peer |

use crate::base::limits::{DETAIL_MAX, PEER_MAX, REPLY_TEXT_MAX, STATE_BYTES_MAX};
use crate::base::text::head;
use crate::base::time::WallTime;
use crate::mail::outcome::{Reason, Stage};
use crate::mail::status::{EnhancedStatus, Reply, ReplyCode};
use crate::spool::record::reader::Reader;
use crate::spool::stored::{RecipientState, Standing};

const SHORT_BYTES: usize = 12;
const FIXED_BYTES: usize = 42;
const _: () = assert!(FIXED_BYTES + REPLY_TEXT_MAX + DETAIL_MAX + PEER_MAX <= STATE_BYTES_MAX);

const HELD: u8 = 1;
const HAS_REASON: u8 = 2;
const HAS_REPLY: u8 = 4;
const HAS_ENHANCED: u8 = 8;

/// By the number on disk: what is new comes last.
const STAGES: [Stage; 10] = [
    Stage::Route,
    Stage::Connect,
    Stage::Greeting,
    Stage::Hello,
    Stage::Mail,
    Stage::Rcpt,
    Stage::Data,
    Stage::Content,
    Stage::Quit,
    Stage::Tls,
];

/// Append a state block.
pub(crate) fn encode_state(state: &RecipientState, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 6]);
    out.extend_from_slice(&state.recipient.to_le_bytes());
    match &state.standing {
        Standing::Pending { attempts, due, held, reason } => {
            encode_pending(*attempts, *due, *held, reason.as_ref(), out);
        }
        Standing::Delivered => out.extend_from_slice(&[1, 0, 0, 0]),
        Standing::Bounced => out.extend_from_slice(&[2, 0, 0, 0]),
        Standing::Ended => out.extend_from_slice(&[3, 0, 0, 0]),
    }
    let bytes = u16::try_from(out.len() - start).expect("bounded by STATE_BYTES_MAX");
    out[start + 4..start + 6].copy_from_slice(&bytes.to_le_bytes());
    let crc = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

fn encode_pending(
    attempts: u32,
    due: WallTime,
    held: bool,
    reason: Option<&Reason>,
    out: &mut Vec<u8>,
) {
    let reply = reason.and_then(|reason| reason.reply.as_ref());
    let enhanced = reply.and_then(|reply| reply.enhanced);
    let mut flags = if held { HELD } else { 0 };
    flags |= if reason.is_some() { HAS_REASON } else { 0 };
    flags |= if reply.is_some() { HAS_REPLY } else { 0 };
    flags |= if enhanced.is_some() { HAS_ENHANCED } else { 0 };
    let none = EnhancedStatus { class: 0, subject: 0, detail: 0 };
    let status = reason.map_or(none, |reason| reason.status);
    let own = enhanced.unwrap_or(none);
    let texts = [
        head(reply.map_or("", |reply| &reply.text), REPLY_TEXT_MAX),
        head(reason.map_or("", |reason| &reason.detail), DETAIL_MAX),
        head(reason.map_or("", |reason| &reason.peer), PEER_MAX),
    ];
    let stage = reason.map_or(0, |reason| stage_code(reason.stage));
    out.extend_from_slice(&[0, flags, stage, status.class]);
    out.extend_from_slice(&attempts.to_le_bytes());
    out.extend_from_slice(&due.0.to_le_bytes());
    let code = reply.map_or(0, |reply| reply.code.as_u16());
    let fields = [status.subject, status.detail, code, own.class.into(), own.subject, own.detail];
    fields.iter().for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
    for text in texts {
        let bytes = u16::try_from(text.len()).expect("cut above");
        out.extend_from_slice(&bytes.to_le_bytes());
    }
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
}

fn stage_code(stage: Stage) -> u8 {
    let place = STAGES.iter().position(|other| *other == stage).expect("all stages are listed");
    u8::try_from(place).expect("nine stages")
}

/// A state block's fixed part: what the queue keeps of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summary {
    /// To be attempted.
    Pending { attempts: u32, due: WallTime, held: bool },
    /// Nothing more is to be done.
    Final,
}

/// A valid state block, not yet decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateBlock<'a>(&'a [u8]);

impl<'a> StateBlock<'a> {
    /// The block at the front of `bytes`, and what follows it.
    pub(crate) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = usize::from(Reader::new(bytes.get(4..)?).u16()?);
        let (block, rest) = bytes.split_at_checked(length)?;
        let crc = Reader::new(block).u32()?;
        let whole = length >= SHORT_BYTES && crc32c::crc32c(&block[4..]) == crc;
        whole.then_some((Self(block), rest))
    }

    /// The recipient's place in the envelope.
    pub(crate) fn recipient(&self) -> u16 {
        Reader::new(&self.0[6..]).u16().expect("at least twelve octets")
    }

    /// What the queue keeps of it.
    pub(crate) fn summary(&self) -> Option<Summary> {
        match self.0[8] {
            0 => {
                let mut reader = Reader::new(&self.0[SHORT_BYTES..]);
                let (attempts, due) = (reader.u32()?, WallTime(reader.i64()?));
                Some(Summary::Pending { attempts, due, held: self.0[9] & HELD != 0 })
            }
            1..=3 => Some(Summary::Final),
            _ => None,
        }
    }

    /// The state, its reason decoded.
    pub(crate) fn state(&self) -> Option<RecipientState> {
        let standing = match (self.0[8], self.summary()?) {
            (1, _) => Standing::Delivered,
            (2, _) => Standing::Bounced,
            (_, Summary::Final) => Standing::Ended,
            (_, Summary::Pending { attempts, due, held }) => {
                Standing::Pending { attempts, due, held, reason: self.reason()? }
            }
        };
        Some(RecipientState { recipient: self.recipient(), standing })
    }

    /// `None`: the block is malformed. `Some(None)`: no reason is known.
    fn reason(&self) -> Option<Option<Reason>> {
        let flags = self.0[9];
        let stage = STAGES.get(usize::from(self.0[10])).copied()?;
        let mut reader = Reader::new(self.0.get(24..)?);
        let (subject, detail, code) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let own = (reader.u16()?, reader.u16()?, reader.u16()?);
        let lengths = (reader.u16()?, reader.u16()?, reader.u16()?);
        let text = reader.text(lengths.0.into())?;
        let words = reader.text(lengths.1.into())?;
        let peer = reader.text(lengths.2.into())?;
        if !reader.is_empty() {
            return None;
        }
        if flags & HAS_REASON == 0 {
            return Some(None);
        }
        let reply = if flags & HAS_REPLY == 0 {
            None
        } else {
            let enhanced = if flags & HAS_ENHANCED == 0 {
                None
            } else {
                Some(status(u8::try_from(own.0).ok()?, own.1, own.2)?)
            };
            Some(Reply { code: ReplyCode::new(code)?, enhanced, text: text.into() })
        };
        let status = status(self.0[11], subject, detail)?;
        Some(Some(Reason { stage, status, reply, detail: words.into(), peer: peer.into() }))
    }
}

fn status(class: u8, subject: u16, detail: u16) -> Option<EnhancedStatus> {
    let valid = matches!(class, 2 | 4 | 5) && subject <= 999 && detail <= 999;
    valid.then_some(EnhancedStatus { class, subject, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason() -> Reason {
        Reason {
            stage: Stage::Rcpt,
            status: EnhancedStatus::new(4, 2, 1),
            reply: Some(Reply {
                code: ReplyCode::new(451).unwrap(),
                enhanced: Some(EnhancedStatus::new(4, 7, 999)),
                text: "greylisted,\ncome back".into(),
            }),
            detail: "".into(),
            peer: "mx1.example.net[192.0.2.1]:25".into(),
        }
    }

    fn states() -> Vec<RecipientState> {
        let pending =
            |reason| Standing::Pending { attempts: 7, due: WallTime(-5), held: true, reason };
        let silent = Reason { reply: None, detail: "connection refused".into(), ..reason() };
        let bare = Reply { enhanced: None, ..reason().reply.unwrap() };
        let bare = Reason { reply: Some(bare), stage: Stage::Quit, ..reason() };
        let standings = [
            Standing::Delivered,
            Standing::Bounced,
            Standing::Ended,
            pending(None),
            pending(Some(reason())),
            pending(Some(silent)),
            pending(Some(bare)),
        ];
        (0..)
            .zip(standings)
            .map(|(recipient, standing)| RecipientState { recipient, standing })
            .collect()
    }

    #[test]
    fn blocks_in_a_row_read_back() {
        let mut bytes = Vec::new();
        states().iter().for_each(|state| encode_state(state, &mut bytes));
        let mut rest = bytes.as_slice();
        for state in states() {
            let (block, after) = StateBlock::split(rest).expect("valid");
            assert_eq!(block.state(), Some(state.clone()));
            assert_eq!(block.recipient(), state.recipient);
            let is_final = block.summary() == Some(Summary::Final);
            assert_eq!(is_final, state.standing.is_final());
            rest = after;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn no_flipped_bit_and_no_cut_passes() {
        for state in states() {
            let mut bytes = Vec::new();
            encode_state(&state, &mut bytes);
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(StateBlock::split(&bad).is_none(), "bit {bit} of {state:?}");
            }
            for cut in 0..bytes.len() {
                assert!(StateBlock::split(&bytes[..cut]).is_none(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let long: Box<str> = "ä".repeat(5_000).into();
        let reply = Reply { text: long.clone(), ..reason().reply.unwrap() };
        let reason = Reason { reply: Some(reply), detail: long.clone(), peer: long, ..reason() };
        let (attempts, due, held) = (u32::MAX, WallTime(i64::MAX), false);
        let standing = Standing::Pending { attempts, due, held, reason: Some(reason) };
        let mut bytes = Vec::new();
        encode_state(&RecipientState { recipient: u16::MAX, standing }, &mut bytes);
        assert!(bytes.len() <= STATE_BYTES_MAX);
        let (block, _) = StateBlock::split(&bytes).expect("valid");
        let Some(RecipientState { standing: Standing::Pending { reason, .. }, .. }) = block.state()
        else {
            panic!("pending");
        };
        let reason = reason.expect("kept");
        assert_eq!(reason.reply.map(|reply| reply.text.len()), Some(REPLY_TEXT_MAX));
        assert_eq!((reason.detail.len(), reason.peer.len()), (DETAIL_MAX, PEER_MAX));
    }
}
