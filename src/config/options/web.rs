//! Links that lead back to this node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::options::CertificateFiles;
use crate::policy::links::letter::Unsubscribe;

/// What `[web]` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOptions {
    /// Where links are answered; there may be none, where another node does.
    pub listen: Vec<SocketAddr>,
    /// The host that links name, in lower case.
    pub host: Box<str>,
    /// The file of what seals them.
    pub secrets: PathBuf,
    /// For TLS at all of `listen`.
    pub certificate: Option<CertificateFiles>,
    /// Whatever uses a link so soon after its message was taken is a machine.
    pub soon: Duration,
    /// Of whoever asks not to be told of, nothing is.
    pub honours_do_not_track: bool,
}

/// What a tenant wants of its messages' links; where it is something, there are [`WebOptions`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkOptions {
    /// How to unsubscribe.
    pub unsubscribe: Unsubscribe,
    /// Tell when a message is opened.
    pub opens: bool,
    /// Tell when a link is followed.
    pub clicks: bool,
    /// The host that they name, in lower case; `None`: that of [`WebOptions`].
    pub host: Option<Box<str>>,
}

impl LinkOptions {
    /// Whether it wants nothing.
    pub fn is_off(&self) -> bool {
        self.unsubscribe == Unsubscribe::Off && !self.opens && !self.clicks
    }
}
