//! Read what comes in: listeners, limits, deadlines.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::flags::Flags;
use crate::config::knob::Knob;
use crate::config::knobs;
use crate::config::options::{
    AdminAddress, CertificateFiles, Deadlines, Limits, LineEndings, Listener,
};
use crate::config::parse::{auth, default_text, forms};
use crate::config::problem::Place;
use crate::config::reader::{FlagValue, Given, Reader, Section};
use crate::config::units::{Wrong, show_size};
use crate::mail::durability::Durability;
use crate::policy::authenticity::Mode;
use crate::policy::checks;
use crate::smtp::server::{Auth, Security};

/// What comes in.
pub(super) struct Inbound {
    pub(super) listeners: Vec<Listener>,
    pub(super) certificates: Vec<CertificateFiles>,
    pub(super) credentials: Option<PathBuf>,
    pub(super) limits: Limits,
    pub(super) deadlines: Deadlines,
}

/// A listener with the places that contradictions are shown at.
struct Draft {
    address: Given<SocketAddr>,
    relay_for: Vec<Given<IpNet>>,
    proxy_from: Vec<IpNet>,
    xclient_from: Vec<IpNet>,
    security: Security,
    client_authorities: Option<Given<String>>,
    checks: Option<checks::Mode>,
    verify: Option<Mode>,
    auth: Option<Auth>,
    offers_priorities: bool,
    offers_deliver_by: bool,
    hold: Duration,
    line_endings: LineEndings,
    durability: Durability,
    sessions: u32,
    message_bytes: Given<u64>,
}

/// Who may relay where nobody says otherwise; `LISTENER_RELAY_FOR` shows it.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

pub(super) fn read<'d>(
    reader: &mut Reader<'_>,
    root: &Section<'d>,
    flags: &'d Flags,
    admin: &[Given<AdminAddress>],
) -> Inbound {
    let drafts = listeners(reader, root, flags);
    check_addresses(reader, &drafts, admin);
    let certificates = certificates(reader, root);
    check_tls(reader, &drafts, &certificates);
    let section = reader.table(root, "auth");
    let credentials = reader.text(&section, &knobs::AUTH_CREDENTIALS, None, forms::path);
    for draft in &drafts {
        if let Some(auth) = draft.auth {
            let place = draft.address.place_or(&Place::Machine);
            auth::check(reader, place, auth, draft.security, credentials.is_some());
        }
    }
    let section = reader.table(root, "limits");
    let limits = limits(reader, &section, &drafts);
    let section = reader.table(root, "deadlines");
    let deadlines = Deadlines {
        command: reader.duration(&section, &knobs::DEADLINE_COMMAND).value,
        content_block: reader.duration(&section, &knobs::DEADLINE_CONTENT_BLOCK).value,
        content: reader.duration(&section, &knobs::DEADLINE_CONTENT).value,
        session: reader.duration(&section, &knobs::DEADLINE_SESSION).value,
    };
    let listeners = drafts.into_iter().map(|draft| Listener {
        address: draft.address.value,
        relay_for: draft.relay_for.into_iter().map(|given| given.value).collect(),
        proxy_from: draft.proxy_from,
        xclient_from: draft.xclient_from,
        security: draft.security,
        client_authorities: draft.client_authorities.map(|given| PathBuf::from(given.value)),
        checks: draft.checks,
        verify: draft.verify,
        auth: draft.auth.unwrap_or_default(),
        offers_priorities: draft.offers_priorities,
        offers_deliver_by: draft.offers_deliver_by,
        hold: draft.hold,
        line_endings: draft.line_endings,
        durability: draft.durability,
        sessions: draft.sessions,
        message_bytes: draft.message_bytes.value,
    });
    let credentials = credentials.map(|given| PathBuf::from(given.value));
    Inbound { listeners: listeners.collect(), certificates, credentials, limits, deadlines }
}

/// The file's listeners; `--listen` replaces them all; without either, one on loopback.
fn listeners<'d>(reader: &mut Reader<'_>, root: &Section<'d>, flags: &'d Flags) -> Vec<Draft> {
    let before = reader.in_force.len();
    let sections = reader.tables(root, "listener", "listener[]");
    let mut drafts = Vec::new();
    for section in &sections {
        reader.check_present(section, &knobs::LISTENER_ADDRESS);
        drafts.push(listener(reader, section, None));
    }
    if !flags.listen.is_empty() {
        reader.in_force.truncate(before);
        drafts.clear();
        for (number, text) in flags.listen.iter().enumerate() {
            let flag = FlagValue { name: "--listen", text };
            let section = Section::empty("listener[]", format!("listener[{number}]"));
            drafts.push(listener(reader, &section, Some(flag)));
        }
    }
    if drafts.is_empty() {
        let section = Section::empty("listener[]", String::from("listener[0]"));
        drafts.push(listener(reader, &section, None));
    }
    drafts
}

fn listener<'d>(
    reader: &mut Reader<'_>,
    section: &Section<'d>,
    flag: Option<FlagValue<'d>>,
) -> Draft {
    let address = reader.text(section, &knobs::LISTENER_ADDRESS, flag, forms::socket_address);
    let mut address =
        address.unwrap_or_else(|| default_text(reader, section, &knobs::LISTENER_ADDRESS));
    // What else is wrong with a listener whose address is none stands in the file all the same.
    if let (None, place @ Place::File(_)) = (&address.place, section.place()) {
        address.place = Some(place.clone());
    }
    let relay_for = relay_for(reader, section);
    let proxy_from = proxies(reader, section, &knobs::LISTENER_PROXY_FROM);
    let xclient_from = proxies(reader, section, &knobs::LISTENER_XCLIENT_FROM);
    let security = match reader.choice(section, &knobs::LISTENER_TLS) {
        "starttls" => Security::StartTls,
        "require" => Security::RequireStartTls,
        "implicit" => Security::Implicit,
        _ => Security::Clear,
    };
    let client_authorities = reader.text(section, &knobs::LISTENER_CLIENT_CA, None, forms::path);
    let checks = match reader.choice(section, &knobs::LISTENER_CHECKS) {
        "log" => Some(checks::Mode::Log),
        "reject" => Some(checks::Mode::Reject),
        _ => None,
    };
    let verify = match reader.choice(section, &knobs::LISTENER_VERIFY) {
        "monitor" => Some(Mode::Monitor),
        "tag" => Some(Mode::Tag),
        "reject" => Some(Mode::Reject),
        "quarantine" => Some(Mode::Quarantine),
        _ => None,
    };
    let auth = auth::read(reader, section);
    let offers_priorities = reader.choice(section, &knobs::LISTENER_PRIORITIES) == "offer";
    let offers_deliver_by = reader.choice(section, &knobs::LISTENER_DELIVER_BY) == "offer";
    let hold = reader.duration(section, &knobs::LISTENER_HOLD).value;
    let line_endings = match reader.choice(section, &knobs::LISTENER_LINE_ENDINGS) {
        "normalize" => LineEndings::Normalize,
        _ => LineEndings::Strict,
    };
    let durability = match reader.choice(section, &knobs::LISTENER_DURABILITY) {
        "memory" => Durability::Memory,
        _ => Durability::Commit,
    };
    let sessions = reader.count_u32(section, &knobs::LISTENER_SESSIONS);
    let message_bytes = reader.size(section, &knobs::LISTENER_MESSAGE_SIZE);
    Draft {
        address,
        relay_for,
        proxy_from,
        xclient_from,
        security,
        client_authorities,
        checks,
        verify,
        auth,
        offers_priorities,
        offers_deliver_by,
        hold,
        line_endings,
        durability,
        sessions,
        message_bytes,
    }
}

fn certificates(reader: &mut Reader<'_>, root: &Section<'_>) -> Vec<CertificateFiles> {
    let mut certificates = Vec::new();
    for section in reader.tables(root, "certificate", "certificate[]") {
        let chain = reader.required(&section, &knobs::CERTIFICATE_FILE, forms::path);
        let key = reader.required(&section, &knobs::CERTIFICATE_KEY, forms::path);
        let (Some(chain), Some(key)) = (chain, key) else { continue };
        certificates.push(CertificateFiles { chain: chain.value.into(), key: key.value.into() });
    }
    certificates
}

/// TLS without a certificate, or authorities where there is no TLS.
fn check_tls(reader: &mut Reader<'_>, drafts: &[Draft], certificates: &[CertificateFiles]) {
    for draft in drafts {
        let clear = draft.security == Security::Clear;
        if !clear && certificates.is_empty() {
            let wrong = Wrong::new("TLS needs a certificate, and there is none");
            let wrong = wrong.help("name its `file` and `key` in a [[certificate]]");
            reader.finder.add(draft.address.place_or(&Place::Machine), wrong);
        }
        if let (true, Some(authorities)) = (clear, &draft.client_authorities) {
            let wrong = Wrong::new("without TLS no client shows a certificate");
            let wrong = wrong.help("set this listener's `tls`");
            reader.finder.add(authorities.place_or(&Place::Machine), wrong);
        }
    }
}

fn relay_for(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<Given<IpNet>> {
    let knob = &knobs::LISTENER_RELAY_FOR;
    let ranges = reader.list(section, knob, forms::address_range).unwrap_or_else(|| {
        reader.note(section, knob, knob.default_text(), None);
        let range = |text: &str| text.parse().expect("a test reads every default");
        LOOPBACK.map(|text| Given { value: range(text), place: None }).into()
    });
    for range in &ranges {
        if let (0, Some(place)) = (range.value.prefix_len(), &range.place) {
            let wrong = Wrong::new("everyone could send to any domain: an open relay");
            reader.finder.add(place, wrong.help("name the networks that you know"));
        }
    }
    ranges
}

/// Those who may say for whom they connect.
fn proxies(reader: &mut Reader<'_>, section: &Section<'_>, knob: &'static Knob) -> Vec<IpNet> {
    let ranges = reader.list(section, knob, forms::address_range).unwrap_or_else(|| {
        reader.note(section, knob, knob.default_text(), None);
        Vec::new()
    });
    for range in &ranges {
        if let (0, Some(place)) = (range.value.prefix_len(), &range.place) {
            let wrong = Wrong::new("everyone could say to be anyone");
            reader.finder.add(place, wrong.help("name the proxies that you know"));
        }
    }
    ranges.into_iter().map(|range| range.value).collect()
}

/// Two listeners, or a listener and the admin address, in one place.
fn check_addresses(reader: &mut Reader<'_>, drafts: &[Draft], admin: &[Given<AdminAddress>]) {
    for (number, draft) in drafts.iter().enumerate() {
        let address = draft.address.value;
        // Port 0 is a port of its own each time.
        if address.port() == 0 {
            continue;
        }
        if drafts[..number].iter().any(|before| before.address.value == address) {
            let wrong = Wrong::new(format!("{address} is listened on twice"));
            reader.finder.add(draft.address.place_or(&Place::Machine), wrong);
        }
        if let Some(same) = admin.iter().find(|one| one.value == AdminAddress::Tcp(address)) {
            let wrong = Wrong::new(format!("{address} is both a listener and an admin address"));
            let place = draft.address.place.as_ref().or(same.place.as_ref());
            reader.finder.add(place.unwrap_or(&Place::Machine), wrong);
        }
    }
}

fn limits(reader: &mut Reader<'_>, section: &Section<'_>, drafts: &[Draft]) -> Limits {
    let sessions = reader.count_u32(section, &knobs::SESSIONS);
    let sessions_per_address = reader.count_u32(section, &knobs::SESSIONS_PER_ADDRESS);
    let connection_rate = reader.rate(section, &knobs::CONNECTION_RATE);
    let message_rate = reader.rate(section, &knobs::MESSAGE_RATE);
    let recipients = reader.count(section, &knobs::RECIPIENTS, None, 0);
    let errors = reader.count_u32(section, &knobs::ERRORS);
    let text_line_bytes = reader.count_u32(section, &knobs::TEXT_LINE);
    let header = reader.size(section, &knobs::HEADER_SIZE).value;
    let received = reader.count(section, &knobs::RECEIVED, None, 0);
    let memory = reader.size(section, &knobs::MEMORY);
    let connections = reader.count_u32(section, &knobs::CONNECTIONS);
    for draft in drafts {
        if draft.message_bytes.value > memory.value {
            let (message, all) = (show_size(draft.message_bytes.value), show_size(memory.value));
            let what = format!("`message_size` ({message}) is above `limits.memory` ({all})");
            let wrong = Wrong::new(what).help("such a message could never be taken");
            reader.finder.add(Given::place_of(&[&draft.message_bytes, &memory]), wrong);
        }
    }
    let small = "the knob's range is 16 bits";
    Limits {
        sessions,
        sessions_per_address,
        connection_rate,
        message_rate,
        recipients: u16::try_from(recipients).expect(small),
        errors,
        text_line_bytes,
        header_bytes: u32::try_from(header).expect("the knob's range is 32 bits"),
        received: u16::try_from(received).expect(small),
        memory_bytes: usize::try_from(memory.value).unwrap_or(usize::MAX),
        connections,
    }
}
