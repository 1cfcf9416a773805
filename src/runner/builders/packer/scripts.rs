//! Whether the scripts of the provisioner shell can run. Of a script whose interpreter is missing, a shell says the
//! same as of one that is gone; so the container is asked when packer says that a script comes, while it runs.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use crate::runner::engine::Engine;

/// The most of a first line that is read: as much as the kernel reads.
const LONGEST: u64 = 256;
/// What each container has in which packer's scripts are started at all.
const SHELL: &str = "/bin/sh";

/// Follows what packer says of its containers and scripts.
pub(super) struct Scripts {
    /// Where packer runs.
    folder: PathBuf,
    /// The containers, by the builds that they belong to.
    containers: BTreeMap<String, String>,
}

/// A script that comes into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    container: String,
    name: String,
    interpreter: String,
}

/// A script that cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lack {
    name: String,
    interpreter: String,
    image: String,
}

impl Scripts {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), containers: BTreeMap::new() }
    }

    /// The script that a line of packer's says is coming, if it has an interpreter to ask for.
    pub(super) fn follow(&mut self, line: &str) -> Option<Script> {
        if let Some((build, container)) = line.trim_start().split_once(": Container ID: ") {
            self.containers.insert(build.to_owned(), container.trim().to_owned());
        }
        let (build, script) = line.strip_prefix("==> ")?.split_once(": Provisioning with shell script: ")?;
        let container = self.containers.get(build)?.clone();
        let interpreter = interpreter(&self.folder.join(script.trim()))?;
        // What is written into the template, packer writes into a file of its own.
        let is_inline = script.contains("/packer-shell");
        let name = if is_inline { "an inline script".to_owned() } else { format!("the script {}", script.trim()) };
        Some(Script { container, name, interpreter }).filter(|script| script.interpreter != SHELL)
    }
}

/// The program that the first line of a file names.
fn interpreter(file: &Path) -> Option<String> {
    let mut line = Vec::new();
    BufReader::new(File::open(file).ok()?.take(LONGEST)).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let line = line.strip_prefix("#!")?.trim_start_matches([' ', '\t']).trim_end_matches('\n');
    // Not the end of a line of DOS: the kernel takes it for a part of the name.
    line.split([' ', '\t']).next().filter(|program| program.starts_with('/')).map(str::to_owned)
}

impl Script {
    /// What its container lacks, so that it cannot run.
    pub(super) async fn lack(self, engine: &Engine<'_>) -> Option<Lack> {
        let image = engine.lacks(&self.container, &self.interpreter).await?;
        Some(Lack { name: self.name, interpreter: self.interpreter, image })
    }
}

impl Lack {
    /// It in a sentence.
    pub(super) fn sentence(&self) -> String {
        let Self { name, interpreter, image } = self;
        match interpreter.strip_suffix('\r') {
            Some(program) => format!(
                "{name} of the provisioner shell has the line ends of DOS: the container of {image} looks for \
                 «{program}\\r». Save it with the line ends of Unix (LF; git: .gitattributes with *.sh eol=lf)"
            ),
            None => format!(
                "{name} of the provisioner shell begins with #!{interpreter}, and the container of {image} has no \
                 {interpreter}: install it in an earlier provisioner, or name an interpreter that is there"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_script_is_known_by_the_lines_before_it() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("zsh.sh", "#!/bin/zsh -e\ntrue\n"),
            ("dos.sh", "#! /bin/bash\r\ntrue\r\n"),
            ("sh.sh", "#!/bin/sh\n"),
            ("none.sh", "true\n"),
            ("packer-shell862", "#!/bin/ksh\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut scripts = Scripts::new(folder.path());
        // Lines of packer 1.6.6.
        let coming = |script: &str| format!("==> docker.web: Provisioning with shell script: {script}");
        assert_eq!(scripts.follow(&coming("zsh.sh")), None);
        assert_eq!(scripts.follow("    docker.web: Container ID: 598a13e93b15"), None);
        let script = |name: &str, interpreter: &str| {
            Some(Script {
                container: "598a13e93b15".to_owned(),
                name: name.to_owned(),
                interpreter: interpreter.to_owned(),
            })
        };
        assert_eq!(scripts.follow(&coming("zsh.sh")), script("the script zsh.sh", "/bin/zsh"));
        assert_eq!(scripts.follow(&coming("dos.sh")), script("the script dos.sh", "/bin/bash\r"));
        let inline = folder.path().join("packer-shell862");
        assert_eq!(scripts.follow(&coming(&inline.to_string_lossy())), script("an inline script", "/bin/ksh"));
        for other in ["sh.sh", "none.sh", "absent.sh"] {
            assert_eq!(scripts.follow(&coming(other)), None, "{other}");
        }
        assert_eq!(scripts.follow("==> docker.other: Provisioning with shell script: zsh.sh"), None);
    }

    #[test]
    fn a_lack_names_script_interpreter_and_image() {
        let lack = |interpreter: &str| {
            let [name, interpreter, image] = ["the script a.sh", interpreter, "debian:13"].map(str::to_owned);
            Lack { name, interpreter, image }.sentence()
        };
        let told = lack("/bin/zsh");
        assert!(told.starts_with("the script a.sh of the provisioner shell begins with #!/bin/zsh"), "{told}");
        assert!(told.contains("the container of debian:13 has no /bin/zsh"), "{told}");
        assert!(lack("/bin/bash\r").contains("line ends of DOS"));
    }
}
