//! Where a milter listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// A TCP port of a host, or a socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `127.0.0.1:11332`.
    Inet(SocketAddr),
    /// `unix:/run/milter.sock`.
    Local(PathBuf),
}

/// Text that is no address of a milter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no address of a milter")]
pub struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;

    /// As relay-fast, Postfix (`inet:host:port`) and sendmail (`inet:port@host`) write it. Hosts
    /// are IP addresses: nothing is looked up while a message waits.
    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let inet = text.strip_prefix("inet6:").or_else(|| text.strip_prefix("inet:"));
        if let Some((port, host)) = inet.and_then(|rest| rest.split_once('@')) {
            return socket_address(host, port);
        }
        let local = text.strip_prefix("unix:").or_else(|| text.strip_prefix("local:"));
        if let Some(path) = local.or(Some(text)).filter(|path| path.starts_with('/')) {
            return if path.contains('\0') { Err(NoAddress) } else { Ok(Self::Local(path.into())) };
        }
        let (host, port) = inet.unwrap_or(text).rsplit_once(':').ok_or(NoAddress)?;
        socket_address(host, port)
    }
}

fn socket_address(host: &str, port: &str) -> Result<Address, NoAddress> {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = inside.unwrap_or(if host == "localhost" { "127.0.0.1" } else { host });
    let host: IpAddr = host.parse().map_err(|_| NoAddress)?;
    let port = port.parse().map_err(|_| NoAddress)?;
    let nowhere = port == 0 || host.is_unspecified() || host.is_multicast();
    if nowhere { Err(NoAddress) } else { Ok(Address::Inet(SocketAddr::new(host, port))) }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => write!(f, "{address}"),
            Self::Local(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_mail_servers_write_them() {
        for (text, shown) in [
            ("127.0.0.1:11332", "127.0.0.1:11332"),
            ("inet:127.0.0.1:11332", "127.0.0.1:11332"),
            ("inet:8891@127.0.0.1", "127.0.0.1:8891"),
            ("inet:localhost:8891", "127.0.0.1:8891"),
            ("inet6:8891@::1", "[::1]:8891"),
            ("inet:[::1]:8891", "[::1]:8891"),
            ("[::1]:8891", "[::1]:8891"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("local:/run/a.sock", "unix:/run/a.sock"),
            ("/run/a.sock", "unix:/run/a.sock"),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(address));
        }
        for text in [
            "",
            "127.0.0.1",
            "inet:8891",
            "milter.example:8891",
            "unix:run/a.sock",
            "127.0.0.1:0",
            "0.0.0.0:8891",
            "inet:x@127.0.0.1",
            "/run/\0",
            "127.0.0.1:65536",
        ] {
            assert_eq!(text.parse::<Address>(), Err(NoAddress), "{text}");
        }
    }
}
