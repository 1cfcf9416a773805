//! Lines of packer 1.6.6 of Debian 12.

use super::*;

#[test]
fn a_line_is_for_people_or_for_us() {
    let text = |text: &str| Line::Text(text.to_owned());
    for (written, expected) in [
        ("1795257742,,version,1.6.6", Line::Version("1.6.6".to_owned())),
        ("1795257742,,version-prelease,", Line::Other),
        ("1795257742,,ui,say,Packer v1.6.6", text("Packer v1.6.6")),
        (
            "1795257742,,ui,say,\\n==> Builds finished but no artifacts were created.",
            text("\n==> Builds finished but no artifacts were created."),
        ),
        (
            "1795257743,,ui,error,Error: Unsupported block type\\n\\n  on null.pkr.hcl line 2%!(PACKER_COMMA) in packer:\\n",
            Line::Error("Error: Unsupported block type\n\n  on null.pkr.hcl line 2, in packer:\n".to_owned()),
        ),
        (
            "1795259801,,ui,message,    docker.web: hello%!(PACKER_COMMA) world",
            Line::Output("    docker.web: hello, world".to_owned()),
        ),
        ("Error: a program's own, with commas, in it", text("Error: a program's own, with commas, in it")),
        ("1,2,3", text("1,2,3")),
        ("", text("")),
    ] {
        assert_eq!(line(written), expected, "{written}");
    }
}

#[test]
fn a_container_is_needed_until_packer_leaves_it() {
    for (written, container, leaves) in [
        ("1795259801,,ui,message,    docker.web: Container ID: 598a13e93b15", Some("598a13e93b15"), false),
        ("1795259801,,ui,say,==> docker.web: Starting docker container...", None, false),
        ("1795259801,,ui,say,==> docker.web: Committing the container", None, true),
        ("1795259801,,ui,say,==> docker.web: Exporting the container", None, true),
        ("1795259801,,ui,message,    docker.web: Committing the container", None, false),
    ] {
        let line = line(written);
        assert_eq!((line.container(), line.leaves_container()), (container, leaves), "{written}");
    }
}

fn outcome(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    text.lines().for_each(|text| outcome.add(line(text)));
    outcome
}

/// Two builds of the docker builder with `commit`, and the post-processor manifest.
const TWO: &str = "\
1795259803,docker.other,artifact-count,2
1795259803,docker.other,artifact,0,builder-id,packer.post-processor.docker-import
1795259803,docker.other,artifact,0,id,sha256:de18d841f94175083819b011d2c57026d614c0f531b58af6208e07f9c90385be
1795259803,docker.other,artifact,0,string,Imported Docker image: sha256:de18d841f94175083819b011d2c57026d614c0f531b58af6208e07f9c90385be
1795259803,docker.other,artifact,0,files-count,0
1795259803,docker.other,artifact,0,end
1795259803,docker.other,artifact,1,builder-id,packer.post-processor.docker-import
1795259803,docker.other,artifact,1,id,sha256:de18d841f94175083819b011d2c57026d614c0f531b58af6208e07f9c90385be
1795259803,docker.other,artifact,1,end
1795259803,docker.web,artifact-count,2
1795259803,docker.web,artifact,0,builder-id,packer.post-processor.docker-import
1795259803,docker.web,artifact,0,id,sha256:82987f59723b6161ccd9e64741fe365dcc5a4d04de0fcece2f9a75485bec7a69
1795259803,docker.web,artifact,0,end
";

/// With the post-processor docker-tag.
const TAGGED: &str = "\
1795259805,docker.web,artifact-count,2
1795259805,docker.web,artifact,0,builder-id,packer.post-processor.docker-import
1795259805,docker.web,artifact,0,id,sha256:b3c70f95df774679b0655f33030edab87dae544c5904ea5837178a887962616f
1795259805,docker.web,artifact,0,string,Imported Docker image: sha256:b3c70f95df774679b0655f33030edab87dae544c5904ea5837178a887962616f
1795259805,docker.web,artifact,0,end
1795259805,docker.web,artifact,1,builder-id,packer.post-processor.docker-tag
1795259805,docker.web,artifact,1,id,local/web:2
1795259805,docker.web,artifact,1,string,Imported Docker image: local/web:2 with tags local/web:1 local/web:2
1795259805,docker.web,artifact,1,end
";

/// Of the builder `file`.
const FILE: &str = "\
1795259805,file.a,artifact,0,builder-id,packer.file
1795259805,file.a,artifact,0,id,File
1795259805,file.a,artifact,0,string,Stored file: a.txt
1795259805,file.a,artifact,0,end
";

#[test]
fn images_are_found_by_what_the_engine_calls_them() {
    const OTHER: &str = "sha256:de18d841f94175083819b011d2c57026d614c0f531b58af6208e07f9c90385be";
    const WEB: &str = "sha256:82987f59723b6161ccd9e64741fe365dcc5a4d04de0fcece2f9a75485bec7a69";
    const BEFORE: &str = "sha256:b3c70f95df774679b0655f33030edab87dae544c5904ea5837178a887962616f";
    assert_eq!(outcome(TWO).images(), [("docker.other", OTHER), ("docker.other", OTHER), ("docker.web", WEB)]);
    assert_eq!(outcome(TAGGED).images(), [("docker.web", BEFORE), ("docker.web", "local/web:2")]);
    assert_eq!(outcome(FILE).images(), []);
    assert_eq!(outcome(FILE).others(), ["file.a: Stored file: a.txt"]);
    assert_eq!(outcome(TAGGED).others(), [""; 0]);
}

#[test]
fn why_a_build_failed_comes_before_what_its_scripts_said() {
    let failed = outcome(
        "1795259458,,ui,error,==> docker.web: E: Unable to locate package ngninx\n\
         1795259458,,error-count,1\n\
         1795259458,,ui,error,\\n==> Some builds didn't complete successfully and had errors:\n\
         1795259458,docker.web,error,Script exited with non-zero exit status: 100.Allowed exit codes are: [0]\n",
    );
    assert_eq!(
        failed.complaint(),
        "docker.web: Script exited with non-zero exit status: 100.Allowed exit codes are: [0]"
    );
    let refused = outcome(
        "1795257743,,ui,error,Error: Unsupported argument\\n\\n  on t.pkr.hcl line 12:\\n  (source code not available)\\n\\n\
         An argument named \"sauces\" is not expected here. Did you mean \"sources\"?\\n",
    );
    assert_eq!(
        refused.complaint(),
        "Error: Unsupported argument on t.pkr.hcl line 12: An argument named \"sauces\" is not expected here. Did you \
         mean \"sources\"?"
    );
}

#[test]
fn a_script_that_vanished_is_told_from_one_that_fails() {
    const FAILED: &str =
        "1795259801,docker.web,error,Script exited with non-zero exit status: 127. Allowed exit codes are: [0]\n";
    const OTHER: &str =
        "1795259801,docker.web,error,Script exited with non-zero exit status: 1. Allowed exit codes are: [0]\n";
    let said = |text: &str| format!("1795259800,,ui,error,==> docker.web: {text}\n");
    let dash = said("/bin/sh: 1: /tmp/script_2742.sh: not found");
    let bash = said("/bin/sh: line 1: /tmp/script_2742.sh: No such file or directory");
    for (what, text, expected) in [
        ("dash", format!("{dash}{FAILED}"), true),
        ("bash", format!("{bash}{FAILED}"), true),
        (
            "a program that the script lacks",
            format!("{}{FAILED}", said("/tmp/script_2742.sh: 3: ansible: not found")),
            false,
        ),
        ("a program that a command lacks", format!("{}{FAILED}", said("/bin/sh: 1: ansible: not found")), false),
        ("another end", format!("{dash}{OTHER}"), false),
        ("nothing but the end", FAILED.to_owned(), false),
    ] {
        assert_eq!(outcome(&text).has_lost_script(), expected, "{what}");
    }
}

/// The builder qemu with the post-processors compress, vagrant, artifice and checksum. A file that was listed for artifice
/// and was not there is nowhere named.
const MACHINE: &str = "\
1795871448,qemu,artifact-count,5
1795871448,qemu,artifact,0,builder-id,transcend.qemu
1795871448,qemu,artifact,0,id,VM
1795871448,qemu,artifact,0,string,VM files in directory: disks
1795871448,qemu,artifact,0,files-count,1
1795871448,qemu,artifact,0,file,0,disks/old
1795871448,qemu,artifact,0,end
1795871448,qemu,artifact,1,builder-id,packer.post-processor.compress
1795871448,qemu,artifact,1,id,
1795871448,qemu,artifact,1,string,compressed artifacts in: out/box.tar.gz
1795871448,qemu,artifact,1,files-count,1
1795871448,qemu,artifact,1,file,0,out/box.tar.gz
1795871448,qemu,artifact,1,end
1795871448,qemu,artifact,2,builder-id,mitchellh.post-processor.vagrant
1795871448,qemu,artifact,2,id,libvirt
1795871448,qemu,artifact,2,string,'libvirt' provider box: out/a.box
1795871448,qemu,artifact,2,files-count,1
1795871448,qemu,artifact,2,file,0,out/a.box
1795871448,qemu,artifact,2,end
1795871448,qemu,artifact,3,builder-id,packer.post-processor.artifice
1795871448,qemu,artifact,3,id,
1795871448,qemu,artifact,3,string,Created artifact from files: out/a.box
1795871448,qemu,artifact,3,files-count,1
1795871448,qemu,artifact,3,file,0,out/a.box
1795871448,qemu,artifact,3,end
1795871448,qemu,artifact,4,builder-id,packer.post-processor.checksum
1795871448,qemu,artifact,4,id,
1795871448,qemu,artifact,4,string,Created artifact from files: out/a.box%!(PACKER_COMMA) out/sums
1795871448,qemu,artifact,4,files-count,2
1795871448,qemu,artifact,4,file,0,out/a.box
1795871448,qemu,artifact,4,file,1,out/sums
1795871448,qemu,artifact,4,end
";

#[test]
fn files_are_known_once() {
    let made = outcome(MACHINE);
    let files: Vec<_> = made.files().iter().map(|(build, path)| (build.as_str(), path.as_str())).collect();
    assert_eq!(files, [("qemu", "disks/old"), ("qemu", "out/box.tar.gz"), ("qemu", "out/a.box"), ("qemu", "out/sums")]);
    assert_eq!(made.images(), []);
    assert!(outcome(TWO).files().is_empty());
}

#[test]
fn a_machine_that_lets_nobody_in_is_known_by_packers_words() {
    for (why, expected) in [
        ("Timeout waiting for SSH.", true),
        ("timeout while waiting for machine to shut down", true),
        ("Script exited with non-zero exit status: 1.Allowed exit codes are: [0]", false),
        ("error downloading ISO: [Checksums did not match for /workspace/parent/disk.]", false),
    ] {
        assert_eq!(outcome(&format!("1795871448,qemu,error,{why}")).has_lost_machine(), expected, "{why}");
    }
}
