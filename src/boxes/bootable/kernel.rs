//! Which kernel of an image boots it.

use std::cmp::Ordering;

use thiserror::Error;

use crate::boxes::flatten::{Kind, Tree};

/// What GRUB does with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// It follows the `/boot/grub/grub.cfg` of the image.
    Menu,
    /// It boots this kernel at once. Both are absolute paths in the image.
    Kernel {
        /// Of the kernel.
        kernel: String,
        /// Of the initial file system, which has the driver of the disk.
        initrd: String,
    },
}

/// Why an image cannot be booted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoKernel {
    /// There is no kernel.
    #[error(
        "the image has no kernel: neither /vmlinuz nor /boot/vmlinuz-*. Install one in a link before this one, as Debian's linux-image-amd64 or linux-image-cloud-amd64 and an init such as systemd-sysv, or bring a /boot/grub/grub.cfg of your own"
    )]
    Kernel,
    /// There is a kernel, and nothing to start it with.
    #[error(
        "the image has the kernel {kernel}, but no initial file system for it: install what makes one, as Debian's initramfs-tools, before the kernel"
    )]
    Initrd {
        /// The path of the kernel.
        kernel: String,
    },
}

/// Where a distribution puts the initial file system of a kernel: Debian, Fedora, Alpine and SUSE.
const INITRDS: [(&str, &str); 4] = [("initrd.img-", ""), ("initramfs-", ".img"), ("initramfs-", ""), ("initrd-", "")];

/// What boots an image: its own `/boot/grub/grub.cfg`; else Debian's `/vmlinuz` and `/initrd.img`; else the newest
/// `/boot/vmlinuz-*` that has an initial file system of the same version.
///
/// # Errors
/// There is none.
pub fn boot(image: &Tree) -> Result<Boot, NoKernel> {
    let is_file = |path: &str| image.find(path) == Some(Kind::File);
    if is_file("boot/grub/grub.cfg") {
        return Ok(Boot::Menu);
    }
    if is_file("vmlinuz") && is_file("initrd.img") {
        return Ok(Boot::Kernel { kernel: "/vmlinuz".to_owned(), initrd: "/initrd.img".to_owned() });
    }
    let versions = versions(image);
    let initrd = |version: &str| INITRDS.map(|(before, after)| format!("boot/{before}{version}{after}"));
    let pair = |version: &'_ String| Some((version.clone(), initrd(version).into_iter().find(|path| is_file(path))?));
    match versions.iter().find_map(pair) {
        Some((version, initrd)) => Ok(Boot::Kernel { kernel: kernel(&version), initrd: format!("/{initrd}") }),
        None => Err(versions.first().map_or(NoKernel::Kernel, |newest| NoKernel::Initrd { kernel: kernel(newest) })),
    }
}

fn kernel(version: &str) -> String {
    format!("/boot/vmlinuz-{version}")
}

/// Of the kernels in `/boot`, the newest first.
fn versions(image: &Tree) -> Vec<String> {
    let version = |name: &[u8]| Some(str::from_utf8(name).ok()?.strip_prefix("vmlinuz-")?.to_owned());
    let mut versions: Vec<String> = image
        .names_in("boot")
        .filter_map(version)
        .filter(|version| is_plain(version) && image.find(&format!("boot/vmlinuz-{version}")) == Some(Kind::File))
        .collect();
    versions.sort_by(|one, other| compare(other, one));
    versions
}

/// It means nothing else in a script of GRUB.
fn is_plain(version: &str) -> bool {
    !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte))
}

/// By their numbers, where both have one; by their characters otherwise.
fn compare(one: &str, other: &str) -> Ordering {
    let pairs = pieces(one).into_iter().zip(pieces(other));
    let differing = pairs.map(|(one, other)| compare_pieces(one, other)).find(|ordering| ordering.is_ne());
    differing.unwrap_or_else(|| one.len().cmp(&other.len()))
}

fn compare_pieces(one: &str, other: &str) -> Ordering {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        _ => one.cmp(other),
    }
}

/// A text in pieces of digits and pieces of other characters.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|next: char| next.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
