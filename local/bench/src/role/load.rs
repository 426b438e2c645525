//! Users of prod: requests at a fixed rate, independent of responses, in turn on keep-alive and new connections.
//! Shares no code with the prober.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use infra::error::{Doing as _, Error, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// The time limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The number of failures to describe.
const TOLD: usize = 10;

/// The results of the load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// The number of requests.
    pub requests: u64,
    /// The duration of the load, in seconds.
    pub seconds: f64,
    /// The number of failed requests.
    pub failed: u64,
    /// Descriptions of some failures.
    pub failures: Vec<String>,
    /// Successful requests by version.
    pub versions: BTreeMap<String, u64>,
}

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// Loads prod at this rate until `end`. Prints a line at the start.
pub(super) async fn load(address: &str, rate: u32, end: impl Future<Output = ()>) -> Result<Load> {
    let uri: Uri = format!("http://{address}/").parse().doing(|| format!("ask {address}"))?;
    let kept: HttpClient = Client::builder(TokioExecutor::new()).build_http();
    let fresh: HttpClient = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    ask(&kept, &uri).await.map_err(|why| Error::failed(format!("{address} does not answer")).because(why))?;
    super::say("asks")?;
    let seen = Arc::new(Mutex::new(Load::default()));
    let mut under_way = JoinSet::new();
    let mut end = std::pin::pin!(end);
    let began = Instant::now();
    let interval = Duration::from_secs(1) / rate.max(1);
    let mut due = began;
    let mut requests = 0_u64;
    loop {
        tokio::select! {
            biased;
            () = &mut end => break,
            () = sleep_until(due) => {}
        }
        let client = if requests.is_multiple_of(2) { kept.clone() } else { fresh.clone() };
        let (uri, seen) = (uri.clone(), Arc::clone(&seen));
        under_way.spawn(async move {
            let answered = ask(&client, &uri).await;
            note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), answered);
        });
        while under_way.try_join_next().is_some() {}
        requests += 1;
        due += interval;
    }
    let seconds = began.elapsed().as_secs_f64();
    while under_way.join_next().await.is_some() {}
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Load { requests, seconds, ..seen })
}

fn note(seen: &mut Load, answered: std::result::Result<String, String>) {
    match answered {
        Ok(version) => *seen.versions.entry(version).or_default() += 1,
        Err(why) => {
            seen.failed += 1;
            if seen.failures.len() < TOLD {
                seen.failures.push(why);
            }
        }
    }
}

/// Sends one request. Returns the version of a complete, successful response, or the failure.
async fn ask(client: &HttpClient, uri: &Uri) -> std::result::Result<String, String> {
    let request = Request::get(uri.clone()).body(Empty::new()).map_err(|error| error.to_string())?;
    let exchange = async {
        let response = client.request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        let version = response.headers().get("x-app-version").and_then(|value| value.to_str().ok());
        let version = version.unwrap_or_default().to_owned();
        response.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
        if status.is_success() { Ok(version) } else { Err(format!("status {status}")) }
    };
    timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}
