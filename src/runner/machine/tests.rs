//! Machines of a real qemu, without a guest: what a firmware says is enough.

use std::{fs, path::Path};

use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use super::{accelerator::Accelerator, screen::Screen, *};
use crate::api::build::Stage;

fn context(folder: &TempDir) -> Context {
    Context::below(folder.path())
}

fn empty(folder: &TempDir) -> Boot {
    Boot::empty(folder.path())
}

/// What a machine without KVM shows when it has looked for something to boot. Where all processors are busy, that takes
/// its time.
async fn at_rest(machine: &mut Machine<'_>, picture: &Path) -> String {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let shown = async {
        loop {
            ticks.tick().await;
            match screen::look(&mut machine.qemu.qmp, picture).await {
                Some(Screen::Text(text)) if text.contains("No bootable device") => return text,
                _ => {}
            }
        }
    };
    timeout(Duration::from_mins(2), shown).await.expect("the firmware says that there is nothing to boot")
}

#[tokio::test]
async fn a_disk_without_a_system_is_told_by_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    let (context, boot) = (context(&folder), empty(&folder));
    let mut machine = Machine::boot(&context, &boot).await.unwrap();
    assert_ne!(machine.port, 0);
    assert_eq!(machine.qemu.qmp.status().await.unwrap(), "running");
    let refused = machine.qemu.qmp.execute("no-such-command", json!({})).await.unwrap_err();
    assert!(refused.to_string().starts_with("no-such-command: "), "{refused}");

    let picture = folder.path().join("screen.png");
    let screen = at_rest(&mut machine, &picture).await;
    assert!(screen.starts_with("SeaBIOS") && screen.contains("Booting from Hard Disk"), "{screen}");
    let picture = fs::read(picture).unwrap();
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"));

    let told = machine.ready(&Login::vagrant(), Instant::now() + Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(told.reason, Reason::VerificationFailed);
    for part in ["was not reached by ssh", "No bootable device", "Its serial console shows nothing."] {
        assert!(told.message.contains(part), "{part}: {}", told.message);
    }
    assert_eq!(machine.end().await, None);
    machine.stop(Duration::ZERO).await;
    assert!(!boot.folder.join("overlay.qcow2").exists() && !context.processes.close(), "nothing is left");
}

#[tokio::test]
async fn two_machines_have_two_ports_and_end_with_their_stage() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let context = context(&folders[0]);
    let [first, second] = [empty(&folders[0]), Boot { bus: Bus::Sata, nic: Nic::E1000, ..empty(&folders[1]) }];
    let mut first = Machine::boot(&context, &first).await.unwrap();
    let second = Machine::boot(&context, &second).await.unwrap();
    assert_ne!(first.port, second.port);
    drop(second);
    assert!(context.processes.close(), "the first still runs");
    let ended = first.ready(&Login::vagrant(), Instant::now() + Duration::from_mins(1)).await.unwrap_err();
    assert!(!ended.message.contains("was not reached"), "it is seen that qemu has ended: {}", ended.message);
}

#[tokio::test]
async fn a_machine_that_was_killed_has_failed_no_test() {
    let folder = tempfile::tempdir().unwrap();
    let (context, boot) = (context(&folder), empty(&folder));
    let mut machine = Machine::boot(&context, &boot).await.unwrap();
    context.processes.kill();
    let reached = machine.ready(&Login::vagrant(), Instant::now() + Duration::from_mins(1)).await.unwrap_err();
    assert_eq!(reached.reason, Reason::StageInterrupted, "{}", reached.message);
    let tests = Failure::new(Reason::TestsFailed, "1 of 2 tests failed");
    assert_eq!(machine.explained(tests).await, reached);
}

#[tokio::test]
async fn a_disk_that_is_none_is_told_in_the_words_of_qemu() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(&folder);
    let boot = Boot { format: DiskFormat::Qcow2, ..empty(&folder) };
    let told = Machine::boot(&context, &boot).await.map(|_| ()).unwrap_err();
    assert_eq!(told.reason, Reason::VerificationFailed);
    assert!(told.message.starts_with("the disk of the box cannot be used: qemu-img: "), "{}", told.message);
    assert!(told.message.contains("not in qcow2 format"), "{}", told.message);
}

#[tokio::test]
async fn a_machine_that_qemu_does_not_make_is_told_in_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(&folder);
    let boot = Boot { processors: 100_000, ..empty(&folder) };
    let told = Machine::boot(&context, &boot).await.map(|_| ()).unwrap_err();
    assert!(
        told.message.starts_with("qemu ended with exit code 1: ") && told.message.contains("CPU"),
        "{}",
        told.message
    );
}

#[tokio::test]
async fn kvm_is_tried_before_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(&folder);
    let [device, processors] = ["kvm", "cpuinfo"].map(|name| folder.path().join(name));
    let host = Host { device: device.clone(), processors: processors.clone() };
    let found = probe::find(&context.processes, &host, folder.path()).await;
    assert!(found.sentence().ends_with("kvm: no such file"), "{}", found.sentence());
    // Qemu itself opens /dev/kvm, which may work here or not.
    fs::write(device, "").unwrap();
    fs::write(processors, "flags : vmx").unwrap();
    match probe::find(&context.processes, &host, folder.path()).await {
        Accelerator::Kvm => assert!(Host::default().check().is_ok()),
        Accelerator::Tcg { why } => assert!(why.contains("kvm: qemu ended with "), "{why}"),
    }
    assert!(!context.processes.close(), "no trial is left");
}

#[tokio::test]
async fn what_a_machine_of_another_program_shows_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(&folder);
    let started = Started::prepare(&context, Stage::Build).await.unwrap();
    assert_eq!(started.evidence(&context.log, true), "", "none was started");
    let machines = context.places.workspace.join("machines-build");
    let programs = machines.join("programs");
    let path = context.places.path.clone();
    let arguments =
        ["-m", "64", "-machine", "pc,accel=kvm", "-display", "gtk", "-net", "none"].map(str::to_owned).into();
    let call = wrapper::Hypervisor { machines, programs, kvm: false, memory: 64, path, arguments, attends: true };
    let mut qemu = Command::from(wrapper::machine(&call).unwrap().command).kill_on_drop(true).spawn().unwrap();
    let shown = async {
        loop {
            tokio::time::interval(Duration::from_millis(100)).tick().await;
            started.look();
            started.picture().await;
            let evidence = started.evidence(&context.log, true);
            if evidence.contains("No bootable device") {
                return evidence;
            }
        }
    };
    let shown = timeout(Duration::from_mins(2), shown).await.expect("the firmware says that there is nothing to boot");
    assert!(shown.ends_with("Its serial console shows nothing."), "{shown}");
    let reached = started.evidence(&context.log, false);
    assert_eq!(reached, "Its serial console shows nothing.", "of a machine that was reached, no screen is told");
    qemu.kill().await.unwrap();
}

#[tokio::test]
async fn why_a_machine_of_another_program_does_not_start_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(&folder);
    let started = Started::prepare(&context, Stage::Build).await.unwrap();
    let machines = context.places.workspace.join("machines-build");
    let programs = machines.join("programs");
    let arguments = ["-m", "64", "-device", "no-such-device"].map(str::to_owned).into();
    let call = wrapper::Hypervisor {
        machines,
        programs,
        kvm: false,
        memory: 64,
        path: context.places.path.clone(),
        arguments,
        attends: true,
    };
    let mut qemu = Command::from(wrapper::machine(&call).unwrap().command);
    let status = started.during(qemu.status()).await.unwrap();
    let told = started.evidence(&context.log, false);
    assert!(!status.success() && told.starts_with("Qemu said: ") && told.contains("no-such-device"), "{told}");
}
