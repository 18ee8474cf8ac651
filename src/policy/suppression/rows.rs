//! Entries as CSV (RFC 4180), a row each, read as it comes and written as it goes.
//!
//! ```text
//! address,list,reason,text,when,expires,message
//! a@b.example,global,hard-bounce,550 5.1.1 No such user,2026-11-27T03:41:01.000Z,,0000000000001
//! ```
//! In: octets, in pieces of any size. Out: entries, and rows that are none, by their line.
//! Invariant: the first line names the columns, `address` among them, in any order; what a row does
//! not say is as [`Defaults`] have it; memory is bounded, whatever comes.

use csv_core::{ReadRecordResult, Reader};
use memchr::memchr_iter;

use crate::base::limits::{SUPPRESSION_COLUMNS_MAX, SUPPRESSION_ROW_MAX};
use crate::base::time::WallTime;
use crate::policy::suppression::{Entry, Kind, ListName, Located, Subject};

/// The first line of what is written.
pub const HEADER: &str = "address,list,reason,text,when,expires,message\n";

const COLUMNS: [&str; 7] = ["address", "list", "reason", "text", "when", "expires", "message"];

/// What holds for rows that do not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Which list.
    pub list: ListName,
    /// What kind of reason.
    pub kind: Kind,
    /// Since when.
    pub when: WallTime,
}

/// A row that is no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongRow {
    /// Where it begins, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub what: String,
}

/// The first line does not say what the others are; nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoHeader(pub String);

/// Reads rows.
#[derive(Debug)]
pub struct Rows {
    defaults: Defaults,
    reader: Reader,
    /// The fields of the row so far, one after another.
    fields: Box<[u8]>,
    filled: usize,
    ends: [usize; SUPPRESSION_COLUMNS_MAX],
    ended: usize,
    /// It is longer than it may be, and is passed over.
    is_too_long: bool,
    /// Which column of the file is which of `COLUMNS`, once that is known.
    columns: Option<[Option<usize>; COLUMNS.len()]>,
    /// Where the row begins, and where it has come to.
    began: u64,
    line: u64,
}

impl Rows {
    /// Nothing was read yet.
    pub fn new(defaults: Defaults) -> Self {
        Self {
            defaults,
            reader: Reader::new(),
            fields: vec![0; SUPPRESSION_ROW_MAX].into(),
            filled: 0,
            ends: [0; SUPPRESSION_COLUMNS_MAX],
            ended: 0,
            is_too_long: false,
            columns: None,
            began: 1,
            line: 1,
        }
    }

    /// Take in what comes next; `each` is called for every row that it ends.
    pub fn push(
        &mut self,
        mut input: &[u8],
        mut each: impl FnMut(Result<Located, WrongRow>),
    ) -> Result<(), NoHeader> {
        while !input.is_empty() {
            let taken = self.step(input, &mut each)?;
            input = &input[taken..];
        }
        Ok(())
    }

    /// There is no more: the last row may have no line feed.
    pub fn finish(
        &mut self,
        mut each: impl FnMut(Result<Located, WrongRow>),
    ) -> Result<(), NoHeader> {
        while self.is_amid_a_row() {
            self.step(b"", &mut each)?;
        }
        match self.columns {
            Some(_) => Ok(()),
            None => Err(NoHeader("there is no row, and no header".to_owned())),
        }
    }

    fn is_amid_a_row(&self) -> bool {
        self.filled > 0 || self.ended > 0 || self.is_too_long
    }

    /// Take some octets; how many.
    fn step(
        &mut self,
        input: &[u8],
        each: &mut impl FnMut(Result<Located, WrongRow>),
    ) -> Result<usize, NoHeader> {
        if !self.is_amid_a_row() {
            // The end of the line before, and empty ones.
            let empty = input.iter().take_while(|octet| b"\r\n".contains(octet)).count();
            if empty > 0 {
                self.line += memchr_iter(b'\n', &input[..empty]).count() as u64;
                return Ok(empty);
            }
            self.began = self.line;
        }
        let (output, ends) = (&mut self.fields[self.filled..], &mut self.ends[self.ended..]);
        let (result, taken, filled, ended) = self.reader.read_record(input, output, ends);
        self.line += memchr_iter(b'\n', &input[..taken]).count() as u64;
        self.filled += filled;
        self.ended += ended;
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                (self.filled, self.ended, self.is_too_long) = (0, 0, true);
            }
            ReadRecordResult::Record | ReadRecordResult::End => {
                let row = self.row();
                (self.filled, self.ended, self.is_too_long) = (0, 0, false);
                match row? {
                    None => {}
                    Some(Ok(located)) => each(Ok(located)),
                    Some(Err(what)) => each(Err(WrongRow { line: self.began, what })),
                }
            }
        }
        Ok(taken)
    }

    /// What the row that has ended is; `None`: the header, or nothing.
    fn row(&mut self) -> Result<Option<Result<Located, String>>, NoHeader> {
        if self.ended == 0 && !self.is_too_long {
            return Ok(None);
        }
        let text = std::str::from_utf8(&self.fields[..self.filled]);
        let Some(columns) = self.columns else {
            let text = text.ok().filter(|_| !self.is_too_long).unwrap_or("");
            self.columns = Some(columns(&self.split(text))?);
            return Ok(None);
        };
        if self.is_too_long {
            let what = format!(
                "it is longer than {SUPPRESSION_ROW_MAX} octets, or has more than \
                {SUPPRESSION_COLUMNS_MAX} columns"
            );
            return Ok(Some(Err(what)));
        }
        let Ok(text) = text else { return Ok(Some(Err("it is not UTF-8".to_owned()))) };
        let fields = self.split(text);
        let field = |column: usize| {
            let place = columns[column]?;
            fields.get(place).map(|field| field.trim()).filter(|field| !field.is_empty())
        };
        Ok(Some(read(&self.defaults, field)))
    }

    fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut from = 0;
        let ends = self.ends[..self.ended].iter();
        // A field ends where the text does not, if somebody put half a character in each.
        ends.map(|end| text.get(std::mem::replace(&mut from, *end)..*end).unwrap_or("")).collect()
    }
}

/// Which column is which.
fn columns(names: &[&str]) -> Result<[Option<usize>; COLUMNS.len()], NoHeader> {
    let mut columns = [None; COLUMNS.len()];
    for (place, name) in names.iter().enumerate() {
        let name = name.trim().to_ascii_lowercase();
        let column = COLUMNS.iter().position(|column| *column == name).ok_or_else(|| {
            let all = COLUMNS.join(",");
            NoHeader(format!("the first line names the columns, of {all}; `{name}` is none"))
        })?;
        if columns[column].replace(place).is_some() {
            return Err(NoHeader(format!("there are two columns `{name}`")));
        }
    }
    match columns[0] {
        Some(_) => Ok(columns),
        None => Err(NoHeader("the first line names no column `address`".to_owned())),
    }
}

/// An entry by its columns, or what is wrong.
fn read<'f>(
    defaults: &Defaults,
    field: impl Fn(usize) -> Option<&'f str>,
) -> Result<Located, String> {
    let address = field(0).ok_or("it has no address")?;
    let subject = Subject::parse(address).map_err(|error| format!("{address}: {error}"))?;
    let list = field(1).map(str::parse).transpose()?.unwrap_or_else(|| defaults.list.clone());
    let kind = field(2).map(str::parse).transpose()?.unwrap_or(defaults.kind);
    let time = |column: usize| {
        let parsed = field(column).map(|text| {
            let name = COLUMNS[column];
            let wrong = || format!("{name}: `{text}` is no time, as 2026-11-27T03:41:01Z");
            moment(text).ok_or_else(wrong)
        });
        parsed.transpose()
    };
    let mut entry = Entry::new(kind, field(3).unwrap_or(""), time(4)?.unwrap_or(defaults.when));
    entry.expires = time(5)?;
    let message = field(6).map(|id| id.parse().map_err(|error| format!("message {id}: {error}")));
    entry.message = message.transpose()?;
    Ok(Located { list, subject, entry })
}

/// Read a time: RFC 3339, or a date alone, which is its midnight in UTC.
pub fn moment(text: &str) -> Option<WallTime> {
    let midnight = || WallTime::from_rfc3339(&format!("{text}T00:00:00Z"));
    WallTime::from_rfc3339(text).or_else(midnight)
}

/// Append the row of an entry to `into`.
pub fn write(located: &Located, into: &mut Vec<u8>) {
    let Located { list, subject, entry } = located;
    let Entry { kind, words, when, expires, message } = entry;
    let expires = expires.map_or_else(String::new, WallTime::to_rfc3339);
    let message = message.map_or_else(String::new, |id| id.to_string());
    let when = when.to_rfc3339();
    let fields = [subject.as_str(), list.as_str(), kind.as_str(), words, &when, &expires, &message];
    for (place, field) in fields.into_iter().enumerate() {
        if place > 0 {
            into.push(b',');
        }
        write_field(field, into);
    }
    into.push(b'\n');
}

//= RFC 4180 §2
//# Fields containing line breaks (CRLF), double quotes, and commas should be enclosed in
//# double-quotes. … a double-quote appearing inside a field must be escaped by preceding it with
//# another double quote.
fn write_field(field: &str, into: &mut Vec<u8>) {
    if !field.contains(['"', ',', '\r', '\n']) {
        return into.extend(field.as_bytes());
    }
    into.push(b'"');
    into.extend(field.replace('"', "\"\"").as_bytes());
    into.push(b'"');
}
