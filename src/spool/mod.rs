//! Floor 2: the spool: what is on disk, and what it proves.
//!
//! `format.rs` describes the bytes; `log.rs` appends and commits; `recovery.rs` reads a directory
//! after a start, by each segment's index (`index.rs`) where it has one, while the log takes new
//! messages already; `check.rs` and `repair.rs` are for a spool that no relay runs on.
//!
//! # The life of a message, crash by crash
//!
//! A crash is the end of the process or of the machine at any instant. Of the one write that may be
//! under way in a directory any part may reach the disk, or none. The last column names the test in
//! `tests/spool_life.rs` that crashes there.
//!
//! ```text
//! state               on disk                               a crash here leads to                              shown by
//! ─────────────────── ───────────────────────────────────── ────────────────────────────────────────────────── ─────────
//!  1 content appended nothing, or chunks in committed       no message: no record refers to the chunks. The    before_250
//!                     groups                                client has no answer and sends it again
//!  2 message appended as 1                                  as 1                                               before_250
//!  3 being written    any part of its group                 no message, or the whole one if all of the group   before_250
//!                                                           is there (then the client, unanswered, sends it
//!                                                           again: a duplicate). Never a part: the group is
//!                                                           unproven, so its contents are verified
//!  4 committed: 250   its group, synced                     5: the queue is rebuilt from the records           before_250
//!  5 queued           as 4                                  5. Recipients never tried are due at once          not_noted
//!  6 dispatched       as 4: nothing is written for an       5. What a next hop had taken without our noting it not_noted
//!                     attempt                               is sent again: the one kind of duplicate on the
//!                                                           way out
//!  7 state appended   as 4                                  as 6                                               not_noted
//!  8 state noted      a State record: attempts, due, last   5, with attempts, due time and last reply; a final not_noted
//!                     reply; or final                       recipient is not tried again
//!  9 DSN stored       the DSN, a message of its own, in     the recipient is tried, and bounces, once more:    a_bounce
//!                     state 4; of its recipient nothing     its sender is told twice, never not at all
//! 10 bounce noted     State or Done, in a later group       8 or 12                                            a_bounce
//! 11 done appended    as 8                                  as 6: the last recipient is tried again            what_ended
//! 12 done committed   Done                                  no message. Its segment is free once nothing else  what_ended
//!                                                           lives there; the Done lies behind it in the log,
//!                                                           so it goes later than what it ends
//! 13 copy appended    as 8                                  as 8: the old copy                                 that_moves
//! 14 copy written     any part of the copy's group          as 8: a copy in an unproven group yields to a      that_moves
//!                                                           complete older one
//! 15 moved            the copy with all states, synced      as 8: the latest copy that is proven, or the only  that_moves
//!                     before the old segment goes           one
//! ```
//!
//! On a listener with `durability = "memory"` the `250` comes in state 2, and what follows is
//!
//! ```text
//! state               on disk                               a crash here leads to                              shown by
//! ─────────────────── ───────────────────────────────────── ────────────────────────────────────────────────── ─────────
//!  2m appended: 250   as 1                                  no message, though its client has the 250: what    from_memory
//!                                                           such a listener gives up
//!  3m being written   as 3                                  as 2m, or the whole message                        from_memory
//!  3f commit failed   any part of an abandoned group, which as 2m; or the whole message, if the abandoned      from_memory
//!                     nobody reads                          group is there and the last one. Without a crash
//!                                                           it stays in RAM and is appended again: 2m
//!  4m committed       as 4                                  as 4, and so on                                    from_memory
//! ```
//!
//! The exception is made in one place, `InMemory` in `shard/commit.rs`; what waits to be appended
//! again is in `shard/owed.rs`. A DSN, also one about such a message, is always committed first.
//!
//! What is true in every row: a message that got its `250` in state 4 is found whole until its
//! Done is committed; nothing without a valid record exists; no id is given twice, since a run
//! tells none before its epoch is on disk. `tests/spool_crash.rs` holds all rows together against
//! a model, at every octet and for every subset of the sectors of the last group; failed commits
//! are in `tests/spool_log/faults.rs`, whole relays in `tests/simulation.rs` and in
//! `tests/relay/lifecycle.rs`.
//!
//! # Damage
//!
//! A crash tears only the last group of a run. All else that is invalid is damage: reported with
//! segment and offset, skipped, and what is valid around it counts. What it costs:
//!
//! - A segment's header, its index or a Group record: nothing. What follows is read all the same.
//! - A Message record: that message is lost.
//! - A State: its recipient stands as before, and may be tried once more.
//! - A Done: its message is back, and is delivered again.
//! - Content: a start does not read it. When the message is due it can be neither delivered nor
//!   bounced nor moved: it waits, and pins its segment and all after it, until `spool repair` ends
//!   it.
//!
//! The last group of a run is the exception: whoever flips a bit there makes it look torn, and its
//! messages are skipped as if they had not been acknowledged.

pub mod check;
pub mod format;
mod group;
pub mod index;
pub mod letter;
mod live;
pub mod log;
mod reclaim;
pub mod record;
pub mod recovery;
pub mod repair;
mod scan;
pub mod segment;
mod space;
pub mod stored;
