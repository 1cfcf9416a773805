//! What a failed run of packer is told as.

use std::os::unix::process::ExitStatusExt;

use super::*;

fn ran(lines: &[&str]) -> (Outcome, Tail) {
    let (mut outcome, mut tail) = (Outcome::default(), Tail::default());
    for line in lines {
        let line = machine::line(line);
        if let Line::Text(text) | Line::Error(text) = &line {
            text.lines().for_each(|line| tail.push(line));
        }
        outcome.add(line);
    }
    (outcome, tail)
}

#[test]
fn a_failure_without_a_task_has_packers_words() {
    let (outcome, tail) = ran(&[
        "1795259801,,ui,message,    docker.web: hello%!(PACKER_COMMA) world",
        "1795259801,,ui,error,==> docker.web: E: Unable to locate package ngninx",
        "1795259801,docker.web,error,Script exited with non-zero exit status: 100.Allowed exit codes are: [0]",
    ]);
    let told = failed(&outcome, &tail, ExitStatus::from_raw(1 << 8), None, false);
    assert_eq!(told.reason, Reason::BuildFailed);
    assert!(told.message.starts_with("packer build ended with exit code 1: docker.web: Script exited"), "{told:?}");
    assert!(told.message.contains("E: Unable to locate package ngninx"), "{told:?}");
}

#[test]
fn a_mount_that_cannot_work_here_is_said_first() {
    let told = failed(&Outcome::default(), &Tail::default(), ExitStatus::from_raw(1 << 8), None, true);
    assert!(told.message.starts_with("The template starts its container with -v"), "{told:?}");
}
