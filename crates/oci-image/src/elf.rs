//! Checks that a file is a program that runs in an image with nothing else in it: an ELF file, for the right processor,
//! that needs no loader and no library. Must not know about images.

use object::elf::{DT_NEEDED, DT_STRTAB, ET_DYN, ET_EXEC, FileHeader64};
use object::endian::LittleEndian;
use object::read::StringTable;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};

use crate::architecture::Architecture;
use crate::error::{Error, Machine, ProgramError, Result};
use crate::text::clean_bytes;

type Header = FileHeader64<LittleEndian>;

/// The most libraries that an error names.
const LIBRARIES_NAMED: usize = 10;

/// Rejects a program that would not start in an image from scratch for `architecture`. `name` is the program's, for the
/// error.
pub(crate) fn require_static_program(name: &str, architecture: Architecture, file: &[u8]) -> Result<()> {
    check(architecture, file).map_err(|reason| Error::NotStatic { program: name.to_owned(), architecture, reason })
}

fn check(wanted: Architecture, file: &[u8]) -> Result<(), ProgramError> {
    let header = header(file).ok_or(ProgramError::NotElf)?;
    let machine = header.e_machine(LittleEndian).0;
    let found = Architecture::from_machine(machine).map_or(Machine::Other(machine), Machine::Known);
    if found != Machine::Known(wanted) {
        return Err(ProgramError::OtherArchitecture { found, wanted });
    }
    match needs(header, file) {
        Ok((Some(loader), _)) => Err(ProgramError::DynamicallyLinked { loader }),
        Ok((None, libraries)) if !libraries.is_empty() => Err(ProgramError::NeedsLibraries { libraries }),
        Ok(_) => Ok(()),
        Err(_) => Err(ProgramError::Truncated),
    }
}

/// The `e_machine` of a program for Linux; `None` if the file is not one.
pub(crate) fn machine(file: &[u8]) -> Option<u16> {
    Some(header(file)?.e_machine(LittleEndian).0)
}

/// The header of a 64-bit program; little endian is what both processors are.
fn header(file: &[u8]) -> Option<&Header> {
    let header = Header::parse(file).ok()?;
    let is_program = matches!(header.e_type(LittleEndian), ET_EXEC | ET_DYN);
    (is_program && header.is_little_endian()).then_some(header)
}

/// The loader that the program needs, and the libraries. A program may need libraries and name no loader: the linker makes
/// such a one of a static program with a shared library, and it crashes when it starts.
fn needs(header: &Header, file: &[u8]) -> object::read::Result<(Option<String>, Vec<String>)> {
    let (mut loader, mut libraries) = (None, Vec::new());
    let segments = header.program_headers(LittleEndian, file)?;
    for segment in segments {
        if let Some(path) = segment.interpreter(LittleEndian, file)? {
            loader = Some(clean_bytes(path));
        }
        let dynamic = segment.dynamic(LittleEndian, file)?.unwrap_or_default();
        let value = |tag| dynamic.iter().filter(move |entry| entry.d_tag(LittleEndian) == tag);
        let Some(strings) = value(DT_STRTAB).map(|entry| entry.d_val(LittleEndian)).next() else { continue };
        let at = segments.iter().find_map(|segment| offset(segment, strings)).unwrap_or(file.len() as u64);
        let strings = StringTable::new(file, at, file.len() as u64);
        for entry in value(DT_NEEDED).take(LIBRARIES_NAMED) {
            let name = u32::try_from(entry.d_val(LittleEndian)).ok().and_then(|at| strings.get(at).ok());
            libraries.push(name.map_or_else(|| "a library".to_owned(), clean_bytes));
        }
    }
    Ok((loader, libraries))
}

/// Where the file has what is at an address of the running program.
fn offset(segment: &object::elf::ProgramHeader64<LittleEndian>, address: u64) -> Option<u64> {
    let within = address.checked_sub(segment.p_vaddr(LittleEndian))?;
    let is_loaded = segment.p_type(LittleEndian) == object::elf::PT_LOAD;
    (is_loaded && within < segment.p_filesz(LittleEndian))
        .then(|| segment.p_offset(LittleEndian).saturating_add(within))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const MACHINE_AT: usize = 18;

    /// The smallest file that passes for a program, with a loader if `interpreter` names one.
    pub(crate) fn program(architecture: Architecture, interpreter: Option<&str>) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        // The magic number, 64 bit, little endian, version 1.
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16] = 3;
        file[MACHINE_AT] = if architecture == Architecture::Amd64 { 62 } else { 183 };
        // One program header, of 56 bytes, behind this header.
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
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
    fn a_program_of_which_this_very_test_is_one_needs_a_loader_and_libraries() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let (loader, libraries) = needs(header(&file).unwrap(), &file).unwrap();
        assert!(loader.unwrap().contains("ld"));
        assert!(libraries.iter().any(|library| library.starts_with("libc.so")), "{libraries:?}");
    }

    /// Links a program as `+crt-static` does, and a shared library into it if there is one.
    fn linked(folder: &std::path::Path, with_library: bool) -> Vec<u8> {
        let run = |arguments: &[&str]| {
            let output = std::process::Command::new("gcc").current_dir(folder).args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        std::fs::write(folder.join("vendor.c"), "int answer(void) { return 42; }").unwrap();
        run(&["-shared", "-fPIC", "-o", "libvendor.so", "vendor.c"]);
        std::fs::write(folder.join("main.c"), "int answer(void); void _start(void) { answer(); for (;;); }").unwrap();
        let library = if with_library { "libvendor.so" } else { "vendor.c" };
        let flags = ["-nostdlib", "-fPIE", "-pie", "-Wl,--no-dynamic-linker"];
        run(&[&flags[..], &["-o", "main", "main.c", library]].concat());
        std::fs::read(folder.join("main")).unwrap()
    }

    #[test]
    fn a_program_without_a_loader_that_needs_a_library_is_rejected_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let host = Architecture::of_host().unwrap();
        assert_eq!(check(host, &linked(folder.path(), false)), Ok(()));
        let libraries = vec!["libvendor.so".to_owned()];
        assert_eq!(check(host, &linked(folder.path(), true)), Err(ProgramError::NeedsLibraries { libraries }));
    }

    #[test]
    fn a_damaged_program_is_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let whole = linked(folder.path(), true);
        for at in 0..whole.len().min(4096) {
            let mut file = whole.clone();
            file[at] = 0xff;
            let _ = check(Architecture::of_host().unwrap(), &file);
            let _ = check(Architecture::of_host().unwrap(), &whole[..at]);
        }
    }
}
