//! A command on a separate terminal: `script` creates the terminal, an emulator tracks its screen, and the screen can
//! be saved as a picture for the documentation.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use maud::{PreEscaped, html};

use super::function::eventually;

/// The screen of a terminal, and everything that was written to it.
pub struct Shown {
    emulator: vt100::Parser,
    written: String,
}

impl Shown {
    fn take(&mut self, bytes: &[u8]) {
        self.emulator.process(bytes);
        self.written.push_str(&String::from_utf8_lossy(bytes));
    }
}

/// A terminal that runs commands, one after the other.
#[derive(Clone)]
pub struct Terminal {
    columns: u16,
    lines: u16,
    shown: Arc<Mutex<Shown>>,
}

impl Terminal {
    pub fn new(columns: u16, lines: u16) -> Self {
        let size = |number: u16| number.try_into().expect("a terminal has a size");
        let emulator = vt100::Parser::new(size(lines), size(columns), 0);
        Self { columns, lines, shown: Arc::new(Mutex::new(Shown { emulator, written: String::new() })) }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap()
    }

    /// Starts a command on the terminal.
    pub fn run(&self, command: &Command) -> Running {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        // Without exec, some shells wait for the command and end with the status of Ctrl-C, not of the command.
        let line = format!("stty rows {} cols {}; exec {}", self.lines, self.columns, words.join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]);
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm-256color");
        script.env_remove("CI").env_remove("NO_COLOR").stdin(Stdio::piped()).stdout(Stdio::piped());
        script.current_dir(command.get_current_dir().unwrap());
        let mut child = script.spawn().expect("script (util-linux) is there");
        let (mut output, terminal) = (child.stdout.take().unwrap(), self.clone());
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                terminal.shown().take(&bytes[..read]);
            }
        });
        Running { child, terminal: self.clone(), reader }
    }

    /// Writes output as a shell would.
    pub fn write(&self, text: &str) {
        self.shown().take(text.as_bytes());
    }

    /// The lines of the screen, without empty lines at the end.
    pub fn screen(&self) -> Vec<String> {
        let screen = self.shown().emulator.screen().contents();
        screen.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Lines that were longer than the screen is wide.
    pub fn broken_lines(&self) -> Vec<String> {
        let shown = self.shown();
        let screen = shown.emulator.screen();
        let lines = screen.rows(0, self.columns).zip(0..);
        lines.filter(|(_, line)| screen.row_wrapped(*line)).map(|(text, _)| text).collect()
    }

    /// All output.
    pub fn written(&self) -> String {
        self.shown().written.clone()
    }

    /// Saves the screen as a picture, if pictures are requested.
    pub fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("BLUEGREEN_SCREENSHOTS") else { return };
        let picture = picture(self.shown().emulator.screen(), self.columns);
        std::fs::write(Path::new(&folder).join(name).with_extension("svg"), picture).unwrap();
    }
}

/// A command that runs on a terminal.
pub struct Running {
    child: Child,
    terminal: Terminal,
    reader: JoinHandle<()>,
}

impl Running {
    pub fn types(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the text has been written.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        eventually(&format!("{text:?} is on the terminal"), || self.terminal.written().contains(text).then_some(()));
    }

    /// Waits for the end; the exit code.
    pub fn end(mut self) -> i32 {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        self.reader.join().unwrap();
        code
    }
}

/// Width of a character and height of a line, in the picture's units.
const CELL: (u32, u32) = (9, 20);
/// The margin around the text.
const MARGIN: u32 = 18;

/// The screen as a terminal with a dark background. Every run of text has a position and a length, so that columns are
/// aligned with any font.
fn picture(screen: &vt100::Screen, columns: u16) -> String {
    let lines = u32::try_from(screen.contents().trim_end().lines().count()).unwrap();
    let (width, height) = (u32::from(columns) * CELL.0 + 2 * MARGIN, lines * CELL.1 + 2 * MARGIN);
    let stretches = (0..u16::try_from(lines).unwrap()).flat_map(|line| stretches(screen, line, columns));
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}")) width=(width) height=(height)
            font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="15" {
            rect width=(width) height=(height) rx="10" fill="#0f1419" {}
            @for stretch in stretches { (PreEscaped(stretch)) }
        }
    }
    .into_string()
}

/// The text of a line, with a new element at each change of style and at each gap of more than one blank.
fn stretches(screen: &vt100::Screen, line: u16, columns: u16) -> Vec<String> {
    let mut found: Vec<(u16, String, Look)> = Vec::new();
    let mut blanks = 2;
    for column in 0..columns {
        let cell = screen.cell(line, column).unwrap();
        if !cell.has_contents() || cell.contents() == " " {
            blanks += 1;
            continue;
        }
        let look = Look { color: color(cell), bold: cell.bold() };
        match found.last_mut() {
            Some((_, text, same)) if *same == look && blanks < 2 => {
                text.push_str(&" ".repeat(blanks));
                text.push_str(cell.contents());
            }
            _ => found.push((column, cell.contents().to_owned(), look)),
        }
        blanks = 0;
    }
    let baseline = MARGIN + u32::from(line) * CELL.1 + 15;
    let element = |(column, text, look): (u16, String, Look)| {
        let length = u32::try_from(text.chars().count()).unwrap() * CELL.0;
        html! {
            text x=(MARGIN + u32::from(column) * CELL.0) y=(baseline) textLength=(length) fill=(look.color)
                font-weight=[look.bold.then_some("bold")] { (text) }
        }
        .into_string()
    };
    found.into_iter().map(element).collect()
}

#[derive(PartialEq)]
struct Look {
    color: &'static str,
    bold: bool,
}

fn color(cell: &vt100::Cell) -> &'static str {
    match (cell.fgcolor(), cell.dim()) {
        (_, true) => "#8b96a3",
        (vt100::Color::Idx(1), _) => "#ff7b72",
        (vt100::Color::Idx(2), _) => "#3fb950",
        (vt100::Color::Idx(3), _) => "#e3b341",
        (vt100::Color::Idx(4), _) => "#58a6ff",
        _ => "#e6edf3",
    }
}
