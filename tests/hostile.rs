//! What boxes cost that are refused: the memory and the disk that each takes are printed, and bounded.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

use std::{
    fs,
    io::{Read, Write, repeat},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use imagechain::boxes::{self, Parts};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// The most that a disk may have.
const MOST: u64 = 256 * MIB;
/// How much of a disk is written.
const CONTENT: u64 = 64 * MIB;
/// The most memory that reading a box may take, in bytes.
const MEMORY: u64 = 16 * MIB;

/// A qcow2 of version 3 (qemu's `docs/interop/qcow2.txt`) of 128 MiB, with content that no compression makes smaller.
fn disk(folder: &Path) -> PathBuf {
    let mut header = vec![0_u8; 0x1000];
    header[..4].copy_from_slice(b"QFI\xfb");
    for (at, number) in [(4, 3_u32), (20, 16), (36, 1), (96, 4), (100, 104)] {
        header[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    for (at, number) in [(24, 128 * MIB), (40, 0x200), (0x200, 1 << 63 | 0x400), (0x400, 7)] {
        header[at..at + 8].copy_from_slice(&number.to_be_bytes());
    }
    let path = folder.join("disk.qcow2");
    let mut file = fs::File::create(&path).expect("a file");
    file.write_all(&header).expect("a disk");
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut block = vec![0; 1 << 20];
    for _ in 0..CONTENT / MIB {
        for word in block.chunks_exact_mut(8) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            word.copy_from_slice(&random.to_le_bytes());
        }
        file.write_all(&block).expect("a disk");
    }
    path
}

/// A good box of it.
fn good(folder: &Path) -> Vec<u8> {
    let (disk, out) = (disk(folder), folder.join("good.box"));
    boxes::pack(Parts::Libvirt { disk: &disk }, Some("amd64"), MOST, &out).expect("a box");
    fs::read(out).expect("a box")
}

fn header(name: &str, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut entry = header(name, u64::try_from(content.len()).expect("a size"));
    entry.extend(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn metadata() -> Vec<u8> {
    entry("metadata.json", br#"{"provider":"libvirt","format":"qcow2","virtual_size":1}"#)
}

/// Something, and then so many zeros, compressed: a thousandth of their size.
fn compressed(start: &[u8], zeros: u64) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::copy(&mut start.chain(repeat(0).take(zeros)), &mut encoder).expect("an archive");
    encoder.finish().expect("an archive")
}

/// The boxes that are refused, by what is wrong with them.
fn hostile(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut flipped = good.to_vec();
    flipped[good.len() / 2] ^= 1;
    let bomb = [metadata(), header("box.img", 4096 * MIB)].concat();
    let climbing = [metadata(), entry("../../etc/cron.d/evil", b"* * * * * root true\n")].concat();
    vec![
        ("cut", good[..good.len() / 2].to_vec()),
        ("flipped", flipped),
        ("empty", Vec::new()),
        ("a bomb of 4 GiB", compressed(&bomb, MOST + MIB)),
        ("zeros alone", compressed(&[], 64 * MIB)),
        ("climbing", compressed(&climbing, 1024)),
    ]
}

/// A number of a file of this process in `/proc/self`.
fn figure(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/{file}")).expect("figures");
    let line = text.lines().find(|line| line.starts_with(name)).expect("a figure");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// What unpacking a box takes: the bytes of memory at the most, and those that are written; and how it ends.
fn unpack(folder: &TempDir, bytes: &[u8]) -> (u64, u64, Result<(), String>) {
    let (path, target) = (folder.path().join("case.box"), folder.path().join("unpacked"));
    fs::write(&path, bytes).expect("a box");
    let _ = fs::remove_dir_all(&target);
    fs::create_dir(&target).expect("a folder");
    // The most that was ever resident is counted anew (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5").expect("a new count");
    let before = (figure("status", "VmRSS"), figure("io", "wchar"));
    let ended = boxes::unpack(&path, &target, MOST).map(drop).map_err(|refusal| refusal.to_string());
    let memory = figure("status", "VmHWM").saturating_sub(before.0) << 10;
    (memory, figure("io", "wchar") - before.1, ended)
}

#[test]
fn what_is_refused_takes_little() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = good(folder.path());
    let (memory, written, ended) = unpack(&folder, &good);
    ended.expect("a good box");
    println!("a good box: {} KiB of memory, {} MiB written", memory >> 10, written / MIB);
    assert!(memory < MEMORY && written >= CONTENT);
    for (what, bytes) in hostile(&good) {
        let (memory, written, ended) = unpack(&folder, &bytes);
        let refusal = ended.expect_err(what);
        println!("{what}: {} KiB of memory, {} MiB written: {refusal}", memory >> 10, written / MIB);
        assert!(memory < MEMORY && written <= MOST, "{what}");
    }
}
