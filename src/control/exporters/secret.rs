//! Read logins, and what webhooks are signed with, and sign them: Standard Webhooks,
//! <https://www.standardwebhooks.com>.
//!
//! In: the file of a secret, a request. Out: the value of `webhook-signature`. A secret is
//! `whsec_` and the base64 of 24 to 64 octets; each line of the file is one, so that a consumer
//! can change from one to the next.

use std::fmt;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::base::limits::{EXPORT_KEY_MAX, EXPORT_KEY_MIN, EXPORT_SECRETS_MAX};
use crate::config::options::{Destination, KafkaTopic, Outlet};

/// Why a secret is of no use. The secret is not in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SecretError {
    #[error("the file of its secret has no line with a secret in it")]
    None,
    #[error("the file of its secret has more than {EXPORT_SECRETS_MAX} secrets")]
    Many,
    #[error(
        "line {0} of its secret is not `whsec_` and the base64 of {EXPORT_KEY_MIN} to \
        {EXPORT_KEY_MAX} octets, as `echo whsec_$(openssl rand -base64 32)` makes"
    )]
    Form(usize),
    #[error("the file of its credentials is no text")]
    Text,
    #[error("the file of its credentials is none of NATS: {0}")]
    Credentials(String),
    #[error("the file of its credentials is not one line `name:password`")]
    Login,
}

/// Whether an exporter's secret is one.
pub(super) fn check(outlet: &Outlet) -> Result<(), SecretError> {
    let secret = outlet.secret.as_deref().map_or(&[][..], Vec::as_slice);
    match &outlet.exporter.to {
        Destination::File(_) => Ok(()),
        Destination::Webhook { .. } => Signer::new(secret).map(drop),
        Destination::Amqp(_) => Login::parse(secret).map(drop),
        Destination::Kafka(KafkaTopic { credentials: Some(_), .. }) => {
            Login::parse(secret).map(drop)
        }
        Destination::Kafka(_) | Destination::Nats { credentials: None, .. } => Ok(()),
        Destination::Nats { credentials: Some(_), .. } => {
            let text = str::from_utf8(secret).map_err(|_| SecretError::Text)?;
            async_nats::ConnectOptions::with_credentials(text)
                .map(drop)
                .map_err(|error| SecretError::Credentials(error.to_string()))
        }
    }
}

/// Who this is to a broker.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) name: Box<str>,
    pub(super) password: Zeroizing<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login of {}", self.name)
    }
}

impl Login {
    /// From a file with one line `name:password`.
    pub(super) fn parse(file: &[u8]) -> Result<Self, SecretError> {
        let line = str::from_utf8(file).map_err(|_| SecretError::Login)?.trim_end();
        let (name, password) = line.split_once(':').ok_or(SecretError::Login)?;
        let is_right = !name.is_empty() && !password.is_empty();
        if !is_right || line.contains(char::is_control) {
            return Err(SecretError::Login);
        }
        Ok(Self { name: name.into(), password: Zeroizing::new(password.to_owned()) })
    }

    /// As PLAIN has it (RFC 4616), without another identity.
    pub(super) fn plain(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(format!("\0{}\0{}", self.name, *self.password).into_bytes())
    }
}

/// Signs requests.
pub(super) struct Signer(Vec<Key>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer of {} keys", self.0.len())
    }
}

impl Signer {
    /// By the secrets in a file.
    pub(super) fn new(file: &[u8]) -> Result<Self, SecretError> {
        let mut keys = Vec::new();
        for (number, line) in file.split(|octet| *octet == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let wrong = SecretError::Form(number + 1);
            let text = line.strip_prefix(b"whsec_").ok_or_else(|| wrong.clone())?;
            let key = Zeroizing::new(STANDARD.decode(text).map_err(|_| wrong.clone())?);
            if !(EXPORT_KEY_MIN..=EXPORT_KEY_MAX).contains(&key.len()) {
                return Err(wrong);
            }
            keys.push(Key::new(HMAC_SHA256, &key));
        }
        match keys.len() {
            0 => Err(SecretError::None),
            count if count > EXPORT_SECRETS_MAX => Err(SecretError::Many),
            _ => Ok(Self(keys)),
        }
    }

    /// Of a request with this id, made at `timestamp`, in seconds since 1970, with this body.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let one = |key: &Key| format!("v1,{}", STANDARD.encode(sign(key, &signed)));
        self.0.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example in the specification's reference libraries.
        let signer = Signer::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn while_a_secret_changes_both_sign() {
        let (old, new) = ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "A".repeat(32));
        let file = format!("whsec_{old}\r\n\n  whsec_{new} ");
        let signatures = Signer::new(file.as_bytes()).unwrap().sign("a", 1, b"");
        let [old, new] = signatures.split(' ').collect::<Vec<_>>()[..] else { panic!("two") };
        assert!(old.starts_with("v1,") && new.starts_with("v1,") && old != new);
    }

    #[test]
    fn what_is_no_secret_is_told_without_it() {
        let wrong = |file: &str| Signer::new(file.as_bytes()).unwrap_err().to_string();
        assert!(wrong("\n \n").contains("no line with a secret"));
        for file in [
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_s3cr3t",
            "whsec_c2hvcnQ=",
            &format!("whsec_{}", STANDARD.encode([7; 65])),
        ] {
            let said = wrong(&format!("\n{file}\n"));
            assert!(said.starts_with("line 2 of its secret is not"), "{said}");
            assert!(!said.contains(&file[6..]), "{said}");
        }
        let line = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n";
        assert!(wrong(&line.repeat(EXPORT_SECRETS_MAX + 1)).contains("more than"));
    }

    #[test]
    fn a_login_is_one_line_and_is_not_shown() {
        let login = Login::parse(b"relay:a:b c\n").unwrap();
        assert_eq!((&*login.name, login.password.as_str()), ("relay", "a:b c"));
        assert_eq!(**login.plain(), *b"\0relay\0a:b c");
        assert_eq!(format!("{login:?}"), "Login of relay");
        for wrong in [&b""[..], b"relay", b":x", b"relay:", b"a:b\nc:d", b"a:\0", b"\xff:x"] {
            assert_eq!(Login::parse(wrong), Err(SecretError::Login), "{wrong:?}");
        }
    }
}
