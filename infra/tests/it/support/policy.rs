//! The policy of a role as deployed on a local cloud, and whether it allows a call of the journal.

use std::io::{Read as _, Write as _};

use serde_json::Value;

use super::Cloud;
use super::function::{Function, PATIENCE};
pub use super::patterns::{like, texts};

/// Whether a statement allows a call.
pub fn allows(statement: &Value, action: &str, call: &Value) -> bool {
    assert_eq!(statement["Effect"], "Allow", "{statement:#}");
    let patterns = texts(&statement["Resource"]);
    // The resource that IAM checks: for the change of a rule, the rule and not its target groups.
    let checked = |arn: &&str| {
        (arn.starts_with("arn:") || arn.starts_with("event-bus/"))
            && (!action.starts_with("elasticloadbalancing:") || !arn.contains(":targetgroup/"))
    };
    let mut resources = texts(&call["resources"]).into_iter().filter(checked).peekable();
    let named = resources.peek().is_some() || patterns == ["*"];
    texts(&statement["Action"]).contains(&action)
        && named
        && meets_condition(statement, call)
        && resources
            .all(|arn| patterns.iter().any(|pattern| like(arn, pattern) || pattern.ends_with(&format!(":{arn}"))))
}

/// Whether the condition of the statement allows the call: a list of objects by prefix, if it names one.
fn meets_condition(statement: &Value, call: &Value) -> bool {
    let Some(patterns) = statement.pointer("/Condition/StringLikeIfExists/s3:prefix") else { return true };
    let patterns = texts(patterns);
    let mut prefixes = texts(&call["resources"]).into_iter().filter_map(|resource| resource.strip_prefix("prefix/"));
    prefixes.all(|prefix| patterns.iter().any(|pattern| like(prefix, pattern)))
}

/// The statements of a role with a policy, as deployed, with every reference resolved.
pub fn policy(cloud: &Cloud, function: &Function<'_>, role: &str) -> Vec<Value> {
    let statements = statements(cloud, function, role);
    assert!(!statements.is_empty());
    statements
}

/// The statements of a role as deployed, with every reference resolved; none if it has no policy.
pub fn statements(cloud: &Cloud, function: &Function<'_>, role: &str) -> Vec<Value> {
    let role = function.physical_id(role);
    let names = iam(cloud, &format!("Action=ListRolePolicies&RoleName={role}"));
    let names: Vec<&str> = names.split("<member>").skip(1).map(|rest| rest.split_once('<').unwrap().0).collect();
    let document = |name: &&str| {
        let answer = iam(cloud, &format!("Action=GetRolePolicy&RoleName={role}&PolicyName={name}"));
        let encoded = answer.split_once("<PolicyDocument>").unwrap().1.split_once('<').unwrap().0.to_owned();
        let text = decode(&encoded);
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    names.iter().map(document).flat_map(|document| document["Statement"].as_array().unwrap().clone()).collect()
}

/// Sends a request to IAM; two requests need no SDK client.
fn iam(cloud: &Cloud, form: &str) -> String {
    let address = cloud.endpoint().trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let form = format!("{form}&Version=2010-05-08");
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0\r\n\
         content-length: {}\r\n\r\n{form}",
        cloud.credentials().access_key_id(),
        form.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Decodes the percent-encoding of a policy document, and the escapes of XML.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').map(|hex| std::str::from_utf8(hex).unwrap());
        bytes.push(hex.map_or(*first, |hex| u8::from_str_radix(hex, 16).unwrap()));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap().replace("&quot;", "\"").replace("&amp;", "&")
}
