//! Keys of the ledger's objects in the stack's bucket. Must not know what the objects say.

/// Prefix of everything that the ledger keeps.
pub const LEDGER: &str = "cutover/";
/// The lease that deployments and cutovers take.
pub const LOCK: &str = "cutover/lock.json";
/// Where the records of runs are.
pub const RUNS: &str = "cutover/runs/";
/// Where the single probes of runs are. Beside the records, so that a list of runs is no longer for them.
pub const SAMPLES: &str = "cutover/samples/";

/// What one run was told while it was under way.
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
