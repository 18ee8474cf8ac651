//! The subcommand `relay-fast events`: show what the event log has, and what comes to be in it.

pub mod source;

use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::base::limits::EVENT_POLL;
use crate::base::time::WallTime;
use crate::config::duration;
use crate::control::events::source::{From, Source};
use crate::outcome::event::cursor::Cursor;
use crate::outcome::event::filter::{Filter, FilterError};
use crate::outcome::event::{Event, Kind};

/// Which events, and how they are shown.
#[derive(Args)]
pub struct Events {
    /// Wait for more, until interrupted
    #[arg(long, short)]
    pub follow: bool,
    /// Where to begin: `start`, `end`, a number, a time as 2026-11-24T03:41:01Z, or how long ago,
    /// as 30m; `start` if not given, and with --follow `end`
    #[arg(long, value_name = "WHERE")]
    pub from: Option<String>,
    /// Terms that must hold, as `kind=bounced,expired domain=example.com code=5xx`; may be repeated
    #[arg(long, value_name = "TERMS")]
    pub r#where: Vec<String>,
    /// The lines as they are: one JSON object each
    #[arg(long)]
    pub json: bool,
}

/// Why no events are shown.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// What is wanted cannot be asked.
    #[error("--where: {0}")]
    Where(#[from] FilterError),
    /// It is no place in a log.
    #[error("--from {0}: this is neither `start`, `end`, a number, a time nor a duration")]
    From(String),
    /// The files cannot be read, or nobody takes what is written.
    #[error("cannot read the event log, or show it: {0}")]
    Io(#[from] io::Error),
}

/// Show events of the log under `spool` on `out`, and on `errors` what is missing.
pub fn show(
    ask: &Events,
    spool: &Path,
    now: WallTime,
    mut out: impl Write,
    mut errors: impl Write,
) -> Result<(), EventsError> {
    let filter = Filter::parse(&ask.r#where.join(" "))?;
    let from = match &ask.from {
        Some(text) => from(text, now).ok_or_else(|| EventsError::From(text.clone()))?,
        None if ask.follow => From::End,
        None => From::Start,
    };
    let mut source = Source::new(spool, &Cursor::default(), from, filter)?;
    loop {
        match round(&mut source, ask.json, &mut out, &mut errors) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            result => result?,
        }
        if !ask.follow {
            return Ok(());
        }
        thread::sleep(EVENT_POLL);
    }
}

/// Show what there is now.
fn round(
    source: &mut Source,
    is_json: bool,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<()> {
    source.look()?;
    let mut line = Vec::new();
    while source.next(&mut line)?.is_some() {
        tell_gaps(source, errors)?;
        if !line.is_empty() {
            match Event::parse(&line) {
                Ok(event) if !is_json => out.write_all(text(&event).as_bytes())?,
                // As JSON; or of a later version, perhaps.
                Ok(_) | Err(_) => out.write_all(&line)?,
            }
            line.clear();
        }
    }
    tell_gaps(source, errors)?;
    out.flush()
}

fn tell_gaps(source: &mut Source, errors: &mut impl Write) -> io::Result<()> {
    for (shard, gap) in source.take_gaps() {
        writeln!(errors, "relay-fast: shard {shard}: {gap}")?;
    }
    Ok(())
}

/// Where that is in a log.
fn from(text: &str, now: WallTime) -> Option<From> {
    match text {
        "start" => Some(From::Start),
        "end" => Some(From::End),
        _ => None,
    }
    .or_else(|| text.parse().ok().map(From::Sequence))
    .or_else(|| WallTime::from_rfc3339(text).map(From::Time))
    .or_else(|| duration(text).ok().map(|ago: Duration| From::Time(now - ago)))
}

/// For a terminal: one line.
pub(super) fn text(event: &Event<'_>) -> String {
    let mut words = vec![event.time.to_rfc3339(), kind(event.kind), event.id.to_string()];
    words.push(format!("<{}> to <{}>", event.reverse_path, event.recipient));
    for (name, value) in
        [("by", &event.peer), ("by milter", &event.milter), ("class", &event.class)]
    {
        if !value.is_empty() {
            words.push(format!("{name} {value}"));
        }
    }
    if event.attempt > 1 {
        words.push(format!("attempt {}", event.attempt));
    }
    words.extend(event.code.map(|code| code.to_string()));
    words.extend(event.status.map(|status| status.to_string()));
    if !event.reply.is_empty() {
        words.push(event.reply.escape_debug().to_string());
    }
    words.extend(event.next_attempt.map(|next| format!("next at {}", next.to_rfc3339())));
    words.join(" ") + "\n"
}

/// As in JSON.
fn kind(kind: Kind) -> String {
    format!("{kind:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LINE: &str = "{\"sequence\":7,\"time\":\"2026-11-24T03:41:01.007Z\",\"shard\":0,\
        \"kind\":\"deferred\",\"id\":\"0000000000001\",\"reverse_path\":\"s@a.example\",\
        \"recipient\":\"r@b.example\",\"domain\":\"b.example\",\"size\":10,\
        \"peer\":\"mx.b.example[192.0.2.1]:25\",\"code\":450,\"status\":\"4.2.2\",\
        \"class\":\"quota\",\"reply\":\"full\\n\\u001b[31m\",\"attempt\":2}\n";

    fn shown(ask: &[&str]) -> Result<(String, String), String> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            events: Events,
        }
        let spool = tempfile::tempdir().unwrap();
        fs::create_dir(spool.path().join("events")).unwrap();
        let lost = LINE.replace("\"sequence\":7", "\"sequence\":9").replace("r@b", "x@b");
        let name = spool.path().join("events/shard-00-0000000000001.jsonl");
        fs::write(name, LINE.to_owned() + &lost + "{\"cut").unwrap();
        let line = [&["events"], ask].concat();
        let Line { events } = clap::Parser::parse_from(line);
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let now = WallTime(1_795_491_671_007);
        show(&events, spool.path(), now, &mut out, &mut errors).map_err(|e| e.to_string())?;
        Ok((String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap()))
    }

    #[test]
    fn a_person_sees_a_line_each_and_nothing_that_a_peer_wrote_acts_on_the_terminal() {
        let (out, errors) = shown(&["--where", "recipient~r@"]).unwrap();
        assert_eq!(
            out,
            "2026-11-24T03:41:01.007Z deferred 0000000000001 <s@a.example> to <r@b.example> by \
            mx.b.example[192.0.2.1]:25 class quota attempt 2 450 4.2.2 full\\n\\u{1b}[31m\n"
        );
        assert_eq!(errors, "relay-fast: shard 0: 1 events were never written: between 7 and 9\n");
    }

    #[test]
    fn json_is_as_it_was_written_from_where_it_is_asked_for() {
        assert_eq!(shown(&["--json", "--where", "recipient~r@"]).unwrap().0, LINE);
        let count = |ask: &[&str]| shown(ask).unwrap().0.lines().count();
        assert_eq!(count(&["--from", "start"]), 2);
        assert_eq!(count(&["--from", "end"]), 0);
        assert_eq!(count(&["--from", "9"]), 1);
        assert_eq!(count(&["--from", "10s"]), 2);
        assert_eq!(count(&["--from", "9s"]), 0);
        assert_eq!(count(&["--from", "2026-11-24T03:41:01Z"]), 2);
        assert_eq!(count(&["--from", "2026-11-24T04:41:02+01:00"]), 0);
        assert_eq!(count(&["--where", "kind=deferred", "--where", "attempt>2"]), 0);
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let from = shown(&["--from", "yesterday"]).unwrap_err();
        assert_eq!(
            from,
            "--from yesterday: this is neither `start`, `end`, a number, a time nor a duration"
        );
        let terms = shown(&["--where", "colour=red"]).unwrap_err();
        assert!(terms.starts_with("--where: events have no field `colour`"), "{terms}");
    }

    #[test]
    fn kinds_are_named_as_in_json() {
        for one in [Kind::Received, Kind::Quarantined] {
            assert_eq!(format!("\"{}\"", kind(one)), serde_json::to_string(&one).unwrap());
        }
    }
}
