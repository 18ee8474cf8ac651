//! Open the addresses that a node is asked at, before anything else starts: ports and Unix sockets.
//!
//! As root as little as must be: a socket is made in a directory that was reached by root's way,
//! and given away as what was looked at. What a run left behind is removed, if nobody answers
//! there: a relay that is confined cannot remove its own.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, chownat, fchmod, fstat, open, openat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::Config;
use crate::config::options::AdminAddress;
use crate::platform::user::{User, UserError};
use crate::platform::way;

/// Why one cannot be opened: one line, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The kernel refuses.
    #[error("cannot listen on the admin address {0}: {1}; choose another with --admin")]
    Bind(AdminAddress, io::Error),
    /// The kernel refuses an address of `[web]`.
    #[error("cannot listen on {0}, where links are to be answered: {1}; choose another in [web]")]
    Web(SocketAddr, io::Error),
    /// Nobody has that name.
    #[error("there is no group {0}: make one with `groupadd --system {0}`, or name another")]
    Group(Box<str>),
    /// The sockets' owner cannot be had.
    #[error(transparent)]
    User(#[from] UserError),
}

/// Connections that wait in the kernel to be taken.
const BACKLOG: i32 = 128;

/// One that is open, and does not block.
#[derive(Debug)]
pub struct Door {
    /// As bound: port 0 is resolved.
    pub address: AdminAddress,
    /// A socket that listens, of the address's family.
    pub socket: OwnedFd,
}

/// Open all that `config` names; Unix sockets are for its user, or for whoever this is, and for the
/// group.
pub fn open_doors(config: &Config) -> Result<Vec<Door>, DoorError> {
    let options = &config.admin;
    let user = config.user.as_ref().map(User::find).transpose()?.flatten();
    let user = user.as_ref();
    let group = options.group.as_deref().map(find_group).transpose()?;
    let open = |address: &AdminAddress| {
        let opened = match address {
            AdminAddress::Tcp(address) => TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                let address = AdminAddress::Tcp(listener.local_addr()?);
                Ok(Door { address, socket: listener.into() })
            }),
            AdminAddress::Unix(path) => bind(path, user, group).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(Door { address: address.clone(), socket: listener.into() })
            }),
        };
        opened.map_err(|error| DoorError::Bind(address.clone(), error))
    };
    options.listen.iter().map(open).collect()
}

/// Open the addresses where links are answered: sockets that listen, and do not block.
pub fn open_web(config: &Config) -> Result<Vec<OwnedFd>, DoorError> {
    let open = |address: &SocketAddr| {
        let opened = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(OwnedFd::from(listener))
        });
        opened.map_err(|error| DoorError::Web(*address, error))
    };
    config.web.iter().flat_map(|web| &web.listen).map(open).collect()
}

fn find_group(name: &str) -> Result<Gid, DoorError> {
    let found = Group::from_name(name).ok().flatten();
    let group = found.ok_or_else(|| DoorError::Group(name.into()))?;
    Ok(Gid::from_raw(group.gid.as_raw()))
}

fn bind(path: &Path, user: Option<&User>, group: Option<Gid>) -> io::Result<UnixListener> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let ids = user.map(User::ids);
    let owner =
        ids.map_or((geteuid(), getegid()), |(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)));
    let directory = directory(parent, owner)?;
    // By what was opened, whatever its name leads to by now.
    let here = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    clear(&directory, &here)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // What is bound has the socket's mode: connecting takes the right to write.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(&here)?)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(&directory, name, flags, Mode::empty())?;
    let stat = fstat(&made)?;
    let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    if !is_socket || stat.st_nlink != 1 || stat.st_uid != geteuid().as_raw() {
        return Err(io::Error::other("somebody put something else in its place"));
    }
    if user.is_some() || group.is_some() {
        let gid = group.unwrap_or(owner.1);
        chownat(&made, c"", Some(owner.0), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    if group.is_some() {
        way::set_mode(&made, 0o660)?;
    }
    socket.listen(BACKLOG)?;
    Ok(OwnedFd::from(socket).into())
}

/// The directory of a socket. Everyone may pass it: the socket itself says who may connect.
fn directory(path: &Path, owner: (Uid, Gid)) -> io::Result<OwnedFd> {
    if !geteuid().is_root() {
        make_passable(path)?;
        return Ok(open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
    }
    let reached = way::reach(path, owner, Mode::from_raw_mode(0o755));
    let reached = reached.map_err(|(at, error)| {
        io::Error::new(error.kind(), format!("{}: {error}", at.display()))
    })?;
    reached.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "its directory is missing"))
}

fn make_passable(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), make_passable)?;
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Remove the socket of a run that is over.
fn clear(directory: &OwnedFd, here: &Path) -> io::Result<()> {
    let Some(name) = here.file_name() else { return Ok(()) };
    let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        stat => stat?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        let error = "something is there that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, error));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(here)?).map_err(|error| error.kind()) {
        Err(io::ErrorKind::ConnectionRefused) => Ok(unlinkat(directory, name, AtFlags::empty())?),
        // It would block: somebody listens, and has too much to do.
        Ok(()) | Err(io::ErrorKind::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there already"))
        }
        Err(kind) => Err(kind.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_socket_is_for_its_owner_and_what_a_run_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/admin.sock");
        let first = bind(&path, None, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
        let taken = bind(&path, None, None).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse, "{taken}");
        assert!(UnixStream::connect(&path).is_ok(), "the first one is left alone");
        drop(first);
        assert!(path.exists(), "as after a crash");
        let again = bind(&path, None, Some(getegid())).unwrap();
        assert_eq!(mode(&path), 0o660);
        drop(again);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        let refused = bind(&path, None, None).unwrap_err();
        assert!(refused.to_string().contains("no socket"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let link = folder.path().join("link.sock");
        symlink(&path, &link).unwrap();
        assert!(bind(&link, None, None).unwrap_err().to_string().contains("no socket"));
        symlink(folder.path().join("nowhere"), folder.path().join("loose")).unwrap();
        assert!(bind(&folder.path().join("loose"), None, None).is_err());
        assert!(!folder.path().join("nowhere").exists());
    }

    #[test]
    fn groups_are_looked_up() {
        assert!(find_group("root").is_ok());
        let unknown = find_group("no-such-group-anywhere").unwrap_err().to_string();
        assert!(unknown.contains("groupadd --system no-such-group-anywhere"), "{unknown}");
    }
}
