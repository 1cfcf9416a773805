//! OVF: what a machine of `VirtualBox` is made of.
//!
//! The elements are those of the "Open Virtualization Format Specification" (DMTF DSP0243): `References` name files,
//! `DiskSection` says which of them are disks and how large those are. The adapter with its address is an extension of
//! `VirtualBox`.

use roxmltree::{Document, Node, ParsingOptions};

use super::name::clean;

const MOST_NODES: u32 = 20_000;

/// What is known of a machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ovf {
    /// The names of all files that must be beside it.
    pub(super) files: Vec<String>,
    /// Its disks, in their order.
    pub(super) disks: Vec<Disk>,
    /// The address of the first adapter, as 12 hexadecimal digits.
    pub(super) mac: Option<String>,
}

/// A disk of a machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) file: String,
    /// The size as the machine sees it, in bytes, where it is said in a way that is known.
    pub(super) capacity: Option<u64>,
}

/// Reads an OVF; else what is wrong with it.
pub(super) fn read(text: &str) -> Result<Ovf, String> {
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| format!("is no XML ({error})"))?;
    let root = document.root_element();
    if root.tag_name().name() != "Envelope" {
        return Err("is no OVF: its root element is not Envelope".to_owned());
    }
    let files = references(root)?;
    let disks =
        elements(root, "DiskSection", "Disk").filter_map(|node| disk(node, &files)).collect::<Result<_, _>>()?;
    Ok(Ovf { disks, files: files.into_iter().map(|(_, name)| name).collect(), mac: mac(root) })
}

fn elements<'a>(root: Node<'a, 'a>, section: &'static str, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    let sections = root.children().filter(move |node| node.tag_name().name() == section);
    sections.flat_map(|node| node.children()).filter(move |node| node.tag_name().name() == name)
}

/// An attribute, of whatever namespace: programs write them with and without one.
fn attribute<'a>(node: Node<'a, 'a>, name: &str) -> Option<&'a str> {
    node.attributes().find(|attribute| attribute.name() == name).map(|attribute| attribute.value())
}

/// The files by their identifiers.
fn references<'a>(root: Node<'a, 'a>) -> Result<Vec<(&'a str, String)>, String> {
    let file = |node| {
        let href = attribute(node, "href").unwrap_or_default();
        let name = clean(href).ok().filter(|name| !name.is_empty() && !name.contains(':'));
        let name = name.ok_or_else(|| format!("names «{}», which is no file of the box", href.escape_debug()))?;
        Ok((attribute(node, "id").unwrap_or_default(), name.to_owned()))
    };
    elements(root, "References", "File").map(file).collect()
}

/// A disk; `None` for one that is made new, and empty, with the machine.
fn disk(node: Node, files: &[(&str, String)]) -> Option<Result<Disk, String>> {
    let reference = attribute(node, "fileRef")?;
    let Some((_, file)) = files.iter().find(|(id, _)| *id == reference) else {
        return Some(Err(format!("has a disk of the file «{}», which it does not name", reference.escape_debug())));
    };
    if attribute(node, "parentRef").is_some() {
        return Some(Err(format!("has a disk «{file}» that is a difference to another one")));
    }
    let unit = unit(attribute(node, "capacityAllocationUnits").unwrap_or("byte"));
    let number = attribute(node, "capacity").and_then(|text| text.trim().parse::<u64>().ok());
    let capacity = number.and_then(|number| number.checked_mul(unit?)).filter(|capacity| *capacity > 0);
    Some(Ok(Disk { file: file.clone(), capacity }))
}

/// How many bytes a unit is (DSP0004, annex "Programmatic units"; the plain words are those of OVF 0.9).
fn unit(text: &str) -> Option<u64> {
    let text: String = text.to_ascii_lowercase().split_whitespace().collect();
    match text.as_str() {
        "byte" | "bytes" => Some(1),
        "kilobytes" => Some(1 << 10),
        "megabytes" => Some(1 << 20),
        "gigabytes" => Some(1 << 30),
        power => 1_u64.checked_shl(power.strip_prefix("byte*2^")?.parse().ok()?),
    }
}

fn mac(root: Node) -> Option<String> {
    let mut adapters = root.descendants().filter(|node| node.tag_name().name() == "Adapter");
    let first = adapters.find(|node| attribute(*node, "slot") == Some("0") && attribute(*node, "MACAddress").is_some());
    let address = attribute(first?, "MACAddress")?;
    let is_address = address.len() == 12 && address.bytes().all(|letter| letter.is_ascii_hexdigit());
    is_address.then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::ovf, *};

    #[test]
    fn a_machine_names_its_disks() {
        let found =
            read(&ovf(&[("box-disk001.vmdk", "41943040", None), ("b.vmdk", "2", Some("byte * 2^30"))])).unwrap();
        let disk = |file: &str, capacity| Disk { file: file.to_owned(), capacity: Some(capacity) };
        assert_eq!(found.files, ["box-disk001.vmdk", "b.vmdk"]);
        assert_eq!(found.disks, [disk("box-disk001.vmdk", 41_943_040), disk("b.vmdk", 2 << 30)]);
        assert_eq!(found.mac.as_deref(), Some("080027C7DF4B"));
    }

    #[test]
    fn a_capacity_that_is_not_known_is_left_out() {
        for (capacity, unit) in [("0", None), ("${size}", None), ("1", Some("furlong")), ("2", Some("byte * 2^63"))] {
            let found = read(&ovf(&[("a.vmdk", capacity, unit)])).unwrap();
            assert_eq!(found.disks.first().unwrap().capacity, None, "{capacity} {unit:?}");
        }
    }

    #[test]
    fn files_outside_of_the_box_are_refused() {
        for href in ["../a.vmdk", "/dev/sda", "http://example.com/a.vmdk", "", "."] {
            let problem = read(&ovf(&[(href, "1", None)])).unwrap_err();
            assert_eq!(problem, format!("names «{href}», which is no file of the box"));
        }
    }

    #[test]
    fn what_is_no_machine_is_refused() {
        let good = ovf(&[("a.vmdk", "1", None)]);
        let bomb = "<!DOCTYPE a [<!ENTITY b \"c\">]><Envelope>&b;</Envelope>".to_owned();
        for (text, problem) in [
            ("<a/>".to_owned(), "is no OVF"),
            (String::new(), "is no XML"),
            (good[..good.len() / 2].to_owned(), "is no XML"),
            (bomb, "is no XML"),
            (format!("<Envelope>{}</Envelope>", "<a/>".repeat(20_000)), "is no XML"),
            (good.replace("fileRef=\"file0\"", "fileRef=\"x\""), "has a disk of the file «x»"),
            (good.replace("fileRef", "parentRef=\"x\" fileRef"), "has a disk «a.vmdk» that is a difference"),
        ] {
            let found = read(&text).unwrap_err();
            assert!(found.starts_with(problem), "{found}");
        }
    }
}
