//! Texts of templates, as far as they can be told without running packer.

use std::collections::BTreeMap;

use crate::plan::job::SOURCE_FOLDER;

/// What a template names: a file or folder that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// Who names it: `provisioner shell: script`.
    pub(super) by: String,
    /// Where it is written, from 1, where that is known.
    pub(super) line: Option<usize>,
    /// The path; an error holds what cannot be told.
    pub(super) path: Result<String, String>,
}

/// What texts of a template may stand for.
pub(super) struct Scope {
    /// The values of variables that are known.
    pub(super) variables: BTreeMap<String, String>,
    /// The folder of the template, in the source.
    pub(super) root: String,
    /// The folder in which packer runs, in the source.
    pub(super) cwd: String,
}

impl Scope {
    /// A folder of the source, as packer sees it in a pod.
    pub(super) fn absolute(folder: &str) -> String {
        format!("{}{folder}", Self::source()).trim_end_matches('/').to_owned()
    }

    /// The folder of the source in a pod, with a slash at its end.
    fn source() -> String {
        format!("{SOURCE_FOLDER}/")
    }

    /// A path of a template, as it is in the source; `None` where it is none of the source.
    pub(super) fn in_source(&self, path: &str) -> Option<String> {
        if let Some(inside) = format!("{path}/").strip_prefix(&Self::source()) {
            return Some(inside.trim_end_matches('/').to_owned());
        }
        if path.starts_with('/') {
            return None;
        }
        Some(if self.cwd.is_empty() { path.to_owned() } else { format!("{}/{path}", self.cwd) })
    }

    /// A text with what stands between `{{` and `}}` put in; `None` where something is not known.
    pub(super) fn fill(&self, text: &str) -> Option<String> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}")?;
            filled.push_str(before);
            filled.push_str(&self.function(inside.trim())?);
            rest = after;
        }
        filled.push_str(rest);
        Some(filled)
    }

    fn function(&self, text: &str) -> Option<String> {
        match text {
            "template_dir" => Some(Self::absolute(&self.root)),
            "pwd" => Some(Self::absolute(&self.cwd)),
            _ => {
                let name = text.strip_prefix("user ")?.trim().trim_matches(['`', '"']);
                self.variables.get(name).cloned()
            }
        }
    }
}

/// The settings of provisioners and post-processors that name what must be there when packer begins.
const SETTINGS: [(&str, &[&str]); 5] = [
    ("shell", &["script", "scripts"]),
    ("shell-local", &["script", "scripts"]),
    ("ansible", &["playbook_file", "galaxy_file"]),
    (
        "ansible-local",
        &[
            "playbook_file",
            "playbook_files",
            "playbook_dir",
            "galaxy_file",
            "inventory_file",
            "group_vars",
            "host_vars",
            "playbook_paths",
            "role_paths",
        ],
    ),
    ("file", &["source", "sources"]),
];

/// Those of one kind of step.
pub(super) fn settings(kind: &str) -> &'static [&'static str] {
    SETTINGS.iter().find(|(name, _)| *name == kind).map_or(&[], |(_, settings)| settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_filled_where_they_are_known() {
        let variables = [("dir".to_owned(), "scripts".to_owned())].into();
        let scope = Scope { variables, root: "packer".to_owned(), cwd: String::new() };
        for (text, expected) in [
            ("scripts/a.sh", Some("scripts/a.sh")),
            ("{{ template_dir }}/a.sh", Some("/workspace/source/packer/a.sh")),
            ("{{pwd}}/a.sh", Some("/workspace/source/a.sh")),
            ("{{user `dir`}}/{{ user \"dir\" }}.sh", Some("scripts/scripts.sh")),
            ("{{user `other`}}", None),
            ("{{ timestamp }}", None),
            ("{{ open", None),
        ] {
            assert_eq!(scope.fill(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_those_of_the_source() {
        let scope = |cwd: &str| Scope { variables: BTreeMap::new(), root: String::new(), cwd: cwd.to_owned() };
        for (cwd, path, expected) in [
            ("packer", "../ansible/x.yml", Some("packer/../ansible/x.yml")),
            ("", "x.yml", Some("x.yml")),
            ("packer", "/workspace/source/x.yml", Some("x.yml")),
            ("packer", "/workspace/source", Some("")),
            ("", "/opt/x", None),
        ] {
            assert_eq!(scope(cwd).in_source(path).as_deref(), expected, "{path}");
        }
    }
}
