//! Every option of `bluegreen.toml`: what it adds, and that it violates no rule of the stack.

use std::collections::BTreeSet;

use crate::profiles::{profile, profiles};
use cfn_kit::Template;
use cfn_kit::assertions::Checked;
use cfn_kit::limits::{BUCKET_LIMIT, CALL_LIMIT};
use serde_json::json;
use stack::settings::SettingsError;
use stack::{Settings, beginning, synthesize};

/// Actions that accept no narrower resource than `*`.
const UNSCOPED: [&str; 22] = [
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingPolicies",
    "application-autoscaling:DescribeScheduledActions",
    "cloudwatch:GetMetricData",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ecr:GetAuthorizationToken",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    // Only by a condition: its resource is an EC2 instance.
    "ecs:ListTasks",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeRules",
    "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroupAttributes",
    "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth",
    "events:PutEvents",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
];

fn of(settings: &Settings) -> Checked {
    Checked::new(&synthesize(settings).unwrap())
}

#[test]
fn every_profile_is_taken_by_cloudformation_its_beginning_in_a_call() {
    for (name, settings) in profiles() {
        let size = |template: Template| template.to_json().unwrap().len();
        let whole = synthesize(&settings).unwrap();
        assert!(size(beginning(&whole)) <= CALL_LIMIT, "{name}");
        assert!(size(whole) <= BUCKET_LIMIT, "{name}");
    }
    assert!(synthesize(&profile("strict")).unwrap().to_json().unwrap().len() > CALL_LIMIT, "no profile is large");
}

#[test]
fn the_beginning_of_a_stack_is_its_bucket_with_what_that_needs_and_nothing_else_than_in_the_whole() {
    for (name, settings) in profiles() {
        let whole = synthesize(&settings).unwrap();
        let (begun, whole) = (Checked::new(&beginning(&whole)), Checked::new(&whole));
        begun.refers_only_to_what_exists().unwrap_or_else(|finding| unreachable!("{name}: {finding}"));
        for (id, resource) in begun.resources() {
            assert_eq!(*resource, whole.json()["Resources"][id], "{name}: {id}");
        }
        for section in ["Parameters", "Conditions"] {
            assert_eq!(begun.json()[section], whole.json()[section], "{name}");
        }
        assert_eq!(begun.json()["Outputs"], json!({ "BucketName": whole.json()["Outputs"]["BucketName"] }), "{name}");
        let ids: Vec<&str> = begun.resources().map(|(id, _)| id).collect();
        let expected: &[&str] = match name.as_str() {
            "access-logs" => &["AccessLogBucket", "AccessLogPolicy", "Bucket", "BucketPolicy"],
            "kms" | "strict" => &["Bucket", "BucketPolicy", "Key"],
            _ => &["Bucket", "BucketPolicy"],
        };
        assert_eq!(ids, expected, "{name}");
    }
}

#[test]
fn no_image_expires_and_every_image_goes_with_the_stack() {
    // A rule by count or age could expire the live image.
    for (name, settings) in profiles() {
        let template = of(&settings);
        let registry = template.properties("Registry");
        assert_eq!((registry.get("LifecyclePolicy"), &registry["EmptyOnDelete"]), (None, &json!(true)), "{name}");
    }
}

#[test]
fn a_template_in_the_bucket_expires_and_nothing_else_there_does() {
    let template = of(&Settings::default());
    let rules = template.properties("Bucket")["LifecycleConfiguration"]["Rules"].as_array().unwrap();
    let expiring: Vec<_> = rules.iter().filter(|rule| rule.get("ExpirationInDays").is_some()).collect();
    assert_eq!(expiring.len(), 1);
    assert_eq!((&expiring[0]["Prefix"], &expiring[0]["ExpirationInDays"]), (&json!("templates/"), &json!(1)));
}

#[test]
fn every_profile_refers_only_to_what_exists() {
    for (name, settings) in profiles() {
        of(&settings).refers_only_to_what_exists().unwrap_or_else(|finding| unreachable!("{name}: {finding}"));
    }
}

#[test]
fn no_update_asks_ec2_for_zones_and_subnets_are_in_those_that_were_given() {
    for (name, settings) in profiles() {
        let template = of(&settings);
        assert!(!template.json().to_string().contains("Fn::GetAZs"), "{name}");
        let own = settings.zones_are_chosen();
        assert_eq!(own, settings.network.vpc.is_none(), "{name}");
        for (parameter, letter) in stack::parameter::ZONES.into_iter().zip(["a", "b"]) {
            let declared = template.json()["Parameters"].get(parameter);
            assert_eq!(declared.map(|it| &it["Default"]), own.then_some(&json!("")), "{name}: {parameter}");
            let zone = json!({ "Fn::If": ["ZonesGiven", { "Ref": parameter }, { "Fn::Sub": format!("${{AWS::Region}}{letter}") }] });
            let ends = |id: &&str| id.ends_with(&letter.to_uppercase());
            for subnet in template.ids_of("AWS::EC2::Subnet").into_iter().filter(ends) {
                assert_eq!(template.properties(subnet)["AvailabilityZone"], zone, "{name}: {subnet}");
            }
        }
    }
}

#[test]
fn zones_are_two_different_ones_of_the_stack_s_own_vpc() {
    let vpc = "vpc = \"vpc-0123456789abcdef0\"\npublic_subnets = [\"subnet-01234567\", \"subnet-89abcdef\"]";
    for wrong in [
        "zones = [\"eu-central-1a\"]".to_owned(),
        "zones = [\"eu-central-1a\", \"eu-central-1a\"]".to_owned(),
        "zones = [\"euc1-az1\", \"euc1-az2\"]".to_owned(),
        format!("zones = [\"eu-central-1a\", \"eu-central-1b\"]\n{vpc}"),
    ] {
        let error = Settings::parse(&format!("[network]\n{wrong}")).unwrap_err();
        assert!(matches!(error, SettingsError::Invalid { .. }), "{wrong}: {error:?}");
    }
    assert!(Settings::parse("[network]\nzones = [\"eu-central-1a\", \"eu-central-1c\"]").is_ok());
}

#[test]
fn no_profile_allows_a_wildcard() {
    for (name, settings) in profiles() {
        let result = of(&settings).allows_no_wildcards(&UNSCOPED);
        result.unwrap_or_else(|finding| unreachable!("{name}: {finding}"));
    }
}

#[test]
fn no_statement_of_any_profile_can_lose_its_resources() {
    // IAM rejects a statement whose resources all depend on conditions that do not hold.
    for (name, settings) in profiles() {
        for (id, statement) in of(&settings).statements() {
            assert!(!statement["Resource"].to_string().contains("Fn::If"), "{name}: {id}: {statement}");
        }
    }
}

#[test]
fn every_role_trusts_only_a_service_or_exact_subjects_of_a_pipeline() {
    for (name, settings) in profiles() {
        let template = of(&settings);
        for id in template.ids_of("AWS::IAM::Role") {
            let trust = &template.properties(id)["AssumeRolePolicyDocument"]["Statement"];
            for statement in trust.as_array().unwrap() {
                if id.starts_with("Pipeline") {
                    // Compared exactly: a pattern could admit others.
                    let condition = statement["Condition"].as_object().unwrap();
                    assert_eq!(condition.keys().collect::<Vec<_>>(), ["StringEquals"], "{name}");
                    let claims: Vec<&str> = condition["StringEquals"]
                        .as_object()
                        .unwrap()
                        .keys()
                        .filter_map(|key| key.rsplit(':').next())
                        .collect();
                    assert_eq!(claims, ["aud", "sub"], "{name}");
                    continue;
                }
                assert!(statement["Principal"]["Service"].is_string(), "{name}: {id}");
            }
            assert!(template.properties(id).get("ManagedPolicyArns").is_none(), "{name}: {id}");
        }
    }
}

#[test]
fn no_option_removes_what_the_stack_stands_on() {
    for (name, settings) in profiles() {
        let template = of(&settings);
        for id in ["LoadBalancer", "ProdListener", "DevListener", "BlueTargetGroup", "GreenTargetGroup"] {
            assert!(template.properties(id).is_object(), "{name}: {id}");
        }
        for color in ["Blue", "Green"] {
            let rule = template.properties(&format!("Dev{color}Rule"));
            assert_eq!(rule["Actions"][0]["TargetGroupArn"]["Ref"], format!("{color}TargetGroup"), "{name}");
        }
    }
}

#[test]
fn with_a_certificate_both_listeners_speak_tls_1_3_and_port_80_redirects() {
    let template = of(&profile("https"));
    for (id, port) in [("ProdListener", 443), ("DevListener", 8443)] {
        let listener = template.properties(id);
        assert_eq!((listener["Protocol"].as_str(), listener["Port"].as_u64()), (Some("HTTPS"), Some(port)));
        assert_eq!(listener["SslPolicy"], "ELBSecurityPolicy-TLS13-1-2-Res-2021-06");
        assert!(listener["Certificates"][0]["CertificateArn"].as_str().unwrap().starts_with("arn:aws:acm:"));
    }
    let redirect = &template.properties("RedirectListener")["DefaultActions"][0];
    assert_eq!(redirect["RedirectConfig"], json!({ "Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301" }));
    assert_eq!(template.json()["Outputs"]["DevUrl"]["Value"], "https://www.example.com:8443");
    let reached = &template.properties("CutoverFunction")["Environment"]["Variables"]["BLUEGREEN_CONNECT_TO"];
    assert_eq!(
        reached["Fn::Sub"],
        "www.example.com:443:${LoadBalancer.DNSName}:443,www.example.com:8443:${LoadBalancer.DNSName}:8443"
    );
}

#[test]
fn private_tasks_go_out_through_the_nat_gateway_of_their_zone() {
    let template = of(&profile("private-nat"));
    assert_eq!(template.ids_of("AWS::EC2::NatGateway").len(), 2);
    for color in ["Blue", "Green"] {
        let network = &template.properties(&format!("{color}Service"))["NetworkConfiguration"]["AwsvpcConfiguration"];
        assert_eq!(network["AssignPublicIp"], "DISABLED");
        assert_eq!(network["Subnets"], json!([{ "Ref": "PrivateSubnetA" }, { "Ref": "PrivateSubnetB" }]));
    }
    for zone in ["A", "B"] {
        let route = template.properties(&format!("NatRoute{zone}"));
        assert_eq!(route["NatGatewayId"]["Ref"], format!("NatGateway{zone}"));
        assert_eq!(route["RouteTableId"]["Ref"], format!("PrivateRouteTable{zone}"));
    }
    assert!(template.properties("CutoverFunction")["VpcConfig"].is_object());
}

#[test]
fn private_tasks_without_a_way_out_have_an_endpoint_for_everything_they_need() {
    let template = of(&profile("private-endpoints"));
    assert_eq!(template.ids_of("AWS::EC2::NatGateway").len(), 0);
    for service in ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "ssm"] {
        let name = json!({ "ServiceName": { "Fn::Sub": format!("com.amazonaws.${{AWS::Region}}.{service}") } });
        template.has("AWS::EC2::VPCEndpoint", &name).unwrap();
    }
    let depends = &template.json()["Resources"]["BlueService"]["DependsOn"];
    for endpoint in template.ids_of("AWS::EC2::VPCEndpoint") {
        assert!(depends.as_array().unwrap().iter().any(|id| id == endpoint), "{endpoint}");
    }
    let tables = &template.properties("S3Endpoint")["RouteTableIds"];
    assert_eq!(tables, &json!([{ "Ref": "PrivateRouteTableA" }, { "Ref": "PrivateRouteTableB" }]));
}

#[test]
fn an_existing_vpc_is_used_as_it_is() {
    let template = of(&profile("existing-vpc"));
    for kind in ["AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::Route", "AWS::EC2::InternetGateway"] {
        assert_eq!(template.ids_of(kind).len(), 0, "{kind}");
    }
    assert_eq!(template.properties("BlueTargetGroup")["VpcId"], "vpc-0123456789abcdef0");
    assert_eq!(template.properties("LoadBalancer")["Subnets"][0], "subnet-0123456789abcdef0");
    let network = &template.properties("BlueService")["NetworkConfiguration"]["AwsvpcConfiguration"];
    assert_eq!(network["Subnets"][0], "subnet-0123456789abcdef2");
}

#[test]
fn a_restricted_dev_listener_lets_in_its_ranges_and_the_function_only() {
    let template = of(&profile("dev-restricted"));
    let ingress = &template.properties("LoadBalancerSecurityGroup")["SecurityGroupIngress"];
    let on_dev: Vec<_> = ingress.as_array().unwrap().iter().filter(|rule| rule["FromPort"] == 81).collect();
    let from: Vec<_> = on_dev.iter().map(|rule| rule["CidrIp"].clone()).collect();
    assert_eq!(
        from,
        [
            json!("203.0.113.0/24"),
            json!("198.51.100.7/32"),
            json!({ "Fn::Sub": "${NatAddressA.PublicIp}/32" }),
            json!({ "Fn::Sub": "${NatAddressB.PublicIp}/32" }),
        ]
    );
}

#[test]
fn a_service_that_scales_has_no_count_that_a_deployment_could_reset() {
    let template = of(&profile("autoscaling"));
    for color in ["Blue", "Green"] {
        assert!(template.properties(&format!("{color}Service")).get("DesiredCount").is_none());
        let capacity = template.properties(&format!("{color}Capacity"));
        assert_eq!((capacity["MinCapacity"].as_u64(), capacity["MaxCapacity"].as_u64()), (Some(2), Some(20)));
        assert_eq!(template.json()["Resources"][format!("{color}Capacity")]["Condition"], format!("{color}Deployed"));
        let policy = template.properties(&format!("{color}Scaling")).to_string();
        assert!(policy.contains(&format!("/ {}_tasks", color.to_lowercase())), "{policy}");
        assert!(policy.contains("BlueTargetGroup") && policy.contains("GreenTargetGroup"), "{policy}");
    }
}

#[test]
fn a_function_that_lets_the_idle_environment_sleep_is_asked_now_and_then_and_may_scale() {
    let template = of(&profile("idle-sleep"));
    let rule = template.properties("IdleSchedule");
    assert_eq!(rule["ScheduleExpression"], "rate(5 minutes)");
    assert_eq!(rule["Targets"][0]["Input"], r#"{"op":"sleep"}"#);
    let function = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${CutoverFunction}";
    assert_eq!(rule["Targets"][0]["Arn"], json!({ "Fn::Sub": function }));
    let permission = template.properties("IdlePermission");
    assert_eq!(permission["Principal"], "events.amazonaws.com");
    assert_eq!(permission["SourceArn"], json!({ "Fn::GetAtt": ["IdleSchedule", "Arn"] }));
    let variables = &template.properties("CutoverFunction")["Environment"]["Variables"];
    assert_eq!((&variables["BLUEGREEN_IDLE_SLEEPS_AFTER"], variables.get("BLUEGREEN_TASKS")), (&json!("60"), None));
    // Each service has its own number of tasks to wake.
    let tasks = json!({ "Key": "bluegreen:tasks", "Value": "2" });
    for service in ["BlueService", "GreenService"] {
        assert!(template.properties(service)["Tags"].as_array().unwrap().contains(&tasks), "{service}");
    }
    let may_scale = |template: &Checked| template.statements().iter().any(|(_, it)| it["Sid"] == "ScaleServices");
    assert!(may_scale(&template) && !may_scale(&of(&Settings::default())));
}

#[test]
fn alarms_tell_a_topic_of_each_environment_and_of_cutovers() {
    let template = of(&profile("alarms"));
    for id in template.ids_of("AWS::CloudWatch::Alarm") {
        assert_eq!(template.properties(id)["AlarmActions"][0]["Ref"], "Alarms", "{id}");
    }
    for color in ["Blue", "Green"] {
        for what in ["Errors", "Latency", "Health"] {
            let metric = template.properties(&format!("{color}{what}Alarm"));
            let group = format!("{color}TargetGroup");
            assert_eq!(metric["Dimensions"][1]["Value"]["Fn::GetAtt"][0], group, "{color}{what}");
        }
    }
    let wanted = json!({ "EventPattern": { "source": ["bluegreen"], "detail": { "stack": [{ "Ref": "AWS::StackName" }] } }, "Targets": [{ "Arn": { "Ref": "Alarms" }, "InputPath": "$.detail.summary" }] });
    template.has("AWS::Events::Rule", &wanted).unwrap();
    template.has("AWS::SNS::Topic", &json!({ "Subscription": [{ "Endpoint": "ops@example.com" }] })).unwrap();
    let letter = &template.properties("CutoverFunction")["DeadLetterConfig"]["TargetArn"];
    assert_eq!(letter["Ref"], "Alarms");
}

#[test]
fn the_dashboard_is_json_once_its_names_are_filled_in() {
    let template = of(&profile("alarms"));
    let text = template.properties("Dashboard")["DashboardBody"]["Fn::Sub"].as_str().unwrap().to_owned();
    assert!(!text.contains('@'), "{text}");
    let body: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["widgets"].as_array().unwrap().len(), 6);
}

#[test]
fn requests_are_recorded_in_a_bucket_that_stays() {
    let template = of(&profile("access-logs"));
    assert_eq!(template.json()["Resources"]["AccessLogBucket"]["DeletionPolicy"], "Retain");
    let attributes = template.properties("LoadBalancer")["LoadBalancerAttributes"].to_string();
    assert!(attributes.contains("access_logs.s3.enabled"), "{attributes}");
    assert_eq!(
        template.properties("Bucket")["LoggingConfiguration"]["DestinationBucketName"]["Ref"],
        "AccessLogBucket"
    );
}

#[test]
fn requests_are_recorded_under_the_stack_s_name_in_a_bucket_that_exists() {
    let settings = Settings::parse("[logs]\naccess_bucket = \"logs.example\"").unwrap();
    let template = of(&settings);
    assert_eq!(template.ids_of("AWS::S3::Bucket"), ["Bucket"]);
    let attributes = template.properties("LoadBalancer")["LoadBalancerAttributes"].as_array().unwrap();
    let of = |key: &str| attributes.iter().find(|it| it["Key"] == key).unwrap()["Value"].clone();
    assert_eq!((of("access_logs.s3.enabled"), of("access_logs.s3.bucket")), (json!("true"), json!("logs.example")));
    assert_eq!(of("access_logs.s3.prefix"), json!({ "Fn::Sub": "${AWS::StackName}/load-balancer" }));
    assert_eq!(
        template.properties("Bucket")["LoggingConfiguration"],
        json!({
            "DestinationBucketName": "logs.example",
            "LogFilePrefix": { "Fn::Sub": "${AWS::StackName}/bucket/" },
        })
    );
    for wrong in ["Logs", "a", "-logs", "logs-", "a..b", "logs_1"] {
        let error = Settings::parse(&format!("[logs]\naccess_bucket = \"{wrong}\"")).unwrap_err();
        assert!(error.to_string().contains("a valid bucket name"), "{error}");
    }
}

#[test]
fn the_firewall_is_in_front_of_the_load_balancer() {
    let template = of(&profile("waf"));
    template.has("AWS::WAFv2::WebACLAssociation", &json!({ "ResourceArn": { "Ref": "LoadBalancer" } })).unwrap();
}

#[test]
fn one_key_encrypts_everything_that_is_kept() {
    let template = of(&profile("kms"));
    let key = json!({ "Fn::GetAtt": ["Key", "Arn"] });
    for id in template.ids_of("AWS::Logs::LogGroup") {
        assert_eq!(template.properties(id)["KmsKeyId"], key, "{id}");
    }
    assert_eq!(template.properties("Registry")["EncryptionConfiguration"]["KmsKey"], key);
    assert_eq!(template.properties("CutoverFunction")["KmsKeyArn"], key);
    let bucket = template.properties("Bucket")["BucketEncryption"].to_string();
    assert!(bucket.contains("aws:kms"), "{bucket}");
    let may = template.statements().into_iter().find(|(_, statement)| statement["Sid"] == "UseKey").unwrap();
    assert_eq!(may.0, "CutoverRole");
}

/// The accepted findings, each with a reason: logical id and finding.
fn excepted(settings: &Settings) -> Vec<String> {
    let template = of(settings);
    let mut excepted = Vec::new();
    for (id, resource) in template.resources() {
        for skip in resource["Metadata"]["checkov"]["skip"].as_array().into_iter().flatten() {
            assert!(skip["comment"].as_str().is_some_and(|reason| reason.len() > 10), "{id}");
            excepted.push(format!("{id} {}", skip["id"].as_str().unwrap()));
        }
    }
    excepted
}

#[test]
fn with_everything_on_only_the_redirect_is_excepted_and_without_it_nothing() {
    let mut settings = profile("strict");
    let redirect =
        ["LoadBalancerSecurityGroup CKV_AWS_260", "RedirectListener CKV_AWS_2", "RedirectListener CKV_AWS_103"];
    assert_eq!(excepted(&settings), redirect);
    settings.https.redirect = false;
    assert!(excepted(&settings).is_empty(), "{:?}", excepted(&settings));
}

#[test]
fn the_page_of_exceptions_lists_those_that_are_made_and_no_others() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/exceptions.md");
    let page = std::fs::read_to_string(page).unwrap();
    let first_cells = page.lines().filter(|line| line.starts_with("| CKV_")).filter_map(|line| line.split('|').nth(1));
    let reported: BTreeSet<String> =
        first_cells.flat_map(|cell| cell.split(',')).map(|id| id.trim().to_owned()).collect();
    let excepted = profiles().into_iter().flat_map(|(_, settings)| excepted(&settings));
    let made: BTreeSet<String> = excepted.map(|it| it.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(reported, made);
}

/// AWS Control Tower's proactive controls for ECS (CT.ECS.PR.1 to 12), as far as they concern Fargate.
#[test]
fn every_profile_keeps_the_controls_of_control_tower() {
    for (name, settings) in profiles() {
        let template = of(&settings);
        for cluster in template.ids_of("AWS::ECS::Cluster") {
            let insights = json!([{ "Name": "containerInsights", "Value": "enabled" }]);
            assert_eq!(template.properties(cluster)["ClusterSettings"], insights, "{name}: PR.9");
        }
        for service in template.ids_of("AWS::ECS::Service") {
            let service = template.properties(service);
            assert_eq!(service["PlatformVersion"], "LATEST", "{name}: PR.1");
            let public = &service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"];
            assert!(settings.network.tasks == stack::TaskNetwork::Public || public == "DISABLED", "{name}: PR.2");
        }
        for task in template.ids_of("AWS::ECS::TaskDefinition") {
            let task = template.properties(task);
            assert_eq!(task["NetworkMode"], "awsvpc", "{name}: PR.3, PR.7");
            assert!(task["Memory"].is_string(), "{name}: PR.5");
            assert!(task.get("PidMode").is_none(), "{name}: PR.11");
            for container in task["ContainerDefinitions"].as_array().unwrap() {
                assert_eq!(container["User"], "65532:65532", "{name}: PR.4");
                assert_eq!(container["ReadonlyRootFilesystem"], true, "{name}: PR.8");
                assert!(container["LogConfiguration"]["LogDriver"].is_string(), "{name}: PR.6");
                assert!(container.get("Privileged").is_none(), "{name}: PR.10");
                let environment = container["Environment"].to_string().to_ascii_lowercase();
                for word in ["aws_access_key_id", "aws_secret_access_key", "ecs_engine_auth_data"] {
                    assert!(!environment.contains(word), "{name}: PR.12");
                }
            }
        }
    }
}

#[test]
fn a_service_keeps_the_capabilities_that_its_settings_name_and_no_others() {
    let parse = |capabilities: &str| Settings::parse(&format!("[app]\ncapabilities = {capabilities}"));
    let dropped = |capabilities: &str| {
        let template = of(&parse(capabilities).unwrap());
        let container = &template.properties("BlueTaskDefinition")["ContainerDefinitions"][0];
        container["LinuxParameters"]["Capabilities"].clone()
    };
    assert_eq!(dropped("[]"), json!({ "Drop": ["ALL"] }));
    let kept = dropped("['SETUID', 'SETGID', 'CHOWN', 'NET_BIND_SERVICE']");
    let others = "AUDIT_WRITE DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_RAW SETFCAP SETPCAP SYS_CHROOT";
    assert_eq!(kept, json!({ "Drop": others.split(' ').collect::<Vec<_>>() }));
    let unknown = parse("['NET_ADMIN']").unwrap_err();
    assert!(unknown.to_string().contains("NET_ADMIN"), "{unknown}");
}
