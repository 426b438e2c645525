//! Archives of other tools, and hostile ones made here.

use std::process::Command;

use super::*;

fn read(bytes: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
    let limits = Limits::default();
    let mut stream = TarStream::new(Stream(bytes), &limits);
    let mut entries = Vec::new();
    while let Some(entry) = stream.next()? {
        let mut content = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            content.extend_from_slice(&buffer[..read]);
        }
        entries.push((entry, content));
    }
    Ok(entries)
}

fn header(kind: EntryType, name: &[u8], size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(5);
    header.set_cksum();
    header
}

fn block(kind: EntryType, name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, name, content.len() as u64).as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn end(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 1024]].concat()
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = rest.len() + 1;
    while rest.len() + length.to_string().len() != length {
        length += 1;
    }
    [length.to_string().as_bytes(), &rest].concat()
}

#[test]
fn names_of_gnu_and_of_pax_are_read() {
    let long = [b'x'; 300];
    let mut old = header(EntryType::Regular, b"old/", 0);
    old.as_old_mut().linkflag = [0];
    old.set_cksum();
    let records =
        [record("path", b"a\nb"), record("linkpath", b"c"), record("mtime", b"12.5"), record("uid", b"9999999999")];
    let archive = end(&[
        block(EntryType::GNULongName, b"././@LongLink", &[&long[..], b"\0"].concat()),
        block(EntryType::Regular, b"short", b"one"),
        block(EntryType::XHeader, b"pax", &records.concat()),
        block(EntryType::Symlink, b"short", b""),
        block(EntryType::XGlobalHeader, b"pax", &record("path", b"nothing")),
        old.as_bytes().to_vec(),
    ]);
    let entries = read(&archive).unwrap();
    assert_eq!((&entries[0].0.path[..], &entries[0].1[..]), (&long[..], &b"one"[..]));
    let link = &entries[1].0;
    assert_eq!((&link.path[..], &link.link[..], link.kind), (&b"a\nb"[..], &b"c"[..], Kind::Symlink));
    assert_eq!((link.mtime, link.uid), (12, 9_999_999_999));
    assert_eq!((&entries[2].0.path[..], entries[2].0.kind), (&b"old/"[..], Kind::Directory));
}

#[test]
fn a_size_of_pax_counts_and_links_have_no_content() {
    let mut link = header(EntryType::Link, b"link", 512);
    link.set_link_name("file").unwrap();
    link.set_cksum();
    let mut file = block(EntryType::Regular, b"file", b"");
    file.extend_from_slice(&[7; 512]);
    let size = block(EntryType::XHeader, b"pax", &record("size", b"512"));
    let entries =
        read(&end(&[size, file, link.as_bytes().to_vec(), block(EntryType::Regular, b"next", b"n")])).unwrap();
    assert_eq!(entries[0].1, [7; 512]);
    assert_eq!((entries[1].0.kind, entries[1].0.size, &entries[2].1[..]), (Kind::HardLink, 0, &b"n"[..]));
}

#[test]
fn sparse_files_of_gnu_tar_are_read_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holes");
    let file = std::fs::File::create(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"one", 1 << 20).unwrap();
    for hole in 1..40 {
        std::os::unix::fs::FileExt::write_all_at(&file, b"more", (4 << 20) + (hole << 16)).unwrap();
    }
    file.set_len(8 << 20).unwrap();
    let expected = std::fs::read(&path).unwrap();
    for format in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--sparse"]).args(format).arg("--directory").arg(folder.path()).arg("holes");
        let tar = tar.output().unwrap();
        assert!(tar.status.success(), "{tar:?}");
        let entries = read(&tar.stdout).unwrap();
        let (entry, content) = &entries[0];
        assert_eq!((&entry.path[..], entry.size, entries.len()), (&b"holes"[..], 8 << 20, 1), "{format:?}");
        assert!(content.len() < 1 << 20, "{format:?}: {} bytes stored", content.len());
        let mut whole = vec![0; usize::try_from(entry.size).unwrap()];
        let mut at = 0;
        for (offset, length) in entry.sparse.as_ref().unwrap() {
            let (offset, length) = (usize::try_from(*offset).unwrap(), usize::try_from(*length).unwrap());
            whole[offset..offset + length].copy_from_slice(&content[at..at + length]);
            at += length;
        }
        assert!(whole == expected, "{format:?}");
    }
}

#[test]
fn an_extended_header_is_refused_before_it_is_read() {
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        // The content is not even there.
        let archive = header(kind, b"x", (1 << 20) + 1).as_bytes().to_vec();
        let error = read(&archive).unwrap_err();
        assert_eq!(error.to_string(), "an extended header: more than 1048576 bytes");
    }
    let long = block(EntryType::GNULongName, b"x", &[b'x'; 5000]);
    let error = read(&end(&[long, block(EntryType::Regular, b"x", b"")])).unwrap_err();
    assert_eq!(error.to_string(), "a path: more than 4096 bytes");
}

#[test]
fn a_damaged_archive_is_an_error() {
    let file = || block(EntryType::Regular, b"file", b"content");
    let mut wrong_sum = file();
    wrong_sum[0] = b'g';
    let map = [record("GNU.sparse.major", b"1"), record("GNU.sparse.realsize", b"10")].concat();
    let sparse = |map_text: &[u8]| {
        let mut content = map_text.to_vec();
        content.resize(512, 0);
        end(&[block(EntryType::XHeader, b"pax", &map), block(EntryType::Regular, b"s", &content)])
    };
    for (archive, expected) in [
        (wrong_sum, "checksum"),
        (file()[..700].to_vec(), "end of file"),
        ([file(), vec![0; 512], file()].concat(), "after its end"),
        (block(EntryType::XHeader, b"pax", &record("path", b"x")), "extended header"),
        (end(&[block(EntryType::XHeader, b"pax", b"8 path=x\n"), file()]), "PAX record"),
        (end(&[block(EntryType::XHeader, b"pax", b"99999999999999999999 a=b\n"), file()]), "PAX record"),
        (end(&[block(EntryType::XHeader, b"pax", &record("path", b"a\0b")), file()]), "PAX record"),
        (sparse(b"1\n5\n18446744073709551615\n"), "map of a sparse file"),
        (sparse(b"1\n0\n10\n"), "does not fit"),
        (sparse(b"nonsense\n"), "map of a sparse file"),
    ] {
        let error = read(&archive).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}: {expected}");
    }
}
