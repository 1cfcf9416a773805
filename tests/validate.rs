//! `imagechain validate` as its users see it.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

fn validate(file: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_imagechain"))
        .args(["validate", "-f", file])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests"))
        .output()
        .expect("the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn good_objects_are_summed_up() {
    let output = validate("good.yaml");
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(text(&output.stdout), @r#"
good.yaml: ImageChain shop: valid, 2 links: systemd, web
good.yaml: BuildProfile docker: valid, builds in namespace builds
"#);
}

#[test]
fn bad_objects_are_told_with_every_problem() {
    let output = validate("bad.yaml");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stdout), @r#"
bad.yaml: ImageChain shop: 5 problems
  spec.paralelism: there is no such field: look at its spelling and its indentation
  spec.links[0].from.link: there is no earlier link «systemd»: move the parent before its children
  spec.source.git.url: must not hold a password: put it into the Secret of secretRef
  spec.links[0].build.packer.template: must stay inside the source: none of its parts may be empty, . or ..
  spec.links[0].build.packer.variables.who: holds $(whoami), which is none of the placeholders $(parent.reference), $(parent.repository), $(parent.tag), $(parent.digest), $(parent.local), $(parent.box), $(parent.disk), $(parent.checksum), $(image.local), $(link.name), $(chain.name), $(build.name), $(source.revision), $(source.path), $(files.NAME): write $$(whoami) if it is meant as it stands
bad.yaml: Secret x: 1 problem
  kind: must be an ImageChain, ImageBuild or BuildProfile of imagechain.dev/v1alpha1
bad.yaml: ImageChain shop: 2 problems
  spec.links: must have at least 1 entries, not 0
  spec.profiles: must be a list, not a string
"#);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = validate("none.yaml");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @"imagechain: none.yaml: No such file or directory (os error 2)");
}

/// Runs it on a chain of two links in a folder.
fn validate_with(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_imagechain"))
        .args(["validate", "-f", "chain.yaml"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program")
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

const CHAIN: &str = "\
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: shop}
spec:
  profiles: [docker]
  source: {git: {url: 'https://git.example/shop.git', revision: 'feature/#42'}}
  links:
  - name: base
    paths: [packer]
    build: {packer: {template: packer/base.pkr.hcl}}
  - name: web
    from: {link: base}
    build: {packer: {template: packer/web.json, variableFiles: [prod.json]}}
    verify: [{molecule: {directory: ansible}}]
";

const HCL: &str = r#"
build {
  provisioner "shell" {
    scripts = ["${path.root}/a.sh", "b.sh", local.other]
  }
}
"#;

#[test]
fn a_checkout_is_looked_at_for_all_that_links_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = folder.path().join("shop");
    write(folder.path(), "chain.yaml", CHAIN);
    write(&shop, "packer/base.pkr.hcl", HCL);
    write(&shop, "packer/a.sh", "");
    write(&shop, "packer/web.json", r#"{"provisioners": [{"type": "ansible", "playbook_file": "../lib/site.yml"}]}"#);
    write(&shop, ".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n");
    write(&shop, "movie.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n");
    symlink("/lib/systemd/system/app.service", shop.join("app.service")).expect("a link");
    let output = validate_with(folder.path(), &["--source", "shop", "--verbose"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout), @r#"
chain.yaml: ImageChain shop: 6 problems
  spec.links[0].build.packer.template: packer/base.pkr.hcl:4: provisioner shell: scripts = «b.sh»: the source has no «packer/b.sh» (packer runs in packer)
  spec.links[1].build.packer.variableFiles[0]: the source has no «prod.json»
  spec.links[1].verify[0].molecule.directory: the source has no folder «ansible»
  spec.links[1].verify[0].molecule.scenario: the source has no folder «ansible/molecule/default»
  spec.links[1].build.packer.template: packer/web.json: provisioner ansible: playbook_file = «../lib/site.yml»: «packer/../lib/site.yml» is in a submodule («lib»), and these are not fetched: commit the files themselves (git subtree), or name the submodule's own repository as the source (packer runs in packer)
  spec.links[1].paths: what the link uses has files in Git LFS, whose content is not fetched: movie.bin. Commit them as ordinary files (git lfs migrate export), let the build download them, or name in paths only what the link uses
  note: packer/base.pkr.hcl:4: provisioner shell: scripts = local.other is known to packer alone: not looked at
  note: in Git LFS, not fetched, and outside what the link uses: movie.bin
  note: links that lead out of the source stay as they are, and nobody follows them: app.service → /lib/systemd/system/app.service
"#);
    // Without a checkout nothing is known of it.
    assert_eq!(validate_with(folder.path(), &[]).status.code(), Some(0));
}

#[test]
fn a_folder_is_one_repositorys() {
    let folder = tempfile::tempdir().expect("a folder");
    let two =
        CHAIN.replace("  - name: web\n", "  - name: web\n    source: {git: {url: 'https://git.example/web.git'}}\n");
    write(folder.path(), "chain.yaml", &two);
    write(folder.path(), "a/packer/base.pkr.hcl", "");
    for path in ["packer/web.json", "prod.json", "ansible/molecule/default/molecule.yml"] {
        write(folder.path(), &format!("b/{path}"), "{}");
    }
    let ambiguous = validate_with(folder.path(), &["--source", "a"]);
    assert_eq!(ambiguous.status.code(), Some(1));
    assert!(text(&ambiguous.stderr).contains("as in --source LINK=FOLDER"), "{}", text(&ambiguous.stderr));
    let stranger = validate_with(folder.path(), &["--source", "wep=b"]);
    assert!(text(&stranger.stderr).contains("there is no such link"), "{}", text(&stranger.stderr));
    let both = validate_with(folder.path(), &["--source", "a", "--source", "web=b"]);
    assert_eq!(both.status.code(), Some(0), "{}{}", text(&both.stdout), text(&both.stderr));
    let swapped = validate_with(folder.path(), &["--source", "base=b", "--source", "web=a"]);
    assert_eq!(swapped.status.code(), Some(1));
}

#[test]
fn files_in_the_objects_themselves_are_looked_at_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let inline =
        "inline: {files: {packer/web.json: '{\"provisioners\": [{\"type\": \"shell\", \"script\": \"a.sh\"}]}'}}";
    let chain = CHAIN.replace("git: {url: 'https://git.example/shop.git', revision: 'feature/#42'}", inline);
    write(folder.path(), "chain.yaml", &chain);
    let output = validate_with(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    for sentence in ["spec.links[0].build.packer.template: the source has no «packer/base.pkr.hcl»", "script = «a.sh»"]
    {
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn in_a_checkout_of_git_files_in_lfs_are_known_though_they_are_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = folder.path().join("shop");
    write(folder.path(), "chain.yaml", CHAIN);
    write(&shop, "packer/base.pkr.hcl", "");
    write(&shop, "packer/big.bin", "all of it");
    write(&shop, ".gitattributes", "*.bin filter=lfs\n");
    for arguments in [&["init", "--quiet"][..], &["-c", "filter.lfs.clean=cat", "add", "--all"]] {
        let git = Command::new("git").arg("-C").arg(&shop).args(arguments).status().expect("git");
        assert!(git.success());
    }
    let said = text(&validate_with(folder.path(), &["--source", "shop"]).stdout);
    assert!(
        said.contains(
            "spec.links[0].paths: what the link uses has files in Git LFS, whose content is not fetched: packer/big.bin"
        ),
        "{said}"
    );
}
