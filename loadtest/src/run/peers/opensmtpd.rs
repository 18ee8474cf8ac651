//! OpenSMTPD as a relay of its own: a configuration in a folder, and a view of the system in which
//! its fixed paths lead there.
//!
//! Set up as an operator would for bulk: none of its delays, its limits above what a scenario asks
//! for, and nothing is looked up but in files. It does not sync before 250, and has no option to
//! (`queue_fs.c` of 6.8 to 7.8 writes content and envelope, and renames them). How many connections
//! it needs to one relay it asks itself every ten seconds at most (`DELAY_CHECK_SOURCE_SLOW`,
//! compiled in), so that its deliveries a second say little in short runs.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;

use super::server::{self, Peer, Place, Plan, Promise, Server};

/// Connections that wait to be accepted. Its own 5 (`SMTPD_BACKLOG`) is compiled in; where more
/// come at once, Linux drops the end of a handshake, and that client waits for a greeting for ever.
const BACKLOG: i32 = 1_024;
/// Where it looks for servers of names.
const RESOLVER: &str = "/etc/resolv.conf";
/// Its spool is `/var/spool/smtpd` and its socket `/run/smtpd.sock`, whatever is configured: it
/// runs where these folders are others, in a mount namespace of its own. Each pair of arguments
/// is mounted; what follows `--` is what it becomes.
const IN_ITS_VIEW: &str = "while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\"; shift 2; done
shift
exec \"$@\"";

/// OpenSMTPD where it is installed.
#[derive(Debug)]
pub(super) struct OpenSmtpd {
    program: PathBuf,
    version: String,
}

impl OpenSmtpd {
    /// Errors: it is not there, or cannot be run.
    pub(super) fn find() -> Result<Self> {
        let program = server::on_path(&["smtpd"]);
        let program = program.context("not installed (Debian's package opensmtpd)")?;
        server::expect_root("OpenSMTPD")?;
        // An option that it does not know, which shows its usage.
        let printed = server::printed(&program, &["-h"])?;
        let Some(version) = version_in(&printed) else {
            bail!("{} does not say that it is OpenSMTPD: {printed}", program.display());
        };
        Ok(Self { program, version: format!("OpenSMTPD {version}") })
    }
}

impl Peer for OpenSmtpd {
    fn version(&self) -> &str {
        &self.version
    }

    fn promise(&self) -> Promise {
        Promise::NotSynced
    }

    fn plan(&self, place: &Place<'_>) -> Result<Plan> {
        let config = place.write("smtpd.conf", &config(place.listen, place.upstream))?;
        let (spool, run) = (place.make("spool")?, place.make("run")?);
        let queue = place.make("spool/smtpd")?;
        let passed_through = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(&queue, passed_through).context("opening its spool")?;
        let mut mounts = vec![(spool, PathBuf::from("/var/spool"))];
        if let Ok(path) = std::fs::canonicalize(RESOLVER) {
            mounts.extend(resolver(place, &run, path)?);
        }
        mounts.push((run, PathBuf::from("/run")));
        let mut arguments: Vec<_> =
            ["--mount", "--propagation", "private", "sh", "-ec", IN_ITS_VIEW, "sh"]
                .map(Into::into)
                .into();
        arguments.extend(mounts.into_iter().flat_map(|(from, to)| [from.into(), to.into()]));
        // In the foreground.
        arguments.extend(["--".into(), self.program.clone().into(), "-d".into(), "-f".into()]);
        arguments.push(config.into());
        let program = server::on_path(&["unshare"]).context("unshare (util-linux) is missing")?;
        Ok(Plan { program, arguments, needs_group: true })
    }

    fn settle(&self, server: &Server, place: &Place<'_>) -> Result<()> {
        for pid in server.pids()? {
            if lengthen_backlog(pid, place.listen)? {
                return Ok(());
            }
        }
        bail!("no process of OpenSMTPD holds a socket that listens on {}", place.listen)
    }
}

/// What follows `OpenSMTPD` in what it prints.
fn version_in(printed: &str) -> Option<&str> {
    let (_, rest) = printed.split_once("OpenSMTPD ")?;
    rest.split_ascii_whitespace().next()
}

/// Has names looked up in /etc/hosts only. The resolver's file at `path` is often one below /run,
/// for which `run` is mounted; else a file is to be mounted over it.
fn resolver(place: &Place<'_>, run: &Path, path: PathBuf) -> Result<Option<(PathBuf, PathBuf)>> {
    let text = "lookup file\n";
    let Ok(below) = path.strip_prefix("/run") else {
        return Ok(Some((place.write("resolv.conf", text)?, path)));
    };
    let copy = run.join(below);
    let folder = copy.parent().context("a file is in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::write(&copy, text).with_context(|| format!("writing {}", copy.display()))?;
    Ok(None)
}

fn config(listen: SocketAddr, upstream: SocketAddr) -> String {
    let (host, port) = (listen.ip(), listen.port());
    // By itself it takes 100 messages a connection, holds 5 connections to a host, opens one each 2
    // seconds, and keeps what is beyond 50 messages for later.
    format!(
        "listen on {host} port {port} hostname smtpd.load.example\n\
         smtp limit max-mails 1000000\nsmtp max-message-size 1G\n\
         mta limit max-conn-per-host 100 max-conn-per-route 100 max-conn-per-connector 100 \
         conn-delay-route 0 conn-delay-relay 0 reconn-delay-route 0 session-mail-max 1000000 \
         task-hiwat 100000 task-lowat 50000 task-release 1000\n\
         scheduler limit max-inflight 100000 max-schedule 100\n\
         action \"relay\" relay host smtp://{upstream}\n\
         match from any for any action \"relay\"\n"
    )
}

/// Lets more connections wait at the socket of process `pid` that listens on `listen`; false where
/// it has none.
fn lengthen_backlog(pid: u32, listen: SocketAddr) -> Result<bool> {
    let folder = format!("/proc/{pid}/fd");
    let open = std::fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?;
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a pid fits")?;
    let process = pidfd_open(process, PidfdFlags::empty()).context("opening a process")?;
    for entry in open.flatten() {
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|_| link.to_string_lossy().starts_with("socket:")) else {
            continue;
        };
        // It may have been closed meanwhile.
        let Ok(copy) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else { continue };
        if listens_on(copy, listen, BACKLOG)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Has `socket` listen again, with another backlog, if it listens on `listen`.
fn listens_on(socket: OwnedFd, listen: SocketAddr, backlog: i32) -> Result<bool> {
    let socket = Socket::from(socket);
    let local = socket.local_addr().ok().and_then(|address| address.as_socket());
    if local != Some(listen) || socket.peer_addr().is_ok() {
        return Ok(false);
    }
    socket.listen(backlog).context("lengthening the backlog")?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_and_relays_where_it_is_told() {
        let text = config("127.0.0.1:9".parse().unwrap(), "127.0.0.1:8".parse().unwrap());
        assert!(text.starts_with("listen on 127.0.0.1 port 9 hostname"), "{text}");
        assert!(text.contains("\naction \"relay\" relay host smtp://127.0.0.1:8\n"), "{text}");
        // A clause of limits ends with its line.
        assert!(text.contains(" conn-delay-route 0 conn-delay-relay 0 "), "{text}");
    }

    #[test]
    fn the_resolvers_file_is_another_in_its_view_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:9".parse().unwrap();
        let place = Place { folder: folder.path(), listen: address, upstream: address };
        let run = place.make("run").unwrap();
        let mounted = resolver(&place, &run, "/etc/resolv.conf".into()).unwrap();
        let own = folder.path().join("resolv.conf");
        assert_eq!(mounted, Some((own.clone(), "/etc/resolv.conf".into())));
        let linked = resolver(&place, &run, "/run/resolve/stub.conf".into()).unwrap();
        assert_eq!(linked, None);
        for path in [own, run.join("resolve/stub.conf")] {
            assert_eq!(std::fs::read_to_string(path).unwrap(), "lookup file\n");
        }
    }

    #[test]
    fn its_version_is_a_word_of_what_it_prints() {
        let printed = "smtpd: invalid option -- '?'\nversion: OpenSMTPD 6.8.0p2\nusage: smtpd";
        assert_eq!(version_in(printed), Some("6.8.0p2"));
        assert_eq!(version_in("usage: smtpd [-d]"), None);
    }

    #[test]
    fn the_backlog_of_a_listening_socket_is_lengthened_and_of_no_other() {
        let own = std::process::id();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = socket.local_addr().unwrap();
        let client = std::net::TcpStream::connect(listen).unwrap();
        let (accepted, _) = socket.accept().unwrap();
        let copy = |held: &dyn std::os::fd::AsFd| held.as_fd().try_clone_to_owned().unwrap();
        assert!(!listens_on(copy(&accepted), listen, 9).unwrap());
        assert!(!listens_on(copy(&client), listen, 9).unwrap());
        assert!(listens_on(copy(&socket), listen, 9).unwrap());
        assert!(lengthen_backlog(own, listen).unwrap());
        assert!(!lengthen_backlog(own, "127.0.0.1:1".parse().unwrap()).unwrap());
    }
}
