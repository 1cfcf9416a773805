//! How packer is called.

use std::{
    iter,
    path::{Component, Path, PathBuf},
};

use crate::plan::recipe::packer::Packer;

/// Packer's version, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) text: String,
    pub(super) number: (u32, u32),
}

/// Reads a version such as `1.6.6` or `1.11.0-dev`.
pub(super) fn version(text: &str) -> Option<Version> {
    let text = text.trim().trim_start_matches('v');
    let mut parts = text.split(['.', '-', '+']);
    let number = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Version { text: text.to_owned(), number })
}

/// The arguments that say what is built: for `validate` and `build` the same. `secrets` is the file with the values of
/// variables that come from Secrets.
pub(super) fn selection(packer: &Packer<String>, files: &[PathBuf], secrets: Option<&Path>) -> Vec<String> {
    let mut arguments: Vec<String> = files.iter().map(|file| format!("-var-file={}", file.display())).collect();
    arguments.extend(packer.variables.values.iter().map(|(name, value)| format!("-var={name}={value}")));
    arguments.extend(secrets.map(|file| format!("-var-file={}", file.display())));
    for (flag, names) in [("only", &packer.only), ("except", &packer.except)] {
        if !names.is_empty() {
            arguments.push(format!("-{flag}={}", names.join(",")));
        }
    }
    arguments
}

/// Where packer runs, and what it is given. Unless a directory is written, a file's own folder, which its relative
/// paths are written for, and the root of the source for a folder of files.
pub(super) fn place(root: &Path, template: &Path, directory: Option<PathBuf>) -> (PathBuf, PathBuf) {
    let own = template.parent().filter(|_| !template.is_dir()).unwrap_or(root);
    let folder = directory.unwrap_or_else(|| own.to_owned());
    let argument = relative(&folder, template);
    (folder, argument)
}

/// A path as it is seen from a folder.
fn relative(folder: &Path, path: &Path) -> PathBuf {
    let common = folder.ancestors().find(|above| path.starts_with(above)).unwrap_or(folder);
    let up = folder.strip_prefix(common).map_or(0, |below| below.components().count());
    let down = path.strip_prefix(common).unwrap_or(path);
    let argument: PathBuf = iter::repeat_n(Component::ParentDir, up).chain(down.components()).collect();
    if argument.as_os_str().is_empty() { ".".into() } else { argument }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::recipe::{SecretKey, Variables};

    #[test]
    fn a_version_has_two_numbers_that_matter() {
        for (text, expected) in [
            ("1.6.6", Some((1, 6))),
            ("v1.11.2", Some((1, 11))),
            ("1.15.0-dev+abc", Some((1, 15))),
            ("", None),
            ("one", None),
        ] {
            assert_eq!(version(text).map(|version| version.number), expected, "{text}");
        }
    }

    #[test]
    fn the_call_names_no_secret() {
        let key = SecretKey { secret: "vault".to_owned(), key: "token".to_owned() };
        let packer = Packer {
            template: "t.json".parse().unwrap(),
            variables: Variables {
                values: [("a".to_owned(), "b=c, d".to_owned())].into(),
                secrets: [("token".to_owned(), key)].into(),
            },
            directory: None,
            variable_files: vec![],
            only: vec!["docker.a".to_owned(), "docker.b".to_owned()],
            except: vec![],
        };
        assert_eq!(
            selection(
                &packer,
                &["/workspace/source/prod.pkrvars.hcl".into()],
                Some(Path::new("/imagechain/secrets/variables.json"))
            ),
            [
                "-var-file=/workspace/source/prod.pkrvars.hcl",
                "-var=a=b=c, d",
                "-var-file=/imagechain/secrets/variables.json",
                "-only=docker.a,docker.b",
            ]
        );
    }

    #[test]
    fn packer_runs_where_the_template_is_written_for() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("packer/docker");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(root.path().join("web.json"), "").unwrap();
        std::fs::write(root.path().join("packer/web.json"), "").unwrap();
        let see = |path: &str, directory: Option<&str>| {
            let path: PathBuf = root.path().join(path).components().collect();
            let (folder, argument) = place(root.path(), &path, directory.map(|directory| root.path().join(directory)));
            let folder = folder.strip_prefix(root.path()).unwrap().to_string_lossy().into_owned();
            (folder, argument.to_string_lossy().into_owned())
        };
        for (template, directory, folder, argument) in [
            ("packer/web.json", None, "packer", "web.json"),
            ("web.json", None, "", "web.json"),
            ("packer/docker", None, "", "packer/docker"),
            (".", None, "", "."),
            ("packer/docker", Some("packer"), "packer", "docker"),
            ("packer", Some("packer"), "packer", "."),
            ("packer/web.json", Some(""), "", "packer/web.json"),
            ("web.json", Some("packer/docker"), "packer/docker", "../../web.json"),
            (".", Some("packer"), "packer", ".."),
        ] {
            assert_eq!(see(template, directory), (folder.to_owned(), argument.to_owned()), "{template} {directory:?}");
        }
    }
}
