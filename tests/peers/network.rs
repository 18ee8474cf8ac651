//! Where programs run: on this machine's loopback, or in a network namespace of its own.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::{Running, output, until};
use crate::tool;

/// A network that programs are started in.
#[derive(Debug)]
pub(crate) enum Network {
    /// This machine's.
    Shared,
    /// A namespace with nothing in it but loopback, and all ports free. Dropped, it is gone.
    Own { holder: Running, _folder: tempfile::TempDir },
}

impl Network {
    /// A namespace; `None`, and a line that says so, where this user or machine cannot have one.
    pub(crate) fn own() -> Option<Self> {
        for tool in ["ip", "unshare", "nsenter"] {
            tool::find(tool)?;
        }
        if !is_root() {
            tool::skip("only root makes network namespaces");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "infinity"]);
        let mut holder = Running::start(&command, &folder.path().join("log"));
        let space = |id: &str| std::fs::read_link(format!("/proc/{id}/ns/net")).unwrap();
        until("a network namespace", || {
            assert!(holder.is_alive(), "no namespace: {}", holder.log());
            (space(&holder.id().to_string()) != space("self")).then_some(())
        });
        let network = Self::Own { holder, _folder: folder };
        network.ip("link set lo up");
        Some(network)
    }

    /// A program to be run here.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Shared => Command::new(program),
            Self::Own { holder, .. } => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/proc/{}/ns/net", holder.id()));
                command.arg("--").arg(program);
                command
            }
        }
    }

    /// A connection from here.
    pub(crate) fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        match self {
            Self::Shared => TcpStream::connect(address),
            // A socket stays in the namespace that it was made in; only that thread enters it.
            Self::Own { holder, .. } => {
                let space = File::open(format!("/proc/{}/ns/net", holder.id()))?;
                let connecting = std::thread::spawn(move || {
                    let network = Some(LinkNameSpaceType::Network);
                    move_into_link_name_space(space.as_fd(), network)?;
                    TcpStream::connect(address)
                });
                connecting.join().unwrap()
            }
        }
    }

    /// Set the network up with iproute2.
    pub(crate) fn ip(&self, arguments: &str) {
        output(self.command("ip").args(arguments.split(' ')), b"");
    }

    /// Give this namespace an address.
    pub(crate) fn add(&self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.ip(&format!("address add {v4}/32 dev lo")),
            IpAddr::V6(v6) => self.ip(&format!("address add {v6}/128 dev lo nodad")),
        }
    }
}

/// Whether root runs this test.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An address that nobody listened on a moment ago. Who uses it must be ready to find it taken.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
