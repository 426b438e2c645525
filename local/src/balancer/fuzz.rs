//! Fuzz target: requests of users to the load balancer.

use super::headers::{Arrival, to_target};
use super::model::{Condition, HttpHeaderConfig};
use super::rules::Matching;
use super::screen::{self, Compliance};
use fuzz_input::{Input, request};

const REQUESTS: [&[u8]; 4] = [
    b"GET /a?b=c HTTP/1.1\nhost: shop.example\naccept: text/html\nx-forwarded-for: 1.2.3.4",
    b"POST / HTTP/1.1\nhost: shop.example:81\nconnection: keep-alive, x-private\nx-private: 1\ntransfer-encoding: chunked\nte: trailers",
    b"GET http://shop.example/ HTTP/1.1\nhost: other.example\nupgrade: websocket\nconnection: upgrade\nx_invalid: 1",
    b"GET / HTTP/1.1\nhost: [::1]:8080\nx-amzn-trace-id: Self=1-a-b;Root=1-c-d;Sampled=1\ncookie: AWSALB=x",
];
/// Headers of one connection, which no target gets.
const HOP_BY_HOP: [&str; 4] = ["keep-alive", "proxy-connection", "transfer-encoding", "proxy-authenticate"];

#[test]
fn a_target_gets_the_headers_of_the_load_balancer_and_none_of_the_connection() {
    let condition = |field: &str, values: &[&str]| {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let header = HttpHeaderConfig { http_header_name: "x-private".into(), values: values.clone() };
        Matching::read(&Condition { field: field.into(), values, http_header_config: Some(header) })
    };
    let conditions = [
        condition("host-header", &["*.example", "shop*"]),
        condition("path-pattern", &["/a*?", "*"]),
        condition("query-string", &["b=*", "c"]),
        condition("http-header", &["*1*"]),
        condition("http-request-method", &["GET"]),
    ];
    bolero::check!().with_type::<(Input, u16, bool, bool)>().for_each(|(input, port, preserve_host, drop_invalid)| {
        let bytes = input.of(&REQUESTS);
        let Some(request) = request(&bytes) else { return };
        let (mut parts, _) = request.into_parts();
        screen::refusal(&parts);
        for mode in ["monitor", "defensive", "strictest"] {
            Compliance::of(&bytes, &parts.method).verdict(mode);
        }
        for condition in &conditions {
            condition.holds(&parts.method, &parts.uri, &parts.headers);
        }
        let arrival = Arrival {
            client: ([10, 0, 0, 7], 1234).into(),
            secure: false,
            facts: None,
            port: *port,
            name: "lb.example",
            forwarded_for: "append",
            client_port: false,
            preserve_host: *preserve_host,
            drop_invalid: *drop_invalid,
        };
        to_target(&mut parts.headers, &arrival);
        for name in ["x-forwarded-proto", "x-forwarded-port", "x-forwarded-for", "x-amzn-trace-id"] {
            assert_eq!(parts.headers.get_all(name).iter().count(), 1, "{name}: {:?}", parts.headers);
        }
        let forwarded = parts.headers["x-forwarded-for"].to_str().unwrap();
        assert!(forwarded.ends_with("10.0.0.7"), "{forwarded}");
        for name in HOP_BY_HOP {
            assert!(!parts.headers.contains_key(name), "{name}: {:?}", parts.headers);
        }
    });
}
