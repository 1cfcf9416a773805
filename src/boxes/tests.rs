//! Boxes that are taken, and all that is refused.

use std::{
    fs,
    io::{Read, Write, repeat},
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    archive::{self, MOST_ENTRIES},
    fixtures::{archive as archive_of, entry, files, gzip, header, ovf, qcow2, vdi, vmdk, with},
    *,
};
use crate::api::boxes::{BoxFormat, BoxProvider};

/// Names and contents.
type Files<'a> = &'a [(&'a str, &'a [u8])];

const BOUND: u64 = 1 << 20;
const LIBVIRT: &[u8] = br#"{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}"#;
const VIRTUALBOX: &[u8] = br#"{"provider":"virtualbox"}"#;

struct Given {
    folder: TempDir,
}

impl Given {
    fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    fn inspect(&self) -> Result<Inspected, Refusal> {
        inspect(&self.file(), BOUND)
    }

    /// Unpacks into a folder that is beside the file.
    fn unpack(&self) -> Result<Unpacked, Refusal> {
        let folder = self.folder.path().join("unpacked");
        fs::create_dir_all(&folder).unwrap();
        unpack(&self.file(), &folder, BOUND)
    }
}

fn given(bytes: &[u8]) -> Given {
    let given = Given { folder: tempfile::tempdir().unwrap() };
    fs::write(given.file(), bytes).unwrap();
    given
}

/// The sentence by which bytes are refused; by both functions, where it is an archive.
fn refused(bytes: &[u8]) -> String {
    let given = given(bytes);
    let refusal = given.inspect().unwrap_err().to_string();
    match given.unpack().unwrap_err() {
        Refusal::NoArchive => {}
        same => assert_eq!(same.to_string(), refusal),
    }
    refusal
}

fn libvirt() -> Vec<u8> {
    files(&[("metadata.json", LIBVIRT), ("box.img", &qcow2(1 << 20))])
}

fn virtualbox(files_of_ovf: Files) -> Vec<u8> {
    let disks: Vec<_> = files_of_ovf.iter().map(|(name, _)| (*name, "1048576", None)).collect();
    let text = ovf(&disks);
    files(&[&[("metadata.json", VIRTUALBOX), ("box.ovf", text.as_bytes())], files_of_ovf].concat())
}

fn packed(parts: impl Fn(&Path, &Path) -> Result<Inspected, Refusal>) -> (Given, Inspected) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.qcow2"), qcow2(1 << 20)).unwrap();
    fs::write(folder.path().join("a.ovf"), ovf(&[("d.vmdk", "2048", None), ("e.vdi", "", None)])).unwrap();
    fs::write(folder.path().join("d.vmdk"), vmdk(4)).unwrap();
    fs::write(folder.path().join("e.vdi"), vdi(7)).unwrap();
    let inspected = parts(folder.path(), &folder.path().join("file")).unwrap();
    (Given { folder }, inspected)
}

#[test]
fn a_box_is_known_by_its_content() {
    let disk = qcow2(1 << 20);
    let machine = ovf(&[("box-disk001.vmdk", "1048576", None)]);
    let by_hand: [(Vec<u8>, BoxProvider, u64); 6] = [
        (libvirt(), BoxProvider::Libvirt, 1 << 20),
        (
            files(&[("./box.img", &disk), ("./Vagrantfile", b"x"), ("./metadata.json", LIBVIRT)]),
            BoxProvider::Libvirt,
            1 << 20,
        ),
        (virtualbox(&[("box-disk001.vmdk", &vmdk(2048))]), BoxProvider::VirtualBox, 1 << 20),
        (virtualbox(&[("b.vdi", &vdi(99)), ("a.vmdk", &vmdk(4))]), BoxProvider::VirtualBox, 1 << 20),
        (
            files(&[
                ("box-disk001.vmdk", &vmdk(2048)),
                ("box.ovf", machine.replace("capacity=\"1048576\"", "capacity=\"?\"").as_bytes()),
                ("metadata.json", VIRTUALBOX),
            ]),
            BoxProvider::VirtualBox,
            1 << 20,
        ),
        (
            archive_of(&[
                entry("./", b'5', b""),
                entry("metadata.json", b'0', LIBVIRT),
                entry("include/", b'5', b""),
                entry("include/a", b'0', b"a"),
                entry("box.img", b'0', &disk),
                vec![0; 9000],
            ]),
            BoxProvider::Libvirt,
            1 << 20,
        ),
    ];
    for (plain, provider, virtual_size) in by_hand {
        for bytes in [gzip(&plain), plain] {
            let given = given(&bytes);
            let found = given.inspect().unwrap();
            assert_eq!((found.format, found.provider), (BoxFormat::Vagrant, Some(provider)));
            assert_eq!((found.virtual_size, found.size), (virtual_size, bytes.len() as u64));
            assert_eq!(found.sha256, sha256(&bytes));
            assert_eq!(found.config("arm64").architecture, "arm64");
            assert_eq!(given.unpack().unwrap().inspected, found);
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let bytes: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.concat()
}

#[test]
fn a_disk_is_known_by_its_content() {
    for (bytes, format, virtual_size) in
        [(qcow2(7), BoxFormat::Qcow2, 7), (with(vec![0; 4096], 4000, b"x"), BoxFormat::Raw, 4096)]
    {
        let found = given(&bytes).inspect().unwrap();
        let disk = Disk { name: "file".to_owned(), size: 4096, virtual_size };
        assert_eq!((found.format, found.provider, &found.disks), (format, None, &vec![disk]));
        assert_eq!((found.sha256, found.virtual_size), (sha256(&bytes), virtual_size));
        assert!(matches!(given(&bytes).unpack(), Err(Refusal::NoArchive)));
    }
}

#[test]
fn a_disk_that_is_none_is_refused() {
    let with_backing = with(qcow2(7), 8, &1_u64.to_be_bytes());
    let unwritten = with(qcow2(7), 0x200, &[0; 8]);
    for (bytes, expected) in [
        (vec![], "the file is empty"),
        (vec![0; 4096], "the disk «file» is empty"),
        (unwritten, "the disk «file» is empty"),
        (vec![1; 4097], "the disk «file» has 4097 bytes"),
        (vec![1; (1 << 20) + 512], "in the file, the content is larger than 1048576 bytes"),
        (with_backing, "the disk «file» reads «"),
        (qcow2(7)[..0x204].to_vec(), "the disk «file» is shorter"),
        (vmdk(4), "the file is a VMDK disk"),
    ] {
        let found = refused(&bytes);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn a_box_without_its_parts_is_refused() {
    let disk = qcow2(7);
    let backing = with(disk.clone(), 8, &1_u64.to_be_bytes());
    let machine = ovf(&[("a.vmdk", "1", None)]);
    let bare = ovf(&[]);
    let other: &[u8] = br#"{"provider":"hyperv"}"#;
    let listed: &[u8] = br#"{"provider":"libvirt","disks":[{"path":"box.img"},{"path":"b.img"}]}"#;
    let long = vec![b' '; (128 << 10) + 1];
    let cases: [(Files, &str); 19] = [
        (&[("box.img", &disk)], "the archive has no «metadata.json»"),
        (&[("a/metadata.json", LIBVIRT), ("box.img", &disk)], "the archive has no «metadata.json»"),
        (&[("metadata.json", b"{"), ("box.img", &disk)], "«metadata.json» cannot be read"),
        (&[("metadata.json", b"\xff"), ("box.img", &disk)], "«metadata.json» is no text"),
        (&[("metadata.json", other)], "«metadata.json» names the provider «hyperv»"),
        (&[("metadata.json", LIBVIRT)], "the box has no disk «box.img»: packer's artifice"),
        (&[("metadata.json", listed), ("box.img", &disk)], "the box has no disk «b.img»"),
        (&[("metadata.json", LIBVIRT), ("box.img", b"")], "the disk «box.img» is empty"),
        (&[("metadata.json", LIBVIRT), ("box.img", &[0; 512])], "the disk «box.img» is no qcow2"),
        (&[("metadata.json", LIBVIRT), ("box.img", &backing)], "the disk «box.img» reads «"),
        (&[("metadata.json", &long), ("box.img", &disk)], "«metadata.json» is longer than 131072 bytes"),
        (&[("metadata.json", LIBVIRT), ("Vagrantfile", &long)], "«Vagrantfile» is longer than 131072 bytes"),
        (&[("metadata.json", VIRTUALBOX), ("box.ovf", &long)], "«box.ovf» is longer than 131072 bytes"),
        (&[("metadata.json", VIRTUALBOX)], "the box has 0 OVF files"),
        (&[("metadata.json", VIRTUALBOX), ("box.ovf", b""), ("b.ovf", b"")], "the box has 2 OVF files"),
        (&[("metadata.json", VIRTUALBOX), ("b.ovf", b"")], "«b.ovf» is not named box.ovf"),
        (&[("metadata.json", VIRTUALBOX), ("box.ovf", machine.as_bytes())], "«box.ovf» names «a.vmdk», which is not"),
        (&[("metadata.json", VIRTUALBOX), ("box.ovf", bare.as_bytes())], "«box.ovf» names no disk"),
        (&[("metadata.json", VIRTUALBOX), ("box.ovf", b"<a>")], "«box.ovf» is no XML"),
    ];
    for (entries, expected) in cases {
        let found = refused(&gzip(&files(entries)));
        assert!(found.starts_with(expected), "{found}");
    }
    for empty in [&b""[..], &vmdk(4)[..1536], &with(vdi(7), 388, &[0; 4])] {
        let found = refused(&virtualbox(&[("a.vmdk", empty)]));
        assert!(found.starts_with("the disk «a.vmdk» is empty"), "{found}");
    }
    let found = refused(&virtualbox(&[("a.vmdk", b"# Disk DescriptorFile\n")]));
    assert!(found.starts_with("the disk «a.vmdk» is of the kind"), "{found}");
}

#[test]
fn an_entry_that_is_no_file_of_the_box_is_refused() {
    let pax = |record: &str| [entry("x", b'x', record.as_bytes()), entry("box.img", b'0', b"a")].concat();
    let name = |name: &str| [entry("l", b'L', name.as_bytes()), entry("box.img", b'0', b"a")].concat();
    let twice = [entry("a", b'0', b"a"), entry("./a", b'0', b"a")].concat();
    for (bytes, expected) in [
        (entry("../a", b'0', b"a"), "the entry «../a» climbs out of the folder"),
        (entry("/a", b'0', b"a"), "the entry «/a» is absolute"),
        (entry("a/", b'0', b"a"), "the entry «a/» is a file with a slash"),
        (entry("./", b'0', b"a"), "the entry «./» is a file with a slash"),
        (entry(".", b'0', b"a"), "the entry «» is a file without a name"),
        (pax("18 path=../../etc\n"), "the entry «../../etc» climbs"),
        (pax("22 GNU.sparse.major=1\n"), "the entry «box.img» is a sparse file in the form of pax"),
        (name("../../etc\0"), "the entry «../../etc» climbs"),
        (name(&"a".repeat(300)), &format!("the entry «{}» is longer than 255", "a".repeat(300))),
        (name("a\u{1b}[2J"), "the entry «a\\u{1b}[2J» has a backslash or a control character"),
        (entry("a", b'1', b""), "the entry «a» is a hard link"),
        (entry("a", b'2', b""), "the entry «a» is a symbolic link"),
        (entry("a", b'3', b""), "the entry «a» is a device"),
        (entry("a", b'4', b""), "the entry «a» is a device"),
        (entry("a", b'6', b""), "the entry «a» is a pipe"),
        (entry("a", b'5', b"content"), "the entry «a» is of a kind that is not known"),
        (entry("a", b'7', b""), "the entry «a» is of a kind that is not known"),
        (entry("a", b'g', b"18 path=../../etc\n"), "the entry «a» is of a kind that is not known"),
        (entry("a", b'V', b""), "the entry «a» is of a kind that is not known"),
        (twice, "«a» is in the archive twice"),
        ([entry("a", b'0', b"a"), entry("a/b", b'0', b"a")].concat(), "«a» is in the archive twice"),
        ([entry("a/b", b'0', b"a"), entry("a", b'0', b"a")].concat(), "«a» is in the archive twice"),
        ([entry("a", b'5', b""), entry("a", b'0', b"a")].concat(), "«a» is in the archive twice"),
        ([entry("a", b'0', b"a"), entry("a", b'5', b"")].concat(), "«a» is in the archive twice"),
    ] {
        let found = refused(&gzip(&archive_of(&[entry("metadata.json", b'0', LIBVIRT), bytes])));
        assert!(found.starts_with(expected), "{found}");
    }
    let many: Vec<_> = (0..=MOST_ENTRIES).map(|at| entry(&format!("a{at}"), b'0', b"")).collect();
    assert!(refused(&archive_of(&many)).starts_with("the archive has more than 64 entries"));
    assert!(refused(&archive_of(&vec![entry("a", b'5', b""); 65])).starts_with("the archive has more than 64 entries"));
}

/// A sparse file of the old form of GNU tar: holes, and four bytes at a place.
fn sparse(name: &str, at: u64, real_size: u64) -> Vec<u8> {
    let mut header = tar::Header::from_byte_slice(&header(name, b'S', 4)).clone();
    let octal = |number: u64| -> [u8; 12] { format!("{number:011o}\0").into_bytes().try_into().unwrap() };
    let gnu = header.as_gnu_mut().unwrap();
    gnu.sparse[0].offset = octal(at);
    gnu.sparse[0].numbytes = octal(4);
    gnu.realsize = octal(real_size);
    header.set_cksum();
    [header.as_bytes().to_vec(), b"data".to_vec(), vec![0; 508]].concat()
}

#[test]
fn holes_count_as_what_they_stand_for() {
    let good = archive_of(&[
        entry("metadata.json", b'0', LIBVIRT),
        entry("box.img", b'0', &qcow2(7)),
        sparse("other", 500_000, 500_004),
    ]);
    let unpacked = given(&gzip(&good));
    unpacked.unpack().unwrap();
    let written = fs::read(unpacked.folder.path().join("unpacked/other")).unwrap();
    assert_eq!((written.len(), &written[500_000..]), (500_004, &b"data"[..]));
    let bomb = archive_of(&[sparse("box.img", 1 << 32, (1 << 32) + 4)]);
    assert!(refused(&bomb).starts_with("in «box.img», the content is larger than 1048576 bytes"));
}

#[test]
fn a_bomb_ends_at_the_bound() {
    let none = &mut |_: &str| Ok(None);
    // Their content never ends: whoever reads on does so until the memory ends.
    for (start, expected) in [
        (header("box.img", b'0', BOUND + 1), "in «box.img», the content is larger than 1048576 bytes"),
        (header("l", b'L', 1 << 32), "the archive has more than 4194304 bytes of headers"),
        (header("l", b'K', 1 << 32), "the archive has more than 4194304 bytes of headers"),
        (header("x", b'x', 1 << 32), "the archive has more than 4194304 bytes of headers"),
        (vec![0; 512], "there is data behind the end of the archive"),
    ] {
        let found = archive::read(start.chain(repeat(b'a')), BOUND, none).unwrap_err().to_string();
        assert!(found.starts_with(expected), "{found}");
    }
    let zeros = archive::read(repeat(0), BOUND, none).unwrap_err();
    assert!(matches!(zeros, Refusal::TooManyHeaders { .. }), "{zeros}");
    // A list of holes that never ends.
    let mut list = tar::Header::from_byte_slice(&header("box.img", b'S', 0)).clone();
    list.as_gnu_mut().unwrap().isextended = [1];
    list.set_cksum();
    let one = with(vec![0; 512], 504, &[1]);
    let blocks = one.repeat(20_000);
    let found = archive::read(list.as_bytes().chain(&blocks[..]), BOUND, none).unwrap_err();
    assert!(matches!(found, Refusal::TooManyHeaders { .. }), "{found}");
}

#[test]
fn a_disk_that_is_larger_for_its_machine_than_allowed_is_refused() {
    let huge = 100 << 40;
    let sentence = |name: &str, size: u64| {
        format!(
            "the disk «{name}» has {size} GiB for its machine, which is more than the 0 GiB that the profile's storage \
             allows: make the disk smaller, or grant more storage"
        )
    };
    let machine = ovf(&[("a.vmdk", "1048577", None)]);
    let listed: &[u8] = br#"{"provider":"libvirt","disks":[{"path":"box.img"},{"path":"b.img"}]}"#;
    for (bytes, name, size) in [
        (qcow2(huge), "file", 102_400),
        (gzip(&files(&[("metadata.json", LIBVIRT), ("box.img", &qcow2(huge))])), "box.img", 102_400),
        (files(&[("metadata.json", listed), ("box.img", &qcow2(7)), ("b.img", &qcow2(BOUND + 1))]), "b.img", 1),
        // By the header alone, and by the OVF alone.
        (virtualbox(&[("a.vmdk", &vmdk(huge / 512))]), "a.vmdk", 102_400),
        (virtualbox(&[("a.vmdk", &vmdk(4)), ("b.vdi", &vdi(huge))]), "b.vdi", 102_400),
        (files(&[("metadata.json", VIRTUALBOX), ("box.ovf", machine.as_bytes()), ("a.vmdk", &vmdk(4))]), "a.vmdk", 1),
    ] {
        assert_eq!(refused(&bytes), sentence(name, size));
    }
    assert_eq!(given(&qcow2(BOUND)).inspect().unwrap().virtual_size, BOUND);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::write(folder.path().join("a.qcow2"), qcow2(BOUND + 1)).unwrap();
    fs::write(folder.path().join("a.ovf"), ovf(&[("d.vmdk", "2048", None)])).unwrap();
    fs::write(folder.path().join("d.vmdk"), vmdk(BOUND)).unwrap();
    let found = of_disk(folder.path(), &out).unwrap_err().to_string();
    assert_eq!((found, out.exists()), (sentence("box.img", 1), false));
    let found = of_machine(folder.path(), &out).unwrap_err().to_string();
    assert_eq!((found, out.exists()), (sentence("d.vmdk", 1), false));
    // Files that are larger than an inspection of the box would take.
    fs::write(folder.path().join("a.qcow2"), [qcow2(7), vec![1; 1 << 20]].concat()).unwrap();
    let found = of_disk(folder.path(), &out).unwrap_err().to_string();
    assert!(found.starts_with("in «box.img», the content is larger than 1048576 bytes") && !out.exists(), "{found}");
}

#[test]
fn a_compressed_bomb_is_not_written() {
    // One GiB, in members of gzip that are the same.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 16 << 20]).unwrap();
    let zeros = encoder.finish().unwrap().repeat(64);
    assert!(zeros.len() < 2 << 20, "{}", zeros.len());
    let within = [header("metadata.json", b'0', 100), vec![0; 512], header("a", b'0', 600_000), vec![0; 600_064]];
    let start = [within.concat(), header("box.img", b'0', 1 << 30)].concat();
    let given = given(&[gzip(&start), zeros].concat());
    let found = given.unpack().unwrap_err().to_string();
    assert!(found.starts_with("in «box.img», the content is larger than 1048576 bytes"), "{found}");
    let written: Vec<_> = fs::read_dir(given.folder.path().join("unpacked")).unwrap().map(Result::unwrap).collect();
    assert_eq!(written.len(), 2);
    let size: u64 = written.iter().map(|entry| entry.metadata().unwrap().len()).sum();
    assert!(size <= BOUND);
}

#[test]
fn what_is_damaged_is_refused() {
    let good = gzip(&libvirt());
    let end = good.len();
    let garbage = [good.clone(), b"garbage behind it".to_vec()].concat();
    let hidden = [libvirt(), libvirt()].concat();
    let flipped = with(libvirt(), 150, b"7");
    for (bytes, expected) in [
        (good[..end - 1].to_vec(), "the archive ends too early"),
        (good[..end - 9].to_vec(), "the archive ends too early"),
        (good[..20].to_vec(), "the archive ends too early, at its beginning"),
        (with(good.clone(), end - 8, &[good[end - 8] ^ 1]), "the archive is damaged or none, after «box.img»"),
        (with(good.clone(), end - 1, &[1]), "the archive is damaged or none, after «box.img»"),
        (garbage, "the archive is damaged or none, after «box.img»"),
        (gzip(&qcow2(7)), "the archive is damaged or none, at its beginning"),
        (gzip(b""), "the archive ends too early, at its beginning"),
        (hidden, "there is data behind the end of the archive"),
        (flipped, "the archive is damaged or none, at its beginning"),
    ] {
        let found = refused(&bytes);
        assert!(found.starts_with(expected), "{found}");
    }
    // A plain archive that is cut, also between two entries and before its end.
    let plain = libvirt();
    for length in [512, 700, 1024, 1536, 2000, plain.len() - 1024, plain.len() - 1000, plain.len() - 512] {
        let found = refused(&plain[..length]);
        assert!(found.starts_with("the archive ends too early"), "{length}: {found}");
    }
}

#[test]
fn a_file_is_given_and_the_folder_is_empty() {
    let given = given(&gzip(&libvirt()));
    let link = given.folder.path().join("link");
    symlink(given.file(), &link).unwrap();
    for path in [link.as_path(), given.folder.path()] {
        assert!(matches!(inspect(path, BOUND), Err(Refusal::NoRegularFile { .. })));
    }
    assert!(matches!(unpack(&given.file(), given.folder.path(), BOUND), Err(Refusal::FolderInUse { .. })));
}

#[test]
fn an_unpacked_box_is_what_was_packed() {
    for (pack_it, disks, ovf) in [
        (of_disk as fn(&Path, &Path) -> Result<Inspected, Refusal>, vec!["box.img"], None),
        (of_machine, vec!["d.vmdk", "e.vdi"], Some("box.ovf")),
    ] {
        let (given, inspected) = packed(pack_it);
        assert_eq!(given.inspect().unwrap(), inspected);
        let bytes = fs::read(given.file()).unwrap();
        // Without a name, and without a time.
        assert_eq!(&bytes[3..8], [0; 5]);
        assert_eq!(fs::read(packed(pack_it).0.file()).unwrap(), bytes);
        let unpacked = given.unpack().unwrap();
        let folder = given.folder.path().join("unpacked");
        let expected: Vec<_> = disks.iter().map(|name| folder.join(name)).collect();
        assert_eq!((unpacked.inspected, &unpacked.disks), (inspected, &expected));
        assert_eq!(unpacked.ovf, ovf.map(|name| folder.join(name)));
    }
}

fn of_disk(folder: &Path, out: &Path) -> Result<Inspected, Refusal> {
    pack(Parts::Libvirt { disk: &folder.join("a.qcow2") }, Some("amd64"), BOUND, out)
}

fn of_machine(folder: &Path, out: &Path) -> Result<Inspected, Refusal> {
    pack(Parts::VirtualBox { ovf: &folder.join("a.ovf") }, None, BOUND, out)
}

#[test]
fn a_packed_box_has_what_vagrant_needs() {
    let text = |given: &Given, name: &str| fs::read_to_string(given.folder.path().join("unpacked").join(name)).unwrap();
    let (given, found) = packed(of_disk);
    given.unpack().unwrap();
    assert_eq!((found.architecture.as_deref(), found.virtual_size), (Some("amd64"), 1 << 20));
    let metadata = r#"{"architecture":"amd64","format":"qcow2","provider":"libvirt","virtual_size":1}"#;
    assert_eq!(text(&given, "metadata.json"), metadata);
    assert_eq!(fs::read(given.folder.path().join("unpacked/box.img")).unwrap(), qcow2(1 << 20));

    let (given, found) = packed(of_machine);
    given.unpack().unwrap();
    let sizes: Vec<_> = found.disks.iter().map(|disk| disk.virtual_size).collect();
    assert_eq!((sizes, found.virtual_size), (vec![2048, 7], 2048));
    assert_eq!(text(&given, "metadata.json"), r#"{"provider":"virtualbox"}"#);
    assert!(text(&given, "Vagrantfile").contains("config.vm.base_mac = \"080027C7DF4B\""));
}

#[test]
fn what_cannot_be_packed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let out = path("out");
    for (content, expected) in [
        (vec![], "the disk «box.img» is empty"),
        (vec![1; 512], "the disk «box.img» is no qcow2"),
        (with(qcow2(7), 0x200, &[0; 8]), "the disk «box.img» is empty"),
        (with(qcow2(7), 8, &[1; 8]), "the disk «box.img» reads «?»"),
    ] {
        fs::write(path("disk"), content).unwrap();
        let found = pack(Parts::Libvirt { disk: &path("disk") }, None, BOUND, &out).unwrap_err().to_string();
        assert!(found.starts_with(expected) && !out.exists(), "{found}");
    }
    let machine = ovf(&[("a.vmdk", "1", None)]);
    let unnamed = machine.replace("MACAddress", "x");
    let file = |name: &str| machine.replace("a.vmdk", name);
    let long = "a".repeat(101);
    for (text, expected) in [
        (machine.clone(), "«box.ovf» names «a.vmdk», which is not in the box"),
        (unnamed, "«box.ovf» has no adapter with an address"),
        (file("metadata.json"), "«metadata.json» is in the archive twice"),
        // The folder may be a link to whatever folder.
        (file("b/a.vmdk"), "the entry «b/a.vmdk» is in a folder"),
        (file(&long), &format!("the entry «{long}» is longer than 100 bytes")),
    ] {
        fs::write(path("a.ovf"), text).unwrap();
        let found = pack(Parts::VirtualBox { ovf: &path("a.ovf") }, None, BOUND, &out).unwrap_err().to_string();
        assert!(found.starts_with(expected) && !out.exists(), "{found}");
    }
    // What is beside it may be a link to whatever file.
    fs::write(path("a.ovf"), machine).unwrap();
    symlink("/etc/hostname", path("a.vmdk")).unwrap();
    let found = pack(Parts::VirtualBox { ovf: &path("a.ovf") }, None, BOUND, &out).unwrap_err();
    assert!(matches!(found, Refusal::NoRegularFile { .. }), "{found}");
    // A file that is there is left alone.
    fs::write(path("disk"), qcow2(7)).unwrap();
    fs::write(&out, "mine").unwrap();
    assert!(matches!(pack(Parts::Libvirt { disk: &path("disk") }, None, BOUND, &out), Err(Refusal::Local { .. })));
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
}

#[test]
fn zeros_are_written_as_holes() {
    let disk = [qcow2(7), vec![0; 900_000]].concat();
    let given = given(&gzip(&files(&[("metadata.json", LIBVIRT), ("box.img", &disk)])));
    let unpacked = given.unpack().unwrap();
    assert_eq!(fs::read(&unpacked.disks[0]).unwrap(), disk);
    // Where the file system has no holes, it is as large as it is.
    let blocks = fs::metadata(&unpacked.disks[0]).unwrap().blocks() * 512;
    assert!(blocks <= 70_000 || blocks >= 900_000, "{blocks}");
}

/// Taken with the disk that was packed, or refused.
fn is_the_same_or_refused(bytes: &[u8], disk: &[u8]) -> Result<(), TestCaseError> {
    let given = given(bytes);
    if let Ok(unpacked) = given.unpack() {
        prop_assert_eq!(fs::read(&unpacked.disks[0]).unwrap(), disk);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_flipped_bit_is_refused_or_changes_no_disk(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = gzip(&libvirt());
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        is_the_same_or_refused(&bytes, &qcow2(1 << 20))?;
    }

    #[test]
    fn a_cut_is_refused(at in any::<prop::sample::Index>()) {
        let machine = virtualbox(&[("a.vmdk", &vmdk(4))]);
        for whole in [gzip(&libvirt()), gzip(&machine)] {
            let cut = &whole[..at.index(whole.len())];
            prop_assert!(given(cut).inspect().is_err());
        }
        let cut = &machine[..at.index(machine.len())];
        prop_assert!(given(cut).inspect().is_err());
    }

    #[test]
    fn whatever_is_given_ends_with_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..2000), place in 0_usize..3000) {
        let mut plain = libvirt();
        let place = place.min(plain.len() - bytes.len());
        plain[place..place + bytes.len()].copy_from_slice(&bytes);
        for bytes in [&bytes, &plain, &gzip(&plain)] {
            let given = given(bytes);
            let is_box = given.inspect().is_ok_and(|found| found.format == BoxFormat::Vagrant);
            prop_assert_eq!(is_box, given.unpack().is_ok());
        }
    }

    #[test]
    fn a_header_of_a_disk_ends_with_an_answer(at in 0_usize..512, bytes in prop::collection::vec(any::<u8>(), 1..64)) {
        for disk in [qcow2(7), vmdk(4), vdi(7)] {
            let disk = with(disk, at, &bytes);
            let _ = (qcow2::header(&disk), vmdk::capacity(&disk), vdi::capacity(&disk));
        }
    }
}
