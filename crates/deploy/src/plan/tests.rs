//! What a plan says is a change, what it asks about, and what users notice.

use aws_sdk_cloudformation::types::{EvaluationType, ResourceTargetDefinition};
use serde_json::json;

use super::*;

fn traffic() -> Traffic {
    let versions = |blue: &str| Both { blue: blue.to_owned(), green: "1".to_owned() };
    Traffic::new(Color::Green, &versions("1"), &versions("2"))
}

fn subject() -> Subject<'static> {
    Subject { stack: "bluegreen", region: "us-east-1" }
}

fn plan(before: &Value, after: &Value) -> Plan {
    let values = Values::new();
    let state = |template| State { template, values: &values };
    Plan::of_update(subject(), traffic(), state(before), state(after))
}

fn bucket(name: &str) -> Value {
    json!({ "Resources": { "Bucket": { "Type": "AWS::S3::Bucket", "Properties": { "BucketName": name } } } })
}

fn conditional(kind: &str, property: &str) -> ResourceChange {
    let target = ResourceTargetDefinition::builder().attribute(ResourceAttribute::Properties).name(property).build();
    ResourceChange::builder()
        .logical_resource_id("It")
        .resource_type(kind)
        .action(ChangeAction::Modify)
        .replacement(Replacement::Conditional)
        .details(ResourceChangeDetail::builder().target(target).build())
        .build()
}

#[test]
fn the_replacement_and_the_removal_of_a_resource_are_concerns() {
    let replaced = plan(&bucket("a"), &bucket("b"));
    assert_eq!(replaced.concerns().into_iter().collect::<Vec<_>>(), ["Bucket (AWS::S3::Bucket) is replaced"]);
    let removed = plan(&bucket("a"), &json!({ "Resources": {} }));
    assert_eq!(removed.concerns().into_iter().collect::<Vec<_>>(), ["Bucket (AWS::S3::Bucket) is removed"]);
}

#[test]
fn a_new_revision_of_a_task_definition_is_no_concern() {
    let task = |image: &str| json!({ "Resources": { "Task": { "Type": REVISIONS, "Properties": { "ContainerDefinitions": [{ "Name": "app", "Image": image }] } } } });
    let plan = plan(&task("1"), &task("2"));
    assert!(plan.concerns().is_empty());
    assert_eq!((plan.revisions(), plan.count(Action::Replace)), (1, 0));
}

#[test]
fn making_a_stack_is_no_concern() {
    let values = Values::new();
    let template = bucket("a");
    let whole = State { template: &template, values: &values };
    let nothing = State { template: &Value::Null, values: &values };
    let plan = Plan::of_creation(subject(), traffic(), nothing, whole);
    assert_eq!(plan.count(Action::Add), 1);
    assert!(plan.concerns().is_empty());
    assert!(Plan::of_creation(subject(), traffic(), whole, whole).is_empty(), "what is begun is not made again");
}

#[test]
fn the_change_set_decides_what_a_change_does_and_the_templates_give_the_values() {
    let change = ResourceChange::builder()
        .logical_resource_id("Bucket")
        .resource_type("AWS::S3::Bucket")
        .action(ChangeAction::Modify)
        .replacement(Replacement::True)
        .build();
    let plan = plan(&bucket("a"), &bucket("b"));
    assert!(plan.clone().without_changes().is_empty());
    assert_eq!(plan.clone().with_change_set(&[]).resources.len(), 1, "a change set can lack a change");
    let exact = plan.with_change_set(&[change]);
    assert_eq!(exact.resources[0].action, Action::Replace);
    assert_eq!(exact.resources[0].properties[0].after.as_deref(), Some("b"));
}

#[test]
fn the_resource_model_decides_where_the_change_set_says_conditional() {
    assert!(is_replaced(&conditional("AWS::ECS::Service", "Cluster"), &[]));
    assert!(!is_replaced(&conditional("AWS::ECS::Service", "TaskDefinition"), &[]));
    assert!(is_replaced(&conditional("AWS::Unknown::Thing", "Name"), &[]), "nobody knows: the worst is assumed");
}

#[test]
fn metadata_and_tags_never_replace_a_resource() {
    let detail = |attribute: ResourceAttribute| {
        let target = ResourceTargetDefinition::builder().attribute(attribute).build();
        ResourceChangeDetail::builder().target(target).build()
    };
    let with = |attribute: ResourceAttribute| {
        let mut change = conditional("AWS::ECS::Service", "TaskDefinition");
        change.details.get_or_insert_default().push(detail(attribute));
        is_replaced(&change, &[])
    };
    assert!(!with(ResourceAttribute::Metadata) && !with(ResourceAttribute::Tags));
    assert!(with(ResourceAttribute::Properties), "a property that is not named can be any");
}

/// A service whose cluster follows another resource, as the change set tells it.
fn following(source: ChangeSource, entity: &str) -> ResourceChange {
    let target = ResourceTargetDefinition::builder().attribute(ResourceAttribute::Properties).name("Cluster").build();
    let detail = ResourceChangeDetail::builder()
        .target(target)
        .evaluation(EvaluationType::Dynamic)
        .change_source(source)
        .causing_entity(entity)
        .build();
    ResourceChange::builder()
        .logical_resource_id("Service")
        .resource_type("AWS::ECS::Service")
        .action(ChangeAction::Modify)
        .replacement(Replacement::Conditional)
        .details(detail)
        .build()
}

#[test]
fn who_follows_the_arn_of_a_resource_that_is_changed_in_place_stays() {
    let cluster = |replacement| {
        let change = ResourceChange::builder().logical_resource_id("Cluster").resource_type("AWS::ECS::Cluster");
        vec![change.action(ChangeAction::Modify).replacement(replacement).build()]
    };
    let arn = following(ChangeSource::ResourceAttribute, "Cluster.Arn");
    let name = following(ChangeSource::ResourceReference, "Cluster");
    for change in [&arn, &name] {
        assert!(!is_replaced(change, &cluster(Replacement::False)));
        assert!(is_replaced(change, &cluster(Replacement::True)), "it gets another ARN");
        assert!(is_replaced(change, &cluster(Replacement::Conditional)), "nobody knows");
        assert!(is_replaced(change, &[]), "nobody knows");
    }
    let other = following(ChangeSource::ResourceAttribute, "Cluster.Something");
    assert!(is_replaced(&other, &cluster(Replacement::False)), "any other attribute may change");
    let direct = following(ChangeSource::DirectModification, "Cluster.Arn");
    assert!(is_replaced(&direct, &cluster(Replacement::False)));
}

/// A listener and a green service, marked, with this security policy and this image.
fn marked(policy: &str, image: &str) -> Value {
    let mark = |serves: &str| json!({ "bluegreen": { "serves": serves } });
    json!({ "Resources": {
        "Listener": { "Type": "AWS::ElasticLoadBalancingV2::Listener", "Metadata": mark("everyone"),
            "Properties": { "SslPolicy": policy } },
        "GreenTask": { "Type": REVISIONS, "Metadata": mark("green"), "Properties": { "Cpu": image } },
        "BlueTask": { "Type": REVISIONS, "Metadata": mark("blue"), "Properties": { "Cpu": image } },
    } })
}

#[test]
fn what_everyone_goes_through_is_asked_about_even_if_it_changes_in_place() {
    let plan = plan(&marked("a", "1"), &marked("b", "1"));
    let expected = "Listener (AWS::ElasticLoadBalancingV2::Listener) changes in place: it serves all users";
    assert_eq!(plan.concerns().into_iter().collect::<Vec<_>>(), [expected]);
    assert_eq!(plan.live, ["Listener changes in place (SslPolicy): it serves all users"]);
}

#[test]
fn what_users_of_prod_get_at_once_is_named_and_the_idle_environment_is_not() {
    let plan = plan(&marked("a", "1"), &marked("a", "2"));
    assert_eq!(plan.live, ["GreenTask gets a new revision: users of prod get it immediately"]);
    assert!(serde_json::to_value(&plan).unwrap()["live"][0].is_string());
    assert!(plan.without_changes().live.is_empty());
}

#[test]
fn a_role_in_the_change_set_that_neither_template_has_is_a_concern() {
    // A template that was replaced in the bucket on its way to CloudFormation.
    let change = ResourceChange::builder()
        .logical_resource_id("Backdoor")
        .resource_type("AWS::IAM::Role")
        .action(ChangeAction::Add)
        .build();
    let plan = plan(&bucket("a"), &bucket("a"));
    assert!(plan.concerns().is_empty());
    let concerns = plan.with_change_set(&[change]).concerns();
    assert!(concerns.iter().any(|it| it.starts_with("Backdoor")), "{concerns:?}");
}

#[test]
fn a_change_of_metadata_alone_is_noticed_by_nobody_and_an_unnamed_one_can_be_any() {
    let change = |target: ResourceTargetDefinition| {
        ResourceChange::builder()
            .logical_resource_id("Listener")
            .resource_type("AWS::ElasticLoadBalancingV2::Listener")
            .action(ChangeAction::Modify)
            .replacement(Replacement::False)
            .details(ResourceChangeDetail::builder().target(target).build())
            .build()
    };
    let target = ResourceTargetDefinition::builder;
    let nothing = plan(&marked("a", "1"), &marked("a", "1"));
    for (target, noticed) in [
        (target().attribute(ResourceAttribute::Metadata), false),
        (target().attribute(ResourceAttribute::Tags), false),
        (target().attribute(ResourceAttribute::Properties).name("Metadata"), true),
        (target().attribute(ResourceAttribute::Properties), true),
        (target().attribute(ResourceAttribute::DeletionPolicy), true),
    ] {
        let plan = nothing.clone().with_change_set(&[change(target.clone().build())]);
        assert_eq!(!plan.live.is_empty(), noticed, "{target:?}");
        assert_eq!(!plan.concerns().is_empty(), noticed, "{target:?}");
    }
}

#[test]
fn a_live_service_that_only_follows_what_stays_is_not_changed() {
    let detail = |attribute: ResourceAttribute, name: Option<&str>, follows: Option<(ChangeSource, &str)>| {
        let target = ResourceTargetDefinition::builder().attribute(attribute).set_name(name.map(str::to_owned));
        let detail = ResourceChangeDetail::builder().target(target.build());
        match follows {
            Some((source, entity)) => detail.change_source(source).causing_entity(entity).build(),
            None => detail.build(),
        }
    };
    let modify = |id: &str, kind: &str, replacement, details| {
        ResourceChange::builder()
            .logical_resource_id(id)
            .resource_type(kind)
            .action(ChangeAction::Modify)
            .replacement(replacement)
            .set_details(Some(details))
            .build()
    };
    let vpc = modify("Vpc", "AWS::EC2::VPC", Replacement::False, vec![detail(ResourceAttribute::Metadata, None, None)]);
    let properties = || ResourceAttribute::Properties;
    let by_name = |source, entity| Some((source, entity));
    let group = modify(
        "Group",
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        Replacement::Conditional,
        vec![detail(properties(), Some("VpcId"), by_name(ChangeSource::ResourceReference, "Vpc"))],
    );
    let follows = || detail(properties(), Some("LoadBalancers"), by_name(ChangeSource::ResourceReference, "Group"));
    let service = modify("Service", "AWS::ECS::Service", Replacement::Conditional, vec![follows()]);
    let nothing = plan(&json!({}), &json!({}));
    let still = nothing.clone().with_change_set(&[vpc.clone(), group.clone(), service]);
    assert!(still.live.is_empty() && still.concerns().is_empty(), "{:?}", still.live);
    let direct = detail(properties(), Some("LoadBalancers"), None);
    let service = modify("Service", "AWS::ECS::Service", Replacement::False, vec![follows(), direct]);
    let changed = nothing.with_change_set(&[vpc, group, service]);
    assert_eq!(changed.live, ["Service changes in place (LoadBalancers): it serves all users"]);
}
