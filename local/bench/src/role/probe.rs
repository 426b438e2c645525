//! Probes a server with the prober of the cutover function and reports how it kept its schedule.

use aws::connect_to::ConnectTo;
use cutover::probe::{Clients as _, Control, HttpClients, HttpOptions, Session, Site, Spec};
use infra::error::{Error, Result};
use model::record::Sample;
use model::request::ProbeOptions;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Schedule;
use crate::figures::percentile;

/// How the schedule was kept, and the results. Times in seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    /// The number of scheduled probes.
    pub due: u32,
    /// The number of probes that were sent more than 10 ms late or not at all.
    pub late: u32,
    /// The number of sent probes that failed.
    pub failed: u32,
    /// The median lag from due to sent.
    pub lag_p50: f64,
    /// The 99th percentile of the lag from due to sent.
    pub lag_p99: f64,
    /// The 99th percentile of the latency that the client reports.
    pub latency_p99: f64,
    /// The memory of the process, in bytes.
    pub memory: f64,
}

/// Sends all probes of a schedule.
pub(super) async fn probe(schedule: &Schedule) -> Result<Kept> {
    aws::install_tls();
    let url = format!("http://{}", schedule.address);
    let options =
        HttpOptions { prod_url: url.clone(), dev_url: url, connect_to: ConnectTo::default(), roots: Vec::new() };
    let client = HttpClients::new(options).open(Site::Prod, "/", Some("x-app-version")).await;
    let client = client.map_err(|why| Error::failed("cannot create a client").because(why))?;
    let defaults = ProbeOptions::default();
    let spec = Spec {
        count: schedule.count,
        verify_at_least: 0,
        interval: schedule.interval(),
        timeout: defaults.timeout,
        baseline: 0,
        max_in_flight: defaults.max_in_flight,
        ok: defaults.ok.unwrap_or_default(),
        expected: None,
        origin: Instant::now(),
    };
    let session = Session::start(client, spec, Control { verifying: true, counting: true, ..Control::default() });
    let mut progress = session.progress();
    let complete = progress.wait_for(|progress| progress.complete).await.map(drop);
    complete.map_err(|_| Error::failed("the probes ended early"))?;
    let tally = session.end().await;
    let counts = tally.counts();
    let us = |pick: &dyn Fn(&Sample) -> Option<u64>| -> Vec<f64> {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a minute")]
        let seconds = |us: u64| us as f64 / 1e6;
        tally.samples().iter().filter_map(pick).map(seconds).collect()
    };
    let lags = us(&|sample| Some(sample.sent_us?.saturating_sub(sample.scheduled_us)));
    let latencies = us(&|sample| sample.status.map(|_| sample.done_us.saturating_sub(sample.scheduled_us)));
    Ok(Kept {
        due: counts.due,
        // A probe that was not sent also counts as late.
        late: counts.late + (counts.due - counts.sent),
        failed: counts.failed.saturating_sub(counts.due - counts.sent),
        lag_p50: percentile(&lags, 50),
        lag_p99: percentile(&lags, 99),
        latency_p99: percentile(&latencies, 99),
        memory: super::own_memory()?,
    })
}
