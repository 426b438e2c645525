//! Counts a number of probes as the cutover function does, and measures the cost of their statistics and records.

use std::time::Instant;

use cutover::probe::Tally;
use infra::error::{Doing as _, Result};
use model::record::{Connection, Record, Sample, Samples};
use model::{Phase, Request};
use serde::{Deserialize, Serialize};

/// The cost of a number of probes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Tallied {
    /// Seconds to count the probes and to report them.
    pub seconds: f64,
    /// Bytes of the record of the run.
    pub record: f64,
    /// Bytes of the object with all samples.
    pub samples: f64,
    /// The memory of the process, in bytes.
    pub memory: f64,
}

#[expect(clippy::cast_precision_loss, reason = "records have some kilobytes")]
pub(super) fn tally(count: u32) -> Result<Tallied> {
    let samples: Vec<Sample> = (0..count).map(|number| sample(number, count)).collect();
    let began = Instant::now();
    let mut tally = Tally::default();
    for sample in samples {
        tally.add(sample, false);
    }
    let report = tally.report(Some("2"));
    let seconds = began.elapsed().as_secs_f64();
    let started = jiff::Timestamp::now();
    let mut record = Record::begin("bench".to_owned(), Request::default(), started, "bench".to_owned());
    record.probes = Some(report);
    let record = serde_json::to_vec(&record).doing(|| "write a record".to_owned())?.len();
    let samples = Samples::encode("bench", tally.samples(), true);
    let samples = serde_json::to_vec(&samples).doing(|| "write the samples".to_owned())?.len();
    Ok(Tallied { seconds, record: record as f64, samples: samples as f64, memory: super::own_memory()? })
}

/// A successful probe of a cutover that swaps prod halfway; each has another latency.
fn sample(number: u32, count: u32) -> Sample {
    let scheduled = u64::from(number) * 100_000;
    let took = 1000 + u64::from(number) * 7919 % 4001;
    let (phase, version) = if number < count / 2 { (Phase::Baseline, "1") } else { (Phase::Verify, "2") };
    Sample {
        sequence: number,
        phase,
        scheduled_us: scheduled,
        sent_us: Some(scheduled + 20),
        first_byte_us: Some(scheduled + took - 10),
        done_us: scheduled + took,
        address: "192.0.2.1:80".to_owned(),
        connection: if number.is_multiple_of(2) { Connection::KeptAlive } else { Connection::Fresh },
        status: Some(200),
        version: Some(version.to_owned()),
        bytes: 1024,
        failure: None,
        detail: None,
    }
}
