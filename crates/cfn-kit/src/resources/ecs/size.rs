//! The sizes of Fargate tasks: only combinations of CPU and memory that exist can be written or read
//! (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>).

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::InvalidValue;

/// CPU units of a task, as a type: 1,024 are one vCPU. It exists so that [`FargateSize::of`] can ask for a pair that
/// Fargate offers.
#[derive(Clone, Copy, Debug)]
pub enum Cpu<const UNITS: u32> {}

/// Implemented if Fargate supports `MIB` MiB of memory with a number of CPU units. A size that does not exist is thus
/// an error of the compiler.
#[diagnostic::on_unimplemented(
    message = "Fargate offers no task with {Self} and {MIB} MiB of memory",
    note = "see FargateSize::OFFERED for the pairs there are"
)]
pub trait With<const MIB: u32> {}

/// CPU and memory of a task.
///
/// ```
/// use cfn_kit::resources::ecs::FargateSize;
///
/// assert_eq!(FargateSize::of::<256, 512>().to_string(), "256/512");
/// let error = "256/4096".parse::<FargateSize>().unwrap_err();
/// assert!(error.to_string().ends_with("sizes with 256 CPU units: 256/512, 256/1024, 256/2048"));
/// ```
///
/// ```compile_fail
/// cfn_kit::resources::ecs::FargateSize::of::<256, 4096>();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FargateSize {
    cpu: u32,
    memory: u32,
}

macro_rules! offered {
    ($( $cpu:literal: $($memory:literal)+; )+) => {
        $( $( impl With<$memory> for Cpu<$cpu> {} )+ )+

        impl FargateSize {
            /// Every size: CPU units, and the MiB that are possible with them.
            pub const OFFERED: &[(u32, &[u32])] = &[ $( ($cpu, &[$($memory),+]) ),+ ];
        }
    };
}

offered! {
    256: 512 1024 2048;
    512: 1024 2048 3072 4096;
    1024: 2048 3072 4096 5120 6144 7168 8192;
    2048: 4096 5120 6144 7168 8192 9216 10240 11264 12288 13312 14336 15360 16384;
    4096: 8192 9216 10240 11264 12288 13312 14336 15360 16384 17408 18432 19456 20480 21504 22528 23552 24576 25600
        26624 27648 28672 29696 30720;
    8192: 16384 20480 24576 28672 32768 36864 40960 45056 49152 53248 57344 61440;
    16384: 32768 40960 49152 57344 65536 73728 81920 90112 98304 106_496 114_688 122_880;
}

impl FargateSize {
    /// A size, checked when it is compiled.
    pub const fn of<const CPU: u32, const MIB: u32>() -> Self
    where
        Cpu<CPU>: With<MIB>,
    {
        Self { cpu: CPU, memory: MIB }
    }

    /// CPU units, of which 1,024 are one vCPU.
    pub const fn cpu(self) -> u32 {
        self.cpu
    }
}

/// The properties of a task definition, in which both numbers are texts.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn as_properties<S: Serializer>(size: &FargateSize, serializer: S) -> Result<S::Ok, S::Error> {
    let mut properties = serializer.serialize_struct("Size", 2)?;
    properties.serialize_field("Cpu", &size.cpu.to_string())?;
    properties.serialize_field("Memory", &size.memory.to_string())?;
    properties.end()
}

impl fmt::Display for FargateSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cpu, self.memory)
    }
}

impl FromStr for FargateSize {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let pair = text.split_once('/').and_then(|(cpu, memory)| Some((cpu.parse().ok()?, memory.parse().ok()?)));
        let Some((cpu, memory)) = pair else {
            return Err(InvalidValue::new(format!(
                "{text:?} is not a task size; use CPU units and MiB, such as 256/512"
            )));
        };
        match Self::OFFERED.iter().find(|(offered, _)| *offered == cpu) {
            Some((_, memories)) if memories.contains(&memory) => Ok(Self { cpu, memory }),
            Some((_, memories)) => {
                let pairs: Vec<String> = memories.iter().map(|memory| format!("{cpu}/{memory}")).collect();
                Err(InvalidValue::new(format!(
                    "Fargate has no size {text}; sizes with {cpu} CPU units: {}",
                    pairs.join(", ")
                )))
            }
            None => {
                let cpus: Vec<String> = Self::OFFERED.iter().map(|(cpu, _)| cpu.to_string()).collect();
                Err(InvalidValue::new(format!(
                    "Fargate has no tasks with {cpu} CPU units; use one of {}",
                    cpus.join(", ")
                )))
            }
        }
    }
}

impl TryFrom<String> for FargateSize {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<FargateSize> for String {
    fn from(size: FargateSize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_fargate_offers_is_read_and_written_alike() {
        for (cpu, memories) in FargateSize::OFFERED {
            for memory in *memories {
                let text = format!("{cpu}/{memory}");
                assert_eq!(text.parse::<FargateSize>().unwrap().to_string(), text);
            }
        }
    }

    #[test]
    fn a_size_that_fargate_does_not_offer_is_refused_with_the_nearest_ones() {
        let error = "512/512".parse::<FargateSize>().unwrap_err().to_string();
        assert_eq!(
            error,
            "Fargate has no size 512/512; sizes with 512 CPU units: 512/1024, 512/2048, 512/3072, 512/4096"
        );
        assert!("100/512".parse::<FargateSize>().is_err());
        assert!("512".parse::<FargateSize>().is_err());
    }
}
