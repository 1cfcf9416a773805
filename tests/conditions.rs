//! docs/conditions.md is the list of conditions and reasons, as it stands in the code.

use std::{collections::BTreeMap, fs, path::Path};

use imagechain::api::condition::{Class, ConditionType, Reason};
use schemars::{JsonSchema, schema_for};

/// What the code says of each variant.
fn descriptions<T: JsonSchema>() -> BTreeMap<String, String> {
    let schema = schema_for!(T).to_value();
    let variants = schema.get("oneOf").and_then(|each| each.as_array()).cloned().unwrap_or_default();
    let text = |variant: &serde_json::Value, key: &str| variant.get(key)?.as_str().map(ToOwned::to_owned);
    variants.iter().filter_map(|each| Some((text(each, "const")?, text(each, "description")?))).collect()
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let conditions = descriptions::<ConditionType>();
    for kind in ConditionType::ALL {
        let polarity = match kind {
            kind if kind.is_abnormal_true() => "there only while true",
            ConditionType::Ready => "there, unless `suspend` holds all that is left to do",
            _ => "always there",
        };
        page.extend([format!("| `{kind}` | {} | {polarity} |\n", told(&conditions, &kind.to_string()))]);
    }
    page += "\n## Reasons\n";
    let (classes, reasons) = (descriptions::<Class>(), descriptions::<Reason>());
    let mut seen: Vec<Class> = Vec::new();
    for reason in Reason::ALL {
        let class = reason.class();
        if !seen.contains(&class) {
            seen.push(class);
            page.extend([format!("\n### {class:?}\n\n{}\n\n", told(&classes, &format!("{class:?}")))]);
            page += "| reason | meaning |\n|---|---|\n";
        }
        page.extend([format!("| `{reason}` | {} |\n", told(&reasons, &reason.to_string()))]);
    }
    page
}

fn told(descriptions: &BTreeMap<String, String>, name: &str) -> String {
    let text = descriptions.get(name).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    text.unwrap_or_else(|| format!("{name} has no description"))
}

const INTRODUCTION: &str = "# Conditions and reasons

What a status may say, as two closed lists: whoever reads a status, by eye or by program, can rely on every
word of it. `kubectl wait --for condition=Ready`, Flux and Argo CD read these conditions by the rules of
[kstatus](https://pkg.go.dev/sigs.k8s.io/cli-utils/pkg/kstatus):

| Ready | beside it | means |
|---|---|---|
| `True` | – | it is as it should be |
| `Unknown` | `Reconciling=True` | it is being worked on, or waits for what may come; nobody has to act |
| `False` | `Stalled=True` | nothing goes on until somebody acts; the message says what to do |
| absent | – | nothing is to come, since `spec.suspend` is true, and not all images of this generation are there |

A chain whose images were published and that is rebuilt in the background stays `Ready=True`; `UpToDate` tells
of the rebuild, and `Degraded=True` that it has failed.

What is missing (class Dependency: a Secret, a grant, a revision) may come: for `timeouts.dependency` of the link or
build (10 min unless it says otherwise) that is `Reconciling`, with the reason and what to do in the message and an
event, and `Stalled` after that. It goes on by itself whenever that is there. The time is counted from
`lackingSince` of the status, so no restart begins it anew.

A published tag that somebody else has moved or deleted is found as often as commits and base images are looked up.
`Drifted=True` says which, where it leads and since when, and `Ready` stays as it is: the image that was verified is
there still, under its digest. It is put back at once, without a build, unless `spec.drift` is `Report`
([operations](operations.md)).

This page is made from `src/api/condition.rs`; `tests/conditions.rs` holds it to that.

## Conditions

| condition | meaning | |
|---|---|---|
";

#[test]
fn the_page_is_the_list_of_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conditions.md");
    let page = page();
    fs::write(&made, &page).expect("a folder for what tests make");
    let committed = fs::read_to_string(root.join("docs/conditions.md")).unwrap_or_default();
    assert!(committed == page, "docs/conditions.md is not up to date: compare it with {}", made.display());
    assert!(!page.contains("has no description"));
}
