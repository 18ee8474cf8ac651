//! Write the part of a DSN that people read.

use crate::outcome::dsn::lines::Lines;
use crate::outcome::dsn::original::Returned;
use crate::outcome::dsn::{Action, DsnRecipient, DsnRequest};

/// What happened, to whom, what the other side said, and what is attached.
pub(super) fn write(request: &DsnRequest<'_>, returned: &Returned, utf8: bool) -> Vec<u8> {
    let mut lines = Lines::new(utf8);
    let hostname = request.hostname;
    lines.paragraph("", "", &format!("This is the mail system at {hostname}."));
    lines.blank();
    lines.paragraph("", "", &news(request));
    for about in request.recipients {
        lines.blank();
        write_recipient(request.action, about, &mut lines);
    }
    lines.blank();
    let attached = if returned.is_whole { "Your message" } else { "The header of your message" };
    let id = request.original_id;
    let end = format!(
        "{attached} is attached. If you need help, write to postmaster@{hostname} and mention \
         message id {id}."
    );
    lines.paragraph("", "", &end);
    lines.into_octets()
}

fn news(request: &DsnRequest<'_>) -> String {
    let many = request.recipients.len() > 1;
    let whom = if many { "these recipients" } else { "this recipient" };
    match request.action {
        Action::Failed => format!(
            "I am sorry to tell you that your message could not be delivered to {whom}. It will \
             not be tried again."
        ),
        Action::Delayed => {
            let until = request.expires.to_rfc5322();
            format!(
                "Your message has not been delivered to {whom} yet. You need not send it again: it \
                 will be tried until {until}, and you will be told if that fails."
            )
        }
        Action::Relayed => format!(
            "Your message was handed on for {whom}, to a mail system that sends no reports of \
             success. You will hear of it again only if it fails there."
        ),
        Action::Delivered => format!("Your message was delivered to {whom}."),
    }
}

fn write_recipient(action: Action, about: &DsnRecipient<'_>, lines: &mut Lines) {
    lines.paragraph("  ", "  ", &about.recipient.forward_path.to_string());
    let reason = about.reason;
    let Some(reply) = &reason.reply else {
        // What ends a long wait names the peer already.
        let (peer, detail) = (&*reason.peer, &*reason.detail);
        let is_named = peer.is_empty() || detail.contains(peer);
        let said = if is_named { detail.to_owned() } else { format!("{peer}: {detail}") };
        return lines.paragraph("    ", "    ", &said);
    };
    if action == Action::Failed && reason.status.class == 4 {
        lines.paragraph("    ", "    ", "It was tried for as long as mail is kept. Lastly,");
    }
    let verb = match action {
        Action::Failed if reason.status.class == 5 => "refused it",
        Action::Failed | Action::Delayed => "did not take it",
        Action::Relayed | Action::Delivered => "took it",
    };
    let said = format!("{} {verb}, in answer to {}:", reason.peer, reason.stage);
    lines.paragraph("    ", "    ", &said);
    lines.paragraph("    ", "    ", &reply.to_string());
}
