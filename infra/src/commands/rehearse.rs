//! `bluegreen rehearse`: a whole release on a separate local cloud, under user load, with or without a fault.
//!
//! Every step is this program again, as a person would run it: what works here works on AWS for the same reasons.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use model::Request;
use model::request::Op;

use crate::args::{image, path, version};
use crate::build::Workspace;
use crate::context::Context;
use crate::error::{Doing as _, Error, Result};
use crate::rehearse::cloud::LocalCloud;
use crate::rehearse::document::{Fault, FaultAt, Injected, LoadFacts, Side};
use crate::rehearse::load::{Load, Plan, tally};
use crate::rehearse::plan::{Choice, Release, on_this_machine, releases, write_settings};
use crate::rehearse::text::terminal;
use crate::rehearse::verdict::{AFTER, Observed, error, judge};
use crate::rehearse::{Rehearsal, render};
use crate::report::{Format, Place, Run};
use crate::runs::CutoverArgs;
use crate::session::{Session, print_json, print_text};
use crate::ui::Style;
use cfn_kit::resources::values::UrlPath;
use stack::Settings;
use stack::values::{ImageName, VersionLabel};

/// How long users are watched before anything happens, and after everything has.
const AROUND: Duration = Duration::from_secs(3);

/// Id of the cutover in its own ledger.
const RUN: &str = "rehearsal";

/// The annotation that gives the copy of an image another digest.
const COPY: &str = "bluegreen.copy";

/// The arguments of `rehearse`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Image of the new version, from a registry or an archive file [default: the service of bluegreen.toml].
    #[arg(long, value_parser = image)]
    pub image: Option<ImageName>,
    /// New version [default: the tag of the image, or the first version of a new stack].
    #[arg(long, value_parser = version)]
    pub version: Option<VersionLabel>,
    /// Version that serves prod before the cutover [default: the new version].
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub from: Option<VersionLabel>,
    /// Image of the version that serves prod before the cutover [default: the new image].
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    pub from_image: Option<ImageName>,
    /// Fault to inject into the new version [default: none].
    #[arg(long, value_enum)]
    pub fault: Option<Fault>,
    /// When the fault starts [default: deploy for never-healthy, swap for the others].
    #[arg(long, value_enum, value_name = "WHEN", requires = "fault")]
    pub fault_at: Option<FaultAt>,
    /// Delay of a slow version in milliseconds [default: one second longer than the probe timeout].
    #[arg(long, value_name = "MS", requires = "fault", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub fault_delay: Option<u64>,
    /// User requests per second.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub rate: u32,
    /// Paths that users request in turn [default: the probe path].
    #[arg(long, value_name = "PATH", value_delimiter = ',', value_parser = path)]
    pub paths: Vec<UrlPath>,
    /// Output file of the report.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Format of the report [default: from the extension of --out, else html].
    #[arg(long, value_enum, requires = "out")]
    pub format: Option<Format>,
    /// Arguments for bluegreen cutover, such as -- --probes 300 --shift 10:30s.
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub cutover: Vec<String>,
}

impl Args {
    /// Rehearses, and prints what users would have seen.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let request = cutover_request(&self.cutover)?;
        let rehearsal = rehearse(&session.context, self, &request, session.json).await?;
        if session.json {
            print_json(&rehearsal)?;
        } else {
            print_text(&terminal(&rehearsal, Style::of_stdout()))?;
        }
        error(&rehearsal).map_or(Ok(()), Err)
    }
}

/// What the cutover of a rehearsal asks for: its arguments are those of the verb, without what the rehearsal decides itself.
fn cutover_request(arguments: &[String]) -> Result<Request> {
    #[derive(Debug, clap::Parser)]
    #[command(name = "bluegreen cutover", no_binary_name = true)]
    struct Line {
        #[command(flatten)]
        cutover: CutoverArgs,
    }
    let wrong = |why: String| Error::usage("invalid cutover arguments of a rehearsal").because(why);
    let line = <Line as clap::Parser>::try_parse_from(arguments);
    let problem = |error: clap::Error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
    };
    let request = line.map_err(|error| wrong(problem(error)))?.cutover.order().request;
    if request.op != Op::Cutover || request.to.is_some() || request.id.is_some() {
        return Err(wrong("a rehearsal does not accept --plan, --to, or --id".to_owned()));
    }
    request.check().map_err(|error| wrong(error.to_string()))?;
    Ok(request)
}

/// Rehearses. `request` is what the arguments of the cutover ask for, and `json` whether steps print JSON.
async fn rehearse(context: &Context, arguments: &Args, request: &Request, json: bool) -> Result<Rehearsal> {
    let choice = Choice {
        version: arguments.version.clone(),
        image: arguments.image.clone(),
        from: arguments.from.clone(),
        from_image: arguments.from_image.clone(),
    };
    let (old, new) = releases(&context.settings, &choice)?;
    let (settings, left_out) = on_this_machine(&context.settings, &old)?;
    if !left_out.is_empty() {
        context.listener.note(format!("omitted because it is not available on this machine: {}", left_out.join(", ")));
    }
    let mut cloud = LocalCloud::find()?;
    let files = Files::of(&cloud);
    write_settings(&settings, &files.settings)?;
    let images = images(context, (&old, &new), &files).await?;
    let timer = context.listener.start("start a local cloud");
    cloud.start(&[settings.prod_port().get(), settings.dev_port().get()]).await?;
    timer.finish(&*context.listener, "ready");
    let stage = Stage { context, settings, cloud, files, json };
    let patience = request.probe.timeout;
    let load = LoadFacts {
        rate: arguments.rate,
        paths: match &arguments.paths[..] {
            [] => vec![stage.settings.cutover.probe_path.to_string()],
            paths => paths.iter().map(UrlPath::to_string).collect(),
        },
        timeout_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
    };
    let play = Play { old, new, images, load, fault: fault(arguments, patience), left_out };
    let rehearsal = Box::pin(stage.perform(play, &arguments.cutover)).await?;
    if let Some(out) = &arguments.out {
        let format = Format::of_file(arguments.format, Some(out), Format::Html);
        std::fs::write(out, render(&rehearsal, &Place::default(), format)?)
            .doing(|| format!("write {}", out.display()))?;
        context.listener.note(format!("wrote the rehearsal report to {}", out.display()));
    }
    Ok(rehearsal)
}

fn fault(arguments: &Args, patience: Duration) -> Option<Injected> {
    let kind = arguments.fault?;
    let longer = u64::try_from(patience.as_millis()).unwrap_or_default() + 1000;
    let delay_ms = (kind == Fault::Slow).then(|| arguments.fault_delay.unwrap_or(longer));
    Some(Injected { kind, at: arguments.fault_at.unwrap_or(kind.at()), delay_ms })
}

/// Files that the steps share.
struct Files {
    settings: PathBuf,
    copy: PathBuf,
}

impl Files {
    fn of(cloud: &LocalCloud) -> Self {
        let file = |name: &str| cloud.folder().join(name);
        Self { settings: file("bluegreen.toml"), copy: file("copy.tar") }
    }
}

/// Finds or builds both images before anything is started. Where they are the same, a copy of it is written that is
/// another image by digest; otherwise nothing would be deployed.
async fn images(context: &Context, (old, new): (&Release, &Release), files: &Files) -> Result<Images> {
    let mut found = Vec::new();
    for release in [old, new] {
        let workspace = Workspace::find(&release.app)?;
        workspace.check_version(&release.version)?;
        let name = workspace.name(&release.version);
        let timer =
            context.listener.start(format!("{} {name}", if release.app.image.is_some() { "find" } else { "build" }));
        let image = workspace
            .image(&release.version, crate::build::image_architecture(release.app.architecture), release.app.port.get())
            .await?;
        timer.finish(&*context.listener, format!("image of {:.1} MiB", mib(image.size())));
        found.push((name, image));
        if found.len() == 1 && old == new {
            break;
        }
    }
    let (old_name, old_image) = &found[0];
    let (new_name, new_image) = found.last().unwrap_or(&found[0]);
    let same = old_image.digest() == new_image.digest();
    let copy = if same { Some(new_image.write_archive(&files.copy, &[(COPY, RUN)]).await?) } else { None };
    Ok(Images {
        sides: (old.side(old_name.clone()), new.side(new_name.clone())),
        copied: same,
        digest: copy.unwrap_or_else(|| new_image.digest().clone()).to_string(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "images are smaller than petabytes")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1024 * 1024)
}

/// The images of both versions.
struct Images {
    sides: (Side, Side),
    /// Whether both are one image, and the new one is a copy of it.
    copied: bool,
    /// The new one's digest.
    digest: String,
}

/// What is played.
struct Play {
    old: Release,
    new: Release,
    images: Images,
    load: LoadFacts,
    fault: Option<Injected>,
    left_out: Vec<String>,
}

/// The local cloud of the rehearsal.
struct Stage<'a> {
    context: &'a Context,
    settings: Settings,
    cloud: LocalCloud,
    files: Files,
    json: bool,
}

impl Stage<'_> {
    async fn perform(self, play: Play, cutover: &[String]) -> Result<Rehearsal> {
        let (old, new) = (play.old.version.as_str(), play.new.version.as_str());
        self.step(format!("1/4 deploy version {old} as prod"), &["deploy", "--yes"]).await?.expect_success()?;

        let load = self.users(&play).await?;
        let mut begins = vec![("before", 0), ("deployment", load.now_ms())];
        self.inject(&play, FaultAt::Deploy).await?;
        let mut deploy: Vec<OsString> =
            ["deploy", "--yes", "--on-failure", "cancel", "--version", new].map(Into::into).into();
        if play.images.copied {
            deploy.extend(["--image".into(), self.files.copy.clone().into_os_string()]);
        } else if let Some(image) = &play.new.app.image {
            deploy.extend(["--image".into(), image.as_str().into()]);
        }
        let deployed = self.step(format!("2/4 deploy version {new} as dev"), &deploy).await?;

        let mut run = None;
        let mut cut = None;
        if deployed.succeeded() {
            self.inject(&play, FaultAt::Swap).await?;
            begins.push(("cutover", load.now_ms()));
            let order: Vec<&str> =
                ["cutover", "--id", RUN].into_iter().chain(cutover.iter().map(String::as_str)).collect();
            cut = Some(self.step("3/4 cut over to the new version", &order).await?.code);
            begins.push((AFTER, load.now_ms()));
            run = self.record().await?;
        } else {
            begins.push((AFTER, load.now_ms()));
        }
        let timer = self.context.listener.start("4/4 keep the user load running");
        tokio::time::sleep(AROUND).await;
        let ended_ms = load.now_ms();
        let started = load.began();
        let seen = load.end().await;
        timer.finish(&*self.context.listener, format!("{} requests in total", seen.len()));
        let tasks = self.cloud.ended_tasks(&self.context.stack).await?;
        let timer = self.context.listener.start("stop the local cloud");
        self.cloud.end().await?;
        timer.finish(&*self.context.listener, "removed");
        Ok(judge(Observed {
            from: play.images.sides.0,
            to: play.images.sides.1,
            fault: play.fault,
            load: play.load,
            started,
            ended_ms,
            seen,
            begins,
            deployment: deployed.code,
            cutover: cut,
            tasks,
            left_out: play.left_out,
            run,
        }))
    }

    /// Starts the user load, and checks that it is served before anything is changed.
    async fn users(&self, play: &Play) -> Result<Load> {
        let load = Load::start(Plan {
            address: self.cloud.address(self.settings.prod_port().get()).await?,
            facts: play.load.clone(),
            version_header: self.settings.app.version_header.to_string(),
        });
        let timer = self.context.listener.start(format!("send {} requests per second", play.load.rate));
        tokio::time::sleep(AROUND).await;
        let before = tally(&load.seen());
        if before.failed > 0 || before.requests == 0 {
            let mut error = Error::usage(format!(
                "version {} fails before any change: {} of {} requests failed",
                play.old.version, before.failed, before.requests
            ));
            for (failure, times) in &before.failures {
                error = error.because(format!("{failure}, {times} times"));
            }
            return Err(error.hint(format!(
                "pass paths that succeed with --paths /a,/b; users requested {}",
                play.load.paths.join(" and ")
            )));
        }
        timer.finish(&*self.context.listener, format!("{} requests, none failed", before.requests));
        Ok(load)
    }

    /// Injects the fault if it is due now. A fault at the swap begins with the first request that reaches the
    /// new version through prod, which is not a moment later.
    async fn inject(&self, play: &Play, now: FaultAt) -> Result<()> {
        let Some(fault) = play.fault.filter(|fault| fault.at == now) else { return Ok(()) };
        let effect: &[&str] = match fault.kind {
            Fault::Slow => &["slow"],
            Fault::Errors => &["status", "--status", "500"],
            Fault::Crash => &["crash"],
            Fault::Oom => &["oom"],
            Fault::NeverHealthy => &["unhealthy"],
        };
        let mut arguments: Vec<String> = effect.iter().map(|&word| word.to_owned()).collect();
        arguments.extend(["--of".to_owned(), play.images.digest.clone()]);
        if let Some(delay) = fault.delay_ms {
            arguments.extend(["--ms".to_owned(), delay.to_string()]);
        }
        if now == FaultAt::Swap {
            arguments.extend(["--listener".to_owned(), self.settings.prod_port().to_string()]);
        }
        self.context.listener.note(format!("injected fault: {}", crate::rehearse::verdict::reported(&fault)));
        self.cloud.fault(&arguments).await
    }

    /// Runs this program again for one step of the release.
    async fn step(&self, what: impl Into<String>, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Result<Step> {
        let timer = self.context.listener.start(what);
        let mut command = self.cloud.run(&own_program()?, &self.all(arguments));
        // Its output goes to the same place as ours.
        let mut child = command.stdout(Stdio::null()).spawn().doing(|| "run a step".to_owned())?;
        let status = child.wait().await.doing(|| "wait for a step".to_owned())?;
        let code = status.code().unwrap_or(-1);
        timer.finish(&*self.context.listener, if code == 0 { "done".to_owned() } else { format!("exit code {code}") });
        Ok(Step { code })
    }

    /// The cutover's record, if it left one.
    async fn record(&self) -> Result<Option<Run>> {
        let mut command = self.cloud.run(&own_program()?, &self.all(&["report", RUN, "--format", "json"]));
        let said =
            command.stderr(Stdio::null()).output().await.doing(|| "read the record of the cutover".to_owned())?;
        if !said.status.success() {
            return Ok(None);
        }
        let run = serde_json::from_slice(&said.stdout);
        run.map(Some).map_err(|error| Error::failed("cannot parse the record of the cutover").because(error))
    }

    fn all(&self, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec!["--stack".into(), self.context.stack.clone().into(), "--config".into()];
        all.push(self.files.settings.clone().into_os_string());
        if self.json {
            all.push("--json".into());
        }
        all.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        all
    }
}

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().doing(|| "find this program's own file".to_owned())
}

/// How a step ended.
#[derive(Clone, Copy, Debug)]
struct Step {
    code: i32,
}

impl Step {
    const fn succeeded(self) -> bool {
        self.code == 0
    }

    fn expect_success(self) -> Result<()> {
        if self.succeeded() {
            return Ok(());
        }
        Err(Error::failed("cannot rehearse: the deployment of the initial version failed")
            .because(format!("it ended with exit code {}; see its output above", self.code))
            .hint("if the service reports another version than the one given, pass that version: --version, --from")
            .hint("pass another initial version: --from VERSION or --from-image IMAGE"))
    }
}
