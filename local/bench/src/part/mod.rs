//! What is measured, one file a part.

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

/// Bytes of a mebibyte.
const MIB: f64 = 1_048_576.0;

/// Something that is measured together.
#[derive(Debug)]
pub struct Part {
    /// What `ONLY` calls it.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    /// Measures it.
    pub measure: fn(&Bench, &mut Findings<'_>) -> Result<()>,
}

/// All parts, in the order of the table. The last one builds anew what the others run.
pub const PARTS: [Part; 9] = [
    Part { name: "synth", about: "the template, as a whole process, against AWS CDK", measure: synth::measure },
    Part { name: "deploy", about: "deployments against AWS CDK and the AWS CLI", measure: deploy::measure },
    Part { name: "image", about: "the image: its size, and the check of one that is there", measure: image::measure },
    Part { name: "greeter", about: "the sample app against one in Go", measure: greeter::measure },
    Part { name: "function", about: "the cutover function: its zip and its start", measure: function::measure },
    Part { name: "probes", about: "whether probes keep their schedule", measure: probes::measure },
    Part { name: "cutover", about: "cutovers, and what users see of them", measure: cutover::measure },
    Part { name: "growth", about: "what ten and a hundred times as much takes", measure: growth::measure },
    Part { name: "build", about: "builds and tests of the project itself", measure: build::measure },
];

/// The parts of these names; all of them where none is named.
pub fn named(names: &[String]) -> Result<Vec<&'static Part>> {
    if names.is_empty() {
        return Ok(PARTS.iter().collect());
    }
    let unknown = names.iter().find(|name| PARTS.iter().all(|part| part.name != **name));
    match unknown {
        Some(name) => {
            let known: Vec<_> = PARTS.iter().map(|part| part.name).collect();
            Err(Error::usage(format!("there is no part {name:?}")).because(format!("there are: {}", known.join(", "))))
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
