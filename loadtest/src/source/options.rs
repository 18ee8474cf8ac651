//! What a source is told: target, amount, shape and speed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::labels::Labels;
use super::login::LoginFile;
use super::plan::{Arrivals, RECIPIENTS_MAX};
use crate::dice::Dice;
use crate::tls::{Client, Mode};

/// Sizes of messages, header included: uniform between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

impl FromStr for Sizes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let (least, most) = (octets(least)?, octets(most)?);
        if least > most {
            bail!("sizes {text} run backwards");
        }
        Ok(Self { least, most })
    }
}

/// `10240`, `10KB` and `10MB` (of 1,000), or `10KiB` and `10MiB` (of 1,024).
fn octets(text: &str) -> Result<usize> {
    const UNITS: [(&str, usize); 4] =
        [("KiB", 1 << 10), ("KB", 1_000), ("MiB", 1 << 20), ("MB", 1_000_000)];
    let named = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (digits, unit) = named.unwrap_or((text, 1));
    let count = digits.parse::<usize>().ok().and_then(|count| count.checked_mul(unit));
    count.with_context(|| format!("{text:?} is not a size in octets, KB, KiB, MB or MiB"))
}

/// How messages are spread over time when there is a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Spread {
    /// One every 1/rate seconds.
    #[default]
    Constant,
    /// Exponential gaps of mean 1/rate seconds.
    Poisson,
}

/// What to inject, where and how fast.
#[derive(Args, Clone, Debug)]
pub(crate) struct SourceOptions {
    /// Server that takes the messages
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) target: SocketAddr,
    /// Messages to send
    #[arg(long, default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..100_000_000))]
    pub(crate) messages: u32,
    /// Connections at a time
    #[arg(long, default_value_t = 20)]
    pub(crate) connections: usize,
    /// Messages a connection; 0 for no limit
    #[arg(long, default_value_t = 20)]
    pub(crate) per_connection: u32,
    /// Send MAIL, RCPT and DATA together where the server offers PIPELINING
    #[arg(long)]
    pub(crate) pipelining: bool,
    /// Send content by BDAT where the server offers CHUNKING
    #[arg(long)]
    pub(crate) chunking: bool,
    /// Transactions under way on a connection, with --pipelining and --chunking
    #[arg(long, default_value_t = 1)]
    pub(crate) ahead: usize,
    /// Octets of a message, header included: N or MIN-MAX
    #[arg(long, default_value = "10240")]
    pub(crate) size: Sizes,
    /// Folder of messages to send, each file that ends in .eml in turn, instead of made ones
    #[arg(long, value_name = "DIR", conflicts_with = "size")]
    pub(crate) corpus: Option<PathBuf>,
    /// Destination domains, named d0000001.example and on
    #[arg(long, default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..10_000_000))]
    pub(crate) domains: u32,
    /// Exponent of Zipf's law for the domains; each in turn without it
    #[arg(long)]
    pub(crate) zipf: Option<f64>,
    /// Destination domains by name, each in turn, instead of numbered ones
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub(crate) to_domains: Vec<String>,
    /// Messages a second, whether or not the server keeps up; as fast as can be without it.
    /// The clock ticks each millisecond, which is part of the latency shown
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// How messages are spread over time when there is a rate
    #[arg(long, value_enum, default_value_t = Spread::Constant)]
    pub(crate) spread: Spread,
    /// Recipients a message
    #[arg(long, default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(RECIPIENTS_MAX)))]
    pub(crate) recipients: u32,
    /// Beginning of recipients' local parts, before the message's number
    #[arg(long, default_value = "u", value_name = "WORD")]
    pub(crate) users: String,
    /// Reverse-path
    #[arg(long, default_value = "campaign@load.example", value_name = "ADDRESS")]
    pub(crate) from: String,
    /// Say in X-Tenant and X-Campaign for whom a message is: TENANTS:CAMPAIGNS, each campaign in
    /// turn, or TENANT/CAMPAIGN
    #[arg(long, value_name = "LABELS")]
    pub(crate) labels: Option<Labels>,
    /// Name in EHLO
    #[arg(long, default_value = "source.load.example")]
    pub(crate) helo: String,
    /// Secure connections
    #[arg(long, value_enum, default_value_t)]
    pub(crate) tls: Mode,
    /// PEM file of authorities; without it any certificate is taken
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Name that the server's certificate must be for, instead of the target's address
    #[arg(long, value_name = "NAME")]
    pub(crate) tls_name: Option<String>,
    /// Log in on each connection, by AUTH PLAIN or LOGIN; the password is the first line of FILE
    #[arg(long, value_name = "NAME:FILE")]
    pub(crate) auth: Option<LoginFile>,
    /// File that gets a line for each accepted message: id, intended time in unix ms, copies sent,
    /// accepted recipients
    #[arg(long, value_name = "FILE")]
    pub(crate) accepted: Option<PathBuf>,
    /// Send a message again, under its id, after 4xx or a connection that broke
    #[arg(long)]
    pub(crate) retry: bool,
    /// Longest wait for the replies of one transaction, in seconds
    #[arg(long, default_value_t = 300)]
    pub(crate) timeout: u64,
    /// Give up when no connection could be opened for so many seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) patience: u64,
    /// Seed of the run's tag and of what is random; from the clock without it
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl SourceOptions {
    /// A campaign application that does all a good client does, and retries what is not taken.
    pub(crate) fn campaign(target: SocketAddr, messages: u32, domains: u32) -> Self {
        Self {
            target,
            messages,
            connections: 20,
            per_connection: 20,
            pipelining: true,
            chunking: true,
            ahead: 1,
            size: Sizes { least: 10_240, most: 10_240 },
            corpus: None,
            domains,
            zipf: None,
            to_domains: Vec::new(),
            rate: None,
            spread: Spread::Constant,
            recipients: 1,
            users: "u".to_owned(),
            from: "campaign@load.example".to_owned(),
            labels: None,
            helo: "source.load.example".to_owned(),
            tls: Mode::None,
            tls_ca: None,
            tls_name: None,
            auth: None,
            accepted: None,
            retry: true,
            timeout: 300,
            patience: 60,
            seed: None,
            json: false,
        }
    }

    /// What begins handshakes with the target.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::new(self.tls_ca.as_deref(), self.tls_name.as_deref(), self.target.ip())
    }

    /// When messages are meant to be sent.
    ///
    /// Errors: a rate that is no positive number.
    pub(crate) fn arrivals(&self, seed: u64) -> Result<Arrivals> {
        let Some(rate) = self.rate else {
            return Ok(Arrivals::Asap);
        };
        if !(rate > 0.0 && rate.is_finite()) {
            bail!("a rate of {rate} messages a second cannot be kept");
        }
        let gap = Duration::from_secs_f64(1.0 / rate);
        Ok(match self.spread {
            Spread::Constant => Arrivals::Constant(gap),
            Spread::Poisson => Arrivals::Poisson(gap, Dice::new(seed)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_one_number_or_two() {
        assert_eq!("5".parse::<Sizes>().unwrap(), Sizes { least: 5, most: 5 });
        assert_eq!("5-9".parse::<Sizes>().unwrap(), Sizes { least: 5, most: 9 });
        assert_eq!("1KB-2KiB".parse::<Sizes>().unwrap(), Sizes { least: 1_000, most: 2_048 });
        assert!("9-5".parse::<Sizes>().is_err());
        assert!("x".parse::<Sizes>().is_err());
    }
}
