//! Small templates with one behavior each. Whole templates are in `crates/stack/tests/it/assembly.rs`.

use serde_json::json;

use super::*;

fn marked(serves: &str, properties: &Value) -> Value {
    json!({ "Type": "A::B::C", "Metadata": { "bluegreen": { "serves": serves } }, "Properties": properties })
}

fn template(network: &str, blue: &Value, green: &Value) -> Value {
    json!({
        "Metadata": { "bluegreen": { "format": 2, "stack": { "n": network }, "blue": blue, "green": green } },
        "Parameters": { "Image": {} },
        "Conditions": { "Deployed": { "Fn::Not": [{ "Fn::Equals": [{ "Ref": "Image" }, ""] }] } },
        "Resources": {
            "Network": marked("everyone", &json!({ "Is": network })),
            "Blue": marked("blue", &json!({ "Is": blue, "In": { "Ref": "Network" } })),
            "Green": marked("green", &json!({ "Is": green, "In": { "Ref": "Network" } })),
        },
        "Outputs": { "Out": { "Value": { "Ref": "Blue" } } },
    })
}

#[test]
fn each_part_is_the_one_of_its_template() {
    let [one, two, three] = [1, 2, 3].map(|n| template(&n.to_string(), &json!(n), &json!(n)));
    let whole = assemble(&one, &Both { blue: &two, green: &three }).unwrap();
    assert_eq!(whole, template("1", &json!(2), &json!(3)));
}

#[test]
fn what_a_half_refers_to_comes_with_it_transitively_and_what_the_base_has_stays() {
    let base = template("new", &json!(1), &json!(1));
    let mut old = template("old", &json!(2), &json!(2));
    let resources = &mut old["Resources"];
    resources["Blue"]["Properties"]["Role"] = json!({ "Fn::GetAtt": ["Role", "Arn"] });
    resources["Blue"]["Condition"] = json!("Nested");
    resources["Role"] = json!({ "Type": "A::B::C", "Properties": { "Key": { "Ref": "Key" } } });
    resources["Key"] = json!({ "Type": "A::B::C", "DependsOn": ["Network"] });
    resources["Unused"] = json!({ "Type": "A::B::C" });
    old["Conditions"]["Nested"] = json!({ "Fn::And": [{ "Condition": "Deployed" }, { "Condition": "Other" }] });
    old["Conditions"]["Other"] = json!({ "Fn::Equals": [{ "Ref": "Parameter" }, ""] });
    old["Parameters"]["Parameter"] = json!({ "Type": "String" });
    let whole = assemble(&base, &Both { blue: &old, green: &base }).unwrap();
    let ids: Vec<&String> = whole["Resources"].as_object().unwrap().keys().collect();
    assert_eq!(ids, ["Blue", "Green", "Key", "Network", "Role"]);
    assert_eq!(whole["Resources"]["Network"], base["Resources"]["Network"]);
    assert_eq!(whole["Resources"]["Role"], old["Resources"]["Role"]);
    assert_eq!(whole["Conditions"]["Other"], old["Conditions"]["Other"]);
    assert!(whole["Parameters"]["Parameter"].is_object());
    // When the half no longer refers to it, it is removed.
    assert_eq!(assemble(&base, &Both { blue: &base, green: &whole }).unwrap(), base);
}

#[test]
fn what_makes_a_carried_resource_work_comes_too() {
    let base = template("new", &json!(1), &json!(1));
    let mut old = base.clone();
    old["Resources"]["Blue"]["DependsOn"] = json!(["Subnet"]);
    old["Resources"]["Subnet"] = marked("everyone", &json!({}));
    old["Resources"]["Routes"] =
        marked("everyone", &json!({ "Subnet": { "Ref": "Subnet" }, "To": { "Ref": "Table" } }));
    old["Resources"]["Table"] = marked("everyone", &json!({}));
    old["Resources"]["Alarm"] = marked("nobody", &json!({ "Subnet": { "Ref": "Subnet" } }));
    let whole = assemble(&base, &Both { blue: &old, green: &base }).unwrap();
    for (id, carried) in [("Subnet", true), ("Routes", true), ("Table", true), ("Alarm", false)] {
        assert_eq!(whole["Resources"].get(id).is_some(), carried, "{id}");
    }
}

#[test]
fn a_half_that_brings_nothing_says_what_the_stack_lacks() {
    let base = template("new", &json!(1), &json!(1));
    let mut fresh = base.clone();
    fresh["Resources"]["Blue"]["DependsOn"] = json!(["Subnet", "Endpoint"]);
    fresh["Resources"]["Subnet"] = marked("everyone", &json!({}));
    fresh["Resources"]["Endpoint"] = marked("everyone", &json!({}));
    let blue = Half { template: &fresh, lacking: Lacking::Report };
    let error = join(&base, &Both { blue, green: Half { template: &base, lacking: Lacking::Carry } }).unwrap_err();
    let ids = vec!["Endpoint".to_owned(), "Subnet".to_owned()];
    assert_eq!(error, AssemblyError::Missing { color: Color::Blue, ids });
}

#[test]
fn a_reference_to_nothing_is_an_error_that_names_both_ends() {
    let mut base = template("1", &json!(1), &json!(1));
    base["Resources"]["Blue"]["Properties"]["In"] = json!({ "Fn::Sub": "${Nowhere.Arn}" });
    let error = assemble(&base, &Both { blue: &base, green: &base }).unwrap_err();
    assert_eq!(error, AssemblyError::Dangling { from: "Blue".to_owned(), to: "Nowhere".to_owned() });
    assert_eq!(assemble(&json!({}), &Both { blue: &base, green: &base }).unwrap_err(), AssemblyError::NotATemplate);
}

#[test]
fn what_the_stack_refers_to_and_an_older_half_lacks_is_added_to_the_half() {
    let mut base = template("new", &json!(1), &json!(1));
    base["Resources"]["Pipeline"] = marked("nobody", &json!({ "May": { "Ref": "BlueRole" } }));
    base["Resources"]["BlueRole"] = marked("blue", &json!({}));
    base["Resources"]["BlueOther"] = marked("blue", &json!({}));
    let old = template("old", &json!(2), &json!(2));
    let whole = assemble(&base, &Both { blue: &old, green: &old }).unwrap();
    assert_eq!(whole["Resources"]["BlueRole"], base["Resources"]["BlueRole"]);
    assert_eq!(whole["Resources"]["Blue"], old["Resources"]["Blue"]);
    assert!(whole["Resources"].get("BlueOther").is_none());
}
