//! Keep what proves a SCRAM client without its password (RFC 5802 §3), and make it from one.
//!
//! The text is PostgreSQL's: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, the last three in
//! base64. Whoever has it can play the server towards the client, and guess, but not log in.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::base::limits::{SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN, SCRAM_SALT_MAX};
use crate::smtp::sasl::Password;
use crate::smtp::sasl::message::{decode, encode};

/// What a SCRAM client is measured by.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    iterations: NonZeroU32,
    salt: Box<[u8]>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

/// A verifier that is none: what is wrong, and at which octet of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Octets before what is wrong.
    pub at: usize,
    /// In a few words.
    pub what: &'static str,
}

impl ScramVerifier {
    /// What its text begins with.
    pub const PREFIX: &'static str = "SCRAM-SHA-256$";

    /// Make one of a password: slow by design. Salt and iterations must be within the bounds.
    pub fn derive(password: &Password, salt: &[u8], iterations: u32) -> Self {
        assert!((1..=SCRAM_SALT_MAX).contains(&salt.len()), "a salt of a bounded length");
        let iterations = NonZeroU32::new(iterations).expect("at least one iteration");
        let mut salted = Zeroizing::new([0; 32]);
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut *salted);
        let client_key = hmac_sha256(&salted, b"Client Key");
        Self {
            iterations,
            salt: salt.into(),
            stored_key: sha256(&client_key),
            server_key: hmac_sha256(&salted, b"Server Key"),
        }
    }

    /// One that proves nobody, the same for the same `secret` and `name`, in the form of `like`: a
    /// name that nobody has gets the same salt each time, as one that somebody has does.
    pub fn decoy(secret: &[u8; 32], name: &str, like: &Self) -> Self {
        let part = |what: &str| hmac_sha256(secret, format!("{what}\0{name}").as_bytes());
        let salt = [part("salt"), part("more salt")].concat();
        Self {
            iterations: like.iterations,
            salt: salt[..like.salt.len().min(salt.len())].into(),
            stored_key: part("stored key"),
            server_key: part("server key"),
        }
    }

    /// A number that `secret` chooses for `name`: which form its decoys have.
    pub fn choice(secret: &[u8; 32], name: &str) -> u64 {
        let chosen = hmac_sha256(secret, format!("form\0{name}").as_bytes());
        let (first, _) = chosen.split_first_chunk().expect("32 octets");
        u64::from_be_bytes(*first)
    }

    /// Whether it is this password's: as slow as [`ScramVerifier::derive`].
    pub fn is_of(&self, password: &Password) -> bool {
        let other = Self::derive(password, &self.salt, self.iterations.get());
        is_same(&self.stored_key, &other.stored_key)
    }

    /// Iterations of the hash.
    pub fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Read its text.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let wrong = |part: &str, what| {
            // Each part is a piece of `text`.
            Malformed { at: part.as_ptr() as usize - text.as_ptr() as usize, what }
        };
        let rest = text.strip_prefix(Self::PREFIX);
        let rest = rest.ok_or_else(|| wrong(text, "must begin with SCRAM-SHA-256$"))?;
        let (cost, keys) = rest.split_once('$').ok_or_else(|| wrong(rest, "has no keys"))?;
        let (count, salt) = cost.split_once(':').ok_or_else(|| wrong(cost, "has no salt"))?;
        let keys_of_both = keys.split_once(':').ok_or_else(|| wrong(keys, "has one key only"))?;
        let (stored_key, server_key) = keys_of_both;
        let bounds = SCRAM_ITERATIONS_MIN..=SCRAM_ITERATIONS_MAX;
        let iterations = count.parse().ok().filter(|count| bounds.contains(count));
        let iterations = iterations
            .and_then(NonZeroU32::new)
            .ok_or_else(|| wrong(count, "iterations must be a number from 4096 to 1000000"))?;
        let decoded = decode(salt.as_bytes());
        let decoded = decoded.filter(|salt| (1..=SCRAM_SALT_MAX).contains(&salt.len()));
        let octets = decoded.ok_or_else(|| wrong(salt, "salt must be 1 to 64 octets in base64"))?;
        Ok(Self {
            iterations,
            salt: octets.as_slice().into(),
            stored_key: key(stored_key).ok_or_else(|| wrong(stored_key, NOT_A_KEY))?,
            server_key: key(server_key).ok_or_else(|| wrong(server_key, NOT_A_KEY))?,
        })
    }

    /// Whether `proof` is a client's that knows the password (RFC 5802 §3), for what was said.
    pub(super) fn is_proved(&self, proof: &[u8; 32], said: &[u8]) -> bool {
        let signature = hmac_sha256(&self.stored_key, said);
        let mut client_key = Zeroizing::new([0; 32]);
        for (key, (proof, signature)) in client_key.iter_mut().zip(proof.iter().zip(signature)) {
            *key = proof ^ signature;
        }
        is_same(&sha256(&*client_key), &self.stored_key)
    }

    /// What proves to the client that we have its verifier.
    pub(super) fn signature(&self, said: &[u8]) -> [u8; 32] {
        hmac_sha256(&self.server_key, said)
    }
}

const NOT_A_KEY: &str = "a key must be 32 octets in base64";

fn key(text: &str) -> Option<[u8; 32]> {
    decode(text.as_bytes())?.as_slice().try_into().ok()
}

fn sha256(octets: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, octets);
    digest.as_ref().try_into().expect("SHA-256 has 32 octets")
}

fn hmac_sha256(key: &[u8; 32], octets: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), octets);
    tag.as_ref().try_into().expect("SHA-256 has 32 octets")
}

fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

impl fmt::Display for ScramVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iterations, salt, stored_key, server_key } = self;
        let (salt, stored, server) = (encode(salt), encode(stored_key), encode(server_key));
        write!(formatter, "{}{iterations}:{salt}${stored}:{server}", Self::PREFIX)
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ScramVerifier({} iterations, …)", self.iterations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pencil() -> ScramVerifier {
        let salt = decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let password = Password::prepare(b"pencil").expect("a password");
        ScramVerifier::derive(&password, &salt, 4_096)
    }

    #[test]
    fn its_text_is_read_as_it_is_written() {
        let verifier = pencil();
        let text = verifier.to_string();
        assert!(text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "{text}");
        assert_eq!(ScramVerifier::parse(&text), Ok(verifier.clone()));
        assert!(!format!("{verifier:?}").contains(&encode(&verifier.server_key)));
    }

    #[test]
    fn a_malformed_text_says_where() {
        let key = encode(&[7; 32]);
        let cases = [
            ("SCRAM-SHA-1$4096:AAAA$a:b", 0),
            ("SCRAM-SHA-256$4096:AAAA", 14),
            ("SCRAM-SHA-256$4096$a:b", 14),
            ("SCRAM-SHA-256$4096:AAAA$a", 24),
            ("SCRAM-SHA-256$4095:AAAA$a:b", 14),
            ("SCRAM-SHA-256$1000001:AAAA$a:b", 14),
            ("SCRAM-SHA-256$4096:$a:b", 19),
            ("SCRAM-SHA-256$4096:AAA$a:b", 19),
            ("SCRAM-SHA-256$4096:AAAA$a:b", 24),
            (&format!("SCRAM-SHA-256$4096:AAAA${key}:b"), 69),
            (&format!("SCRAM-SHA-256$4096:AAAA${key}:{key}:"), 69),
        ];
        for (text, at) in cases {
            assert_eq!(ScramVerifier::parse(text).map_err(|wrong| wrong.at), Err(at), "{text}");
        }
    }

    #[test]
    fn a_password_is_told_from_another() {
        let other = Password::prepare(b"pencils").expect("a password");
        assert!(pencil().is_of(&Password::prepare(b"pencil").expect("a password")));
        assert!(!pencil().is_of(&other));
    }

    #[test]
    fn a_decoy_is_the_same_each_time_and_nobody_elses() {
        let like = pencil();
        let decoy = |secret: u8, name| ScramVerifier::decoy(&[secret; 32], name, &like);
        assert_eq!(decoy(1, "a"), decoy(1, "a"));
        for other in [decoy(1, "b"), decoy(2, "a")] {
            assert_ne!(decoy(1, "a").salt, other.salt);
            assert_eq!(other.salt.len(), like.salt.len());
            assert_eq!(other.iterations, like.iterations);
        }
    }
}
