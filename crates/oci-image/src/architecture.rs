//! The processors that images are made for.

use std::fmt;

use crate::elf;

/// A processor, as OCI names it.
///
/// ```
/// use oci_image::Architecture;
///
/// assert_eq!(Architecture::Arm64.name(), "arm64");
/// assert_eq!(Architecture::Arm64.rust_target(), "aarch64-unknown-linux-gnu");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit Arm (AWS Graviton).
    Arm64,
}

impl Architecture {
    /// OCI's name: `amd64` or `arm64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The Rust target whose programs run on it.
    pub const fn rust_target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The processor of this machine; `None` if it is another one.
    pub fn of_host() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }

    /// The processor that a program is for, read from its first 64 bytes; `None` if it is not a 64-bit Linux program
    /// (ELF) for one of these processors.
    pub fn of_program(file: &[u8]) -> Option<Self> {
        Self::from_machine(elf::machine(file)?)
    }

    /// From the `e_machine` of an ELF header.
    pub(crate) const fn from_machine(machine: u16) -> Option<Self> {
        match machine {
            62 => Some(Self::Amd64),
            183 => Some(Self::Arm64),
            _ => None,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
