//! Read where and by whom a node may be asked.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::base::limits::{ADMIN_ADDRESSES_MAX, ADMIN_HOSTS_MAX, SOCKET_PATH_MAX};
use crate::config::flags::Flags;
use crate::config::knob::{Kind, Knob};
use crate::config::knobs;
use crate::config::options::{AdminAddress, AdminOptions, CertificateFiles};
use crate::config::parse::{forms, tokens};
use crate::config::problem::Place;
use crate::config::reader::{Given, Reader, Section, quoted};
use crate::config::units::Wrong;
use crate::mail::address::Domain;

/// The options, and where each address was given.
pub(super) struct Admin {
    pub(super) options: AdminOptions,
    pub(super) listen: Vec<Given<AdminAddress>>,
}

/// Where a node is asked if nobody says otherwise; `ADMIN_LISTEN` shows it.
const DEFAULT: &str = "127.0.0.1:8025";

pub(super) fn read<'d>(reader: &mut Reader<'_>, root: &Section<'d>, flags: &'d Flags) -> Admin {
    let section = reader.table(root, "admin");
    let listen = listen(reader, &section, flags);
    let group = reader.text(&section, &knobs::ADMIN_GROUP, None, group);
    let token = reader.text(&section, &knobs::ADMIN_TOKEN, None, forms::path);
    let hosts = hosts(reader, &section);
    let chain = reader.text(&section, &knobs::ADMIN_CERTIFICATE, None, forms::path);
    let key = reader.text(&section, &knobs::ADMIN_KEY, None, forms::path);
    let client_ca = reader.text(&section, &knobs::ADMIN_CLIENT_CA, None, forms::path);
    check_addresses(reader, &listen);
    check_tls(reader, [&chain, &key, &client_ca]);
    let tokens = tokens::read(reader, root);
    let is_guarded = token.is_some() || !tokens.is_empty() || client_ca.is_some();
    check_entry(reader, &listen, is_guarded);
    let certificate = chain
        .zip(key)
        .map(|(chain, key)| CertificateFiles { chain: chain.value.into(), key: key.value.into() });
    let options = AdminOptions {
        listen: listen.iter().map(|given| given.value.clone()).collect(),
        group: group.map(|given| given.value.into()),
        token: token.map(|given| PathBuf::from(given.value)),
        tokens,
        hosts,
        certificate,
        client_authorities: client_ca.map(|given| PathBuf::from(given.value)),
    };
    Admin { options, listen }
}

/// The file's addresses; `--admin` replaces them all; without either, one on loopback.
fn listen<'d>(
    reader: &mut Reader<'_>,
    section: &Section<'d>,
    flags: &'d Flags,
) -> Vec<Given<AdminAddress>> {
    let knob = &knobs::ADMIN_LISTEN;
    let before = reader.in_force.len();
    let mut listen = reader.list(section, knob, address);
    if let Some(given) = &listen
        && given.is_empty()
        && reader.finder.is_empty()
    {
        let wrong = Wrong::new("nobody could ask this node anything");
        reader.finder.add(section.place(), wrong.help("name an address, or leave `listen` out"));
    }
    if !flags.admin.is_empty() {
        reader.in_force.truncate(before);
        let place = Place::Flag("--admin");
        let mut by_flag = Vec::new();
        for text in &flags.admin {
            match address(text) {
                Ok(value) => by_flag.push(Given { value, place: Some(Place::Flag("--admin")) }),
                Err(wrong) => reader.finder.add(&place, wrong),
            }
        }
        let shown: Vec<_> = by_flag.iter().map(|given| quoted(&given.value.to_string())).collect();
        reader.note(section, knob, format!("[{}]", shown.join(", ")), Some(&place));
        listen = Some(by_flag);
    }
    listen.unwrap_or_else(|| {
        reader.note(section, knob, default_of(knob), None);
        let value = address(DEFAULT).expect("a test reads every default");
        vec![Given { value, place: None }]
    })
}

fn default_of(knob: &Knob) -> String {
    let Kind::List { default, .. } = knob.kind else { unreachable!("{} is no list", knob.path) };
    default.to_owned()
}

fn hosts(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<Box<str>> {
    let knob = &knobs::ADMIN_HOSTS;
    let hosts = reader.list(section, knob, host).unwrap_or_else(|| {
        reader.note(section, knob, default_of(knob), None);
        Vec::new()
    });
    if let Some(given) = hosts.get(ADMIN_HOSTS_MAX) {
        let wrong = Wrong::new(format!("more than {ADMIN_HOSTS_MAX} names"));
        reader.finder.add(given.place_or(&Place::Machine), wrong);
    }
    hosts.into_iter().map(|given| given.value.into()).collect()
}

/// `192.0.2.1:8025`, `unix:/run/relay-fast/admin.sock`.
fn address(text: &str) -> Result<AdminAddress, Wrong> {
    let Some(path) = text.strip_prefix("unix:") else {
        return match text.starts_with('/') {
            true => Err(Wrong::new("a path needs to be told from an address")
                .help(format!("write \"unix:{text}\""))),
            false => forms::socket_address(text).map(AdminAddress::Tcp),
        };
    };
    let path = PathBuf::from(forms::path(path)?);
    if !path.is_absolute() || path.file_name().is_none() {
        let wrong = Wrong::new(format!("`{text}`: the path of a socket begins with `/`"));
        return Err(wrong.help("write it whole, as \"unix:/run/relay-fast/admin.sock\""));
    }
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        let what = format!("the path of a socket has {SOCKET_PATH_MAX} octets at most");
        return Err(Wrong::new(what));
    }
    Ok(AdminAddress::Unix(path))
}

/// A name or an address, as `Host` says it, without a port.
fn host(text: &str) -> Result<String, Wrong> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().to_string());
    }
    let named = Domain::parse(text).ok().filter(|domain| domain.literal().is_none());
    named.map(|domain| domain.as_str().to_ascii_lowercase()).ok_or_else(|| {
        let wrong = Wrong::new(format!("`{text}` is no name and no address"));
        wrong.help("write it without a port, as \"relay1.example.com\"")
    })
}

fn group(text: &str) -> Result<String, Wrong> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || !text.chars().all(is_plain) {
        return Err(Wrong::new(format!("`{text}` is no name of a group")));
    }
    Ok(text.to_owned())
}

/// Too many, or the same twice.
fn check_addresses(reader: &mut Reader<'_>, listen: &[Given<AdminAddress>]) {
    for (number, given) in listen.iter().enumerate() {
        let place = given.place_or(&Place::Machine);
        if number == ADMIN_ADDRESSES_MAX {
            let wrong = Wrong::new(format!("more than {ADMIN_ADDRESSES_MAX} admin addresses"));
            reader.finder.add(place, wrong);
        }
        // Port 0 is a port of its own each time.
        let is_any = matches!(&given.value, AdminAddress::Tcp(address) if address.port() == 0);
        if !is_any && listen[..number].iter().any(|before| before.value == given.value) {
            reader.finder.add(place, Wrong::new(format!("{} is listened on twice", given.value)));
        }
    }
}

/// A certificate without its key; authorities without a certificate.
fn check_tls(reader: &mut Reader<'_>, [chain, key, client_ca]: [&Option<Given<String>>; 3]) {
    let mut complain = |given: &Given<String>, what: &str, help: &str| {
        reader.finder.add(given.place_or(&Place::Machine), Wrong::new(what).help(help));
    };
    match (chain, key) {
        (Some(given), None) => complain(given, "a certificate needs its key", "name it as `key`"),
        (None, Some(given)) => {
            complain(given, "a key needs its certificate", "name it as `certificate`");
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    if let (Some(given), None) = (client_ca, chain) {
        let what = "without TLS no client shows a certificate";
        complain(given, what, "name this node's as `certificate` and `key`");
    }
}

/// Whoever reaches it can empty the queue: nobody is let in from elsewhere by that alone.
fn check_entry(reader: &mut Reader<'_>, listen: &[Given<AdminAddress>], is_guarded: bool) {
    for given in listen.iter().filter(|given| given.value.is_remote() && !is_guarded) {
        let wrong = Wrong::new(format!("{} can be reached by other machines", given.value));
        let wrong = wrong.help("name a file as `token` in [admin], or TLS with `client_ca`");
        reader.finder.add(given.place_or(&Place::Machine), wrong);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::tests::{problems, read_file};

    #[test]
    fn elsewhere_a_token_or_a_certificate_is_asked_for() {
        let listen = |address: &str| format!("[admin]\nlisten = [\"{address}\"]\n");
        for address in ["127.0.0.1:1", "127.9.9.9:0", "[::1]:1", "unix:/run/admin.sock"] {
            let read = read_file(&listen(address)).admin;
            assert_eq!(read.listen[0].to_string(), address);
            assert!(!read.listen[0].is_remote() && !read.tells_token());
        }
        let tls = "certificate = \"/c\"\nkey = \"/k\"\n";
        for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
            let text = listen(address);
            let found = problems(&text);
            assert!(found[0].starts_with(&format!("2: {address} can be reached by")), "{found:?}");
            assert_eq!(found.len(), problems(&format!("{text}{tls}")).len(), "TLS alone is no key");
            assert!(read_file(&format!("{text}token = \"/t\"\n")).admin.tells_token());
            let both = format!("{text}{tls}token = \"/t\"\n");
            assert!(!read_file(&both).admin.tells_token());
            let read = read_file(&format!("{text}{tls}client_ca = \"/a\"\n")).admin;
            assert!(read.listen[0].is_remote() && read.nearest().is_none());
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (knobs, expected) in [
            ("listen = \"127.0.0.1:1\"", "`listen` is a list, not text"),
            ("listen = []", "nobody could ask this node anything"),
            ("listen = [\"/run/a\"]", "a path needs to be told from an address"),
            ("listen = [\"unix:a\"]", "`unix:a`: the path of a socket begins"),
            ("listen = [\"unix:/\"]", "`unix:/`: the path of a socket begins"),
            ("listen = [\"unix:/a\", \"unix:/a\"]", "unix:/a is listened on twice"),
            ("hosts = [\"a:1\"]", "`a:1` is no name and no address"),
            ("group = \"a b\"", "`a b` is no name of a group"),
            ("key = \"/k\"", "a key needs its certificate"),
            ("certificate = \"/c\"", "a certificate needs its key"),
            ("client_ca = \"/a\"", "without TLS no client shows"),
        ] {
            let found = problems(&format!("[admin]\n{knobs}\n"));
            assert!(found.iter().any(|one| one.contains(expected)), "{knobs}: {found:?}");
        }
        let long = format!("[admin]\nlisten = [\"unix:/{}\"]\n", "a".repeat(SOCKET_PATH_MAX));
        assert!(problems(&long)[0].contains("107 octets at most"));
        let ports: Vec<_> = (0..=ADMIN_ADDRESSES_MAX).map(|n| format!("127.0.0.1:{n}")).collect();
        let many = format!("[admin]\nlisten = {ports:?}\n");
        assert!(problems(&many)[0].contains("more than 8 admin addresses"));
        let old = problems("admin = \"127.0.0.1:1\"\n");
        assert!(old[0].contains("`admin` is a section, not text = write [admin]"), "{old:?}");
    }

    #[test]
    fn hosts_are_names_and_addresses_in_one_form() {
        let text = "[admin]\nhosts = [\"Relay.Example\", \"2001:DB8::1\", \"::ffff:192.0.2.1\"]\n";
        let hosts = read_file(text).admin.hosts;
        assert_eq!(hosts, ["relay.example", "2001:db8::1", "192.0.2.1"].map(Box::from));
    }

    #[test]
    fn the_machine_asks_where_it_is_near() {
        let nearest = |listen: &str| {
            let text = format!("[admin]\nlisten = {listen}\ntoken = \"/t\"\n");
            read_file(&text).admin.nearest().map(ToString::to_string)
        };
        for (listen, expected) in [
            ("[\"192.0.2.1:1\", \"127.0.0.1:2\", \"unix:/a\"]", "unix:/a"),
            ("[\"192.0.2.1:1\", \"127.0.0.1:2\"]", "127.0.0.1:2"),
            ("[\"192.0.2.1:1\"]", "192.0.2.1:1"),
        ] {
            assert_eq!(nearest(listen).as_deref(), Some(expected));
        }
    }
}
