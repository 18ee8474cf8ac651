//! Tell what machines answer on their own from bounces: vacation notices, challenges (RFC 3834).
//!
//! In: a report's header. Out: what it is, if it is one of these; and whether a mail system has
//! written it.

use std::sync::LazyLock;

use regex::Regex;

use crate::outcome::feedback::fields::mailbox;
use crate::outcome::feedback::{Kind, Report, Told, words_of};

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a literal pattern")
}

/// Who writes bounces: a local part, a display name.
static DAEMON: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix)mailer-?daemon|^postmaster|<postmaster@|mail-?daemon|microsoftexchange[0-9a-f]+@|
        mail\ delivery\ (sub)?system|mail\ delivery\ service|delivery\ subsystem|maildienst|
        system\ ?administrator|mail\ system\b|\bmta@",
    )
});

/// How the subject of a notice begins that says that nobody is there.
static AWAY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix)^\s*(\[?(out\ of\ (the\ )?office|ooo|auto(matic|mated)?[-\ ]?(reply|response|answer|
        antwort)|autoreply|autoresponder|auto:|abwesen|automatische\ (antwort|e-?mail|eingang)|
        eingangsbest[äa]tigung|r[ée]ponse\ automatique|absence|risposta\ automatica|
        respuesta\ autom[áa]tica|resposta\ autom[áa]tica|automatisch\ antwoord|automatiskt?\ svar|
        autosvar|poissa|fuera\ de\ la\ oficina|i\ am\ (away|out|currently)|i'm\ (away|out)|
        (on\ )?vacation|(on\ )?(annual|maternity|parental)\ leave|away\ from|urlaub|
        (ich\ bin\ )?nicht\ im\ (b[üu]ro|haus)|автоответ|自动回复|自動応答)
        |.*\b(out\ of\ (the\ )?office|auto-?reply|abwesenheitsnotiz|abwesenheitsassistent)\b)",
    )
});

/// How a challenge asks its sender to prove to be a person.
static CHALLENGE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix)boxtrapper|spam\ ?arrest|\btmda\b|antispam\ uol|bluebottle|boxbe|
        (please|must|to)\ (confirm|verify|validate)\ .*(message|e-?mail|address|sender|delivery)|
        (message|e-?mail|mail)\ .*(requires?|needs?|awaiting|pending)\ .*(confirmation|
        verification|approval)|sender\ (verification|confirmation|authentication)|
        (verify|confirm)\ (your(self)?|that\ you)\b.*(sender|human|person|message|e-?mail)|
        challenge[-/ ]response",
    )
});

/// Whether a mail system has written it, not a person or somebody's mailbox.
pub(super) fn is_from_daemon(report: &Report<'_>) -> bool {
    let from = report.fields.text("From").unwrap_or_default();
    let address = report.fields.get("From").as_deref().and_then(mailbox);
    let address = address.map_or(String::new(), |mailbox| mailbox.as_str().to_owned());
    DAEMON.is_match(from.trim()) || DAEMON.is_match(&address) || from.trim() == "<>"
}

/// What it is, by its header alone.
pub(super) fn kind(report: &Report<'_>) -> Option<Kind> {
    let subject = report.fields.text("Subject").unwrap_or_default();
    if CHALLENGE.is_match(&subject) || report.fields.has("X-TMDA-Confirm") {
        return Some(Kind::Challenge);
    }
    // RFC 3834 §5. Others than answers are `auto-generated`: reports of all kinds, newsletters.
    let submitted = report.fields.get("Auto-Submitted").unwrap_or_default().to_ascii_lowercase();
    let is_automatic = submitted.starts_with("auto-") && !submitted.starts_with("auto-generated");
    let has = |name: &str, value: &str| {
        let found = report.fields.get(name).unwrap_or_default();
        !found.is_empty() && (value.is_empty() || found.eq_ignore_ascii_case(value))
    };
    let is_marked = ["X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Reply"]
        .iter()
        .any(|name| has(name, ""))
        || has("Precedence", "auto_reply")
        || has("X-Precedence", "auto_reply")
        || has("Preference", "auto_reply")
        || has("X-POST-MessageClass", "9; Autoresponder")
        || has("Delivered-To", "Autoresponder");
    (is_automatic || is_marked || AWAY.is_match(&subject)).then_some(Kind::AutoReply)
}

/// Of whoever it is from.
pub(super) fn told(kind: Kind, report: &Report<'_>) -> Vec<Told> {
    let recipient = report.fields.get("From").as_deref().and_then(mailbox);
    let subject = report.fields.text("Subject").unwrap_or_default();
    vec![Told { recipient, text: words_of(&subject), ..Told::new(kind) }]
}
