//! An AWS endpoint that answers as a test tells it: one HTTP server for every service, told apart by the signature's
//! scope. It knows the wire, not what the answers mean.

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
    /// Whether the body says this somewhere.
    pub fn says(&self, text: &str) -> bool {
        self.body.contains(text)
    }
}

/// An answer.
pub enum Answer {
    /// `200` with this XML inside the action's result.
    Xml(String),
    /// `200` with this JSON.
    Json(serde_json::Value),
    /// `200` with this object, as S3 answers.
    Object(String),
    /// `404`, as S3 answers.
    NoObject,
    /// An error of this code with this message.
    Error(u16, &'static str, &'static str),
    /// No answer: the connection is closed.
    Hangup,
}

/// Serves until the test is over; returns the endpoint's URL.
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

/// One request and its answer; `None` where the connection is over.
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
        // What only asks whether it is there gets no text.
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
    // Every object was just written.
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    let head = format!(
        "HTTP/1.1 {status} X\r\netag: \"1\"\r\ndate: {date}\r\nlast-modified: {date}\r\ncontent-type: \
         {kind}\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    let mut writer = connection;
    writer.write_all((head + &content).as_bytes()).ok()
}
