//! A minimal web server, different from the sample app: it has no version, gives the same response on every path, and
//! is built without Cargo. The test builds it as a static program and adds it to an image.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let host = Some(variable("HOST")).filter(|host| !host.is_empty()).unwrap_or("0.0.0.0".to_owned());
    let listener = TcpListener::bind(format!("{host}:{}", variable("PORT"))).expect("the address is free");
    let greeting: &'static str = variable("GREETING").leak();
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                // An empty line ends a request without a body.
                if line.trim().is_empty() {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{greeting}", greeting.len());
                    if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
                line.clear();
            }
        });
    }
}
