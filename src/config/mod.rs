//! Floor 4: knobs → typed options.
//!
//! One way in: [`parse::load`] turns the file, the flags and what the machine is into a
//! [`Config`], or into every error that it found. Pure: the caller reads the file.

pub mod describe;
pub mod flags;
pub mod hidden;
pub mod knob;
pub mod knobs;
pub mod options;
pub mod origin;
pub mod parse;
pub mod problem;
mod reader;
pub mod reference;
pub mod reload;
mod suggest;
mod units;

pub use options::Config;

/// Read a duration as the file writes it: `30m`, `1h`, `2d`; an error says what is wrong.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    units::parse_duration(text).map_err(|wrong| wrong.what)
}
