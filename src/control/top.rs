//! `relay-fast top`: what a running node does, in a terminal, as it does it.
//!
//! A thread asks the node, this one reads keys and draws. A terminal that is gone ends it: whoever
//! looked may have closed the window, and no signal tells of that everywhere.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use clap::Args;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::base::limits::{OVERVIEW_AGE_MAX, TOP_COLUMNS, TOP_LOOK, TOP_ROWS};
use crate::control::overview::Overview;
use crate::control::queue::Node;
use crate::control::top::view::{Key, View};

pub mod view;

/// What is asked of it.
#[derive(Args)]
pub struct Top {
    /// How often the node is asked, as 1s, 10s
    #[arg(long, default_value = "1s", value_name = "DURATION")]
    pub every: String,
    /// Print it once, and leave; for where there is no terminal
    #[arg(long)]
    pub once: bool,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Nobody could see it.
    #[error("this is no terminal: `relay-fast top --once` prints what it would show")]
    NoTerminal,
    /// The terminal cannot be used.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
    /// The node does not answer, or not so.
    #[error("{0}")]
    Node(String),
}

/// No sooner than there is a new one.
fn pace(every: Duration) -> Duration {
    every.max(OVERVIEW_AGE_MAX)
}

fn ask(node: &Node) -> Result<Overview, String> {
    node.fetch("overview", &[]).map_err(|error| error.to_string())
}

/// What it would show, as lines. Rates need two answers with some time between them.
pub fn once(node: &Node, between: Duration) -> Result<String, TopError> {
    let mut view = View::default();
    ask(node).map_err(TopError::Node)?;
    thread::sleep(pace(between));
    view.learn(Ok(ask(node).map_err(TopError::Node)?));
    let area = Rect::new(0, 0, TOP_COLUMNS, TOP_ROWS);
    let mut cells = Buffer::empty(area);
    view.draw(area, &mut cells);
    let line = |y| {
        let line: String = (0..TOP_COLUMNS).map(|x| cells[(x, y)].symbol()).collect();
        line.trim_end().to_owned() + "\n"
    };
    // All but the line of keys.
    let lines: Vec<String> = (0..TOP_ROWS - 1).map(line).collect();
    Ok(lines.concat().trim_end().to_owned() + "\n")
}

/// Show it until the person at the terminal leaves.
pub fn run(node: Node, every: Duration) -> Result<(), TopError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    // Before the screen is another: whoever named the wrong node reads why.
    let first = ask(&node).map_err(TopError::Node)?;
    let (tell, told) = sync_channel(1);
    thread::Builder::new().name("top".to_owned()).spawn(move || watch(&node, every, &tell))?;
    let mut terminal = ratatui::try_init()?;
    let mut view = View::default();
    view.learn(Ok(first));
    let done = look(&mut terminal, &mut view, &told);
    ratatui::restore();
    done
}

fn watch(node: &Node, every: Duration, tell: &SyncSender<Result<Overview, String>>) {
    loop {
        thread::sleep(pace(every));
        // One that nobody has taken yet is as good; without anybody it is over.
        if let Err(TrySendError::Disconnected(_)) = tell.try_send(ask(node)) {
            return;
        }
    }
}

type Screen = Terminal<CrosstermBackend<io::Stdout>>;

fn look(
    terminal: &mut Screen,
    view: &mut View,
    told: &Receiver<Result<Overview, String>>,
) -> Result<(), TopError> {
    loop {
        terminal.draw(|frame| view.draw(frame.area(), frame.buffer_mut()))?;
        match told.recv_timeout(Duration::ZERO) {
            Ok(overview) => view.learn(overview),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if !wait_for_keys()? {
            return Ok(());
        }
        while event::poll(Duration::ZERO)? {
            let Some(key) = key(&event::read()?) else { continue };
            if !view.press(key) {
                return Ok(());
            }
        }
    }
}

/// Until a key was pressed, or `TOP_LOOK` is over. `false`: the terminal is gone.
fn wait_for_keys() -> Result<bool, TopError> {
    let stdin = io::stdin();
    let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
    let longest = Timespec::try_from(TOP_LOOK).expect("far below the largest");
    match poll(&mut asked, Some(&longest)) {
        // A window that takes another size says so by a signal.
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    Ok(!asked[0].revents().intersects(gone))
}

const KEYS: [(KeyCode, Key); 10] = [
    (KeyCode::Char('q'), Key::Quit),
    (KeyCode::Esc, Key::Quit),
    (KeyCode::Char('p'), Key::Freeze),
    (KeyCode::Char(' '), Key::Freeze),
    (KeyCode::Tab, Key::Next),
    (KeyCode::Right, Key::Next),
    (KeyCode::Char('j'), Key::Down),
    (KeyCode::Down, Key::Down),
    (KeyCode::Char('k'), Key::Up),
    (KeyCode::Up, Key::Up),
];

fn key(event: &Event) -> Option<Key> {
    let key = event.as_key_event().filter(|key| key.kind != KeyEventKind::Release)?;
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    KEYS.iter().find(|(code, _)| *code == key.code).map(|(_, key)| *key)
}
