//! Read how a listener's clients can log in.

use std::fmt;

use crate::config::knobs;
use crate::config::problem::Place;
use crate::config::reader::{Given, Reader, Section};
use crate::config::suggest;
use crate::config::units::Wrong;
use crate::smtp::sasl::Mechanism;
use crate::smtp::server::{Auth, Security};

/// What can be named: -PLUS is no choice of its own.
const MECHANISMS: [Mechanism; 3] = [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

/// A mechanism as a file names it.
#[derive(Clone, Copy)]
struct Named(Mechanism);

impl fmt::Display for Named {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.name())
    }
}

/// A listener's knobs of AUTH; `None` where it has none.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Auth> {
    let choice = reader.choice(section, &knobs::LISTENER_AUTH);
    let knob = &knobs::LISTENER_AUTH_MECHANISMS;
    let named = reader.list(section, knob, mechanism).unwrap_or_else(|| {
        reader.note(section, knob, knob.default_text(), None);
        MECHANISMS.map(|one| Given { value: Named(one), place: None }).into()
    });
    let without_tls = reader.choice(section, &knobs::LISTENER_AUTH_WITHOUT_TLS) == "allow";
    if choice == "none" {
        return None;
    }
    let has = |mechanism| named.iter().any(|given| given.value.0 == mechanism);
    Some(Auth {
        plain: has(Mechanism::Plain),
        login: has(Mechanism::Login),
        scram: has(Mechanism::ScramSha256),
        without_tls,
        required: choice == "require",
    })
}

fn mechanism(text: &str) -> Result<Named, Wrong> {
    let found = MECHANISMS.into_iter().find(|one| one.name().eq_ignore_ascii_case(text));
    found.map(Named).ok_or_else(|| {
        let names = MECHANISMS.map(Mechanism::name);
        let wrong = Wrong::new(format!("`{text}` is not one of {}", names.join(", ")));
        suggest::nearest(text, names.into_iter(), wrong)
    })
}

/// AUTH that nobody could use.
pub(super) fn check(
    reader: &mut Reader<'_>,
    place: &Place,
    auth: Auth,
    security: Security,
    has_credentials: bool,
) {
    if !has_credentials {
        let wrong = Wrong::new("AUTH needs to know who may log in");
        let wrong = wrong.help("name a file of `relay-fast passwd` as `credentials` in [auth]");
        reader.finder.add(place, wrong);
    }
    if security == Security::Clear && !auth.without_tls {
        let wrong = Wrong::new("AUTH is for TLS, and this listener has none");
        let wrong =
            wrong.help("set its `tls`, or `auth_without_tls = \"allow\"` on a safe network");
        reader.finder.add(place, wrong);
    }
    if !(auth.plain || auth.login || auth.scram) {
        reader.finder.add(place, Wrong::new("AUTH without a mechanism"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::tests::{problems, read_file};

    const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:1\"\n";
    const CREDENTIALS: &str = "[auth]\ncredentials = \"/c\"\n";

    #[test]
    fn auth_that_nobody_could_use_is_refused() {
        for (knobs, expected) in [
            ("auth = \"offer\"", "2: AUTH needs to know who may log in"),
            ("auth = \"offer\"", "2: AUTH is for TLS, and this listener has none"),
            ("auth = \"offer\"\nauth_mechanisms = []", "2: AUTH without a mechanism"),
            ("auth_mechanisms = [\"PLAN\"]", "3: `PLAN` is not one of SCRAM-SHA-256, PLAIN, LOGIN"),
        ] {
            let found = problems(&format!("{LISTENER}{knobs}"));
            assert!(found.iter().any(|one| one.starts_with(expected)), "{knobs}\n{found:#?}");
        }
    }

    #[test]
    fn mechanisms_are_all_or_those_that_are_named() {
        let auth = |knobs: &str| {
            let text = format!("{LISTENER}auth_without_tls = \"allow\"\n{knobs}\n{CREDENTIALS}");
            read_file(&text).listeners[0].auth
        };
        let all =
            Auth { plain: true, login: true, scram: true, without_tls: true, required: false };
        assert_eq!(auth(""), Auth::default());
        assert_eq!(auth("auth = \"offer\""), all);
        let only = Auth { plain: false, login: false, required: true, ..all };
        assert_eq!(auth("auth = \"require\"\nauth_mechanisms = [\"scram-sha-256\"]"), only);
    }
}
