//! The image: its size in a registry, and the cost of deploying a version that was built and pushed before.

use infra::build::Workspace;
use infra::error::{Doing as _, Error, Result};
use serde_json::Value;
use stack::Settings;

use super::MIB;
use crate::bench::{Bench, Findings};
use crate::cloud::{self, LocalCloud};
use crate::figures::Figures;
use crate::role::registry::CountingProxy;
use crate::row::{Row, Target};
use crate::tools;
use crate::unit::Unit;

pub(super) fn measure(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let runtime = cloud::runtime()?;
    let settings = Settings::default();
    std::env::set_current_dir(bench.project()).doing(|| "change to the folder of the project".to_owned())?;
    let workspace = Workspace::find(&settings.app)?;
    let image = runtime.block_on(workspace.image(
        &settings.app.first_version,
        infra::build::image_architecture(settings.app.architecture),
        settings.app.port.get(),
    ))?;
    #[expect(clippy::cast_precision_loss, reason = "an image has some megabytes")]
    let size = Figures::once(image.size() as f64);
    findings.row(Row::new("image, compressed", Unit::Bytes, size).target(Target::AtMost(1.5 * MIB)));
    unchanged(bench, findings, &runtime)
}

/// Deploys two versions in turn to the idle environment. Both were deployed before, so nothing is built or sent. (One
/// version would not do: the registry is not checked for a version that already runs.)
fn unchanged(bench: &Bench, findings: &mut Findings<'_>, runtime: &tokio::runtime::Runtime) -> Result<()> {
    if let Err(why) = tools::program("docker") {
        findings.skip("`docker build` and `push` of an unchanged image", why);
    }
    let cloud = LocalCloud::start(bench)?;
    cloud.run(&["deploy", "--yes"])?;
    cloud.run(&["deploy", "--version", "2", "--yes"])?;
    let proxy = runtime.block_on(CountingProxy::start(cloud.endpoint()))?;
    let (mut seconds, mut bytes) = (Vec::new(), Vec::new());
    for version in ["1", "2"].iter().cycle().take(bench.options.rounds.next_multiple_of(2)) {
        let mut command = cloud.bluegreen(&["--json", "deploy", "--version", version, "--yes"]);
        command.env("BLUEGREEN_REGISTRY", proxy.url());
        let said = bench.stopwatch.run(&command)?.errors;
        let (requests, sent) = proxy.take();
        if requests == 0 {
            return Err(Error::failed("the registry was not asked for the image"));
        }
        seconds.push(
            step(&said, &format!("build greeter-v{version}"))? + step(&said, &format!("push greeter-v{version}"))?,
        );
        bytes.push(sent);
    }
    let time = Row::new("image of an unchanged version: build and registry check", Unit::Seconds, Figures::of(seconds));
    findings.row(time.target(Target::AtMost(0.2)));
    let sent = Row::new("image of an unchanged version: sent to the registry", Unit::Bytes, Figures::of(bytes));
    findings.row(sent.target(Target::NeverAbove(0.0)));
    Ok(())
}

/// The seconds of a step of a deployment, from its events.
fn step(events: &str, step: &str) -> Result<f64> {
    let events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut finished = events.filter(|event| event["event"] == "finished" && event["step"] == step);
    let took = finished.next().and_then(|event| event["elapsed_ms"].as_f64());
    took.map(|ms| ms / 1000.0).ok_or_else(|| Error::failed(format!("the deployment has no finished step {step:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_step_is_in_the_event_of_its_end() {
        let events = "not JSON\n{\"event\":\"started\",\"step\":\"push a\"}\n\
                      {\"event\":\"finished\",\"step\":\"push a\",\"detail\":\"\",\"elapsed_ms\":40}\n";
        assert!((step(events, "push a").unwrap() - 0.04).abs() < 1e-9);
        assert!(step(events, "push b").unwrap_err().message().contains("push b"));
    }
}
