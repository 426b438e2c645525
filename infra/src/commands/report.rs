//! `bluegreen report`: one run of the ledger, written for people.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use cutover_lambda::Record;
use cutover_lambda::ledger::S3Ledger;

use super::Context;
use crate::cloud::{Cloud, DeployedStack};
use crate::error::{Doing, Error, Result};
use crate::report::{Format, Place, render};

/// What is asked of `report`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// The run's id; the latest run where none is named (`bluegreen --json history` lists the ids).
    #[arg(conflicts_with = "record")]
    pub id: Option<String>,
    /// The file to write; standard output where none is named.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How to write it; by the ending of --out where not said, else html.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// A record in a file instead of the ledger, such as the function's own answer; - reads standard input.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

impl Arguments {
    fn format(&self) -> Format {
        let ending = self.out.as_deref().and_then(Path::extension).and_then(|ending| ending.to_str());
        self.format.unwrap_or(match ending {
            Some("md" | "markdown") => Format::Md,
            Some("json") => Format::Json,
            _ => Format::Html,
        })
    }
}

/// Makes the report; returns its text where it goes to standard output.
pub async fn run(context: &Context, arguments: &Arguments) -> Result<Option<String>> {
    let (record, place) = match &arguments.record {
        Some(path) => (from_file(path)?, Place::default()),
        None => from_ledger(context, arguments.id.as_deref()).await?,
    };
    let text = render(&record, &place, arguments.format())?;
    let Some(path) = &arguments.out else { return Ok(Some(text)) };
    std::fs::write(path, text).doing(|| format!("write {}", path.display()))?;
    context.listener.note(format!("run {} is in {}", record.id, path.display()));
    Ok(None)
}

fn from_file(path: &Path) -> Result<Record> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).doing(|| "read standard input".to_owned())?;
    } else {
        text = std::fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
    }
    serde_json::from_str(&text).map_err(|error| {
        Error::usage(format!("{} is not the record of a run", path.display()))
            .because(error)
            .hint("a record is what bluegreen --json cutover prints, and what the function answers")
    })
}

async fn from_ledger(context: &Context, id: Option<&str>) -> Result<(Record, Place)> {
    let cloud = Cloud::connect().await?;
    let outputs = DeployedStack::require(&cloud, &context.stack).await?.outputs()?;
    let ledger = S3Ledger::in_bucket(&cloud.config, &outputs.bucket);
    let found = match id {
        Some(id) => ledger.load(id).await,
        None => ledger.latest().await,
    };
    let record = found.map_err(|error| Error::failed("cannot read the ledger").because(error))?;
    let record = record.ok_or_else(|| match id {
        Some(id) => Error::usage(format!("there is no run {id} on stack {}", context.stack))
            .hint("bluegreen --json history lists the runs with their ids"),
        None => Error::usage(format!("there was no cutover on stack {} yet", context.stack))
            .hint("make one: bluegreen cutover"),
    })?;
    let prod_url = cloud.connect_to.display_url(&outputs.prod_url);
    Ok((record, Place { stack: context.stack.clone(), region: cloud.region().to_owned(), prod_url }))
}
