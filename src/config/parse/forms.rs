//! Read text of each form: addresses, ranges, names, domains, paths.
//!
//! In: text without its quotes. Out: the typed value, or what is wrong and what to write instead.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::base::limits::{
    GROUP_NAME_MAX, LABEL_FIELD_NAME_MAX, LIFETIME_LEAST, LIFETIME_MOST, SOURCE_NAME_MAX,
    WEIGHT_MAX,
};
use crate::base::share::Share;
use crate::base::window::Window;
use crate::config::options::{DomainPattern, EgressProxy, ProxyKind, Recipients, Upstream, User};
use crate::config::suggest;
use crate::config::units::{Wrong, parse_duration, show_duration};
use crate::egress::upstream;
use crate::mail::address::{Domain, Mailbox};
use crate::mail::campaigns::CampaignPattern;
use crate::mail::handling::TenantName;
use crate::mail::route::TlsLevel;
use crate::milter::{Address, NoAddress};
use crate::policy::recipients::Unverified;
use crate::policy::signing::Selector;
use crate::smtp::sasl::Name;

/// DNS over UDP and TCP.
const DNS_PORT: u16 = 53;

/// `192.0.2.1:25`, `[2001:db8::1]:25`.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let wrong = Wrong::new(format!("`{text}` is no address and port"));
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        let has_port = port.parse::<u16>().is_ok();
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => wrong.help(format!("add a port: \"{address}:2525\"")),
            Ok(IpAddr::V6(address)) => wrong.help(format!("add a port: \"[{address}]:2525\"")),
            Err(_) if has_port && matches!(host, "" | "*") => {
                wrong.help(format!("for every address write \"0.0.0.0:{port}\" or \"[::]:{port}\""))
            }
            Err(_) if has_port && host == "localhost" => {
                wrong.help(format!("write \"127.0.0.1:{port}\""))
            }
            Err(_) => wrong.help("write an IP address, a colon and a port, as \"127.0.0.1:2525\""),
        }
    })
}

/// A name, or `uid:gid`.
pub(super) fn user(text: &str) -> Result<User, Wrong> {
    let user = match text.split_once(':') {
        Some((uid, gid)) => match (uid.parse(), gid.parse()) {
            (Ok(uid), Ok(gid)) => User::Ids { uid, gid },
            (Err(_), _) | (_, Err(_)) => {
                let wrong = Wrong::new(format!("`{text}` is no `uid:gid`"));
                return Err(wrong.help("write two numbers, as \"990:990\", or a name"));
            }
        },
        None if text.is_empty() || text.bytes().all(|octet| octet.is_ascii_digit()) => {
            let wrong = Wrong::new(format!("`{text}` is no name of a user"));
            return Err(wrong.help("write a name, or two numbers, as \"990:990\""));
        }
        None => User::Name(text.into()),
    };
    if matches!(&user, User::Ids { uid: 0, .. }) || text == "root" {
        let wrong = Wrong::new("root would keep every right that this is to give up");
        return Err(wrong.help("name a user that has nothing but the spool"));
    }
    Ok(user)
}

/// `192.0.2.1`, `192.0.2.1:53`, `[2001:db8::1]:53`.
pub(super) fn dns_server(text: &str) -> Result<SocketAddr, Wrong> {
    let bare = text.parse().map(|address: IpAddr| SocketAddr::new(address, DNS_PORT));
    let address = bare.or_else(|_| text.parse()).map_err(|_| {
        let wrong = Wrong::new(format!("`{text}` is no address of a DNS server"));
        wrong.help("write an IP address, with a port if it is not 53")
    })?;
    if address.port() == 0 || address.ip().is_unspecified() {
        return Err(Wrong::new(format!("nothing can be asked at `{text}`")));
    }
    Ok(address)
}

/// A local address to send from.
pub(super) fn source_address(text: &str) -> Result<IpAddr, Wrong> {
    let address: IpAddr =
        text.parse().map_err(|_| Wrong::new(format!("`{text}` is no IP address")))?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(Wrong::new(format!("nothing can be sent from `{text}`")));
    }
    Ok(address)
}

/// `192.0.2.0/24`, `2001:db8::/32`, or one address.
pub(super) fn address_range(text: &str) -> Result<IpNet, Wrong> {
    let single = IpAddr::from_str(text).map(IpNet::from);
    let range = single.or_else(|_| IpNet::from_str(text)).map_err(|_| {
        let wrong = Wrong::new(format!("`{text}` is no range of addresses"));
        wrong.help("write an address, a slash and a prefix length, as \"192.0.2.0/24\"")
    })?;
    if let IpAddr::V6(address) = range.addr()
        && address.to_ipv4_mapped().is_some()
    {
        let wrong = Wrong::new(format!("`{text}` is an IPv4 range inside IPv6"));
        return Err(wrong.help("write it as IPv4; a client that comes mapped counts as IPv4"));
    }
    if range.addr() != range.network() {
        let wrong = Wrong::new(format!("`{text}` has bits set after its prefix"));
        return Err(wrong.help(format!("did you mean \"{}\"?", range.trunc())));
    }
    Ok(range)
}

/// A name for EHLO: a host name or an address literal.
pub(super) fn host_name(text: &str) -> Result<Domain, Wrong> {
    Domain::parse(text).map_err(|_| {
        let wrong = Wrong::new(format!("`{text}` is no host name"));
        wrong.help("letters, digits and hyphens in labels joined by dots, as \"mail.example.com\"")
    })
}

/// A level of TLS to peers.
pub(super) fn tls_level(text: &str) -> Result<TlsLevel, Wrong> {
    TlsLevel::ALL.into_iter().find(|level| level.as_str() == text).ok_or_else(|| {
        let words = TlsLevel::ALL.map(TlsLevel::as_str);
        let wrong = Wrong::new(format!("`{text}` is not one of {}", words.join(", ")));
        suggest::nearest(text, words.into_iter(), wrong)
    })
}

/// `local@domain`.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, Wrong> {
    Mailbox::parse(text, false).map_err(|error| {
        Wrong::new(format!("`{text}` is no mail address: {error}"))
            .help("write it without brackets, as \"postmaster@example.com\"")
    })
}

/// `example.com`, or `.example.com` for all below it.
pub(super) fn domain_pattern(text: &str) -> Result<DomainPattern, Wrong> {
    if let Some(below) = text.strip_prefix("*.") {
        let wrong = Wrong::new(format!("`{text}`: there is no `*` in a domain"));
        return Err(wrong.help(format!("for every domain below it write \".{below}\"")));
    }
    if matches!(text, "*" | "default" | ".") {
        let wrong = Wrong::new(format!("`{text}` is no domain"));
        return Err(wrong.help("`default_route` says where everything else goes"));
    }
    let (name, is_suffix) = match text.strip_prefix('.') {
        Some(name) => (name, true),
        None => (text, false),
    };
    let domain = Domain::parse(name).map_err(|_| {
        let wrong = Wrong::new(format!("`{text}` is no domain"));
        match text.rsplit_once('@') {
            Some((_, domain)) => wrong.help(format!("write the domain alone: \"{domain}\"")),
            None => wrong.help("write \"example.com\", or \".example.com\" for all below it"),
        }
    })?;
    match (is_suffix, domain.literal()) {
        (false, _) => Ok(DomainPattern::Exact(domain)),
        (true, None) => Ok(DomainPattern::Suffix(domain)),
        (true, Some(_)) => Err(Wrong::new(format!("nothing is below the address `{name}`"))),
    }
}

/// A domain to sign for.
pub(super) fn signing_domain(text: &str) -> Result<Domain, Wrong> {
    let wrong = Wrong::new(format!("`{text}` is no domain to sign for"));
    let below = text.strip_prefix('.').or_else(|| text.strip_prefix("*."));
    match (below, Domain::parse(text).ok().filter(|domain| domain.literal().is_none())) {
        (_, Some(domain)) => Ok(domain),
        (Some(name), None) => {
            Err(wrong
                .help(format!("write \"{name}\", and `subdomains = \"yes\"` for all below it")))
        }
        (None, None) => Err(wrong.help("write its name, as \"example.com\"")),
    }
}

/// The name of a key in DNS.
pub(super) fn selector(text: &str) -> Result<Selector, Wrong> {
    Selector::parse(text).ok_or_else(|| {
        let wrong = Wrong::new(format!("`{text}` is no selector"));
        wrong.help("letters, digits and hyphens, as \"2026-11\"")
    })
}

/// Where a milter listens.
pub(super) fn milter_address(text: &str) -> Result<Address, Wrong> {
    text.parse().map_err(|NoAddress| {
        let wrong = Wrong::new(format!("`{text}` is no address of a milter"));
        wrong.help("an IP address and a port, as \"127.0.0.1:11332\", or \"unix:/run/x.sock\"")
    })
}

/// The name of a milter.
pub(super) fn milter_name(text: &str) -> Result<String, Wrong> {
    if !is_plain_name(text) {
        let what =
            format!("`{text}` is no name: 1 to {GROUP_NAME_MAX} letters, digits, `-`, `_`, `.`");
        return Err(Wrong::new(what));
    }
    Ok(text.to_owned())
}

/// A customer's name.
pub(super) fn tenant_name(text: &str) -> Result<TenantName, Wrong> {
    let wrong = |error| Wrong::new(format!("`{text}` is no name of a tenant: {error}"));
    TenantName::parse(text).map_err(wrong)
}

/// What a campaign is called, or how its name begins.
pub(super) fn campaign_pattern(text: &str) -> Result<CampaignPattern, Wrong> {
    let wrong = |error| Wrong::new(format!("`{text}` is no name of a campaign: {error}"));
    CampaignPattern::parse(text).map_err(wrong)
}

/// When mail may be tried, by the clocks of a zone that there is.
pub(super) fn window(text: &str, zone: &str) -> Result<Window, Wrong> {
    Window::parse(text, zone).map_err(|error| Wrong::new(error.to_string()))
}

/// The name of a time zone.
pub(super) fn time_zone(text: &str) -> Result<String, Wrong> {
    // Any window shows whether there is such a zone.
    match Window::parse("00:00-24:00", text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Wrong::new(error.to_string()).help("write it as \"Europe/Berlin\"")),
    }
}

/// A span of time that messages live.
pub(super) struct Lifetime(pub(super) Duration);

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_duration(self.0))
    }
}

/// How long messages live.
pub(super) fn lifetime(text: &str) -> Result<Lifetime, Wrong> {
    let lifetime = parse_duration(text)?;
    if (LIFETIME_LEAST..=LIFETIME_MOST).contains(&lifetime) {
        return Ok(Lifetime(lifetime));
    }
    let range = [LIFETIME_LEAST, LIFETIME_MOST].map(show_duration).join(" to ");
    Err(Wrong::new(format!("`{text}` is out of range: {range}")))
}

/// A part of what there is, as `50%`, or so many.
pub(super) fn share(text: &str) -> Result<Share, Wrong> {
    let wrong =
        || Wrong::new(format!("`{text}` is no share: 1% to 100%, or a number of 1 or more"));
    let (figure, is_percent) = text.strip_suffix('%').map_or((text, false), |one| (one, true));
    let figure: u32 = figure.trim().parse().map_err(|_| wrong())?;
    match (figure, is_percent) {
        (1..=100, true) => Ok(Share::Percent(figure)),
        (1.., false) => Ok(Share::Count(figure)),
        _ => Err(wrong()),
    }
}

/// The name of a header field (RFC 5322 §3.6.8).
pub(super) fn field_name(text: &str) -> Result<String, Wrong> {
    let is_name = text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':');
    if !is_name || !(1..=LABEL_FIELD_NAME_MAX).contains(&text.len()) {
        let what = format!("`{text}` is no name of a header field: 1 to {LABEL_FIELD_NAME_MAX}");
        return Err(Wrong::new(what + " printable octets but `:`"));
    }
    Ok(text.to_owned())
}

/// The name that a client logs in under.
pub(super) fn identity(text: &str) -> Result<Name, Wrong> {
    Name::prepare(text.as_bytes())
        .map_err(|_| Wrong::new(format!("`{text}` is no name that anyone can log in under")))
}

fn is_plain_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=GROUP_NAME_MAX).contains(&text.len()) && text.chars().all(plain)
}

/// The name of a source or a pool; an address is one too.
pub(super) fn source_name(text: &str) -> Result<String, Wrong> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if !(1..=SOURCE_NAME_MAX).contains(&text.len()) || !text.chars().all(plain) {
        let what = format!("`{text}` is no name: 1 to {SOURCE_NAME_MAX} letters, digits, `-_.:`");
        return Err(Wrong::new(what));
    }
    Ok(text.to_owned())
}

/// A source and its weight in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WeightedSource {
    pub(super) name: String,
    pub(super) weight: u32,
}

impl fmt::Display for WeightedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.weight {
            1 => f.write_str(&self.name),
            weight => write!(f, "{}*{weight}", self.name),
        }
    }
}

/// `name`, or `name*3`.
pub(super) fn weighted_source(text: &str) -> Result<WeightedSource, Wrong> {
    let (name, weight) = text.split_once('*').unwrap_or((text, "1"));
    let weight = weight.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    let wrong =
        || Wrong::new(format!("the weight of `{text}` is no number from 1 to {WEIGHT_MAX}"));
    Ok(WeightedSource { name: source_name(name)?, weight: weight.ok_or_else(wrong)? })
}

/// `socks5://192.0.2.1:1080`, `haproxy://[2001:db8::1]:2525`.
pub(super) fn egress_proxy(text: &str) -> Result<EgressProxy, Wrong> {
    let (word, at) = text.split_once("://").unwrap_or((text, ""));
    let kind = match word {
        "socks5" => ProxyKind::Socks(None),
        "haproxy" => ProxyKind::Header,
        _ => {
            let wrong = Wrong::new(format!("`{text}` is no proxy"));
            return Err(
                wrong.help("write \"socks5://192.0.2.1:1080\" or \"haproxy://192.0.2.1:2525\"")
            );
        }
    };
    if at.contains('@') {
        let wrong = Wrong::new("a password in a configuration is everybody's");
        return Err(wrong.help("write `name:password` into a file, and its path as `proxy_login`"));
    }
    let at: SocketAddr = at.parse().map_err(|_| {
        let wrong = Wrong::new(format!("`{at}` is no address and port"));
        wrong.help("a proxy is known by its address: names are not looked up")
    })?;
    Ok(EgressProxy { at, kind })
}

/// A directory or a file.
pub(super) fn path(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.contains('\0') {
        return Err(Wrong::new("this is no path"));
    }
    if text.starts_with("~/") || text.contains('$') {
        let wrong = Wrong::new(format!("`{text}`: nothing is expanded here"));
        return Err(wrong.help("write the whole path"));
    }
    Ok(text.to_owned())
}

/// The name of an upstream group.
pub(super) fn group_name(text: &str) -> Result<String, Wrong> {
    if !is_plain_name(text) {
        let what =
            format!("`{text}` is no name: 1 to {GROUP_NAME_MAX} letters, digits, `-`, `_`, `.`");
        return Err(Wrong::new(what));
    }
    if text.eq_ignore_ascii_case("mx") {
        return Err(Wrong::new("`mx` means delivery to MX hosts, so no group may have that name"));
    }
    Ok(text.to_owned())
}

/// `mx` or a group's name, which is looked up later.
pub(super) fn route_target(text: &str) -> Result<String, Wrong> {
    if text == "mx" { Ok(text.to_owned()) } else { group_name(text) }
}

/// `any`, `callout`, or the path of a file.
pub(super) fn recipients(text: &str) -> Result<Recipients, Wrong> {
    match text {
        "any" => Ok(Recipients::Any),
        "callout" => Ok(Recipients::Callout(Unverified::default())),
        _ if text.contains('/') => Ok(Recipients::List(Path::new(&path(text)?).into())),
        _ => {
            let wrong = Wrong::new(format!("`{text}` is neither `any`, `callout` nor a path"));
            Err(wrong.help(format!("a path has a `/` in it: \"./{text}\"")))
        }
    }
}

/// What is done about a recipient of whom nothing is known.
pub(super) fn unverified(text: &str) -> Result<Unverified, Wrong> {
    Unverified::ALL.into_iter().find(|one| one.to_string() == text).ok_or_else(|| {
        let words = Unverified::ALL.map(|one| one.to_string());
        let wrong = Wrong::new(format!("`{text}` is not one of {}", words.join(", ")));
        suggest::nearest(text, words.iter().map(String::as_str), wrong)
    })
}

/// A list of upstream relays, as written and as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UpstreamList {
    text: String,
    pub(super) upstreams: Vec<Upstream>,
}

impl fmt::Display for UpstreamList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `host[:port][*weight]`, joined by `,` and `;`.
pub(super) fn upstream_list(text: &str) -> Result<UpstreamList, Wrong> {
    if text.trim().is_empty() {
        return Err(Wrong::new("the group has no upstream relay").help("name a host"));
    }
    let group = upstream::Group::parse(text).map_err(|error| Wrong::new(error.to_string()))?;
    let upstream = |member: &upstream::Member| Upstream {
        host: member.host.clone(),
        weight: member.weight,
        preference: member.preference,
    };
    let upstreams = group.members().iter().map(upstream).collect();
    Ok(UpstreamList { text: text.to_owned(), upstreams })
}

/// What the TOML parser says, and what it mostly means.
pub(super) fn syntax(message: &str, text: &str, span: Option<Range<usize>>) -> Wrong {
    let wrong = Wrong::new(message);
    let at = span.map_or(0, |span| span.start).min(text.len());
    let line_start = text.as_bytes()[..at].iter().rposition(|byte| *byte == b'\n');
    let line = text.get(line_start.map_or(0, |before| before + 1)..).unwrap_or_default();
    let line = line.lines().next().unwrap_or_default();
    let value = line.split_once('=').map(|(_, value)| value.trim());
    let bare = |value: &&str| {
        let is_word =
            value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'[]{}#,".contains(&byte));
        !value.is_empty() && is_word
    };
    match value.filter(bare) {
        Some(value) => wrong.help(format!("text stands in quotes: \"{value}\"")),
        None => wrong,
    }
}
