//! Builds of the project itself: after touching one file of `infra`, and, if this part is selected by name, a clean
//! `make test` of the committed code in a separate folder.

use std::fs::File;
use std::process::Command;
use std::time::SystemTime;

use infra::error::{Doing as _, Result};

use crate::bench::{Bench, Findings};
use crate::figures::Figures;
use crate::process::output;
use crate::row::{Row, Target};
use crate::unit::Unit;

const MOST_ROUNDS: usize = 2;

pub(super) fn measure(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--workspace", "--bins"]).current_dir(bench.project());
    bench.say("building outdated artifacts ...");
    output(&mut build)?;
    let file = bench.project().join("infra/src/lib.rs");
    let touching = || format!("touch {}", file.display());
    let handle = File::options().write(true).open(&file).doing(touching)?;
    let before = handle.metadata().and_then(|it| it.modified()).doing(touching)?;
    let mut seconds = Vec::new();
    for _ in 0..bench.options.rounds.min(MOST_ROUNDS) {
        handle.set_modified(SystemTime::now()).doing(touching)?;
        seconds.push(bench.stopwatch.run(&build)?.seconds);
    }
    // The content has not changed, so other profiles need no rebuild.
    handle.set_modified(before).doing(touching)?;
    let row = Row::new("build after touching one file of `infra`", Unit::Seconds, Figures::of(seconds));
    findings.row(row.target(Target::AtMost(20.0)));
    if !bench.named {
        findings.skip("clean `make test`", "it takes up to half an hour; make bench ONLY=build measures it");
        return Ok(());
    }
    let folder = tempfile::tempdir_in(bench.folder()).doing(|| "create a folder for a clean test".to_owned())?;
    let clone = folder.path().join("project");
    output(Command::new("git").args(["clone", "--quiet"]).arg(bench.project()).arg(&clone))?;
    bench.say("make test in a clean clone ...");
    let mut test = Command::new("make");
    test.arg("test").current_dir(&clone);
    // These variables of make and Cargo would point them to other folders.
    for name in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CARGO_TARGET_DIR", "ONLY"] {
        test.env_remove(name);
    }
    let seconds = Figures::once(bench.stopwatch.run(&test)?.seconds);
    findings.row(Row::new("clean `make test`", Unit::Seconds, seconds).target(Target::AtMost(900.0)));
    Ok(())
}
