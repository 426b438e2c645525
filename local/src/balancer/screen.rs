//! Requests that a load balancer refuses before it looks at its rules. Pure. See
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>.

use http::request::Parts;
use http::{HeaderName, Method, StatusCode, Version, header};

/// The size limits of requests and responses:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>.
const LINE: usize = 16 * 1024;
const REQUEST_HEADERS: usize = 64 * 1024;
const RESPONSE_HEADERS: usize = 32 * 1024;
/// The addresses that `X-Forwarded-For` holds at most.
const ADDRESSES: usize = 30;
/// The length of `: ` and of the end of the line.
const AROUND: usize = 4;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The status with which a request is refused.
pub(super) fn refusal(parts: &Parts) -> Option<StatusCode> {
    if parts.method == Method::TRACE {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    // RFC 9112, section 3.2: a request of HTTP/1.1 without exactly one host is malformed.
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    let named = match parts.version {
        Version::HTTP_2 => hosts <= 1 && (hosts == 1 || parts.uri.authority().is_some()),
        Version::HTTP_11 => hosts == 1,
        _ => hosts <= 1,
    };
    let line = parts.method.as_str().len() + parts.uri.to_string().len() + " HTTP/1.1".len() + 1;
    let lines = || parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + AROUND);
    if !named
        || line >= LINE
        || lines().any(|length| length - 2 >= LINE)
        || line + lines().sum::<usize>() > REQUEST_HEADERS
    {
        return Some(StatusCode::BAD_REQUEST);
    }
    let addresses = parts.headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let addresses = addresses.flat_map(|value| value.split(',')).count();
    (addresses > ADDRESSES).then(|| StatusCode::from_u16(463).unwrap_or(StatusCode::BAD_REQUEST))
}

/// Whether the headers of a response are too large.
pub(super) fn is_too_large(headers: &http::HeaderMap) -> bool {
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + AROUND);
    lines.sum::<usize>() > RESPONSE_HEADERS
}

/// How a request of HTTP/1 complies with the standard:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html#desync-mitigation-mode>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Compliance {
    Compliant,
    Acceptable,
    Ambiguous,
    Severe,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    /// It is routed, and then both connections are closed.
    AllowedOnce,
    Blocked,
}

impl Compliance {
    /// Classifies a request by the bytes of its head. A head that was not kept counts as compliant.
    ///
    /// What hyper refuses does not get here: malformed request lines, invalid lengths and codings.
    pub(super) fn of(head: &[u8], method: &Method) -> Self {
        let Some(end) = head.windows(4).position(|part| part == b"\r\n\r\n") else { return Self::Compliant };
        let mut lines = head[..end].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let begins = lines.next().is_some_and(|line| line.starts_with(format!("{method} ").as_bytes()));
        if !begins {
            return Self::Compliant;
        }
        let (mut worst, mut lengths, mut codings) = (Self::Compliant, Vec::new(), 0);
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
            let value = value.trim_ascii();
            if name.eq_ignore_ascii_case(b"content-length") {
                lengths.push(value);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                codings += 1;
            } else if is_like(name, b"content-length") || is_like(name, b"transfer-encoding") {
                worst = worst.max(Self::Ambiguous);
            }
            if value.iter().any(|byte| !byte.is_ascii() || (byte.is_ascii_control() && *byte != b'\t')) {
                worst = worst.max(Self::Acceptable);
            }
        }
        let bodyless = matches!(*method, Method::GET | Method::HEAD);
        let other = match (lengths.as_slice(), codings) {
            (_, 2..) => Self::Severe,
            ([_, ..], 1) | ([_, _, ..], _) => Self::Ambiguous,
            ([], 1) | ([_], _) if bodyless && lengths != [b"0"] => Self::Ambiguous,
            ([_], _) if bodyless => Self::Acceptable,
            _ => Self::Compliant,
        };
        worst.max(other)
    }

    /// What a mitigation mode does.
    pub(super) fn verdict(self, mode: &str) -> Verdict {
        match (mode, self) {
            (_, Self::Compliant) | ("monitor", _) | ("defensive", Self::Acceptable) => Verdict::Allowed,
            ("defensive", Self::Ambiguous) => Verdict::AllowedOnce,
            _ => Verdict::Blocked,
        }
    }
}

/// Whether a name is another one but for characters that some servers drop or change.
fn is_like(name: &[u8], other: &[u8]) -> bool {
    let letters = |text: &[u8]| -> Vec<u8> {
        text.iter().filter(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect()
    };
    letters(name) == letters(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn refused(request: http::request::Builder) -> Option<u16> {
        refusal(&request.body(()).unwrap().into_parts().0).map(|status| status.as_u16())
    }

    #[test]
    fn lines_headers_and_addresses_have_limits() {
        let get = || Request::get("/").header("host", "a");
        assert_eq!(refused(get()), None);
        assert_eq!(refused(Request::get("/")), Some(400));
        assert_eq!(refused(get().header("host", "b")), Some(400));
        assert_eq!(refused(Request::get("/").version(Version::HTTP_10)), None);
        assert_eq!(refused(Request::trace("/").header("host", "a")), Some(405));
        assert_eq!(refused(get().header("x", "y".repeat(16_380))), None);
        assert_eq!(refused(get().header("x", "y".repeat(16_382))), Some(400));
        let line = |length: usize| Request::get(format!("/{}", "x".repeat(length))).header("host", "a");
        assert_eq!([refused(line(16_300)), refused(line(16_400))], [None, Some(400)]);
        let many = |count: usize| {
            let each = |request: http::request::Builder, _| request.header("x", "y".repeat(1000));
            (0..count).fold(get(), each)
        };
        assert_eq!([refused(many(60)), refused(many(66))], [None, Some(400)]);
        let addresses = |count| get().header("x-forwarded-for", vec!["10.0.0.1"; count].join(", "));
        assert_eq!([refused(addresses(30)), refused(addresses(31))], [None, Some(463)]);
    }

    #[test]
    fn requests_are_classified_as_documented() {
        for (lines, expected) in [
            ("GET / HTTP/1.1\r\nhost: a", Compliance::Compliant),
            ("POST / HTTP/1.1\r\ncontent-length: 3", Compliance::Compliant),
            ("GET / HTTP/1.1\r\ncontent-length: 0", Compliance::Acceptable),
            ("GET / HTTP/1.1\r\nx: \u{e9}", Compliance::Acceptable),
            ("GET / HTTP/1.1\r\ncontent-length: 3", Compliance::Ambiguous),
            ("GET / HTTP/1.1\r\ntransfer-encoding: chunked", Compliance::Ambiguous),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nContent-Length: 3", Compliance::Ambiguous),
            ("POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 3", Compliance::Ambiguous),
            ("POST / HTTP/1.1\r\nContent_Length: 3", Compliance::Ambiguous),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked", Compliance::Severe),
        ] {
            let method: Method = lines.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(Compliance::of(format!("{lines}\r\n\r\nrest").as_bytes(), &method), expected, "{lines}");
        }
        assert_eq!(Compliance::of(b"rest of a body\r\n\r\n", &Method::GET), Compliance::Compliant);
        assert_eq!(Compliance::of(b"GET / HTTP/1.1\r\n", &Method::GET), Compliance::Compliant);
    }

    #[test]
    fn modes_treat_requests_as_documented() {
        use Compliance::{Acceptable, Ambiguous, Compliant, Severe};
        use Verdict::{Allowed, AllowedOnce, Blocked};
        for (mode, expected) in [
            ("monitor", [Allowed, Allowed, Allowed, Allowed]),
            ("defensive", [Allowed, Allowed, AllowedOnce, Blocked]),
            ("strictest", [Allowed, Blocked, Blocked, Blocked]),
        ] {
            assert_eq!([Compliant, Acceptable, Ambiguous, Severe].map(|one| one.verdict(mode)), expected, "{mode}");
        }
    }
}
