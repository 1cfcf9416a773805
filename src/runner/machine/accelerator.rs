//! What executes the code of a guest: the processor itself, or a program.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// What executes the code of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor.
    Kvm,
    /// Qemu translates it.
    Tcg {
        /// Why the processor cannot.
        why: String,
    },
}

impl Accelerator {
    /// What it means, for people.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Kvm => "the machine runs with KVM".to_owned(),
            Self::Tcg { why } => {
                format!("the machine runs without KVM, and boots in minutes instead of seconds: {why}")
            }
        }
    }
}

/// Where Linux says what a host can do.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// The device of KVM.
    pub(super) device: PathBuf,
    /// The description of the processors.
    pub(super) processors: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { device: "/dev/kvm".into(), processors: "/proc/cpuinfo".into() }
    }
}

impl Host {
    /// Whether there is all that KVM needs. That is no promise that it works.
    ///
    /// # Errors
    /// What is not there.
    pub(super) fn check(&self) -> Result<(), String> {
        open(&self.device)?;
        if virtualizes(&fs::read_to_string(&self.processors).unwrap_or_default()) {
            return Ok(());
        }
        // Some kernels have the device without. Firmware runs in it then, and the kernel of a guest was not seen to
        // start within five minutes.
        Err(format!("{} is there, but the node's processors show neither vmx nor svm", self.device.display()))
    }
}

fn open(device: &Path) -> Result<(), String> {
    let why = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    let opened = OpenOptions::new().read(true).write(true).open(device);
    opened.map(drop).map_err(|error| format!("{}: {}", device.display(), why(error)))
}

/// Whether processors execute the code of guests, of what `/proc/cpuinfo` says of them.
fn virtualizes(processors: &str) -> bool {
    let flags = processors.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| ["vmx", "svm"].contains(&flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kvm_lacks_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let [device, processors] = ["kvm", "cpuinfo"].map(|name| folder.path().join(name));
        let host = Host { device: device.clone(), processors: processors.clone() };
        let place = device.display();
        let why = host.check().unwrap_err();
        assert_eq!(why, format!("{place}: no such file"));
        let sentence = Accelerator::Tcg { why }.sentence();
        assert!(
            sentence.starts_with("the machine runs without KVM") && sentence.ends_with("no such file"),
            "{sentence}"
        );
        fs::write(&device, "").unwrap();
        // As a guest sees the processors of a host that lets none of its guests have guests.
        fs::write(&processors, "processor\t: 0\nflags\t\t: fpu vme svm_lock hypervisor\nbugs\t\t: svm\n").unwrap();
        let why = host.check().unwrap_err();
        assert_eq!(why, format!("{place} is there, but the node's processors show neither vmx nor svm"));
        fs::write(&processors, "processor\t: 0\nflags\t\t: fpu vmx\n").unwrap();
        assert_eq!(host.check(), Ok(()));
        assert!(open(folder.path()).unwrap_err().contains("directory"), "it is no device");
    }
}
