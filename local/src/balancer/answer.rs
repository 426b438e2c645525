//! Responses of the load balancer itself: errors, fixed responses, and redirects.

use super::model::{FixedResponse, Redirect};
use crate::http_client::{Body, full};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};

/// The server name in the responses of an ALB.
const SERVER: &str = "awselb/2.0";

/// The error page of an ALB.
pub(super) fn error(status: StatusCode) -> Response<Body> {
    let title = format!("{} {}", status.as_u16(), reason(status));
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    own(status, "text/html", page)
}

fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => "Service Temporarily Unavailable",
        StatusCode::GATEWAY_TIMEOUT => "Gateway Time-out",
        other => other.canonical_reason().unwrap_or("Error"),
    }
}

/// The response on a port without a listener. On AWS, there would be no response.
pub(super) fn no_listener(port: u16) -> Response<Body> {
    let text = format!(
        "No load balancer has a listener on port {port}: nothing is deployed yet.\n\
         Deploy it: local-cloud exec -- bluegreen deploy (in the project of bluegreen: make deploy-stack CLOUD=local)\n"
    );
    own(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", text)
}

/// The response of a fixed-response action.
pub(super) fn fixed(action: &FixedResponse) -> Response<Body> {
    let status = action.status_code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
    let kind = action.content_type.as_deref().unwrap_or("text/plain");
    own(status.unwrap_or(StatusCode::OK), kind, action.message_body.clone().unwrap_or_default())
}

/// The response of a redirect action; placeholders are filled from the request.
pub(super) fn redirect(action: &Redirect, port: u16, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
    let host = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    let fill = |template: &Option<String>, default: &str| {
        let template = template.as_deref().filter(|text| !text.is_empty()).unwrap_or(default);
        template
            .replace("#{protocol}", "http")
            .replace("#{host}", host)
            .replace("#{port}", &port.to_string())
            .replace("#{path}", uri.path().trim_start_matches('/'))
            .replace("#{query}", uri.query().unwrap_or(""))
    };
    let protocol = fill(&action.protocol, "#{protocol}").to_ascii_lowercase();
    let authority = match (protocol.as_str(), fill(&action.port, "#{port}").as_str()) {
        ("http", "80") | ("https", "443") => fill(&action.host, "#{host}"),
        (_, port) => format!("{}:{port}", fill(&action.host, "#{host}")),
    };
    let query = fill(&action.query, "#{query}");
    let query = if query.is_empty() { query } else { format!("?{query}") };
    let location = format!("{protocol}://{authority}{}{query}", fill(&action.path, "/#{path}"));
    let moved = if action.status_code == "HTTP_301" { StatusCode::MOVED_PERMANENTLY } else { StatusCode::FOUND };
    let Ok(location) = HeaderValue::from_str(&location) else { return error(StatusCode::BAD_REQUEST) };
    let mut response = own(moved, "text/html", String::new());
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn own(status: StatusCode, kind: &str, text: String) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from(text)));
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
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("app.example:8080"))]);
        let response = redirect(&action, 80, &Uri::from_static("/a/b?c=d"), &headers);
        assert_eq!(response.status(), StatusCode::MOVED_PERMANENTLY);
        assert_eq!(response.headers()[header::LOCATION], "https://app.example/a/b?c=d");
    }

    #[test]
    fn errors_are_named_as_an_alb_names_them() {
        let response = error(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::SERVER], "awselb/2.0");
        assert_eq!(reason(StatusCode::BAD_GATEWAY), "Bad Gateway");
    }
}
