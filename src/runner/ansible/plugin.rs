//! The callback plugin, and where it is put so that ansible loads it whatever a user's `ansible.cfg` says.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::runner::context::Context;

/// By this variable the plugin knows where to write.
pub(in crate::runner) const REPORT_VARIABLE: &str = "IMAGECHAIN_ANSIBLE_REPORT";
const PLUGIN: &str = include_str!("callback.py");
const NAME: &str = "imagechain.py";
/// By this line of its version, ansible tells where its own package is.
const LOCATION: &str = "ansible python module location = ";

/// Where the plugin writes.
pub(in crate::runner) fn report_file(context: &Context) -> PathBuf {
    context.places.state().join("ansible.jsonl")
}

/// Puts the plugin where ansible finds it without being told: settings of a user's `ansible.cfg` stay as they are. Where
/// it cannot be put, failures are told by packer's and molecule's last lines.
pub(in crate::runner) async fn install(context: &Context) {
    // A user's `callback_plugins` replaces the folders of the machine, and none of ansible's own.
    let own = own_folder(context).await.filter(|folder| write(folder).is_ok());
    let put = if own.is_some() { Ok(()) } else { write(&context.places.callbacks) };
    if let Err(error) = put.and_then(|()| forget(&report_file(context))) {
        context
            .log
            .say(format_args!("the callback plugin cannot be written ({error}): failures of tasks have no details"));
    }
}

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(NAME), PLUGIN)
}

/// Removes what an earlier step left.
fn forget(report: &Path) -> io::Result<()> {
    match fs::remove_file(report) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The folder of ansible's own callback plugins; `None` where there is no ansible.
async fn own_folder(context: &Context) -> Option<PathBuf> {
    let mut asking = Command::new("ansible-playbook");
    // Where no `ansible.cfg` of the user is.
    asking.arg("--version").current_dir(&context.places.workspace);
    let mut found = None;
    let mut lines = |line: &str| found = location(line).or(found.take());
    context.processes.run(asking, &mut lines).await.ok()?;
    found.map(|package: PathBuf| package.join("plugins/callback")).filter(|folder| folder.is_dir())
}

fn location(line: &str) -> Option<PathBuf> {
    line.trim().strip_prefix(LOCATION).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ansible_tells_where_it_is() {
        // ansible-core 2.18.
        let version = "ansible-playbook [core 2.18.19]\n  config file = None\n  ansible python module location = \
                       /opt/tools/lib/python3.13/site-packages/ansible\n  executable location = /opt/tools/bin\n";
        let found: Vec<_> = version.lines().filter_map(location).collect();
        assert_eq!(found, [Path::new("/opt/tools/lib/python3.13/site-packages/ansible")]);
    }
}
