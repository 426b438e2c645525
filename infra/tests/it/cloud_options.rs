//! The options that the local cloud supports, together on one stack: create, cut over, and remove all options again.

use crate::support::{Cloud, User, project};

/// The options of this test; the validators check the others (README, Configuration).
const OPTIONS: &str = "[network]\ntasks = \"endpoints\"\n[alarms]\nenabled = true\nemails = [\"ops@example.com\"]\n\
                       [logs]\naccess = true\nretention_days = 7\n[security]\nkms = true\n[tags]\nteam = \"web\"\n";

#[test]
fn a_stack_with_every_option_that_the_local_cloud_knows_is_made_and_cut_over() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    let settings = tempfile::NamedTempFile::new().unwrap();
    let own = std::fs::read_to_string(faulty.join("bluegreen.toml")).unwrap();
    std::fs::write(settings.path(), format!("{own}\n{OPTIONS}")).unwrap();
    let config = settings.path().to_str().unwrap();
    let run = |arguments: &[&str]| cloud.run_in(&faulty, &[&["--config", config], arguments].concat());

    run(&["deploy"]).expect(0);
    run(&["deploy", "--expect-no-changes"]).expect(0);
    let user = User::of(cloud.address(0), "/");
    let record = run(&["--json", "cutover"]).expect(0).json();
    assert_eq!(record["outcome"], "done", "{record:#}");
    let seen = user.leave();
    assert!(seen.failures.is_empty() && seen.requests > 0, "{seen:?}");
    run(&["destroy", "--confirm", "bluegreen"]).expect(0);
}
