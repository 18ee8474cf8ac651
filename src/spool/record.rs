//! Encode and decode what records hold: messages and the states of recipients.
//!
//! In: envelopes and states. Out: payloads as `format.rs` frames them, and back.
//! Invariant: decoding what was encoded gives the same value (states: texts cut to their bounds);
//! decoding anything else gives `None`, never a panic.
//! Unit: octets, little-endian.
//!
//! A Message payload is four stretches, one after another:
//!
//! | | | |
//! |---|---|---|
//! | 0 | 8 | received: milliseconds since 1970, signed |
//! | 8 | 8 | octets of content |
//! | 16 | 4 | octets of the body |
//! | 20 | 4 | octets of the state blocks |
//! | 24 | 4 | extents |
//! | 28 | 4 | octets of the prefix |
//! | 32 | 2 | recipients |
//! | 34 | 2 | octets of the reverse-path; 0: null |
//! | 36 | 2 | octets of ENVID |
//! | 38 | 2 | flags: 1 eight-bit, 2 SMTPUTF8, 4 ENVID, 8 client, 16 of IPv6, 32 `memory`, |
//! | | | 64 held, 128 REQUIRETLS, 256 `TLS-Required: No`, 512 has a handling, 1024 HTTP |
//! | 40 | 1 | BODY: 0 7BIT, 1 8BITMIME, 2 BINARYMIME |
//! | 41 | 1 | RET: 0 none, 1 FULL, 2 HDRS |
//! | 42 | 2 | listener |
//! | 44 | 16 | client address, IPv4 in the first four |
//! | 60 | 4 | milliseconds from MAIL to the end of data |
//! | 64 | | **body**: prefix, reverse-path, ENVID, *handling* (if it has one), recipients |
//! | | | **state blocks** (of a moved message) |
//! | | 16 each | **extents**: segment, offset, octets, checksum of the content there |
//!
//! | recipient | | |
//! |---|---|---|
//! | 0 | 2 | octets of the forward-path; 0: `<Postmaster>` |
//! | 2 | 2 | octets of ORCPT's type |
//! | 4 | 2 | octets of ORCPT's address |
//! | 6 | 1 | NOTIFY: 0 default, 1 NEVER, 2 + success + 2 × failure + 4 × delay |
//! | 7 | 1 | 1: has ORCPT |
//! | 8 | | forward-path, type, address |
//!
//! Handling: `record/handling.rs`. State blocks: `record/state.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::base::limits::{ORIGINAL_MAX, PATH_MAX, PREFIX_MAX, RECIPIENTS_MAX};
use crate::base::time::WallTime;
use crate::mail::address::{ForwardPath, Mailbox, ReversePath};
use crate::mail::durability::Durability;
use crate::mail::envelope::{
    BodyType, Envelope, Notify, OriginalRecipient, Recipient, Ret, TlsWish,
};
use crate::mail::handling::Handling;
use crate::spool::stored::Origin;

pub(super) mod handling;
pub(super) mod reader;
pub(super) mod state;

use reader::Reader;
use state::StateBlock;

const FIXED_BYTES: usize = 64;
/// Octets of one extent.
pub(super) const EXTENT_BYTES: usize = 16;

const EIGHT_BIT: u16 = 1;
const SMTP_UTF8: u16 = 2;
const HAS_ENVELOPE_ID: u16 = 4;
const FROM_CLIENT: u16 = 8;
const PEER_IS_V6: u16 = 16;
const IN_MEMORY: u16 = 32;
const QUARANTINED: u16 = 64;
const TLS_REQUIRED: u16 = 128;
const TLS_WAIVED: u16 = 256;
const HAS_HANDLING: u16 = 512;
const INJECTED: u16 = 1024;

/// Where a stretch of a message's content lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The segment's number.
    pub segment: u32,
    /// The first octet.
    pub offset: u32,
    /// How many.
    pub bytes: u32,
    /// CRC-32C of them.
    pub crc: u32,
}

impl Extent {
    /// Append the extent to a Message payload whose other stretches are complete.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for field in [self.segment, self.offset, self.bytes, self.crc] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (segment, offset) = (reader.u32()?, reader.u32()?);
        Some(Self { segment, offset, bytes: reader.u32()?, crc: reader.u32()? })
    }
}

/// What a Message record says of a message, but for its extents and states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageHead<'a> {
    /// When the end of data came.
    pub received: WallTime,
    /// From MAIL to the end of data; kept to the millisecond, 49 days at most.
    pub intake: Duration,
    /// Octets of content.
    pub content_bytes: u64,
    /// Some octet is above 127.
    pub has_eight_bit: bool,
    /// Its recipients are held until an operator releases them.
    pub is_quarantined: bool,
    /// Who handed it in.
    pub origin: Origin,
    /// What the relay put before the content.
    pub prefix: &'a [u8],
}

/// A message that no record can hold: more than a limit lets it be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoesNotFit;

fn short(bytes: usize, limit: usize) -> Result<u16, DoesNotFit> {
    u16::try_from(bytes).ok().filter(|_| bytes <= limit).ok_or(DoesNotFit)
}

fn long(number: usize) -> Result<u32, DoesNotFit> {
    u32::try_from(number).map_err(|_| DoesNotFit)
}

/// Append a Message payload without states and extents; `extents` is how many will follow.
pub(super) fn encode_message(
    head: &MessageHead<'_>,
    envelope: &Envelope,
    extents: usize,
    out: &mut Vec<u8>,
) -> Result<(), DoesNotFit> {
    let start = out.len();
    out.resize(start + FIXED_BYTES, 0);
    let written = encode_body(head, envelope, out).and_then(|()| {
        let body_bytes = long(out.len() - start - FIXED_BYTES)?;
        encode_fixed(head, envelope, body_bytes, long(extents)?)
    });
    match written {
        Ok(fixed) => out[start..start + FIXED_BYTES].copy_from_slice(&fixed),
        Err(DoesNotFit) => {
            out.truncate(start);
            return Err(DoesNotFit);
        }
    }
    Ok(())
}

fn encode_fixed(
    head: &MessageHead<'_>,
    envelope: &Envelope,
    body_bytes: u32,
    extents: u32,
) -> Result<[u8; FIXED_BYTES], DoesNotFit> {
    let mut fixed = [0u8; FIXED_BYTES];
    let mut put = |offset: usize, bytes: &[u8]| {
        fixed[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    let envelope_id = envelope.envelope_id.as_deref();
    let mut flags = 0;
    flags |= if head.has_eight_bit { EIGHT_BIT } else { 0 };
    flags |= if envelope.smtp_utf8 { SMTP_UTF8 } else { 0 };
    flags |= if envelope_id.is_some() { HAS_ENVELOPE_ID } else { 0 };
    flags |= if head.is_quarantined { QUARANTINED } else { 0 };
    flags |= if envelope.handling.is_some() { HAS_HANDLING } else { 0 };
    flags |= match envelope.tls {
        TlsWish::Unsaid => 0,
        TlsWish::Required => TLS_REQUIRED,
        TlsWish::Waived => TLS_WAIVED,
    };
    flags |= if head.origin == Origin::Injected { INJECTED } else { 0 };
    if let Origin::Client { peer, listener, durability } = head.origin {
        flags |= FROM_CLIENT;
        flags |= if durability == Durability::Memory { IN_MEMORY } else { 0 };
        put(42, &listener.to_le_bytes());
        match peer {
            IpAddr::V4(address) => put(44, &address.octets()),
            IpAddr::V6(address) => {
                flags |= PEER_IS_V6;
                put(44, &address.octets());
            }
        }
    }
    put(0, &head.received.0.to_le_bytes());
    put(8, &head.content_bytes.to_le_bytes());
    put(60, &u32::try_from(head.intake.as_millis()).unwrap_or(u32::MAX).to_le_bytes());
    put(16, &body_bytes.to_le_bytes());
    put(24, &extents.to_le_bytes());
    put(28, &long(head.prefix.len())?.to_le_bytes());
    put(32, &short(envelope.recipients.len(), RECIPIENTS_MAX)?.to_le_bytes());
    put(34, &short(envelope.reverse_path.as_str().len(), PATH_MAX)?.to_le_bytes());
    put(36, &short(envelope_id.map_or(0, str::len), ORIGINAL_MAX)?.to_le_bytes());
    put(38, &flags.to_le_bytes());
    put(40, &[body_type_code(envelope.body_type), ret_code(envelope.ret)]);
    Ok(fixed)
}

fn encode_body(
    head: &MessageHead<'_>,
    envelope: &Envelope,
    out: &mut Vec<u8>,
) -> Result<(), DoesNotFit> {
    if head.prefix.len() > PREFIX_MAX || envelope.recipients.is_empty() {
        return Err(DoesNotFit);
    }
    out.extend_from_slice(head.prefix);
    out.extend_from_slice(envelope.reverse_path.as_str().as_bytes());
    out.extend_from_slice(envelope.envelope_id.as_deref().unwrap_or("").as_bytes());
    if let Some(handling) = &envelope.handling {
        handling::encode(handling, out);
    }
    envelope.recipients.iter().try_for_each(|recipient| encode_recipient(recipient, out))
}

fn encode_recipient(recipient: &Recipient, out: &mut Vec<u8>) -> Result<(), DoesNotFit> {
    let path = match &recipient.forward_path {
        ForwardPath::Mailbox(mailbox) => mailbox.as_str(),
        ForwardPath::Postmaster => "",
    };
    let original = recipient.original.as_ref();
    let (kind, address) = original.map_or(("", ""), |orcpt| (&orcpt.kind, &orcpt.address));
    if kind.len() + address.len() > ORIGINAL_MAX {
        return Err(DoesNotFit);
    }
    out.extend_from_slice(&short(path.len(), PATH_MAX)?.to_le_bytes());
    out.extend_from_slice(&short(kind.len(), ORIGINAL_MAX)?.to_le_bytes());
    out.extend_from_slice(&short(address.len(), ORIGINAL_MAX)?.to_le_bytes());
    out.extend_from_slice(&[notify_code(recipient.notify), u8::from(original.is_some())]);
    [path, kind, address].iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
    Ok(())
}

fn body_type_code(body_type: BodyType) -> u8 {
    match body_type {
        BodyType::SevenBit => 0,
        BodyType::EightBitMime => 1,
        BodyType::BinaryMime => 2,
    }
}

fn ret_code(ret: Option<Ret>) -> u8 {
    match ret {
        None => 0,
        Some(Ret::Full) => 1,
        Some(Ret::Headers) => 2,
    }
}

fn notify_code(notify: Notify) -> u8 {
    match notify {
        Notify::Default => 0,
        Notify::Never => 1,
        Notify::When { success, failure, delay } => {
            2 + u8::from(success) + 2 * u8::from(failure) + 4 * u8::from(delay)
        }
    }
}

fn notify_from(code: u8) -> Option<Notify> {
    match code {
        0 => Some(Notify::Default),
        1 => Some(Notify::Never),
        2..=9 => {
            let bits = code - 2;
            let (success, failure, delay) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            Some(Notify::When { success, failure, delay })
        }
        _ => None,
    }
}

/// A Message payload cut into its stretches; the body is decoded only when asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageView<'a> {
    fixed: &'a [u8],
    body: &'a [u8],
    /// State blocks, one after another.
    pub(super) states: &'a [u8],
    extents: &'a [u8],
}

impl<'a> MessageView<'a> {
    /// Cut a payload; `None` if its lengths contradict each other.
    pub(super) fn decode(payload: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = payload.split_at_checked(FIXED_BYTES)?;
        let mut lengths = Reader::new(&fixed[16..28]);
        let (body, rest) = rest.split_at_checked(lengths.u32()? as usize)?;
        let (states, extents) = rest.split_at_checked(lengths.u32()? as usize)?;
        let expected = (lengths.u32()? as usize).checked_mul(EXTENT_BYTES)?;
        let view = Self { fixed, body, states, extents };
        let content: u64 = view.extents().map(|extent| u64::from(extent.bytes)).sum();
        let whole = extents.len() == expected && view.content_bytes() == content;
        whole.then_some(view)
    }

    /// The state blocks, each with its place in the payload.
    pub(super) fn state_blocks(&self) -> impl Iterator<Item = (StateBlock<'a>, usize)> + use<'a> {
        let (states, start) = (self.states, self.states_offset());
        let mut rest = states;
        std::iter::from_fn(move || {
            let place = start + states.len() - rest.len();
            let (block, after) = StateBlock::split(rest)?;
            rest = after;
            Some((block, place))
        })
    }

    /// Where the state blocks start in the payload.
    pub(super) fn states_offset(&self) -> usize {
        FIXED_BYTES + self.body.len()
    }

    /// Where the content is, in order.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> + use<'a> {
        self.extents.chunks_exact(EXTENT_BYTES).filter_map(Extent::decode)
    }

    /// Octets of content.
    pub(super) fn content_bytes(&self) -> u64 {
        Reader::new(&self.fixed[8..]).u64().expect("inside the fixed part")
    }

    /// Octets of prefix and content.
    pub(super) fn bytes(&self) -> u64 {
        self.content_bytes() + self.prefix_bytes() as u64
    }

    /// When the end of data came.
    pub(super) fn received(&self) -> WallTime {
        WallTime(Reader::new(self.fixed).i64().expect("inside the fixed part"))
    }

    fn intake(&self) -> Duration {
        let ms = Reader::new(&self.fixed[60..]).u32().expect("inside the fixed part");
        Duration::from_millis(ms.into())
    }

    /// How many recipients the envelope has.
    pub(super) fn recipients(&self) -> u16 {
        self.short(32)
    }

    /// Whether recipients of which nothing else is known are held.
    pub(super) fn is_quarantined(&self) -> bool {
        self.short(38) & QUARANTINED != 0
    }

    /// Append this message's payload anew: the same but for states and extents.
    pub(super) fn encode_moved(&self, states: &[u8], extents: u32, out: &mut Vec<u8>) {
        let start = out.len();
        let states_bytes = u32::try_from(states.len()).expect("bounded by RECORD_MAX");
        out.extend_from_slice(self.fixed);
        out[start + 20..start + 24].copy_from_slice(&states_bytes.to_le_bytes());
        out[start + 24..start + 28].copy_from_slice(&extents.to_le_bytes());
        out.extend_from_slice(self.body);
        out.extend_from_slice(states);
    }

    /// What the relay put before the content, and who handed the message in.
    pub(super) fn head(&self) -> Option<MessageHead<'a>> {
        Some(MessageHead {
            received: self.received(),
            intake: self.intake(),
            content_bytes: self.content_bytes(),
            has_eight_bit: self.short(38) & EIGHT_BIT != 0,
            is_quarantined: self.is_quarantined(),
            origin: self.origin(),
            prefix: self.body.get(..self.prefix_bytes())?,
        })
    }

    /// The envelope, decoded.
    pub(super) fn envelope(&self) -> Option<Envelope> {
        let mut reader = Reader::new(self.body.get(self.prefix_bytes()..)?);
        let reverse_path = match reader.text(self.short(34).into())? {
            "" => ReversePath::NULL,
            text => ReversePath(Some(Mailbox::parse(text, true).ok()?)),
        };
        let envelope_id = reader.text(self.short(36).into())?;
        let has_envelope_id = self.short(38) & HAS_ENVELOPE_ID != 0;
        let handling = self.take_handling(&mut reader)?;
        let recipients = (0..self.recipients()).map(|_| recipient(&mut reader));
        let recipients: Vec<Recipient> = recipients.collect::<Option<_>>()?;
        let envelope = Envelope {
            reverse_path,
            body_type: match self.fixed[40] {
                0 => BodyType::SevenBit,
                1 => BodyType::EightBitMime,
                2 => BodyType::BinaryMime,
                _ => return None,
            },
            smtp_utf8: self.short(38) & SMTP_UTF8 != 0,
            tls: match self.short(38) & (TLS_REQUIRED | TLS_WAIVED) {
                0 => TlsWish::Unsaid,
                TLS_REQUIRED => TlsWish::Required,
                TLS_WAIVED => TlsWish::Waived,
                _ => return None,
            },
            ret: match self.fixed[41] {
                0 => None,
                1 => Some(Ret::Full),
                2 => Some(Ret::Headers),
                _ => return None,
            },
            envelope_id: has_envelope_id.then(|| envelope_id.into()),
            handling: handling.map(Box::new),
            recipients,
        };
        (reader.is_empty() && !envelope.recipients.is_empty()).then_some(envelope)
    }

    /// The reverse-path, empty where it is null, and the forward-paths, as text that is not parsed.
    pub(super) fn paths(&self) -> Option<(&'a str, impl Iterator<Item = Option<&'a str>>)> {
        let mut reader = Reader::new(self.body.get(self.prefix_bytes()..)?);
        let reverse_path = reader.text(self.short(34).into())?;
        reader.bytes(self.short(36).into())?;
        self.take_handling(&mut reader)?;
        let forward_paths = (0..self.recipients()).map(move |_| {
            let [path, kind, address] = [reader.u16()?, reader.u16()?, reader.u16()?];
            reader.bytes(2)?;
            let path = reader.text(path.into())?;
            reader.bytes(usize::from(kind) + usize::from(address))?;
            Some(path)
        });
        Some((reverse_path, forward_paths))
    }

    /// How the sender wants it handled, where something was said of it.
    pub(super) fn handling(&self) -> Option<Handling> {
        let mut reader = Reader::new(self.body.get(self.prefix_bytes()..)?);
        reader.bytes(usize::from(self.short(34)) + usize::from(self.short(36)))?;
        self.take_handling(&mut reader)?
    }

    /// Take the handling, if there is one; `None`: it cannot be understood.
    fn take_handling(&self, reader: &mut Reader<'_>) -> Option<Option<Handling>> {
        match self.short(38) & HAS_HANDLING {
            0 => Some(None),
            _ => handling::decode(reader).map(Some),
        }
    }

    fn prefix_bytes(&self) -> usize {
        Reader::new(&self.fixed[28..]).u32().expect("inside the fixed part") as usize
    }

    fn short(&self, offset: usize) -> u16 {
        Reader::new(&self.fixed[offset..]).u16().expect("inside the fixed part")
    }

    fn origin(&self) -> Origin {
        let flags = self.short(38);
        if flags & FROM_CLIENT == 0 {
            return if flags & INJECTED == 0 { Origin::Own } else { Origin::Injected };
        }
        let octets: [u8; 16] = self.fixed[44..60].try_into().expect("sixteen octets");
        let peer = if flags & PEER_IS_V6 != 0 {
            IpAddr::V6(Ipv6Addr::from(octets))
        } else {
            IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
        };
        let in_memory = flags & IN_MEMORY != 0;
        let durability = if in_memory { Durability::Memory } else { Durability::Commit };
        Origin::Client { peer, listener: self.short(42), durability }
    }
}

fn recipient(reader: &mut Reader<'_>) -> Option<Recipient> {
    let (path, kind, address) = (reader.u16()?, reader.u16()?, reader.u16()?);
    let (notify, has_original) = (notify_from(reader.u8()?)?, reader.u8()? != 0);
    let path = reader.text(path.into())?;
    let (kind, address) = (reader.text(kind.into())?, reader.text(address.into())?);
    let forward_path = match path {
        "" => ForwardPath::Postmaster,
        text => ForwardPath::Mailbox(Mailbox::parse(text, true).ok()?),
    };
    let original =
        has_original.then(|| OriginalRecipient { kind: kind.into(), address: address.into() });
    Some(Recipient { forward_path, notify, original })
}

#[cfg(test)]
mod tests;
