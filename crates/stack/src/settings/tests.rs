//! What `bluegreen.toml` accepts, and how errors in it are shown.

use super::*;

fn refused(text: &str) -> String {
    let error = Settings::parse(text).unwrap_err();
    assert!(matches!(error, SettingsError::Invalid { path: None, .. }), "{error:?}");
    error.to_string()
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(Settings::parse("").unwrap(), Settings::default());
}

#[test]
fn ports_can_be_chosen() {
    let settings = Settings::parse("[prod]\nport = 8000\n[dev]\nport = 8001\n").unwrap();
    assert_eq!((settings.prod_port().get(), settings.dev_port().get()), (8000, 8001));
}

#[test]
fn a_certificate_moves_the_listeners_to_the_ports_of_https() {
    let settings =
        Settings::parse("[https]\ncertificate = 'arn:aws:acm:eu-central-1:123456789012:certificate/0a1b2c3d'\ndomain = 'www.example.com'\n")
            .unwrap();
    assert_eq!((settings.prod_port().get(), settings.dev_port().get()), (443, 8443));
}

#[test]
fn an_unknown_key_is_shown_with_what_there_is_instead() {
    let shown = refused("[prod]\nport = 8000\n\n[dev]\nprot = 1\n");
    assert!(shown.contains("line 5, column 1"), "{shown}");
    assert!(shown.contains("prot = 1\n  | ^^^^"), "{shown}");
    assert!(shown.contains("expected `port` or `cidrs`"), "{shown}");
}

#[test]
fn a_value_that_cannot_be_is_pointed_at_and_says_what_can() {
    for (text, caret, words) in [
        ("[app]\nport = 0\n", "port = 0\n  |        ^", "0 is not from 1 to 65535"),
        ("[app]\nsize = '256/4096'\n", "^^^^^^^^^^", "256/512, 256/1024, 256/2048"),
        ("[logs]\nretention_days = 31\n", "^^", "1, 3, 5, 7, 14, 30, 60"),
        ("[secrets]\nDB = 'hunter2'\n", "^^^^^^^^^", "must not be stored in this file"),
        ("[network]\ntasks = 'secret'\n", "^^^^^^^^", "`public`, `nat`, `endpoints`"),
        ("[dev]\ncidrs = ['10.0.0.1/8']\n", "^^^^^^^^^^^^", "CIDR notation"),
    ] {
        let shown = refused(text);
        assert!(shown.contains("line 2"), "{shown}");
        assert!(shown.contains(caret), "{shown}");
        assert!(shown.contains(words), "{shown}");
    }
}

#[test]
fn what_does_not_go_together_is_pointed_at() {
    for (text, caret) in [
        ("[prod]\nport = 81\n", "port = 81\n  |        ^^\n"),
        ("[health_check]\ntimeout = 5\n", "timeout = 5\n  |           ^\n"),
        ("[app]\ncount = 3\n[autoscaling]\nmax = 2\n", "max = 2\n  |       ^\n"),
        ("[autoscaling]\nmax = 9\n[cutover]\nidle_sleeps_after = 60\n", "after = 60\n  |                     ^^\n"),
        // One character, and two columns of a terminal.
        ("environment = { A = '名', PORT = '1' }\n", "PORT = '1' }\n  |                                  ^^^\n"),
        ("[environment]\nPORT = '1'\n", "PORT = '1'\n  |        ^^^\n"),
        ("[environment]\nA = '1'\n[secrets]\nA = 'arn:aws:ssm:eu-west-1:123456789012:parameter/a'\n", "A = 'arn"),
        ("[network]\nvpc = 'vpc-01234567'\n", "vpc = 'vpc-01234567'\n  |       ^^^^^^^^^^^^^^"),
        ("[dev]\ncidrs = ['203.0.113.0/24']\n", "cidrs = ['203.0.113.0/24']\n  |         ^^^^^^^^^^^^^^^^^^"),
    ] {
        let shown = refused(text);
        assert!(shown.contains(caret), "{shown}");
    }
}

#[test]
fn a_broken_file_is_shown_at_the_place_where_it_breaks() {
    let shown = refused("[app\nport = 1\n");
    assert!(shown.contains("line 1"), "{shown}");
}

#[test]
fn every_table_and_key_is_documented() {
    let text = Settings::documentation();
    let settings = serde_json::to_value(Settings::default()).unwrap();
    for (name, value) in settings.as_object().unwrap() {
        match value.as_object() {
            Some(keys) if !keys.is_empty() => {
                assert!(text.contains(&format!("`[{name}]`")), "{name}");
                for key in keys.keys() {
                    assert!(text.contains(&format!("| `{name}.{key}` |")), "{name}.{key}");
                }
            }
            _ => assert!(text.contains(&format!("| `{name}")), "{name}"),
        }
    }
}

#[test]
fn name_and_region_are_read_however_broken_the_rest_is() {
    let identity = |text: &str| {
        let settings = Settings::identity(text);
        (settings.name.map(|it| it.to_string()), settings.region.map(|it| it.to_string()))
    };
    let both = (Some("shop".to_owned()), Some("eu-central-1".to_owned()));
    let head = "name = \"shop\"\nregion = \"eu-central-1\"\n";
    for rest in
        ["", "[app]\nimage = \"a b\"\n", "[app\nport = 1\n", "x = = 3\n", "colour = \"x\"\n[app]\nport = \"eighty\"\n"]
    {
        assert_eq!(identity(&format!("{head}{rest}")), both, "{rest}");
    }
    assert_eq!(identity("name = \"9 lives\"\nregion = 3\n"), (None, None));
    assert_eq!(identity(""), (None, None));
}
