//! A description of the machine that ran the benchmark.

use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The name of the processor.
    pub processor: String,
    /// The number of available cores.
    pub cores: usize,
    /// Memory in bytes.
    pub memory: u64,
    /// The operating system.
    pub system: String,
    /// The kernel version.
    pub kernel: String,
}

impl Machine {
    /// This machine.
    pub fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let memory = field(&read("/proc/meminfo"), "MemTotal", ':');
        let kib = memory.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        Self {
            processor: field(&cpu, "model name", ':'),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kib * 1024,
            system: field(&read("/etc/os-release"), "PRETTY_NAME", '=').trim_matches('"').to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    /// The description in one line.
    pub fn show(&self) -> String {
        let gib = self.memory.div_ceil(1 << 30);
        let Self { processor, cores, system, kernel, .. } = self;
        format!("{processor}, {cores} cores, {gib} GiB, {system}, Linux {kernel}")
    }
}

/// The value of a field in a file of lines; `unknown` if it is missing.
fn field(text: &str, name: &str, separator: char) -> String {
    let value = text.lines().filter_map(|line| line.split_once(separator)).find(|(key, _)| key.trim() == name);
    value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "model\t\t: 85\nmodel name\t: Some CPU\n";
        assert_eq!(field(text, "model name", ':'), "Some CPU");
        assert_eq!(field(text, "flags", ':'), "unknown");
    }
}
