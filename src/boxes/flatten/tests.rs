use std::{collections::BTreeMap, io::Cursor};

use proptest::prelude::*;
use tar::{Archive, Builder, EntryType, Header};

use super::*;

const NO_LIMITS: Limits = Limits { entries: 1000, bytes: 1 << 30 };

/// An entry of a layer.
#[derive(Clone, Copy, Debug)]
enum Is<'t> {
    File(&'t str),
    Directory(u32),
    Symlink(&'t str),
    Link(&'t str),
    Device(u32, u32),
    /// Of any kind.
    Kind(u8),
}
use Is::{Device, Directory, File, Kind as Of, Link, Symlink};

fn header(is: Is) -> Header {
    let mut header = Header::new_gnu();
    let (kind, mode) = match is {
        File(_) => (EntryType::Regular, 0o644),
        Directory(mode) => (EntryType::Directory, mode),
        Symlink(_) => (EntryType::Symlink, 0o777),
        Link(_) => (EntryType::Link, 0o600),
        Device(..) => (EntryType::Char, 0o666),
        Of(kind) => (EntryType::new(kind), 0o644),
    };
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(9);
    header.set_size(0);
    if let Of(kind) = is {
        // The crate writes one of two for regular files.
        header.as_old_mut().linkflag = [kind];
    }
    if let Device(major, minor) = is {
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
    }
    header
}

fn add(layer: &mut Builder<Vec<u8>>, name: &str, is: Is) {
    let mut header = header(is);
    match is {
        Symlink(to) | Link(to) => {
            fill(&mut header.as_old_mut().linkname, to.as_bytes());
        }
        File(content) => header.set_size(content.len().try_into().unwrap()),
        _ => {}
    }
    // Whatever the crate thinks of it.
    fill(&mut header.as_old_mut().name, name.as_bytes());
    header.set_cksum();
    let content = if let File(content) = is { content } else { "" };
    layer.append(&header, content.as_bytes()).unwrap();
}

fn fill(field: &mut [u8], text: &[u8]) {
    field[..text.len()].copy_from_slice(text);
}

fn layer(entries: &[(&str, Is)]) -> Vec<u8> {
    let mut layer = Builder::new(Vec::new());
    for (name, is) in entries {
        add(&mut layer, name, *is);
    }
    layer.into_inner().unwrap()
}

fn image(layers: &[Vec<u8>]) -> Result<Image<Cursor<Vec<u8>>>, Error> {
    Image::read(layers.iter().cloned().map(Cursor::new), NO_LIMITS)
}

fn flattened(layers: &[Vec<u8>]) -> Vec<u8> {
    let mut written = Vec::new();
    image(layers).unwrap().write(&mut written).unwrap();
    written
}

/// An archive as lines: name, what it is, owner and mode where they are not those that [`add`] gives.
fn lines(archive: &[u8]) -> Vec<String> {
    let mut archive = Archive::new(archive);
    archive.entries().unwrap().map(|entry| line(&mut entry.unwrap())).collect()
}

fn line(entry: &mut tar::Entry<'_, &[u8]>) -> String {
    let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
    let target = String::from_utf8(entry.link_name_bytes().unwrap_or_default().into_owned()).unwrap();
    let header = entry.header().clone();
    let what = match header.entry_type() {
        EntryType::Regular => format!("= {}", std::io::read_to_string(entry).unwrap()),
        EntryType::Directory => format!("{:o}", header.mode().unwrap()),
        EntryType::Symlink => format!("-> {target}"),
        EntryType::Link => format!("also {target}"),
        _ => format!(
            "device {:?}:{:?}",
            header.device_major().unwrap().unwrap(),
            header.device_minor().unwrap().unwrap()
        ),
    };
    format!("{name} {what}")
}

/// What is left of layers, without the root.
fn left(layers: &[&[(&str, Is)]]) -> Vec<String> {
    let layers: Vec<_> = layers.iter().map(|entries| layer(entries)).collect();
    lines(&flattened(&layers)).split_off(1)
}

#[test]
fn a_machine_knows_localhost_where_an_engine_has_left_an_empty_file() {
    let empty: &[(&str, Is)] = &[("etc/hosts", File("")), ("etc/hostname", File(""))];
    let found = left(&[empty]);
    let filled = "etc/hosts = 127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    assert!(found.contains(&filled.to_owned()) && found.contains(&"etc/hostname = ".to_owned()), "{found:?}");
    let found = left(&[empty, &[("etc/hosts", File("10.0.0.1 own\n"))]]);
    assert!(found.contains(&"etc/hosts = 10.0.0.1 own\n".to_owned()), "{found:?}");
}

fn refusal(layers: &[&[(&str, Is)]]) -> String {
    let layers: Vec<_> = layers.iter().map(|entries| layer(entries)).collect();
    image(&layers).unwrap_err().to_string()
}

/// Layers, the lowest first.
type Layers = &'static [&'static [(&'static str, Is<'static>)]];

/// What it is about, layers, and what is left of them.
const LAID_OVER: &[(&str, Layers, &[&str])] = &[
    ("one layer in the order of names", &[&[("b", File("1")), ("a", File("2"))]], &["a = 2", "b = 1"]),
    ("a file over a file", &[&[("a", File("1"))], &[("a", File("2"))]], &["a = 2"]),
    ("a whiteout", &[&[("a", File("1")), ("b", File("2"))], &[(".wh.a", File(""))]], &["b = 2"]),
    (
        "a whiteout of a directory",
        &[&[("d", Directory(0o755)), ("d/a", File("1")), ("d-", File("2"))], &[(".wh.d", File(""))]],
        &["d- = 2"],
    ),
    ("a whiteout of nothing that is there", &[&[("a", File("1"))], &[("d/.wh.b", File(""))]], &["a = 1"]),
    (
        "a whiteout beside the same name, before and after it",
        &[
            &[("a", File("1")), ("b", File("1"))],
            &[(".wh.a", File("")), ("a", File("2")), ("b", File("2")), (".wh.b", File(""))],
        ],
        &["a = 2", "b = 2"],
    ),
    (
        "what a layer has in a directory that it hides",
        &[&[("d/", Directory(0o700)), ("d/a", File("1"))], &[("d/b", File("2")), (".wh.d", File(""))]],
        &["d/ 755", "d/b = 2"],
    ),
    (
        "an opaque directory, before and after what is in it",
        &[
            &[("d", Directory(0o755)), ("d/a", File("1")), ("d/e/b", File("1"))],
            &[("d", Directory(0o700)), ("d/c", File("2")), ("d/.wh..wh..opq", File("")), ("d/f", File("2"))],
        ],
        &["d/ 700", "d/c = 2", "d/f = 2"],
    ),
    ("the root is opaque", &[&[("a", File("1"))], &[(".wh..wh..opq", File("")), ("b", File("2"))]], &["b = 2"]),
    (
        "the metadata of the topmost directory, and its children stay",
        &[&[("d", Directory(0o755)), ("d/a", File("1"))], &[("d", Directory(0o1777))]],
        &["d/ 1777", "d/a = 1"],
    ),
    ("a file over a directory", &[&[("d", Directory(0o755)), ("d/a", File("1"))], &[("d", File("2"))]], &["d = 2"]),
    (
        "a directory over a file",
        &[&[("d", File("1"))], &[("d", Directory(0o755)), ("d/a", File("2"))]],
        &["d/ 755", "d/a = 2"],
    ),
    (
        "a directory over a symlink, whose target stays",
        &[&[("to/a", File("1")), ("d", Symlink("to"))], &[("d", Directory(0o700)), ("d/b", File("2"))]],
        &["d/ 700", "d/b = 2", "to/ 755", "to/a = 1"],
    ),
    (
        "a symlink over a directory",
        &[&[("to/a", File("1")), ("d/b", File("1"))], &[("d", Symlink("to"))]],
        &["d -> to", "to/ 755", "to/a = 1"],
    ),
    (
        "names, links and whiteouts through a symlink of a lower layer",
        &[
            &[
                ("usr/lib/a", File("1")),
                ("usr/lib/b", File("1")),
                ("lib", Symlink("usr/lib")),
                ("up", Symlink("/../lib")),
            ],
            &[("lib/c", File("2")), ("up/.wh.a", File("")), ("d", Link("up/b"))],
        ],
        &["d = 1", "lib -> usr/lib", "up -> /../lib", "usr/ 755", "usr/lib/ 755", "usr/lib/b also d", "usr/lib/c = 2"],
    ),
    (
        "a hard link keeps the content that an upper layer replaces or hides",
        &[
            &[("a", File("old")), ("b", Link("a")), ("c", Link("./a")), ("d", Link("/a"))],
            &[("a", File("new"))],
            &[(".wh.b", File(""))],
        ],
        &["a = new", "c = old", "d also c"],
    ),
    (
        "a hard link to a file of a lower layer, to a symlink and to a device",
        &[
            &[("a", File("1")), ("s", Symlink("x")), ("n", Device(1, 3))],
            &[("b", Link("a")), ("t", Link("s")), ("o", Link("n"))],
        ],
        &["a = 1", "b also a", "n device 1:3", "o also n", "s -> x", "t also s"],
    ),
    ("the same name twice in a layer", &[&[("a", File("1")), ("a", File("2"))]], &["a = 2"]),
    (
        "devices",
        &[&[("dev/null", Device(1, 3)), ("dev/big", Device(259, 70000))]],
        &["dev/ 755", "dev/big device 259:70000", "dev/null device 1:3"],
    ),
    (
        "names in other forms, the root among them",
        &[&[("./", Directory(0o755)), ("/", Directory(0o755)), ("./a//b/./c", File("1")), ("d/", Of(0))]],
        &["a/ 755", "a/b/ 755", "a/b/c = 1", "d/ 644"],
    ),
    (
        "what engines leave, but not the files that they mount over",
        &[&[
            (".dockerenv", File("")),
            ("lost+found", File("")),
            ("run/.containerenv", File("")),
            ("etc/hostname", File("")),
        ]],
        &["etc/ 755", "etc/hostname = ", "run/ 755"],
    ),
    (
        "what AUFS keeps for itself",
        &[&[(".wh..wh.plnk/1.2", File("1")), (".wh..wh.aufs", File("")), ("a", File("1"))]],
        &["a = 1"],
    ),
    ("global records, which say nothing", &[&[("g", Of(b'g')), ("a", File("1"))]], &["a = 1"]),
    ("a contiguous file", &[&[("a", Of(b'7'))]], &["a = "]),
];

#[test]
fn layers_are_laid_over_each_other() {
    for (what, layers, expected) in LAID_OVER {
        assert_eq!(left(layers), *expected, "{what}");
    }
}

/// Layers, and why they are refused.
const REFUSED: &[(Layers, &str)] = &[
    (&[&[("a/../../b", File("1"))]], "layer 1: \"a/../../b\" climbs out of its directory"),
    (&[&[], &[("..", Directory(0))]], "layer 2: \"..\" climbs out of its directory"),
    (&[&[("/etc/passwd", File("1"))]], "layer 1: \"/etc/passwd\" is an absolute name"),
    (&[&[("a", Link("../b"))]], "layer 1: \"a\" climbs out of its directory"),
    (&[&[("a", Link("b"))]], "layer 1: \"a\" is a link to something that is not there"),
    (&[&[("d", Directory(0)), ("a", Link("d"))]], "layer 1: \"a\" is a hard link to a directory"),
    (&[&[("a", File("")), ("a/b", File(""))]], "layer 1: \"a/b\" is below something that is no directory"),
    (&[&[("a", Symlink("a")), ("a/b", File(""))]], "layer 1: \"a/b\" leads through too many symlinks"),
    (&[&[("a", Symlink(""))]], "layer 1: \"a\" is a symlink to nothing"),
    (&[&[("./", File(""))]], "layer 1: \"./\" is the root, and no directory"),
    (&[&[("d/.wh.", File(""))]], "layer 1: \"d/.wh.\" is a whiteout of nothing"),
    (&[&[(".wh...", File(""))]], "layer 1: \".wh...\" is a whiteout of nothing"),
    (&[&[(".wh.d/a", File(""))]], "layer 1: \".wh.d/a\" is below a whiteout"),
    (&[&[("a", Of(b'Z'))]], "layer 1: \"a\" is of a kind that is not known"),
    (&[&[("a", Of(b'S'))]], "layer 1: \"a\" is stored as sparse, which no engine does"),
    (&[&[("x", Of(b'x'))]], "layer 1 is no archive that can be used: it ends where an entry is announced"),
];

#[test]
fn what_cannot_be_in_a_file_system_is_refused() {
    for (layers, expected) in REFUSED {
        assert_eq!(refusal(layers), *expected, "{layers:?}");
    }
}

/// Entries that say something of the next one: kinds and texts.
type Extensions<'t> = &'t [(u8, &'t [u8])];

/// A layer whose entry has extensions before it.
fn extended(extensions: Extensions<'_>, name: &str, is: Is) -> Vec<u8> {
    let mut layer = Builder::new(Vec::new());
    for (kind, text) in extensions {
        let mut header = header(Of(*kind));
        header.set_size(text.len().try_into().unwrap());
        header.set_cksum();
        layer.append(&header, *text).unwrap();
    }
    add(&mut layer, name, is);
    layer.into_inner().unwrap()
}

/// A pax record.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..rest + 9).find(|length| rest + length.to_string().len() == *length).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// With a line feed, and with what looks like a record behind it.
const CAPABILITY: &[u8] = b"\x01\x00\x00\x02\x0a\x0a12 path=evil\x0a\x00";

#[test]
fn pax_records_are_read_by_their_length_and_what_is_of_the_file_is_kept() {
    let capability = record("SCHILY.xattr.security.capability", CAPABILITY);
    let kept = [capability, record("uid", b"3000000"), record("mtime", b"1.5")].concat();
    let dropped = [record("comment", b"x"), record("uname", b"x"), record("SCHILY.realsize", b"1")].concat();
    let named = [record("path", "ő/a".as_bytes()), record("size", b"0")].concat();
    let layer = extended(&[(b'x', &[kept.clone(), dropped, named].concat())], "short", File(""));
    let archive = flattened(&[layer]);
    assert_eq!(lines(&archive).split_off(1), ["ő/ 755", "ő/a = "]);
    let mut raw = Archive::new(archive.as_slice());
    let mut entries = raw.entries().unwrap().raw(true).skip(2);
    let mut records = entries.next().unwrap().unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut records, &mut text).unwrap();
    assert_eq!((records.header().entry_type(), text), (EntryType::XHeader, kept));
    let file = entries.next().unwrap().unwrap();
    assert_eq!((file.header().entry_type(), file.header().mode().unwrap()), (EntryType::Regular, 0o644));
}

#[test]
fn long_names_and_targets_are_kept_in_the_format_of_gnu() {
    let (name, target) = (format!("d/{}", "n".repeat(200)), "t".repeat(300));
    let by_pax = [record("path", name.as_bytes()), record("linkpath", target.as_bytes())].concat();
    let zero = |text: &str| [text.as_bytes(), b"\0"].concat();
    let layers = [
        extended(&[(b'x', &by_pax)], "short", Symlink("short")),
        extended(&[(b'L', &zero(&name)), (b'K', &zero(&target))], "short", Symlink("short")),
    ];
    for layer in layers {
        let archive = flattened(&[layer]);
        assert_eq!(lines(&archive), ["./ 755", "d/ 755", &format!("{name} -> {target}")]);
        let mut archive = Archive::new(archive.as_slice());
        let kinds = archive.entries().unwrap().raw(true).map(|entry| entry.unwrap().header().entry_type());
        let expected = [EntryType::Directory, EntryType::Directory, EntryType::GNULongLink, EntryType::GNULongName];
        assert_eq!(kinds.take(4).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn all_names_of_a_file_have_its_metadata() {
    let records = record("SCHILY.xattr.security.capability", CAPABILITY);
    let lower = extended(&[(b'x', &records)], "b", File("1"));
    let archive = flattened(&[lower, layer(&[("a", Link("b"))])]);
    let mut archive = Archive::new(archive.as_slice());
    let modes = archive.entries().unwrap().raw(true).skip(1).map(|entry| {
        let entry = entry.unwrap();
        (entry.header().entry_type().as_byte(), entry.header().mode().unwrap(), entry.header().uid().unwrap())
    });
    let expected = [(b'x', 0o644, 0), (b'0', 0o644, 7), (b'x', 0o644, 0), (b'1', 0o644, 7)];
    assert_eq!(modes.collect::<Vec<_>>(), expected);
}

#[test]
fn archives_that_are_read_in_several_ways_are_refused() {
    let sparse = record("GNU.sparse.major", b"1");
    let cases: &[(Extensions<'_>, &str)] = &[
        (&[(b'x', b"5 a=b\n")], "a pax record is no record"),
        (&[(b'x', b"99 a=b\n")], "a pax record is no record"),
        (&[(b'x', b"6 a=bc")], "a pax record is no record"),
        (&[(b'x', &sparse)], "a file in it is stored as sparse, which no engine does"),
        (&[(b'x', b""), (b'x', b"")], "an entry is announced twice"),
        (&[(b'L', b"a\0"), (b'L', b"b\0")], "an entry is announced twice"),
        (&[(b'x', &record("size", b"-1"))], "the size of an entry is no number"),
        (&[(b'x', &record("size", b"99999"))], "it ends within an entry"),
    ];
    for (extensions, expected) in cases {
        let error = image(&[extended(extensions, "a", File("1"))]).unwrap_err().to_string();
        assert_eq!(error, format!("layer 1 is no archive that can be used: {expected}"));
    }
    let mut broken = layer(&[("a", File("1"))]);
    broken[0] = b'b';
    assert!(image(&[broken]).unwrap_err().to_string().ends_with("the checksum of a header is wrong"));
    for end in [100, 512, 600] {
        let cut = layer(&[("a", File("1234"))]).split_off(0)[..end].to_vec();
        assert!(image(&[cut]).unwrap_err().to_string().ends_with("it ends within an entry"), "{end}");
    }
}

#[test]
fn an_archive_may_end_without_zeros() {
    assert_eq!(lines(&flattened(&[layer(&[("a", File("1"))])[..1024].to_vec(), Vec::new()])), ["./ 755", "a = 1"]);
}

#[test]
fn limits_hold() {
    let layers = [layer(&[("a/b/c", File("12345"))]), layer(&[("d", Link("a/b/c"))])];
    let read = |entries, bytes| Image::read(layers.iter().cloned().map(Cursor::new), Limits { entries, bytes });
    assert_eq!(read(4, 5).unwrap().tree().usage(), Usage { inodes: 4, bytes: 5, blocks: 4 * 4096 });
    assert_eq!(read(3, 5).unwrap_err().to_string(), "the image has more than 3 entries");
    assert_eq!(read(4, 4).unwrap_err().to_string(), "the files of the image have more than 4 bytes");
}

#[test]
fn paths_are_looked_up_within_the_image() {
    let image = image(&[layer(&[
        ("boot/vmlinuz-1", File("")),
        ("boot/x/y", File("")),
        ("boot-", File("")),
        ("vmlinuz", Symlink("/../boot/vmlinuz-1")),
        ("loop", Symlink("loop")),
    ])]);
    let image = image.unwrap();
    let tree = image.tree();
    let names = |folder| tree.names_in(folder).map(String::from_utf8_lossy).collect::<Vec<_>>();
    assert_eq!((names("boot"), names("nowhere")), (vec!["vmlinuz-1".into(), "x".into()], vec![]));
    assert_eq!(names(""), ["boot", "boot-", "loop", "vmlinuz"]);
    assert_eq!((tree.find("/vmlinuz"), tree.find("boot")), (Some(Kind::File), Some(Kind::Directory)));
    assert_eq!((tree.find("loop"), tree.find("boot/none")), (None, None));
}

#[test]
fn layers_are_in_the_order_of_the_manifest() {
    let manifest = br#"{"layers": [{"digest": "sha256:0a"}, {"digest": "sha256:1b", "size": 1}]}"#;
    assert_eq!(layer_files(manifest).unwrap(), ["0a", "1b"]);
    for digest in ["sha256:../a", "a", "sha256:"] {
        let manifest = format!(r#"{{"layers": [{{"digest": "{digest}"}}]}}"#);
        assert!(matches!(layer_files(manifest.as_bytes()), Err(ManifestError::Digest(_))), "{digest}");
    }
    assert!(layer_files(br#"{"manifests": []}"#).is_err());
}

/// What a change does to a layer that is made on top of others.
#[derive(Clone, Debug)]
enum Change {
    File(usize, u8),
    Directory(usize),
    Symlink(usize, u8),
    Whiteout(usize),
    Opaque(usize),
}

const PATHS: [&str; 9] = ["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/a/b", "a/b/a", "b/a/b"];

/// A layer as overlayfs keeps it: what it has, whiteouts, opaque directories.
#[derive(Debug, Default)]
struct Upper {
    has: BTreeMap<String, String>,
    whiteouts: Vec<String>,
    opaque: Vec<String>,
    /// As they are written to the archive.
    entries: Vec<(String, Is<'static>)>,
}

const CONTENTS: [&str; 4] = ["0", "1", "2", "3"];

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(slash, _)| &path[..slash])
}

impl Upper {
    fn of(changes: &[Change]) -> Self {
        let mut upper = Self::default();
        for change in changes {
            upper.change(change);
        }
        upper
    }

    fn change(&mut self, change: &Change) {
        match *change {
            Change::File(path, content) => self.put(PATHS[path], File(CONTENTS[usize::from(content)])),
            Change::Symlink(path, content) => self.put(PATHS[path], Symlink(CONTENTS[usize::from(content)])),
            Change::Directory(path) => self.put(PATHS[path], Directory(0o755)),
            Change::Whiteout(path) if !self.has.contains_key(PATHS[path]) && self.folders(PATHS[path]) => {
                let (folder, name) =
                    PATHS[path].rsplit_once('/').map_or(("", PATHS[path]), |(folder, name)| (folder, name));
                self.whiteouts.push(PATHS[path].to_owned());
                self.entries.push((format!("{folder}/.wh.{name}").trim_start_matches('/').to_owned(), File("")));
            }
            Change::Opaque(path) if self.folders(&format!("{}/", PATHS[path])) => {
                self.opaque.push(PATHS[path].to_owned());
                self.entries.push((format!("{}/.wh..wh..opq", PATHS[path]), File("")));
            }
            Change::Whiteout(_) | Change::Opaque(_) => {}
        }
    }

    /// Each name once: a change of a layer by itself is no matter of laying over.
    fn put(&mut self, path: &'static str, is: Is<'static>) {
        if !self.has.contains_key(path) && self.folders(path) {
            let text = match is {
                File(content) => format!("{path} = {content}"),
                Symlink(to) => format!("{path} -> {to}"),
                _ => format!("{path}/ 755"),
            };
            self.has.insert(path.to_owned(), text);
            self.entries.push((path.to_owned(), is));
        }
    }

    /// Makes the directories of a path, as every layer of overlayfs has them; or one of them is none.
    fn folders(&mut self, path: &str) -> bool {
        let is_file = |folder: &str| self.has.get(folder).is_some_and(|text| !text.ends_with("/ 755"));
        if ancestors(path).any(is_file) {
            return false;
        }
        for folder in ancestors(path) {
            if self.has.insert(folder.to_owned(), format!("{folder}/ 755")).is_none() {
                self.entries.push((folder.to_owned(), Directory(0o755)));
            }
        }
        true
    }

    /// Nothing of lower layers is seen there.
    fn hides(&self, path: &str) -> bool {
        let blocks = |folder: &str| {
            self.opaque.iter().any(|opaque| opaque == folder)
                || self.whiteouts.iter().any(|hidden| hidden == folder)
                || self.has.get(folder).is_some_and(|text| !text.ends_with("/ 755"))
        };
        self.whiteouts.iter().any(|hidden| hidden == path) || ancestors(path).any(blocks)
    }

    fn archive(&self) -> Vec<u8> {
        let mut layer = Builder::new(Vec::new());
        for (name, is) in &self.entries {
            add(&mut layer, name, *is);
        }
        layer.into_inner().unwrap()
    }
}

/// What overlayfs shows at a path: the topmost layer that says anything of it.
fn seen(layers: &[Upper], path: &str) -> Option<String> {
    for upper in layers.iter().rev() {
        if let Some(text) = upper.has.get(path) {
            return Some(text.clone());
        }
        if upper.hides(path) {
            return None;
        }
    }
    None
}

fn any_change() -> impl Strategy<Value = Change> {
    let path = || 0..PATHS.len();
    prop_oneof![
        (path(), 0..4_u8).prop_map(|(path, content)| Change::File(path, content)),
        path().prop_map(Change::Directory),
        (path(), 0..4_u8).prop_map(|(path, content)| Change::Symlink(path, content)),
        path().prop_map(Change::Whiteout),
        path().prop_map(Change::Opaque),
    ]
}

proptest! {
    #[test]
    fn layers_show_what_overlayfs_would(changes in proptest::collection::vec(proptest::collection::vec(any_change(), 0..8), 0..5)) {
        let layers: Vec<Upper> = changes.iter().map(|changes| Upper::of(changes)).collect();
        let archives: Vec<_> = layers.iter().map(Upper::archive).collect();
        let mut expected: Vec<String> = PATHS.iter().filter_map(|path| seen(&layers, path)).collect();
        let mut found = lines(&flattened(&archives)).split_off(1);
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), sum in any::<bool>()) {
        if sum && bytes.len() >= 512 {
            let mut header = Header::new_old();
            header.as_mut_bytes().copy_from_slice(&bytes[..512]);
            header.set_cksum();
            bytes[..512].copy_from_slice(header.as_bytes());
        }
        if let Ok(mut image) = image(&[bytes]) {
            let _ = image.write(std::io::sink());
        }
    }
}
