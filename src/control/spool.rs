//! The subcommands `relay-fast spool …`: tell what a spool on disk holds, for people or programs.
//!
//! In: directories as they were checked or repaired. Out: lines of text, or a JSON object each.

use std::io::{self, BufWriter, Stdout, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::base::ids::MessageId;
use crate::spool::check::{Checked, Figures, Finding, Recipients};
use crate::spool::letter::Letter;
use crate::spool::repair::{Repaired, in_words};
use crate::spool::segment::SegmentName;
use crate::spool::stored::Standing;

/// Writes to standard output.
#[derive(Debug)]
pub struct Teller {
    out: BufWriter<Stdout>,
    json: bool,
    /// Places that are damaged.
    damaged: usize,
    /// The message that was asked for.
    sought: Sought,
}

/// What became of a question for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sought {
    /// Nobody asked.
    Nothing,
    Missing(MessageId),
    Whole,
    Damaged(MessageId),
}

#[derive(Serialize)]
struct RecipientRow {
    recipient: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
}

impl Teller {
    /// For programs if `json`, else for people.
    pub fn new(json: bool) -> Self {
        let out = BufWriter::new(io::stdout());
        Self { out, json, damaged: 0, sought: Sought::Nothing }
    }

    /// What a directory holds, and what is wrong in it.
    pub fn check(&mut self, checked: &Checked) -> io::Result<()> {
        self.damaged += checked.damage.len();
        if self.json {
            self.object(&figures(checked))?;
        } else {
            self.figures(checked)?;
            if checked.damage.is_empty() {
                writeln!(self.out, "  no damage")?;
            }
        }
        let damage = checked.damage.iter().map(|finding| ("damage", finding));
        let torn = checked.torn.iter().map(|finding| ("torn", finding));
        damage.chain(torn).try_for_each(|(kind, finding)| self.finding(kind, finding))
    }

    /// Each message of a directory, or the one with this id and its content.
    pub fn dump(&mut self, checked: &Checked, id: Option<MessageId>) -> io::Result<()> {
        let Some(id) = id else {
            checked.messages().try_for_each(|letter| self.letter(checked, &letter, true))?;
            return checked.lost().try_for_each(|letter| self.letter(checked, &letter, false));
        };
        if self.sought == Sought::Nothing {
            self.sought = Sought::Missing(id);
        }
        let whole = checked.messages().find(|letter| letter.id == id);
        if let Some(letter) = whole {
            self.sought = Sought::Whole;
            if self.json {
                return self.letter(checked, &letter, true);
            }
            let mut said = Vec::new();
            write_letter(&mut said, checked, &letter, true)?;
            // Standard output is the message and nothing else.
            io::stderr().write_all(&said)?;
            self.out.write_all(letter.prefix)?;
            let mut octets = letter.content.iter().filter_map(|stretch| stretch.octets);
            return octets.try_for_each(|octets| self.out.write_all(octets));
        }
        if checked.lost().any(|letter| letter.id == id) {
            self.sought = Sought::Damaged(id);
        }
        Ok(())
    }

    /// Nothing more comes; whether all is well.
    pub fn end(&mut self, root: &Path) -> io::Result<bool> {
        self.out.flush()?;
        let repair = format!("`relay-fast spool repair {}`", root.display());
        let mut errors = io::stderr();
        match self.sought {
            Sought::Missing(id) => writeln!(errors, "relay-fast: {id} is not in the spool")?,
            Sought::Damaged(id) => {
                writeln!(errors, "relay-fast: {id} is damaged; {repair} writes out what is left")?;
            }
            Sought::Nothing | Sought::Whole => {}
        }
        if self.damaged > 0 {
            let places = self.damaged;
            writeln!(errors, "relay-fast: places that are damaged: {places}; {repair} helps")?;
        }
        Ok(self.damaged == 0 && matches!(self.sought, Sought::Nothing | Sought::Whole))
    }

    /// Nothing was damaged.
    pub fn nothing_to_repair(&mut self) -> io::Result<()> {
        if self.json {
            self.object(&json!({"kind": "repair", "copy": null}))?;
        } else {
            writeln!(self.out, "no damage: nothing is to be done, and nothing was changed")?;
        }
        self.out.flush()
    }

    /// What a repair did.
    pub fn repaired(&mut self, copy: &Path, directories: &[Repaired]) -> io::Result<()> {
        if self.json {
            self.object(&json!({"kind": "repair", "copy": copy}))?;
        } else {
            writeln!(self.out, "the spool as it was: {}", copy.display())?;
        }
        directories.iter().try_for_each(|one| self.repaired_directory(one))?;
        self.out.flush()
    }

    fn repaired_directory(&mut self, repaired: &Repaired) -> io::Result<()> {
        let Repaired { directory, moved, set_aside, salvaged } = repaired;
        let segments: Vec<String> = set_aside.iter().map(SegmentName::to_string).collect();
        if self.json {
            self.object(&json!({
                "kind": "directory", "directory": directory, "moved": moved,
                "set_aside": segments,
            }))?;
            return salvaged.iter().try_for_each(|(name, notes)| {
                let object = json!({"kind": "damaged", "name": name, "notes": notes});
                self.object(&object)
            });
        }
        let moved = format!("{moved} messages moved to fresh segments");
        writeln!(self.out, "directory {directory:03}: {moved}")?;
        writeln!(self.out, "  set aside under damaged/: {}", segments.join(" "))?;
        for (name, notes) in salvaged {
            writeln!(self.out, "  damaged/{name}")?;
            notes.lines().try_for_each(|line| writeln!(self.out, "    {line}"))?;
        }
        Ok(())
    }

    fn figures(&mut self, checked: &Checked) -> io::Result<()> {
        let Figures { segments, groups, live, lost, done, .. } = checked.figures;
        let Figures { disk_bytes, live_bytes, recipients, .. } = checked.figures;
        let Recipients { untried, deferred, held, ended } = recipients;
        let out = &mut self.out;
        writeln!(out, "directory {:03}", checked.directory)?;
        writeln!(out, "  segments    {segments}, commit groups {groups}")?;
        writeln!(out, "  octets      {disk_bytes} on disk, {live_bytes} live")?;
        writeln!(out, "  messages    {live} live, {lost} damaged, {done} done")?;
        let states = format!("{untried} untried, {deferred} deferred, {held} held, {ended} ended");
        writeln!(out, "  recipients  {states}")
    }

    fn finding(&mut self, kind: &str, finding: &Finding) -> io::Result<()> {
        if !self.json {
            let word = if kind == "torn" { "torn tail" } else { "DAMAGE" };
            return writeln!(self.out, "  {word}: {finding}");
        }
        let messages = finding.subjects.iter().map(|subject| {
            json!({
                "id": subject.id.to_string(), "part": subject.part, "sure": subject.is_sure,
                "fate": subject.fate,
            })
        });
        let damage = finding.damage;
        self.object(&json!({
            "kind": kind, "segment": damage.segment.to_string(), "offset": damage.offset,
            "octets": damage.bytes, "what": damage.fault.to_string(),
            "messages": messages.collect::<Vec<_>>(), "words": finding.to_string(),
        }))
    }

    fn letter(&mut self, checked: &Checked, letter: &Letter<'_>, is_whole: bool) -> io::Result<()> {
        if !self.json {
            return write_letter(&mut self.out, checked, letter, is_whole);
        }
        let recipients: Vec<RecipientRow> = rows(letter).collect();
        self.object(&json!({
            "kind": "message", "id": letter.id.to_string(), "whole": is_whole,
            "reverse_path": letter.envelope.reverse_path.as_str(),
            "received": letter.received.to_rfc3339(),
            "durability": letter.durability.as_str(), "octets": letter.bytes(),
            "segment": place(checked, letter).to_string(), "offset": letter.at.offset,
            "recipients": recipients,
        }))
    }

    fn object(&mut self, object: &Value) -> io::Result<()> {
        writeln!(self.out, "{object}")
    }
}

fn place(checked: &Checked, letter: &Letter<'_>) -> SegmentName {
    SegmentName { directory: checked.directory, number: letter.at.segment }
}

fn write_letter(
    out: &mut impl Write,
    checked: &Checked,
    letter: &Letter<'_>,
    is_whole: bool,
) -> io::Result<()> {
    let Letter { id, at, envelope, durability, .. } = letter;
    let (bytes, received) = (letter.bytes(), letter.received.to_rfc3339());
    let received = format!("{received} (durability {durability})");
    let place = format!("{} at {}", place(checked, letter), at.offset);
    let damaged = if is_whole { "" } else { ", DAMAGED" };
    let from = &envelope.reverse_path;
    writeln!(out, "{id} from {from}, {bytes} octets, received {received}, {place}{damaged}")?;
    for (recipient, standing) in envelope.recipients.iter().zip(&letter.standings) {
        writeln!(out, "  {}:{}", recipient.forward_path, in_words(standing))?;
    }
    Ok(())
}

fn figures(checked: &Checked) -> Value {
    let Figures { segments, groups, live, lost, done, .. } = checked.figures;
    let Figures { disk_bytes, live_bytes, recipients, .. } = checked.figures;
    let Recipients { untried, deferred, held, ended } = recipients;
    json!({
        "kind": "directory", "directory": checked.directory, "segments": segments,
        "groups": groups, "disk_octets": disk_bytes, "live_octets": live_bytes,
        "messages": {"live": live, "damaged": lost, "done": done},
        "recipients": {"untried": untried, "deferred": deferred, "held": held, "ended": ended},
    })
}

fn rows<'a>(letter: &'a Letter<'_>) -> impl Iterator<Item = RecipientRow> + 'a {
    letter.envelope.recipients.iter().zip(&letter.standings).map(|(recipient, standing)| {
        let recipient = recipient.forward_path.to_string();
        let ended = RecipientRow {
            recipient,
            state: "ended",
            attempts: None,
            next_attempt: None,
            last: None,
        };
        let Standing::Pending { attempts, due, held, reason } = standing else { return ended };
        let state = match (held, attempts) {
            (true, _) => "held",
            (false, 0) => "untried",
            (false, _) => "deferred",
        };
        RecipientRow {
            state,
            attempts: Some(*attempts),
            next_attempt: Some(due.to_rfc3339()),
            last: reason.as_ref().map(ToString::to_string),
            ..ended
        }
    })
}
