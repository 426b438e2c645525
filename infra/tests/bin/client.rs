//! A client of HTTP/1.1 for tests, which shares no code with the product.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub version: Option<String>,
    pub body: String,
}

/// A connection that is kept open between requests, as a browser's is. It knows HTTP/1.1 with a content length, and
/// shares no code with the product.
pub struct Client {
    address: String,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    pub fn new(address: String) -> Self {
        Self { address, connection: None }
    }

    pub fn get(&mut self, path: &str) -> std::io::Result<Answer> {
        let answer = self.try_get(path);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    fn try_get(&mut self, path: &str) -> std::io::Result<Answer> {
        if self.connection.is_none() {
            let stream = TcpStream::connect(&self.address)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.set_nodelay(true)?;
            self.connection = Some(BufReader::new(stream));
        }
        let reader = self.connection.as_mut().unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        reader.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("not HTTP: {line:?}")))?;
        let (mut length, mut version, mut close, mut chunked) = (0, None, false, false);
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().map_err(std::io::Error::other)?,
                "x-app-version" => version = Some(value.to_owned()),
                "connection" => close = value.eq_ignore_ascii_case("close"),
                "transfer-encoding" => chunked = true,
                _ => {}
            }
        }
        assert!(!chunked, "the sample apps answer with a content length");
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if close {
            self.connection = None;
        }
        Ok(Answer { status, version, body: String::from_utf8_lossy(&body).into_owned() })
    }
}
