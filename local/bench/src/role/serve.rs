//! A server that answers every request at once, except for one stall in which all requests wait. It supports only the
//! HTTP that its clients send.

use std::sync::Arc;
use std::time::Duration;

use infra::error::{Doing as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nx-app-version: 1\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A period without answers.
#[derive(Debug)]
struct Stall {
    /// The start, relative to the first request.
    after: Duration,
    lasts: Duration,
    first: OnceCell<Instant>,
}

impl Stall {
    /// Waits for the end of the stall, if it is active.
    async fn over(&self) {
        let first = *self.first.get_or_init(|| async { Instant::now() }).await;
        let begins = first + self.after;
        let ends = begins + self.lasts;
        let now = Instant::now();
        if now >= begins && now < ends {
            sleep_until(ends).await;
        }
    }
}

/// Prints its address and serves until it is stopped.
pub(super) async fn serve(after: Duration, lasts: Duration) -> Result<()> {
    let what = || "serve".to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.doing(what)?;
    super::say(&listener.local_addr().doing(what)?.to_string())?;
    let stall = Arc::new(Stall { after, lasts, first: OnceCell::new() });
    loop {
        let (stream, _) = listener.accept().await.doing(what)?;
        tokio::spawn(answer(stream, Arc::clone(&stall)));
    }
}

/// Answers until the client disconnects.
async fn answer(mut stream: TcpStream, stall: Arc<Stall>) {
    let _ = stream.set_nodelay(true);
    let mut read = Vec::new();
    loop {
        while let Some(end) = read.windows(END_OF_HEAD.len()).position(|bytes| bytes == END_OF_HEAD) {
            read.drain(..end + END_OF_HEAD.len());
            stall.over().await;
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
