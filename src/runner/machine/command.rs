//! The command line of qemu as data: what a machine is made of.

use std::path::{Path, PathBuf};

use super::accelerator::Accelerator;

/// The program.
pub(super) const QEMU: &str = "qemu-system-x86_64";
/// The most memory for translated code, in MiB. Qemu itself would take up to 1 GiB besides the memory of the guest,
/// which the limit of a container does not expect.
pub(super) const TRANSLATED: u32 = 256;

/// A machine to boot. It boots by BIOS, as boxes do.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    /// The disk. It is not written to.
    pub(crate) disk: PathBuf,
    /// How the disk is stored.
    pub(crate) format: DiskFormat,
    /// The memory of the guest, in MiB. Qemu needs some 400 MiB besides.
    pub(crate) memory: u32,
    /// The processors of the guest.
    pub(crate) processors: u32,
    /// What the disk is connected to.
    pub(crate) bus: Bus,
    /// The network card.
    pub(crate) nic: Nic,
    /// The folder of all files of the machine. It is made if it is not there; no other machine may have it.
    pub(crate) folder: PathBuf,
    /// Whether the lines of the serial console go to the log of the stage while the machine boots.
    pub(crate) shows_console: bool,
}

#[cfg(test)]
impl Boot {
    /// A machine with an empty disk, all of whose files are below a folder.
    pub(crate) fn empty(folder: &Path) -> Self {
        let disk = folder.join("empty.raw");
        std::fs::File::create(&disk).unwrap().set_len(1 << 20).unwrap();
        Self {
            disk,
            format: DiskFormat::Raw,
            memory: 64,
            processors: 1,
            bus: Bus::Virtio,
            nic: Nic::Virtio,
            folder: folder.join("machine"),
            shows_console: true,
        }
    }
}

/// How a disk is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskFormat {
    /// With a table of its parts.
    Qcow2,
    /// As it is.
    Raw,
    /// As `VirtualBox` exports it.
    Vmdk,
}

impl DiskFormat {
    /// As qemu names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Vmdk => "vmdk",
        }
    }
}

/// What a disk is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bus {
    /// For guests that know that they are virtual.
    Virtio,
    /// For guests that were made for other hypervisors.
    Sata,
}

impl Bus {
    const fn device(self) -> &'static str {
        match self {
            Self::Virtio => "virtio-blk-pci,drive=disk,bootindex=0",
            // The controller is part of the machine.
            Self::Sata => "ide-hd,drive=disk,bus=ide.0,bootindex=0",
        }
    }
}

/// A network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nic {
    /// For guests that know that they are virtual.
    Virtio,
    /// For guests that were made for other hypervisors.
    E1000,
}

impl Nic {
    const fn device(self) -> &'static str {
        match self {
            Self::Virtio => "virtio-net-pci",
            Self::E1000 => "e1000",
        }
    }
}

/// The files of a machine, all in one folder.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// What the guest writes to its disk, where that is of ours.
    pub(super) overlay: PathBuf,
    /// What is otherwise than the program of the user said that started it.
    pub(super) changes: PathBuf,
    /// What the guest prints on its serial console.
    pub(super) console: PathBuf,
    /// Where qemu is told what to do, and asked what is on the screen.
    pub(super) socket: PathBuf,
    /// What qemu itself prints.
    pub(super) output: PathBuf,
    /// What the screen of the guest shows.
    pub(super) picture: PathBuf,
    /// Is there when somebody has killed qemu that a program of the user had started: how it ended.
    pub(super) death: PathBuf,
    /// Is locked as long as somebody attends that qemu, who may yet note how it ended.
    pub(super) present: PathBuf,
}

impl Files {
    /// Those of a machine in a folder.
    pub(super) fn of(folder: &Path) -> Self {
        let file = |name| folder.join(name);
        Self {
            overlay: file("overlay.qcow2"),
            changes: file("changes"),
            console: file("console.log"),
            socket: file("qmp.sock"),
            output: file("qemu.log"),
            picture: file("screen.png"),
            death: file("death"),
            present: file("present"),
        }
    }
}

/// The arguments of `qemu-img` that make an overlay of a disk: what is tested is what is published.
pub(super) fn overlay(boot: &Boot, files: &Files) -> Vec<String> {
    let [disk, overlay] = [&boot.disk, &files.overlay].map(|path| path.display().to_string());
    ["create", "-q", "-f", "qcow2", "-F", boot.format.name(), "-b", &disk, &overlay].map(str::to_owned).into()
}

/// The arguments of qemu for a machine.
pub(super) fn arguments(boot: &Boot, files: &Files, accelerator: &Accelerator) -> Vec<String> {
    let mut arguments = bare(&files.socket, accelerator);
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    add("-m", format!("size={}M", boot.memory));
    add("-smp", boot.processors.to_string());
    // The overlay is thrown away: nothing of it has to survive, and what the guest frees may go.
    let disk = "if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap";
    add("-drive", format!("{disk},file={}", value(&files.overlay)));
    add("-device", boot.bus.device().to_owned());
    // Port 0: the system picks one that is free. IPv6 would lead nowhere, and be tried first.
    add("-netdev", "user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:0-:22".to_owned());
    // The slot of VirtualBox' first card, since guests name cards by it. Without a ROM, nobody boots from the network.
    add("-device", format!("{},netdev=net,addr=0x3,romfile=", boot.nic.device()));
    // Keys are made at the first boot, and a machine without devices of its own has little that is random.
    add("-device", "virtio-rng-pci".to_owned());
    add("-vga", "std".to_owned());
    add("-chardev", format!("file,id=console,path={}", value(&files.console)));
    add("-serial", "chardev:console".to_owned());
    arguments
}

/// The arguments of qemu for a machine that has nothing but a processor, and takes commands from a socket that we
/// listen on: it connects by itself, so that nobody has to look whether it is ready.
pub(super) fn bare(socket: &Path, accelerator: &Accelerator) -> Vec<String> {
    let socket = format!("socket,id=qmp,path={}", value(socket));
    let fixed = ["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35"];
    let (accelerator, processor) = match accelerator {
        // Qemu itself takes a thread for each processor, unless the host's order of memory is too weak for that.
        Accelerator::Tcg { .. } => (format!("tcg,tb-size={TRANSLATED}"), "max,la57=off"),
        Accelerator::Kvm => ("kvm".to_owned(), "host"),
    };
    let options = ["-accel", &accelerator, "-cpu", processor, "-chardev", &socket, "-mon", "chardev=qmp,mode=control"];
    fixed.iter().chain(&options).map(|&argument| argument.to_owned()).collect()
}

/// A path as a value of an option: a comma would end it.
pub(super) fn value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(bus: Bus, nic: Nic) -> Boot {
        let [disk, folder] = ["/w/box,1.img", "/w/m,1"].map(PathBuf::from);
        Boot { disk, format: DiskFormat::Raw, memory: 1024, processors: 2, bus, nic, folder, shows_console: false }
    }

    fn line(boot: &Boot, accelerator: &Accelerator) -> String {
        arguments(boot, &Files::of(&boot.folder), accelerator).join(" ")
    }

    #[test]
    fn a_machine_is_a_command_line() {
        let boot = boot(Bus::Virtio, Nic::Virtio);
        assert_eq!(
            line(&boot, &Accelerator::Tcg { why: String::new() }),
            "-nodefaults -no-user-config -display none -machine q35 -accel tcg,tb-size=256 -cpu max,la57=off \
             -chardev socket,id=qmp,path=/w/m,,1/qmp.sock -mon chardev=qmp,mode=control -m size=1024M -smp 2 \
             -drive if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap,file=/w/m,,1/overlay.qcow2 \
             -device virtio-blk-pci,drive=disk,bootindex=0 \
             -netdev user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:0-:22 \
             -device virtio-net-pci,netdev=net,addr=0x3,romfile= -device virtio-rng-pci -vga std \
             -chardev file,id=console,path=/w/m,,1/console.log -serial chardev:console"
        );
        assert_eq!(
            overlay(&boot, &Files::of(&boot.folder)).join(" "),
            "create -q -f qcow2 -F raw -b /w/box,1.img /w/m,1/overlay.qcow2"
        );
    }

    #[test]
    fn guests_of_other_hypervisors_get_hardware_that_they_know() {
        let line = line(&boot(Bus::Sata, Nic::E1000), &Accelerator::Kvm);
        for part in ["-accel kvm -cpu host ", "-device ide-hd,drive=disk,bus=ide.0,", "-device e1000,netdev=net,"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("virtio-blk") && !line.contains("virtio-net"), "{line}");
    }
}
