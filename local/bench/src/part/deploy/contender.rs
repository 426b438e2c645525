//! The deployment tools: bluegreen, the AWS CLI, AWS CDK. Each runs as a whole process on the same endpoint.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use deploy::DeployedStack;
use infra::error::{Doing as _, Error, Result};
use infra::synthesis;
use stack::{Settings, parameter};

use crate::bench::Bench;
use crate::cloud::LocalCloud;
use crate::process::Stopwatch;
use crate::tools::Cdk;

/// The stack of the AWS CLI.
pub(super) const CLI_STACK: &str = "bench-cli";
/// The stack of the CDK app.
pub(super) const CDK_STACK: &str = "bench-cdk";

const SECOND: Duration = Duration::from_secs(1);

/// The changed setting: the retention of logs.
const CHANGED: &str = "[logs]\nretention_days = 60\n";

/// The content that references deploy: images and code that are already in a registry and a bucket.
#[derive(Debug)]
pub(super) struct Content<'a> {
    /// An image by digest.
    pub(super) image: String,
    /// Bucket and key of the zip of the function.
    pub(super) code: String,
    /// The hash in that key.
    pub(super) hash: String,
    /// The zip of the function.
    pub(super) zip: &'a [u8],
}

impl<'a> Content<'a> {
    /// The content of a deployed stack.
    pub(super) fn of(stack: &DeployedStack, zip: &'a [u8]) -> Result<Self> {
        let image = stack.parameter(parameter::image(model::Color::Green)).to_owned();
        let hash = stack.parameter(parameter::CUTOVER_CODE).to_owned();
        if image.is_empty() || hash.is_empty() {
            return Err(Error::failed(format!("stack {} was deployed without an image or without code", stack.name)));
        }
        let code = format!("{}/{}", stack.outputs()?.bucket, stack::storage::code_key(&hash));
        Ok(Self { image, code, hash, zip })
    }
}

/// Files of our template and settings, with the original and with the changed setting.
#[derive(Debug)]
pub(super) struct Templates {
    settings: [PathBuf; 2],
    templates: [PathBuf; 2],
}

impl Templates {
    /// Writes the files.
    pub(super) fn write(bench: &Bench) -> Result<Self> {
        let folder = bench.folder();
        std::fs::create_dir_all(&folder).doing(|| format!("create {}", folder.display()))?;
        let file = |name: &str| folder.join(name);
        let files = Self {
            settings: ["deploy.toml", "deploy-changed.toml"].map(file),
            templates: ["deploy.json", "deploy-changed.json"].map(file),
        };
        for (index, text) in ["", CHANGED].iter().enumerate() {
            let template = synthesis::pretty(&Settings::parse(text)?)?;
            for (file, text) in [(&files.settings[index], *text), (&files.templates[index], &template)] {
                std::fs::write(file, text).doing(|| format!("write {}", file.display()))?;
            }
        }
        Ok(files)
    }
}

/// A deployment tool.
pub(super) trait Contender {
    /// Deploys as a whole process, with the original or the changed setting. Returns the seconds.
    fn deploy(&self, stack: &str, content: Option<&Content<'_>>, changed: bool) -> Result<f64>;
}

/// `bluegreen deploy`.
pub(super) struct Ours<'a> {
    stopwatch: &'a Stopwatch,
    cloud: &'a LocalCloud,
    files: &'a Templates,
}

impl<'a> Ours<'a> {
    pub(super) fn new(bench: &'a Bench, cloud: &'a LocalCloud, files: &'a Templates) -> Self {
        Self { stopwatch: &bench.stopwatch, cloud, files }
    }
}

impl Contender for Ours<'_> {
    fn deploy(&self, stack: &str, _: Option<&Content<'_>>, changed: bool) -> Result<f64> {
        let mut command = self.cloud.bluegreen(&["--stack", stack, "--config"]);
        command.arg(&self.files.settings[usize::from(changed)]).args(["deploy", "--yes"]);
        Ok(self.stopwatch.run(&command)?.seconds)
    }
}

/// `aws cloudformation deploy` of our template: with the images, without the function, because the bucket of its code
/// does not exist yet.
pub(super) struct AwsCli<'a> {
    stopwatch: &'a Stopwatch,
    cloud: &'a LocalCloud,
    files: &'a Templates,
    program: PathBuf,
}

impl<'a> AwsCli<'a> {
    pub(super) fn new(bench: &'a Bench, cloud: &'a LocalCloud, files: &'a Templates, program: PathBuf) -> Self {
        Self { stopwatch: &bench.stopwatch, cloud, files, program }
    }
}

impl Contender for AwsCli<'_> {
    fn deploy(&self, stack: &str, content: Option<&Content<'_>>, changed: bool) -> Result<f64> {
        let mut command = Command::new(&self.program);
        command.args(["cloudformation", "deploy", "--stack-name", stack, "--capabilities", "CAPABILITY_IAM"]);
        command.arg("--no-fail-on-empty-changeset");
        command.arg("--template-file").arg(&self.files.templates[usize::from(changed)]);
        if let Some(content) = content {
            let images = ["BlueImage", "GreenImage"].map(|name| format!("{name}={}", content.image));
            command.arg("--parameter-overrides").args(images).args(["BlueVersion=1", "GreenVersion=1"]);
        }
        // The names of its change sets contain the time in seconds, and the stack keeps them.
        std::thread::sleep(SECOND);
        Ok(self.stopwatch.run(&self.cloud.point(command))?.seconds)
    }
}

/// `cdk deploy` of the app in `local/bench/cdk`.
pub(super) struct TheirCdk<'a> {
    stopwatch: &'a Stopwatch,
    cloud: &'a LocalCloud,
    cdk: Cdk,
}

impl<'a> TheirCdk<'a> {
    pub(super) fn new(bench: &'a Bench, cloud: &'a LocalCloud, cdk: Cdk) -> Self {
        Self { stopwatch: &bench.stopwatch, cloud, cdk }
    }
}

impl Contender for TheirCdk<'_> {
    fn deploy(&self, stack: &str, content: Option<&Content<'_>>, changed: bool) -> Result<f64> {
        let mut given = vec![format!("retention={}", if changed { 60 } else { 30 })];
        if let Some(Content { image, code, .. }) = content {
            given.extend([format!("blueImage={image}"), format!("greenImage={image}"), format!("code={code}")]);
        }
        let mut command = self.cdk.command(&["deploy", stack, "--require-approval", "never"]);
        command.args(given.iter().flat_map(|value| ["-c", value]));
        Ok(self.stopwatch.run(&self.cloud.point(command))?.seconds)
    }
}
