//! Say of each value where it came from.

use std::fmt;

use crate::config::knob::Knob;

/// Who set a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Nobody: the knob's default.
    Default,
    /// The file, at this line, counted from 1.
    File {
        /// The line.
        line: usize,
    },
    /// A flag of the command line, as `--cores`.
    Flag(&'static str),
}

impl Origin {
    /// `default`, `relay.toml:12`, `--cores`; `file` is the configuration file's name.
    pub fn told(self, file: Option<&str>) -> String {
        match self {
            Self::Default => String::from("default"),
            Self::File { line } => format!("{}:{line}", file.unwrap_or("line")),
            Self::Flag(flag) => flag.to_owned(),
        }
    }
}

/// One value that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The knob's path with its place or name, as `listener[0].address`.
    pub path: Box<str>,
    /// The knob.
    pub knob: &'static Knob,
    /// The value as the file would write it.
    pub value: Box<str>,
    /// Who set it.
    pub origin: Origin,
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.path, self.value)
    }
}
