//! What `relay-fast top` shows: a node's overview, drawn into cells.
//!
//! In: overviews, keys. Out: a screen. Pure: no terminal, no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table, Widget as _};

use crate::base::limits::TOP_HISTORY_MAX;
use crate::base::text::harmless;
use crate::control::overview::Overview;
use crate::control::overview::flow::Flow;
use crate::control::words::{bytes, count, duration, percent, rate};

const LABEL: Style = Style::new().fg(Color::DarkGray);
const GOOD: Style = Style::new().fg(Color::Green);
const WARN: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Leave.
    Quit,
    /// Keep what is shown, or go on.
    Freeze,
    /// Another list below: sites, shards, relays, domains, classes.
    Next,
    /// Rows further down.
    Down,
    /// Rows further up.
    Up,
}

/// The lists below the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum List {
    #[default]
    Sites,
    Shards,
    Relays,
    Domains,
    Classes,
}

impl List {
    const ALL: [Self; 5] = [Self::Sites, Self::Shards, Self::Relays, Self::Domains, Self::Classes];

    fn title(self) -> &'static str {
        match self {
            Self::Sites => "Sites",
            Self::Shards => "Shards",
            Self::Relays => "Upstream relays",
            Self::Domains => "Domains in the queue",
            Self::Classes => "Refusals",
        }
    }

    fn next(self) -> Self {
        let place = Self::ALL.iter().position(|one| *one == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }
}

/// What is shown.
#[derive(Debug, Default)]
pub struct View {
    now: Option<Arc<Overview>>,
    trouble: Option<String>,
    /// The last rates and recipients in the queue, the newest last.
    history: VecDeque<(Flow<f64>, u64)>,
    frozen: bool,
    list: List,
    scrolled: usize,
}

impl View {
    /// The node said this, or does not answer.
    pub fn learn(&mut self, told: Result<Overview, String>) {
        if self.frozen {
            return;
        }
        match told {
            Err(why) => self.trouble = Some(why),
            Ok(overview) => {
                self.trouble = None;
                if self.history.len() >= TOP_HISTORY_MAX {
                    self.history.pop_front();
                }
                self.history.push_back((overview.rates, overview.queue.recipients));
                self.now = Some(Arc::new(overview));
            }
        }
    }

    /// A key was pressed. `false`: it is over.
    pub fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Quit => return false,
            Key::Freeze => self.frozen = !self.frozen,
            Key::Next => (self.list, self.scrolled) = (self.list.next(), 0),
            Key::Down => self.scrolled = (self.scrolled + 1).min(self.rows().saturating_sub(1)),
            Key::Up => self.scrolled = self.scrolled.saturating_sub(1),
        }
        true
    }

    fn rows(&self) -> usize {
        let Some(now) = &self.now else { return 0 };
        match self.list {
            List::Sites => now.sites.len(),
            List::Shards => now.shards.len(),
            List::Relays => now.upstreams.len(),
            List::Domains => now.queue.domains.len(),
            List::Classes => now.classes.len(),
        }
    }

    /// Draw it all.
    pub fn draw(&self, area: Rect, cells: &mut Buffer) {
        let parts = [
            Constraint::Length(1),
            Constraint::Length(6),
            Constraint::Min(3),
            Constraint::Length(1),
        ];
        let [head, figures, list, foot] = Layout::vertical(parts).areas(area);
        self.draw_head(head, cells);
        if let Some(now) = &self.now {
            self.draw_figures(now, figures, cells);
            self.draw_list(now, list, cells);
        }
        self.draw_foot(foot, cells);
    }

    fn draw_head(&self, area: Rect, cells: &mut Buffer) {
        let mut spans = Vec::new();
        if let Some(now) = &self.now {
            spans.push(Span::styled(now.hostname.clone(), STRONG));
            let words = format!("  relay-fast {}, up {}", now.version, duration(now.up_s));
            spans.push(Span::styled(words, LABEL));
            let sick = now.shards.iter().enumerate().find(|(_, shard)| shard.state != "ok");
            if let Some((n, shard)) = sick {
                spans.push(Span::styled(format!("  shard {n}: {}", shard.state), BAD));
            }
            if !now.paused.is_empty() {
                spans.push(Span::styled(format!("  {} paused", now.paused.len()), WARN));
            }
            if !now.failing_domains.is_empty() {
                let words = format!("  {} domains fail their check", now.failing_domains.len());
                spans.push(Span::styled(words, WARN));
            }
        }
        if let Some(why) = &self.trouble {
            spans.push(Span::styled(format!("  {why}"), BAD));
        }
        Line::from(spans).render(area, cells);
    }

    fn draw_figures(&self, now: &Overview, area: Rect, cells: &mut Buffer) {
        let [into, out, share, queue] =
            Layout::horizontal([Constraint::Ratio(1, 4); 4]).areas(area);
        let (rates, totals) = (&now.rates, &now.totals);
        let over = totals.delivered + totals.bounced + totals.expired;
        let of = |value: fn(&Flow<f64>) -> f64| self.history.iter().map(move |(one, _)| value(one));
        let line =
            format!("{}/s, {} messages/s", bytes(rates.received_bytes), rate(rates.messages));
        self.figure(
            "Received/s",
            &rate(rates.received),
            &line,
            of(|one| one.received),
            into,
            cells,
        );
        let line =
            format!("{} deferred/s, {} bounced/s", rate(rates.deferred), rate(rates.bounced));
        self.figure(
            "Delivered/s",
            &rate(rates.delivered),
            &line,
            of(|one| one.delivered),
            out,
            cells,
        );
        let line = format!("{} bounced, {} expired", count(totals.bounced), count(totals.expired));
        let delivered = percent(totals.delivered, over);
        self.figure("Delivery rate", &delivered, &line, of(|one| one.bounced), share, cells);
        let waits = &now.queue;
        let line = format!("{} deferred, {} ready", count(waits.deferred), count(waits.ready));
        #[expect(clippy::cast_precision_loss, reason = "the height of a bar")]
        let lengths = self.history.iter().map(|(_, recipients)| *recipients as f64);
        self.figure("In the queue", &count(waits.recipients), &line, lengths, queue, cells);
    }

    fn figure(
        &self,
        label: &str,
        value: &str,
        more: &str,
        history: impl Iterator<Item = f64>,
        area: Rect,
        cells: &mut Buffer,
    ) {
        let block = Block::new().borders(Borders::ALL).border_style(LABEL).title(label.to_owned());
        let inner = block.inner(area);
        block.render(area, cells);
        let parts = [Constraint::Length(1), Constraint::Length(1), Constraint::Min(1)];
        let [top, below, rest] = Layout::vertical(parts).areas(inner);
        Line::styled(value.to_owned(), STRONG).render(top, cells);
        Line::styled(more.to_owned(), LABEL).render(below, cells);
        // As many as there is room for, the newest at the right; small rates count in tenths.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bar")]
        let all: Vec<u64> = history.map(|value| (value * 10.0) as u64).collect();
        let room = usize::from(rest.width);
        let shown = &all[all.len().saturating_sub(room)..];
        Sparkline::default().data(shown).style(GOOD).render(rest, cells);
    }

    fn draw_list(&self, now: &Overview, area: Rect, cells: &mut Buffer) {
        let tabs = List::ALL.map(|list| {
            let style = if list == self.list { STRONG } else { LABEL };
            Span::styled(format!(" {} ", list.title()), style)
        });
        let block = Block::new().borders(Borders::TOP).border_style(LABEL);
        let block = block.title(Line::from(tabs.to_vec()));
        let (head, rows, widths) = match self.list {
            List::Sites => sites(now),
            List::Shards => shards(now),
            List::Relays => relays(now),
            List::Domains => domains(now),
            List::Classes => classes(now),
        };
        if rows.is_empty() {
            return Paragraph::new("nothing").style(LABEL).block(block).render(area, cells);
        }
        let rows = rows.into_iter().skip(self.scrolled);
        let table = Table::new(rows, widths).header(Row::new(head).style(LABEL));
        ratatui::widgets::Widget::render(table.column_spacing(2).block(block), area, cells);
    }

    fn draw_foot(&self, area: Rect, cells: &mut Buffer) {
        let frozen = if self.frozen { "  frozen" } else { "" };
        let over = self.now.as_ref().map_or(0.0, |now| now.over_s);
        let words = format!("q leave  tab next list  j/k scroll  p freeze  rates over {over:.0} s");
        let words = [Span::styled(words, LABEL), Span::styled(frozen, WARN)];
        Line::from(words.to_vec()).render(area, cells);
    }
}

type Drawn = (Vec<&'static str>, Vec<Row<'static>>, Vec<Constraint>);

fn sites(now: &Overview) -> Drawn {
    let row = |site: &crate::control::overview::sites::SiteRow| {
        let state = match (site.suspended_s, site.waiting) {
            (Some(time), _) => Cell::from(format!("left alone {}", duration(time))).style(BAD),
            (None, 0) => Cell::from("flows").style(GOOD),
            (None, _) => Cell::from("in line").style(WARN),
        };
        Row::new([
            Cell::from(site.site.clone()),
            state,
            Cell::from(count(site.waiting)),
            Cell::from(count(site.connections)),
            Cell::from(harmless(site.why.as_deref().unwrap_or(""), ' ')),
            Cell::from(harmless(site.refused.as_deref().unwrap_or(""), ' ')),
        ])
    };
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(21),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Fill(3),
        Constraint::Fill(3),
    ];
    let head = vec!["Site", "State", "In line", "Conns", "Limit that binds", "Last refusal"];
    (head, now.sites.iter().map(row).collect(), widths.to_vec())
}

fn shards(now: &Overview) -> Drawn {
    let row = |(n, shard): (usize, &crate::control::overview::ShardRow)| {
        let style = if shard.state == "ok" { GOOD } else { BAD };
        Row::new([
            Cell::from(n.to_string()),
            Cell::from(shard.state.clone()).style(style),
            Cell::from(rate(shard.rates.received)),
            Cell::from(rate(shard.rates.delivered)),
            Cell::from(count(shard.sessions)),
            Cell::from(count(shard.connections)),
            Cell::from(count(shard.recipients)),
        ])
    };
    let head = vec!["Shard", "State", "In/s", "Out/s", "Clients", "Peers", "Queued"];
    let mut widths = vec![Constraint::Length(10); head.len()];
    widths[1] = Constraint::Fill(1);
    (head, now.shards.iter().enumerate().map(row).collect(), widths)
}

fn relays(now: &Overview) -> Drawn {
    let row = |relay: &crate::control::overview::sites::UpstreamRow| {
        let shown = |n: u64, style| Cell::from(count(n)).style(if n > 0 { style } else { LABEL });
        Row::new([
            Cell::from(relay.upstream.clone()),
            shown(relay.healthy, GOOD),
            shown(relay.probing, WARN),
            shown(relay.ejected, BAD),
        ])
    };
    let head = vec!["Upstream relay", "Shards that use it", "That try it", "That leave it alone"];
    let mut widths = vec![Constraint::Length(20); head.len()];
    widths[0] = Constraint::Fill(1);
    (head, now.upstreams.iter().map(row).collect(), widths)
}

fn domains(now: &Overview) -> Drawn {
    let row = |(domain, recipients): &(String, u64)| {
        Row::new([Cell::from(count(*recipients)), Cell::from(domain.clone())])
    };
    let widths = vec![Constraint::Length(12), Constraint::Fill(1)];
    (vec!["Recipients", "Domain"], now.queue.domains.iter().map(row).collect(), widths)
}

fn classes(now: &Overview) -> Drawn {
    let row = |class: &crate::control::overview::ClassRow| {
        Row::new([
            Cell::from(class.class.clone()),
            Cell::from(count(class.bounced)),
            Cell::from(count(class.deferred)),
        ])
    };
    let widths = vec![Constraint::Length(20), Constraint::Length(12), Constraint::Fill(1)];
    (vec!["Class", "Bounced", "Deferred attempts"], now.classes.iter().map(row).collect(), widths)
}

#[cfg(test)]
mod tests;
