//! Lines typed on the terminal, for the next question. One thread reads: two readers of a terminal would take each
//! other's answers.

use std::io::{BufRead as _, IsTerminal as _};
use std::sync::OnceLock;

use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Lines from standard input.
#[derive(Debug, Default)]
pub struct Keyboard {
    lines: OnceLock<Mutex<UnboundedReceiver<String>>>,
}

impl Keyboard {
    /// Whether a person can be asked: standard input and standard error are terminals.
    pub fn is_there() -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// The next line; `None` at the end of the input.
    pub async fn line(&self) -> Option<String> {
        let mut lines = self.lines().lock().await;
        // What was typed before the question was asked is no answer to it.
        while lines.try_recv().is_ok() {}
        lines.recv().await
    }

    /// The same, for a thread that may wait.
    pub fn blocking_line(&self) -> Option<String> {
        let mut lines = self.lines().blocking_lock();
        while lines.try_recv().is_ok() {}
        lines.blocking_recv()
    }

    fn lines(&self) -> &Mutex<UnboundedReceiver<String>> {
        self.lines.get_or_init(|| {
            let (sender, receiver) = unbounded_channel();
            std::thread::spawn(move || {
                let _ = std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
            });
            Mutex::new(receiver)
        })
    }
}
