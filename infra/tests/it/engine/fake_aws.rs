//! A fake AWS endpoint with the responses of a test: one HTTP server for all services, which the scope of the signature
//! distinguishes. It knows the protocols, not the meaning of the responses.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    /// For example `DescribeStacks`.
    pub action: String,
    /// The body: a form, or JSON.
    pub body: String,
}

impl Call {
    /// Whether the body contains this text.
    pub fn says(&self, text: &str) -> bool {
        self.body.contains(text)
    }
}

/// A response.
pub enum Answer {
    /// `200` with this XML in the result of the action.
    Xml(String),
    /// `200` with this JSON.
    Json(serde_json::Value),
    /// `200` with this object, as from S3.
    Object(String),
    /// `404`, as from S3.
    NoObject,
    /// An error with this code and message.
    Error(u16, &'static str, &'static str),
    /// No response: the connection is closed.
    Hangup,
}

/// Serves until the end of the test; returns the URL of the endpoint.
pub fn serve(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || while exchange(&connection, &*answer).is_some() {});
        }
    });
    url
}

/// Handles one request and its response; `None` if the connection is closed.
fn exchange(connection: &TcpStream, answer: &(dyn Fn(&Call) -> Answer + Send + Sync)) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let (mut length, mut target) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "x-amz-target" => target = value.rsplit('.').next().map(str::to_owned),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).unwrap();
    let form = || body.split('&').find_map(|pair| pair.strip_prefix("Action=")).map(str::to_owned);
    let json = target.is_some();
    let action = target.or_else(form).unwrap_or_else(|| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    let (status, content) = match answer(&Call { action: action.clone(), body }) {
        Answer::Hangup => return None,
        Answer::Object(content) => (200, content),
        // A HEAD request gets no body.
        Answer::NoObject if action.starts_with("HEAD ") => (404, String::new()),
        Answer::NoObject => (404, "<Error><Code>NoSuchKey</Code></Error>".to_owned()),
        Answer::Json(value) => (200, value.to_string()),
        Answer::Xml(inner) => {
            (200, format!("<{action}Response><{action}Result>{inner}</{action}Result></{action}Response>"))
        }
        Answer::Error(status, code, message) if json => {
            (status, serde_json::json!({ "__type": code, "message": message }).to_string())
        }
        Answer::Error(status, code, message) => (
            status,
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
            ),
        ),
    };
    let kind = if json { "application/x-amz-json-1.1" } else { "text/xml" };
    // Every object was written just now.
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    let head = format!(
        "HTTP/1.1 {status} X\r\netag: \"1\"\r\ndate: {date}\r\nlast-modified: {date}\r\ncontent-type: \
         {kind}\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    let mut writer = connection;
    writer.write_all((head + &content).as_bytes()).ok()
}
