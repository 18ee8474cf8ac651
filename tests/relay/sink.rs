//! A next hop that answers as it is told, and remembers what it took.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use crate::node::wait_for;

/// What a transaction brought; RCPT holds those that were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What follows EHLO.
    pub(crate) hello: String,
    /// What follows `MAIL FROM:`.
    pub(crate) mail: String,
    /// What follows each `RCPT TO:`.
    pub(crate) rcpt: Vec<String>,
    pub(crate) content: String,
}

impl Taken {
    /// The value of a header field in one line.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let is_name = |line: &&str| line.to_ascii_lowercase().starts_with(&name.to_lowercase());
        let line = self.content.split("\r\n").find(is_name)?;
        Some(line[name.len()..].trim_start_matches(':').trim())
    }

    /// The subject.
    pub(crate) fn subject(&self) -> &str {
        self.field("Subject").unwrap_or("")
    }

    /// Whether some RCPT names this mailbox.
    pub(crate) fn is_for(&self, mailbox: &str) -> bool {
        self.rcpt.iter().any(|one| one.starts_with(&format!("<{mailbox}>")))
    }
}

/// The reply to the RCPT of a mailbox, when it is asked for the n-th time, from 1.
type Rule = Box<dyn Fn(&str, usize) -> String + Send>;

struct Shared {
    rule: Mutex<Rule>,
    keywords: &'static [&'static str],
    taken: Mutex<Vec<Taken>>,
    /// RCPT commands by mailbox.
    asked: Mutex<HashMap<String, usize>>,
    open: Mutex<Vec<TcpStream>>,
    stopped: Mutex<bool>,
    /// While true, nobody is answered to content.
    held: Mutex<bool>,
    let_go: Condvar,
}

pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

const ALL: &[&str] =
    &["PIPELINING", "SIZE 99999999", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"];

impl Sink {
    /// Takes everything.
    pub(crate) fn start() -> Self {
        Self::with(ALL, |_, _| "250 2.1.5 Ok".to_owned())
    }

    /// Answers RCPT by `rule`.
    pub(crate) fn by(rule: impl Fn(&str, usize) -> String + Send + 'static) -> Self {
        Self::with(ALL, rule)
    }

    /// Answers EHLO with `keywords` and RCPT by `rule`.
    pub(crate) fn with(
        keywords: &'static [&'static str],
        rule: impl Fn(&str, usize) -> String + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            rule: Mutex::new(Box::new(rule)),
            keywords,
            taken: Mutex::default(),
            asked: Mutex::default(),
            open: Mutex::default(),
            stopped: Mutex::new(true),
            held: Mutex::new(false),
            let_go: Condvar::new(),
        });
        let address = "127.0.0.1:0".parse().unwrap();
        let mut sink = Self { address, shared, thread: None };
        sink.resume();
        sink
    }

    /// Listen, on the port that it had.
    pub(crate) fn resume(&mut self) {
        let listener = wait_for("the sink's port", || TcpListener::bind(self.address).ok());
        self.address = listener.local_addr().unwrap();
        *self.shared.stopped.lock().unwrap() = false;
        let shared = Arc::clone(&self.shared);
        self.thread = Some(std::thread::spawn(move || accept(&listener, &shared)));
    }

    /// Hang up and listen no more.
    pub(crate) fn stop(&mut self) {
        *self.shared.stopped.lock().unwrap() = true;
        self.let_go();
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        for stream in self.shared.open.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Answer RCPT by another rule from now on.
    pub(crate) fn change(&self, rule: impl Fn(&str, usize) -> String + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Answer nobody's content until it is let go.
    pub(crate) fn hold(&self) {
        *self.shared.held.lock().unwrap() = true;
    }

    pub(crate) fn let_go(&self) {
        *self.shared.held.lock().unwrap() = false;
        self.shared.let_go.notify_all();
    }

    /// Everything that was taken so far.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// How often RCPT named this mailbox.
    pub(crate) fn asked(&self, mailbox: &str) -> usize {
        self.shared.asked.lock().unwrap().get(mailbox).copied().unwrap_or(0)
    }

    /// Wait for so many transactions; all of them.
    pub(crate) fn wait(&self, count: usize) -> Vec<Taken> {
        wait_for(&format!("{count} messages at the sink"), || {
            let taken = self.taken();
            (taken.len() >= count).then_some(taken)
        })
    }

    /// Wait for a message for this mailbox.
    pub(crate) fn wait_for_mail_to(&self, mailbox: &str) -> Taken {
        wait_for(&format!("mail to {mailbox}"), || {
            self.taken().into_iter().find(|taken| taken.is_for(mailbox))
        })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if *shared.stopped.lock().unwrap() {
            return;
        }
        let Ok(stream) = stream else { continue };
        shared.open.lock().unwrap().push(stream.try_clone().unwrap());
        let shared = Arc::clone(shared);
        // A connection that breaks is the relay's to notice.
        std::thread::spawn(move || {
            drop(serve(&stream, &shared));
            drop(stream.shutdown(Shutdown::Both));
        });
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    let (hello, mail, content) = <(String, String, String)>::default();
    let mut now = Taken { hello, mail, rcpt: Vec::new(), content };
    output.write_all(b"220 sink.example ESMTP\r\n")?;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => {
                now.hello = line["EHLO".len()..].trim().to_owned();
                ehlo(shared.keywords)
            }
            "MAIL" => {
                now.mail = line["MAIL FROM:".len()..].to_owned();
                now.rcpt.clear();
                "250 2.1.0 Ok".to_owned()
            }
            "RCPT" => rcpt(&line["RCPT TO:".len()..], &mut now, shared),
            "DATA" if now.rcpt.is_empty() => "554 5.5.1 No recipients".to_owned(),
            "DATA" => {
                output.write_all(b"354 Go on\r\n")?;
                now.content = data(&mut input)?;
                take(&now, shared)
            }
            "BDAT" => {
                let mut words = line.split(' ').skip(1);
                let size: usize = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
                let mut chunk = vec![0; size];
                input.read_exact(&mut chunk)?;
                now.content.push_str(&String::from_utf8_lossy(&chunk));
                match words.next() {
                    Some(_) if now.rcpt.is_empty() => "554 5.5.1 No recipients".to_owned(),
                    Some(_) => take(&now, shared),
                    None => "250 2.0.0 Ok".to_owned(),
                }
            }
            "QUIT" => return output.write_all(b"221 2.0.0 Bye\r\n"),
            _ => "250 2.0.0 Ok".to_owned(),
        };
        if matches!(verb.as_str(), "DATA" | "RSET" | "MAIL") || line.ends_with(" LAST") {
            now.content.clear();
        }
        output.write_all(format!("{answer}\r\n").as_bytes())?;
    }
}

fn ehlo(keywords: &[&str]) -> String {
    let lines: Vec<&str> =
        std::iter::once("sink.example").chain(keywords.iter().copied()).collect();
    let (last, others) = lines.split_last().expect("a name at least");
    let others: String = others.iter().map(|line| format!("250-{line}\r\n")).collect();
    format!("{others}250 {last}")
}

fn rcpt(argument: &str, now: &mut Taken, shared: &Shared) -> String {
    let mailbox = argument.trim_start_matches('<').split('>').next().unwrap_or_default();
    let nth = {
        let mut asked = shared.asked.lock().unwrap();
        let count = asked.entry(mailbox.to_owned()).or_default();
        *count += 1;
        *count
    };
    let answer = (shared.rule.lock().unwrap())(mailbox, nth);
    if answer.starts_with('2') {
        now.rcpt.push(argument.to_owned());
    }
    answer
}

fn data(input: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut content = String::new();
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line);
        if line == ".\r\n" {
            return Ok(content);
        }
        content.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

fn take(now: &Taken, shared: &Shared) -> String {
    let mut held = shared.held.lock().unwrap();
    while *held {
        held = shared.let_go.wait(held).unwrap();
    }
    if *shared.stopped.lock().unwrap() {
        return "421 4.3.2 Leaving".to_owned();
    }
    shared.taken.lock().unwrap().push(now.clone());
    "250 2.0.0 Taken".to_owned()
}
