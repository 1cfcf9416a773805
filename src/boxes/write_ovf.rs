//! Writes the OVF of a machine of `VirtualBox` with one disk.
//!
//! The sections and their order are those of the "Open Virtualization Format Specification" (DMTF DSP0243, 1.x); the
//! numbers of the kinds of hardware are the values of `ResourceType` in CIM's `CIM_ResourceAllocationSettingData`, and
//! 96 is Debian 64-Bit in the `OSType` of `CIM_OperatingSystem`. What is in the namespace `vbox` is the form of the
//! settings of `VirtualBox` 5.0 (version 1.15), which all later ones read: there is the address of the adapter, that
//! OVF itself has no place for.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use super::{
    identity::{Settled, settle},
    refusal::{Refusal, local},
};

/// The hardware of a machine besides its disk and its adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// The processors. Of 0, one is written.
    pub processors: u32,
    /// The memory, in MiB; `VirtualBox` takes 4 and more.
    pub memory: u32,
}

/// Writes a new OVF 1.0 of a machine that has this disk, a VMDK of one file that `qemu-img convert` has just written
/// with `-o subformat=streamOptimized`. The OVF names the disk by the name of its file, so the two belong into one
/// folder: then [`pack`](super::pack()) takes them as [`Parts::VirtualBox`](super::Parts::VirtualBox).
///
/// The machine boots by BIOS from a SATA disk (AHCI), and has one adapter (Intel PRO/1000) behind NAT: what Vagrant
/// needs. Its address and its UUIDs are of the content of the disk.
///
/// **The file of the disk is changed in two places**, and read once for that. Its content identifier, which `qemu-img`
/// takes at random, is set by its content, so that one disk gives one box; and the marker of its end is written, which
/// `qemu-img` leaves out and without which `VirtualBox` imports few disks. No byte that the machine sees changes.
///
/// # Errors
///
/// The disk is no streamOptimized VMDK that stands alone, it was cut, or `VirtualBox` would not import it, since its
/// size is no multiple of 64 KiB and its end is written to. Or its name has other characters than letters and digits of
/// ASCII, `.`, `_` and `-`; or the machine failed, as where there is an OVF already.
pub fn write_ovf(disk: &Path, ovf: &Path, hardware: Hardware) -> Result<(), Refusal> {
    let name = disk.file_name().unwrap_or_default().to_string_lossy();
    if !name.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"._-".contains(&letter)) {
        let problem = "has other characters than letters, digits, «.», «_» and «-»";
        return Err(Refusal::Name { name: name.escape_debug().take(300).collect(), problem });
    }
    let text = text(&name, &settle(disk, &name)?, hardware);
    let new = OpenOptions::new().write(true).create_new(true).mode(0o644).open(ovf);
    let written = new.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(local(format!("{} cannot be written", ovf.display())))
}

fn text(name: &str, disk: &Settled, Hardware { processors, memory }: Hardware) -> String {
    let hardware = Hardware { processors: processors.max(1), memory };
    let (image, head) = (disk.uuid("disk"), head());
    let (disks, items, machine) = (disks(name, disk, &image), items(hardware), machine(disk, &image, hardware));
    format!("{head}{disks}{SYSTEM}{items}    </VirtualHardwareSection>\n{machine}  </VirtualSystem>\n</Envelope>\n")
}

fn head() -> String {
    const CIM: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2";
    const OVF: &str = "http://schemas.dmtf.org/ovf/envelope/1";
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Envelope ovf:version=\"1.0\" xml:lang=\"en-US\" xmlns=\"{OVF}\" xmlns:ovf=\"{OVF}\"\n  \
         xmlns:rasd=\"{CIM}/CIM_ResourceAllocationSettingData\" xmlns:vssd=\"{CIM}/CIM_VirtualSystemSettingData\"\n  \
         xmlns:vbox=\"http://www.virtualbox.org/ovf/machine\">\n"
    )
}

fn disks(name: &str, disk: &Settled, image: &str) -> String {
    const FORMAT: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";
    let capacity = disk.capacity;
    format!(
        "  <References>\n    <File ovf:id=\"file1\" ovf:href=\"{name}\"/>\n  </References>\n  \
         <DiskSection>\n    <Info>The disk of the machine</Info>\n    \
         <Disk ovf:capacity=\"{capacity}\" ovf:diskId=\"disk1\" ovf:fileRef=\"file1\" ovf:format=\"{FORMAT}\" \
         vbox:uuid=\"{image}\"/>\n  </DiskSection>\n"
    )
}

/// All that is the same of each machine.
const SYSTEM: &str = r#"  <NetworkSection>
    <Info>The network of the machine</Info>
    <Network ovf:name="NAT">
      <Description>Vagrant reaches the machine through the first adapter, by a forwarded port</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="box">
    <Info>The machine of the box</Info>
    <OperatingSystemSection ovf:id="96">
      <Info>The system on the disk</Info>
      <Description>Debian_64</Description>
      <vbox:OSType ovf:required="false">Debian_64</vbox:OSType>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>The hardware of the machine</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>box</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType>
      </System>
"#;

fn items(Hardware { processors, memory }: Hardware) -> String {
    let (processors, memory) = (processors.to_string(), memory.to_string());
    [
        item("Processors", 1, 3, &[("VirtualQuantity", &processors)]),
        item("Memory", 2, 4, &[("AllocationUnits", "byte * 2^20"), ("VirtualQuantity", &memory)]),
        item("SATA", 3, 20, &[("Address", "0"), ("ResourceSubType", "AHCI")]),
        item("Disk", 4, 17, &[("AddressOnParent", "0"), ("HostResource", "/disk/disk1"), ("Parent", "3")]),
        item("Adapter", 5, 10, &[("AutomaticAllocation", "true"), ("Connection", "NAT"), ("ResourceSubType", "E1000")]),
    ]
    .concat()
}

/// A piece of hardware, with the number that others name it by, and its kind. Its fields are in the order of their
/// names, which is the one of the schema.
fn item(name: &str, instance: u32, kind: u32, more: &[(&str, &str)]) -> String {
    let (instance, kind) = (instance.to_string(), kind.to_string());
    let same = [("ElementName", name), ("InstanceID", &instance), ("ResourceType", &kind)];
    let mut fields: Vec<_> = same.iter().chain(more).collect();
    fields.sort_unstable();
    let field = |(key, value): &&(&str, &str)| format!("        <rasd:{key}>{value}</rasd:{key}>\n");
    let fields: Vec<_> = fields.iter().map(field).collect();
    format!("      <Item>\n{}      </Item>\n", fields.concat())
}

/// The settings that `VirtualBox` takes instead of the sections before.
fn machine(disk: &Settled, image: &str, Hardware { processors, memory }: Hardware) -> String {
    let (uuid, mac) = (disk.uuid("machine"), disk.mac());
    format!(
        r#"    <vbox:Machine ovf:required="false" version="1.15-linux" uuid="{{{uuid}}}" name="box" OSType="Debian_64">
      <ovf:Info>The machine as VirtualBox keeps it</ovf:Info>
      <Hardware>
        <CPU count="{processors}"><PAE enabled="true"/><LongMode enabled="true"/></CPU>
        <Memory RAMSize="{memory}"/>
        <Boot><Order position="1" device="HardDisk"/><Order position="2" device="None"/></Boot>
        <Display controller="VMSVGA" VRAMSize="16"/>
        <BIOS><ACPI enabled="true"/><IOAPIC enabled="true"/></BIOS>
        <Network>
          <Adapter slot="0" enabled="true" MACAddress="{mac}" cable="true" type="82540EM"><NAT/></Adapter>
        </Network>
        <AudioAdapter controller="AC97" driver="Null" enabled="false"/>
        <RTC localOrUTC="UTC"/>
      </Hardware>
      <StorageControllers>
        <StorageController name="SATA" type="AHCI" PortCount="1" useHostIOCache="false" Bootable="true">
          <AttachedDevice type="HardDisk" port="0" device="0"><Image uuid="{{{image}}}"/></AttachedDevice>
        </StorageController>
      </StorageControllers>
    </vbox:Machine>
"#
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{
        super::{
            Inspected, Parts,
            fixtures::{qcow2, vmdk, with},
            inspect, ovf, pack,
        },
        *,
    };

    const HARDWARE: Hardware = Hardware { processors: 2, memory: 1024 };

    /// A folder with a disk and the OVF that was written for it.
    fn written(disk: &[u8], name: &str) -> (TempDir, Result<(), Refusal>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), disk).unwrap();
        let result = write_ovf(&folder.path().join(name), &folder.path().join("box.ovf"), HARDWARE);
        (folder, result)
    }

    fn text(folder: &TempDir) -> String {
        fs::read_to_string(folder.path().join("box.ovf")).unwrap()
    }

    fn packed(disk: &[u8]) -> (Inspected, Vec<u8>) {
        let (folder, result) = written(disk, "box-disk001.vmdk");
        result.unwrap();
        let out = folder.path().join("out");
        let packed = pack(Parts::VirtualBox { ovf: &folder.path().join("box.ovf") }, None, 1 << 20, &out).unwrap();
        assert_eq!(inspect(&out, 1 << 20).unwrap(), packed);
        (packed, fs::read(out).unwrap())
    }

    #[test]
    fn a_machine_that_was_written_can_be_packed_and_gives_the_same_box() {
        let (one, bytes) = packed(&vmdk(2048));
        assert_eq!((one.virtual_size, one.disks[0].name.as_str()), (1 << 20, "box-disk001.vmdk"));
        // Another conversion of the same disk has another content identifier.
        let at = 512 + "# Disk DescriptorFile\nversion=1\nCID=".len();
        assert_eq!(packed(&with(vmdk(2048), at, b"7")).1, bytes);
        assert_ne!(packed(&vmdk(2047)).1, bytes);
    }

    #[test]
    fn a_machine_has_what_vagrant_and_virtualbox_need() {
        let (folder, result) = written(&vmdk(2048), "a-1_b.vmdk");
        result.unwrap();
        let text = text(&folder);
        let found = ovf::read(&text).unwrap();
        let disk = ovf::Disk { file: "a-1_b.vmdk".to_owned(), capacity: Some(1 << 20) };
        assert_eq!((found.files, found.disks), (vec!["a-1_b.vmdk".to_owned()], vec![disk]));
        assert!(found.mac.unwrap().starts_with("080027"));
        for part in [
            "ovf:version=\"1.0\"",
            "vmdk.html#streamOptimized\"",
            "<Network ovf:name=\"NAT\">",
            "<OperatingSystemSection ovf:id=\"96\">",
            "<vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType>",
            "<rasd:VirtualQuantity>2</rasd:VirtualQuantity>",
            "<rasd:VirtualQuantity>1024</rasd:VirtualQuantity>",
            "<rasd:ResourceSubType>AHCI</rasd:ResourceSubType>",
            "<rasd:ResourceSubType>E1000</rasd:ResourceSubType>",
            "<rasd:HostResource>/disk/disk1</rasd:HostResource>",
            "<CPU count=\"2\">",
            "<Memory RAMSize=\"1024\"/>",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_disk_of_the_settings_is_the_one_of_the_sections() {
        let (folder, result) = written(&vmdk(2048), "a.vmdk");
        result.unwrap();
        let text = text(&folder);
        let document = roxmltree::Document::parse(&text).unwrap();
        let attribute = |element: &str, name: &str| {
            let node = document.descendants().find(|node| node.tag_name().name() == element).unwrap();
            node.attributes().find(|attribute| attribute.name() == name).unwrap().value().to_owned()
        };
        assert_eq!(attribute("Image", "uuid"), format!("{{{}}}", attribute("Disk", "uuid")));
        assert_ne!(attribute("Image", "uuid"), attribute("Machine", "uuid"));
    }

    #[test]
    fn fields_of_hardware_are_in_the_order_of_their_names() {
        let fields = [("AddressOnParent", "0"), ("Parent", "3")];
        let text = item("Disk", 4, 17, &fields);
        let names: Vec<_> =
            text.lines().filter_map(|line| line.trim().strip_prefix("<rasd:")?.split('>').next()).collect();
        assert_eq!(names, ["AddressOnParent", "ElementName", "InstanceID", "Parent", "ResourceType"]);
    }

    #[test]
    fn a_disk_that_virtualbox_does_not_import_gets_no_machine() {
        for (disk, name, expected) in [
            (qcow2(7), "a.vmdk", "the disk «a.vmdk» is no VMDK"),
            (vec![], "a.vmdk", "the disk «a.vmdk» is no VMDK"),
            (vmdk(4)[..1600].to_vec(), "a.vmdk", "the disk «a.vmdk» is shorter"),
            (with(vmdk(4), 8, &[0; 4]), "a.vmdk", "the disk «a.vmdk» is of the kind"),
            (vmdk(4), "a b.vmdk", "the entry «a b.vmdk» has other characters"),
            (vmdk(4), "a\".vmdk", "the entry «a\\\".vmdk» has other characters"),
        ] {
            let (folder, result) = written(&disk, name);
            let found = result.unwrap_err().to_string();
            assert!(found.starts_with(expected), "{found}");
            assert!(!folder.path().join("box.ovf").exists());
            assert_eq!(fs::read(folder.path().join(name)).unwrap(), disk);
        }
    }

    #[test]
    fn a_machine_that_is_there_is_left_alone() {
        let (folder, result) = written(&vmdk(4), "a.vmdk");
        result.unwrap();
        let before = text(&folder);
        let again = write_ovf(&folder.path().join("a.vmdk"), &folder.path().join("box.ovf"), HARDWARE);
        assert!(matches!(again, Err(Refusal::Local { .. })));
        assert_eq!(text(&folder), before);
    }
}
