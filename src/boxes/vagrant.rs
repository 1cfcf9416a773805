//! A Vagrant box: whether its entries are together what its provider needs.

use super::{
    archive::Entries,
    content::Content,
    disk::{self, Disk, Format},
    metadata::{self, Metadata},
    ovf,
    refusal::Refusal,
};
use crate::api::boxes::BoxProvider;

/// The name of the OVF that Vagrant imports.
pub(super) const OVF: &str = "box.ovf";

/// What is known of a box by its entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Vagrant {
    pub(super) provider: BoxProvider,
    pub(super) architecture: Option<String>,
    /// At least one.
    pub(super) disks: Vec<Disk>,
}

/// Puts together what was read. No disk is larger than `bound` bytes for the machine.
pub(super) fn of(entries: &Entries, bound: u64) -> Result<Vagrant, Refusal> {
    let content = entries.get(metadata::FILE).ok_or(Refusal::NoMetadata)?;
    let text = content.text().ok_or_else(|| Refusal::Metadata { problem: "is no text".to_owned() })?;
    let Metadata { provider, architecture, disks } = metadata::read(text)?;
    let disks = match provider {
        BoxProvider::Libvirt => disks.iter().map(|name| of_libvirt(name, entries, bound)).collect::<Result<_, _>>()?,
        BoxProvider::VirtualBox => of_virtualbox(entries, bound)?,
    };
    Ok(Vagrant { provider, architecture, disks })
}

fn of_libvirt(name: &str, entries: &Entries, bound: u64) -> Result<Disk, Refusal> {
    let content = entries.get(name).ok_or_else(|| Refusal::NoDisk { name: name.to_owned() })?;
    disk::check(name, content, Format::Qcow2, bound)
}

fn of_virtualbox(entries: &Entries, bound: u64) -> Result<Vec<Disk>, Refusal> {
    let (name, content) = the_ovf(entries)?;
    let ovf = machine(name, content)?;
    if let Some(missing) = ovf.files.iter().find(|file| !entries.contains_key(*file)) {
        return Err(Refusal::NoFile { ovf: name.to_owned(), name: missing.clone() });
    }
    let disks: Vec<_> = ovf.disks.iter().filter_map(|disk| Some((disk, entries.get(&disk.file)?))).collect();
    if disks.is_empty() {
        return Err(problem(name, "names no disk"));
    }
    let check = |(disk, content): (&ovf::Disk, &Content)| {
        // The header counts where the disk is read, and the OVF where a machine is made of it.
        let found = disk::check(&disk.file, content, Format::VirtualBox, bound)?;
        let virtual_size = disk.capacity.unwrap_or(found.virtual_size);
        Ok(Disk { name: disk::fit(found.name, virtual_size, bound)?, virtual_size, ..found })
    };
    disks.into_iter().map(check).collect()
}

fn the_ovf(entries: &Entries) -> Result<(&str, &Content), Refusal> {
    let is_ovf = |name: &&String| name.rsplit_once('.').is_some_and(|(_, end)| end == "ovf");
    let found: Vec<_> = entries.keys().filter(is_ovf).collect();
    match (found.as_slice(), entries.get(OVF)) {
        ([_], Some(content)) => Ok((OVF, content)),
        ([name], None) => Err(problem(name, "is not named box.ovf, which is what Vagrant imports")),
        _ => Err(Refusal::OvfCount { count: found.len() }),
    }
}

/// Reads an OVF.
pub(super) fn machine(name: &str, content: &Content) -> Result<ovf::Ovf, Refusal> {
    let text = content.text().ok_or_else(|| problem(name, "is no text"))?;
    ovf::read(text).map_err(|wrong| problem(name, wrong))
}

fn problem(name: &str, problem: impl Into<String>) -> Refusal {
    Refusal::Ovf { name: name.to_owned(), problem: problem.into() }
}
