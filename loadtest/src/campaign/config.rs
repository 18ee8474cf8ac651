//! The relay's configuration: marks in it are filled in, and what they stand for is made.
//!
//! Invariant: keys and passwords are new for each run, and stand in files of its owner alone.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::source::LoginFile;
use crate::tls::{self, Flaw, Maker};

const UPSTREAM_MARK: &str = "@UPSTREAM@";
const LISTEN_MARK: &str = "@LISTEN@";
const CERTIFICATE_MARK: &str = "@CERTIFICATE@";
const KEY_MARK: &str = "@CERTIFICATE_KEY@";
const SERVER_MARK: &str = "@SERVER_CERTIFICATE@";
const SHAPING_MARK: &str = "@SHAPING@";
const SECRETS_MARK: &str = "@SECRETS@";
pub(super) const WEB_MARK: &str = "@WEB@";
const WEBHOOK_MARK: &str = "@WEBHOOK@";
const WEBHOOK_SECRET_MARK: &str = "@WEBHOOK_SECRET@";
const CREDENTIALS_MARK: &str = "@CREDENTIALS@";
/// Marks of keys that sign, with their selectors and how they are asked for.
const DKIM_MARKS: [(&str, &str, &str); 2] =
    [("@DKIM_RSA@", "rsa", "--rsa"), ("@DKIM_ED25519@", "ed25519", "--ed25519")];
/// The domain that a source's mail is from.
const DKIM_DOMAIN: &str = "load.example";
/// Octets of `2026-12-01`.
const DATE_LEN: usize = 10;
/// Who logs in.
const NAME: &str = "source";

/// The marks, for `--help`.
pub(crate) const REFERENCE: &str = "\
Marks in the relay's configuration, filled in by the run:
  @LISTEN@                  address of its listener
  @UPSTREAM@                the servers, as upstream[].hosts takes them
  @CERTIFICATE@             file of a certificate that is made for it,
  @CERTIFICATE_KEY@         and of its key
  @SERVER_CERTIFICATE@      file of the servers' certificate, for tls.ca
  @SECRETS@                 file of a secret that is made, as [bounces] and [web] want it
  @TODAY@                   the date in UTC
  @WEB@                     address for [web] to listen on, also in what the servers do
  @SHAPING@                 file of the scenario's shaping rules
  @WEBHOOK@                 URL of the scenario's consumer of events,
  @WEBHOOK_SECRET@          and file of what is signed with for it
  @CREDENTIALS@             file of who may log in; the source then does
  @DKIM_RSA@                file of a key of 2048 bits for load.example, which the mail is from;
                            or @DKIM_ED25519@
@SERVER1@, here and in what the servers do, is the address of the first one, and so on: a
configuration that names one says itself where mail goes.";

/// Where a run is set up.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    /// Takes all files.
    pub(super) folder: &'a Path,
    /// The relay, which makes credentials and keys.
    pub(super) binary: &'a Path,
    pub(super) upstream: &'a str,
    pub(super) listen: SocketAddr,
    /// For who follows links in messages.
    pub(super) web: SocketAddr,
    pub(super) servers: &'a [SocketAddr],
    pub(super) maker: &'a Maker,
    /// Rules of shaping.
    pub(super) shaping: Option<&'a str>,
    /// URL and secret of who takes events.
    pub(super) webhook: Option<(&'a str, &'a str)>,
}

/// What was made because a mark asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// Who may log in.
    pub(super) login: Option<LoginFile>,
    /// Keys that sign the source's mail.
    pub(super) dkim_keys: u64,
}

/// The configuration file, and what goes on the command line since the file has no mark for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Configured {
    pub(super) config: Option<PathBuf>,
    pub(super) upstream: Option<String>,
    pub(super) listens_by_config: bool,
    pub(super) made: Made,
}

impl Site<'_> {
    /// The configuration file with its marks filled in.
    ///
    /// Errors: a file that cannot be read or written; a relay that makes no key or credentials.
    pub(super) async fn configure(&self, config: Option<&Path>) -> Result<Configured> {
        let upstream = Some(self.upstream.to_owned());
        let mut made = Made::default();
        let Some(path) = config else {
            return Ok(Configured { config: None, upstream, listens_by_config: false, made });
        };
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        let routes_by_config = text.contains(UPSTREAM_MARK) || text.contains("@SERVER1@");
        let mut complete = with_servers(&text, self.servers)
            .replace(UPSTREAM_MARK, self.upstream)
            .replace(LISTEN_MARK, &self.listen.to_string());
        self.certify(&mut complete)?;
        self.accompany(&mut complete)?;
        if complete.contains(CREDENTIALS_MARK) {
            let (credentials, login) = self.credentials().await?;
            complete = fill(&complete, CREDENTIALS_MARK, &credentials);
            made.login = Some(login);
        }
        for (mark, selector, algorithm) in DKIM_MARKS {
            if complete.contains(mark) {
                complete = fill(&complete, mark, &self.dkim_key(selector, algorithm).await?);
                made.dkim_keys += 1;
            }
        }
        Ok(Configured {
            config: Some(write(self.folder, "relay.toml", &complete)?),
            upstream: upstream.filter(|_| !routes_by_config),
            listens_by_config: text.contains(LISTEN_MARK),
            made,
        })
    }

    /// The marks of other files.
    fn accompany(&self, text: &mut String) -> Result<()> {
        if text.contains(SECRETS_MARK) {
            let secret = write(self.folder, "secrets", &(tls::secret()? + &tls::secret()? + "\n"))?;
            *text = fill(text, SECRETS_MARK, &secret);
        }
        let now = Timestamp::now().to_string();
        let today = now.get(..DATE_LEN).context("a time begins with its date")?;
        *text = text.replace(WEB_MARK, &self.web.to_string()).replace("@TODAY@", today);
        if text.contains(SHAPING_MARK) {
            let rules = self.shaping.context("the scenario has no `shaping`")?;
            let rules = with_servers(rules, self.servers);
            *text = fill(text, SHAPING_MARK, &write(self.folder, "shaping.toml", &rules)?);
        }
        if text.contains(WEBHOOK_MARK) {
            let (url, secret) = self.webhook.context("the scenario has no `consumer`")?;
            let secret = write(self.folder, "webhook", secret)?;
            *text = fill(&text.replace(WEBHOOK_MARK, url), WEBHOOK_SECRET_MARK, &secret);
        }
        Ok(())
    }

    /// The marks of certificates.
    fn certify(&self, text: &mut String) -> Result<()> {
        if text.contains(CERTIFICATE_MARK) || text.contains(KEY_MARK) {
            let own = self.maker.make(Flaw::None, "relay.load.example", &[self.listen.ip()])?;
            let certificate = write(self.folder, "relay.pem", &own.pem)?;
            let key = write(self.folder, "relay.key", &own.key_pem)?;
            *text = fill(&fill(text, CERTIFICATE_MARK, &certificate), KEY_MARK, &key);
        }
        if text.contains(SERVER_MARK) {
            let addresses: Vec<IpAddr> = self.servers.iter().map(SocketAddr::ip).collect();
            let theirs = self.maker.make(Flaw::None, "sink.example", &addresses)?;
            *text = fill(text, SERVER_MARK, &write(self.folder, "servers.pem", &theirs.pem)?);
        }
        Ok(())
    }

    /// A file of credentials with one name in it, and that name with its password.
    async fn credentials(&self) -> Result<(PathBuf, LoginFile)> {
        let password = tls::secret()?;
        let file = write(self.folder, "password", &password)?;
        let credentials = self.folder.join("credentials");
        let words = [OsStr::new("passwd"), credentials.as_os_str(), OsStr::new(NAME)];
        self.ask(&words, &password).await?;
        Ok((credentials, LoginFile { name: NAME.to_owned(), file }))
    }

    /// The file of a new key that signs.
    async fn dkim_key(&self, selector: &str, algorithm: &str) -> Result<PathBuf> {
        let words = ["dkim", "keygen", DKIM_DOMAIN, "--selector", selector, algorithm, "--out"];
        let words = words.map(OsStr::new).into_iter().chain([self.folder.as_os_str()]);
        self.ask(&words.collect::<Vec<_>>(), "").await?;
        Ok(self.folder.join(format!("{DKIM_DOMAIN}.{selector}.pem")))
    }

    /// Runs the relay's program with these words, and `input` to read.
    async fn ask(&self, words: &[&OsStr], input: &str) -> Result<()> {
        let mut child = Command::new(self.binary)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        let mut stdin = child.stdin.take().context("it has a standard input")?;
        stdin.write_all(input.as_bytes()).await.context("telling the relay's program")?;
        drop(stdin);
        let output = child.wait_with_output().await.context("waiting for the relay's program")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{} {words:?}: {}", self.binary.display(), said.trim_end());
        }
        Ok(())
    }
}

/// The text with a file's name in a mark's place.
fn fill(text: &str, mark: &str, path: &Path) -> String {
    text.replace(mark, &path.to_string_lossy())
}

/// A text with the servers' addresses in place of their marks; `@HOST1@` is the first one's host.
pub(super) fn with_servers(script: &str, servers: &[SocketAddr]) -> String {
    let numbered = servers.iter().enumerate();
    numbered.fold(script.to_owned(), |text, (place, server)| {
        text.replace(&format!("@SERVER{}@", place + 1), &server.to_string())
            .replace(&format!("@HOST{}@", place + 1), &server.ip().to_string())
    })
}

/// A new file that nobody else may read.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_file_has_a_mark_for_goes_into_it_and_else_onto_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let maker = Maker::new().unwrap();
        let site = Site {
            folder: folder.path(),
            binary: Path::new("/bin/false"),
            upstream: "127.0.0.1:1*3",
            listen: "127.0.0.1:2".parse().unwrap(),
            web: "127.0.0.1:3".parse().unwrap(),
            servers: &["127.0.0.1:1".parse().unwrap()],
            maker: &maker,
            shaping: None,
            webhook: None,
        };
        let given = async |text: &str| {
            let file = folder.path().join("given.toml");
            std::fs::write(&file, text).unwrap();
            // A run has one relay, and its file is new.
            let _none = std::fs::remove_file(folder.path().join("relay.toml"));
            site.configure(Some(&file)).await
        };
        let upstream = Some("127.0.0.1:1*3".to_owned());
        let none = site.configure(None).await.unwrap();
        assert_eq!((none.config, none.upstream), (None, upstream.clone()));
        let filled = given("to = \"@UPSTREAM@\", at = \"@LISTEN@\"").await.unwrap();
        let text = std::fs::read_to_string(filled.config.unwrap()).unwrap();
        assert_eq!(text, "to = \"127.0.0.1:1*3\", at = \"127.0.0.1:2\"");
        assert_eq!((filled.upstream, filled.listens_by_config), (None, true));
        let plain = given("cores = 2").await.unwrap();
        assert_eq!((plain.upstream, plain.listens_by_config), (upstream, false));
        assert_eq!(plain.made, Made::default());
        let certified =
            given("@CERTIFICATE@ @CERTIFICATE_KEY@ @SERVER_CERTIFICATE@").await.unwrap();
        let text = std::fs::read_to_string(certified.config.unwrap()).unwrap();
        for (file, begin) in text.split(' ').zip(["CERTIFICATE", "PRIVATE KEY", "CERTIFICATE"]) {
            let pem = std::fs::read_to_string(file).unwrap();
            assert!(pem.starts_with(&format!("-----BEGIN {begin}-----")), "{pem}");
        }
        let error = given("@DKIM_RSA@").await.unwrap_err().to_string();
        assert!(error.starts_with("/bin/false [\"dkim\", \"keygen\""), "{error}");
    }

    #[test]
    fn servers_are_named_by_their_number() {
        let servers = ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().unwrap());
        assert_eq!(
            with_servers("@SERVER2@ @SERVER1@ @SERVER3@", &servers),
            "127.0.0.1:2 127.0.0.1:1 @SERVER3@"
        );
    }
}
