//! `bluegreen status`: who is prod, who is dev, what runs there and how well, and the last runs.

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::error::Result;
use crate::requests::Meter;
use crate::session::{Session, json_line, print_text};
use crate::status::look;
use crate::ui::{Style, render_error, render_status};

/// The pause between two reads of `status --watch`.
const WATCH_PAUSE: Duration = Duration::from_secs(2);

/// The arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Refresh every two seconds until interrupted.
    #[arg(long)]
    watch: bool,
}

impl Args {
    /// Prints the status: once, or each time that it changes.
    pub async fn run(&self, session: &Session) -> Result<()> {
        if self.watch {
            return watch(session).await;
        }
        let status = Box::pin(look(&session.context, &mut Meter::default())).await?;
        session.show(&status, render_status)
    }
}

/// Prints the status each time that it changes.
async fn watch(session: &Session) -> Result<()> {
    let style = Style::of_stdout();
    let (mut before, mut meter) = (String::new(), Meter::default());
    loop {
        let text = match Box::pin(look(&session.context, &mut meter)).await {
            Ok(status) if session.json => json_line(&status)?,
            Ok(status) => render_status(&status, style),
            // The reader sees that AWS is unreachable, and when it is there again.
            Err(error) if error.is_transient() => render_error(&error, style),
            Err(error) => return Err(error),
        };
        if text != before {
            // On a terminal it stays in its place; elsewhere each change is printed.
            let clear = if std::io::stdout().is_terminal() && !session.json { "\x1b[H\x1b[2J" } else { "" };
            print_text(&format!("{clear}{text}"))?;
            before = text;
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}
