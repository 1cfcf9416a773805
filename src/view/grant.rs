//! Which objects of a tenant the operator must read for a chain, and what to type so that it may.

use std::collections::BTreeSet;

use crate::plan::{access, valid::ValidChain};

/// The lines that let the operator, by its user name, read what a chain names, each object once.
#[must_use]
pub fn lines(chain: &ValidChain, user: &str, namespace: &str) -> Vec<String> {
    let objects: BTreeSet<_> = chain.links.iter().flat_map(|link| link.recipe.objects()).collect();
    // By resource first, as they would be listed.
    let mut objects: Vec<_> = objects.into_iter().collect();
    objects.sort_by_key(|object| object.kind.resource());
    objects.into_iter().map(|object| access::grant(user, namespace, object.kind, &object.name)).collect()
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
