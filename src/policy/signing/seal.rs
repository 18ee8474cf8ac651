//! Seal what a relay passes on, so that those behind it can believe its results (ARC, RFC 8617).
//!
//! In: what verification came to, the header section as it leaves, the hash of the body. Out: the
//! three fields of one more ARC set, as [`Unsigned`]: two operations with a private key, the second
//! of which needs what the first made. Invariant: a chain that was closed as failed is not
//! continued, nor one that is as long as it may be; a failed one is closed by one more set, which
//! vouches for itself alone (§5.1.2).

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, Digest, SHA256};
use memchr::memchr;

use crate::base::limits::{ARC_SETS_MAX, PREFIX_MAX, RESULTS_FIELD_MAX, SIGNATURE_FIELD_MAX};
use crate::base::time::WallTime;
use crate::policy::canonical::header::{Field, fields, write_relaxed};
use crate::policy::signing::field::{Draft, Unsigned, arc_signature};
use crate::policy::signing::signers::Signer;

// Half of the prefix is left to the other fields in it.
const _: () = assert!(RESULTS_FIELD_MAX + 2 * SIGNATURE_FIELD_MAX <= PREFIX_MAX / 2);

/// What verification says of the chain that a message came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// There is none.
    None,
    /// All of it is right.
    Pass,
    /// It is broken.
    Fail,
}

impl Chain {
    /// As `cv=` has it (RFC 8617 §4.1.3).
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

/// A set that a message is to get.
#[derive(Debug)]
pub struct Seal {
    /// Who seals.
    pub signer: Arc<Signer>,
    /// The chain so far.
    pub chain: Chain,
    /// The value of our `Authentication-Results:` field, with its CRLF.
    pub results: Vec<u8>,
}

/// The fields of a set, in the order in which they are sealed.
const NAMES: [&str; 3] = ["ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"];

impl Seal {
    /// What is to be signed of a message with this header section and body; nothing where its chain
    /// is not to be continued.
    pub fn compose(self, header: &[u8], body: &Digest, now: WallTime) -> Unsigned {
        let fields: Vec<Field<'_>> = fields(header).collect();
        let sets = Sets::of(&fields);
        let instance = sets.last + 1;
        if sets.is_closed || instance > ARC_SETS_MAX {
            return Unsigned::default();
        }
        let Self { signer, chain, results } = self;
        let Some(signature) = arc_signature(&fields, body, &signer, instance, now) else {
            return Unsigned::default();
        };
        let mut own = format!("{}: i={instance};", NAMES[0]).into_bytes();
        own.extend_from_slice(&results);
        let mut covered = Vec::new();
        if chain == Chain::Pass {
            sets.in_order(&fields).for_each(|field| write_relaxed(field, &mut covered));
        }
        if let Some(field) = Field::of(&own) {
            write_relaxed(&field, &mut covered);
        }
        let mut hash = Context::new(&SHA256);
        hash.update(&covered);
        let seal = Draft::seal(seal_text(&signer, chain, instance, now), signer, hash);
        Unsigned::of_set(own, signature, seal)
    }
}

fn seal_text(signer: &Signer, chain: Chain, instance: u32, now: WallTime) -> String {
    let Signer { domain, selector, key, .. } = signer;
    let (algorithm, cv, seconds) = (key.algorithm().as_str(), chain.as_str(), now.0 / 1_000);
    let mut text = String::with_capacity(256);
    write!(
        text,
        "{}: i={instance}; a={algorithm}; t={seconds}; cv={cv};\r\n\td={domain}; s={selector};\r\n\
         \tb=",
        NAMES[2]
    )
    .expect("memory takes every write");
    text
}

/// The sets that a message has.
struct Sets {
    /// The highest instance.
    last: u32,
    /// Whether that one says that the chain is broken.
    is_closed: bool,
}

impl Sets {
    fn of(fields: &[Field<'_>]) -> Self {
        let ours = || fields.iter().filter(|field| NAMES.iter().any(|name| field.is(name)));
        let last = ours().filter_map(|field| number(field)).max().unwrap_or(0);
        let says_fail = |field: &&Field<'_>| {
            field.is(NAMES[2])
                && number(field) == Some(last)
                && tag(field.value, b"cv").is_some_and(|value| value.eq_ignore_ascii_case(b"fail"))
        };
        Self { last, is_closed: ours().any(|field| says_fail(&field)) }
    }

    /// Their fields, set by set.
    fn in_order<'f>(
        &self,
        fields: &'f [Field<'f>],
    ) -> impl Iterator<Item = &'f Field<'f>> + use<'f> {
        (1..=self.last).flat_map(move |instance| {
            NAMES.iter().filter_map(move |name| {
                fields.iter().find(|field| field.is(name) && number(field) == Some(instance))
            })
        })
    }
}

/// The set that a field is of.
fn number(field: &Field<'_>) -> Option<u32> {
    std::str::from_utf8(tag(field.value, b"i")?).ok()?.parse().ok()
}

/// The value of a tag (RFC 6376 §3.2), without blanks around it.
fn tag<'v>(value: &'v [u8], name: &[u8]) -> Option<&'v [u8]> {
    value.split(|octet| *octet == b';').find_map(|tag| {
        let equals = memchr(b'=', tag)?;
        (tag[..equals].trim_ascii() == name).then(|| tag[equals + 1..].trim_ascii())
    })
}
