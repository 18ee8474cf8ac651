//! Change one identity of a file of credentials, and nothing else in it.
//!
//! In: the text of a file, which must be sound; the change. Out: the text of the changed file.
//! Invariant: lines of others, comments and their order stay as they are.

use crate::policy::credentials::file::{
    CredentialsError, Salts, name_of, options_of, parse, secret_line, verifiers,
};
use crate::smtp::sasl::{Name, Password};

/// Give `name` (of [`name`](super::name)) this password; make it if nobody has it. `domains` (as
/// [`domains`](super::domains) reads them) replaces what it may send as; empty is any; `None`
/// leaves that as it is. Slow by design.
pub fn put(
    text: &str,
    name: &Name,
    password: &Password,
    domains: Option<&str>,
    salts: &Salts,
) -> Result<String, CredentialsError> {
    let (_, secret) = parse(text)?;
    let name = name.as_str();
    let old = text.lines().find(|line| name_of(line) == Some(name));
    let options = match domains {
        None => old.map(options_of).unwrap_or_default().to_owned(),
        Some("") => String::new(),
        Some(list) => format!(":domains={list}"),
    };
    let line = format!("{name}:{}{options}", verifiers(password, salts));
    let mut lines: Vec<&str> = text.lines().collect();
    let secret_line = secret_line(&salts.decoys);
    if secret.is_none() {
        lines.insert(0, &secret_line);
    }
    match lines.iter_mut().find(|line| name_of(line) == Some(name)) {
        Some(old) => *old = &line,
        None => lines.push(&line),
    }
    let changed = joined(&lines);
    parse(&changed)?;
    Ok(changed)
}

/// Remove `name`; `None` if nobody has it.
pub fn delete(text: &str, name: &Name) -> Result<Option<String>, CredentialsError> {
    parse(text)?;
    let others: Vec<_> = text.lines().filter(|line| name_of(line) != Some(name.as_str())).collect();
    Ok((others.len() < text.lines().count()).then(|| joined(&others)))
}

fn joined(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}
