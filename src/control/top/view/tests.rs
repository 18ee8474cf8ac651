//! Overviews that are made up, drawn and read back.

use super::*;
use crate::control::api::Stats;
use crate::control::overview::sites::{SiteRow, UpstreamRow};
use crate::control::overview::{ClassRow, ShardRow};

fn overview() -> Overview {
    let rates = Flow { received: 1_234.0, delivered: 8.5, ..Flow::default() };
    let site = |name: &str, waiting, suspended_s| SiteRow {
        site: name.into(),
        waiting,
        connections: 20,
        why: Some("20 connections of 20 in use".into()),
        suspended_s,
        refused_at: None,
        refused: Some("mx said: 450 slow\u{1b}[31m down".into()),
    };
    Overview {
        hostname: "node.example".into(),
        version: "1.2.3".into(),
        up_s: 3_700,
        over_s: 10.0,
        rates,
        totals: Flow { delivered: 90, bounced: 10, ..Flow::default() },
        queue: Stats {
            recipients: 12_345,
            deferred: 45,
            domains: vec![("b.example".into(), 7)],
            ..Stats::default()
        },
        shards: vec![ShardRow { state: "commits fail".into(), ..ShardRow::default() }],
        sites: (0..9).map(|n| site(&format!("mx{n}.example"), n, (n == 0).then_some(90))).collect(),
        upstreams: vec![UpstreamRow {
            upstream: "relay:25".into(),
            healthy: 2,
            ..Default::default()
        }],
        classes: vec![ClassRow { class: "quota".into(), deferred: 3, bounced: 4 }],
        ..Overview::default()
    }
}

fn drawn(view: &View, width: u16, height: u16) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut cells = Buffer::empty(area);
    view.draw(area, &mut cells);
    let line = |y| (0..width).map(|x| cells[(x, y)].symbol()).collect::<String>() + "\n";
    (0..height).map(line).collect()
}

fn view() -> View {
    let mut view = View::default();
    view.learn(Ok(overview()));
    view
}

#[test]
fn figures_and_sites_are_shown() {
    let text = drawn(&view(), 140, 24);
    for words in [
        "node.example  relay-fast 1.2.3, up 1 h 1 min  shard 0: commits fail",
        "1234",
        "8.5",
        "90.0%",
        "12.3k",
        "45 deferred",
        "mx0.example",
        "left alone 1 min 30 s",
        "20 connections of 20 in use",
        "rates over 10 s",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "what a peer wrote acts on no terminal");
}

#[test]
fn tab_goes_through_the_lists_and_rows_scroll_no_further_than_they_are() {
    let mut view = view();
    for _ in 0..99 {
        assert!(view.press(Key::Down));
    }
    let text = drawn(&view, 120, 24);
    assert!(text.contains("mx8.example") && !text.contains("mx7.example"), "{text}");
    for words in ["commits fail", "relay:25", "b.example", "quota", "mx0.example"] {
        assert!(view.press(Key::Next));
        let text = drawn(&view, 120, 24);
        let list = text.split_once("Sites").expect("the titles of the lists").1;
        assert!(list.contains(words), "{words}:\n{text}");
    }
    assert!(!view.press(Key::Quit));
}

#[test]
fn a_node_that_does_not_answer_is_told_of_and_its_last_figures_stay() {
    let mut view = view();
    view.learn(Err("nobody there".into()));
    let text = drawn(&view, 140, 24);
    assert!(text.contains("nobody there") && text.contains("1234"), "{text}");
    view.learn(Ok(overview()));
    assert!(!drawn(&view, 140, 24).contains("nobody there"));
}

#[test]
fn what_is_frozen_does_not_change() {
    let mut view = view();
    view.press(Key::Freeze);
    let mut other = overview();
    other.hostname = "other.example".into();
    view.learn(Ok(other.clone()));
    let text = drawn(&view, 140, 24);
    assert!(text.contains("node.example") && text.contains("frozen"), "{text}");
    view.press(Key::Freeze);
    view.learn(Ok(other));
    assert!(drawn(&view, 140, 24).contains("other.example"));
}

#[test]
fn it_fits_every_size_and_keeps_a_bounded_history() {
    let mut view = View::default();
    for (width, height) in [(1, 1), (10, 3), (40, 8), (80, 24), (300, 90)] {
        drawn(&view, width, height);
    }
    for _ in 0..2 * TOP_HISTORY_MAX {
        view.learn(Ok(overview()));
    }
    assert_eq!(view.history.len(), TOP_HISTORY_MAX);
    for (width, height) in [(1, 1), (10, 3), (40, 8), (80, 24), (300, 90)] {
        drawn(&view, width, height);
    }
}
