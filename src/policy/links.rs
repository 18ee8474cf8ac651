//! Seal what a link in a message is for, so that nobody else can read it or make one up.
//!
//! In: secrets, a message, whom it is for, and what a link is to do. Out: a URL; and of a URL's
//! path that was asked for, what it is for, or that it is none of ours. Invariant: where a link
//! leads is in it, sealed for the host that it names, so that no link leads anywhere that this node
//! did not put into it; of a recipient, a tenant, a campaign or a URL nothing can be read. Lives
//! on: all shards and whoever answers links, shared; a reload makes another.
//!
//! ```text
//! octets  what a token is, in base64url without padding (RFC 4648 §5)
//!      1  form: 64, and 1 to unsubscribe, 2 for a picture, 3 for a link
//!      8  the message's id
//!      n  AES-256-GCM-SIV (RFC 8452) of: seconds since 1970 in 4 octets, the recipient, NUL, the
//!         tenant, NUL, the campaign, NUL, the URL; its tag is over host, form and id too
//! ```
//! The nonce is form and id, so none has to be sent: a message's links have one nonce, and GCM-SIV,
//! other than GCM, then shows no more than whether two of them are the same. So a token is 25
//! octets longer than what it says, and a third: some 130 characters to unsubscribe.

mod coding;
mod header;
mod html;
pub mod letter;
mod parts;
pub mod visit;
pub mod visits;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::base::ids::MessageId;
use crate::base::limits::{LINK_TARGET_MAX, LINK_TOKEN_MAX};
use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::mail::handling::{CampaignName, TenantName};
use crate::mail::visit::{About, Action};
use crate::policy::verp::Secrets;

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Its message.
    pub about: About,
    /// What it does.
    pub action: Action,
}

const FORM: u8 = 64;
/// Octets that are not sealed.
const CLEAR: usize = 9;

/// What stands for an action in a token.
fn number(action: &Action) -> u8 {
    match action {
        Action::Unsubscribe => 1,
        Action::Open => 2,
        Action::Click(_) => 3,
    }
}

/// The beginning of an action's paths.
fn path_of(action: &Action) -> &'static str {
    match action {
        Action::Unsubscribe => "/u/",
        Action::Open => "/o/",
        Action::Click(_) => "/c/",
    }
}

/// Makes links, and reads them.
#[derive(Debug)]
pub struct Links {
    /// The first one seals, all of them open.
    keys: Vec<LessSafeKey>,
}

impl Links {
    /// By these secrets. What they sign elsewhere is no link, and links are nothing elsewhere.
    pub fn new(secrets: &Secrets) -> Self {
        let key = |octets: &[u8]| {
            let key = UnboundKey::new(&AES_256_GCM_SIV, octets);
            LessSafeKey::new(key.expect("SHA-256 has the octets of an AES-256 key"))
        };
        let keys = secrets.derive(b"relay-fast link");
        Self { keys: keys.map(|octets| key(octets.as_ref())).collect() }
    }

    /// The URL of a link at `host`, which is in lower case.
    pub fn url(&self, host: &str, about: &About, action: &Action) -> String {
        let clear = clear(number(action), about.message);
        let target = match action {
            Action::Unsubscribe | Action::Open => "",
            Action::Click(url) => url,
        };
        let seconds = u32::try_from(about.taken.0 / 1_000).unwrap_or(0);
        let mut text = seconds.to_be_bytes().to_vec();
        let recipient = about.recipient.as_ref().map_or("", Mailbox::as_str);
        let tenant = about.tenant.as_ref().map_or("", TenantName::as_str);
        let campaign = about.campaign.as_ref().map_or("", CampaignName::as_str);
        text.extend_from_slice([recipient, tenant, campaign, target].join("\0").as_bytes());
        let sealed =
            self.keys[0].seal_in_place_append_tag(nonce(&clear), aad(host, &clear), &mut text);
        sealed.expect("some thousand octets");
        let token = BASE64.encode([&clear[..], &text].concat());
        format!("https://{host}{}{token}", path_of(action))
    }

    /// What the link with this path at `host` says; `None`: it is none of ours, or not for there.
    pub fn read(&self, host: &str, path: &str) -> Option<Link> {
        let token = path.get(3..).filter(|token| token.len() <= LINK_TOKEN_MAX)?;
        let octets = BASE64.decode(token).ok()?;
        let (clear, sealed) = octets.split_first_chunk::<CLEAR>()?;
        let opened = self.keys.iter().find_map(|key| {
            let mut text = sealed.to_vec();
            let length = key.open_in_place(nonce(clear), aad(host, clear), &mut text).ok()?.len();
            text.truncate(length);
            Some(text)
        })?;
        let link = read_sealed(clear, &opened)?;
        (path_of(&link.action) == &path[..3]).then_some(link)
    }
}

/// Whether a link of ours may lead there: a URL as RFC 3986 has it, of the web, and not too long.
pub fn may_lead_to(url: &str) -> bool {
    let scheme = ["https://", "http://"].iter().find(|scheme| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let Some(scheme) = scheme.filter(|_| url.len() <= LINK_TARGET_MAX) else { return false };
    let rest = &url[scheme.len()..];
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    // Whoever writes a name before the host wants to be taken for somebody else, or logs in.
    let is_plain = !authority.is_empty() && !authority.contains(['@', '\\']);
    is_plain
        && url.bytes().all(|octet| octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet))
}

fn clear(number: u8, message: MessageId) -> [u8; CLEAR] {
    let mut clear = [FORM | number; CLEAR];
    clear[1..].copy_from_slice(&message.0.to_be_bytes());
    clear
}

fn nonce(clear: &[u8; CLEAR]) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..CLEAR].copy_from_slice(clear);
    Nonce::assume_unique_for_key(nonce)
}

fn aad(host: &str, clear: &[u8; CLEAR]) -> Aad<Vec<u8>> {
    Aad::from([host.as_bytes(), b"\0", clear].concat())
}

fn read_sealed(clear: &[u8; CLEAR], opened: &[u8]) -> Option<Link> {
    let (seconds, text) = opened.split_first_chunk::<4>()?;
    let mut parts = std::str::from_utf8(text).ok()?.splitn(4, '\0');
    let mut part = || parts.next();
    let (recipient, tenant, campaign, target) = (part()?, part()?, part()?, part()?);
    let action = match clear[0] ^ FORM {
        1 if target.is_empty() => Action::Unsubscribe,
        2 if target.is_empty() => Action::Open,
        3 if may_lead_to(target) => Action::Click(target.into()),
        _ => return None,
    };
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let about = About {
        message: MessageId(u64::from_be_bytes(*clear[1..].first_chunk()?)),
        taken: WallTime(i64::from(u32::from_be_bytes(*seconds)) * 1_000),
        recipient: some(recipient).map(|it| Mailbox::parse(&it, true)).transpose().ok()?,
        tenant: some(tenant).map(|it| TenantName::parse(&it)).transpose().ok()?,
        campaign: some(campaign).map(|it| CampaignName::parse(&it)).transpose().ok()?,
    };
    Some(Link { about, action })
}

#[cfg(test)]
mod tests;
