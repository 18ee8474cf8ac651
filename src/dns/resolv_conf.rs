//! Whom to ask, and how patiently: options, and resolv.conf(5) read into them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crate::base::limits::{DNS_ATTEMPTS_MAX, DNS_TIMEOUT_MAX};

/// Where recursive name servers listen.
const PORT: u16 = 53;
/// resolv.conf(5): "Up to MAXNS (currently 3 ...) name servers may be listed".
const LISTED: usize = 3;

/// How the resolver asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Recursive name servers in order of preference; beyond `DNS_SERVERS_MAX` they are ignored.
    pub servers: Vec<SocketAddr>,
    /// How long one server may take with one query; then the next one is asked.
    pub timeout: Duration,
    /// Rounds over all servers before a lookup fails; at least 1.
    pub attempts: u32,
    /// Believe the AD bit of servers that are not on a loopback address: only where the path to
    /// them is safe (resolv.conf(5), `trust-ad`).
    pub trust_ad: bool,
}

impl Default for Options {
    /// resolv.conf(5): the name server on this machine, 5 seconds, 2 attempts.
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            timeout: Duration::from_secs(5),
            attempts: 2,
            trust_ad: false,
        }
    }
}

impl Options {
    /// Read the text of resolv.conf(5) as glibc does: what it does not understand it ignores.
    ///
    /// `search`, `domain` and `ndots` have no effect: mail names are always absolute. A link-local
    /// server needs a numeric zone (`fe80::1%2`); one with an interface's name is ignored.
    pub fn from_resolv_conf(text: &str) -> Self {
        let mut options = Self { servers: Vec::new(), ..Self::default() };
        for line in text.lines() {
            let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            // A keyword starts its line; so does a comment.
            match words.next().filter(|_| !line.starts_with([' ', '\t'])) {
                Some("nameserver") => options.servers.extend(words.next().and_then(server)),
                Some("options") => words.for_each(|word| options.apply(word)),
                _ => {}
            }
        }
        options.servers.truncate(LISTED);
        if options.servers.is_empty() {
            options.servers = Self::default().servers;
        }
        options
    }

    /// The same, inside what the resolver can do.
    pub(super) fn in_bounds(mut self) -> Self {
        self.timeout = self.timeout.min(DNS_TIMEOUT_MAX);
        self.attempts = self.attempts.clamp(1, DNS_ATTEMPTS_MAX);
        self
    }

    /// Whether AD in an answer of `server` counts.
    pub(super) fn believes(&self, server: SocketAddr) -> bool {
        self.trust_ad || server.ip().to_canonical().is_loopback()
    }

    fn apply(&mut self, word: &str) {
        match word.split_once(':') {
            Some(("timeout", value)) => {
                if let Ok(seconds) = value.parse::<u64>() {
                    let timeout = Duration::from_secs(seconds.max(1));
                    self.timeout = timeout.min(DNS_TIMEOUT_MAX);
                }
            }
            Some(("attempts", value)) => {
                if let Ok(attempts) = value.parse::<u32>() {
                    self.attempts = attempts.clamp(1, DNS_ATTEMPTS_MAX);
                }
            }
            None if word == "trust-ad" => self.trust_ad = true,
            _ => {}
        }
    }
}

fn server(text: &str) -> Option<SocketAddr> {
    if let Some((address, zone)) = text.split_once('%') {
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(SocketAddrV6::new(address, PORT, 0, zone.parse().ok()?).into());
    }
    text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<String> {
        Options::from_resolv_conf(text).servers.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn a_usual_file_is_read() {
        let text = "# by hand\n; too\nsearch example.com\nnameserver 192.0.2.53\n\
                    nameserver\t2001:db8::53 # near\noptions timeout:2 attempts:3 trust-ad edns0\n";
        let options = Options::from_resolv_conf(text);
        assert_eq!(servers(text), ["192.0.2.53:53", "[2001:db8::53]:53"]);
        assert_eq!((options.timeout, options.attempts), (Duration::from_secs(2), 3));
        assert!(options.trust_ad);
    }

    #[test]
    fn nothing_useful_means_the_defaults() {
        for text in ["", "\n\n", "nameserver\n", "nameserver nonsense\n", " nameserver 192.0.2.1"] {
            assert_eq!(Options::from_resolv_conf(text), Options::default(), "{text:?}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_brought_back_into_it() {
        let options = Options::from_resolv_conf("options timeout:0 attempts:0");
        assert_eq!((options.timeout, options.attempts), (Duration::from_secs(1), 1));
        let options = Options::from_resolv_conf("options timeout:999 attempts:999");
        assert_eq!((options.timeout, options.attempts), (DNS_TIMEOUT_MAX, DNS_ATTEMPTS_MAX));
        let options = Options::from_resolv_conf("options timeout:x attempts:-1 timeout: a:b:c");
        assert_eq!(options, Options::default());
    }

    #[test]
    fn a_fourth_server_is_ignored_and_zones_are_numbers() {
        let text = "nameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver fe80::1%2\n\
                    nameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        assert_eq!(servers(text), ["192.0.2.1:53", "[fe80::1%2]:53", "192.0.2.2:53"]);
    }

    #[test]
    fn ad_is_believed_from_this_machine_or_where_told() {
        let far = "192.0.2.1:53".parse().unwrap();
        let near = "127.0.0.53:53".parse().unwrap();
        let wary = Options::default();
        assert!(wary.believes(near) && !wary.believes(far));
        assert!(Options { trust_ad: true, ..wary }.believes(far));
    }

    #[test]
    fn any_text_is_survived() {
        proptest::proptest!(|(text in "(nameserver|options|timeout:|[ \t\n%:0-9a-f.]){0,40}")| {
            assert!(!Options::from_resolv_conf(&text).servers.is_empty());
        });
    }
}
