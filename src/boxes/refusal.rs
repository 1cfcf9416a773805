//! Why a file is no box that may be used.

use std::io;

use thiserror::Error;

/// Why a file was not taken. The sentence names the entry of the archive and says what to do.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The machine that reads or writes failed, and the file may be good.
    #[error("{doing}: {error}")]
    Local {
        /// What was done.
        doing: String,
        /// How it failed.
        error: io::Error,
    },
    /// A link, a folder, a device or a pipe.
    #[error("{path} is a link, a folder or a device: name the file itself")]
    NoRegularFile {
        /// The path that was opened.
        path: String,
    },
    /// The file has no bytes.
    #[error("the file is empty: the log of its build says why nothing was written")]
    Empty,
    /// The content is of a format that is no box.
    #[error("the file is {found}: give a Vagrant box (tar or tar.gz), a disk as qcow2 or a raw disk")]
    OtherFormat {
        /// The format, with its article.
        found: &'static str,
    },
    /// It is a disk where a Vagrant box is expected.
    #[error("the file is a disk and no Vagrant box: there is nothing to unpack")]
    NoArchive,
    /// The archive ends before its end.
    #[error("the archive ends too early, {place}: it was cut, so write or fetch it again")]
    Cut {
        /// Where in the archive.
        place: String,
    },
    /// The compression or the archive is damaged, or it is no archive that is compressed.
    #[error("the archive is damaged or none, {place} ({problem}): write or fetch it again, as tar or tar.gz")]
    Damaged {
        /// Where in the archive.
        place: String,
        /// What the decoder says.
        problem: String,
    },
    /// There is something behind the end of the archive.
    #[error("there is data behind the end of the archive: programs disagree about it, so write the box anew")]
    Trailing,
    /// The content is larger than the caller allows.
    #[error("{place}, the content is larger than {bound} bytes: make the disk smaller or allow more")]
    TooLarge {
        /// Where in the archive; for a disk, that it is the file.
        place: String,
        /// The most bytes that are allowed.
        bound: u64,
    },
    /// A disk is larger for its machine than the caller allows, however short its file is.
    #[error(
        "the disk «{name}» has {} GiB for its machine, which is more than the {} GiB that the profile's storage \
         allows: make the disk smaller, or grant more storage", virtual_size.div_ceil(1 << 30), bound >> 30
    )]
    DiskTooLarge {
        /// The entry, or the file.
        name: String,
        /// The size of the disk as the machine sees it, in bytes. The sentence rounds it up.
        virtual_size: u64,
        /// The most bytes that are allowed. The sentence rounds them down.
        bound: u64,
    },
    /// There are too many entries.
    #[error("the archive has more than {most} entries: a box is a few files, so leave the others out")]
    TooManyEntries {
        /// The most entries that are allowed.
        most: usize,
    },
    /// Headers, extensions and padding are more than an archive of a box has.
    #[error("the archive has more than {most} bytes of headers, {place}: write the box anew with a usual tar")]
    TooManyHeaders {
        /// Where in the archive.
        place: String,
        /// The most bytes that are allowed.
        most: u64,
    },
    /// A text is too long.
    #[error("«{name}» is longer than {most} bytes: no box needs that much text, so look at what wrote it")]
    TooMuchText {
        /// The entry.
        name: String,
        /// The most bytes that are allowed.
        most: usize,
    },
    /// The name of an entry is not one of a file in a folder.
    #[error("the entry «{name}» {problem}: make the archive in the folder of the files, with relative names")]
    Name {
        /// The entry, with its control characters escaped.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two entries would be one file.
    #[error("«{name}» is in the archive twice: programs disagree about which one counts, so keep one")]
    Duplicate {
        /// The entry.
        name: String,
    },
    /// An entry is neither a file nor a folder.
    #[error("the entry «{name}» is {kind}: a box holds regular files only, so put the file itself there")]
    Kind {
        /// The entry.
        name: String,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// There is no `metadata.json`.
    #[error("the archive has no «metadata.json»: Vagrant needs it to know the provider, so write it")]
    NoMetadata,
    /// `metadata.json` cannot be used.
    #[error("«metadata.json» {problem}: correct it")]
    Metadata {
        /// What is wrong with it.
        problem: String,
    },
    /// The provider is another one than those that are known.
    #[error("«metadata.json» names the provider «{found}»: build the box for libvirt or virtualbox")]
    Provider {
        /// The provider.
        found: String,
    },
    /// A disk is missing.
    #[error(
        "the box has no disk «{name}»: packer's artifice post-processor drops listed files that are missing without \
         a word, so compare its list with what the build wrote"
    )]
    NoDisk {
        /// The name that the disk must have.
        name: String,
    },
    /// A file that the OVF names is missing.
    #[error(
        "«{ovf}» names «{name}», which is not in the box: packer's artifice post-processor drops listed files that \
         are missing without a word, so compare its list with what the build wrote"
    )]
    NoFile {
        /// The entry of the OVF.
        ovf: String,
        /// The name in the OVF.
        name: String,
    },
    /// A disk has no content.
    #[error("the disk «{name}» is empty: nothing was installed on it, so look at the log of its build")]
    EmptyDisk {
        /// The entry, or the file.
        name: String,
    },
    /// A disk may not be used.
    #[error("the disk «{name}» {defect}")]
    Disk {
        /// The entry, or the file.
        name: String,
        /// What is wrong with it.
        defect: Defect,
    },
    /// There is not exactly one OVF.
    #[error("the box has {count} OVF files: one of the name box.ovf describes the machine")]
    OvfCount {
        /// How many there are.
        count: usize,
    },
    /// An OVF cannot be used.
    #[error("«{name}» {problem}: export the machine again")]
    Ovf {
        /// The entry.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The folder for the entries is not empty.
    #[error("the folder {path} is not empty: unpack into a new one")]
    FolderInUse {
        /// The folder.
        path: String,
    },
    /// A file was written to while it was read.
    #[error("{path} changed while it was packed: pack it when its build has ended")]
    Changed {
        /// The file.
        path: String,
    },
}

/// What is wrong with a disk. Some of these disks would read other files of the node that uses them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Defect {
    /// It is of another format.
    #[error("is no {expected}: convert it with qemu-img convert")]
    Format {
        /// The format that it must have.
        expected: &'static str,
    },
    /// It is shorter than its header says.
    #[error("is shorter than its header says: it was cut, so write or fetch it again")]
    Short,
    /// A field of its header has a value that no program writes.
    #[error("has a header that is not valid ({field}): write it again with qemu-img convert")]
    Header {
        /// The field.
        field: &'static str,
    },
    /// It needs the disk that it was made from.
    #[error("reads «{name}» as its backing file: make it whole with qemu-img convert or qemu-img rebase -b ''")]
    BackingFile {
        /// The name of that file, with its control characters escaped; of VMDK and VDI, what is known of it.
        name: String,
    },
    /// Its data is in another file.
    #[error("keeps its data in another file: make it whole with qemu-img convert")]
    DataFile,
    /// It is encrypted.
    #[error("is encrypted, and whoever gets the box lacks the key: decrypt it with qemu-img convert")]
    Encrypted,
    /// It was not closed.
    #[error("was not closed by the program that wrote it: shut the machine down before the disk is taken")]
    Dirty,
    /// It is marked as corrupt.
    #[error("is marked as corrupt: repair it with qemu-img check -r all, or build it again")]
    Corrupt,
    /// `VirtualBox` does not import it: its size is no multiple of 64 KiB, and its end is written to.
    #[error("ends within a grain of 64 KiB, which VirtualBox does not import: enlarge it first with qemu-img resize")]
    Partial,
    /// Its tables do not fit together: `qemu-img check` ended with 2.
    #[error("has tables that contradict each other or its length (qemu-img check): write or fetch it again")]
    Inconsistent,
    /// It could not be checked to its end: `qemu-img check` ended with 1.
    #[error("cannot be read to its end, and was cut or damaged (qemu-img check): write or fetch it again")]
    Uncheckable,
    /// It has features that are not known.
    #[error("has features that are not known (incompatible bits {bits:#x}): write it with qemu-img convert")]
    Features {
        /// The bits that are not known.
        bits: u64,
    },
    /// It is of a kind that does not stand alone.
    #[error("is of the kind «{found}»: convert it to one file with -o subformat=streamOptimized")]
    Kind {
        /// The kind, with its control characters escaped.
        found: String,
    },
    /// Its size is not a number of sectors.
    #[error("has {size} bytes, which are no whole sectors of 512 bytes: it is no disk or was cut")]
    Sectors {
        /// The size in bytes.
        size: u64,
    },
}

/// The failure of a call of the system.
pub(super) fn local(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Refusal {
    let doing = doing.into();
    move |error| Refusal::Local { doing, error }
}
