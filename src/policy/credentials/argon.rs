//! Measure a password by argon2id (RFC 9106): a PHC string, `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
//!
//! Invariant: memory, passes and lanes are within `limits.rs`, whatever a file says.

use std::fmt;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time;
use zeroize::Zeroizing;

use crate::base::limits::{ARGON2_LANES_MAX, ARGON2_MEMORY_MAX, ARGON2_PASSES_MAX, SALT_BYTES};
use crate::smtp::sasl::Password;

/// What a password is measured by.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Argon2Verifier {
    params: Params,
    version: Version,
    salt: Box<[u8]>,
    hash: Box<[u8]>,
}

impl Argon2Verifier {
    pub(super) const PREFIX: &'static str = "$argon2id$";

    /// Nobody's, with the cost of a new one.
    pub(super) fn default_form() -> Self {
        Self {
            params: default_params(),
            version: Version::V0x13,
            salt: [0; SALT_BYTES].into(),
            hash: [0; Params::DEFAULT_OUTPUT_LEN].into(),
        }
    }

    /// Make one of a password: slow by design.
    pub(super) fn derive(password: &Password, salt: [u8; SALT_BYTES]) -> Self {
        let mut verifier = Self { salt: salt.into(), ..Self::default_form() };
        verifier.hash = verifier.hash_of(password).expect("19 MiB of memory").as_slice().into();
        verifier
    }

    /// Whether it is this password's: slow by design. Not where there is no memory to find out.
    pub(super) fn is_of(&self, password: &Password) -> bool {
        let is_same = |hash: &[u8]| constant_time::verify_slices_are_equal(hash, &self.hash);
        self.hash_of(password).is_some_and(|hash| is_same(&hash).is_ok())
    }

    /// `None` where there is no memory: password, salt and output are within their bounds.
    fn hash_of(&self, password: &Password) -> Option<Zeroizing<Vec<u8>>> {
        let argon2 = Argon2::new(Algorithm::Argon2id, self.version, self.params.clone());
        let mut hash = Zeroizing::new(vec![0; self.hash.len()]);
        let done = argon2.hash_password_into(password.as_bytes(), &self.salt, &mut hash);
        done.ok().map(|()| hash)
    }

    /// Read a PHC string, or say what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let read = PasswordHash::new(text).map_err(|_| "is no PHC string")?;
        if read.algorithm != ARGON2ID_IDENT {
            return Err("is not argon2id");
        }
        let version = match read.version {
            None => Version::V0x10,
            Some(version) => Version::try_from(version).map_err(|_| "has an unknown version")?,
        };
        let params = Params::try_from(&read).map_err(|_| "has parameters that argon2 has not")?;
        let is_cheap = params.m_cost() <= ARGON2_MEMORY_MAX
            && params.t_cost() <= ARGON2_PASSES_MAX
            && params.p_cost() <= ARGON2_LANES_MAX;
        if !is_cheap {
            return Err("costs more than m=262144, t=16 or p=16");
        }
        let (Some(salt), Some(hash)) = (&read.salt, &read.hash) else {
            return Err("has no salt or no hash");
        };
        if salt.len() < argon2::MIN_SALT_LEN {
            return Err("has a salt of less than 8 octets");
        }
        Ok(Self { params, version, salt: salt[..].into(), hash: hash.as_bytes().into() })
    }
}

/// OWASP's least for argon2id, as the crate has it.
fn default_params() -> Params {
    let (memory, passes) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST);
    let length = Some(Params::DEFAULT_OUTPUT_LEN);
    Params::new(memory, passes, Params::DEFAULT_P_COST, length).expect("sound parameters")
}

impl fmt::Display for Argon2Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phc = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(self.version.into()),
            params: ParamsString::try_from(&self.params).map_err(|_| fmt::Error)?,
            salt: Some(Salt::new(&self.salt).map_err(|_| fmt::Error)?),
            hash: Some(Output::new(&self.hash).map_err(|_| fmt::Error)?),
        };
        write!(formatter, "{phc}")
    }
}

impl fmt::Debug for Argon2Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Argon2Verifier({:?}, …)", self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::prepare(text.as_bytes()).expect("a password")
    }

    /// From the reference implementation's `argon2` command: `echo -n password | argon2 somesalt
    /// -id -t 2 -k 256 -p 1 -e`, as in its test.c.
    #[test]
    fn a_verifier_of_the_reference_implementation_is_understood() {
        let text = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$\
            nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let verifier = Argon2Verifier::parse(text).expect("a verifier");
        assert!(verifier.is_of(&password("password")));
        assert!(!verifier.is_of(&password("differentpassword")));
        assert_eq!(verifier.to_string(), text);
    }

    #[test]
    fn a_new_verifier_has_owasps_cost_and_is_read_back() {
        let verifier = Argon2Verifier::derive(&password("pencil"), [7; SALT_BYTES]);
        let text = verifier.to_string();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert_eq!(Argon2Verifier::parse(&text), Ok(verifier));
    }

    #[test]
    fn what_is_too_dear_or_malformed_is_refused() {
        let hash = "c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        for head in [
            "$argon2id$v=19$m=262145,t=2,p=1",
            "$argon2id$v=19$m=256,t=17,p=1",
            "$argon2id$v=19$m=256,t=2,p=17",
            "$argon2id$v=20$m=256,t=2,p=1",
            "$argon2id$v=19$m=1,t=2,p=1",
            "$argon2id$v=19$m=256,t=0,p=1",
            "$argon2id$v=19$m=256,t=2,x=1",
            "$argon2i$v=19$m=256,t=2,p=1",
        ] {
            assert!(Argon2Verifier::parse(&format!("{head}${hash}")).is_err(), "{head}");
        }
        for text in ["$argon2id$", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", "$argon2id$v=19$m=8"]
        {
            assert!(Argon2Verifier::parse(text).is_err(), "{text}");
        }
    }
}
