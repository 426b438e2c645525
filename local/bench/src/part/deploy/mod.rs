//! Deployments, in turns with AWS CDK, the AWS CLI, and the bare calls to the same endpoint: first creation with built
//! images, no change, and one changed setting.
//!
//! The references do less: their images and code are already in a registry and a bucket, and they do not wait until
//! tasks are healthy. Only the bare calls do everything that bluegreen does, except for building and pushing.

mod bare;
mod contender;

use deploy::DeployedStack;
use infra::error::Result;
use infra::synthesis;
use stack::Settings;

use crate::bench::{Bench, Findings};
use crate::cloud::{self, LocalCloud};
use crate::figures::Figures;
use crate::row::{Row, Target};
use crate::tools::{self, Cdk};
use crate::unit::Unit;
use contender::{AwsCli, Contender, Content, Ours, Templates, TheirCdk};

/// Each round takes a minute, mostly for the references.
const MOST_ROUNDS: usize = 3;
/// Deployments without a change in a round.
const IDLE: usize = 2;
const OURS: &str = "bench";

/// The times of deployments, in seconds.
#[derive(Debug, Default)]
struct Times {
    create: Vec<f64>,
    idle: Vec<f64>,
    change: Vec<f64>,
}

pub(super) fn measure(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let (cdk, aws) = (Cdk::find(bench), tools::aws_cli(bench));
    for (what, why) in
        [("AWS CDK's deployments", cdk.as_ref().err()), ("the AWS CLI's deployments", aws.as_ref().err())]
    {
        if let Some(why) = why {
            findings.skip(what, why.as_str());
        }
    }
    let runtime = cloud::runtime()?;
    let cloud = LocalCloud::start(bench)?;
    let clients = runtime.block_on(cloud.clients())?;
    let templates = Templates::write(bench)?;
    let template = synthesis::compact(&Settings::default())?;
    let zip = cloud::read(&bench.artefact("lambda/cutover/bootstrap.zip")?)?;
    let ours = Ours::new(bench, &cloud, &templates);
    let aws = aws.ok().map(|aws| AwsCli::new(bench, &cloud, &templates, aws));
    let cdk = cdk.ok().map(|cdk| TheirCdk::new(bench, &cloud, cdk));
    let (mut our_times, mut cli_times, mut cdk_times, mut bare) =
        (Times::default(), Times::default(), Times::default(), Vec::new());
    let rounds = bench.options.rounds.min(MOST_ROUNDS);
    for round in 1..=rounds {
        bench.say(&format!("round {round} of {rounds} ..."));
        turn(&ours, OURS, None, &mut our_times)?;
        let stack = runtime.block_on(DeployedStack::require(&clients, OURS))?;
        let content = Content::of(&stack, &zip)?;
        bare.push(runtime.block_on(bare::deploy(&clients, &content, &template))?);
        cloud.run(&["destroy", "--stack", bare::STACK, "--confirm", bare::STACK])?;
        if let Some(aws) = &aws {
            turn(aws, contender::CLI_STACK, Some(&content), &mut cli_times)?;
            runtime.block_on(cloud::delete(&clients, contender::CLI_STACK))?;
        }
        if let Some(cdk) = &cdk {
            turn(cdk, contender::CDK_STACK, Some(&content), &mut cdk_times)?;
            runtime.block_on(cloud::delete(&clients, contender::CDK_STACK))?;
        }
        cloud.run(&["destroy", "--stack", OURS, "--confirm", OURS])?;
    }
    report(findings, &our_times, &cli_times, &cdk_times, bare);
    Ok(())
}

/// One turn of one tool: create, no change, change, and change back.
fn turn(contender: &dyn Contender, stack: &str, content: Option<&Content>, times: &mut Times) -> Result<()> {
    times.create.push(contender.deploy(stack, content, false)?);
    for _ in 0..IDLE {
        times.idle.push(contender.deploy(stack, content, false)?);
    }
    times.change.push(contender.deploy(stack, content, true)?);
    times.change.push(contender.deploy(stack, content, false)?);
    Ok(())
}

fn report(findings: &mut Findings<'_>, ours: &Times, cli: &Times, cdk: &Times, bare: Vec<f64>) {
    let create = || Row::new("`deploy`, first create", Unit::Seconds, Figures::of(ours.create.clone()));
    let idle = || Row::new("`deploy`, nothing to do", Unit::Seconds, Figures::of(ours.idle.clone()));
    let change = || Row::new("`deploy`, one setting changed", Unit::Seconds, Figures::of(ours.change.clone()));
    let bare = create().against("bare calls, endpoint's own time", Figures::of(bare));
    findings.row(bare.target(Target::TimesReference(1.2)));
    let mut against = |name: &str, times: &Times, faster: Option<f64>| {
        if times.create.is_empty() {
            return;
        }
        let row = create().against(name, Figures::of(times.create.clone()));
        findings.row(faster.into_iter().fold(row, |row, faster| row.target(Target::TimesBetter(faster))));
        let row = idle().against(name, Figures::of(times.idle.clone()));
        findings.row(row.target(Target::AtMost(0.3)));
        findings.row(change().against(name, Figures::of(times.change.clone())));
    };
    against("AWS CDK", cdk, Some(8.0));
    against("AWS CLI", cli, None);
    if cdk.create.is_empty() && cli.create.is_empty() {
        findings.row(idle().target(Target::AtMost(0.3)));
        findings.row(change());
    }
}
