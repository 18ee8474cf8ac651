//! Know who may log in: names, what their passwords are measured by, and what they may send as.
//!
//! In: the text of a file (`credentials/file.rs` has its form). Out: whether a name's password is
//! right, its SCRAM verifier, its identity.
//! Invariant: a name that nobody has costs the work of one that somebody has, and shows the same
//! SCRAM salt each time: it is measured by a decoy in the form of one of the file's identities,
//! chosen by a secret and the name. Lives on: all shards, shared; a reload makes another.

mod argon;
mod edit;
mod file;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_lc_rs::digest;
use hashbrown::HashMap;

use crate::base::limits::{SALT_BYTES, SCRAM_ITERATIONS_DEFAULT};
use crate::mail::address::ReversePath;
use crate::mail::status::Reply;
use crate::policy::relay::DomainSet;
use crate::policy::reply;
use crate::smtp::sasl::{Name, Password, ScramVerifier};

use argon::Argon2Verifier;

pub use edit::{delete, put};
pub use file::{CredentialsError, Salts, domains, name};

/// Who may log in.
#[derive(Debug)]
pub struct Credentials {
    by_name: HashMap<Name, Arc<Identity>>,
    /// In the file's order: what decoys are made after.
    all: Vec<Arc<Identity>>,
    /// Their SCRAM verifiers, likewise.
    scrams: Vec<ScramVerifier>,
    secret: [u8; 32],
    /// What decoys are made after where the file has nothing.
    default_argon2: Argon2Verifier,
}

/// Somebody who may log in.
#[derive(Debug)]
pub struct Identity {
    name: Name,
    argon2: Option<Argon2Verifier>,
    scram: Option<ScramVerifier>,
    /// Domains that it may send as; `None` is any.
    domains: Option<Arc<DomainSet>>,
}

impl Default for Credentials {
    /// Nobody may.
    fn default() -> Self {
        Self::parse("").expect("nothing is wrong with nothing")
    }
}

impl Credentials {
    /// Read the text of a file.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let (identities, secret) = file::parse(text)?;
        // Without a line for it the secret is what the file holds: better than one that each start
        // and each node makes anew, for then decoys alone would change.
        let secret = secret.unwrap_or_else(|| {
            let digest = digest::digest(&digest::SHA256, text.as_bytes());
            digest.as_ref().try_into().expect("SHA-256 has 32 octets")
        });
        let all: Vec<_> = identities.into_iter().map(Arc::new).collect();
        let by_name = all.iter().map(|identity| (identity.name.clone(), identity.clone()));
        let mut scrams: Vec<_> = all.iter().filter_map(|identity| identity.scram.clone()).collect();
        if scrams.is_empty() {
            let password = Password::prepare(b"x").expect("a password");
            let salt = [0; SALT_BYTES];
            scrams.push(ScramVerifier::derive(&password, &salt, SCRAM_ITERATIONS_DEFAULT));
        }
        let default_argon2 = Argon2Verifier::default_form();
        Ok(Self { by_name: by_name.collect(), all, scrams, secret, default_argon2 })
    }

    /// How many may log in.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether nobody may.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Who has this name.
    pub fn identity(&self, name: &Name) -> Option<&Arc<Identity>> {
        self.by_name.get(name)
    }

    /// Whether `password` is that of `name`: slow by design, and as slow for a name that nobody
    /// has. To be called where nobody waits for the thread.
    pub fn verify(&self, name: &Name, password: &Password) -> bool {
        let known = self.by_name.get(name);
        let measured_by = known.or_else(|| self.decoy_of(name, &self.all));
        let right = match measured_by.map(|identity| (&identity.argon2, &identity.scram)) {
            Some((Some(argon2), _)) => argon2.is_of(password),
            Some((None, Some(scram))) => scram.is_of(password),
            Some((None, None)) | None => self.default_argon2.is_of(password),
        };
        known.is_some() && right
    }

    /// The SCRAM verifier of `name`, or a decoy where it has none.
    pub fn scram(&self, name: &Name) -> ScramVerifier {
        // Made in any case: it takes some time.
        let like = self.decoy_of(name, &self.scrams).expect("there is one at least");
        let decoy = ScramVerifier::decoy(&self.secret, name.as_str(), like);
        let known = self.by_name.get(name).and_then(|known| known.scram.clone());
        known.unwrap_or(decoy)
    }

    /// One of `among`, the same one each time for a name.
    fn decoy_of<'a, T>(&self, name: &Name, among: &'a [T]) -> Option<&'a T> {
        let chosen = ScramVerifier::choice(&self.secret, name.as_str());
        let count = u64::try_from(among.len()).ok().filter(|count| *count > 0)?;
        among.get(usize::try_from(chosen % count).ok()?)
    }
}

/// A password that is to be checked where nobody waits for the thread.
#[derive(Debug)]
pub struct Check {
    /// Who may log in.
    pub credentials: Arc<Credentials>,
    /// Who says that it is.
    pub name: Name,
    /// With this.
    pub password: Password,
}

impl Check {
    /// Whether it is: slow by design.
    pub fn run(self) -> bool {
        self.credentials.verify(&self.name, &self.password)
    }
}

impl Identity {
    /// What it calls itself.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Domains that it may send as; `None` is any.
    pub fn domains(&self) -> Option<&Arc<DomainSet>> {
        self.domains.as_ref()
    }

    /// Whether it may send as `reverse_path`. The null reverse-path is nobody's: anyone may.
    pub fn may_send_as(&self, reverse_path: &ReversePath) -> Result<(), Reply> {
        let Some(domains) = &self.domains else { return Ok(()) };
        match &reverse_path.0 {
            Some(mailbox) if !domains.contains(mailbox.domain()) => {
                Err(reply(553, (5, 7, 1), "You may not send as this domain"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
