//! Tells whether a file is a program that runs in an image of nothing else: an ELF, for the right processor, that needs
//! no loader. Must not know about images.

use std::fmt;

use crate::error::{Error, Result};

/// A processor, as OCI names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// The Rust target whose programs fit.
    pub const fn rust_target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The processor that a program is for, by its first 64 bytes; nothing where it is none for Linux.
    pub fn of_program(file: &[u8]) -> Option<Self> {
        Self::from_machine(Header::read(file)?.machine)
    }

    /// From the `e_machine` of an ELF header.
    const fn from_machine(machine: u16) -> Option<Self> {
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

// The parts of the ELF format (System V ABI, chapters 4 and 5) that matter here: 64 bit, little endian.
const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const TYPE_AT: usize = 16;
const MACHINE_AT: usize = 18;
const SEGMENTS_AT: usize = 32;
const SEGMENT_SIZE_AT: usize = 54;
const SEGMENT_COUNT_AT: usize = 56;
const TYPE_EXECUTABLE: u16 = 2;
const TYPE_POSITION_INDEPENDENT: u16 = 3;
/// The segment that names the loader of a dynamically linked program.
const SEGMENT_INTERPRETER: u32 = 3;

/// Refuses what would not start in an image from scratch for `architecture`. `name` is the program's, for the error.
pub fn require_static_program(name: &str, architecture: Architecture, file: &[u8]) -> Result<()> {
    let target = architecture.rust_target();
    let refused = |why: &str| Error::failed(format!("cannot make an image of {name}")).because(why);
    let build = format!("build it with --target {target} and RUSTFLAGS=\"-C target-feature=+crt-static\"");

    let Some(header) = Header::read(file) else {
        return Err(refused("the file is not a 64-bit Linux program (ELF)").hint(build));
    };
    if Architecture::from_machine(header.machine) != Some(architecture) {
        let found = Architecture::from_machine(header.machine)
            .map_or_else(|| format!("processor number {}", header.machine), |found| found.to_string());
        return Err(refused(&format!("the program is for {found}, the image for {architecture}"))
            .hint(format!("build it with --target {target}, or choose the other architecture")));
    }
    match header.interpreter(file) {
        Ok(None) => Ok(()),
        Ok(Some(loader)) => Err(refused(&format!(
            "the program is dynamically linked: it needs {loader}, which an image from scratch does not have"
        ))
        .hint(build)),
        Err(Truncated) => Err(refused("the file is cut off: its program headers are beyond its end").hint(build)),
    }
}

struct Header {
    machine: u16,
    segments: usize,
    segment_size: usize,
    segment_count: usize,
}

/// A file that ends before what its header promises.
struct Truncated;

impl Header {
    fn read(file: &[u8]) -> Option<Self> {
        let kind = u16_at(file, TYPE_AT)?;
        if !file.starts_with(MAGIC) || ![TYPE_EXECUTABLE, TYPE_POSITION_INDEPENDENT].contains(&kind) {
            return None;
        }
        Some(Self {
            machine: u16_at(file, MACHINE_AT)?,
            segments: usize_at(file, SEGMENTS_AT)?,
            segment_size: u16_at(file, SEGMENT_SIZE_AT)?.into(),
            segment_count: u16_at(file, SEGMENT_COUNT_AT)?.into(),
        })
    }

    /// The loader that the program asks for, where it asks for one.
    fn interpreter(&self, file: &[u8]) -> std::result::Result<Option<String>, Truncated> {
        for index in 0..self.segment_count {
            let segment = self.segments.checked_add(index * self.segment_size);
            let segment = segment.and_then(|at| file.get(at..)).ok_or(Truncated)?;
            if u32_at(segment, 0).ok_or(Truncated)? == SEGMENT_INTERPRETER {
                let (from, size) = usize_at(segment, 8).zip(usize_at(segment, 32)).ok_or(Truncated)?;
                let path = file.get(from..).and_then(|rest| rest.get(..size)).ok_or(Truncated)?;
                let path = String::from_utf8_lossy(path);
                return Ok(Some(path.trim_end_matches('\0').to_owned()));
            }
        }
        Ok(None)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn usize_at(bytes: &[u8], at: usize) -> Option<usize> {
    let value = bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
    usize::try_from(value).ok()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The smallest file that passes for a program, with a loader where `interpreter` names one.
    pub fn program(architecture: Architecture, interpreter: Option<&str>) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..MAGIC.len()].copy_from_slice(MAGIC);
        file[TYPE_AT] = 3;
        file[MACHINE_AT] = if architecture == Architecture::Amd64 { 62 } else { 183 };
        file[SEGMENTS_AT] = 64;
        file[SEGMENT_SIZE_AT] = 56;
        file[SEGMENT_COUNT_AT] = 1;
        file[64] = 1;
        if let Some(path) = interpreter {
            file[64] = 3;
            file[64 + 8] = 64 + 56;
            file[64 + 32] = u8::try_from(path.len() + 1).unwrap();
            file.extend_from_slice(path.as_bytes());
            file.push(0);
        }
        file
    }

    fn refusal(file: &[u8]) -> Error {
        require_static_program("greeter-v1", Architecture::Amd64, file).unwrap_err()
    }

    #[test]
    fn a_static_program_is_accepted_for_its_own_architecture() {
        for architecture in [Architecture::Amd64, Architecture::Arm64] {
            assert!(require_static_program("app", architecture, &program(architecture, None)).is_ok());
        }
    }

    #[test]
    fn a_dynamically_linked_program_is_refused_with_its_loader_and_how_to_build() {
        let error = refusal(&program(Architecture::Amd64, Some("/lib64/ld-linux-x86-64.so.2")));
        assert_eq!(error.message(), "cannot make an image of greeter-v1");
        assert!(error.causes()[0].contains("it needs /lib64/ld-linux-x86-64.so.2,"), "{error:?}");
        assert!(error.hints()[0].contains("+crt-static"), "{error:?}");
    }

    #[test]
    fn a_program_for_another_processor_is_refused() {
        let error = refusal(&program(Architecture::Arm64, None));
        assert_eq!(error.causes(), ["the program is for arm64, the image for amd64"]);
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for file in [&b""[..], b"#!/bin/sh\necho hello, this is long enough to hold a whole header ....", b"\x7fELF"] {
            assert!(refusal(file).causes()[0].contains("not a 64-bit Linux program"));
        }
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused() {
        let error = refusal(&program(Architecture::Amd64, None)[..64]);
        assert!(error.causes()[0].contains("cut off"), "{error:?}");
    }

    #[test]
    fn this_very_test_is_dynamically_linked() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let Some(header) = Header::read(&file) else { panic!("not an ELF") };
        assert!(matches!(header.interpreter(&file), Ok(Some(loader)) if loader.contains("ld")));
    }
}
