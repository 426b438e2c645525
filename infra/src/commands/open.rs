//! `bluegreen open`: prints the URL of prod or dev and opens it in a browser.

use std::io::IsTerminal as _;
use std::process::{Command, Stdio};

use crate::context::Context;
use crate::error::Result;
use crate::session::{Session, print_text};
use deploy::{Cloud, DeployedStack};

/// Which of the two listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Site {
    /// The listener for users.
    Prod,
    /// The listener for testing the next release.
    Dev,
}

/// The arguments of `open`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Listener to open.
    #[arg(value_enum)]
    site: Site,
}

impl Args {
    /// Prints the URL, and opens it if standard output is a terminal.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let url = url(&session.context, self.site).await?;
        print_text(&format!("{url}\n"))?;
        if std::io::stdout().is_terminal() && !in_browser(&url) {
            eprintln!("no browser found to open the URL");
        }
        Ok(())
    }
}

/// The URL, as it can be opened from here.
async fn url(context: &Context, site: Site) -> Result<String> {
    let cloud = Cloud::connect(&context.settings).await?;
    let outputs = DeployedStack::require(&cloud, &context.stack).await?.outputs()?;
    Ok(cloud.connect_to.display_url(match site {
        Site::Prod => &outputs.prod_url,
        Site::Dev => &outputs.dev_url,
    }))
}

/// Opens the URL in a browser; false if there is none.
fn in_browser(url: &str) -> bool {
    let chosen = std::env::var("BROWSER").ok().filter(|browser| !browser.is_empty());
    let usual = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let begin = |program: &str| {
        Command::new(program).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok()
    };
    chosen.is_some_and(|browser| begin(&browser)) || begin(usual)
}
