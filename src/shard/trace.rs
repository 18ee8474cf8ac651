//! Follow the dialogue with next hops about a domain's mail, for whoever watches it live.
//!
//! In: domains that are watched, what connections say and hear. Out: the last lines of each. While
//! nobody watches, a connection looks once whether somebody does, and a line costs nothing.
//! Invariant: content is counted and not kept; lines and watched domains have bounds. Lives on:
//! the owner.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::limits::{TRACE_FOR, TRACE_LINE_MAX, TRACE_LINES_MAX, TRACES_MAX};
use crate::base::time::{Monotonic, Now, WallTime};
use crate::mail::address::Domain;
use crate::shard::commands::{Said, TraceLine, TracePage};
use crate::shard::platform::ConnectionId;

/// Who is watched, and what was said lately.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    wanted: Vec<(Arc<Domain>, Monotonic)>,
    lines: VecDeque<(Arc<Domain>, TraceLine)>,
    /// The number of the next line.
    next: u64,
}

/// A connection that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    domain: Arc<Domain>,
    connection: u64,
    peer: Box<str>,
    source: Arc<str>,
    /// The beginning of a line that has not come to its end.
    heard: Vec<u8>,
}

impl Traces {
    /// Watch `domain` for a while from `now` on, and say what was said since line `after`; from now
    /// on without it. `None`: as many are watched as may be.
    pub(super) fn watch(
        &mut self,
        domain: &Domain,
        after: Option<u64>,
        now: Monotonic,
    ) -> Option<TracePage> {
        self.forget(now);
        let (until, room) = (now + TRACE_FOR, self.wanted.len() < TRACES_MAX);
        match self.wanted.iter_mut().find(|(wanted, _)| **wanted == *domain) {
            Some(known) => known.1 = until,
            None if room => {
                self.wanted.push((Arc::new(domain.clone()), until));
            }
            None => return None,
        }
        let after = after.unwrap_or(self.next).min(self.next);
        let oldest = self.next - self.lines.len() as u64;
        let lines = self.lines.iter().filter(|(of, line)| **of == *domain && line.number >= after);
        Some(TracePage {
            lines: lines.map(|(_, line)| line.clone()).collect(),
            next: self.next,
            lost: oldest.saturating_sub(after),
        })
    }

    /// Whether there may be somebody who watches.
    pub(super) fn is_watched(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Follow a connection that is for `domain`, if somebody watches that.
    pub(super) fn follow(
        &mut self,
        domain: &Domain,
        connection: ConnectionId,
        (peer, source): (&str, &Arc<str>),
        now: Now,
    ) -> Option<Box<Followed>> {
        if self.wanted.is_empty() {
            return None;
        }
        self.forget(now.mono);
        let (domain, _) = self.wanted.iter().find(|(wanted, _)| **wanted == *domain)?;
        let followed = Followed {
            domain: domain.clone(),
            connection: connection.0.to_bits(),
            peer: peer.into(),
            source: source.clone(),
            heard: Vec::new(),
        };
        Some(Box::new(followed))
    }

    fn forget(&mut self, now: Monotonic) {
        self.wanted.retain(|(_, until)| *until > now);
        if self.wanted.is_empty() {
            // Numbers go on: whoever comes back finds out what is lost.
            self.lines.clear();
        }
    }

    fn push(&mut self, domain: &Arc<Domain>, line: TraceLine) {
        if self.lines.len() >= TRACE_LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back((domain.clone(), TraceLine { number: self.next, ..line }));
        self.next += 1;
    }
}

impl Followed {
    /// Something that is no line of the dialogue.
    pub(super) fn note(&self, said: Said, words: &str, at: WallTime, traces: &mut Traces) {
        let line = TraceLine {
            number: 0,
            at,
            connection: self.connection,
            peer: self.peer.clone(),
            source: self.source.clone(),
            said,
            text: words.into(),
        };
        traces.push(&self.domain, line);
    }

    /// We said these lines: commands, no content.
    pub(super) fn say(&self, octets: &[u8], at: WallTime, traces: &mut Traces) {
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            self.note(Said::Sent, &text(line), at, traces);
        }
    }

    /// The peer said this, cut anywhere.
    pub(super) fn hear(&mut self, octets: &[u8], at: WallTime, traces: &mut Traces) {
        for part in octets.split_inclusive(|octet| *octet == b'\n') {
            let room = TRACE_LINE_MAX.saturating_sub(self.heard.len());
            self.heard.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.heard);
                self.note(Said::Received, &text(&line), at, traces);
            }
        }
    }
}

/// A line without its end; what is no UTF-8 is shown as such.
fn text(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = &line[..line.len().min(TRACE_LINE_MAX)];
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::slots::Slot;

    fn now(seconds: u64) -> Now {
        let mono = Monotonic(0) + Duration::from_secs(seconds);
        Now { mono, wall: WallTime(1_000) }
    }

    fn domain(name: &str) -> Domain {
        Domain::parse(name).expect("a domain")
    }

    fn follow(traces: &mut Traces, name: &str, at: u64) -> Option<Box<Followed>> {
        let id = ConnectionId(Slot::from_bits(7));
        traces.follow(&domain(name), id, ("mx[192.0.2.1]:25", &"192.0.2.9".into()), now(at))
    }

    fn said(page: &TracePage) -> Vec<(Said, &str)> {
        page.lines.iter().map(|line| (line.said, &*line.text)).collect()
    }

    #[test]
    fn only_what_is_watched_is_followed_and_lines_are_cut_anywhere() {
        let mut traces = Traces::default();
        assert!(follow(&mut traces, "a.example", 0).is_none(), "nobody watches");
        let first = traces.watch(&domain("a.example"), None, now(0).mono).expect("room");
        assert!(first.lines.is_empty());
        assert!(follow(&mut traces, "b.example", 0).is_none());
        let octets = b"220-hello\r\n220 mx\r\n";
        for cut in 0..octets.len() {
            let mut traces = Traces::default();
            let page = traces.watch(&domain("a.example"), None, now(0).mono).expect("room");
            let mut followed = follow(&mut traces, "a.example", 1).expect("it is watched");
            followed.hear(&octets[..cut], WallTime(1), &mut traces);
            followed.hear(&octets[cut..], WallTime(2), &mut traces);
            followed.say(b"EHLO me\r\nMAIL FROM:<>\r\n", WallTime(3), &mut traces);
            let page = traces.watch(&domain("a.example"), Some(page.next), now(2).mono);
            let expected = [
                (Said::Received, "220-hello"),
                (Said::Received, "220 mx"),
                (Said::Sent, "EHLO me"),
                (Said::Sent, "MAIL FROM:<>"),
            ];
            let page = page.expect("room");
            assert_eq!(said(&page), expected, "cut at {cut}");
            assert_eq!((page.lost, page.next, &*page.lines[0].peer), (0, 4, "mx[192.0.2.1]:25"));
        }
    }

    #[test]
    fn a_watch_ends_with_its_watcher() {
        let mut traces = Traces::default();
        traces.watch(&domain("a.example"), None, now(0).mono);
        assert!(follow(&mut traces, "a.example", TRACE_FOR.as_secs() - 1).is_some());
        let followed = follow(&mut traces, "a.example", 1).expect("it is watched");
        followed.say(b"NOOP\r\n", WallTime(1), &mut traces);
        assert!(follow(&mut traces, "a.example", TRACE_FOR.as_secs()).is_none());
        assert!(traces.lines.is_empty(), "nothing is kept for nobody");
        let again = traces.watch(&domain("a.example"), Some(0), now(100).mono).expect("room");
        assert_eq!((again.lost, again.next), (1, 1));
    }

    #[test]
    fn lines_and_watched_domains_have_bounds_and_what_is_lost_is_said() {
        let mut traces = Traces::default();
        for n in 0..TRACES_MAX {
            assert!(traces.watch(&domain(&format!("d{n}.example")), None, now(0).mono).is_some());
        }
        assert!(traces.watch(&domain("one.more"), None, now(0).mono).is_none());
        let mut followed = follow(&mut traces, "d0.example", 1).expect("it is watched");
        for _ in 0..TRACE_LINES_MAX + 3 {
            followed.hear(b"250 ok\r\n", WallTime(1), &mut traces);
        }
        let page = traces.watch(&domain("d0.example"), Some(0), now(1).mono).expect("room");
        assert_eq!((page.lines.len(), page.lost), (TRACE_LINES_MAX, 3));
        followed.hear(&vec![b'x'; 3 * TRACE_LINE_MAX], WallTime(1), &mut traces);
        followed.hear(b"\n", WallTime(1), &mut traces);
        let page = traces.watch(&domain("d0.example"), Some(page.next), now(1).mono);
        assert_eq!(page.expect("room").lines[0].text.len(), TRACE_LINE_MAX);
    }
}
