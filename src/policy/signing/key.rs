//! A private key to sign with, and the DNS record of its public half (RFC 6376 §3.6.1, RFC 8463).
//!
//! In: the text of a PEM file, or nothing but a wish. Out: a key, or what is wrong with the text.
//! Invariant: nothing of the private half is shown but by [`PrivateKey::to_pem`].

use std::fmt;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::pem::{Error as PemError, PemObject, SectionKind};

use crate::base::limits::{RSA_BITS_MAX, RSA_BITS_MIN};

/// Characters of a line of PEM (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `rsa-sha256`.
    Rsa,
    /// `ed25519-sha256`.
    Ed25519,
}

impl Algorithm {
    /// The word of a signature's `a=` tag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "rsa-sha256",
            Self::Ed25519 => "ed25519-sha256",
        }
    }
}

/// Why text is no key to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM section at all.
    #[error("no private key is in it: it would begin with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// A section that breaks off, or has other characters in it.
    #[error("the text of its key is damaged")]
    Damaged,
    /// The half that goes to DNS.
    #[error("it holds a public key, and signing takes the private one")]
    Public,
    /// With a passphrase.
    #[error("it is encrypted, and a relay knows no passphrase: `openssl pkey -in KEY -out PLAIN`")]
    Encrypted,
    /// Neither RSA nor Ed25519, or not well-formed.
    #[error("its key is no good RSA or Ed25519 key, and DKIM knows no others")]
    Kind,
    /// An RSA key that verifiers need not take (RFC 8301 §3.2).
    #[error(
        "its RSA key is not of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits: others are not trusted, or \
         not taken, by those who verify"
    )]
    Size,
}

/// The crypto library did not sign: it found the key damaged in memory, or had no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the crypto library could not sign")]
pub struct SigningFailed;

/// A private key.
pub struct PrivateKey(Pair);

enum Pair {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm().as_str())
    }
}

impl PrivateKey {
    /// Read the text of a PEM file: PKCS#8, or PKCS#1 for RSA; the first section in it.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
        if encrypted.iter().any(|mark| text.contains(mark)) {
            return Err(KeyError::Encrypted);
        }
        let Section(kind, der) = Section::from_pem_slice(text.as_bytes()).map_err(|error| {
            if matches!(error, PemError::NoItemsFound) {
                KeyError::NoKey
            } else {
                KeyError::Damaged
            }
        })?;
        if kind == SectionKind::PublicKey {
            return Err(KeyError::Public);
        }
        if kind == SectionKind::EcPrivateKey {
            return Err(KeyError::Kind);
        }
        let pair = if kind == SectionKind::RsaPrivateKey {
            Pair::Rsa(rsa(RsaKeyPair::from_der(&der))?)
        } else if kind != SectionKind::PrivateKey {
            return Err(KeyError::NoKey);
        } else if let Ok(pair) = Ed25519KeyPair::from_pkcs8(&der) {
            Pair::Ed25519(pair)
        } else {
            Pair::Rsa(rsa(RsaKeyPair::from_pkcs8(&der))?)
        };
        Ok(Self(pair))
    }

    /// A new key.
    pub fn generate(algorithm: Algorithm) -> Result<Self, Unspecified> {
        Ok(Self(match algorithm {
            Algorithm::Rsa => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?),
            Algorithm::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate()?),
        }))
    }

    /// The text of a PEM file with this key: PKCS#8.
    pub fn to_pem(&self) -> Result<String, Unspecified> {
        let der: Pkcs8V1Der<'_> = match &self.0 {
            Pair::Rsa(pair) => pair.as_der()?,
            Pair::Ed25519(pair) => pair.as_der()?,
        };
        let text = BASE64.encode(der.as_ref());
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in text.as_bytes().chunks(PEM_LINE) {
            pem.extend(line.iter().map(|octet| char::from(*octet)));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(pem)
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Pair::Rsa(_) => Algorithm::Rsa,
            Pair::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// What stands in the TXT record of its selector.
    pub fn record(&self) -> String {
        match &self.0 {
            //= RFC 6376 §3.6.1
            //# the "RSAPublicKey" ... in a DER-encoded SubjectPublicKeyInfo is what all publish.
            Pair::Rsa(pair) => {
                let key = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key());
                let key = key.expect("the public half of a key that was read");
                format!("v=DKIM1; k=rsa; p={}", BASE64.encode(key.as_ref()))
            }
            //= RFC 8463 §4
            //# the p= value in the key record is the Ed25519 public key encoded in base64
            Pair::Ed25519(pair) => {
                format!("v=DKIM1; k=ed25519; p={}", BASE64.encode(pair.public_key().as_ref()))
            }
        }
    }

    /// Sign a hash: the dear part of a signature.
    pub(super) fn sign(&self, hash: &Digest) -> Result<Vec<u8>, SigningFailed> {
        match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign_digest(&RSA_PKCS1_SHA256, hash, &mut signature);
                signed.map(|()| signature).map_err(|Unspecified| SigningFailed)
            }
            // RFC 8463 §3: PureEdDSA over the hash, as over any text.
            Pair::Ed25519(pair) => {
                let signed = pair.try_sign(hash.as_ref()).map_err(|Unspecified| SigningFailed)?;
                Ok(signed.as_ref().to_vec())
            }
        }
    }
}

/// A section of a PEM file, whatever it is of.
struct Section(SectionKind, Vec<u8>);

impl PemObject for Section {
    fn from_pem(kind: SectionKind, der: Vec<u8>) -> Option<Self> {
        Some(Self(kind, der))
    }
}

fn rsa<E: fmt::Display>(read: Result<RsaKeyPair, E>) -> Result<RsaKeyPair, KeyError> {
    let pair = read.map_err(|error| match error.to_string().as_str() {
        "TooSmall" | "TooLarge" => KeyError::Size,
        _ => KeyError::Kind,
    })?;
    let bits = pair.public_modulus_len() * 8;
    if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) { Ok(pair) } else { Err(KeyError::Size) }
}
