//! `bluegreen synth` as a whole process, compared with `cdk synth` of the same stack.

use std::process::Command;

use infra::error::Result;

use crate::bench::{Bench, Findings};
use crate::figures::Figures;
use crate::row::{Row, Target};
use crate::tools::Cdk;
use crate::unit::Unit;

/// The number of our runs for each run of the reference, which takes a thousand times as long.
const OURS_EACH: usize = 7;
/// The context of the CDK app: without images and code, it leaves out resources.
pub(super) const CDK_WHOLE: [&str; 6] =
    ["-c", "blueImage=registry/app:1", "-c", "greenImage=registry/app:1", "-c", "code=bucket/code.zip"];

pub(super) fn measure(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let cdk = Cdk::find(bench);
    let mut ours_command = Command::new(bench.workspace_program("bluegreen"));
    ours_command.arg("synth").current_dir(bench.project());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first run of each reads its files from the disk.
    bench.stopwatch.run(&ours_command)?;
    let theirs_command = match &cdk {
        Ok(cdk) => {
            let command = cdk.command(&[&["synth"], &CDK_WHOLE[..]].concat());
            bench.stopwatch.run(&command)?;
            Some(command)
        }
        Err(why) => {
            findings.skip("AWS CDK's synth", why);
            None
        }
    };
    for _ in 0..bench.options.rounds {
        for _ in 0..OURS_EACH {
            ours.push(bench.stopwatch.run(&ours_command)?);
        }
        if let Some(command) = &theirs_command {
            theirs.push(bench.stopwatch.run(command)?);
        }
    }
    let of = |runs: &[crate::process::Took], pick: fn(&crate::process::Took) -> f64| Figures::of(runs.iter().map(pick));
    let against = |row: Row, pick: fn(&crate::process::Took) -> f64| {
        if theirs.is_empty() { row } else { row.against("AWS CDK", of(&theirs, pick)) }
    };
    let time = Row::new("`synth`, whole process", Unit::Seconds, of(&ours, |took| took.seconds));
    let time = against(time, |took| took.seconds);
    findings.row(time.target(Target::AtMost(0.010)).target(Target::TimesBetter(500.0)));
    let memory = Row::new("`synth`, memory", Unit::Bytes, of(&ours, |took| took.memory));
    let memory = against(memory, |took| took.memory);
    findings.row(memory.target(Target::AtMost(15.0 * super::MIB)));
    Ok(())
}
