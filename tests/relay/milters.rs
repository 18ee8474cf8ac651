//! Milters for tests: one on libmilter, and those that are out of order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::node::wait_for;
use crate::tool;

/// `asked.py`, on a socket in the file system.
pub(crate) struct Asked {
    child: Child,
    folder: tempfile::TempDir,
}

impl Asked {
    /// `None` where Python or its binding of libmilter is missing.
    pub(crate) fn start() -> Option<Self> {
        tool::find("python3")?;
        let has = |python: &&str| {
            let mut command = Command::new(python);
            command.args(["-c", "import Milter"]).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has) else {
            tool::skip("no Python with pymilter here; tests/run installs it");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/relay/asked.py");
        let socket = folder.path().join("socket");
        // A test that is interrupted drops nothing: then the kernel ends it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", python]).arg(script);
        command.arg(format!("unix:{}", socket.display())).stdin(Stdio::null());
        let child = command.spawn().unwrap();
        wait_for("its socket", || socket.exists().then_some(()));
        Some(Self { child, folder })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Its part of a configuration.
    pub(crate) fn config(&self, more: &str) -> String {
        config("asked", &format!("unix:{}", self.socket().display()), more)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A part of a configuration.
pub(crate) fn config(name: &str, address: &str, more: &str) -> String {
    format!("[[milter]]\nname = \"{name}\"\naddress = \"{address}\"\n{more}\n")
}

/// Options as a milter of version 6 answers them: it answers every step.
const OPTIONS: &[u8] = b"\0\0\0\x0DO\0\0\0\x06\0\0\0\0\0\0\0\0";

/// What is wrong with a milter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It says nothing.
    Silent,
    /// It agrees on options, then says nothing.
    Stuck,
    /// It hangs up.
    HangsUp,
    /// It speaks another protocol.
    Smtp,
    /// It has a packet of four gigabytes to send.
    Boasts,
    /// It answers what nobody asked.
    Babbles,
    /// It wants a field changed long before the end.
    Early,
}

impl Trouble {
    pub(crate) const ALL: [Self; 7] = [
        Self::Silent,
        Self::Stuck,
        Self::HangsUp,
        Self::Smtp,
        Self::Boasts,
        Self::Babbles,
        Self::Early,
    ];

    fn words(self) -> Vec<u8> {
        match self {
            Self::Silent | Self::HangsUp => Vec::new(),
            Self::Stuck => OPTIONS.to_vec(),
            Self::Smtp => b"220 mx.example ESMTP\r\n".to_vec(),
            Self::Boasts => [OPTIONS, b"\xFF\xFF\xFF\xFFc"].concat(),
            Self::Babbles => [OPTIONS, &b"\0\0\0\x01c".repeat(1_000)].concat(),
            Self::Early => [OPTIONS, b"\0\0\0\x07hX\0one\0"].concat(),
        }
    }
}

/// A milter that wants to see the end of a message alone, and hangs up when it is to see a second
/// one over the same connection.
pub(crate) fn fickle() -> SocketAddr {
    listen(|mut stream| {
        let (options, end) = (b"\0\0\0\x0DO\0\0\0\x06\0\0\0\0\0\x0F\xF2\xFF", b"\0\0\0\x01E");
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).unwrap() > 0, "our options");
        stream.write_all(options).unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(end) {
            let count = stream.read(&mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"\0\0\0\x01c").unwrap();
        drop(stream.read(&mut buffer));
    })
}

/// A milter with this trouble; it serves until the test's process ends.
pub(crate) fn troubled(trouble: Trouble) -> SocketAddr {
    listen(move |stream| serve(stream, trouble))
}

fn listen(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream, trouble: Trouble) {
    let mut buffer = vec![0; 64 * 1024];
    if trouble == Trouble::HangsUp {
        return;
    }
    // First the question, then what it has to say, then it listens to the end.
    if stream.read(&mut buffer).is_ok() && stream.write_all(&trouble.words()).is_ok() {
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }
}
