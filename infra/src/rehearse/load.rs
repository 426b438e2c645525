//! The users of a rehearsal: an open model, so that a slow answer delays no other request, and latency counts from the
//! instant a request was due. They share no code with the probes of a cutover. Must not know what is released.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::document::{LoadFacts, Phase, Second, Tally};

/// Idle connections that are kept for the next request.
const KEPT: usize = 32;

/// One request, as its user saw it. Times are in microseconds since the load began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was due.
    pub due_us: u64,
    /// When it was over.
    pub done_us: u64,
    /// The version that the answer names.
    pub version: Option<String>,
    /// What was wrong with it.
    pub failure: Option<String>,
}

/// Where and how users ask.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `host:port` of prod.
    pub address: String,
    /// How often, for what, and how patiently.
    pub facts: LoadFacts,
    /// The response header that contains the version.
    pub version_header: String,
}

/// A load that goes on.
#[derive(Debug)]
pub struct Load {
    began: (Instant, Timestamp),
    shared: Arc<Shared>,
    running: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    stop: AtomicBool,
    seen: Mutex<Vec<Seen>>,
    idle: Mutex<Vec<SendRequest<Empty<Bytes>>>>,
}

impl Load {
    /// Begins to ask, every second time on a new connection.
    pub fn start(plan: Plan) -> Self {
        let shared = Shared { plan, stop: AtomicBool::new(false), seen: Mutex::default(), idle: Mutex::default() };
        let (shared, began) = (Arc::new(shared), (Instant::now(), Timestamp::now()));
        let running = tokio::spawn(ask_on_and_on(Arc::clone(&shared), began.0));
        Self { began, shared, running }
    }

    /// When it began.
    pub const fn began(&self) -> Timestamp {
        self.began.1
    }

    /// Milliseconds since it began.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What was seen until now.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Ends it, and waits for the answers that are still due.
    pub async fn end(mut self) -> Vec<Seen> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = (&mut self.running).await;
        let mut seen = std::mem::take(&mut *lock(&self.shared.seen));
        seen.sort_by_key(|seen| seen.due_us);
        seen
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn ask_on_and_on(shared: Arc<Shared>, began: Instant) {
    let interval = Duration::from_secs(1) / shared.plan.facts.rate.max(1);
    let mut under_way = JoinSet::new();
    for number in 0_u32.. {
        let due = began + interval * number;
        sleep_until(due).await;
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        while under_way.try_join_next().is_some() {}
        under_way.spawn(ask_once(Arc::clone(&shared), number, began, due));
    }
    under_way.join_all().await;
}

async fn ask_once(shared: Arc<Shared>, number: u32, began: Instant, due: Instant) {
    let patience = Duration::from_millis(shared.plan.facts.timeout_ms);
    let answered = timeout_at(due + patience, shared.ask(number)).await;
    let done = Instant::now();
    let (version, failure) = match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => (None, Some(failure.to_owned())),
        Err(_) => (None, Some("no answer in time".to_owned())),
    };
    let since = |instant: Instant| u64::try_from((instant - began).as_micros()).unwrap_or(u64::MAX);
    lock(&shared.seen).push(Seen { due_us: since(due), done_us: since(done), version, failure });
}

type Answer = (Option<String>, Option<String>);

impl Shared {
    /// Asks once: the version that answers, and what is wrong with the answer.
    async fn ask(&self, number: u32) -> Result<Answer, &'static str> {
        const BROKEN: &str = "connection broke off";
        let paths = &self.plan.facts.paths;
        let keep = number.is_multiple_of(2);
        let path = paths.get((number / 2) as usize % paths.len().max(1)).map_or("/", String::as_str);
        let mut request = Request::get(path)
            .header("host", &self.plan.address)
            .header("user-agent", "bluegreen-rehearsal")
            .header("connection", if keep { "keep-alive" } else { "close" })
            .body(Empty::new())
            .map_err(|_| "invalid path")?;
        let (response, mut sender) = loop {
            let known = if keep { lock(&self.idle).pop() } else { None };
            let reused = known.is_some();
            let mut sender = match known {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            if sender.ready().await.is_err() && reused {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => break (response, sender),
                // What was kept may have been closed in the meantime: nothing was sent, so a browser asks again.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(BROKEN),
                },
            }
        };
        let status = response.status();
        let version = response.headers().get(&self.plan.version_header).and_then(|value| value.to_str().ok());
        let version = version.map(str::to_owned);
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.map_err(|_| BROKEN)?;
        }
        if keep && sender.ready().await.is_ok() {
            let mut idle = lock(&self.idle);
            if idle.len() < KEPT {
                idle.push(sender);
            }
        }
        let good = status.is_success() || status.is_redirection();
        Ok((version, (!good).then(|| format!("status {}", status.as_u16()))))
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, &'static str> {
        const REFUSED: &str = "no connection";
        let stream = TcpStream::connect(&self.plan.address).await.map_err(|_| REFUSED)?;
        // Without it a request in two writes waits for the other side's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| REFUSED)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts requests.
pub fn tally<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> Tally {
    let mut tally = Tally::default();
    for seen in seen {
        tally.requests += 1;
        match &seen.failure {
            Some(failure) => {
                tally.failed += 1;
                *tally.failures.entry(failure.clone()).or_default() += 1;
            }
            None => *tally.versions.entry(seen.version.clone().unwrap_or_default()).or_default() += 1,
        }
    }
    tally
}

/// The parts of a release, each from its begin to the next one's; a request belongs to the part in which it was due.
pub fn phases(seen: &[Seen], begins: &[(&str, u64)], end_ms: u64) -> Vec<Phase> {
    let ends = begins.iter().skip(1).map(|(_, from)| *from).chain([end_ms]);
    let phase = |((name, from_ms), to_ms): (&(&str, u64), u64)| {
        let within: Vec<&Seen> = seen.iter().filter(|seen| (*from_ms..to_ms).contains(&(seen.due_us / 1000))).collect();
        let mut latencies: Vec<u64> = within.iter().map(|seen| seen.done_us.saturating_sub(seen.due_us)).collect();
        latencies.sort_unstable();
        Phase {
            name: (*name).to_owned(),
            from_ms: *from_ms,
            to_ms,
            seen: tally(within.iter().copied()),
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
            max: percentile(&latencies, 100),
        }
    };
    begins.iter().zip(ends).map(phase).collect()
}

/// The nearest rank of sorted microseconds, in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds of minutes fit")]
fn percentile(sorted: &[u64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|microseconds| *microseconds as f64 / 1000.0)
}

/// Second by second.
pub fn seconds(seen: &[Seen]) -> Vec<Second> {
    let mut seconds: BTreeMap<u64, Vec<&Seen>> = BTreeMap::new();
    for seen in seen {
        seconds.entry(seen.due_us / 1_000_000).or_default().push(seen);
    }
    seconds.into_iter().map(|(second, seen)| Second { second, seen: tally(seen) }).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    fn seen(at_ms: u64, took_ms: u64, failure: Option<&str>) -> Seen {
        let (due_us, version) = (at_ms * 1000, failure.is_none().then(|| "1".to_owned()));
        Seen { due_us, done_us: due_us + took_ms * 1000, version, failure: failure.map(str::to_owned) }
    }

    #[test]
    fn requests_are_counted_by_second_and_by_the_part_in_which_they_were_due() {
        let all = [seen(0, 1, None), seen(999, 3000, Some("status 500")), seen(1000, 2, None), seen(1500, 4, None)];
        let seconds = seconds(&all);
        assert_eq!(seconds.iter().map(|it| (it.seen.requests, it.seen.failed)).collect::<Vec<_>>(), [(2, 1), (2, 0)]);
        let phases = phases(&all, &[("before", 0), ("cutover", 1000)], 2000);
        assert_eq!((phases[0].to_ms, phases[0].seen.failures["status 500"]), (1000, 1));
        assert_eq!((phases[1].p50, phases[1].p99, phases[1].seen.versions["1"]), (Some(2.0), Some(4.0), 2));
    }

    /// Answers every request with its path as the version; `/late` never, `/bad` with 503.
    async fn server() -> (String, Arc<Mutex<u32>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock().unwrap() += 1;
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    let mut path = String::new();
                    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                        if let Some(rest) = line.strip_prefix("GET ") {
                            path = rest.split(' ').next().unwrap().to_owned();
                        }
                        if line == "\r\n" {
                            let status = if path == "/bad" { "503 Bad" } else { "200 OK" };
                            let head = format!("HTTP/1.1 {status}\r\nx-v: {path}\r\ncontent-length: 2\r\n\r\nok");
                            if path != "/late" {
                                stream.get_mut().write_all(head.as_bytes()).await.unwrap();
                            }
                        }
                        line.clear();
                    }
                });
            }
        });
        (address, connections)
    }

    #[tokio::test]
    async fn users_ask_at_their_rate_whatever_the_answers_take_and_keep_half_of_their_connections() {
        let (address, connections) = server().await;
        let paths = ["/a", "/late", "/bad"].map(str::to_owned).to_vec();
        let facts = LoadFacts { rate: 100, paths, timeout_ms: 200 };
        let load = Load::start(Plan { address, facts, version_header: "x-v".to_owned() });
        while load.now_ms() < 600 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let all = load.end().await;
        let tally = tally(&all);
        assert!((55..=70).contains(&tally.requests), "{tally:?}");
        assert!(tally.versions["/a"] >= 15 && tally.failures["status 503"] >= 15, "{tally:?}");
        assert!(tally.failures["no answer in time"] >= 15, "{tally:?}");
        let late = all.iter().find(|seen| seen.failure.as_deref() == Some("no answer in time")).unwrap();
        assert!((200_000..300_000).contains(&(late.done_us - late.due_us)), "{late:?}");
        let connections = *connections.lock().unwrap();
        assert!(connections < tally.requests, "{connections} connections, {tally:?}");
    }

    #[tokio::test]
    async fn nobody_there_is_a_failure_that_says_so() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let facts = LoadFacts { rate: 50, paths: vec!["/".to_owned()], timeout_ms: 200 };
        let load = Load::start(Plan { address: closed, facts, version_header: "x-v".to_owned() });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let tally = tally(&load.end().await);
        assert_eq!(tally.failures.keys().collect::<Vec<_>>(), ["no connection"], "{tally:?}");
    }
}
