//! What a failed run of packer is told as.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use super::{
    super::machine_readable::{self, Outcome},
    *,
};
use crate::runner::process::Tail;

fn ran(lines: &[&str]) -> Ran {
    let (mut outcome, mut tail) = (Outcome::default(), Tail::default());
    for line in lines {
        let line = machine_readable::line(line);
        if line.tells() {
            line.text().into_iter().flat_map(str::lines).for_each(|text| tail.push(text));
        }
        outcome.add(line);
    }
    Ran { outcome, tail, status: ExitStatus::from_raw(1 << 8), lack: None }
}

#[test]
fn a_failure_without_a_task_has_packers_words() {
    let ran = ran(&[
        "1795259801,,ui,message,    docker.web: hello%!(PACKER_COMMA) world",
        "1795259801,,ui,error,==> docker.web: E: Unable to locate package ngninx",
        "1795259801,,ui,say,==> docker.web: Killing the container: 598a13e93b15524f21df256603fa761968bd87d8143f95eec605a0b46d7ad156",
        "1795259801,,ui,error,Build 'docker.web' errored after 1 second 6 milliseconds: Script exited with non-zero exit status: 100.Allowed exit codes are: [0]",
        "1795259801,docker.web,error,Script exited with non-zero exit status: 100.Allowed exit codes are: [0]",
    ]);
    let told = known(&ran).failure();
    assert_eq!(told.reason, Reason::BuildFailed);
    assert_eq!(
        told.message,
        "packer build in the folder packer ended with exit code 1: docker.web: Script exited with non-zero exit status: 100.Allowed exit \
         codes are: [0]\nIts last lines: docker.web: hello, world\n==> docker.web: E: Unable to locate package ngninx"
    );
}

fn known(ran: &Ran) -> Known<'_> {
    Known {
        ran,
        task: None,
        ended: None,
        shown: String::new(),
        groups: None,
        local: Some("imagechain.local/web:parent"),
        tries: 1,
        place: "the folder packer".to_owned(),
        advice: None,
    }
}

#[test]
fn a_script_that_was_gone_every_time_is_told_with_the_number_of_tries() {
    let ran = ran(&["1795259801,docker.web,error,Script exited with non-zero exit status: 127."]);
    let told = Known { tries: 10, ..known(&ran) }.failure();
    assert_eq!(told.reason, Reason::BuildFailed);
    assert!(told.message.starts_with("in 10 tries a script was gone"), "{told:?}");
    assert!(told.message.contains("remote_folder") && told.message.contains("exit status: 127"), "{told:?}");
}

#[test]
fn a_mount_that_cannot_work_here_is_said_first() {
    let ran = ran(&[]);
    let told = Known { groups: Some("The advice."), ..known(&ran) }.failure();
    assert!(told.message.starts_with("The advice. Packer said: "), "{told:?}");
}

#[test]
fn a_container_that_has_ended_is_said_before_what_packer_says() {
    let ran = ran(&["1795259801,docker.web,error,Container 598a is not running"]);
    let ended = Some("the container a of b ended with exit code 255 after 1 s, without a word".to_owned());
    let told = Known { ended: ended.clone(), ..known(&ran) }.failure();
    assert_eq!(told.reason, Reason::BuildFailed);
    let beginning =
        "the container a of b ended with exit code 255 after 1 s, without a word. packer build in the folder";
    assert!(told.message.starts_with(beginning), "{told:?}");
    let told = Known { ended, groups: Some("The advice."), ..known(&ran) }.failure();
    assert!(told.message.starts_with("The advice. the container a of b ended with"), "{told:?}");
    assert!(told.message.ends_with("Packer said: docker.web: Container 598a is not running"), "{told:?}");
}

#[test]
fn whoever_pulls_a_local_name_is_told_what_to_write() {
    let pulled = |name: &str| {
        let ran = ran(&[
            &format!("1795260026,,ui,say,==> docker.web: Pulling Docker image: {name}"),
            "1795260027,,ui,error,==> docker.web: Error pulling Docker image: Bad exit status: 1",
            "1795260027,docker.web,error,Error pulling Docker image: Bad exit status: 1",
        ]);
        known(&ran).failure().message
    };
    assert!(pulled("imagechain.local/web:parent").contains("or set pull = false"));
    assert!(pulled("debian:13").starts_with("packer build in the folder packer ended"));
}

#[test]
fn a_playbook_whose_failure_did_not_matter_is_not_told() {
    for (code, reason) in [("3", Reason::BuildFailed), ("2", Reason::TaskFailed), ("4", Reason::TaskFailed)] {
        let line = format!(
            "1795259801,docker.web,error,Script exited with non-zero exit status: {code}.Allowed exit codes are: [0]"
        );
        let ran = ran(&[&line]);
        let told = Known { task: Some(FailedTask::default()), ..known(&ran) }.failure();
        assert_eq!(told.reason, reason, "a script ended with {code}");
    }
    let ran = ran(&["1795259801,docker.web,error,Error executing Ansible: Non-zero exit status: exit status 2"]);
    assert_eq!(Known { task: Some(FailedTask::default()), ..known(&ran) }.failure().reason, Reason::TaskFailed);
}
