//! The pictures of the architecture are complete and well-formed, and those in the documentation are up to date.

use std::collections::BTreeSet;
use std::path::Path;

use crate::profiles::{profile, profiles};
use cfn_kit::Stack;
use cfn_kit::assertions::Checked;
use stack::graph::{Drawing, Format, Place, render};
use stack::{Settings, synthesize};

fn picture(settings: &Settings, format: Format) -> String {
    render(&synthesize(settings).unwrap(), format)
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

#[test]
fn every_resource_of_every_profile_is_in_exactly_one_box() {
    for (name, settings) in profiles() {
        let template = synthesize(&settings).unwrap();
        let drawing = Drawing::of(&template);
        let mut drawn: Vec<&str> = drawing.nodes.iter().flat_map(|node| &node.members).map(String::as_str).collect();
        drawn.sort_unstable();
        let checked = Checked::new(&template);
        let there: Vec<&str> = checked.resources().map(|(id, _)| id).collect();
        assert_eq!(drawn, there, "{name}");
        assert!(drawing.nodes.len() < 22, "{name}: {} boxes are too many to read", drawing.nodes.len());
    }
}

#[test]
fn every_line_of_every_profile_begins_and_ends_at_a_box() {
    for (name, settings) in profiles() {
        let drawing = Drawing::of(&synthesize(&settings).unwrap());
        for line in &drawing.lines {
            assert!(drawing.node(&line.from).is_some() && drawing.node(&line.to).is_some(), "{name}: {line:?}");
        }
    }
}

#[test]
fn both_environments_are_referred_to_by_both_listeners_now_or_later() {
    let drawing = Drawing::of(&synthesize(&Settings::default()).unwrap());
    let later = |from: &str, to: &str| drawing.lines.iter().find(|it| it.from == from && it.to == to).unwrap().later;
    assert!(!later("ProdListener", "GreenService") && later("ProdListener", "BlueService"));
    // The rules of dev always refer to both.
    assert!(!later("DevListener", "BlueService") && !later("DevListener", "GreenService"));
}

#[test]
fn the_function_is_where_its_network_is() {
    let place =
        |settings: &Settings| Drawing::of(&synthesize(settings).unwrap()).node("CutoverFunction").unwrap().place;
    assert_eq!(place(&Settings::default()), Place::Control);
    assert_eq!(place(&profile("strict")), Place::Private);
}

#[test]
fn the_picture_is_well_formed_and_needs_nothing_from_elsewhere() {
    for (name, settings) in profiles() {
        let svg = picture(&settings, Format::Svg);
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1).map(|rest| rest.split_once('>').unwrap().0) {
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split_whitespace().next().unwrap()),
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{name}: {tag}");
        }
        assert!(open.is_empty(), "{name}: {open:?}");
        let outside = svg.replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "href", "@import", "<script", "<image"] {
            assert!(!outside.contains(word), "{name}: {word}");
        }
    }
}

#[test]
fn what_others_named_cannot_leave_its_place() {
    let mut stack = Stack::new("A stack");
    let hostile = "\"><script>alert('1')</script>#&\u{1}";
    let properties = serde_json::json!({ "CidrBlock": hostile });
    stack.add_untyped("Vpc", "AWS::EC2::VPC", properties);
    stack.add_untyped("Thing", &format!("AWS::X::{hostile}"), serde_json::json!({}));
    let template = stack.finish().unwrap();
    let svg = render(&template, Format::Svg);
    assert!(!svg.contains("<script") && svg.contains("&lt;script"), "{svg}");
    assert!(!svg.contains('\u{1}'));
    let mermaid = render(&template, Format::Mermaid);
    assert!(mermaid.contains("#quot;#gt;#lt;script") && !mermaid.contains("<script"), "{mermaid}");
}

#[test]
fn the_reviewed_pictures_are_what_is_drawn() {
    insta::assert_snapshot!("mermaid_default", picture(&Settings::default(), Format::Mermaid));
    insta::assert_snapshot!("mermaid_strict", picture(&profile("strict"), Format::Mermaid));
    insta::assert_snapshot!("svg_strict", picture(&profile("strict"), Format::Svg));
}

#[test]
fn the_pictures_of_the_documentation_are_of_the_stack_as_it_is() {
    let kept = std::fs::read_to_string(project().join("docs/images/architecture.svg")).unwrap();
    let svg = picture(&Settings::default(), Format::Svg);
    assert!(kept == svg, "make it anew: make graph");
    let concepts = std::fs::read_to_string(project().join("docs/concepts.md")).unwrap();
    let block = concepts.split("```mermaid\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(block, picture(&Settings::default(), Format::Mermaid), "make it anew: make graph");
}

#[test]
fn what_is_drawn_is_the_same_whenever_it_is_drawn() {
    let pictures: BTreeSet<String> = (0..3).map(|_| picture(&profile("strict"), Format::Svg)).collect();
    assert_eq!(pictures.len(), 1);
}
