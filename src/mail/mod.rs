//! Floor 1: the nouns that everyone shares: addresses, envelopes, replies, outcomes, routes.

pub mod address;
pub mod campaigns;
pub mod class;
pub mod durability;
pub mod envelope;
pub mod handling;
pub mod outcome;
pub mod reply_pattern;
pub mod route;
pub mod status;
pub mod tlsa;
pub mod verified;
pub mod visit;
