//! The sending machine against scripted peers, their replies split at every byte, and against a
//! peer of random moods that holds it to the rules of a server.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]

#[path = "support/sender.rs"]
mod sender;

mod client_machine {
    mod asking;
    mod behind;
    mod dialogue;
    mod endings;
    mod moods;
    mod opening;
    mod starttls;
    mod transactions;
}
