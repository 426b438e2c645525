//! A server that answers every request at once, but for one stall in which all of them wait. It knows of HTTP just what
//! its clients send.

use std::sync::Arc;
use std::time::Duration;

use infra::error::{Doing as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nx-app-version: 1\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// When nothing is answered.
#[derive(Debug)]
struct Stall {
    /// From the first request on.
    after: Duration,
    lasts: Duration,
    first: OnceCell<Instant>,
}

impl Stall {
    /// Waits until the stall is over, if it is on.
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

/// Serves for ever; says where.
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

/// Answers until the client leaves.
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
