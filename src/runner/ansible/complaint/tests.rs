//! What ansible-core printed, 2.18 and 2.19.

use super::*;

const ROLE_2_18: &str = "\
INFO     Running default > converge
ERROR! the role 'no_such_role' was not found in /workspace/source/roles:/etc/ansible/roles:/workspace/source

The error appears to be in '/workspace/source/molecule/default/converge.yml': line 4, column 7, but may
be elsewhere in the file depending on the exact syntax problem.

The offending line appears to be:

  roles:
    - no_such_role
      ^ here
";
const ROLE_2_19: &str = "\
[ERROR]: the role 'no_such_role' was not found in /workspace/source/roles:/etc/ansible/roles
Origin: /workspace/source/molecule/default/converge.yml:4:7

2 hosts: all
3 roles:
";
const VAULT: &str = "ERROR! Attempting to decrypt but no vault secrets found\n\n[ERROR]: a later one\n";
const RESCUED: &str =
    "[ERROR]: Task failed: Module failed: non-zero return code\nOrigin: /workspace/source/a.yml:7:3\n";
const LINES: &str = "[ERROR]: couldn't resolve module/action 'no.such.module'. This often indicates\na misspelling\nOrigin: /elsewhere/a.yml:1\n";

#[test]
fn what_comes_before_the_first_task_is_told_with_its_place() {
    for (output, expected) in [
        (
            ROLE_2_18,
            Some(
                "ansible: the role 'no_such_role' was not found in /workspace/source/roles:/etc/ansible/roles:\
                 /workspace/source (molecule/default/converge.yml:4)",
            ),
        ),
        (
            ROLE_2_19,
            Some(
                "ansible: the role 'no_such_role' was not found in /workspace/source/roles:/etc/ansible/roles \
                 (molecule/default/converge.yml:4:7)",
            ),
        ),
        (VAULT, Some("ansible: Attempting to decrypt but no vault secrets found")),
        (
            LINES,
            Some(
                "ansible: couldn't resolve module/action 'no.such.module'. This often indicates a misspelling \
                 (/elsewhere/a.yml:1)",
            ),
        ),
        // The plugin tells of tasks.
        (RESCUED, None),
        ("all is well\n", None),
    ] {
        let mut complaint = Complaint::default();
        output.lines().for_each(|line| complaint.add(line));
        assert_eq!(complaint.sentence("/workspace/source").as_deref(), expected, "{output}");
    }
}
