//! Write an id that says which message and whom it was for, to us and to nobody else.
//!
//! A reverse-path has no room for a recipient; a header field has. And a provider that tells of a
//! complaint may keep to itself whose it is (RFC 6590), but gives back the id: so that is in it.
//!
//! ```text
//! octets  what is sealed
//!      1  form: 32
//!      8  the message's id
//!      2  the day, counted from 1970-01-01
//!      n  AES-256-GCM-SIV (RFC 8452) of the recipient, NUL and the tenant's name, then NUL and the
//!         campaign's if there is one; its 128 bits of tag are over use, domain and all of the
//!         above too
//! ```
//! The nonce is the message's id: of one message and recipient there is one text, and where two
//! are sealed under one nonce, GCM-SIV shows whether they are the same, and nothing more.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;

use crate::base::ids::MessageId;
use crate::base::limits::VERP_SEALED_MAX;
use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::mail::handling::{CampaignName, TenantName};
use crate::policy::verp::{TokenError, Use, Verp, base32, day};

const SEALED: u8 = 32;
/// Octets that are not sealed.
const CLEAR: usize = 11;

/// What an id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The message.
    pub message: MessageId,
    /// Whom it was for.
    pub recipient: Mailbox,
    /// Whose it was.
    pub tenant: Option<TenantName>,
    /// What it was sent for.
    pub campaign: Option<CampaignName>,
}

/// What seals, made of a secret.
pub(super) fn key(secret: &hmac::Key) -> LessSafeKey {
    let octets = hmac::sign(secret, b"relay-fast seal");
    let key = UnboundKey::new(&AES_256_GCM_SIV, octets.as_ref());
    LessSafeKey::new(key.expect("SHA-256 has the octets of an AES-256 key"))
}

impl Verp {
    /// An id.
    pub fn seal(&self, used: Use, sealed: &Sealed, now: WallTime) -> String {
        let mut clear = vec![SEALED];
        clear.extend_from_slice(&sealed.message.0.to_be_bytes());
        clear.extend_from_slice(&day(now).to_be_bytes());
        let tenant = sealed.tenant.as_ref().map_or("", TenantName::as_str);
        let mut text = format!("{}\0{tenant}", sealed.recipient).into_bytes();
        if let Some(campaign) = &sealed.campaign {
            text.push(0);
            text.extend_from_slice(campaign.as_str().as_bytes());
        }
        let aad = Aad::from(self.bound_to(used, &clear));
        let (key, nonce) = (self.secrets.seals().next(), nonce(sealed.message));
        let key = key.expect("there is a first secret");
        key.seal_in_place_append_tag(nonce, aad, &mut text).expect("a few hundred octets");
        clear.append(&mut text);
        base32::write(&clear)
    }

    /// What an id says.
    pub fn open(&self, used: Use, id: &str, now: WallTime) -> Result<Sealed, TokenError> {
        let octets = Some(id).filter(|id| id.len() <= VERP_SEALED_MAX).and_then(base32::read);
        let octets = octets.filter(|octets| octets.len() > CLEAR && octets[0] == SEALED);
        let octets = octets.ok_or(TokenError::Forged)?;
        let (clear, sealed) = octets.split_at(CLEAR);
        let (message, signed_on) = clear[1..].split_first_chunk::<8>().ok_or(TokenError::Forged)?;
        let message = MessageId(u64::from_be_bytes(*message));
        let opened = self.secrets.seals().find_map(|key| {
            let aad = Aad::from(self.bound_to(used, clear));
            let mut text = sealed.to_vec();
            let opened = key.open_in_place(nonce(message), aad, &mut text).ok()?;
            String::from_utf8(opened.to_vec()).ok()
        });
        let text = opened.ok_or(TokenError::Forged)?;
        let (recipient, whose) = text.split_once('\0').ok_or(TokenError::Forged)?;
        let (tenant, campaign) = whose.split_once('\0').unwrap_or((whose, ""));
        let recipient = Mailbox::parse(recipient, true).map_err(|_| TokenError::Forged)?;
        let signed_on = signed_on.try_into().map(u16::from_be_bytes);
        let age = day(now).saturating_sub(signed_on.map_err(|_| TokenError::Forged)?);
        if age > self.days {
            return Err(TokenError::Expired);
        }
        let tenant = TenantName::parse(tenant).ok();
        Ok(Sealed { message, recipient, tenant, campaign: CampaignName::parse(campaign).ok() })
    }

    /// What an id is good for nothing else than.
    fn bound_to(&self, used: Use, clear: &[u8]) -> Vec<u8> {
        [used.label(), self.address.domain().as_str().as_bytes(), b"\0", clear].concat()
    }
}

fn nonce(message: MessageId) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&message.0.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::policy::verp::Secrets;

    const NOW: WallTime = WallTime(1_795_491_661_007);

    fn verp(secrets: &str, domain: &str) -> Verp {
        let address = Mailbox::parse(&format!("b@{domain}"), false).expect("an address");
        let secrets = Arc::new(Secrets::parse(secrets).expect("secrets"));
        Verp::new(address, secrets, Duration::from_secs(30 * 86_400)).expect("it fits")
    }

    fn sealed(recipient: &str, tenant: Option<&str>) -> Sealed {
        Sealed {
            message: MessageId(77),
            recipient: Mailbox::parse(recipient, true).expect("an address"),
            tenant: tenant.map(|name| TenantName::parse(name).expect("a name")),
            campaign: None,
        }
    }

    fn of_campaign(sealed: Sealed, campaign: &str) -> Sealed {
        Sealed { campaign: CampaignName::parse(campaign).ok(), ..sealed }
    }

    #[test]
    fn an_id_comes_back_and_shows_nothing() {
        let secret = "a".repeat(40);
        let ours = verp(&secret, "b.example");
        let long = format!("{}@{}.example", "u".repeat(120), "d".repeat(60));
        for sealed in [
            sealed("user@x.example", None),
            sealed("us\u{e9}r@x.example", Some("acme")),
            sealed(&long, Some(&"t".repeat(64))),
            of_campaign(sealed("user@x.example", Some("acme")), "news/2026"),
            of_campaign(sealed(&long, Some(&"t".repeat(64))), &"c".repeat(128)),
        ] {
            let id = ours.seal(Use::FeedbackId, &sealed, NOW);
            assert!(id.len() <= VERP_SEALED_MAX && id.bytes().all(|o| o.is_ascii_alphanumeric()));
            assert_eq!(ours.open(Use::FeedbackId, &id, NOW), Ok(sealed.clone()));
            let later = verp(&format!("{}\n{secret}", "z".repeat(40)), "b.example");
            assert_eq!(later.open(Use::FeedbackId, &id, NOW), Ok(sealed.clone()));
            let late = NOW + Duration::from_secs(31 * 86_400);
            assert_eq!(ours.open(Use::FeedbackId, &id, late), Err(TokenError::Expired));
            let octets = base32::read(&id).expect("base32");
            let text = sealed.recipient.as_str().as_bytes();
            assert!(!octets.windows(4).any(|four| text.starts_with(four)));
        }
    }

    #[test]
    fn every_flipped_bit_other_secret_domain_or_use_is_refused() {
        let secret = "a".repeat(40);
        let ours = verp(&secret, "b.example");
        let id = ours.seal(Use::FeedbackId, &sealed("user@x.example", Some("acme")), NOW);
        let octets = base32::read(&id).expect("base32");
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let opened = ours.open(Use::FeedbackId, &base32::write(&flipped), NOW);
            assert_eq!(opened, Err(TokenError::Forged), "bit {bit}");
        }
        for end in 0..id.len() {
            assert_eq!(ours.open(Use::FeedbackId, &id[..end], NOW), Err(TokenError::Forged));
        }
        let others = [verp(&"b".repeat(40), "b.example"), verp(&secret, "c.example")];
        assert!(others.iter().all(|other| other.open(Use::FeedbackId, &id, NOW).is_err()));
        assert_eq!(ours.open(Use::ReversePath, &id, NOW), Err(TokenError::Forged));
        assert_eq!(ours.check(Use::FeedbackId, &id, NOW), Err(TokenError::Forged));
    }
}
