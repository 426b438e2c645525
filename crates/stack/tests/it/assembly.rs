//! The changes of a deployment to an existing stack: a release changes only its environment, a deployment of the stack
//! changes no environment.

use crate::profiles::{profile, profiles};
use cfn_kit::assertions::Checked;
use cfn_kit::resources::schema::{Replaces, replaces};
use model::color::Color;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use stack::assembly::{AssemblyError, assemble};
use stack::render::{RenderError, recorded_release, render_release, render_stack, waiting};
use stack::settings::App;
use stack::{Both, Kept, Serves, Settings, synthesize, synthesize_over};

fn json_of(settings: &Settings) -> Value {
    serde_json::to_value(synthesize(settings).unwrap()).unwrap()
}

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The text of an environment's resources, with their metadata.
fn half(template: &Value, color: Color) -> String {
    let own = |id: &String| Serves::of(template, id) == Some(Serves::Environment(color));
    let resources = template["Resources"].as_object().unwrap().iter().filter(|(id, _)| own(id));
    let recorded = template["Metadata"]["bluegreen"].get(color.as_str());
    format!("{:#?} {recorded:#?}", resources.collect::<Vec<_>>())
}

/// The text of the shared part.
fn rest(template: &Value) -> String {
    let mut rest = template.clone();
    let in_a_half = |id: &String| matches!(Serves::of(template, id), Some(Serves::Environment(_)));
    rest["Resources"].as_object_mut().unwrap().retain(|id, _| !in_a_half(id));
    if let Some(recorded) = rest["Metadata"].get_mut("bluegreen").and_then(Value::as_object_mut) {
        recorded.retain(|key, _| key == "stack");
    }
    if rest["Metadata"].get("bluegreen").is_some_and(|it| it.as_object().unwrap().is_empty()) {
        rest["Metadata"].as_object_mut().unwrap().remove("bluegreen");
    }
    format!("{rest:#}")
}

fn resolves(template: &Value) {
    Checked::from(template.clone()).refers_only_to_what_exists().unwrap();
}

/// Resources of an environment that the change would replace, except the task definition, which is always replaced.
fn replaced(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (id, resource) in before["Resources"].as_object().unwrap() {
        let kind = resource["Type"].as_str().unwrap();
        let Some(new) = after["Resources"].get(id).filter(|_| kind != "AWS::ECS::TaskDefinition") else { continue };
        assert_eq!(new["Type"], kind, "{id}");
        let names = [resource, new].map(|it| it["Properties"].as_object().into_iter().flatten());
        for name in names.into_iter().flatten().map(|(name, _)| name) {
            let changed = resource["Properties"][name] != new["Properties"][name];
            if changed && replaces(kind, name).unwrap() == Replaces::Always {
                found.push(format!("{id}.{name}"));
            }
        }
    }
    found
}

/// One of the texts, or an empty one.
fn maybe(texts: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    select([&[""], texts].concat())
}

/// Keys of `[app]` that a release is made from; the rest of the release; the rest of the stack.
fn settings() -> impl Strategy<Value = Settings> {
    let app = (
        maybe(&["port = 9090\n", "port = 80\n"]),
        maybe(&["size = '512/1024'\n", "count = 3\n", "user = '1000:1000'\n", "image = 'shop:{version}'\n"]),
        maybe(&[
            "architecture = 'arm64'\n",
            "read_only = false\ncapabilities = ['CHOWN']\n",
            "deregistration_delay = 5\n",
        ]),
        maybe(&["version_header = 'x-v'\n"]),
    );
    let release = (
        maybe(&["[environment]\nA = '1'\n", "[environment]\nA = '2'\nB = '${AWS::Region}'\n"]),
        maybe(&[
            "[secrets]\nS = 'arn:aws:ssm:eu-west-1:123456789012:parameter/a'\n",
            "[secrets]\nS = 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3'\n",
        ]),
        maybe(&["[health_check]\npath = '/up'\n", "[health_check]\ninterval = 10\ngrace_period = 60\n"]),
        maybe(&["[tags]\nteam = 'a'\n", "[tags]\nteam = 'b'\ncost = '1'\n"]),
    );
    let scales = maybe(&[
        "[autoscaling]\nmax = 9\n",
        "[autoscaling]\nmax = 20\ncpu = 40\n",
        "[cutover]\nidle_sleeps_after = 60\n",
        "[cutover]\nprobe_path = '/up'\n",
    ]);
    let stack = (
        maybe(&["[network]\ntasks = 'nat'\n", "[network]\ntasks = 'endpoints'\n", "[network]\nflow_logs = true\n"]),
        maybe(&[
            "[https]\ncertificate = 'arn:aws:acm:eu-central-1:123456789012:certificate/0a1b2c3d'\ndomain = 'a.example.com'\n",
            "[prod]\nport = 8000\n",
        ]),
        maybe(&["[security]\nkms = true\n", "[security]\nwaf = true\n", "[ci]\ngithub = 'example/shop'\n"]),
        maybe(&["[logs]\naccess = true\n", "[logs]\nretention_days = 7\n", "[alarms]\nenabled = true\n"]),
    );
    (app, release, scales, stack).prop_map(|(app, release, scales, stack)| {
        let text = format!(
            "[app]\n{}{}{}{}{}{}{}{}{scales}{}{}{}{}",
            app.0, app.1, app.2, app.3, release.0, release.1, release.2, release.3, stack.0, stack.1, stack.2, stack.3
        );
        Settings::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    })
}

/// The settings of `stack` with everything of `release` that only a release is made from.
fn with_release(stack: &Settings, release: &Settings) -> Settings {
    let (old, new) = (stack.clone(), release.clone());
    Settings {
        app: App {
            first_version: old.app.first_version,
            version_header: old.app.version_header,
            architecture: old.app.architecture,
            ..new.app
        },
        environment: new.environment,
        secrets: new.secrets,
        health_check: new.health_check,
        autoscaling: new.autoscaling,
        ..old
    }
}

fn color() -> impl Strategy<Value = Color> {
    select(Color::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_release_changes_its_own_half_and_nothing_else(one in settings(), two in settings(), color in color()) {
        let mut deployed = json_of(&one);
        let released = match render_release(&two, &deployed, color) {
            Err(RenderError::DeployFirst { what }) => {
                prop_assert!(two.app.port != one.app.port || two.secrets != one.secrets, "{what:?}");
                deployed = render_stack(&with_release(&one, &two), &deployed, &[]).unwrap();
                render_release(&two, &deployed, color)
            }
            other => other,
        };
        let released = match released {
            Err(RenderError::Settings(_)) if one.idle_sleeps() && two.autoscaling.max.is_some() => return Ok(()),
            other => other.unwrap(),
        };
        prop_assert_eq!(half(&released, color.other()), half(&deployed, color.other()));
        prop_assert_eq!(rest(&released), rest(&deployed));
        prop_assert_eq!(recorded_release(&released, color), Some(two.release_part()));
        prop_assert_eq!(replaced(&deployed, &released), Vec::<String>::new());
        resolves(&released);
        prop_assert_eq!(&render_release(&two, &released, color).unwrap(), &released);
        prop_assert_eq!(waiting(&two, &released, color).release, Some(Vec::new()));
    }

    #[test]
    fn a_deployment_of_the_stack_changes_no_half(one in settings(), two in settings(), three in settings()) {
        // Environments of two releases, then a stack from a third file.
        let deployed = assemble(&json_of(&one), &Both { blue: &json_of(&one), green: &json_of(&two) }).unwrap();
        resolves(&deployed);
        let stack = render_stack(&three, &deployed, &[]).unwrap();
        for color in Color::ALL {
            prop_assert_eq!(half(&stack, color), half(&deployed, color));
        }
        resolves(&stack);
        prop_assert_eq!(&stack["Metadata"]["bluegreen"]["stack"], &three.stack_part());
        prop_assert_eq!(waiting(&three, &stack, Color::Blue).stack, Some(Vec::new()));
        let again = render_stack(&three, &stack, &[]).unwrap();
        prop_assert_eq!(again.to_string(), stack.to_string());
    }

    #[test]
    fn the_stack_does_not_depend_on_what_only_a_release_is_made_from(one in settings(), two in settings()) {
        let other = with_release(&one, &two);
        let both = assemble(&json_of(&one), &Both { blue: &json_of(&one), green: &json_of(&other) }).unwrap();
        // Only these depend on both environments: ports, and the services that store secrets.
        let kept = Kept::of(&both);
        let over = |settings: &Settings| serde_json::to_value(synthesize_over(settings, &kept).unwrap()).unwrap();
        prop_assert_eq!(rest(&over(&one)), rest(&over(&other)));
        prop_assert_eq!(one.stack_part(), other.stack_part());
    }
}

#[test]
fn every_resource_of_every_profile_says_whom_it_serves() {
    for (name, settings) in profiles() {
        let template = json_of(&settings);
        for (id, resource) in template["Resources"].as_object().unwrap() {
            let mark = resource["Metadata"]["bluegreen"]["serves"].as_str();
            let serves = Serves::of(&template, id);
            assert_eq!(mark, serves.map(Serves::as_str), "{name}: {id}");
            assert!(mark.is_some(), "{name}: {id} does not say whom it serves: add it in a scope (stack.serving(...))");
        }
    }
}

#[test]
fn live_traffic_depends_on_what_is_marked_so() {
    let template = json_of(&profile("strict"));
    for (serves, ids) in [
        (
            Serves::Everyone,
            "Vpc PrivateSubnetA NatRouteA NatGatewayA TaskSecurityGroup LoadBalancer ProdListener DevListener \
             RedirectListener DevBlueRule Firewall FirewallOfLoadBalancer Cluster Registry Key",
        ),
        (
            Serves::Environment(Color::Blue),
            "BlueExecutionRole BlueTaskRole BlueLogGroup BlueTargetGroup BlueTaskDefinition BlueService BlueCapacity \
             BlueScaling",
        ),
        (
            Serves::Nobody,
            "Bucket BucketPolicy Alarms AlarmsPolicy BlueErrorsAlarm Dashboard CutoverFunction CutoverRole \
             CutoverLogGroup CutoverSecurityGroup FlowLog FlowLogRole FirewallLog PipelineDeployRole PipelineCutoverRole",
        ),
    ] {
        for id in ids.split_whitespace() {
            assert_eq!(Serves::of(&template, id), Some(serves), "{id}");
        }
    }
}

#[test]
fn a_release_to_a_stack_of_an_older_release_replaces_no_target_group_and_touches_nothing_else() {
    for (name, settings) in [("f79cde2-default", Settings::default()), ("f79cde2-strict", profile("strict"))] {
        let older = fixture(name);
        assert!(
            matches!(render_release(&settings, &older, Color::Blue), Err(RenderError::DeployFirst { .. })),
            "{name}"
        );
        let old = render_stack(&settings, &older, &[]).unwrap();
        for color in Color::ALL {
            let released = render_release(&settings, &old, color).unwrap();
            resolves(&released);
            assert_eq!(rest(&released), rest(&old), "{name}");
            assert_eq!(half(&released, color.other()), half(&old, color.other()), "{name}");
            assert_eq!(replaced(&old, &released), Vec::<String>::new(), "{name}");
            let group = |template: &Value| {
                template["Resources"][format!("{}TargetGroup", stack::title(color))]["Properties"]["Port"].clone()
            };
            assert_eq!(group(&released), group(&old));
            assert_eq!(render_release(&settings, &released, color).unwrap(), released, "{name}");
        }
    }
}

#[test]
fn the_shared_roles_of_an_older_release_stay_for_as_long_as_a_half_needs_them() {
    for (name, settings) in [("f79cde2-default", Settings::default()), ("f79cde2-strict", profile("strict"))] {
        let has = |template: &Value| ["ExecutionRole", "TaskRole"].map(|id| template["Resources"].get(id).is_some());
        let old = fixture(name);
        assert_eq!(waiting(&settings, &old, Color::Blue).stack, None);
        let stack = render_stack(&settings, &old, &[]).unwrap();
        for (id, resource) in old["Resources"].as_object().unwrap() {
            if matches!(Serves::of(&old, id), Some(Serves::Environment(_))) {
                assert_eq!(stack["Resources"][id], *resource, "{name}: {id}");
            }
        }
        resolves(&stack);
        // The zones are the same, now as parameters.
        let elsewhere = |id: &String| !id.ends_with(".AvailabilityZone");
        let replaced: Vec<String> = replaced(&old, &stack).into_iter().filter(elsewhere).collect();
        assert_eq!(replaced, Vec::<String>::new(), "{name}");
        // A CI pipeline may not create roles: if the next release has one, the role must already exist.
        let has_pipeline = settings.ci.github.is_some();
        assert_eq!(stack["Resources"].get("BlueExecutionRole").is_some(), has_pipeline, "{name}");
        assert_eq!(has(&stack), [true, true], "{name}");
        assert_eq!(stack["Resources"]["ExecutionRole"], old["Resources"]["ExecutionRole"]);
        let blue = render_release(&settings, &stack, Color::Blue).unwrap();
        assert_eq!(has(&render_stack(&settings, &blue, &[]).unwrap()), [true, true], "{name}");
        let both = render_release(&settings, &blue, Color::Green).unwrap();
        let last = render_stack(&settings, &both, &[]).unwrap();
        assert_eq!(has(&last), [false, false], "{name}");
        resolves(&last);
        assert_eq!(rest(&last), rest(&json_of(&settings)), "{name}");
    }
}

#[test]
fn a_new_port_is_opened_by_the_stack_first_and_closed_when_no_half_listens_on_it() {
    let ports = |template: &Value| -> Vec<u64> {
        let rules = template["Resources"]["TaskSecurityGroup"]["Properties"]["SecurityGroupIngress"].as_array();
        rules.unwrap().iter().map(|rule| rule["FromPort"].as_u64().unwrap()).collect()
    };
    let deployed = json_of(&Settings::default());
    let settings = Settings::parse("[app]\nport = 9090\n").unwrap();
    let error = render_release(&settings, &deployed, Color::Blue).unwrap_err();
    assert!(error.to_string().contains("port 9090") && error.to_string().contains("bluegreen deploy"), "{error}");
    let opened = render_stack(&settings, &deployed, &[]).unwrap();
    assert_eq!(ports(&opened), [8080, 9090]);
    let blue = render_release(&settings, &opened, Color::Blue).unwrap();
    assert_eq!(ports(&render_stack(&settings, &blue, &[]).unwrap()), [8080, 9090]);
    let green = render_release(&settings, &blue, Color::Green).unwrap();
    assert_eq!(ports(&render_stack(&settings, &green, &[]).unwrap()), [9090]);
}

#[test]
fn private_tasks_that_become_public_keep_their_network_until_their_next_release() {
    let private = profile("private-nat");
    let deployed = json_of(&private);
    let public = Settings::default();
    let stack = render_stack(&public, &deployed, &[]).unwrap();
    let has = |template: &Value, id: &str| template["Resources"].get(id).is_some();
    for id in ["PrivateSubnetA", "PrivateSubnetARoutes", "PrivateRouteTableA", "NatRouteA", "NatGatewayA"] {
        assert!(has(&stack, id), "{id}");
    }
    let blue = render_release(&public, &stack, Color::Blue).unwrap();
    let both = render_release(&public, &blue, Color::Green).unwrap();
    assert!(!has(&render_stack(&public, &both, &[]).unwrap(), "NatGatewayA"));
}

#[test]
fn a_release_that_needs_an_endpoint_that_is_not_there_asks_for_the_stack_first() {
    let text = "[network]\ntasks = 'endpoints'\n";
    let deployed = json_of(&Settings::parse(text).unwrap());
    let secret = "[secrets]\nS = 'arn:aws:ssm:eu-west-1:123456789012:parameter/a'\n";
    let settings = Settings::parse(&format!("{text}{secret}")).unwrap();
    match render_release(&settings, &deployed, Color::Green).unwrap_err() {
        RenderError::DeployFirst { what } => assert_eq!(what, ["ParametersEndpoint"]),
        other => panic!("{other}"),
    }
    let deployed = render_stack(&settings, &deployed, &[]).unwrap();
    render_release(&settings, &deployed, Color::Green).unwrap();
}

#[test]
fn a_deployed_stack_does_not_move_to_another_vpc() {
    let error = render_stack(&profile("existing-vpc"), &json_of(&Settings::default()), &[]).unwrap_err();
    assert!(matches!(error, RenderError::Moved), "{error}");
}

#[test]
fn the_beginning_of_a_stack_has_no_halves_to_keep() {
    let settings = Settings::default();
    let begun = serde_json::to_value(stack::beginning(&synthesize(&settings).unwrap())).unwrap();
    for error in [render_stack(&settings, &begun, &[]), render_release(&settings, &begun, Color::Blue)] {
        assert!(matches!(error, Err(RenderError::Assembly(AssemblyError::NoHalf(_)))), "{error:?}");
    }
}

#[test]
fn what_waits_is_reported_by_its_key_and_never_by_its_value() {
    let deployed = json_of(&Settings::parse("[environment]\nA = '1'\nB = '1'\n").unwrap());
    let settings = Settings::parse(
        "name = 'x'\n[app]\nport = 9090\n[environment]\nA = '2'\nC = '1'\n[alarms]\nenabled = true\n[tags]\nt = '1'\n",
    );
    let waiting = waiting(&settings.unwrap(), &deployed, Color::Blue);
    assert_eq!(waiting.release.unwrap(), ["app.port", "environment.A", "environment.B", "environment.C", "tags.t"]);
    assert_eq!(waiting.stack.unwrap(), ["alarms.enabled", "name", "tags.t"]);
}

#[test]
fn the_template_says_with_which_settings_its_parts_were_made() {
    let text = "[app]\nport = 9090\n[alarms]\nenabled = true\n[environment]\nA = 'in the task definition'\n";
    let settings = Settings::parse(text).unwrap();
    let release = json!({ "app": { "port": 9090 } });
    assert_eq!(
        json_of(&settings)["Metadata"]["bluegreen"],
        json!({ "format": 2, "stack": { "alarms": { "enabled": true } }, "blue": release, "green": release })
    );
}
