//! What the plugin wrote, run by ansible-core 2.18 and 2.19.

use super::*;

const RESCUED: &str = r#"{"run": 7, "kind": "failed", "task": "fails but is rescued", "action": "ansible.builtin.command", "path": "/workspace/source/ansible/site.yml:7", "host": "localhost", "msg": "non-zero return code", "rc": 1}
"#;
const SHELL: &str = r#"{"run": 7, "kind": "failed", "task": "web | say something", "action": "ansible.builtin.shell", "path": "/workspace/source/ansible/site.yml:11", "host": "localhost", "msg": "non-zero return code", "stdout": "to-out", "stderr": "E: broken pipe to the moon", "rc": 7}
"#;
const UNDEFINED: &str = r#"{"run": 7, "kind": "failed", "task": "template", "action": "ansible.builtin.debug", "path": "/usr/share/site.yml:5", "host": "localhost", "msg": "Task failed: Finalization of task args for 'ansible.builtin.debug' failed: Error while resolving value for 'msg': 'nothing_here' is undefined"}
"#;
const HIDDEN: &str = r#"{"run": 7, "kind": "failed", "task": "secret", "action": "ansible.builtin.command", "path": "", "host": "localhost", "msg": "the output is hidden, since no_log is set"}
"#;
const ELSEWHERE: &str = r#"{"run": 7, "kind": "unreachable", "task": "Gathering Facts", "action": "ansible.builtin.gather_facts", "path": "", "host": "web", "msg": "no route"}
"#;
const FAILED: &str = "{\"run\": 7, \"kind\": \"ended\", \"hosts\": [\"localhost\"]}\n";
const UNREACHED: &str = "{\"run\": 7, \"kind\": \"ended\", \"hosts\": [\"web\"]}\n";
const WELL: &str = "{\"run\": 7, \"kind\": \"ended\", \"hosts\": []}\n";
const NEXT_RUN_IS_WELL: &str = "{\"run\": 8, \"kind\": \"ended\", \"hosts\": []}\n";

#[test]
fn the_task_that_ended_a_run_is_told() {
    let shell = (
        "web | say something",
        "ansible.builtin.shell failed on localhost (/workspace/source/ansible/site.yml:11): non-zero return code; \
         return code 7; stderr: E: broken pipe to the moon; stdout: to-out",
    );
    let hidden = ("secret", "ansible.builtin.command failed on localhost: the output is hidden, since no_log is set");
    let unreachable = ("Gathering Facts", "ansible.builtin.gather_facts did not reach web: no route");
    for (lines, expected) in [
        (vec![RESCUED, SHELL, FAILED], Some(shell)),
        (
            vec![UNDEFINED, FAILED],
            Some((
                "template",
                "ansible.builtin.debug failed on localhost (/usr/share/site.yml:5): Task failed: Finalization of task \
                 args for 'ansible.builtin.debug' failed: Error while resolving value for 'msg': 'nothing_here' is \
                 undefined",
            )),
        ),
        // All were rescued: whatever failed, it was not this.
        (vec![RESCUED, WELL], None),
        // Of two hosts, the one that was lost.
        (vec![ELSEWHERE, RESCUED, UNREACHED], Some(unreachable)),
        // `ignore_unreachable`.
        (vec![ELSEWHERE, WELL], None),
        // Molecule cleans up after it.
        (vec![SHELL, FAILED, NEXT_RUN_IS_WELL], Some(shell)),
        // A line that was cut off is left out.
        (vec![HIDDEN, &SHELL[..40], "\n", FAILED], Some(hidden)),
        // It did not come to its end: what ended it is not known.
        (vec![SHELL], None),
        (vec![], None),
        (vec!["no JSON\n"], None),
    ] {
        let text = lines.concat();
        let failure = last(&text).map(|task| task.failure(Reason::TaskFailed));
        let found = failure.as_ref().map(|failure| (failure.task.as_deref().unwrap(), failure.message.as_str()));
        assert_eq!(found, expected, "{text}");
    }
}
