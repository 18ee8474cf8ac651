//! Stop or kill the relay, start it on its full queue, and time how it comes back.
//!
//! It is asked as a client would ask: a connection for the greeting, a message for the first 250.
//! All of the queue is back once the relay counts it and no gauge of recovery is above 0.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rustix::fs::{Advice, fadvise};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::super::rig::Rig;
use crate::ledger::queued::{self, agent};

/// How often the relay is tried.
const LOOK: Duration = Duration::from_millis(2);
/// How often it is asked how much it counts: that takes some CPU.
const ASK: Duration = Duration::from_millis(25);
/// A relay that is not back after this will not be.
const PATIENCE: Duration = Duration::from_secs(300);

/// How a relay ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// SIGTERM, and it may drain.
    Term,
    /// SIGKILL.
    Kill,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Term => "SIGTERM",
            Self::Kill => "SIGKILL",
        })
    }
}

/// A restart: how long each step took. All but `ending` count from the start of the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restart {
    pub(super) end: End,
    /// No page of the spool was in the page cache.
    pub(super) is_cold: bool,
    /// From the signal to the end of the process.
    pub(super) ending: Duration,
    /// To the greeting.
    pub(super) listening: Duration,
    /// To the reply to the end of data.
    pub(super) first_250: Duration,
    /// To the whole queue.
    pub(super) complete: Duration,
    /// Recipients that it counted in the end, and those that it should have.
    pub(super) recovered: u64,
    pub(super) expected: u64,
}

/// Ends the relay, starts it, and waits until it is back.
pub(super) async fn restart(rig: &mut Rig, end: End, is_cold: bool) -> Result<Restart> {
    let admin = rig.plan.admin;
    let queued = queued::ask(admin)?;
    let ending = match end {
        End::Term => rig.stop().await?,
        End::Kill => {
            let begun = Instant::now();
            rig.kill().await?;
            begun.elapsed()
        }
    };
    if is_cold {
        forget(&rig.plan.spool)?;
    }
    let begun = Instant::now();
    rig.spawn()?;
    let complete = tokio::spawn(until_complete(admin, begun, queued + 1));
    let greeted = until_greeted(rig, begun).await?;
    let listening = begun.elapsed();
    let first_250 = until_accepted(rig, greeted, begun).await?;
    let (complete, recovered) = complete.await.context("waiting for recovery")??;
    rig.excuse();
    let expected = queued + 1;
    Ok(Restart { end, is_cold, ending, listening, first_250, complete, recovered, expected })
}

/// Drops the spool's pages from the page cache, once they are on disk.
fn forget(folder: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder);
    for entry in entries.with_context(|| format!("reading {}", folder.display()))? {
        let path = entry.context("reading the spool")?.path();
        if path.is_dir() {
            forget(&path)?;
        } else {
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            file.sync_all().context("syncing the spool")?;
            fadvise(&file, 0, None, Advice::DontNeed).context("forgetting the spool's pages")?;
        }
    }
    Ok(())
}

/// A session with the relay.
struct Session {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Session {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = BufReader::new(TcpStream::connect(address).await?);
        let mut session = Self { stream, line: String::new() };
        session.reply('2').await?;
        Ok(session)
    }

    /// Reads a reply to its last line; an error unless it begins with `class`.
    async fn reply(&mut self, class: char) -> Result<()> {
        loop {
            self.line.clear();
            if self.stream.read_line(&mut self.line).await? == 0 {
                bail!("the relay hung up");
            }
            if self.line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        if !self.line.starts_with(class) {
            bail!("the relay said {}", self.line.trim_end());
        }
        Ok(())
    }

    async fn say(&mut self, command: &str, class: char) -> Result<()> {
        self.stream.write_all(command.as_bytes()).await?;
        self.reply(class).await
    }

    /// One message to `recipient`.
    async fn send(&mut self, id: &str, recipient: &str) -> Result<()> {
        self.say("EHLO source.load.example\r\n", '2').await?;
        self.say("MAIL FROM:<campaign@load.example>\r\n", '2').await?;
        self.say(&format!("RCPT TO:<{recipient}>\r\n"), '2').await?;
        self.say("DATA\r\n", '3').await?;
        let content = format!("Subject: first after a restart\r\nX-Load-Id: {id}\r\n\r\n.\r\n");
        self.say(&content, '2').await
    }
}

async fn until_greeted(rig: &mut Rig, begun: Instant) -> Result<Session> {
    loop {
        match Session::open(rig.plan.listen).await {
            Ok(session) => return Ok(session),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) if rig.has_ended()? => bail!("the relay ended at its start"),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Sends a message until it is taken, writes it down, and says when that was.
async fn until_accepted(rig: &Rig, mut session: Session, begun: Instant) -> Result<Duration> {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let (id, recipient) = (format!("restart-{}", wall.as_millis()), "u@d0000001.example");
    while let Err(error) = session.send(&id, recipient).await {
        if begun.elapsed() > PATIENCE {
            return Err(error.context("no message is taken after a restart"));
        }
        tokio::time::sleep(LOOK).await;
        session = Session::open(rig.plan.listen).await?;
    }
    let took = begun.elapsed();
    let mut file = File::options().create(true).append(true).open(rig.accepted_file())?;
    writeln!(file, "{id} {} 1 {recipient}", wall.as_millis())?;
    Ok(took)
}

/// When the relay counted `expected` recipients, or how many when it did so no more.
async fn until_complete(
    admin: SocketAddr,
    begun: Instant,
    expected: u64,
) -> Result<(Duration, u64)> {
    let mut last = 0;
    while begun.elapsed() < PATIENCE {
        // It does not answer yet.
        let count = tokio::task::spawn_blocking(move || back(admin)).await?.unwrap_or(0);
        if count >= expected {
            return Ok((begun.elapsed(), count));
        }
        last = count;
        tokio::time::sleep(ASK).await;
    }
    Ok((begun.elapsed(), last))
}

/// Recipients that are queued, unless recovery is under way.
fn back(admin: SocketAddr) -> Result<u64> {
    let count = queued::ask(admin)?;
    let mut answer = agent().get(format!("http://{admin}/metrics")).call()?;
    let text = answer.body_mut().read_to_string()?;
    Ok(if is_recovering(&text) { 0 } else { count })
}

/// Whether a gauge that is named after recovering is above 0.
fn is_recovering(metrics: &str) -> bool {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let mut named = samples.filter(|line| line.contains("recovering"));
    named.any(|line| line.rsplit(' ').next().is_some_and(|value| value != "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_shows_in_any_gauge_that_is_named_so() {
        assert!(!is_recovering("# HELP relay_fast_recovering 1\nrelay_fast_queue 7\n"));
        assert!(!is_recovering("relay_fast_recovering{shard=\"0\"} 0\n"));
        assert!(is_recovering("relay_fast_recovering{shard=\"0\"} 0\nx_recovering 1\n"));
    }
}
