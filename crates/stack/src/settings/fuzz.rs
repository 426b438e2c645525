//! Fuzz target: the settings file, which may come from a pull request of anybody.

use fuzz_input::Input;

use super::Settings;

const FILES: [&str; 4] = [
    "name = \"shop\"\nregion = \"eu-central-1\"\n[app]\nimage = \"registry.example/shop:{version}\"\nport = 80\ncount = 2\n\
     size = \"256/512\"\n",
    "[environment]\nLOG = \"info\"\n[secrets]\nDB = \"arn:aws:secretsmanager:eu-central-1:111122223333:secret:db-AbCdEf\"\n\
     [tags]\nteam = \"shop\"\n",
    "[health_check]\npath = \"/up\"\ninterval = 10\ntimeout = 5\nsuccess_codes = \"200-299\"\n[cutover]\nprobe_path = \"/\"\n\
     success_codes = \"200-299,304\"\nsettle_limit = 60\n[autoscaling]\nmax = 9\n",
    "[https]\ncertificate = \"arn:aws:acm:eu-central-1:111122223333:certificate/1\"\ndomain = \"shop.example\"\n[dev]\n\
     cidrs = [\"10.0.0.0/8\"]\n[network]\ntasks = \"nat\"\n[ci]\ngithub = \"owner/name\"\n[logs]\nretention_days = 30\n",
];

#[test]
fn a_settings_file_makes_a_template_or_an_error_in_a_few_lines() {
    let files = FILES.map(str::as_bytes);
    bolero::check!().with_type::<Input>().for_each(|input| {
        let bytes = input.of(&files);
        let Ok(text) = std::str::from_utf8(&bytes) else { return };
        match Settings::parse(text) {
            Ok(settings) => drop(crate::synthesize(&settings)),
            Err(error) => {
                let shown = error.to_string();
                assert!(!shown.is_empty() && shown.lines().count() < 20, "{shown}");
            }
        }
        // Name and region are found whatever the rest is.
        drop(Settings::identity(text));
    });
}

#[test]
fn every_example_is_a_settings_file() {
    for file in FILES {
        Settings::parse(file).unwrap();
    }
}
