//! Which objects of a tenant the operator must read for a chain, and what to type so that it may.

use std::collections::BTreeSet;

use crate::plan::{
    access,
    object::ObjectRef,
    valid::{ValidChain, ValidLink, ValidSource, Variables},
};

/// The lines that let the operator, by its user name, read what a chain names, each object once.
#[must_use]
pub fn lines(chain: &ValidChain, user: &str, namespace: &str) -> Vec<String> {
    // By resource first, as people would list them.
    let objects: BTreeSet<_> = chain.links.iter().flat_map(objects).map(|each| (each.kind.resource(), each)).collect();
    objects.into_iter().map(|(_, object)| access::grant(user, namespace, object.kind, &object.name)).collect()
}

fn objects(link: &ValidLink) -> Vec<ObjectRef> {
    let recipe = &link.recipe;
    let environments = recipe.verify.iter().map(|step| &step.environment);
    let variables = environments.chain([&recipe.packer.variables]).flat_map(secrets);
    let source = match &recipe.source {
        ValidSource::ConfigMap(name) => Some(ObjectRef::config_map(name)),
        ValidSource::Git { secret: Some(name), .. } => Some(ObjectRef::secret(name)),
        ValidSource::Git { .. } | ValidSource::Inline(_) => None,
    };
    let parent = link.parent.as_ref().and_then(|parent| parent.secret.as_deref());
    let publish = recipe.publish.as_ref().and_then(|publish| publish.secret.as_deref());
    let named = [parent, publish].into_iter().flatten().map(ObjectRef::secret);
    named.chain(variables).chain(source).collect()
}

fn secrets(variables: &Variables) -> impl Iterator<Item = ObjectRef> {
    variables.secrets.values().map(|(name, _)| ObjectRef::secret(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::validate;

    #[test]
    fn all_that_a_chain_names_is_granted_once() {
        let chain = json!({
            "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain",
            "metadata": {"name": "shop", "namespace": "team-a"},
            "spec": {
                "profiles": ["docker"],
                "source": {"git": {"url": "https://git.example/shop.git", "revision": "main", "secretRef": {"name": "git"}}},
                "links": [
                    {
                        "name": "base",
                        "from": {"image": "r.example/debian:13", "secretRef": {"name": "pull"}},
                        "build": {"packer": {"template": "a.pkr.hcl", "secretVariables": [
                            {"name": "token", "secretKeyRef": {"name": "vault", "key": "token"}},
                        ]}},
                        "verify": [{"pytest": {"secretVariables": [
                            {"name": "TOKEN", "secretKeyRef": {"name": "vault", "key": "test"}},
                        ]}}],
                        "publish": {"image": {"repository": "r.example/shop/base", "tags": ["1"], "secretRef": {"name": "push"}}},
                    },
                    {
                        "name": "web",
                        "source": {"configMap": {"name": "files"}},
                        "from": {"link": "base"},
                        "build": {"packer": {"template": "a.pkr.hcl"}},
                    },
                ],
            },
        });
        let chain = validate::chain(&serde_json::from_value(chain).unwrap()).unwrap();
        let lines = lines(&chain, "system:serviceaccount:ops:imagechain", "team-a");
        let named: Vec<_> = lines.iter().map(|line| line.split(" -n ").next().unwrap()).collect();
        let role = |name| format!("kubectl create role imagechain-{name}");
        let expected = ["configmap-files", "secret-git", "secret-pull", "secret-push", "secret-vault"].map(role);
        assert_eq!(named, expected);
        assert!(lines.iter().all(|line| line.ends_with("--serviceaccount=ops:imagechain")), "{lines:#?}");
    }
}
