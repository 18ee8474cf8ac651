//! The subcommand `relay-fast campaigns`, for a terminal.

use std::fmt::Write as _;

use clap::Args;

use crate::control::campaigns::{Page, PausedRow, Row, ended};
use crate::control::queue::{AskError, Node};
use crate::control::words::{count, duration, percent, rate};

/// Which campaigns.
#[derive(Args)]
pub struct Show {
    /// Of this tenant alone
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// This one alone, and all that is known of it
    #[arg(long, value_name = "NAME", requires = "tenant")]
    pub campaign: Option<String>,
    /// So many, those with the most to send first; 100 if not given
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// The answer as it is: one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Ask a node; its answer, for a terminal.
pub fn ask(node: &Node, show: &Show) -> Result<String, AskError> {
    let Show { tenant, campaign, limit, json } = show;
    let given = [
        ("tenant", tenant.clone()),
        ("campaign", campaign.clone()),
        ("limit", limit.map(|limit| limit.to_string())),
    ];
    let asked: Vec<_> =
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    if *json {
        return Ok(node.fetch::<serde_json::Value>("campaigns", &asked)?.to_string() + "\n");
    }
    let page: Page = node.fetch("campaigns", &asked)?;
    Ok(match (campaign, page.campaigns.as_slice()) {
        (Some(_), [row]) => one(row),
        _ => all(&page),
    })
}

/// Its name in words.
fn name(row: &Row) -> &str {
    if row.campaign.is_empty() { "(none)" } else { &row.campaign }
}

/// Tenths of a percent; what is not all is never shown as all.
fn progress(row: &Row) -> String {
    let share = |progress: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of 1")]
        let thousandths = (progress * 1_000.0) as u64;
        percent(thousandths.min(if row.queue.recipients > 0 { 999 } else { 1_000 }), 1_000)
    };
    row.progress.map_or_else(|| "-".to_owned(), share)
}

fn figure(row: &Row, of: impl Fn(&crate::control::kpis::Numbers) -> u64) -> String {
    row.figures.as_ref().map_or_else(|| "-".to_owned(), |figures| count(of(figures)))
}

fn left(row: &Row) -> String {
    row.left_s.map_or_else(|| "-".to_owned(), duration)
}

fn all(page: &Page) -> String {
    if page.campaigns.is_empty() {
        return "no campaign is known\n".to_owned();
    }
    let mut lines = vec![
        ["TENANT", "CAMPAIGN", "STATE", "DONE", "WAITING", "DEFERRED", "DELIVERED", "FAILED", "/S"]
            .map(str::to_owned)
            .into_iter()
            .chain(["STILL TAKES".to_owned()])
            .collect::<Vec<String>>(),
    ];
    for row in &page.campaigns {
        lines.push(vec![
            row.tenant.clone(),
            name(row).to_owned(),
            row.state.clone(),
            progress(row),
            count(row.queue.recipients),
            count(row.queue.deferred),
            figure(row, |of| of.delivered),
            figure(row, |of| ended(of) - of.delivered),
            rate(row.per_second),
            left(row),
        ]);
    }
    let width = |place: usize| lines.iter().map(|line| line[place].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).map(|place| width(place).unwrap_or(0)).collect();
    let mut out = String::new();
    for line in &lines {
        for (place, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = match place {
                0 => write!(out, "{cell:<width$}"),
                1 | 2 => write!(out, "  {cell:<width$}"),
                _ => write!(out, "  {cell:>width$}"),
            };
        }
        out.push('\n');
    }
    if page.more {
        out.push_str("there are more: raise --limit, or name a --tenant\n");
    }
    out
}

/// Everything of one.
fn one(row: &Row) -> String {
    let mut out = format!("{} of {}: {}", name(row), row.tenant, row.state);
    if let Some(PausedRow { whole_tenant, since }) = &row.paused {
        let since = since.as_ref().map_or_else(String::new, |since| format!(" since {since}"));
        let _ = write!(out, "{}{since}", if *whole_tenant { " with its tenant" } else { "" });
    }
    let _ = writeln!(out, "\ndone        {}", progress(row));
    let queue = &row.queue;
    let _ = writeln!(
        out,
        "waiting     {}: {} ready, {} attempting, {} deferred, {} held",
        queue.recipients, queue.ready, queue.attempting, queue.deferred, queue.held
    );
    if let Some(why) = &queue.why {
        let _ = writeln!(out, "waits for   {why}");
    }
    let _ = writeln!(out, "speed       {}/s; still takes {}", rate(row.per_second), left(row));
    if let Some(of) = &row.figures {
        let _ = writeln!(
            out,
            "so far      {} injected, {} delivered, {} bounced, {} expired, {} suppressed, \
            {} removed; {} attempts deferred",
            of.injected,
            of.delivered,
            of.bounced,
            of.expired,
            of.suppressed,
            of.removed,
            of.deferred
        );
        let _ = writeln!(
            out,
            "they did    {} opened, {} clicked, {} complained, {} unsubscribed",
            of.opens_people, of.clicks, of.complaints, of.unsubscribes
        );
    }
    let terms = &row.terms;
    let or = |value: &Option<String>, nothing: &str| value.clone().unwrap_or(nothing.to_owned());
    let _ = writeln!(out, "weight      {}, its tenant's {}", terms.weight, terms.tenant_weight);
    let (own, tenant) = (or(&terms.rate, "any"), or(&terms.tenant_rate, "any"));
    let _ = writeln!(out, "rate        {own}, its tenant's {tenant}");
    let _ = writeln!(out, "window      {}", or(&terms.window, "always"));
    let _ = writeln!(out, "lifetime    {}", duration(terms.lifetime_s));
    let _ = writeln!(out, "pool        {}", or(&terms.pool, "by its destination"));
    out
}
