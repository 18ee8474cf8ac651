//! What a client is told when the spool takes no message of its.

use crate::smtp::answer::Answer;
use crate::spool::log::{LogError, Room};

/// Why no message may be taken now, as the client is told.
pub(crate) fn refusal(room: Room) -> Option<Answer> {
    match room {
        Room::Open => None,
        Room::Opening => Some(Answer::STARTING),
        Room::Busy | Room::Full | Room::Closed => Some(Answer::NO_ROOM),
        Room::Failing => Some(Answer::NOT_STORED),
    }
}

/// Why a message was not taken.
pub(crate) fn answer_to(error: LogError) -> Answer {
    match error {
        LogError::Full | LogError::Busy => Answer::NO_ROOM,
        LogError::TooLarge => Answer::MESSAGE_TOO_BIG,
        LogError::Lost | LogError::Failing => Answer::NOT_STORED,
    }
}
