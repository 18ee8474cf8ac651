//! Judge a peer by what its domain says of it in signed DNS (RFC 7672).
//!
//! In: TLSA records, a certificate chain. Out: yes, or why not. Invariant: where a record can be
//! used, one of them fits, or the peer is not who it says. Lives on: the owner shard.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::mail::tlsa::Tlsa;
use crate::tls::provider;

/// An authority, usage 2.
const AUTHORITY: u8 = 2;
/// The host's own certificate, usage 3.
const OWN: u8 = 3;

impl Tlsa {
    /// That of a certificate's key, by its SHA-256; `None` where the certificate cannot be read.
    pub(super) fn of_key(certificate: &CertificateDer<'_>) -> Option<Self> {
        let key = EndEntityCert::try_from(certificate).ok()?.subject_public_key_info();
        let data = digest(&SHA256, &key).as_ref().into();
        Some(Self { usage: OWN, selector: 1, matching: 1, data })
    }

    /// Whether a host with this certificate, signed for by these, is who it says.
    pub(super) fn is_met_by(
        &self,
        own: &CertificateDer<'_>,
        authorities: &[CertificateDer<'_>],
    ) -> bool {
        let is_met = match self.usage {
            OWN => self.fits(own),
            AUTHORITY => authorities.iter().any(|one| self.fits(one)),
            _ => false,
        };
        is_met && self.is_usable()
    }

    /// Whether it means something to SMTP. RFC 7672 §3.1.3: usages 0 and 1 do not.
    pub fn is_usable(&self) -> bool {
        let length = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == SHA256.output_len,
            2 => self.data.len() == SHA512.output_len,
            _ => false,
        };
        matches!(self.usage, AUTHORITY | OWN) && self.selector <= 1 && length
    }

    fn fits(&self, certificate: &CertificateDer<'_>) -> bool {
        let key;
        let selected: &[u8] = if self.selector == 0 {
            certificate
        } else {
            let Ok(parsed) = EndEntityCert::try_from(certificate) else { return false };
            key = parsed.subject_public_key_info();
            &key
        };
        match self.matching {
            0 => *selected == *self.data,
            1 => *digest(&SHA256, selected).as_ref() == *self.data,
            _ => *digest(&SHA512, selected).as_ref() == *self.data,
        }
    }
}

/// Whoever the records name.
#[derive(Debug)]
pub(super) struct Named {
    /// Those that can be used; without any, the peer may be anyone, but there must be TLS
    /// (RFC 7672 §2.2).
    records: Vec<Tlsa>,
    provider: Arc<CryptoProvider>,
}

impl Named {
    pub(super) fn new(records: &[Tlsa]) -> Self {
        let usable = records.iter().filter(|record| record.is_usable()).cloned();
        Self { records: usable.collect(), provider: provider() }
    }

    fn of_usage(&self, usage: u8) -> impl Iterator<Item = &Tlsa> {
        self.records.iter().filter(move |record| record.usage == usage)
    }

    /// Whether an authority that is named signed for the host, all else being right.
    fn is_signed(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<bool, rustls::Error> {
        let given =
            self.of_usage(AUTHORITY).filter(|record| record.selector == 0 && record.matching == 0);
        let given: Vec<_> = given.map(|record| CertificateDer::from(&*record.data)).collect();
        let named = |certificate: &&CertificateDer<'_>| {
            self.of_usage(AUTHORITY).any(|record| record.fits(certificate))
        };
        let authorities = intermediates.iter().filter(named).chain(&given);
        let anchors: Vec<TrustAnchor<'_>> =
            authorities.filter_map(|one| anchor_from_trusted_cert(one).ok()).collect();
        if anchors.is_empty() {
            return Ok(false);
        }
        let wrong = |error| rustls::Error::InvalidCertificate(certificate_error(error));
        let parsed = EndEntityCert::try_from(end_entity).map_err(wrong)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let usage = KeyUsage::server_auth();
        parsed
            .verify_for_usage(algorithms, &anchors, intermediates, now, usage, None, None)
            .map_err(wrong)?;
        parsed.verify_is_valid_for_subject_name(host).map_err(wrong)?;
        Ok(true)
    }
}

/// None of the records fits the certificate.
#[derive(Debug, thiserror::Error)]
#[error("no TLSA record fits the certificate")]
pub(super) struct NoRecordFits;

fn certificate_error(error: webpki::Error) -> CertificateError {
    if matches!(error, webpki::Error::CertExpired { .. }) {
        CertificateError::Expired
    } else if matches!(error, webpki::Error::CertNotValidYet { .. }) {
        CertificateError::NotValidYet
    } else if matches!(error, webpki::Error::CertNotValidForName(_)) {
        CertificateError::NotValidForName
    } else {
        CertificateError::Other(rustls::OtherError(Arc::new(error)))
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // RFC 7672 §3.1.1: of the host's own certificate neither name nor dates count.
        let is_known = self.records.is_empty()
            || self.of_usage(OWN).any(|record| record.fits(end_entity))
            || self.is_signed(end_entity, intermediates, server_name, now)?;
        if is_known {
            Ok(ServerCertVerified::assertion())
        } else {
            let why = CertificateError::Other(rustls::OtherError(Arc::new(NoRecordFits)));
            Err(rustls::Error::InvalidCertificate(why))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
