//! The programs that make a disk, as data: who runs them sees to that they end well.

use std::path::{Path, PathBuf};

use super::{
    kernel::Boot,
    sector::Identity,
    size::{DiskSize, PARTITION},
};

/// Where Debian's grub-pc-bin keeps GRUB for a BIOS.
const GRUB: &str = "/usr/lib/grub/i386-pc";

/// What GRUB can do without the modules of the image, whose GRUB may be another version: the commands of common menus.
/// `normal`, which reads menus, is built in, since the prefix may have no modules.
const MODULES: [&str; 38] = [
    "all_video",
    "biosdisk",
    "boot",
    "cat",
    "chain",
    "configfile",
    "echo",
    "ext2",
    "font",
    "gfxterm",
    "gzio",
    "halt",
    "help",
    "linux",
    "linux16",
    "loadenv",
    "ls",
    "minicmd",
    "normal",
    "part_gpt",
    "part_msdos",
    "probe",
    "reboot",
    "regexp",
    "search",
    "search_fs_file",
    "search_fs_uuid",
    "search_label",
    "serial",
    "sleep",
    "terminal",
    "test",
    "true",
    "vbe",
    "vga",
    "video",
    "xzio",
    "zstd",
];

/// The files of which a disk is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The archive of the image.
    pub root: PathBuf,
    /// The disk, as it is.
    pub disk: PathBuf,
    /// What GRUB does first.
    pub early_config: PathBuf,
    /// GRUB but for its first sector.
    pub core: PathBuf,
    /// The disk as qcow2.
    pub qcow2: PathBuf,
}

impl Files {
    /// With their usual names in a folder.
    #[must_use]
    pub fn within(folder: &Path) -> Self {
        let file = |name| folder.join(name);
        Self {
            root: file("root.tar"),
            disk: file("disk.raw"),
            early_config: file("early.cfg"),
            core: file("core.img"),
            qcow2: file("disk.qcow2"),
        }
    }

    /// GRUB's first sector, which [`super::install`] takes.
    #[must_use]
    pub fn boot_sector() -> PathBuf {
        Path::new(GRUB).join("boot.img")
    }
}

/// A program that is run once. It has done its work if it ends with 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name: it is looked for in `PATH`. mke2fs is in `/usr/sbin`.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What its environment has beside what all have.
    pub environment: Vec<(&'static str, String)>,
}

/// What GRUB does first: it finds the file system, and boots it or reads its menu. Each line is a command; there are no
/// conditions here, since GRUB's first parser has none.
///
/// The menu of an image finds the file system as `$root`, and Linux by its label, `root`.
#[must_use]
pub fn early_config(boot: &Boot, identity: Identity) -> String {
    let found = format!("search.fs_uuid {identity} root\nset prefix=($root)/boot/grub\n");
    match boot {
        Boot::Menu => found,
        Boot::Kernel { kernel, initrd } => format!(
            "{found}linux {kernel} root=UUID={identity} rw console=tty0 console=ttyS0,115200\ninitrd {initrd}\nboot\n"
        ),
    }
}

/// Makes the file system of [`Files::root`] within [`Files::disk`], which has its full size already. `epoch` is the time of
/// the file system in seconds since 1970; not that of files.
///
/// Two features are left out that e2fsprogs 1.47 turns on: `e2fsck` before 1.47 refuses a file system with `orphan_file`,
/// and GRUB before 2.12 one with `metadata_csum_seed`.
#[must_use]
pub fn file_system(files: &Files, identity: Identity, size: DiskSize, epoch: u64) -> Step {
    let extended = format!(
        "offset={PARTITION},hash_seed={identity},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    );
    let (inodes, identity) = (size.inodes.to_string(), identity.to_string());
    let size = format!("{}k", size.bytes.saturating_sub(PARTITION) / 1024);
    let (root, disk) = (text(&files.root), text(&files.disk));
    let options = ["-q", "-F", "-t", "ext4", "-O", "^metadata_csum_seed,^orphan_file", "-b", "4096", "-I", "256"];
    let values = ["-N", &inodes, "-m", "1", "-L", "root", "-U", &identity, "-E", &extended, "-d", &root, &disk, &size];
    Step {
        program: "mke2fs",
        arguments: options.iter().chain(&values).map(|argument| (*argument).to_owned()).collect(),
        environment: vec![("SOURCE_DATE_EPOCH", epoch.to_string())],
    }
}

/// Makes [`Files::core`] of [`Files::early_config`].
#[must_use]
pub fn core_image(files: &Files) -> Step {
    let (config, core) = (text(&files.early_config), text(&files.core));
    let options = ["-O", "i386-pc", "-d", GRUB, "-p", "/boot/grub", "-c", &config, "-o", &core];
    Step {
        program: "grub-mkimage",
        arguments: options.iter().chain(&MODULES).map(|argument| (*argument).to_owned()).collect(),
        environment: Vec::new(),
    }
}

/// Makes [`Files::qcow2`] of [`Files::disk`].
#[must_use]
pub fn qcow2(files: &Files) -> Step {
    let (disk, qcow2) = (text(&files.disk), text(&files.qcow2));
    let arguments = ["convert", "-f", "raw", "-O", "qcow2", &disk, &qcow2];
    Step { program: "qemu-img", arguments: arguments.map(str::to_owned).to_vec(), environment: Vec::new() }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
