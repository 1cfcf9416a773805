//! Files that packer did not find where it ran, and that are there from another folder: most templates are written for
//! one folder, and say nowhere which.

use std::path::{Component, Path, PathBuf};

/// Where to say that packer should run, if a file that it complains of is there from another folder. `folder` is where
/// it ran; both are below `root`.
pub(super) fn advice(root: &Path, folder: &Path, template: &Path, complaint: &str) -> Option<String> {
    let others = template.ancestors().take_while(|other| other.starts_with(root)).filter(|other| *other != folder);
    let others: Vec<&Path> = others.filter(|other| other.is_dir()).collect();
    missing(complaint).find_map(|file| {
        let other = others.iter().find(|other| is_there(root, other, file))?;
        let (name, directory) = (name(root, other), directory(root, other));
        Some(format!("{file} is there from {name}: set build.packer.directory: {directory}"))
    })
}

/// A folder below the root, for people.
pub(super) fn name(root: &Path, folder: &Path) -> String {
    match directory(root, folder).as_str() {
        "." => "the root of the source".to_owned(),
        directory => format!("the folder {directory}"),
    }
}

/// A folder as `build.packer.directory` names it.
fn directory(root: &Path, folder: &Path) -> String {
    let below = folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned();
    if below.is_empty() { ".".to_owned() } else { below }
}

/// The relative paths of files that packer says are not there. It says so in the words of Go, and of HCL's functions.
fn missing(complaint: &str) -> impl Iterator<Item = &str> {
    let parts = complaint.split(": no such file or directory");
    let of_go = parts.filter_map(|part| {
        ["stat ", "open "]
            .iter()
            .filter_map(|verb| part.rsplit_once(verb))
            .map(|(_, file)| file)
            .min_by_key(|file| file.len())
    });
    let of_hcl = complaint.split("no file exists at ").skip(1).filter_map(|rest| rest.split([';', ' ']).next());
    let found = of_go.chain(of_hcl.map(|file| file.trim_end_matches('.')));
    found.filter(|file| !file.is_empty() && !file.contains('\n') && Path::new(file).is_relative())
}

/// Whether there is such a file, within the source.
fn is_there(root: &Path, folder: &Path, file: &str) -> bool {
    let below = folder.strip_prefix(root).ok().map(Path::to_owned);
    let whole = Path::new(file).components().try_fold(below.unwrap_or_default(), |mut path: PathBuf, part| {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir if path.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
        Some(path)
    });
    whole.is_some_and(|whole| root.join(whole).exists())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_there_from_another_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for file in ["a/b/t.json", "a/x.sh", "ansible/site.yml", "packer/templates/web/w.pkr.hcl", "top.sh"] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        // Complaints of packer 1.6.6.
        let script = |file: &str| format!("* Bad script '{file}': stat {file}: no such file or directory");
        let playbook = "2 error(s) occurred: * playbook_file: ../ansible/site.yml is invalid: stat ../ansible/site.yml: \
                        no such file or directory * Error running \"ansible-playbook --version\"";
        let hcl = "Call to function \"file\" failed: no file exists at top.sh.";
        for (ran_in, template, complaint, expected) in [
            ("a/b", "a/b/t.json", script("a/x.sh"), Some("the root of the source: set build.packer.directory: .")),
            ("a/b", "a/b/t.json", script("x.sh"), Some("the folder a: set build.packer.directory: a")),
            (
                "",
                "packer/templates/web",
                playbook.to_owned(),
                Some("the folder packer: set build.packer.directory: packer"),
            ),
            (
                "packer",
                "packer/templates/web",
                hcl.to_owned(),
                Some("the root of the source: set build.packer.directory: ."),
            ),
            ("a/b", "a/b/t.json", script("absent.sh"), None),
            ("a/b", "a/b/t.json", script("/a/x.sh"), None),
            ("a/b", "a/b/t.json", script("../../../../etc"), None),
            ("a/b", "a/b/t.json", "Unknown builder type".to_owned(), None),
        ] {
            let ran_in = if ran_in.is_empty() { root.to_owned() } else { root.join(ran_in) };
            let found = advice(root, &ran_in, &root.join(template), &complaint);
            assert_eq!(
                found.as_deref().and_then(|found| found.split_once(" is there from ")).map(|(_, place)| place),
                expected,
                "{complaint}: {found:?}"
            );
        }
    }

    #[test]
    fn a_folder_has_a_name() {
        let root = Path::new("/workspace/source");
        assert_eq!(name(root, root), "the root of the source");
        assert_eq!(name(root, &root.join("packer")), "the folder packer");
    }
}
