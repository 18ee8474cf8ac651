//! `relay-fast inject`: hand in what a file holds, and say what came of it.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::base::limits::INJECT_BODY_MAX;
use crate::control::inject::{Outcome, Told};
use crate::control::queue::{AskError, Node};

/// What is handed in.
#[derive(Args)]
pub struct Inject {
    /// JSON as `POST /v1/inject` takes it; `-` is stdin
    pub file: PathBuf,
    /// Idempotency-Key: what was answered under it is not done a second time
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
}

/// Why not all is handed in.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The node is not there, or refuses all.
    #[error(transparent)]
    Node(#[from] AskError),
    /// Some are refused; the others have their message.
    #[error("{0} of {1} recipients are refused")]
    Refused(usize, usize),
}

impl Inject {
    /// Do it; `tell` is given what to print.
    pub fn run(&self, node: &Node, tell: impl FnOnce(&str)) -> Result<(), InjectError> {
        let body = read(&self.file).map_err(|error| InjectError::File(self.file.clone(), error))?;
        let outcomes = node.inject(&body, self.key.as_deref())?;
        tell(&shown(&outcomes));
        let refused: usize = outcomes.iter().map(|one| one.refused).sum();
        let all = refused + outcomes.iter().map(|one| one.accepted).sum::<usize>();
        let wrong = outcomes.iter().filter(|one| one.error.is_some()).count();
        match refused + wrong {
            0 => Ok(()),
            _ => Err(InjectError::Refused(refused + wrong, all + wrong)),
        }
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let most = INJECT_BODY_MAX as u64 + 1;
    let mut body = Vec::new();
    match path == Path::new("-") {
        true => std::io::stdin().lock().take(most).read_to_end(&mut body)?,
        false => std::fs::File::open(path)?.take(most).read_to_end(&mut body)?,
    };
    Ok(body)
}

/// A line for each recipient.
fn shown(outcomes: &[Outcome]) -> String {
    let mut out = String::new();
    for outcome in outcomes {
        if let Some(error) = &outcome.error {
            let _ = writeln!(out, "refused: {error}");
        }
        for Told { to, id, reply, .. } in &outcome.recipients {
            let _ = match (id, reply) {
                (Some(id), _) => writeln!(out, "{id}  {to}"),
                (None, reply) => writeln!(out, "refused  {to}: {}", reply.as_deref().unwrap_or("")),
            };
        }
    }
    out
}
