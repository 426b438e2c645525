//! The live tree on a terminal: drawn below what has been said, several times a second, and wiped before anything else is
//! written. Decides nothing.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::lines::ShownFailures;
use super::progress::RunProgress;
use super::tree::{Tree, View};
use super::{Lines, Style};
use deploy::{Event, EventKind, Listener};

/// Between two frames.
const FRAME: Duration = Duration::from_millis(120);

/// The size of a terminal that does not report one.
const SIZE: (usize, usize) = (80, 24);

/// Shows events on a terminal.
#[derive(Debug)]
pub struct Screen {
    style: Style,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tree: Tree,
    run: RunProgress,
    failures: ShownFailures,
    /// The line of the run that is followed: it is rewritten until the run ends.
    run_line: Option<String>,
    /// Lines of the frame that is on the terminal.
    drawn: usize,
    tick: usize,
    /// Somebody is being asked something: nothing is drawn meanwhile, and what is said waits.
    held: Option<Vec<String>>,
}

impl Screen {
    /// A screen on standard error, if that is a terminal that supports drawing and its user allows it.
    pub fn on_stderr(style: Style) -> Option<Arc<Self>> {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|value| value == "dumb");
        if !std::io::stderr().is_terminal() || dumb || set("CI") {
            return None;
        }
        let screen = Arc::new(Self { style, state: Mutex::default() });
        let weak = Arc::downgrade(&screen);
        std::thread::spawn(move || animate(&weak));
        Some(screen)
    }

    /// Wipes the tree and draws no more until [`Screen::resume`].
    pub fn hold(&self) {
        let mut state = self.state();
        state.wipe();
        state.held.get_or_insert_default();
    }

    /// Says what was said meanwhile, and draws again.
    pub fn resume(&self) {
        let mut state = self.state();
        for line in state.held.take().unwrap_or_default() {
            super::say(&format!("{line}\n"));
        }
        state.draw(self.style);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Screen {
    fn on(&self, event: &Event) {
        let mut state = self.state();
        let kind = &event.kind;
        state.tree.on(kind, Instant::now());
        let line = if let Some(line) = state.run.line(kind, self.style, width()) {
            state.run_line = (!line.is_last).then(|| line.text.clone());
            if !line.is_last {
                state.draw(self.style);
                return;
            }
            Some(line.text)
        } else {
            // The tree shows this while it lasts, so it needs no separate line.
            match kind {
                EventKind::Started { .. }
                | EventKind::Operation { .. }
                | EventKind::Rollout { .. }
                | EventKind::Service { .. } => None,
                EventKind::Resource { state, .. } if !state.is_bad() => None,
                other if state.failures.repeats(other) => None,
                other => Lines::line(self.style, other),
            }
        };
        match (&mut state.held, line) {
            (Some(held), line) => held.extend(line),
            (None, Some(line)) => {
                state.wipe();
                super::say(&format!("{line}\n"));
                state.draw(self.style);
            }
            (None, None) => {}
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.state().wipe();
    }
}

impl State {
    fn wipe(&mut self) {
        if self.drawn > 0 {
            // Up to the frame's first line, then everything below it goes. Nothing helps a terminal that is gone.
            let _ = write!(std::io::stderr().lock(), "\x1b[{}A\r\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn draw(&mut self, style: Style) {
        if self.held.is_some() {
            return;
        }
        let (width, height) = size();
        // A line that fills the last column would wrap on some terminals.
        let view = View { now: Instant::now(), width: width - 1, height: height - 1, tick: self.tick, style };
        let mut lines = self.tree.frame(view);
        lines.extend(self.run_line.clone());
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.drawn));
        }
        for line in &lines {
            text.push_str(&format!("{line}\x1b[K\n"));
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        // One write for a frame, so that it does not flicker.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

/// How long a line may be. One that is longer than the terminal is wide could not be rewritten.
fn width() -> usize {
    size().0 - 1
}

fn size() -> (usize, usize) {
    let found = terminal_size::terminal_size_of(std::io::stderr());
    let (width, height) = found.map_or(SIZE, |(width, height)| (usize::from(width.0), usize::from(height.0)));
    (width.max(20), height.max(4))
}

fn animate(screen: &Weak<Screen>) {
    loop {
        std::thread::sleep(FRAME);
        let Some(screen) = screen.upgrade() else { return };
        let mut state = screen.state();
        state.tick += 1;
        if !state.tree.is_empty() || state.drawn > 0 {
            state.draw(screen.style);
        }
    }
}
