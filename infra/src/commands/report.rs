//! `bluegreen report`: one run of the ledger, written for people.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use ledger::S3Ledger;
use model::Record;

use crate::context::Context;
use crate::error::{Doing, Error, Result};
use crate::report::{Format, Place, Run, render};
use crate::runs::{load_with_samples, with_samples};
use crate::session::{Session, print_text};
use deploy::{Cloud, DeployedStack};

/// The arguments of `report`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Id of the run, as listed by `bluegreen --json history` [default: the latest run].
    #[arg(conflicts_with = "record")]
    pub id: Option<String>,
    /// Output file [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Output format [default: from the extension of --out, else html].
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Read the record from this file instead of the ledger, such as the response of the function; - reads stdin.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

impl Args {
    /// Writes the report to its file, or prints it.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let otherwise = if session.json { Format::Json } else { Format::Html };
        written(&session.context, self, otherwise).await?.map_or(Ok(()), |text| print_text(&text))
    }

    fn format(&self, otherwise: Format) -> Format {
        Format::of_file(self.format, self.out.as_deref(), otherwise)
    }
}

/// Renders the report, in the format `otherwise` if neither an option nor a file's name sets it; returns its text if it
/// goes to standard output.
async fn written(context: &Context, arguments: &Args, otherwise: Format) -> Result<Option<String>> {
    let (run, place) = match &arguments.record {
        Some(path) => (from_file(path)?, Place::default()),
        None => from_ledger(context, arguments.id.as_deref()).await?,
    };
    let text = render(&run, &place, arguments.format(otherwise))?;
    let Some(path) = &arguments.out else { return Ok(Some(text)) };
    std::fs::write(path, text).doing(|| format!("write {}", path.display()))?;
    context.listener.note(format!("wrote the report of run {} to {}", run.record.id, path.display()));
    Ok(None)
}

fn from_file(path: &Path) -> Result<Run> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).doing(|| "read standard input".to_owned())?;
    } else {
        text = std::fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
    }
    // What this command writes as JSON, or a bare record.
    let run = serde_json::from_str::<Run>(&text).or_else(|_| serde_json::from_str::<Record>(&text).map(Run::from));
    run.map_err(|error| {
        Error::usage(format!("{} is not a record of a run", path.display()))
            .because(error)
            .hint("pass the output of bluegreen --json cutover or the response of the function")
    })
}

async fn from_ledger(context: &Context, id: Option<&str>) -> Result<(Run, Place)> {
    let cloud = Cloud::connect(&context.settings).await?;
    let outputs = DeployedStack::require(&cloud, &context.stack).await?.outputs()?;
    let ledger = cloud.ledger(&outputs.bucket);
    let mut run = match id {
        Some(id) => load_with_samples(&ledger, id).await?.ok_or_else(|| {
            Error::usage(format!("run {id} of stack {} does not exist", context.stack))
                .hint("list the runs and their ids: bluegreen --json history")
        })?,
        None => latest(&ledger).await?.ok_or_else(|| {
            Error::usage(format!("stack {} has no runs yet", context.stack)).hint("start one: bluegreen cutover")
        })?,
    };
    if let (Some(old), Some(new)) = (run.record.releases.old, run.record.releases.new) {
        run.changed = cloud.releases(&outputs.bucket).changed(old, new).await?;
    }
    let prod_url = cloud.connect_to.display_url(&outputs.prod_url);
    Ok((run, Place { stack: context.stack.clone(), region: cloud.region().to_owned(), prod_url }))
}

async fn latest(ledger: &S3Ledger) -> Result<Option<Run>> {
    let record = ledger.latest().await.map_err(|error| Error::failed("cannot read the ledger").because(error))?;
    match record {
        Some(record) => with_samples(ledger, record).await.map(Some),
        None => Ok(None),
    }
}
