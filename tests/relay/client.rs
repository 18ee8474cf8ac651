//! A client that speaks SMTP line by line and says what it was told.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// A reply: its code and its lines without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) text: String,
}

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Past greeting and EHLO.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut client = Self::of(TcpStream::connect(address).unwrap());
        assert_eq!(client.reply().code, 220);
        assert_eq!(client.say("EHLO client.example").code, 250);
        client
    }

    /// What a client is greeted with.
    pub(crate) fn greeting(address: SocketAddr) -> Reply {
        Self::of(TcpStream::connect(address).unwrap()).reply()
    }

    /// From an address of ours, past greeting and EHLO.
    pub(crate) fn connect_from(from: IpAddr, to: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)
                .unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        let mut client = Self::of(socket.into());
        assert_eq!(client.reply().code, 220);
        assert_eq!(client.say("EHLO client.example").code, 250);
        client
    }

    /// Connected, and not even greeted.
    pub(crate) fn unread(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Break the connection: the relay learns that nobody is there any more.
    pub(crate) fn reset(self) {
        let stream = self.stream.into_inner();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_write(bytes), "the relay hung up");
    }

    /// Whether the kernel took it: not where the relay is gone.
    pub(crate) fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    pub(crate) fn try_reply(&mut self) -> Option<Reply> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            text.push_str(line.get(4..).unwrap_or_default());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Some(Reply { code: line.get(..3)?.parse().ok()?, text });
            }
            text.push('\n');
        }
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply().expect("a reply")
    }

    /// A command, and the reply to it.
    pub(crate) fn say(&mut self, command: &str) -> Reply {
        self.write(format!("{command}\r\n"));
        self.reply()
    }

    /// MAIL and RCPT with everything in `from` and each of `to` that follows the colon; the codes.
    pub(crate) fn envelope(&mut self, from: &str, to: &[&str]) -> Vec<u16> {
        let mut codes = vec![self.say(&format!("MAIL FROM:{from}")).code];
        codes.extend(to.iter().map(|to| self.say(&format!("RCPT TO:{to}")).code));
        codes
    }

    /// DATA with this content, whose lines end in CR LF; the last reply.
    pub(crate) fn content(&mut self, content: &str) -> Option<Reply> {
        assert_eq!(self.say("DATA").code, 354);
        self.write(format!("{content}\r\n.\r\n"));
        self.try_reply()
    }

    /// A whole message that must be taken.
    pub(crate) fn send(&mut self, from: &str, to: &[&str], content: &str) {
        let codes = self.envelope(from, to);
        assert!(codes.iter().all(|code| *code == 250), "{codes:?}");
        let reply = self.content(content).expect("a reply");
        assert_eq!(reply.code, 250, "{reply:?}");
    }
}

/// A small message with this subject.
pub(crate) fn message(subject: &str) -> String {
    format!("From: <a@a.example>\r\nSubject: {subject}\r\n\r\nHello.")
}

/// One message through a session of its own.
pub(crate) fn send(address: SocketAddr, from: &str, to: &[&str], subject: &str) {
    let mut client = Client::connect(address);
    client.send(from, to, &message(subject));
    client.say("QUIT");
}
