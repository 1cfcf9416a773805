//! `metadata.json` of a Vagrant box.

use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{name::clean, refusal::Refusal};
use crate::api::boxes::BoxProvider;

/// Its name in the archive.
pub(super) const FILE: &str = "metadata.json";

/// The disk of a box of libvirt that lists none.
pub(super) const DISK: &str = "box.img";

/// What is known of a box by its `metadata.json`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) provider: BoxProvider,
    /// As Vagrant names it, which is as OCI does; `None` where it says none.
    pub(super) architecture: Option<String>,
    /// The disks of libvirt, in their order; of `VirtualBox` none, whose OVF names them.
    pub(super) disks: Vec<String>,
}

/// The fields of it that are read. Those of libvirt are described in vagrant-libvirt's "Box Format".
#[derive(Deserialize)]
struct Written {
    provider: Option<String>,
    architecture: Option<String>,
    format: Option<String>,
    virtual_size: Option<Number>,
    #[serde(default)]
    disks: Vec<WrittenDisk>,
}

#[derive(Deserialize)]
struct WrittenDisk {
    path: String,
    format: Option<String>,
}

/// Reads the text of it.
pub(super) fn read(text: &str) -> Result<Metadata, Refusal> {
    let written: Written = serde_json::from_str(text).map_err(|error| problem(format!("cannot be read ({error})")))?;
    let Some(provider) = &written.provider else { return Err(problem("names no provider")) };
    let known = [BoxProvider::Libvirt, BoxProvider::VirtualBox];
    let provider = known.into_iter().find(|known| known.name() == provider).ok_or_else(|| {
        let found = provider.escape_debug().take(200).collect();
        Refusal::Provider { found }
    })?;
    let disks = match provider {
        BoxProvider::Libvirt => disks(&written)?,
        BoxProvider::VirtualBox => Vec::new(),
    };
    Ok(Metadata { provider, architecture: architecture(written.architecture)?, disks })
}

fn problem(problem: impl Into<String>) -> Refusal {
    Refusal::Metadata { problem: problem.into() }
}

/// The disks of libvirt: `box.img`, or those that are listed. The sizes of listed disks are read from the disks.
fn disks(written: &Written) -> Result<Vec<String>, Refusal> {
    let mut formats = written.disks.iter().map(|disk| &disk.format).chain([&written.format]).flatten();
    if let Some(format) = formats.find(|format| *format != "qcow2") {
        let format: String = format.escape_debug().take(200).collect();
        return Err(problem(format!("has the format «{format}», and vagrant-libvirt takes only qcow2")));
    }
    if written.disks.is_empty() {
        return match written {
            Written { format: None, .. } => Err(problem("has no format, and vagrant-libvirt needs qcow2 there")),
            Written { virtual_size: None, .. } => Err(problem("has no virtual_size, which vagrant-libvirt needs")),
            _ => Ok(vec![DISK.to_owned()]),
        };
    }
    written.disks.iter().map(|disk| listed(&disk.path)).collect()
}

fn listed(path: &str) -> Result<String, Refusal> {
    let name = clean(path).ok().filter(|name| !name.is_empty());
    let shown = path.escape_debug().take(200).collect::<String>();
    name.map(str::to_owned).ok_or_else(|| problem(format!("lists the disk «{shown}», which is no file of the box")))
}

fn architecture(written: Option<String>) -> Result<Option<String>, Refusal> {
    // Vagrant writes `unknown` where it was not told.
    let Some(text) = written.filter(|text| !text.is_empty() && text != "unknown") else { return Ok(None) };
    let is_word = text.len() <= 32 && text.bytes().all(|letter| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if is_word { Ok(Some(text)) } else { Err(problem("has an architecture that is none: amd64 is one")) }
}

/// What is written for a box. The order of the fields is that of the text.
#[derive(Serialize)]
struct New<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_size: Option<u64>,
}

/// The text for a box; of libvirt, with the size of its disk in bytes, which is written in GiB, rounded up.
pub(super) fn write(provider: BoxProvider, architecture: Option<&str>, virtual_size: Option<u64>) -> String {
    let format = virtual_size.map(|_| "qcow2");
    let virtual_size = virtual_size.map(|bytes| bytes.div_ceil(1 << 30));
    let new = New { architecture, format, provider: provider.name(), virtual_size };
    // Words and numbers can always be written.
    serde_json::to_string(&new).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = write(BoxProvider::Libvirt, Some("amd64"), Some((10 << 30) + 1));
        assert_eq!(text, r#"{"architecture":"amd64","format":"qcow2","provider":"libvirt","virtual_size":11}"#);
        let disks = vec!["box.img".to_owned()];
        let architecture = Some("amd64".to_owned());
        assert_eq!(read(&text).unwrap(), Metadata { provider: BoxProvider::Libvirt, architecture, disks });
        let text = write(BoxProvider::VirtualBox, None, None);
        assert_eq!(text, r#"{"provider":"virtualbox"}"#);
        let none = Metadata { provider: BoxProvider::VirtualBox, architecture: None, disks: Vec::new() };
        assert_eq!(read(&text).unwrap(), none);
    }

    #[test]
    fn listed_disks_are_read() {
        let text = r#"{"provider": "libvirt", "architecture": "unknown",
                       "disks": [{"path": "disk1.img"}, {"path": "./b.img", "name": "x", "format": "qcow2"}]}"#;
        let found = read(text).unwrap();
        assert_eq!((found.disks, found.architecture), (vec!["disk1.img".to_owned(), "b.img".to_owned()], None));
    }

    #[test]
    fn what_vagrant_does_not_start_is_refused() {
        for (text, expected) in [
            ("", "cannot be read"),
            ("[]", "cannot be read"),
            (r#"{"provider": "libvirt""#, "cannot be read"),
            (r#"{"provider": "virtualbox", "provider": "libvirt"}"#, "cannot be read"),
            ("{}", "names no provider"),
            (r#"{"provider": "vmware_desktop\n"}"#, "names the provider «vmware_desktop\\n»"),
            (r#"{"provider": "libvirt", "virtual_size": 1}"#, "has no format"),
            (r#"{"provider": "libvirt", "format": "qcow2"}"#, "has no virtual_size"),
            (r#"{"provider": "libvirt", "format": "qcow2", "virtual_size": "10"}"#, "cannot be read"),
            (r#"{"provider": "libvirt", "format": "raw", "virtual_size": 1}"#, "has the format «raw»"),
            (r#"{"provider": "libvirt", "disks": [{"path": "../a"}]}"#, "lists the disk «../a»"),
            (r#"{"provider": "libvirt", "disks": [{"path": "a", "format": "vmdk"}]}"#, "has the format «vmdk»"),
            (r#"{"provider": "virtualbox", "architecture": "a b"}"#, "has an architecture that is none"),
        ] {
            let found = read(text).unwrap_err().to_string();
            assert!(found.starts_with("«metadata.json» ") && found.contains(expected), "{text}: {found}");
        }
    }
}
