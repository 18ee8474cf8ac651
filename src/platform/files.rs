//! Read the files that a configuration names, and write new keys.
//!
//! At the start and at a reload, on the main thread. Invariant: a key that others can read is not
//! used: it may be theirs already.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::process::umask;
use zeroize::Zeroizing;

use crate::base::limits::{
    ADMIN_TOKEN_MAX, CLASS_FILE_MAX, CREDENTIALS_BYTES_MAX, EXPORT_SECRET_MAX, PEM_BYTES_MAX,
    RECIPIENTS_BYTES_MAX, SHAPING_FILE_MAX, SOCKS_FILE_MAX, SOCKS_WORD_MAX, VERP_FILE_MAX,
};
use crate::config::Config;
use crate::config::options::{
    CertificateFiles, DkimKey, EgressSource, Exporter, Outlet, ProxyKind, Recipients,
    ShapingOptions,
};
use crate::egress::shaping::{Shaping, ShapingError};
use crate::mail::route::{Route, TlsLevel};
use crate::outcome::classes::{Classifier, RulesError};
use crate::platform::confine;
use crate::platform::relay::SettingsError;
use crate::policy::credentials::{Credentials, CredentialsError};
use crate::policy::gate::{self, Board};
use crate::policy::recipients::{ListError, RecipientList};
use crate::policy::signing::{KeyError, PrivateKey, Signer, Signers};
use crate::policy::verp::{Secrets, SecretsError};
use crate::shard::settings::Surroundings;
use crate::smtp::server::Security;
use crate::smtp::socks::Login;
use crate::tls::{Acceptor, Chain, Clock, Identity, IdentityError, Roots, RootsError};

/// The machine's resolver configuration.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why a file is of no use: one line, with the file's name.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is somewhere where this process cannot look any more.
    #[error(
        "{0} is in a folder that was not named when this relay was started, and so is closed to \
        it (knob `sandbox`): restart it, or keep the file in a folder that was"
    )]
    Closed(PathBuf),
    /// A directory, a pipe, a device.
    #[error("{0} is no file")]
    NoFile(PathBuf),
    /// It is larger than anything that it could be.
    #[error("{0} is larger than {1} octets")]
    Large(PathBuf, u64),
    /// A key that is no secret.
    #[error(
        "{0} can be read by everyone: chmod o= it, and renew what is in it if it was so for long"
    )]
    Exposed(PathBuf),
    /// It is no certificate and key.
    #[error("{0}: {1}")]
    Identity(PathBuf, IdentityError),
    /// It is no key to sign with.
    #[error("{0}: {1}")]
    Key(PathBuf, KeyError),
    /// It is no file of credentials.
    #[error("{0}, {1}")]
    Credentials(PathBuf, CredentialsError),
    /// It is no list of recipients.
    #[error("{0}, {1}")]
    Recipients(PathBuf, ListError),
    /// It has no rules of replies.
    #[error("{0}: {1}")]
    Rules(PathBuf, RulesError),
    /// It has no secrets that sign reverse-paths.
    #[error("{0}: {1}")]
    Secrets(PathBuf, SecretsError),
    /// It has no rules of shapes.
    #[error("{0}: {1}")]
    Shaping(PathBuf, ShapingError),
    /// A rule names a pool that is not there.
    #[error("{0}: {1}: there is no [[pool]] `{2}`")]
    NoPool(PathBuf, Box<str>, Box<str>),
    /// It is no login.
    #[error("{0} is not one line `name:password`, each of 1 to {SOCKS_WORD_MAX} octets")]
    NoLogin(PathBuf),
    /// It is not text.
    #[error("{0} is not text")]
    NotText(PathBuf),
    /// It has no authority in it.
    #[error("{0}: {1}")]
    Roots(PathBuf, RootsError),
}

/// Whether files have changed since they were last looked at.
#[derive(Debug)]
pub struct Watch {
    seen: Vec<Option<Stamp>>,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Watch {
    /// As the files that `config` names are now. To be asked before they are read: what changes
    /// while they are is then told.
    pub fn new(config: &Config) -> Self {
        Self { seen: stamps(config) }
    }

    /// Whether one of the files that `config` names is another than at the last look, or gone, or
    /// there again.
    pub fn look(&mut self, config: &Config) -> bool {
        let now = stamps(config);
        let is_other = now != self.seen;
        self.seen = now;
        is_other
    }
}

fn stamps(config: &Config) -> Vec<Option<Stamp>> {
    paths(config).map(stamp).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = path.metadata().ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        size: metadata.size(),
    })
}

/// Every file that `config` names and that is read.
pub(super) fn paths(config: &Config) -> impl Iterator<Item = &Path> {
    let sources = config.sources.iter().filter_map(|source| source.certificate.as_ref());
    let web = config.web.as_ref();
    let own = [config.admin.certificate.as_ref(), web.and_then(|web| web.certificate.as_ref())];
    let certificates = config.certificates.iter().chain(sources).chain(own.into_iter().flatten());
    let clients = config.listeners.iter().filter_map(|one| one.client_authorities.as_deref());
    let trusts = verifies(config) || config.domain_check != gate::Mode::Off;
    let authorities = trusts.then_some(config.tls_authorities.as_path());
    let pairs = certificates.flat_map(|files| [&*files.chain, &*files.key]);
    let signing = config.dkim_keys.iter().map(|key| key.file.as_path());
    let credentials = config.credentials.as_deref();
    let admin = &config.admin;
    let tokens = admin.tokens.iter().map(|token| token.file.as_path());
    let asking = admin.token.as_deref().into_iter().chain(tokens);
    let asking = asking.chain(admin.client_authorities.as_deref());
    let pem = pairs.chain(clients).chain(authorities).chain(signing);
    let rules = config.bounce_rules.as_deref();
    let secrets = config.exporters.iter().filter_map(|one| one.to.secret());
    let signing = config.returns.as_ref().map(|returns| returns.secrets.as_path());
    let rules = rules.into_iter().chain(secrets.map(PathBuf::as_path)).chain(signing);
    let logins = config.sources.iter().filter_map(proxy_login);
    let sealing = web.map(|web| web.secrets.as_path());
    let rules = rules.chain(config.shaping.file.as_deref()).chain(logins).chain(sealing);
    pem.chain(credentials).chain(asking).chain(recipient_files(config)).chain(rules)
}

/// What the control thread needs of the files that `config` names; a secret, so never printed.
pub struct AdminFiles {
    /// The content of the token's file.
    pub token: Option<Vec<u8>>,
    /// Those of the others' files, in their order.
    pub tokens: Vec<Vec<u8>>,
    /// Answers handshakes from elsewhere.
    pub acceptor: Option<Acceptor>,
}

/// Read the file of the token: it is one line.
pub fn admin_token(path: &Path) -> Result<Vec<u8>, FileError> {
    read_secret(path, ADMIN_TOKEN_MAX as u64 + 2)
}

/// Read the files of the admin addresses.
pub fn admin(config: &Config, clock: &Arc<Clock>) -> Result<AdminFiles, SettingsError> {
    let admin = &config.admin;
    let token = admin.token.as_deref().map(admin_token).transpose()?;
    let tokens = admin.tokens.iter().map(|token| admin_token(&token.file));
    let tokens = tokens.collect::<Result<_, _>>()?;
    let identity = admin.certificate.as_ref().map(identity).transpose()?;
    let clients = admin.client_authorities.as_deref().map(roots).transpose()?;
    let acceptor = match (identity, clients) {
        (None, _) => None,
        (Some(own), None) => Some(Acceptor::new(&[own], None, clock)?),
        (Some(own), Some(clients)) => Some(Acceptor::for_members(&[own], &clients, clock)?),
    };
    Ok(AdminFiles { token, tokens, acceptor })
}

/// What the public door needs of the files that `config` names.
#[derive(Debug)]
pub struct WebFiles {
    /// What opens links.
    pub secrets: Arc<Secrets>,
    /// Answers handshakes, where no proxy does.
    pub acceptor: Option<Acceptor>,
}

/// Read the files of the public door; `None`: there are no links.
pub fn web(config: &Config, clock: &Arc<Clock>) -> Result<Option<WebFiles>, SettingsError> {
    let Some(web) = &config.web else { return Ok(None) };
    let identity = web.certificate.as_ref().map(identity).transpose()?;
    let acceptor = identity.map(|own| Acceptor::new(&[own], None, clock)).transpose()?;
    Ok(Some(WebFiles { secrets: secrets(&web.secrets)?, acceptor }))
}

/// Read the files of those who are handed events.
pub fn outlets(config: &Config) -> Result<Vec<Outlet>, FileError> {
    let outlet = |exporter: &Exporter| {
        let secret = exporter.to.secret().map(|path| read_secret(path, EXPORT_SECRET_MAX));
        let authorities = exporter.to.speaks_tls().then(|| roots(&config.tls_authorities));
        Ok(Outlet {
            exporter: exporter.clone(),
            node: config.hostname.as_str().into(),
            secret: secret.transpose()?.map(Zeroizing::new),
            authorities: authorities.transpose()?,
            authorities_file: config.tls_authorities.clone(),
        })
    };
    config.exporters.iter().map(outlet).collect()
}

/// What the machine adds to `config`.
pub fn surroundings(
    config: &Config,
    clock: Arc<Clock>,
    board: Arc<Board>,
) -> Result<Surroundings, FileError> {
    let client_authorities = config.listeners.iter().map(|listener| &listener.client_authorities);
    let source_certificates = config.sources.iter().map(|source| &source.certificate);
    Ok(Surroundings {
        resolv_conf: resolv_conf(),
        identities: config.certificates.iter().map(identity).collect::<Result<_, _>>()?,
        client_authorities: client_authorities
            .map(|path| path.as_deref().map(roots).transpose())
            .collect::<Result<_, _>>()?,
        source_identities: source_certificates
            .map(|files| files.as_ref().map(identity).transpose())
            .collect::<Result<_, _>>()?,
        source_logins: config.sources.iter().map(login).collect::<Result<_, _>>()?,
        authorities: verifies(config).then(|| roots(&config.tls_authorities)).transpose()?,
        signers: Arc::new(signers(config)?),
        credentials: config
            .credentials
            .as_deref()
            .map_or_else(|| Ok(Arc::default()), credentials)?,
        recipients: recipient_files(config)
            .into_iter()
            .map(recipients)
            .collect::<Result<_, _>>()?,
        clock,
        classifier: config.bounce_rules.as_deref().map(classifier).transpose()?,
        secrets: config.returns.as_ref().map(|it| secrets(&it.secrets)).transpose()?,
        link_secrets: config.web.as_ref().map(|web| secrets(&web.secrets)).transpose()?,
        shaping: config.shaping.is_on().then(|| shaping_in(config)).transpose()?,
        board,
        campaigns: Arc::default(),
        suppression: None,
    })
}

fn proxy_login(source: &EgressSource) -> Option<&Path> {
    match &source.proxy.as_ref()?.kind {
        ProxyKind::Socks(login) => login.as_deref(),
        ProxyKind::Header => None,
    }
}

/// What a source's proxy wants to hear.
fn login(source: &EgressSource) -> Result<Option<Arc<Login>>, FileError> {
    let Some(path) = proxy_login(source) else { return Ok(None) };
    let line = Zeroizing::new(read_secret(path, SOCKS_FILE_MAX)?);
    let login = Login::parse(&line).ok_or_else(|| FileError::NoLogin(path.into()))?;
    Ok(Some(Arc::new(login)))
}

/// What signs reverse-paths, or seals links.
fn secrets(path: &Path) -> Result<Arc<Secrets>, FileError> {
    let text = read_secret(path, VERP_FILE_MAX)?;
    let secrets = Secrets::parse(&String::from_utf8_lossy(&text));
    secrets.map(Arc::new).map_err(|error| FileError::Secrets(path.to_owned(), error))
}

/// The keys of `config` that sign.
pub fn signers(config: &Config) -> Result<Signers, FileError> {
    let signer = |key: &DkimKey| {
        let text = read_secret(&key.file, PEM_BYTES_MAX)?;
        let private = PrivateKey::from_pem(&String::from_utf8_lossy(&text));
        Ok(Signer {
            domain: key.domain.clone(),
            selector: key.selector.clone(),
            subdomains: key.subdomains,
            identities: key.identities.clone(),
            tenants: key.tenants.clone(),
            key: Arc::new(private.map_err(|error| FileError::Key(key.file.clone(), error))?),
        })
    };
    Ok(Signers::new(config.dkim_keys.iter().map(signer).collect::<Result<Vec<_>, FileError>>()?))
}

/// Make whatever this process makes from here on for its owner alone.
pub fn make_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// The certificates that `config` shows to clients, without their keys.
pub(super) fn chains(config: &Config) -> Result<Vec<Chain>, FileError> {
    let chain = |files: &CertificateFiles| {
        let text = read(&files.chain, PEM_BYTES_MAX)?;
        Chain::from_pem(&text).map_err(|error| FileError::Identity(files.chain.clone(), error))
    };
    config.certificates.iter().map(chain).collect()
}

/// Write the text of a key to a new file in `folder`, for its owner alone; nothing that is there is
/// overwritten.
pub fn write_secret(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let path = folder.join(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        fs::remove_file(&path)?;
    }
    written.map(|()| path)
}

/// Whether any peer's certificate is to be verified.
fn verifies(config: &Config) -> bool {
    let rules = config.routes.iter().map(|rule| rule.route).chain([config.default_route]);
    let groups = config.groups.iter().map(|group| group.tls);
    let mx_levels = rules.filter_map(|route| match route {
        Route::Mx(level) => Some(level),
        Route::Group(_) => None,
    });
    let trusts = [TlsLevel::Verify, TlsLevel::MtaSts, TlsLevel::Policy];
    // Whoever comes through TLS may require it all the way (RFC 8689).
    let offers_tls = config.listeners.iter().any(|one| one.security != Security::Clear);
    // Policies that are being tested are held against certificates, and reports go out by HTTPS.
    let reports = config.tls_report.is_some();
    let exports = config.exporters.iter().any(|one| one.to.speaks_tls());
    offers_tls || reports || exports || groups.chain(mx_levels).any(|level| trusts.contains(&level))
}

fn identity(files: &CertificateFiles) -> Result<Identity, FileError> {
    let chain = read(&files.chain, PEM_BYTES_MAX)?;
    let key = read_secret(&files.key, PEM_BYTES_MAX)?;
    Identity::from_pem(&chain, &key).map_err(|error| {
        let of_key = matches!(error, IdentityError::Key | IdentityError::Pair(_));
        let path = if of_key { &files.key } else { &files.chain };
        FileError::Identity(path.clone(), error)
    })
}

/// The authorities in a file.
pub(super) fn roots(path: &Path) -> Result<Roots, FileError> {
    Roots::from_pem(&read(path, PEM_BYTES_MAX)?)
        .map_err(|error| FileError::Roots(path.into(), error))
}

fn credentials(path: &Path) -> Result<Arc<Credentials>, FileError> {
    let octets = read_secret(path, CREDENTIALS_BYTES_MAX as u64)?;
    let text = std::str::from_utf8(&octets).map_err(|_| FileError::NotText(path.into()))?;
    let read = Credentials::parse(text);
    read.map(Arc::new).map_err(|error| FileError::Credentials(path.into(), error))
}

fn read_secret(path: &Path, octets_max: u64) -> Result<Vec<u8>, FileError> {
    let (file, metadata) = open(path)?;
    if metadata.mode() & 0o007 != 0 {
        return Err(FileError::Exposed(path.into()));
    }
    content(file, path, octets_max)
}

fn read(path: &Path, octets_max: u64) -> Result<Vec<u8>, FileError> {
    content(open(path)?.0, path, octets_max)
}

/// What is said of a file is said of the one that is read, whatever takes its name meanwhile.
fn open(path: &Path) -> Result<(File, Metadata), FileError> {
    // A pipe that nobody writes to must hold up nothing.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| unreadable(path, error))?;
    let metadata = file.metadata().map_err(|error| FileError::Read(path.into(), error))?;
    if !metadata.is_file() {
        return Err(FileError::NoFile(path.into()));
    }
    Ok((file, metadata))
}

fn content(file: File, path: &Path, octets_max: u64) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    let read = file.take(octets_max + 1).read_to_end(&mut content);
    read.map_err(|error| FileError::Read(path.into(), error))?;
    if content.len() as u64 > octets_max {
        return Err(FileError::Large(path.into(), octets_max));
    }
    Ok(content)
}

fn unreadable(path: &Path, error: io::Error) -> FileError {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    match is_denied && confine::is_closed(path) {
        true => FileError::Closed(path.into()),
        false => FileError::Read(path.into(), error),
    }
}

/// The files that list recipients, each once.
fn recipient_files(config: &Config) -> BTreeSet<&Path> {
    let files = config.relay_domains.iter().filter_map(|one| match &one.recipients {
        Recipients::List(path) => Some(&**path),
        Recipients::Any | Recipients::Callout(_) => None,
    });
    files.collect()
}

/// The recipients in a file. They are no secret, and not for everyone: who may read it may.
fn recipients(path: &Path) -> Result<(PathBuf, Arc<RecipientList>), FileError> {
    let octets = read(path, RECIPIENTS_BYTES_MAX as u64)?;
    let text = std::str::from_utf8(&octets).map_err(|_| FileError::NotText(path.into()))?;
    let read = RecipientList::parse(text);
    let list = read.map_err(|error| FileError::Recipients(path.into(), error))?;
    Ok((path.into(), Arc::new(list)))
}

/// Write a file anew: whoever is killed meanwhile leaves it as it was or as it is to be.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, content)?;
    fs::rename(&new, path)
}

/// Rules of what kind of refusal a reply is.
pub fn classifier(path: &Path) -> Result<Arc<Classifier>, FileError> {
    let octets = read(path, CLASS_FILE_MAX)?;
    let text = std::str::from_utf8(&octets).map_err(|_| FileError::NotText(path.into()))?;
    let read = Classifier::new(Some(text));
    read.map(Arc::new).map_err(|error| FileError::Rules(path.into(), error))
}

/// The rules that traffic is shaped by.
pub fn shaping(options: &ShapingOptions) -> Result<Arc<Shaping>, FileError> {
    let text = options.file.as_deref().map(|path| {
        let octets = read(path, SHAPING_FILE_MAX)?;
        String::from_utf8(octets).map_err(|_| FileError::NotText(path.into()))
    });
    let shaping = Shaping::new(options.shipped, text.transpose()?.as_deref());
    let path = || options.file.clone().unwrap_or_default();
    shaping.map(Arc::new).map_err(|error| FileError::Shaping(path(), error))
}

/// The same, with pools that are there.
fn shaping_in(config: &Config) -> Result<Arc<Shaping>, FileError> {
    let shaping = shaping(&config.shaping)?;
    let is_there = |name: &str| config.pools.iter().any(|pool| *pool.name == *name);
    let missing = shaping.pools().find(|(pool, _)| !is_there(pool));
    if let Some((pool, rule)) = missing {
        let path = config.shaping.file.clone().unwrap_or_default();
        return Err(FileError::NoPool(path, rule.into(), pool.into()));
    }
    Ok(shaping)
}

/// The machine's resolver configuration; none leaves the resolver's own defaults.
pub(super) fn resolv_conf() -> String {
    fs::read_to_string(RESOLV_CONF).unwrap_or_default()
}
