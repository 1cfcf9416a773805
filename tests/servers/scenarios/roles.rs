//! What is made by the same ansible role: an image, a box, and what stands on them.

use serde_json::{Value, json};

use super::is_done;
use crate::support::{cluster::shared, servers::Worktree, tenant::Tenant};

/// Links, what each stands on, and the role that it is made by. Without a role, a box is another form of its parent.
const LINKS: [(&str, &str, Option<&str>); 6] = [
    ("web", "base", Some("web")),
    ("web-dev", "web", None),
    ("vm", "base", None),
    ("web-vm", "vm", Some("web")),
    ("web-virtualbox", "web-vm", None),
    ("db-vm", "vm", Some("db")),
];

impl Tenant<'_> {
    fn chain_of_roles(&self, url: &str) -> Value {
        let form = json!({"provider": "VirtualBox"});
        let boxes = [("vm", json!({})), ("web-vm", json!({})), ("web-virtualbox", form), ("db-vm", json!({}))];
        let mut chain = self.chain_to_boxes(&["base", "web", "web-dev"], &boxes);
        chain["spec"]["source"] = json!({"git": {"url": url, "revision": "main"}});
        for (name, parent, role) in LINKS {
            let links = chain["spec"]["links"].as_array_mut().expect("links");
            let link = links.iter_mut().find(|link| link["name"] == name).expect("the link");
            link["from"] = json!({"link": parent});
            if let Some(role) = role {
                link["build"] = json!({"packer": {"template": format!("{name}/a.json")}});
                link["paths"] = json!([name, format!("roles/{role}")]);
            }
        }
        chain
    }
}

#[tokio::test]
async fn a_changed_role_rebuilds_what_it_makes_and_what_stands_on_that_images_and_boxes_alike() {
    let tenant = Tenant::new(shared(), "roles").await;
    let url = format!("{}/roles.git", tenant.stage.servers.git());
    let work = Worktree::new(&url);
    let own = LINKS.map(|(name, ..)| format!("{name}/a.json"));
    let mut files: Vec<_> = own.iter().map(|path| (path.as_str(), "{}")).collect();
    files.extend([("base/a.json", "{}"), ("roles/web/tasks/main.yml", "1"), ("roles/db/tasks/main.yml", "1")]);
    work.commit(&files);
    work.push(&["main"]);
    tenant.make(&tenant.chain_of_roles(&url)).await;
    tenant.ready().await;
    let all = ["base", "db-vm", "vm", "web-dev", "web-virtualbox", "web-vm", "web"];
    assert_eq!(tenant.causes().await, all.map(|name| format!("{name}: FirstBuild")));

    let rebuilt = async |role: &str, interval: &str| {
        let before = tenant.causes().await;
        work.commit(&[(&format!("roles/{role}/tasks/main.yml"), interval)]);
        work.push(&["main"]);
        tenant.look_again(interval).await;
        tenant.wait_chain("all is published", is_done).await;
        let mut after = tenant.causes().await;
        for line in &before {
            after.remove(after.iter().position(|each| each == line).expect("it is still there"));
        }
        after
    };
    assert_eq!(
        rebuilt("web", "1h").await,
        ["web-dev: ParentChanged", "web-virtualbox: ParentChanged", "web-vm: SourceChanged", "web: SourceChanged"]
    );
    assert_eq!(rebuilt("db", "2h").await, ["db-vm: SourceChanged"]);
}
