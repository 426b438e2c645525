//! Responses of the load balancer itself: errors, fixed responses, and redirects.

use super::body::{self, Passing};
use super::model::{FixedResponse, Redirect};
use crate::http_client::full;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use std::time::SystemTime;

/// The server name in the responses of an ALB.
const SERVER: &str = "awselb/2.0";

/// The error page of an ALB.
pub(super) fn error(status: StatusCode) -> Response<Passing> {
    own(status, "text/html", page(&title(status)))
}

/// The answer to a request of a client that speaks gRPC. An ALB was seen to add these headers; its documentation does not
/// tell.
pub(super) fn grpc_error(status: StatusCode) -> Response<Passing> {
    let mut response = error(status);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("14"));
    headers.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static("unavailable"));
    response
}

/// The answer to HTTP without TLS on the port of an HTTPS listener.
pub(super) fn plain_to_tls() -> Response<Passing> {
    own(StatusCode::BAD_REQUEST, "text/html", page("400 The plain HTTP request was sent to HTTPS port"))
}

/// An error page as bytes, with which a connection of HTTP/1 ends.
pub(super) fn raw(status: StatusCode) -> Vec<u8> {
    let (title, date) = (title(status), httpdate::fmt_http_date(SystemTime::now()));
    let page = page(&title);
    let head = format!(
        "HTTP/1.1 {title}\r\nServer: {SERVER}\r\nDate: {date}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        page.len()
    );
    (head + &page).into_bytes()
}

fn title(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), reason(status)).trim_end().to_owned()
}

fn page(title: &str) -> String {
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    )
}

fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => "Service Temporarily Unavailable",
        StatusCode::GATEWAY_TIMEOUT => "Gateway Time-out",
        other => other.canonical_reason().unwrap_or_default(),
    }
}

/// The response on a port without a listener. On AWS, there would be no response.
pub(super) fn no_listener(port: u16) -> Response<Passing> {
    let text = format!(
        "No load balancer has a listener on port {port}: nothing is deployed yet.\n\
         Deploy it: local-cloud exec -- bluegreen deploy (in the project of bluegreen: make deploy-stack CLOUD=local)\n"
    );
    own(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", text)
}

/// The response of a fixed-response action.
pub(super) fn fixed(action: &FixedResponse) -> Response<Passing> {
    let status = action.status_code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
    let kind = action.content_type.as_deref().unwrap_or("text/plain");
    own(status.unwrap_or(StatusCode::OK), kind, action.message_body.clone().unwrap_or_default())
}

/// The request that is redirected.
#[derive(Debug)]
pub(super) struct Redirected<'a> {
    pub(super) secure: bool,
    /// The host name, without a port.
    pub(super) host: &'a str,
    /// The port of the listener.
    pub(super) port: u16,
    pub(super) uri: &'a Uri,
}

/// The response of a redirect action; placeholders are filled from the request:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html#redirect-actions>.
/// `forwarded` tells the port at which a client reaches a listener.
pub(super) fn redirect(
    action: &Redirect,
    request: &Redirected<'_>,
    forwarded: impl Fn(u16) -> Option<u16>,
) -> Response<Passing> {
    let protocol = if request.secure { "https" } else { "http" };
    let fill = |template: &Option<String>, default: &str| {
        let template = template.as_deref().filter(|text| !text.is_empty()).unwrap_or(default);
        template
            .replace("#{protocol}", protocol)
            .replace("#{host}", request.host)
            .replace("#{port}", &request.port.to_string())
            .replace("#{path}", request.uri.path().trim_start_matches('/'))
            .replace("#{query}", request.uri.query().unwrap_or(""))
    };
    let protocol = fill(&action.protocol, "#{protocol}").to_ascii_lowercase();
    let port = fill(&action.port, "#{port}");
    let port = port.parse().ok().and_then(forwarded).map_or(port, |port| port.to_string());
    let query = fill(&action.query, "#{query}");
    let query = if query.is_empty() { query } else { format!("?{query}") };
    let host = fill(&action.host, "#{host}");
    // An ALB always names the port.
    let location = format!("{protocol}://{host}:{port}{}{query}", fill(&action.path, "/#{path}"));
    let moved = if action.status_code == "HTTP_301" { StatusCode::MOVED_PERMANENTLY } else { StatusCode::FOUND };
    let Ok(location) = HeaderValue::from_str(&location) else { return error(StatusCode::BAD_REQUEST) };
    let mut response = error(moved);
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn own(status: StatusCode, kind: &str, text: String) -> Response<Passing> {
    let mut response = Response::new(body::own(full(Bytes::from(text))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    if let Ok(kind) = HeaderValue::from_str(kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_keeps_what_its_action_leaves_open() {
        let action = Redirect {
            protocol: Some("HTTPS".into()),
            port: Some("443".into()),
            host: None,
            path: None,
            query: None,
            status_code: "HTTP_301".into(),
        };
        let uri = Uri::from_static("/a/b?c=d");
        let request = Redirected { secure: false, host: "app.example", port: 80, uri: &uri };
        let location = |action: &Redirect, forwarded: Option<u16>| {
            let response = redirect(action, &request, |_| forwarded);
            assert_eq!(response.status(), StatusCode::MOVED_PERMANENTLY);
            response.headers()[header::LOCATION].to_str().unwrap().to_owned()
        };
        assert_eq!(location(&action, None), "https://app.example:443/a/b?c=d");
        assert_eq!(location(&action, Some(9443)), "https://app.example:9443/a/b?c=d");
        let path = Redirect {
            protocol: None,
            port: None,
            path: Some("/new/#{path}".into()),
            query: Some(String::new()),
            ..action
        };
        assert_eq!(location(&path, None), "http://app.example:80/new/a/b?c=d");
    }

    #[test]
    fn errors_are_named_as_an_alb_names_them() {
        let response = error(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::SERVER], "awselb/2.0");
        assert_eq!(reason(StatusCode::BAD_GATEWAY), "Bad Gateway");
        let raw = String::from_utf8(raw(StatusCode::BAD_REQUEST)).unwrap();
        let (head, page) = raw.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\nServer: awselb/2.0\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", page.len())), "{head}");
        assert_eq!(title(StatusCode::from_u16(464).unwrap()), "464");
    }
}
