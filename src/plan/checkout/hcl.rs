//! What a template in HCL names.

use std::collections::BTreeMap;

use hcl_edit::{
    Span,
    expr::{Expression, Traversal, TraversalOperator},
    structure::{Block, Body},
    template::{Element, StringTemplate},
};

use super::evaluate::{Mention, Scope, settings};

/// A file of a template.
pub(super) struct File {
    text: String,
    body: Body,
}

impl File {
    /// Reads a file; `None` where it is no HCL.
    pub(super) fn read(text: String) -> Option<Self> {
        let body = text.parse().ok()?;
        Some(Self { text, body })
    }

    /// The defaults of its variables that are plain texts.
    pub(super) fn defaults(&self) -> BTreeMap<String, String> {
        let of = |block: &Block| {
            let default = block.body.get_attribute("default")?.value.as_str()?;
            Some((block.labels.first()?.as_str().to_owned(), default.to_owned()))
        };
        self.body.get_blocks("variable").filter_map(of).collect()
    }

    /// What its builds name.
    pub(super) fn mentions(&self, scope: &Scope) -> Vec<Mention> {
        self.body.get_blocks("build").flat_map(|build| self.of_steps(&build.body, scope)).collect()
    }

    fn of_steps(&self, body: &Body, scope: &Scope) -> Vec<Mention> {
        body.blocks()
            .flat_map(|block| match block.ident.as_str() {
                "provisioner" | "post-processor" => self.of_step(block, scope),
                "post-processors" => self.of_steps(&block.body, scope),
                _ => Vec::new(),
            })
            .collect()
    }

    fn of_step(&self, block: &Block, scope: &Scope) -> Vec<Mention> {
        let kind = block.labels.first().map_or("", |label| label.as_str());
        if is_conditional(block) || (kind == "file" && is_made_later(block)) {
            return Vec::new();
        }
        let attributes = settings(kind).iter().filter_map(|name| block.body.get_attribute(name));
        let mentions = attributes.flat_map(|attribute| {
            let by = format!("{} {kind}: {}", block.ident.as_str(), attribute.key.as_str());
            let line = attribute.span().map(|span| self.line(span.start));
            texts(&attribute.value, scope).into_iter().map(move |path| Mention { by: by.clone(), line, path })
        });
        mentions.collect()
    }

    fn line(&self, offset: usize) -> usize {
        self.text.get(..offset).map_or(0, |before| before.matches('\n').count()) + 1
    }
}

/// Whether a step is for some builds alone.
fn is_conditional(block: &Block) -> bool {
    ["only", "except"].iter().any(|name| block.body.has_attribute(name))
}

/// Whether what it uploads need not be there when packer begins.
fn is_made_later(block: &Block) -> bool {
    let is = |name: &str, value: &str| {
        block
            .body
            .get_attribute(name)
            .is_some_and(|attribute| attribute.value.to_string().trim().trim_matches('"') == value)
    };
    is("direction", "download") || is("generated", "true")
}

/// The texts of a value, or of a list of them.
fn texts(value: &Expression, scope: &Scope) -> Vec<Result<String, String>> {
    if let Expression::Array(items) = value {
        return items.iter().flat_map(|item| texts(item, scope)).collect();
    }
    let text = text(value, scope).and_then(|text| scope.fill(&text));
    vec![text.ok_or_else(|| value.to_string().trim().to_owned())]
}

fn text(value: &Expression, scope: &Scope) -> Option<String> {
    match value {
        Expression::String(text) => Some(text.value().clone()),
        Expression::StringTemplate(template) => of_template(template, scope),
        Expression::Traversal(traversal) => of_traversal(traversal, scope),
        Expression::Parenthesis(inner) => text(inner.inner(), scope),
        _ => None,
    }
}

fn of_template(template: &StringTemplate, scope: &Scope) -> Option<String> {
    let part = |element: &Element| match element {
        Element::Literal(text) => Some(text.value().clone()),
        Element::Interpolation(inner) => text(&inner.expr, scope),
        Element::Directive(_) => None,
    };
    template.iter().map(part).collect()
}

fn of_traversal(traversal: &Traversal, scope: &Scope) -> Option<String> {
    let [operator] = traversal.operators.as_slice() else { return None };
    let TraversalOperator::GetAttr(name) = operator.value() else { return None };
    match (traversal.expr.as_variable()?.as_str(), name.as_str()) {
        ("path", "root") => Some(Scope::absolute(&scope.root)),
        ("path", "cwd") => Some(Scope::absolute(&scope.cwd)),
        ("var", name) => scope.variables.get(name).cloned(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
variable "dir" {
  type    = string
  default = "scripts"
}
variable "list" { default = ["a"] }

build {
  sources = ["source.docker.web"]
  provisioner "shell" {
    scripts = ["${var.dir}/a.sh", "${path.root}/b.sh", "${path.cwd}/c.sh"]
  }
  provisioner "shell" { inline = ["true"] }
  provisioner "ansible" {
    playbook_file = "../ansible/site.yml"
    galaxy_file   = local.galaxy
  }
  provisioner "file" {
    source      = "made.txt"
    generated   = true
    destination = "/"
  }
  provisioner "file" {
    direction = "download"
    source = "/etc/os-release"
  }
  provisioner "shell" {
    only   = ["docker.other"]
    script = "other.sh"
  }
  post-processors {
    post-processor "shell-local" { script = ("d.sh") }
  }
}
"#;

    #[test]
    fn what_steps_name_is_found_with_its_line() {
        let file = File::read(TEMPLATE.to_owned()).unwrap();
        assert_eq!(file.defaults(), [("dir".to_owned(), "scripts".to_owned())].into());
        let scope = Scope { variables: file.defaults(), root: "packer".to_owned(), cwd: String::new() };
        let found = file.mentions(&scope);
        let found: Vec<_> = found
            .iter()
            .map(|mention| (mention.by.as_str(), mention.line, mention.path.as_deref().map_err(String::as_str)))
            .collect();
        assert_eq!(
            found,
            [
                ("provisioner shell: scripts", Some(11), Ok("scripts/a.sh")),
                ("provisioner shell: scripts", Some(11), Ok("/workspace/source/packer/b.sh")),
                ("provisioner shell: scripts", Some(11), Ok("/workspace/source/c.sh")),
                ("provisioner ansible: playbook_file", Some(15), Ok("../ansible/site.yml")),
                ("provisioner ansible: galaxy_file", Some(16), Err("local.galaxy")),
                ("post-processor shell-local: script", Some(32), Ok("d.sh")),
            ]
        );
        assert!(File::read("this is { no HCL".to_owned()).is_none());
    }
}
