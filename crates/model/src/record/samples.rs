//! Every probe of a run in a compact format: one row of numbers for each probe. It is written beside the record, during
//! the run and at its end, for charts and to verify percentiles. Must not know how probes are sent.

use super::{Connection, Failure, Phase, Sample};
use serde::{Deserialize, Serialize};

/// Version of the format, in [`Samples::schema`].
const SCHEMA: u32 = 1;

/// The columns of a row, in order. A reader must look up columns in [`Samples::columns`], because later versions may
/// add some.
pub const COLUMNS: [&str; 12] = [
    "sequence",
    "scheduled_us",
    "sent_us",
    "first_byte_us",
    "done_us",
    "phase",
    "address",
    "connection",
    "status",
    "failure",
    "version",
    "bytes",
];

/// All completed probes of prod in one run, by sequence.
///
/// A row has one cell for each of `columns`: a whole number, or `null` if there is no value. Times are microseconds
/// from the beginning of the run, as in the record. The cells of `phase`, `address`, `connection`, `failure` and
/// `version` are positions in the list of that name, so a text that repeats is written once:
///
/// ```json
/// {
///   "schema": 1, "id": "0199…", "complete": true,
///   "columns": ["sequence", "scheduled_us", "sent_us", "first_byte_us", "done_us", "phase", "address", "connection",
///               "status", "failure", "version", "bytes"],
///   "phases": ["baseline", "swap_prod"], "addresses": ["192.0.2.1:80"], "connections": ["kept_alive", "fresh"],
///   "failures": ["connect"], "versions": ["1", "2"],
///   "rows": [[0, 465000, 465020, 469810, 470100, 0, 0, 0, 200, null, 0, 1024],
///            [1, 565000, 565018, null, 565230, 1, 0, 1, null, 0, null, 0]]
/// }
/// ```
///
/// A probe takes about 65 bytes: 10 kB for the default of 150 probes, 200 kB for 3000.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Samples {
    /// Version of this format.
    pub schema: u32,
    /// The run's id.
    pub id: String,
    /// Whether no more probes follow. False while the run is in progress, and always for a run that was killed.
    pub complete: bool,
    /// The meaning of the cells of a row, in order.
    pub columns: Vec<String>,
    /// The list for `phase`: the phases in which probes were scheduled.
    pub phases: Vec<Phase>,
    /// The list for `address`.
    pub addresses: Vec<String>,
    /// The list for `connection`.
    pub connections: Vec<Connection>,
    /// The list for `failure`; a probe without a failure succeeded.
    pub failures: Vec<Failure>,
    /// The list for `version`: the values of the version header.
    pub versions: Vec<String>,
    /// The probes.
    pub rows: Vec<Vec<Option<u64>>>,
}

impl Samples {
    /// Encodes these probes.
    pub fn encode(id: &str, samples: &[Sample], complete: bool) -> Self {
        let mut encoded = Self {
            schema: SCHEMA,
            id: id.to_owned(),
            complete,
            columns: COLUMNS.map(str::to_owned).to_vec(),
            ..Self::default()
        };
        let mut sorted: Vec<_> = samples.iter().collect();
        sorted.sort_by_key(|sample| sample.sequence);
        for sample in sorted {
            let row = encoded.row(sample);
            encoded.rows.push(row.to_vec());
        }
        encoded
    }

    fn row(&mut self, sample: &Sample) -> [Option<u64>; COLUMNS.len()] {
        [
            Some(sample.sequence.into()),
            Some(sample.scheduled_us),
            sample.sent_us,
            sample.first_byte_us,
            Some(sample.done_us),
            position(&mut self.phases, &sample.phase),
            position(&mut self.addresses, &sample.address),
            position(&mut self.connections, &sample.connection),
            sample.status.map(u64::from),
            sample.failure.and_then(|failure| position(&mut self.failures, &failure)),
            sample.version.as_ref().and_then(|version| position(&mut self.versions, version)),
            Some(sample.bytes),
        ]
    }

    /// Decodes the probes, without the details of failures. A row without a mandatory value is left out.
    pub fn decode(&self) -> Vec<Sample> {
        let column = |name: &str| self.columns.iter().position(|column| column == name);
        let at = COLUMNS.map(column);
        self.rows.iter().filter_map(|row| self.sample(row, &at)).collect()
    }

    fn sample(&self, row: &[Option<u64>], at: &[Option<usize>; COLUMNS.len()]) -> Option<Sample> {
        let [sequence, scheduled, sent, first_byte, done, phase, address, connection, status, failure, version, bytes] =
            at.map(|position| position.and_then(|position| row.get(position).copied().flatten()));
        Some(Sample {
            sequence: u32::try_from(sequence?).ok()?,
            phase: *listed(&self.phases, phase)?,
            scheduled_us: scheduled?,
            sent_us: sent,
            first_byte_us: first_byte,
            done_us: done?,
            address: listed(&self.addresses, address)?.clone(),
            connection: *listed(&self.connections, connection)?,
            status: status.and_then(|status| u16::try_from(status).ok()),
            version: listed(&self.versions, version).cloned(),
            bytes: bytes.unwrap_or_default(),
            failure: listed(&self.failures, failure).copied(),
            detail: None,
        })
    }
}

/// The position of a value in a list; the value is added if it is missing. The lists are short.
fn position<T: PartialEq + Clone>(list: &mut Vec<T>, value: &T) -> Option<u64> {
    let found = list.iter().position(|listed| listed == value);
    let position = found.unwrap_or_else(|| {
        list.push(value.clone());
        list.len() - 1
    });
    u64::try_from(position).ok()
}

fn listed<T>(list: &[T], position: Option<u64>) -> Option<&T> {
    list.get(usize::try_from(position?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sequence: u32) -> Sample {
        let scheduled_us = 465_000 + u64::from(sequence) * 100_000;
        let failed = sequence == 1;
        Sample {
            sequence,
            phase: if sequence < 2 { Phase::Baseline } else { Phase::SwapProd },
            scheduled_us,
            sent_us: Some(scheduled_us + 20),
            first_byte_us: (!failed).then_some(scheduled_us + 4810),
            done_us: scheduled_us + 5100,
            address: format!("192.0.2.{}:80", sequence % 2),
            connection: if sequence.is_multiple_of(2) { Connection::KeptAlive } else { Connection::Fresh },
            status: (!failed).then_some(200),
            version: (!failed).then(|| if sequence < 3 { "1" } else { "2" }.to_owned()),
            bytes: if failed { 0 } else { 1024 },
            failure: failed.then_some(Failure::Connect),
            detail: None,
        }
    }

    #[test]
    fn the_format_is_stable() {
        // In the order of completion.
        let encoded = Samples::encode("run", &[3, 0, 2, 1].map(sample), true);
        insta::assert_snapshot!(serde_json::to_string(&encoded).unwrap().replace("],\"", "],\n\""));
    }

    #[test]
    fn what_was_encoded_is_read_back_in_order() {
        let text = serde_json::to_string(&Samples::encode("run", &[3, 0, 2, 1].map(sample), false)).unwrap();
        let read: Samples = serde_json::from_str(&text).unwrap();
        assert!(!read.complete);
        assert_eq!(read.decode(), [0, 1, 2, 3].map(sample));
    }

    #[test]
    fn later_columns_and_broken_rows_do_not_disturb() {
        let mut encoded = Samples::encode("run", &[sample(0), sample(3)], true);
        encoded.columns.insert(0, "new".to_owned());
        for row in &mut encoded.rows {
            row.insert(0, Some(7));
        }
        encoded.rows.push(vec![Some(1)]);
        assert_eq!(encoded.decode(), [sample(0), sample(3)]);
    }

    #[test]
    fn three_thousand_probes_take_two_hundred_kilobytes() {
        let samples: Vec<_> = (0..3000).map(sample).collect();
        let length = serde_json::to_vec(&Samples::encode("run", &samples, true)).unwrap().len();
        assert!((150_000..250_000).contains(&length), "{length}");
    }
}
