//! What the plugin wrote, run by ansible-core 2.19.

use super::*;

const RESCUED: &str = r#"{"kind": "failed", "task": "fails but is rescued", "action": "ansible.builtin.command", "path": "/workspace/source/ansible/site.yml:7", "host": "localhost", "msg": "non-zero return code", "rc": 1}
"#;
const SHELL: &str = r#"{"kind": "failed", "task": "web | say something", "action": "ansible.builtin.shell", "path": "/workspace/source/ansible/site.yml:11", "host": "localhost", "msg": "non-zero return code", "stdout": "to-out", "stderr": "E: broken pipe to the moon", "rc": 7}
"#;
const UNDEFINED: &str = r#"{"kind": "failed", "task": "template", "action": "ansible.builtin.debug", "path": "/usr/share/site.yml:5", "host": "localhost", "msg": "Task failed: Finalization of task args for 'ansible.builtin.debug' failed: Error while resolving value for 'msg': 'nothing_here' is undefined"}
"#;
const HIDDEN: &str = r#"{"kind": "failed", "task": "secret", "action": "ansible.builtin.command", "path": "", "host": "localhost", "msg": "the output is hidden, since no_log is set"}
"#;

#[test]
fn the_last_task_that_failed_is_told() {
    for (text, task, message) in [
        (
            [RESCUED, SHELL].concat(),
            "web | say something",
            "ansible.builtin.shell failed on localhost (ansible/site.yml:11): non-zero return code; return code 7; \
             stderr: E: broken pipe to the moon; stdout: to-out",
        ),
        (
            UNDEFINED.to_owned(),
            "template",
            "ansible.builtin.debug failed on localhost (/usr/share/site.yml:5): Task failed: Finalization of task args \
             for 'ansible.builtin.debug' failed: Error while resolving value for 'msg': 'nothing_here' is undefined",
        ),
        (
            HIDDEN.to_owned(),
            "secret",
            "ansible.builtin.command failed on localhost: the output is hidden, since no_log is set",
        ),
        // A line that was cut off is left out.
        (
            [HIDDEN, &SHELL[..40]].concat(),
            "secret",
            "ansible.builtin.command failed on localhost: the output is hidden, since no_log is set",
        ),
    ] {
        let failure = last(&text, "/workspace").unwrap().failure(Reason::TaskFailed);
        assert_eq!((failure.task.as_deref(), failure.message.as_str()), (Some(task), message));
    }
    assert_eq!(last("", "/workspace"), None);
    assert_eq!(last("no JSON\n", "/workspace"), None);
}
