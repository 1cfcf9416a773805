//! Which of packer's files is the box.

use super::*;
use crate::boxes::Disk;

fn inspected(format: BoxFormat, size: u64) -> Inspected {
    let disks = vec![Disk { name: "box.img".to_owned(), size, virtual_size: size }];
    let sha256 = "0".repeat(64);
    Inspected { format, provider: None, architecture: None, virtual_size: size, sha256, size, disks }
}

fn file_of(build: &str, name: &str, inspected: Result<Inspected, Refusal>) -> File {
    File { build: build.to_owned(), name: name.to_owned(), path: name.into(), inspected }
}

fn good(name: &str, format: BoxFormat) -> File {
    file_of("qemu", name, Ok(inspected(format, 2 << 20)))
}

fn refused(name: &str, why: Refusal) -> File {
    file_of("qemu", name, Err(why))
}

fn picked(files: Vec<File>) -> Result<String, (Reason, String)> {
    pick(files).map(|file| file.name).map_err(|failure| (failure.reason, failure.message))
}

#[test]
fn a_vagrant_box_is_the_product_whatever_disks_are_beside_it() {
    let archive = refused("out/box.tar.gz", Refusal::NoArchive);
    let files = vec![good("disks/old", BoxFormat::Qcow2), archive, good("out/a.box", BoxFormat::Vagrant)];
    assert_eq!(picked(files), Ok("out/a.box".to_owned()));
}

#[test]
fn a_box_that_is_refused_is_not_passed_over_for_a_disk() {
    let files = vec![good("disks/old", BoxFormat::Qcow2), refused("out/a.box", Refusal::Empty)];
    let (reason, message) = picked(files).unwrap_err();
    assert_eq!((reason, message.as_str()), (Reason::BoxRefused, format!("out/a.box: {}", Refusal::Empty).as_str()));
    let large = Refusal::DiskTooLarge { name: "box.img".to_owned(), virtual_size: 40 << 30, bound: 18 << 30 };
    let (_, message) = picked(vec![refused("a.box", large)]).unwrap_err();
    assert!(message.ends_with("unless disk_size says otherwise)"), "{message}");
}

#[test]
fn without_a_vagrant_box_the_one_disk_is_the_product() {
    let sums = || file_of("qemu", "out/sums", Ok(inspected(BoxFormat::Raw, 512)));
    assert_eq!(picked(vec![sums(), good("disks/a", BoxFormat::Raw)]), Ok("disks/a".to_owned()));
    let (reason, message) = picked(vec![sums()]).unwrap_err();
    assert_eq!(reason, Reason::NoImage);
    assert!(message.ends_with("must name a build of the template"), "{message}");
}

#[test]
fn what_packer_made_instead_of_a_box_is_told() {
    let (reason, message) = picked(vec![refused("packer_qemu.tar.gz", Refusal::NoArchive)]).unwrap_err();
    assert_eq!(reason, Reason::NoImage);
    assert!(message.contains("keep_input_artifact = true"), "{message}");
    assert!(message.ends_with(&format!(". packer_qemu.tar.gz: {}", Refusal::NoArchive)), "{message}");
}

#[test]
fn one_of_several_boxes_must_be_picked() {
    let two = |second: &str| {
        let second = file_of(second, "b.box", Ok(inspected(BoxFormat::Vagrant, 1)));
        picked(vec![good("a.box", BoxFormat::Vagrant), second]).unwrap_err()
    };
    let (reason, message) = two("virtualbox");
    assert_eq!(reason, Reason::SeveralImages);
    assert_eq!(
        message,
        "the template made several boxes, a.box in the build qemu and b.box in the build virtualbox: pick one build with \
         build.packer.only"
    );
    assert!(two("qemu").1.contains("artifice"));
}

#[test]
fn the_box_is_moved() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["source/a.box", "product/box"].map(|name| folder.path().join(name));
    fs::create_dir(folder.path().join("source")).unwrap();
    fs::write(&from, "box").unwrap();
    take(&from, &to).unwrap();
    assert_eq!((fs::read_to_string(&to).unwrap().as_str(), from.exists()), ("box", false));
    let failure = take(&from, &to).unwrap_err();
    assert!(failure.message.contains("cannot be moved to the product"), "{}", failure.message);
}
