//! What a template of the older form names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::evaluate::{Mention, Scope, settings};

/// The defaults of its variables that are plain texts.
pub(super) fn defaults(template: &Value) -> BTreeMap<String, String> {
    let variables = template.get("variables").and_then(Value::as_object);
    let texts =
        variables.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    texts.filter(|(_, value)| !value.contains("{{")).collect()
}

/// What its steps name.
pub(super) fn mentions(template: &Value, scope: &Scope) -> Vec<Mention> {
    let steps = |field: &str| template.get(field).and_then(Value::as_array).into_iter().flatten();
    let provisioners = steps("provisioners").map(|step| ("provisioner", step));
    let post_processors = steps("post-processors").flat_map(sequence).map(|step| ("post-processor", step));
    provisioners.chain(post_processors).flat_map(|(what, step)| of_step(what, step, scope)).collect()
}

/// Post-processors stand in a list of lists.
fn sequence(step: &Value) -> &[Value] {
    step.as_array().map_or(std::slice::from_ref(step), Vec::as_slice)
}

fn of_step(what: &str, step: &Value, scope: &Scope) -> Vec<Mention> {
    let text = |field: &str| step.get(field).and_then(Value::as_str).unwrap_or_default();
    let kind = text("type");
    let is_conditional = step.get("only").is_some() || step.get("except").is_some();
    let is_generated = step.get("generated").is_some_and(|value| value != false);
    if is_conditional || (kind == "file" && (is_generated || text("direction") == "download")) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for name in settings(kind) {
        for path in step.get(name).into_iter().flat_map(texts) {
            let (by, path) = (format!("{what} {kind}: {name}"), scope.fill(path).ok_or_else(|| path.to_owned()));
            found.push(Mention { by, line: None, path });
        }
    }
    found
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_steps_name_is_found() {
        let template = json!({
            "variables": {"dir": "scripts", "from": "{{env `X`}}", "none": null},
            "provisioners": [
                {"type": "shell", "scripts": ["{{user `dir`}}/a.sh", "{{user `from`}}"]},
                {"type": "file", "source": "made", "generated": true},
                {"type": "file", "source": "files/", "destination": "/"},
                {"type": "shell", "script": "x.sh", "only": ["other"]},
                {"type": "unknown", "script": "y.sh"},
                {"type": "ansible", "playbook_file": "{{template_dir}}/site.yml"},
            ],
            "post-processors": [[{"type": "shell-local", "script": "b.sh"}, "docker-push"], {"type": "shell-local", "script": "c.sh"}],
        });
        let scope = Scope { variables: defaults(&template), root: "packer".to_owned(), cwd: "packer".to_owned() };
        let found: Vec<_> = mentions(&template, &scope).into_iter().map(|mention| (mention.by, mention.path)).collect();
        let expected = [
            ("provisioner shell: scripts", Ok("scripts/a.sh")),
            ("provisioner shell: scripts", Err("{{user `from`}}")),
            ("provisioner file: source", Ok("files/")),
            ("provisioner ansible: playbook_file", Ok("/workspace/source/packer/site.yml")),
            ("post-processor shell-local: script", Ok("b.sh")),
            ("post-processor shell-local: script", Ok("c.sh")),
        ];
        let own =
            |(by, path): (&str, Result<&str, &str>)| (by.to_owned(), path.map(str::to_owned).map_err(str::to_owned));
        assert_eq!(found, expected.map(own));
    }
}
