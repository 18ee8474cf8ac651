//! Set a name's password in a file of credentials, or remove the name.
//!
//! In: what the command line says; a password from the terminal without echo, twice, or one line of
//! standard input. Out: the changed file, whole or not at all: written beside it, synced, renamed.
//! Invariant: nobody but owner and group can read it at any time; a file that others could read is
//! not taken for a secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::limits::{AUTH_PASSWORD_MAX, CREDENTIALS_BYTES_MAX};
use crate::control::cli::Passwd;
use crate::policy::credentials::{self, CredentialsError, Salts};
use crate::smtp::sasl::{Name, Password};

/// Why nothing was changed: one line.
#[derive(Debug, thiserror::Error)]
pub enum PasswdError {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// No password can be read.
    #[error("cannot read a password: {0}")]
    Terminal(io::Error),
    /// The file is no secret.
    #[error("others may use {0}: chmod o= it, and set new passwords if it was so for long")]
    Exposed(PathBuf),
    /// The file is larger than any that a node reads.
    #[error("{0} would be larger than {CREDENTIALS_BYTES_MAX} octets")]
    Large(PathBuf),
    /// The file is malformed.
    #[error("{0}, {1}")]
    Malformed(PathBuf, CredentialsError),
    /// Somebody else is about to change it.
    #[error("{0} is there: another change is under way, or was cut off; then remove it")]
    Locked(PathBuf),
    /// What was asked cannot be done.
    #[error("{0}")]
    Asked(String),
}

/// Do what the command line says.
pub fn run(change: &Passwd) -> Result<(), PasswdError> {
    let name = credentials::name(&change.name)
        .map_err(|what| PasswdError::Asked(format!("`{}`: {what}", change.name.escape_debug())))?;
    if let Some(list) = change.domains.as_deref().filter(|list| !list.is_empty()) {
        credentials::domains(list).map_err(|(_, what)| PasswdError::Asked(what))?;
    }
    // A link stays one: what it leads to is changed.
    let path = fs::canonicalize(&change.file).unwrap_or_else(|_| change.file.clone());
    check_secrecy(&path)?;
    let password = if change.delete { None } else { Some(ask()?) };
    let beside = Beside::create(&path)?;
    let old = read(&path)?;
    let text = changed(change, &old, &name, password.as_ref(), &path)?;
    beside.put(&text)
}

fn changed(
    change: &Passwd,
    old: &str,
    name: &Name,
    password: Option<&Password>,
    path: &Path,
) -> Result<String, PasswdError> {
    let malformed = |error| PasswdError::Malformed(path.into(), error);
    let text = match password {
        Some(password) => {
            let domains = change.domains.as_deref();
            credentials::put(old, name, password, domains, &salts()).map_err(malformed)?
        }
        None => credentials::delete(old, name).map_err(malformed)?.ok_or_else(|| {
            PasswdError::Asked(format!("nobody is called {} in {}", name.as_str(), path.display()))
        })?,
    };
    if text.len() > CREDENTIALS_BYTES_MAX {
        return Err(PasswdError::Large(path.into()));
    }
    Ok(text)
}

fn salts() -> Salts {
    Salts { argon2: random(), scram: random(), decoys: random() }
}

fn random<const OCTETS: usize>() -> [u8; OCTETS] {
    let mut octets = [0; OCTETS];
    let filled = rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty());
    assert_eq!(filled, Ok(OCTETS), "the kernel's randomness comes whole up to 256 octets");
    octets
}

/// A password, from a terminal twice.
fn ask() -> Result<Password, PasswdError> {
    let typed = if io::stdin().is_terminal() {
        let first = prompt("Password: ")?;
        if prompt("Again: ")? != first {
            return Err(PasswdError::Asked("the two are not the same".into()));
        }
        first
    } else {
        let mut line = Zeroizing::new(String::new());
        let stdin = io::stdin().lock();
        // Two octets more than there may be: its line end.
        let mut bounded = stdin.take(AUTH_PASSWORD_MAX as u64 + 2);
        bounded.read_line(&mut line).map_err(PasswdError::Terminal)?;
        Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned())
    };
    Password::prepare(typed.as_bytes()).map_err(|_| {
        let most = AUTH_PASSWORD_MAX;
        let what = format!("a password has 1 to {most} octets and no control characters");
        PasswdError::Asked(what)
    })
}

fn prompt(words: &str) -> Result<Zeroizing<String>, PasswdError> {
    rpassword::prompt_password(words).map(Zeroizing::new).map_err(PasswdError::Terminal)
}

/// A file that others can read may be known to them already. None is none.
fn check_secrecy(path: &Path) -> Result<(), PasswdError> {
    match path.metadata() {
        Ok(metadata) if metadata.mode() & 0o007 != 0 => Err(PasswdError::Exposed(path.into())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PasswdError::File(path.into(), error)),
    }
}

/// The file's text; none has an empty one.
fn read(path: &Path) -> Result<String, PasswdError> {
    let mut text = String::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(text),
        Err(error) => return Err(PasswdError::File(path.into(), error)),
    };
    let read = file.take(CREDENTIALS_BYTES_MAX as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| PasswdError::File(path.into(), error))?;
    if text.len() > CREDENTIALS_BYTES_MAX {
        return Err(PasswdError::Large(path.into()));
    }
    Ok(text)
}

/// What is to take a file's place; goes away unless it does.
struct Beside {
    path: PathBuf,
    new: PathBuf,
    file: File,
    /// It has: there is nothing of this name any more, or it is somebody else's.
    renamed: bool,
}

impl Beside {
    fn create(path: &Path) -> Result<Self, PasswdError> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new) {
            Ok(file) => Ok(Self { path: path.into(), new, file, renamed: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(PasswdError::Locked(new))
            }
            Err(error) => Err(PasswdError::File(new, error)),
        }
    }

    /// Take the file's place, with its owner, its group and what they may do with it.
    fn put(mut self, text: &str) -> Result<(), PasswdError> {
        let done = self.write(text);
        done.map_err(|error| PasswdError::File(self.new.clone(), error))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        if let Ok(old) = self.path.metadata() {
            let own = self.file.metadata()?;
            if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                fchown(&self.file, Some(old.uid()), Some(old.gid()))?;
            }
            self.file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o660))?;
        }
        self.file.sync_all()?;
        fs::rename(&self.new, &self.path)?;
        self.renamed = true;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.new);
        }
    }
}
