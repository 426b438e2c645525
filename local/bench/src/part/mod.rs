//! The parts of the benchmark, one file each.

mod build;
mod cutover;
mod deploy;
mod function;
mod greeter;
mod growth;
mod image;
mod probes;
mod synth;

use infra::error::{Error, Result};

use crate::bench::{Bench, Findings};

/// The bytes of a mebibyte.
const MIB: f64 = 1_048_576.0;

/// A part of the benchmark.
#[derive(Debug)]
pub struct Part {
    /// Its name for `ONLY`.
    pub name: &'static str,
    /// Its description.
    pub about: &'static str,
    /// Its function.
    pub measure: fn(&Bench, &mut Findings<'_>) -> Result<()>,
}

/// All parts, in the order of the table. The last part rebuilds programs that the other parts run.
pub const PARTS: [Part; 9] = [
    Part { name: "synth", about: "synthesis of the template, compared with AWS CDK", measure: synth::measure },
    Part { name: "deploy", about: "deployments, compared with AWS CDK and the AWS CLI", measure: deploy::measure },
    Part { name: "image", about: "the image: its size, and the check of an existing one", measure: image::measure },
    Part { name: "greeter", about: "the sample app, compared with one in Go", measure: greeter::measure },
    Part { name: "function", about: "the cutover function: its zip and its start", measure: function::measure },
    Part { name: "probes", about: "whether probes keep their schedule", measure: probes::measure },
    Part { name: "cutover", about: "cutovers: duration, and failed user requests", measure: cutover::measure },
    Part { name: "growth", about: "cost of ten and a hundred times the load", measure: growth::measure },
    Part { name: "build", about: "builds and tests of the project itself", measure: build::measure },
];

/// The parts with these names; all parts if there are no names.
pub fn named(names: &[String]) -> Result<Vec<&'static Part>> {
    if names.is_empty() {
        return Ok(PARTS.iter().collect());
    }
    let unknown = names.iter().find(|name| PARTS.iter().all(|part| part.name != **name));
    match unknown {
        Some(name) => {
            let known: Vec<_> = PARTS.iter().map(|part| part.name).collect();
            Err(Error::usage(format!("unknown part {name:?}")).because(format!("parts: {}", known.join(", "))))
        }
        None => Ok(PARTS.iter().filter(|part| names.iter().any(|name| name == part.name)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_the_order_of_the_table_each_once() {
        let names = ["probes", "synth", "probes"].map(str::to_owned);
        let parts: Vec<_> = named(&names).unwrap().iter().map(|part| part.name).collect();
        assert_eq!(parts, ["synth", "probes"]);
        assert_eq!(named(&[]).unwrap().len(), PARTS.len());
    }

    #[test]
    fn an_unknown_part_is_refused_with_those_that_there_are() {
        let error = named(&["sinth".to_owned()]).unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.causes()[0].contains("synth, deploy"), "{error:?}");
    }
}
