//! `demo`: a whole release of the sample app, step by step, with the same commands that a person would use.

use super::{print, up};
use crate::cli::{Home, UpArgs};
use crate::environment::{REMOVED, variables};
use crate::error::{Context, Error, Result};
use crate::http_client::{self, PageClient};
use crate::instance::{Layout, Record};
use http_body_util::BodyExt as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The exit code of `bluegreen` when there is no stack.
const NO_STACK: i32 = 2;

/// The listeners of the load balancer.
const SITES: [&str; 2] = ["prod", "dev"];

/// Runs the demo. Deletes the stack of an earlier demo first.
pub(crate) fn demo(layout: &Layout, home: &Home, args: &UpArgs, bluegreen: &Path, stack: &str) -> Result<ExitCode> {
    let Some(project) = home.project() else {
        return Err(Error::new(
            "the demo releases the sample app, which is in the project of bluegreen and not installed",
        )
        .hint("run make demo in that folder; to release your own service, run bluegreen init --local"));
    };
    heading("1/6  Start the local cloud")?;
    up(layout, home, args)?;
    let story = Story {
        layout: layout.clone(),
        record: Record::running(layout)?,
        project: project.to_owned(),
        bluegreen: std::path::absolute(bluegreen).context(|| format!("cannot use {}", bluegreen.display()))?,
        stack: stack.to_owned(),
    };
    if story.stack_exists()? {
        print("Deleting the stack of an earlier demo\n")?;
        story.tell(&["destroy", "--confirm", stack])?;
    }

    heading("2/6  Build greeter-v1 and deploy the stack: both environments run version 1, green is prod")?;
    story.tell(&["deploy"])?;
    story.show_pages()?;

    heading("3/6  Deploy version 2 to the idle environment, blue: prod does not change")?;
    story.tell(&["deploy", "--version", "2"])?;
    story.show_pages()?;

    heading("4/6  Cut over: the Lambda function swaps both listeners and probes prod 150 times in 15 s")?;
    story.tell(&["cutover"])?;

    heading("5/6  Open both pages: prod is French now, dev is English")?;
    story.show_pages()?;

    heading("6/6  The local cloud keeps running. Open the pages, then try:")?;
    for name in SITES {
        print(&format!("  {name:<5} {}\n", story.url(name)?))?;
    }
    print(
        "\n  make status CLOUD=local              show which environment is prod\n  \
         make rollback CLOUD=local            roll back to version 1, under probes\n  \
         make deploy VERSION=2 CLOUD=local    deploy a version to the idle environment\n  \
         make destroy CLOUD=local             delete the stack and everything in it\n  \
         make local-down                      stop the local cloud\n",
    )?;
    Ok(ExitCode::SUCCESS)
}

fn heading(text: &str) -> Result<()> {
    print(&format!("\n== {text}\n"))
}

/// What the steps of the demo share.
struct Story {
    layout: Layout,
    record: Record,
    /// The folder of the sample app.
    project: PathBuf,
    bluegreen: PathBuf,
    stack: String,
}

impl Story {
    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.bluegreen);
        // The settings of the current folder describe another service.
        command.current_dir(&self.project).args(["--config", "/dev/null", "--stack", &self.stack]);
        command.args(arguments).envs(variables(&self.layout, &self.record)?);
        for name in REMOVED {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// Runs a step and shows its output; a failed step ends the demo.
    fn tell(&self, arguments: &[&str]) -> Result<()> {
        print(&format!("$ bluegreen {}\n", arguments.join(" ")))?;
        let status = self.command(arguments)?.status().context(|| self.cannot_run())?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(format!("`bluegreen {}` failed with {status}", arguments.join(" ")))
            .hint("see its output above; the local cloud keeps running: make status CLOUD=local"))
    }

    fn stack_exists(&self) -> Result<bool> {
        let mut command = self.command(&["status"])?;
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().context(|| self.cannot_run())?;
        Ok(status.code() != Some(NO_STACK))
    }

    fn cannot_run(&self) -> String {
        format!("cannot run {}", self.bluegreen.display())
    }

    /// The URL of a listener of the stack, as a browser on this machine opens it.
    fn url(&self, site: &str) -> Result<String> {
        let mut command = self.command(&["open", site])?;
        let said = command.stderr(Stdio::inherit()).output().context(|| self.cannot_run())?;
        if !said.status.success() {
            return Err(Error::new(format!("`bluegreen open {site}` failed with {}", said.status)));
        }
        Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    /// Prints what both pages show.
    fn show_pages(&self) -> Result<()> {
        let client = http_client::page_client();
        for name in SITES {
            let url = self.url(name)?;
            let page = super::block_on(fetch(&client, &url))?;
            print(&format!("  {name:<5} {url}  {}\n", page.describe()))?;
        }
        Ok(())
    }
}

/// The parts of a page that the demo shows.
struct Page {
    status: http::StatusCode,
    version: String,
    text: String,
}

impl Page {
    fn describe(&self) -> String {
        let heading = between(&self.text, "<h1>", "</h1>").unwrap_or("no heading");
        let color = between(&self.text, "name=\"theme-color\" content=\"", "\"").unwrap_or("no color");
        format!("{}: \"{heading}\" on {}, version {}", self.status.as_u16(), color_name(color), self.version)
    }
}

/// The two colors of the sample app by their names.
fn color_name(color: &str) -> String {
    match color {
        "#14DB95" => format!("green {color}"),
        "#09BBE8" => format!("blue {color}"),
        other => other.to_owned(),
    }
}

async fn fetch(client: &PageClient, url: &str) -> Result<Page> {
    let response = http_client::get(client, url, &[]).await?;
    let status = response.status();
    let version = response.headers().get("x-app-version").and_then(|value| value.to_str().ok()).unwrap_or("unknown");
    let version = version.to_owned();
    let body = response.into_body().collect().await.context(|| format!("cannot read the page at {url}"))?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(Page { status, version, text })
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = text.split_once(start)?.1;
    Some(rest.split_once(end)?.0)
}

/// The default path of a program: beside this program.
pub(crate) fn beside(program: &str) -> OsString {
    let own = std::env::current_exe().ok();
    own.map_or_else(|| program.into(), |own| own.with_file_name(program).into_os_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_described_by_its_heading_its_color_and_its_version() {
        let page = Page {
            status: http::StatusCode::OK,
            version: "2".to_owned(),
            text: r##"<meta name="theme-color" content="#09BBE8"><h1>Bonjour World!</h1>"##.to_owned(),
        };
        assert_eq!(page.describe(), "200: \"Bonjour World!\" on blue #09BBE8, version 2");
    }
}
