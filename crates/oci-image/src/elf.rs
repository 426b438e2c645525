//! Checks that a file is a program that runs in an image with nothing else in it: an ELF file, for the right processor,
//! that needs no loader. Must not know about images.

use crate::architecture::Architecture;
use crate::error::{Error, Machine, ProgramError, Result};

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

/// Rejects a program that would not start in an image from scratch for `architecture`. `name` is the program's, for the
/// error.
pub(crate) fn require_static_program(name: &str, architecture: Architecture, file: &[u8]) -> Result<()> {
    check(architecture, file).map_err(|reason| Error::NotStatic { program: name.to_owned(), architecture, reason })
}

fn check(wanted: Architecture, file: &[u8]) -> Result<(), ProgramError> {
    let header = Header::read(file).ok_or(ProgramError::NotElf)?;
    let found = Architecture::from_machine(header.machine).map_or(Machine::Other(header.machine), Machine::Known);
    if found != Machine::Known(wanted) {
        return Err(ProgramError::OtherArchitecture { found, wanted });
    }
    match header.interpreter(file) {
        Ok(None) => Ok(()),
        Ok(Some(loader)) => Err(ProgramError::DynamicallyLinked { loader }),
        Err(Truncated) => Err(ProgramError::Truncated),
    }
}

/// The `e_machine` of a program for Linux; `None` if the file is not one.
pub(crate) fn machine(file: &[u8]) -> Option<u16> {
    Some(Header::read(file)?.machine)
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

    /// The loader that the program needs, if it needs one.
    fn interpreter(&self, file: &[u8]) -> Result<Option<String>, Truncated> {
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
pub(crate) mod tests {
    use super::*;

    /// The smallest file that passes for a program, with a loader if `interpreter` names one.
    pub(crate) fn program(architecture: Architecture, interpreter: Option<&str>) -> Vec<u8> {
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

    fn reason(file: &[u8]) -> ProgramError {
        check(Architecture::Amd64, file).unwrap_err()
    }

    #[test]
    fn a_static_program_is_accepted_for_its_own_architecture() {
        for architecture in [Architecture::Amd64, Architecture::Arm64] {
            assert!(require_static_program("app", architecture, &program(architecture, None)).is_ok());
        }
    }

    #[test]
    fn a_dynamically_linked_program_is_rejected_with_its_loader() {
        let loader = "/lib64/ld-linux-x86-64.so.2".to_owned();
        let program = program(Architecture::Amd64, Some(&loader));
        assert_eq!(reason(&program), ProgramError::DynamicallyLinked { loader });
    }

    #[test]
    fn a_program_for_another_processor_is_rejected() {
        let mut file = program(Architecture::Arm64, None);
        let wanted = Architecture::Amd64;
        let found = Machine::Known(Architecture::Arm64);
        assert_eq!(reason(&file), ProgramError::OtherArchitecture { found, wanted });
        file[MACHINE_AT] = 8;
        assert_eq!(reason(&file), ProgramError::OtherArchitecture { found: Machine::Other(8), wanted });
    }

    #[test]
    fn a_file_that_is_not_a_program_is_rejected() {
        for file in [&b""[..], b"#!/bin/sh\necho hello, this is long enough to hold a whole header ....", b"\x7fELF"] {
            assert_eq!(reason(file), ProgramError::NotElf);
        }
    }

    #[test]
    fn a_file_that_is_cut_off_is_rejected() {
        assert_eq!(reason(&program(Architecture::Amd64, None)[..64]), ProgramError::Truncated);
    }

    #[test]
    fn the_error_names_the_program() {
        let error = require_static_program("greeter-v1", Architecture::Amd64, b"").unwrap_err();
        assert!(matches!(error, Error::NotStatic { program, .. } if program == "greeter-v1"));
    }

    #[test]
    fn this_very_test_is_dynamically_linked() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let Some(header) = Header::read(&file) else { panic!("not an ELF") };
        assert!(matches!(header.interpreter(&file), Ok(Some(loader)) if loader.contains("ld")));
    }
}
