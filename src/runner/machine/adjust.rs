//! What becomes of a command line of qemu that was written for a desktop. What need not change stays as it is.

use std::{path::Path, slice::Iter};

use super::command::{TRANSLATED, value};

/// What executes code on desktops.
const OF_DESKTOPS: [&str; 6] = ["kvm", "hvf", "whpx", "hax", "xen", "nvmm"];
/// The displays of desktops and terminals.
const DISPLAYS: [&str; 6] = ["gtk", "sdl", "cocoa", "curses", "spice-app", "default"];
/// The processor of a machine whose code is translated: all that qemu knows, but for addresses of 57 bits, by which
/// some loaders do not start.
const TRANSLATED_PROCESSOR: &str = "max,la57=off";

/// What there is on this node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here<'h> {
    /// Whether KVM works.
    pub(super) kvm: bool,
    /// The memory that a machine may have, in MiB.
    pub(super) memory: u64,
    /// Where the serial console is written to.
    pub(super) console: &'h Path,
    /// Where qemu listens for who looks at the screen.
    pub(super) socket: &'h Path,
}

/// A command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Adjusted {
    pub(super) arguments: Vec<String>,
    /// What is otherwise, for people.
    pub(super) changes: Vec<String>,
}

/// What a command line says, as far as it matters.
#[derive(Debug, Default)]
struct Said<'a> {
    accelerators: Vec<&'a str>,
    /// As it is written.
    memory: &'a str,
    has_processor: bool,
    has_display: bool,
    has_serial: bool,
}

/// What executes the code of the guest.
#[derive(Debug, PartialEq, Eq)]
enum Executes {
    /// As it is written.
    AsWritten { translated: bool },
    /// The value of `-accel`, in place of what is written.
    By { accelerator: String, translated: bool },
}

/// Whether a program asks qemu about itself, and starts no machine.
pub(super) fn is_question(arguments: &[String]) -> bool {
    let asks = |argument: &String| {
        matches!(argument.trim_start_matches('-'), "version" | "help" | "h" | "?") || argument.ends_with(",help")
    };
    arguments.iter().any(asks)
}

/// Adjusts the arguments of a machine.
pub(super) fn adjust(arguments: &[String], here: &Here<'_>) -> Adjusted {
    let said = said(arguments);
    let executes = executes(&said.accelerators, here);
    let mut adjusted = Adjusted::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        adjusted.take(argument, &mut rest, &executes);
    }
    adjusted.execute(executes, &said);
    adjusted.warn(said.memory, here.memory);
    adjusted.add(!said.has_display, &["-display", "none"], "-display none: there is no desktop");
    let file = format!("file,id=imagechain-console,path={}", value(here.console));
    let console = ["-chardev", &file, "-serial", "chardev:imagechain-console"];
    adjusted.add(!said.has_serial, &console, "-serial: its lines are in the log");
    let socket = format!("socket,id=imagechain-screen,path={},server=on,wait=off", value(here.socket));
    adjusted.add(
        true,
        &["-chardev", &socket, "-mon", "chardev=imagechain-screen,mode=control"],
        "-mon: by which the screen is looked at",
    );
    adjusted
}

/// The name of an option. Qemu takes one dash and two.
fn option(argument: &str) -> Option<&str> {
    let name = argument.strip_prefix('-')?;
    Some(name.strip_prefix('-').unwrap_or(name))
}

fn said(arguments: &[String]) -> Said<'_> {
    let mut said = Said::default();
    for (index, argument) in arguments.iter().enumerate() {
        let value = arguments.get(index + 1).map(String::as_str).unwrap_or_default();
        match option(argument) {
            Some("machine" | "M") => said.accelerators.extend(accelerator_of(value)),
            Some("accel") => said.accelerators.push(value),
            Some("enable-kvm") => said.accelerators.push("kvm"),
            Some("m") => said.memory = value,
            Some("cpu") => said.has_processor = true,
            Some("display" | "vnc" | "spice" | "curses") => said.has_display = true,
            Some("serial") => said.has_serial = true,
            // The console is where packer's output would be.
            Some("nographic") => (said.has_display, said.has_serial) = (true, true),
            _ => {}
        }
    }
    said
}

/// The accelerator in a value of `-machine`.
fn accelerator_of(machine: &str) -> Option<&str> {
    machine.split(',').find_map(|part| part.strip_prefix("accel="))
}

/// The memory in a value of `-m`: a number of MiB, unless it has a unit.
fn mebibytes(written: &str) -> Option<u64> {
    let size = written.split(',').next()?;
    let size = size.strip_prefix("size=").unwrap_or(size);
    let digits = size.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match size.strip_prefix(digits)? {
        "" | "M" | "m" => Some(number),
        "G" | "g" => number.checked_mul(1 << 10),
        "T" | "t" => number.checked_mul(1 << 20),
        "K" | "k" => Some(number >> 10),
        _ => None,
    }
}

fn executes(accelerators: &[&str], here: &Here<'_>) -> Executes {
    let tcg = format!("tcg,tb-size={TRANSLATED}");
    let names = || accelerators.iter().flat_map(|written| written.split(',').next().unwrap_or_default().split(':'));
    let is_of_desktop = |name: &str| OF_DESKTOPS.contains(&name);
    let has_options = || accelerators.iter().any(|written| written.contains(','));
    match (names().any(is_of_desktop), here.kvm) {
        (true, true) if names().any(|name| name == "kvm") => Executes::AsWritten { translated: false },
        (true, true) => Executes::By { accelerator: "kvm".to_owned(), translated: false },
        (false, _) if has_options() || names().any(|name| name != "tcg") => Executes::AsWritten { translated: true },
        _ => Executes::By { accelerator: tcg, translated: true },
    }
}

impl Executes {
    const fn translated(&self) -> bool {
        match self {
            Self::AsWritten { translated } | Self::By { translated, .. } => *translated,
        }
    }
}

impl Adjusted {
    /// Takes over an option, with its value where that may be another.
    fn take(&mut self, argument: &str, rest: &mut Iter<'_, String>, executes: &Executes) {
        let moves = matches!(executes, Executes::By { .. });
        match option(argument) {
            Some("machine" | "M") if moves => self.machine(argument, rest.next()),
            Some("accel") if moves => drop(rest.next()),
            Some("enable-kvm") if moves => {}
            Some("cpu") => self.processor(argument, rest.next(), executes),
            Some("display") => self.display(argument, rest.next()),
            Some("curses") => self.change(&["-display", "none"], "-curses -> -display none: there is no terminal"),
            _ => self.arguments.push(argument.to_owned()),
        }
    }

    /// A machine without its accelerator, which stands for itself then.
    fn machine(&mut self, argument: &str, machine: Option<&String>) {
        let parts = machine.into_iter().flat_map(|machine| machine.split(','));
        let left: Vec<&str> = parts.filter(|part| !part.starts_with("accel=")).collect();
        if !left.is_empty() {
            self.arguments.extend([argument.to_owned(), left.join(",")]);
        }
    }

    fn processor(&mut self, argument: &str, written: Option<&String>, executes: &Executes) {
        let written = written.map(String::as_str).unwrap_or_default();
        if executes.translated() && written.split(',').next() == Some("host") {
            let change = format!("-cpu {written} -> {TRANSLATED_PROCESSOR}");
            self.change(&[argument, TRANSLATED_PROCESSOR], &change);
        } else {
            self.arguments.extend([argument, written].map(str::to_owned));
        }
    }

    fn display(&mut self, argument: &str, written: Option<&String>) {
        let written = written.map(String::as_str).unwrap_or_default();
        let kind = written.split(',').next().unwrap_or_default();
        if DISPLAYS.contains(&kind) {
            self.change(&[argument, "none"], &format!("-display {written} -> none: there is no desktop"));
        } else {
            self.arguments.extend([argument, written].map(str::to_owned));
        }
    }

    /// Says what executes the code of the guest, and what that guest sees.
    fn execute(&mut self, executes: Executes, said: &Said<'_>) {
        let translated = executes.translated();
        if let Executes::By { accelerator, .. } = executes {
            let written = if said.accelerators.is_empty() { "none" } else { &said.accelerators.join(", ") };
            self.change(&["-accel", &accelerator], &format!("-accel {written} -> {accelerator}"));
        }
        let missing = translated && !said.has_processor;
        self.add(missing, &["-cpu", TRANSLATED_PROCESSOR], &format!("-cpu {TRANSLATED_PROCESSOR}: none was given"));
    }

    /// The kernel may end a machine that takes more memory than there is, and packer says nothing of it.
    fn warn(&mut self, written: &str, most: u64) {
        if mebibytes(written).is_some_and(|memory| memory > most) {
            self.changes.push(format!(
                "warning: -m {written} is more than the {most} MiB that the profile leaves for a machine: raise its \
                 resources.memory, or give the machine less"
            ));
        }
    }

    fn add(&mut self, missing: bool, arguments: &[&str], why: &str) {
        if missing {
            self.change(arguments, why);
        }
    }

    fn change(&mut self, arguments: &[&str], change: &str) {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self.changes.push(change.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: &str = " -chardev file,id=imagechain-console,path=/m/1/console.log -serial chardev:imagechain-console \
        -chardev socket,id=imagechain-screen,path=/m/1/screen.sock,server=on,wait=off -mon chardev=imagechain-screen,mode=control";

    fn adjusted(line: &str, kvm: bool) -> Adjusted {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let [console, socket] = ["/m/1/console.log", "/m/1/screen.sock"].map(Path::new);
        adjust(&arguments, &Here { kvm, memory: 1024, console, socket })
    }

    /// Without what is added to each machine.
    fn line(line: &str, kvm: bool) -> String {
        let line = adjusted(line, kvm).arguments.join(" ");
        line.strip_suffix(LAST).unwrap_or(&line).to_owned()
    }

    #[test]
    fn a_machine_of_packer_runs_without_kvm_and_desktop() {
        // Of packer 1.6.6.
        let written = "-boot c -name packer-box -netdev user,id=user.0,hostfwd=tcp::4135-:22 -m 1024M \
                       -vnc 127.0.0.1:95 -machine type=pc,accel=kvm -display gtk -device virtio-net,netdev=user.0 \
                       -drive file=output-box/packer-box,if=virtio,cache=writeback,discard=ignore,format=qcow2";
        let Adjusted { arguments, changes } = adjusted(written, false);
        let same = "-boot c -name packer-box -netdev user,id=user.0,hostfwd=tcp::4135-:22 -m 1024M \
                    -vnc 127.0.0.1:95 -machine type=pc -display none -device virtio-net,netdev=user.0 \
                    -drive file=output-box/packer-box,if=virtio,cache=writeback,discard=ignore,format=qcow2 \
                    -accel tcg,tb-size=256 -cpu max,la57=off";
        assert_eq!(arguments.join(" "), format!("{same}{LAST}"));
        assert_eq!(
            changes,
            [
                "-display gtk -> none: there is no desktop",
                "-accel kvm -> tcg,tb-size=256",
                "-cpu max,la57=off: none was given",
                "-serial: its lines are in the log",
                "-mon: by which the screen is looked at",
            ]
        );
    }

    #[test]
    fn only_what_cannot_be_changes() {
        const TCG: &str = "-accel tcg,tb-size=256";
        for (written, kvm, expected) in [
            // With KVM, nothing of it.
            ("-vnc :1 -machine q35,accel=kvm -cpu host", true, "-vnc :1 -machine q35,accel=kvm -cpu host".to_owned()),
            ("-vnc :1 -enable-kvm", true, "-vnc :1 -enable-kvm".to_owned()),
            ("-vnc :1 -accel kvm -accel tcg", true, "-vnc :1 -accel kvm -accel tcg".to_owned()),
            ("-vnc :1 -M accel=kvm:tcg -cpu EPYC", true, "-vnc :1 -M accel=kvm:tcg -cpu EPYC".to_owned()),
            // What other desktops have.
            ("-vnc :1 -machine accel=hvf -cpu host", true, "-vnc :1 -cpu host -accel kvm".to_owned()),
            ("-vnc :1 -accel whpx", false, format!("-vnc :1 {TCG} -cpu max,la57=off")),
            // Without KVM.
            ("-vnc :1 --enable-kvm -cpu host,+vmx", false, format!("-vnc :1 -cpu max,la57=off {TCG}")),
            ("-vnc :1 -M accel=kvm:tcg -cpu EPYC", false, format!("-vnc :1 -cpu EPYC {TCG}")),
            ("-vnc :1 -accel kvm -accel tcg -cpu max", false, format!("-vnc :1 -cpu max {TCG}")),
            ("-vnc :1", false, format!("-vnc :1 {TCG} -cpu max,la57=off")),
            ("-vnc :1 -machine pc,accel=tcg", true, format!("-vnc :1 -machine pc {TCG} -cpu max,la57=off")),
            // What somebody has thought of.
            (
                "-vnc :1 -accel tcg,thread=single -cpu max",
                false,
                "-vnc :1 -accel tcg,thread=single -cpu max".to_owned(),
            ),
            ("-vnc :1 -accel qtest -cpu max", false, "-vnc :1 -accel qtest -cpu max".to_owned()),
            // Displays.
            ("-accel qtest -cpu max", false, "-accel qtest -cpu max -display none".to_owned()),
            ("-accel qtest -cpu max -display sdl,gl=on", false, "-accel qtest -cpu max -display none".to_owned()),
            ("-accel qtest -cpu max -curses", false, "-accel qtest -cpu max -display none".to_owned()),
            (
                "-accel qtest -cpu max -display egl-headless",
                false,
                "-accel qtest -cpu max -display egl-headless".to_owned(),
            ),
        ] {
            assert_eq!(line(written, kvm), expected, "{written}");
        }
    }

    #[test]
    fn a_console_that_goes_elsewhere_stays_there() {
        for written in ["-accel qtest -cpu max -vnc :1 -serial stdio", "-accel qtest -cpu max -nographic"] {
            let line = line(written, false);
            assert!(line.starts_with(&format!("{written} -chardev socket,id=imagechain-screen")), "{line}");
        }
    }

    #[test]
    fn more_memory_than_there_is_is_told() {
        for (written, expected) in [
            ("1024", false),
            ("1024M", false),
            ("1G", false),
            ("size=1G,slots=2", false),
            ("1025", true),
            ("size=2G", true),
            ("1048577k", false),
            ("1T", true),
            ("", false),
            ("lots", false),
            ("99999999999999999999G", false),
        ] {
            let changes = adjusted(&format!("-m {written} -vnc :1"), false).changes;
            let warned = changes.iter().any(|change| change.starts_with("warning: -m "));
            assert_eq!(warned, expected, "{written}: {changes:?}");
        }
    }

    #[test]
    fn who_asks_starts_no_machine() {
        for (line, expected) in [
            ("-version", true),
            ("--help", true),
            ("-machine help", true),
            ("-device virtio-net,help", true),
            ("-m 512 -vnc :1", false),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(is_question(&arguments), expected, "{line}");
        }
    }
}
