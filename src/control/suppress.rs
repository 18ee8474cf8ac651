//! The subcommands `relay-fast suppress …`: ask a running node about its suppression lists, and
//! change them, over its admin address.
//!
//! A file is read here and sent in parts, each of which is stored once it is answered: an import
//! that breaks off has done what it says, and may be begun anew.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::base::limits::{SUPPRESSION_BATCH_MAX, SUPPRESSION_ERRORS_MAX};
use crate::base::text::harmless;
use crate::base::time::WallTime;
use crate::control::queue::{AskError, Node};
use crate::control::suppression::{Imported, Page, Row, Stats};
use crate::policy::suppression::rows::{self, Defaults, NoHeader, Rows, WrongRow};
use crate::policy::suppression::{Done, Entry, Kind, ListName, Located, Subject};

/// What is asked of suppression lists.
#[derive(Subcommand)]
pub enum SuppressVerb {
    /// Send nothing more to an address, or with `@example.com` to a domain
    Add {
        /// Whom
        address: String,
        /// The list; the node's own if not given
        #[arg(long, default_value = "global", value_name = "NAME")]
        list: ListName,
        /// hard-bounce, complaint, unsubscribe or manual
        #[arg(long, default_value = "manual", value_name = "KIND")]
        reason: Kind,
        /// Why, in words
        #[arg(long, default_value = "", value_name = "WORDS")]
        text: String,
        /// When it ends: a time, or how long from now, as 30d
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Take an address, or a domain, from a list
    Remove {
        /// Whom
        address: String,
        /// The list; the node's own if not given
        #[arg(long, default_value = "global", value_name = "NAME")]
        list: ListName,
    },
    /// Show on which lists an address or its domain is, and why
    Show {
        /// Whom
        address: String,
    },
    /// List entries
    List {
        /// The list; all if not given
        #[arg(long, value_name = "NAME")]
        list: Option<ListName>,
        /// Rows; 100 if not given
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Count the entries of each list
    Stats,
    /// Put all rows of a CSV file on a list; its first line names the columns
    Import {
        /// The file; `-` is stdin
        file: PathBuf,
        /// The list of rows that name none
        #[arg(long, default_value = "global", value_name = "NAME")]
        list: ListName,
        /// The reason of rows that give none
        #[arg(long, default_value = "manual", value_name = "KIND")]
        reason: Kind,
    },
    /// Write all entries as CSV to stdout
    Export {
        /// The list; all if not given
        #[arg(long, value_name = "NAME")]
        list: Option<ListName>,
    },
}

/// Why nothing more was done.
#[derive(Debug, thiserror::Error)]
pub enum SuppressError {
    /// The node did not do it.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It says of no row what it is.
    #[error(transparent)]
    Header(#[from] NoHeader),
    /// The answer cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
    /// Some rows are none; the others were taken.
    #[error("{0} rows are no entries; the others were taken")]
    WrongRows(u64),
    /// The node says something that is no entry.
    #[error("the node says something that is no entry: {0}")]
    Row(String),
}

type Pairs = Vec<(&'static str, String)>;

impl SuppressVerb {
    /// Do it; what came of it goes to stdout.
    pub fn run(&self, node: &Node, now: WallTime) -> Result<(), SuppressError> {
        let mut out = BufWriter::new(io::stdout().lock());
        match self {
            Self::Add { address, list, reason, text, expires } => {
                let mut asked: Pairs = vec![
                    ("address", address.clone()),
                    ("list", list.to_string()),
                    ("reason", reason.to_string()),
                    ("text", text.clone()),
                ];
                asked.extend(expires.clone().map(|expires| ("expires", expires)));
                writeln!(out, "{}", told(node.tell("suppression/add", &asked, None)?))?;
            }
            Self::Remove { address, list } => {
                let asked: Pairs = vec![("address", address.clone()), ("list", list.to_string())];
                writeln!(out, "{}", told(node.tell("suppression/remove", &asked, None)?))?;
            }
            Self::Show { address } => {
                let asked: Pairs = vec![("address", address.clone())];
                let rows: Vec<Row> = node.fetch("suppression/show", &asked)?;
                if rows.is_empty() {
                    writeln!(out, "{address} is on no list")?;
                }
                rows.iter().try_for_each(|row| writeln!(out, "{}", line(row)))?;
            }
            Self::List { list, limit } => {
                let mut left = *limit;
                walk(node, list.as_ref(), |row| {
                    if left == 0 {
                        return Ok(false);
                    }
                    left -= 1;
                    writeln!(out, "{}", line(&row))?;
                    Ok(true)
                })?;
            }
            Self::Stats => {
                let stats: Stats = node.fetch("suppression/stats", &[])?;
                for (list, count) in stats.entries {
                    writeln!(out, "{count:>12}  {list}")?;
                }
            }
            Self::Import { file, list, reason } => {
                let defaults = Defaults { list: list.clone(), kind: *reason, when: now };
                return import(node, file, defaults, &mut out);
            }
            Self::Export { list } => {
                out.write_all(rows::HEADER.as_bytes())?;
                let mut text = Vec::new();
                walk(node, list.as_ref(), |row| {
                    text.clear();
                    rows::write(&located(&row)?, &mut text);
                    out.write_all(&text)?;
                    Ok(true)
                })?;
            }
        }
        Ok(out.flush()?)
    }
}

/// What one change came to.
fn told(done: Done) -> &'static str {
    match done {
        Done { added: 1.., .. } => "added",
        Done { replaced: 1.., .. } => "replaced what was there",
        Done { removed: 1.., .. } => "removed",
        Done { .. } => "there is no such entry",
    }
}

/// An entry for a terminal.
fn line(row: &Row) -> String {
    let Row { address, list, reason, text, when, expires, message } = row;
    let expires = expires.as_ref().map_or_else(String::new, |at| format!(" until {at}"));
    let message = message.as_ref().map_or_else(String::new, |id| format!(" by {id}"));
    let shown = harmless(text, ' ');
    let text = if shown.is_empty() { shown } else { format!(": {shown}") };
    format!("{list}  {address}  {reason} of {when}{expires}{message}{text}")
}

/// Call `each` with every entry, page by page, for as long as it wants more.
fn walk(
    node: &Node,
    list: Option<&ListName>,
    mut each: impl FnMut(Row) -> Result<bool, SuppressError>,
) -> Result<(), SuppressError> {
    let mut after = None;
    loop {
        let mut asked: Pairs = Vec::new();
        asked.extend(list.map(|list| ("list", list.to_string())));
        asked.extend(after.take().map(|after| ("after", after)));
        let Page { entries, next } = node.fetch("suppression/list", &asked)?;
        for row in entries {
            if !each(row)? {
                return Ok(());
            }
        }
        match next {
            None => return Ok(()),
            next => after = next,
        }
    }
}

fn located(row: &Row) -> Result<Located, SuppressError> {
    let wrong = |what: &str| SuppressError::Row(format!("{what} of {}", row.address));
    let time = |text: &str| WallTime::from_rfc3339(text).ok_or_else(|| wrong("a time"));
    let mut entry = Entry::new(
        row.reason.parse().map_err(|_| wrong("the reason"))?,
        &row.text,
        time(&row.when)?,
    );
    entry.expires = row.expires.as_deref().map(time).transpose()?;
    let message = row.message.as_deref().map(str::parse).transpose();
    entry.message = message.map_err(|_| wrong("the message"))?;
    let list = row.list.parse().map_err(|_| wrong("the list"))?;
    Ok(Located { list, subject: Subject::known(&row.address), entry })
}

fn import(
    node: &Node,
    path: &Path,
    defaults: Defaults,
    out: &mut impl Write,
) -> Result<(), SuppressError> {
    let cannot = |error| SuppressError::File { path: path.to_owned(), error };
    let mut input: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(cannot)?),
    };
    let mut rows = Rows::new(defaults);
    let (mut part, mut wrong, mut done) = (Part::default(), 0_u64, Done::default());
    let mut piece = vec![0; SUPPRESSION_BATCH_MAX];
    loop {
        let length = input.read(&mut piece).map_err(cannot)?;
        let each = |row| take(row, &mut part, &mut wrong);
        match length {
            0 => rows.finish(each)?,
            length => rows.push(&piece[..length], each)?,
        }
        if part.rows >= SUPPRESSION_BATCH_MAX || length == 0 {
            done = done.plus(part.send(node)?);
        }
        if length == 0 {
            break;
        }
    }
    writeln!(out, "{} added, {} replaced", done.added, done.replaced)?;
    out.flush()?;
    if wrong > 0 { Err(SuppressError::WrongRows(wrong)) } else { Ok(()) }
}

/// Rows that are sent together.
#[derive(Default)]
struct Part {
    text: Vec<u8>,
    rows: usize,
}

fn take(row: Result<Located, WrongRow>, part: &mut Part, wrong: &mut u64) {
    match row {
        Ok(located) => {
            if part.text.is_empty() {
                part.text.extend(rows::HEADER.as_bytes());
            }
            rows::write(&located, &mut part.text);
            part.rows += 1;
        }
        Err(WrongRow { line, what }) => {
            *wrong += 1;
            if *wrong <= SUPPRESSION_ERRORS_MAX as u64 {
                eprintln!("line {line}: {what}");
            }
        }
    }
}

impl Part {
    fn send(&mut self, node: &Node) -> Result<Done, SuppressError> {
        if self.rows == 0 {
            return Ok(Done::default());
        }
        let imported: Imported = node.tell("suppression/import", &[], Some(&self.text))?;
        (self.rows, self.text) = (0, std::mem::take(&mut self.text));
        self.text.clear();
        match imported.errors.into_iter().next() {
            Some(error) => Err(SuppressError::Row(error)),
            None => Ok(imported.done),
        }
    }
}
