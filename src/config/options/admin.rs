//! Where and by whom a node may be asked and steered.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::options::CertificateFiles;
use crate::mail::handling::TenantName;

/// The admin addresses. Invariant: where one can be reached from elsewhere, there is a token or
/// there are authorities; where there are authorities, there is a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminOptions {
    /// At least one, none twice.
    pub listen: Vec<AdminAddress>,
    /// The group that may use Unix sockets; else their owner alone.
    pub group: Option<Box<str>>,
    /// The file of what has to be said over TCP.
    pub token: Option<PathBuf>,
    /// Others that may be said there; their names are unique.
    pub tokens: Vec<TokenFile>,
    /// Names and addresses that `Host` may say, beside those that are known; in lower case.
    pub hosts: Vec<Box<str>>,
    /// For TLS, on all addresses that can be reached from elsewhere.
    pub certificate: Option<CertificateFiles>,
    /// The file of the authorities of those who may connect from elsewhere.
    pub client_authorities: Option<PathBuf>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// An address and port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl AdminAddress {
    /// Whether other machines can connect to it.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

/// A file of what is said over TCP, and what may be done by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    /// As the log has it.
    pub name: Box<str>,
    /// One line.
    pub file: PathBuf,
    /// What may be done.
    pub role: Role,
    /// Whose mail comes in by it; with [`Role::Inject`] alone.
    pub tenant: Option<TenantName>,
}

/// What whoever asks may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Look at everything.
    Read,
    /// Hand in mail, and nothing else.
    Inject,
    /// Everything.
    Operate,
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl AdminOptions {
    /// Whether the token would be read by whoever is on the way.
    pub fn tells_token(&self) -> bool {
        let is_remote = self.listen.iter().any(AdminAddress::is_remote);
        is_remote && self.has_tokens() && self.certificate.is_none()
    }

    /// Whether something has to be said over TCP.
    pub fn has_tokens(&self) -> bool {
        self.token.is_some() || !self.tokens.is_empty()
    }

    /// The file of what this machine's own command line says: it may do everything.
    pub fn own_token(&self) -> Option<&Path> {
        let all = self.tokens.iter().find(|token| token.role == Role::Operate);
        self.token.as_deref().or(all.map(|token| token.file.as_path()))
    }

    /// Where this machine asks best: by a Unix socket, over loopback, or wherever TLS is not asked
    /// for.
    pub fn nearest(&self) -> Option<&AdminAddress> {
        let unix = self.listen.iter().find(|one| matches!(one, AdminAddress::Unix(_)));
        let clear = |one: &&AdminAddress| !one.is_remote() || self.certificate.is_none();
        let near = || self.listen.iter().find(|one| !one.is_remote());
        unix.or_else(near).or_else(|| self.listen.iter().find(clear))
    }
}
