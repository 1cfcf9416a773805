//! Whether qemu works with KVM here: it is tried, since what a host says of itself is no promise.

use std::{io, path::Path, time::Duration};

use super::{
    accelerator::{Accelerator, Host},
    command::bare,
    qemu::Qemu,
};
use crate::runner::process::{Processes, ending};

/// What executes the code of guests here. The files of the trial are in the folder.
pub(super) async fn find(processes: &Processes, host: &Host, folder: &Path) -> Accelerator {
    if let Err(why) = host.check() {
        return Accelerator::Tcg { why };
    }
    match works(processes, folder).await {
        Ok(()) => Accelerator::Kvm,
        Err(why) => Accelerator::Tcg { why: format!("{}: {why}", host.device.display()) },
    }
}

/// Starts a machine that has nothing but a processor, lets it begin, and ends it.
///
/// # Errors
/// What qemu says.
async fn works(processes: &Processes, folder: &Path) -> Result<(), String> {
    let [socket, output] = ["probe.sock", "probe.log"].map(|name| folder.join(name));
    let started = Qemu::start(processes, bare(&socket, &Accelerator::Kvm), &socket, &output).await;
    let mut qemu = started.map_err(|failure| failure.message)?;
    let status = qemu.qmp.status().await;
    let ended = qemu.stop(Duration::ZERO).await;
    let broken = |error: io::Error| error.to_string();
    match (status.map_err(broken)?.as_str(), ended.map_err(broken)?) {
        ("running", ended) if ended.success() => Ok(()),
        ("running", ended) => Err(format!("qemu ended with {}", ending(ended))),
        (status, _) => Err(format!("a machine that is started with it is in the state {status}")),
    }
}
