//! What ansible-core 2.18.19 and 2.19.14 printed of the same mistakes, with the folder of a pod.

use super::*;

const ROLE_2_18: &str = "\
ERROR! the role 'no_such_role' was not found in /workspace/source/roles:/root/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles:/workspace/source

The error appears to be in '/workspace/source/role.yml': line 3, column 7, but may
be elsewhere in the file depending on the exact syntax problem.

The offending line appears to be:

  roles:
    - no_such_role
      ^ here
";
const ROLE_2_19: &str = "\
[ERROR]: the role 'no_such_role' was not found in /workspace/source/roles:/root/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles:/workspace/source
Origin: /workspace/source/role.yml:3:7

1 - hosts: localhost
2   roles:
3     - no_such_role
        ^ column 7

";
const MODULE_2_18: &str = "\
ERROR! couldn't resolve module/action 'no.such.module'. This often indicates a misspelling, missing collection, or incorrect module path.

The error appears to be in '/workspace/source/module.yml': line 3, column 5, but may
be elsewhere in the file depending on the exact syntax problem.

The offending line appears to be:

  tasks:
  - no.such.module: {}
    ^ here
";
const MODULE_2_19: &str = "\
[ERROR]: couldn't resolve module/action 'no.such.module'. This often indicates a misspelling, missing collection, or incorrect module path.
Origin: /workspace/source/module.yml:3:5

1 - hosts: localhost
2   tasks:
3   - no.such.module: {}
      ^ column 5

";
const SYNTAX_2_18: &str = "\
ERROR! We were unable to read either as JSON nor YAML, these are the errors we got from each:
JSON: Expecting value: line 1 column 1 (char 0)

Syntax Error while loading YAML.
  did not find expected node content. while parsing a flow node
did not find expected node content
  in \"<unicode string>\", line 3, column 1

The error appears to be in '/workspace/source/syntax.yml': line 3, column 1, but may
be elsewhere in the file depending on the exact syntax problem.

The offending line appears to be:
";
const SYNTAX_2_19: &str = "\
[ERROR]: YAML parsing failed: While parsing a flow node did not find expected node content.
Origin: /workspace/source/syntax.yml:3:1

(source not shown: file truncated)

";
const RESCUED_2_19: &str = "\
[ERROR]: Task failed: Module failed: non-zero return code
Origin: /workspace/source/rescue.yml:5:7
";
const VAULT_2_18: &str = "ERROR! Attempting to decrypt but no vault secrets found\n";

/// Where the role is looked for.
const ROLES: &str =
    "/workspace/source/roles:/root/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles:/workspace/source";

#[test]
fn what_comes_before_the_first_task_is_told_with_its_place() {
    let role = format!("the role 'no_such_role' was not found in {ROLES}");
    let module = "couldn't resolve module/action 'no.such.module'. This often indicates a misspelling, missing \
                  collection, or incorrect module path.";
    let yaml = "YAML parsing failed: While parsing a flow node did not find expected node content.";
    for (output, expected) in [
        (ROLE_2_18, Some(format!("ansible: {role} (role.yml:3)"))),
        (ROLE_2_19, Some(format!("ansible: {role} (role.yml:3:7)"))),
        (MODULE_2_18, Some(format!("ansible: {module} (module.yml:3)"))),
        (MODULE_2_19, Some(format!("ansible: {module} (module.yml:3:5)"))),
        (SYNTAX_2_19, Some(format!("ansible: {yaml} (syntax.yml:3:1)"))),
        (VAULT_2_18, Some("ansible: Attempting to decrypt but no vault secrets found".to_owned())),
        // The first one counts.
        (&[ROLE_2_19, MODULE_2_19].concat(), Some(format!("ansible: {role} (role.yml:3:7)"))),
        // The plugin tells of tasks.
        (RESCUED_2_19, None),
        ("all is well\n", None),
    ] {
        let mut complaint = Complaint::default();
        output.lines().for_each(|line| complaint.add(line));
        assert_eq!(complaint.sentence("/workspace/source"), expected, "{output}");
    }
}

/// Its first paragraph says of JSON what does not matter; the place is that of the mistake.
#[test]
fn a_text_of_several_lines_is_told_as_one() {
    let mut complaint = Complaint::default();
    SYNTAX_2_18.lines().for_each(|line| complaint.add(line));
    let told = complaint.sentence("/workspace/source").unwrap();
    assert!(told.starts_with("ansible: Syntax Error while loading YAML. did not find expected node content"), "{told}");
    assert!(told.ends_with("(syntax.yml:3)") && !told.contains('\n'), "{told}");
}
