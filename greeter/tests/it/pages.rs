//! What the app answers to people, programs and load balancers, against the app itself (no sockets).
use actix_web::http::{Method, StatusCode, header};
use actix_web::rt;
use actix_web::test as web;
use greeter::{MAX_BODY_BYTES, MAX_HEAD_BYTES, V1, V2, Version};

struct Answer {
    status: StatusCode,
    headers: header::HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The text of the first element with this tag.
    fn element(&self, tag: &str) -> &str {
        let (_, from) = self.body.split_once(&format!("<{tag}>")).unwrap();
        from.split_once(&format!("</{tag}>")).unwrap().0
    }
}

fn ask(version: &'static Version, request: web::TestRequest) -> Answer {
    rt::System::new().block_on(async {
        let app = web::init_service(greeter::app(version)).await;
        let response = web::call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = String::from_utf8(web::read_body(response).await.to_vec()).unwrap();
        Answer { status, headers, body }
    })
}

fn get(version: &'static Version, target: &str) -> Answer {
    ask(version, web::TestRequest::get().uri(target))
}

#[test]
fn version_1_says_hello_in_english_on_green() {
    let page = get(&V1, "/");
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.element("title"), "Hello World!");
    assert_eq!(page.element("h1"), "Hello World!");
    assert!(page.body.contains(r#"<html lang="en">"#));
    assert!(page.element("style").contains("background:#14DB95"));
}

#[test]
fn version_2_says_bonjour_in_french_on_blue() {
    let page = get(&V2, "/");
    assert_eq!(page.element("title"), "Bonjour World!");
    assert_eq!(page.element("h1"), "Bonjour World!");
    assert!(page.body.contains(r#"<html lang="fr">"#));
    assert!(page.element("style").contains("background:#09BBE8"));
}

#[test]
fn the_api_of_version_1_answers_in_plain_text() {
    let answer = get(&V1, "/api?name=Ada");
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.body, "Hello Ada!");
}

#[test]
fn the_api_of_version_2_answers_with_a_json_string() {
    let answer = get(&V2, "/api?name=%22Ada%22");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.body, r#""Bonjour \"Ada\"!""#);
}

#[test]
fn a_name_with_markup_is_shown_as_text() {
    let page = get(&V1, "/?name=%3Cscript%3Ealert(1)%3C/script%3E");
    assert_eq!(page.element("h1"), "Hello &lt;script&gt;alert(1)&lt;/script&gt;!");
    assert_eq!(page.element("title"), page.element("h1"));
}

#[test]
fn the_load_balancer_is_told_ok() {
    let answer = get(&V1, "/healthz");
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "ok"));
}

#[test]
fn head_is_answered_like_get() {
    for path in ["/", "/api", "/healthz"] {
        let answer = ask(&V1, web::TestRequest::default().method(Method::HEAD).uri(path));
        assert_eq!(answer.status, StatusCode::OK, "HEAD {path}");
    }
}

#[test]
fn an_unknown_path_is_not_found() {
    let answer = get(&V1, "/nowhere");
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NOT_FOUND, "not found\n"));
}

#[test]
fn a_method_that_changes_things_is_refused_with_those_that_are_allowed() {
    for method in [Method::POST, Method::DELETE, Method::OPTIONS, Method::TRACE] {
        let answer = ask(&V2, web::TestRequest::default().method(method).uri("/api"));
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"));
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
}

#[test]
fn a_body_within_the_limit_is_ignored() {
    let request = web::TestRequest::get().uri("/api").set_payload(vec![b'x'; MAX_BODY_BYTES]);
    assert_eq!(ask(&V1, request).body, "Hello World!");
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let request = web::TestRequest::post().uri("/api").set_payload(vec![b'x'; MAX_BODY_BYTES + 1]);
    assert_eq!(ask(&V1, request).status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn a_header_beyond_the_limit_is_refused() {
    let cookie = ("cookie", "x".repeat(MAX_HEAD_BYTES));
    assert_eq!(
        ask(&V1, web::TestRequest::get().uri("/").insert_header(cookie)).status,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let target = format!("/?name={}", "x".repeat(MAX_HEAD_BYTES));
    assert_eq!(get(&V1, &target).status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[test]
fn every_answer_names_its_version_and_carries_the_security_headers() {
    for version in [&V1, &V2] {
        let answers = [
            get(version, "/"),
            get(version, "/api"),
            get(version, "/healthz"),
            get(version, "/nowhere"),
            ask(version, web::TestRequest::post().uri("/")),
            ask(version, web::TestRequest::post().uri("/").set_payload(vec![0; MAX_BODY_BYTES + 1])),
            get(version, &format!("/?{}", "x".repeat(MAX_HEAD_BYTES))),
        ];
        for answer in answers {
            let status = answer.status;
            assert_eq!(answer.header("x-app-version"), version.number, "{status}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{status}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{status}");
            assert_eq!(answer.header("cache-control"), "no-store", "{status}");
            assert_eq!(answer.header("content-security-policy"), version.content_security_policy, "{status}");
            assert_eq!(answer.header("server"), "", "{status}");
        }
    }
}

#[test]
fn the_policy_forbids_scripts_and_frames() {
    let policy = V1.content_security_policy;
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}
