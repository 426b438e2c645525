//! Keys of the objects of the ledger in the stack's bucket. Must not know their content.

/// Prefix of all objects of the ledger.
pub const LEDGER: &str = "cutover/";
/// The lease of deployments and cutovers.
pub const LOCK: &str = "cutover/lock.json";
/// Prefix of the records of runs.
pub const RUNS: &str = "cutover/runs/";
/// Prefix of the probes of runs. Separate from the records, so that they do not lengthen a list of runs.
pub const SAMPLES: &str = "cutover/samples/";

/// The last command for a run in progress.
pub fn steering(id: &str) -> String {
    format!("cutover/steering/{id}.json")
}

/// The record of one run.
pub fn run(id: &str) -> String {
    format!("{RUNS}{id}.json")
}

/// The probes of one run.
pub fn samples(id: &str) -> String {
    format!("{SAMPLES}{id}.json")
}
