//! Run one TLS connection, from the first octet of the handshake on.
//!
//! In: octets of the peer, plain octets for it. Out: plain octets of the peer, octets for it.
//! Invariant: nothing is given out as plain before the handshake is done, and nothing is sent.
//! Lives on: one shard.

use std::io::{self, BufRead as _, Write as _};

use rustls::client::danger::ServerCertVerifier as _;
use rustls::time_provider::TimeProvider as _;
use rustls::{
    CertificateError, CipherSuite, ClientConnection, Connection, HandshakeKind, ProtocolVersion,
    ServerConnection,
};

use crate::tls::client::{Connector, PeerName, Roots};
use crate::tls::clock::Clock;
use crate::tls::dane::NoRecordFits;
use crate::tls::server::Acceptor;

/// Why a connection is of no more use: for people. What the peer is told of it waits as output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct TlsError {
    words: Box<str>,
    fault: Fault,
}

/// What is wrong, for statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer's certificate holds no more, or not yet.
    Expired,
    /// It is for others.
    OtherName,
    /// Nobody who is trusted signed for it, or it cannot be used.
    Untrusted,
    /// None of the TLSA records fits it.
    NoRecordFits,
    /// Anything else.
    Other,
}

impl TlsError {
    pub(super) fn new(words: impl ToString) -> Self {
        Self { words: words.to_string().into(), fault: Fault::Other }
    }

    /// What is wrong.
    pub fn fault(&self) -> Fault {
        self.fault
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(why) = &error else { return Self::new(error) };
        // The library shows what it does not know as it is written in the source.
        let words = if let CertificateError::Other(other) = why {
            other.0.to_string()
        } else {
            error.to_string()
        };
        Self { words: words.into(), fault: fault_of(why) }
    }
}

fn fault_of(why: &CertificateError) -> Fault {
    let is_untimely = matches!(
        why,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    );
    let is_of_others = matches!(
        why,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    );
    if is_untimely {
        Fault::Expired
    } else if is_of_others {
        Fault::OtherName
    } else if matches!(why, CertificateError::Other(other) if other.0.is::<NoRecordFits>()) {
        Fault::NoRecordFits
    } else {
        Fault::Untrusted
    }
}

/// What came of octets of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// More may come.
    Open,
    /// The peer has said, under the protection of TLS, that it will send nothing more.
    Ended,
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// As `TLS1.3`.
    pub version: &'static str,
    /// The cipher suite, as IANA names it.
    pub cipher: &'static str,
    /// Resumed from an earlier session: no certificate was looked at.
    pub resumed: bool,
    /// The peer showed a certificate.
    pub certified: bool,
}

/// A TLS connection.
#[derive(Debug)]
pub struct Tls {
    connection: Connection,
    failed: bool,
}

impl Tls {
    /// The answering side of a connection.
    pub fn accept(acceptor: &Acceptor) -> Result<Self, TlsError> {
        Ok(Self::new(ServerConnection::new(acceptor.config.clone())?.into()))
    }

    /// The beginning side of a connection to `peer`; its first octets wait as output.
    pub fn connect(connector: &Connector, peer: PeerName) -> Result<Self, TlsError> {
        Ok(Self::new(ClientConnection::new(connector.config.clone(), peer.0)?.into()))
    }

    fn new(mut connection: Connection) -> Self {
        // What is sent is taken at once; its bound is that of the plain octets.
        connection.set_buffer_limit(None);
        Self { connection, failed: false }
    }

    /// Take in octets of the peer, and append to `plain` what they say. After an error nothing more
    /// is taken.
    pub fn handle_bytes(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<Read, TlsError> {
        let mut rest = bytes;
        let mut read = Read::Open;
        while !rest.is_empty() && !self.failed && read == Read::Open {
            // It takes a part where that is all it can hold, and fails where it can hold none:
            // what was decrypted is taken below each time.
            self.connection.read_tls(&mut rest).map_err(|error| self.fail(error))?;
            let state = self.connection.process_new_packets().map_err(|error| {
                self.failed = true;
                TlsError::from(error)
            })?;
            if state.peer_has_closed() {
                read = Read::Ended;
            }
            self.take_plain(plain).map_err(|error| self.fail(error))?;
        }
        Ok(read)
    }

    /// Append what was decrypted.
    fn take_plain(&mut self, plain: &mut Vec<u8>) -> io::Result<()> {
        let mut reader = self.connection.reader();
        loop {
            let taken = match reader.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(chunk) => {
                    plain.extend_from_slice(chunk);
                    chunk.len()
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            reader.consume(taken);
        }
    }

    fn fail(&mut self, error: io::Error) -> TlsError {
        self.failed = true;
        TlsError::new(error)
    }

    /// Encrypt `plain` for the peer. Panics before the handshake is done.
    pub fn send(&mut self, plain: &[u8]) {
        assert!(self.is_up(), "nothing is said before the handshake is done");
        self.connection.writer().write_all(plain).expect("it takes all: it has no limit");
    }

    /// Tell the peer that nothing more will be sent.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Whether octets wait for the peer.
    pub fn has_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Append the octets that wait for the peer.
    pub fn take_output(&mut self, into: &mut Vec<u8>) {
        while self.connection.wants_write() {
            self.connection.write_tls(into).expect("a Vec takes all");
        }
    }

    /// Whether the handshake is done, and nothing has failed since.
    pub fn is_up(&self) -> bool {
        !self.failed && !self.connection.is_handshaking()
    }

    /// What was agreed on; `None` before the handshake is done.
    pub fn facts(&self) -> Option<Facts> {
        let is_latest = self.connection.protocol_version()? == ProtocolVersion::TLSv1_3;
        let suite = self.connection.negotiated_cipher_suite()?.suite();
        Some(Facts {
            version: if is_latest { "TLS1.3" } else { "TLS1.2" },
            cipher: name_of(suite),
            resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
            certified: self.connection.peer_certificates().is_some_and(|chain| !chain.is_empty()),
        })
    }

    /// Whether the peer's certificate is one of `roots` for its name: what a verifying connector
    /// asks in the handshake, asked of one that does not.
    pub fn judge(&self, peer: &PeerName, roots: &Roots, clock: &Clock) -> Result<(), TlsError> {
        let chain = self.connection.peer_certificates().unwrap_or_default();
        let [own, others @ ..] = chain else { return Err(TlsError::new("no certificate")) };
        let now = clock.current_time().ok_or_else(|| TlsError::new("no time"))?;
        roots.verifier()?.verify_server_cert(own, others, &peer.0, &[], now)?;
        Ok(())
    }

    /// Keying material that this connection alone has (RFC 5705), such as for RFC 9266's
    /// `tls-exporter`; `None` below TLS 1.3, where it would not bind the handshake.
    pub fn exporter(&self, label: &[u8]) -> Option<[u8; 32]> {
        if self.connection.protocol_version()? != ProtocolVersion::TLSv1_3 {
            return None;
        }
        self.connection.export_keying_material([0; 32], label, Some(b"")).ok()
    }
}

/// Suites that the library calls otherwise than IANA.
const NAMES: [(CipherSuite, &str); 3] = [
    (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
];

/// As IANA names it.
fn name_of(suite: CipherSuite) -> &'static str {
    let renamed = NAMES.iter().find(|(known, _)| *known == suite).map(|(_, name)| *name);
    renamed.or_else(|| suite.as_str()).unwrap_or("unknown")
}
