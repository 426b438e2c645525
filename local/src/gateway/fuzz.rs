//! Fuzz target: requests to the endpoint, which any program and any web page on this machine can send.

use super::{Gateway, call, fault};
use crate::access::Secret;
use crate::authority::Authority;
use crate::balancer::Balancer;
use crate::gateway::Caller;
use crate::instance::Layout;
use crate::task_fault::TaskFaults;
use fuzz_input::{Input, request};
use std::panic::AssertUnwindSafe;

const PORT: u16 = 4566;
const REQUESTS: [&[u8]; 6] = [
    b"POST / HTTP/1.1\nhost: 127.0.0.1:4566\ncontent-type: application/x-www-form-urlencoded\nauthorization: AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/elasticloadbalancing/aws4_request, SignedHeaders=host, Signature=0\n\nAction=ModifyListener&ListenerArn=arn%3Aaws%3Ax",
    b"POST / HTTP/1.1\nhost: localhost:4566\nx-amz-target: AmazonEC2ContainerServiceV20141113.DescribeServices\nauthorization: AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/ecs/aws4_request, SignedHeaders=host, Signature=0\n\n{\"cluster\":\"demo\",\"services\":[\"arn:aws:ecs:x:service/demo/blue\"]}",
    b"GET /bucket/key?list-type=2&prefix=a%2F HTTP/1.1\nhost: bucket.s3.localhost:4566\nauthorization: AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
    b"POST /2015-03-31/functions/swap/invocations?X-Amz-Credential=KEY%2F20260101%2Fus-east-1%2Flambda%2Faws4_request HTTP/1.1\nhost: 127.0.0.1:4566\n\n{}",
    b"GET /v2/repository/manifests/1 HTTP/1.1\nhost: 127.0.0.1:4566\nauthorization: Basic QVdTOktFWQ==",
    b"GET /v4/0123/task HTTP/1.1\nhost: 127.0.0.1:4566",
];

#[test]
fn a_request_without_the_credentials_of_this_instance_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::open(&Layout::new(dir.path()).unwrap()).unwrap();
    let balancer = Balancer::new("http://127.0.0.1:1", TaskFaults::new().0, authority);
    let gateway = AssertUnwindSafe(Gateway::new("http://127.0.0.1:1", PORT, Secret::new(), balancer));
    bolero::check!().with_type::<Input>().for_each(|input| {
        let Some(request) = request(&input.of(&REQUESTS)) else { return };
        let (parts, body) = request.into_parts();
        if let Some(protocol) = call::protocol(&parts) {
            let call = call::read(protocol, Caller::Client, &parts, &body);
            drop(call.map(|call| fault::throttled(protocol, &call.service)));
        }
        // No key of these examples is one of this instance: only the metadata, which has tokens of its own, is let through.
        let admitted = gateway.admit(&parts).is_ok();
        assert!(!admitted || super::is_metadata(parts.uri.path()), "{parts:?}");
    });
}
