//! Who a source says that it is, and the words of AUTH that say it (RFC 4954).
//!
//! Invariant: the password stands in a file, never on a command line, and is never shown.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A name, and the file that has its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoginFile {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

impl FromStr for LoginFile {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts =
            text.split_once(':').filter(|(name, file)| !name.is_empty() && !file.is_empty());
        let (name, file) = parts.context("expected NAME:FILE, the password in the file")?;
        Ok(Self { name: name.to_owned(), file: file.into() })
    }
}

impl LoginFile {
    /// Reads the password: the file's first line.
    pub(crate) fn read(&self) -> Result<Login> {
        let text = std::fs::read_to_string(&self.file);
        let text = text.with_context(|| format!("reading {}", self.file.display()))?;
        let password = text.lines().next().unwrap_or_default();
        if password.is_empty() || [&self.name, password].iter().any(|word| word.contains('\0')) {
            bail!("no password in the first line of {}", self.file.display());
        }
        Ok(Login { name: self.name.clone(), password: password.to_owned() })
    }
}

/// A name with its password.
pub(crate) struct Login {
    name: String,
    password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?})", self.name)
    }
}

/// The mechanisms that are known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mechanisms {
    plain: bool,
    login: bool,
}

impl Mechanisms {
    /// Those of a line of an EHLO reply, behind `AUTH`.
    pub(crate) fn note(&mut self, words: &[u8]) {
        for word in words.split(|&octet| octet == b' ') {
            self.plain |= word.eq_ignore_ascii_case(b"PLAIN");
            self.login |= word.eq_ignore_ascii_case(b"LOGIN");
        }
    }
}

impl Login {
    /// What is said, line by line, each behind a 334 but the first; nothing where no mechanism is
    /// offered that could be used.
    pub(crate) fn lines(&self, offered: Mechanisms) -> Option<Vec<String>> {
        let Self { name, password } = self;
        if offered.plain {
            // RFC 4616 §2: nobody to act for, then name and password.
            let message = BASE64.encode(format!("\0{name}\0{password}"));
            return Some(vec![format!("AUTH PLAIN {message}\r\n")]);
        }
        let line = |word: &str| BASE64.encode(word) + "\r\n";
        offered.login.then(|| vec!["AUTH LOGIN\r\n".to_owned(), line(name), line(password)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login { name: "tim".to_owned(), password: "tanstaaftanstaaf".to_owned() }
    }

    /// The example of RFC 4616 §4.
    #[test]
    fn plain_goes_out_in_one_line_where_it_is_offered() {
        let mut offered = Mechanisms::default();
        assert_eq!(login().lines(offered), None);
        offered.note(b"SCRAM-SHA-256 login plain");
        let message = BASE64.encode("\0tim\0tanstaaftanstaaf");
        assert_eq!(login().lines(offered), Some(vec![format!("AUTH PLAIN {message}\r\n")]));
    }

    #[test]
    fn login_is_said_word_by_word() {
        let mut offered = Mechanisms::default();
        offered.note(b"LOGIN");
        let lines = ["AUTH LOGIN\r\n", "dGlt\r\n", "dGFuc3RhYWZ0YW5zdGFhZg==\r\n"];
        assert_eq!(login().lines(offered), Some(lines.map(str::to_owned).to_vec()));
        assert!(!format!("{:?}", login()).contains("tanstaaf"));
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a:b");
        let spec: LoginFile = format!("tim:{}", file.display()).parse().unwrap();
        assert_eq!(spec, LoginFile { name: "tim".to_owned(), file: file.clone() });
        assert!(spec.read().is_err(), "there is no such file");
        std::fs::write(&file, "se cret\r\nmore\n").unwrap();
        assert_eq!(spec.read().unwrap().password, "se cret");
        std::fs::write(&file, "\nmore\n").unwrap();
        assert!(spec.read().is_err());
        for wrong in ["tim", ":file", "tim:", ""] {
            assert!(wrong.parse::<LoginFile>().is_err(), "{wrong}");
        }
    }
}
