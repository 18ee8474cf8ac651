//! What an event tells of something that came back.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::base::ids::MessageId;
use crate::outcome::event::form;

/// What came back about mail that had left. Empty strings and `None` are left out of the line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned<'a> {
    /// `bounced`, `delayed`, `abuse`, `auto-reply` and so on: `outcome::feedback::Kind`.
    #[serde(borrow)]
    pub what: Cow<'a, str>,
    /// How it was said: `dsn`, `arf` and so on.
    #[serde(borrow)]
    pub form: Cow<'a, str>,
    /// The message that left, where a token says which.
    #[serde(with = "form::optional_text", default, skip_serializing_if = "Option::is_none")]
    pub original: Option<MessageId>,
    /// `recipient`: the token is of this message and this recipient; `message`: of the message, so
    /// whoever has had it may have made up the rest; empty: nobody vouches for any of it.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub vouched: Cow<'a, str>,
    /// The recipient as the reporting host knows them, where that is another than the event's.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub reported: Cow<'a, str>,
    /// Message-ID of the message that left, as the report returns it.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub message_id: Cow<'a, str>,
    /// Its ENVID (RFC 3461 §4.4).
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub envelope_id: Cow<'a, str>,
}
