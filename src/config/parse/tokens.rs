//! Read the tokens of those who may do less than everything: `[[token]]`.

use crate::base::limits::{TOKEN_NAME_MAX, TOKENS_MAX};
use crate::config::knobs;
use crate::config::options::{Role, TokenFile};
use crate::config::parse::forms;
use crate::config::reader::{Reader, Section};
use crate::config::units::Wrong;

/// In the file's order.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> Vec<TokenFile> {
    let mut tokens: Vec<TokenFile> = Vec::new();
    for section in reader.tables(root, "token", "token[]") {
        let Some(token) = token(reader, &section) else { continue };
        let wrong = if tokens.iter().any(|other| other.name == token.name) {
            Some(format!("there are two tokens named `{}`", token.name))
        } else if tokens.iter().any(|other| other.file == token.file) {
            Some(format!("{} is another token's file already", token.file.display()))
        } else {
            let is_full = tokens.len() == TOKENS_MAX;
            is_full.then(|| format!("there are {TOKENS_MAX} tokens already"))
        };
        match wrong {
            Some(words) => reader.finder.add(section.place(), Wrong::new(words)),
            None => tokens.push(token),
        }
    }
    tokens
}

fn token(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<TokenFile> {
    let name = reader.required(section, &knobs::TOKEN_NAME, name);
    let file = reader.required(section, &knobs::TOKEN_FILE, forms::path);
    let role = role(reader.choice(section, &knobs::TOKEN_ROLE));
    let tenant = reader.text(section, &knobs::TOKEN_TENANT, None, forms::tenant_name);
    if let Some(given) = &tenant
        && role != Role::Inject
    {
        let wrong = Wrong::new("by this token no mail is handed in for a tenant");
        let wrong = wrong.help("write `role = \"inject\"`, or leave `tenant` out");
        reader.finder.add(given.place_or(section.place()), wrong);
    }
    Some(TokenFile {
        name: name?.value.into(),
        file: file?.value.into(),
        role,
        tenant: tenant.map(|given| given.value),
    })
}

fn role(word: &str) -> Role {
    match word {
        "operate" => Role::Operate,
        "inject" => Role::Inject,
        _ => Role::Read,
    }
}

/// A word of the log.
fn name(text: &str) -> Result<String, Wrong> {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    match (1..=TOKEN_NAME_MAX).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => {
            let what = format!("write up to {TOKEN_NAME_MAX} letters, digits, `-`, `_` and `.`");
            Err(Wrong::new(what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::tests::{problems, read_file};

    #[test]
    fn a_token_is_a_name_a_file_and_a_role() {
        let text = "[admin]\nlisten = [\"0.0.0.0:1\"]\n\
            [[token]]\nname = \"grafana\"\nfile = \"/g\"\n\
            [[token]]\nname = \"shop\"\nfile = \"/s\"\nrole = \"inject\"\ntenant = \"acme\"\n\
            [[token]]\nname = \"ops\"\nfile = \"/o\"\nrole = \"operate\"\n";
        let admin = read_file(text).admin;
        let shown: Vec<_> = admin.tokens.iter().map(|token| (&*token.name, token.role)).collect();
        let roles = [("grafana", Role::Read), ("shop", Role::Inject), ("ops", Role::Operate)];
        assert_eq!(shown, roles);
        assert_eq!(admin.tokens[1].tenant.as_ref().map(ToString::to_string), Some("acme".into()));
        assert!(admin.has_tokens() && admin.tells_token(), "they guard what others can reach");
        assert_eq!(admin.own_token(), Some(std::path::Path::new("/o")));
        let own = read_file(&text.replace("listen", "token = \"/t\"\nlisten")).admin;
        assert_eq!(own.own_token(), Some(std::path::Path::new("/t")));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let token = "[[token]]\nname = \"a\"\nfile = \"/a\"\n";
        for (text, expected) in [
            (token.repeat(2), "there are two tokens named `a`"),
            (token.to_owned() + &token.replace("\"a\"", "\"b\""), "/a is another token's file"),
            (token.replace("\"a\"", "\"a b\""), "write up to 64 letters"),
            (token.to_owned() + "tenant = \"t\"\n", "by this token no mail is handed in"),
            (token.to_owned() + "role = \"root\"\n", "`root` is not one of read, inject"),
            ("[[token]]\nname = \"a\"\n".to_owned(), "file"),
        ] {
            let found = problems(&text);
            assert!(found.iter().any(|one| one.contains(expected)), "{text}: {found:?}");
        }
        let one = |n| format!("[[token]]\nname = \"a{n}\"\nfile = \"/a{n}\"\n");
        let many: String = (0..=TOKENS_MAX).map(one).collect();
        assert!(problems(&many)[0].contains("there are 64 tokens already"));
    }
}
