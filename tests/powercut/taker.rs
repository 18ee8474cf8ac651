//! A next hop that checks all that it takes and writes down when, before it says 250.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use crate::facts::Ledger;
use crate::tape::Tape;

/// How it answers RCPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// By what the address says: `ok` 250, `later` 450, `never` 550.
    ByAddress,
    /// All of it.
    TakesAll,
}

/// Listen from now to the end of the process.
pub(crate) fn start(ledger: &Arc<Ledger>, mood: Mood, clock: Option<Tape>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ledger = Arc::clone(ledger);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let taker = Taker { ledger: Arc::clone(&ledger), mood, clock: clock.clone() };
            let stream = stream.unwrap();
            // A relay that is killed hangs up; that is no error here.
            std::thread::spawn(move || drop(taker.serve(stream)));
        }
    });
    address
}

struct Taker {
    ledger: Arc<Ledger>,
    mood: Mood,
    clock: Option<Tape>,
}

impl Taker {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut output = stream.try_clone()?;
        let mut input = BufReader::with_capacity(256 * 1024, stream);
        let mut recipients: Vec<String> = Vec::new();
        let mut content = Vec::new();
        output.write_all(b"220 taker.example\r\n")?;
        let mut line = String::new();
        while input.read_line(&mut line)? > 0 {
            let words: Vec<&str> = line.split_whitespace().collect();
            let reply = match words[0].to_ascii_uppercase().as_str() {
                "EHLO" => "250-taker.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n\
                    250-ENHANCEDSTATUSCODES\r\n250 SIZE 99999999"
                    .to_owned(),
                "MAIL" | "RSET" => {
                    recipients.clear();
                    content.clear();
                    "250 2.1.0 Ok".to_owned()
                }
                "RCPT" => self.asked(&line, &mut recipients),
                "DATA" if recipients.is_empty() => "554 5.5.1 For whom?".to_owned(),
                "DATA" => {
                    output.write_all(b"354 Go on\r\n")?;
                    read_data(&mut input, &mut content)?;
                    self.take(&mut recipients, &mut content)
                }
                "BDAT" => {
                    let start = content.len();
                    content.resize(start + words[1].parse::<usize>().unwrap(), 0);
                    input.read_exact(&mut content[start..])?;
                    match words.get(2) {
                        _ if recipients.is_empty() => "554 5.5.1 For whom?".to_owned(),
                        Some(_) => self.take(&mut recipients, &mut content),
                        None => "250 2.0.0 Ok".to_owned(),
                    }
                }
                "QUIT" => "221 2.0.0 Bye".to_owned(),
                _ => "500 5.5.1 What?".to_owned(),
            };
            output.write_all(format!("{reply}\r\n").as_bytes())?;
            line.clear();
        }
        Ok(())
    }

    fn asked(&self, line: &str, recipients: &mut Vec<String>) -> String {
        let address = line.split(['<', '>']).nth(1).unwrap_or_default();
        match (self.mood, address.split('.').next()) {
            (Mood::ByAddress, Some("later")) => return "450 4.2.1 Later".to_owned(),
            (Mood::ByAddress, Some("never")) => return "550 5.1.1 Never".to_owned(),
            (Mood::ByAddress | Mood::TakesAll, _) => {}
        }
        recipients.push(address.to_owned());
        "250 2.1.5 Ok".to_owned()
    }

    /// Check and write down; only then may anybody hear of it.
    fn take(&self, recipients: &mut Vec<String>, content: &mut Vec<u8>) -> String {
        let content = std::mem::take(content);
        let now = self.clock.as_ref().map_or(0, Tape::now);
        for recipient in recipients.drain(..) {
            let fault = self.ledger.fault(&recipient, &content);
            let mut facts = self.ledger.facts.lock().unwrap();
            facts.garbage.extend(fault);
            match Ledger::told_by(&recipient) {
                Some(number) => facts.told.entry(number).or_default().push(now),
                None => facts.taken.entry(recipient).or_default().push(now),
            }
        }
        "250 2.0.0 Taken".to_owned()
    }
}

/// Content up to the line with the dot, unstuffed.
fn read_data(input: &mut BufReader<TcpStream>, content: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let start = content.len();
        if input.read_until(b'\n', content)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if &content[start..] == b".\r\n" {
            content.truncate(start);
            return Ok(());
        }
        if content[start] == b'.' {
            content.remove(start);
        }
    }
}
