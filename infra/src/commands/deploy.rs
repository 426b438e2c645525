//! `bluegreen deploy`: creates or updates the stack, or deploys a release to the idle environment.

use std::sync::Arc;

use deploy::{Control, OnFailure};

use crate::context::Agreed;
use crate::error::Result;
use crate::pipeline::{self, Deployed, Request, Target};
use crate::requests::Meter;
use crate::session::{Session, print_json, print_text};
use crate::status;
use crate::ui::{Keyboard, Style};

/// The arguments of `deploy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Do not ask for confirmation before changes that replace, remove, or open something.
    #[arg(long)]
    yes: bool,
    /// Wait for a deployment or run in progress instead of refusing.
    #[arg(long)]
    wait: bool,
    /// What to do if the update cannot succeed [default: ask on a terminal, else cancel].
    #[arg(long, value_enum)]
    on_failure: Option<OnFailure>,
    /// Allow changes to resources that serve users of prod.
    #[arg(long)]
    allow_live_changes: bool,
    /// Resource (logical id) to skip if the rollback of the last update failed; can be repeated.
    #[arg(long, value_name = "ID")]
    skip: Vec<String>,
}

impl Args {
    /// Applies the arguments to the settings, and selects who is asked for confirmation.
    pub fn prepare(&self, session: &mut Session) {
        self.target.prepare(session);
        let on_failure = if Keyboard::is_there() { OnFailure::Ask } else { OnFailure::Cancel };
        session.context.control = Control::new(self.on_failure.unwrap_or(on_failure));
        if self.yes {
            session.context.confirmation = Arc::new(Agreed);
        } else if Keyboard::is_there() {
            session.context.confirmation = Arc::new(session.prompt.clone());
        }
    }

    /// Deploys, and prints what runs where.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let context = &session.context;
        let request =
            Request { wait: self.wait, skip: self.skip.clone(), ..self.target.request(self.allow_live_changes) };
        let deployed = Box::pin(pipeline::deploy(context, &request)).await?;
        if session.json {
            return print_json(&Box::pin(status::look(context, &mut Meter::default())).await?);
        }
        print_text(&text(&deployed, Style::of_stdout()))
    }
}

/// What runs where, a line for each listener.
fn text(deployed: &Deployed, style: Style) -> String {
    let mut text = String::new();
    for (name, color, url) in [
        ("prod", deployed.traffic.prod_color(), &deployed.prod_url),
        ("dev", deployed.traffic.dev_color(), &deployed.dev_url),
    ] {
        let what = color.map_or_else(
            || format!("{:<12}", "?"),
            |color| style.environment(color, &format!("{:<12}", format!("{color} v{}", deployed.versions.of(color)))),
        );
        text.push_str(&format!("{name:<5} {what}{url}\n"));
    }
    text
}
