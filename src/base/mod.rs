//! Floor 0: limits, ids, time, text and small containers. Imports nothing of ours.

pub mod days;
pub mod ids;
pub mod limits;
pub mod prng;
pub mod rate;
pub mod share;
pub mod slots;
pub mod text;
pub mod time;
pub mod wheel;
pub mod window;
