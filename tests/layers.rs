//! Which layer may use which, and what the pure ones may not touch.
//!
//! Tests of a layer are part of it: what they need from outside belongs in `tests/`.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used, clippy::panic)]

// Alone, since the rest of tests/support needs kube, which takes long to link.
#[allow(dead_code)]
#[path = "support/paths.rs"]
mod paths;
#[allow(dead_code)]
#[path = "support/sources.rs"]
mod sources;

use paths::{Mention, Reader};
use sources::Source;

use MayUse::{Everything, Only};

struct Layer {
    /// Its folder under `src/`; empty for `lib.rs` and `main.rs`.
    name: &'static str,
    may_use: MayUse,
    /// Decides without clock, IO and cluster.
    pure: bool,
    /// Cannot fail: what it is given is valid.
    infallible: bool,
}

enum MayUse {
    Everything,
    /// These modules and what is in them.
    Only(&'static [&'static str]),
}

const LAYERS: &[Layer] = &[
    Layer { name: "api", may_use: Only(&[]), pure: true, infallible: false },
    Layer { name: "plan", may_use: Only(&["api"]), pure: true, infallible: false },
    Layer { name: "render", may_use: Only(&["api", "plan"]), pure: true, infallible: true },
    Layer { name: "outcome", may_use: Only(&["api", "plan"]), pure: true, infallible: false },
    // What a cache of files keeps.
    Layer { name: "cache", may_use: Only(&["plan::image"]), pure: true, infallible: false },
    // Grammars of `plan`, no decisions.
    Layer {
        name: "remote",
        may_use: Only(&[
            "api",
            "cache",
            "plan::credentials",
            "plan::git",
            "plan::gitea",
            "plan::image",
            "plan::network",
        ]),
        pure: false,
        infallible: false,
    },
    // Files of boxes: no cluster, no registry.
    Layer { name: "boxes", may_use: Only(&["api"]), pure: false, infallible: false },
    // What Vagrant is told of them.
    Layer { name: "catalog", may_use: Only(&["api", "plan::image"]), pure: true, infallible: false },
    // Requests of others: no cluster.
    Layer {
        name: "serve",
        may_use: Only(&["api", "cache", "catalog", "plan::image", "remote"]),
        pure: false,
        infallible: false,
    },
    Layer { name: "view", may_use: Only(&["api", "plan"]), pure: true, infallible: false },
    Layer {
        name: "runner",
        // Words and names of `plan`, no decisions.
        may_use: Only(&[
            "api",
            "plan::credentials",
            "plan::dependency",
            "plan::failure",
            "plan::image",
            "plan::job",
            "plan::network",
            "plan::observed",
            "plan::path",
            "plan::recipe",
            "plan::text",
            "plan::tree",
            "outcome",
            "remote",
            "boxes",
        ]),
        pure: false,
        infallible: false,
    },
    Layer { name: "runtime", may_use: Everything, pure: false, infallible: false },
    Layer { name: "cli", may_use: Everything, pure: false, infallible: false },
    Layer { name: "", may_use: Everything, pure: false, infallible: false },
];

/// What no pure layer names, and what it does instead.
const IMPURE: &[(&str, &str)] = &[
    ("tokio", "nothing waits in a pure layer"),
    ("tokio_util", "nothing waits in a pure layer"),
    ("futures", "nothing waits in a pure layer"),
    ("futures_util", "nothing waits in a pure layer"),
    ("kube::client", "a pure layer gets facts, not the cluster"),
    ("kube::runtime", "a pure layer gets facts, not the cluster"),
    ("kube::Api", "a pure layer gets facts, not the cluster"),
    ("kube::Client", "a pure layer gets facts, not the cluster"),
    ("std::env", "a pure layer gets settings as values"),
    ("std::fs", "a pure layer gets the text of files"),
    ("std::net", "a pure layer talks to nobody"),
    ("std::process", "a pure layer starts and ends nothing"),
    ("std::time::Instant", "a pure layer gets the time as a value"),
    ("std::time::SystemTime", "a pure layer gets the time as a value"),
];

#[test]
fn every_layer_uses_only_what_it_may() {
    let found: Vec<String> = sources::all().iter().flat_map(violations).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What a file does that its layer may not, one line each: place, path, rule.
fn violations(source: &Source) -> Vec<String> {
    let name = source.module.first().map_or("", String::as_str);
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
        return vec![format!("{}: `{name}` is not a layer: tests/layers.rs has the table", source.path)];
    };
    let reader = Reader::read(source);
    let broken = |mention: &Mention| {
        let rule = reader.meanings(mention).iter().find_map(|path| layer.rule_against(path, mention.is_returned))?;
        Some(format!("{}:{}: {}: {rule}", source.path, mention.line, mention.path.join("::")))
    };
    reader.mentions.iter().filter_map(broken).collect()
}

impl Layer {
    fn rule_against(&self, path: &[String], is_returned: bool) -> Option<String> {
        let name = self.name;
        if let Only(modules) = self.may_use
            && let [root, inside @ ..] = path
            && root == "crate"
            && !self.may_name(inside, modules)
        {
            let others = if modules.is_empty() { "no other layer".to_owned() } else { modules.join(", ") };
            return Some(format!("`{name}` may use {others}"));
        }
        if self.infallible && is_returned && is_result(path) {
            return Some(format!("`{name}` cannot fail: return no `Result`"));
        }
        if self.pure { impurity(path).map(str::to_owned) } else { None }
    }

    fn may_name(&self, inside: &[String], modules: &[&str]) -> bool {
        // The crate itself is only a name; what is taken from it is another path.
        let Some(first) = inside.first() else { return true };
        first == self.name || modules.iter().any(|module| starts_with(inside, module))
    }
}

/// Formatting is the exception: its signature is the standard library's.
fn is_result(path: &[String]) -> bool {
    path.ends_with(&["Result".to_owned()]) && !path.iter().any(|segment| segment == "fmt")
}

fn impurity(path: &[String]) -> Option<&'static str> {
    if path.windows(2).any(|pair| pair == ["Timestamp", "now"]) {
        return Some("a pure layer gets the time as a value");
    }
    let (_, rule) = IMPURE.iter().find(|(impure, _)| match path {
        // All that is in a module is also what may not be used of it.
        [module @ .., last] if last == "*" => {
            starts_with(path, impure) || impure.starts_with(&format!("{}::", module.join("::")))
        }
        _ => starts_with(path, impure),
    })?;
    Some(rule)
}

fn starts_with(path: &[String], module: &str) -> bool {
    let segments: Vec<&str> = module.split("::").collect();
    path.len() >= segments.len() && path.iter().zip(segments).all(|(segment, expected)| segment == expected)
}

/// What is wrong with a snippet, without its place.
fn wrong(path: &str, text: &str) -> Vec<String> {
    let place = |line: String| line.split_once(": ").expect("a place").1.to_owned();
    violations(&Source::new(path, text)).into_iter().map(place).collect()
}

#[test]
fn the_message_has_file_line_path_and_rule() {
    let source =
        Source::new("src/plan/chain.rs", "use crate::api;\nuse crate::{\n    api::build,\n    runtime::clock,\n};");
    assert_eq!(violations(&source), ["src/plan/chain.rs:4: crate::runtime::clock: `plan` may use api"]);
}

#[test]
fn what_a_layer_may_use_is_not_reported() {
    let allowed = [
        ("src/api/chain.rs", "use super::common::Tag; use crate::api::build; use self::inner::X;"),
        ("src/api/chain.rs", "#[cfg(test)] mod tests { use super::*; use super::super::common::Tag; }"),
        ("src/plan/mod.rs", "use crate::api::{self, chain}; fn f(at: api::chain::Time) { crate::plan::name::f() }"),
        ("src/plan/retry.rs", "use std::time::Duration; use kube::core::ObjectMeta; use kube::ResourceExt;"),
        (
            "src/plan/retry.rs",
            "// use crate::runtime;\nconst A: &str = \"crate::runtime::b\"; /** std::env::var */ fn f() {}",
        ),
        ("src/plan/retry.rs", "fn f(futures: &[u8]) -> Result<usize, E> { Ok(futures.len()) } pub(crate) fn g() {}"),
        ("src/render/pod.rs", "impl fmt::Display for X { fn fmt(&self, f: &mut F) -> fmt::Result { Ok(()) } }"),
        ("src/render/pod.rs", "fn f() -> Option<u8> { let x: Result<u8, E> = g(); x.ok() }"),
        (
            "src/runner/stage.rs",
            "use crate::{plan::{image::Reference, job::Job}, outcome, api}; use std::process::Command;",
        ),
        ("src/runtime/mod.rs", "use crate::{cli, runner, plan}; use tokio::time; fn f() -> Result<u8, E> { todo() }"),
        ("src/main.rs", "fn main() { imagechain::cli::run(std::env::args()) }"),
    ];
    for (path, text) in allowed {
        assert_eq!(wrong(path, text), [""; 0], "{path}: {text}");
    }
}

#[test]
fn other_layers_are_reported_however_they_are_named() {
    let refused = [
        ("src/api/chain.rs", "use crate::plan::graph;", "crate::plan::graph: `api` may use no other layer"),
        ("src/api/mod.rs", "use super::plan;", "crate::plan: `api` may use no other layer"),
        ("src/plan/a.rs", "use super::super::render;", "crate::render: `plan` may use api"),
        (
            "src/plan/a.rs",
            "mod b { fn f() { super::super::super::cli::run() } }",
            "crate::cli::run: `plan` may use api",
        ),
        ("src/plan/a.rs", "use crate::{api, outcome::{self as o}};", "crate::outcome: `plan` may use api"),
        ("src/plan/a.rs", "use crate::*;", "crate::*: `plan` may use api"),
        ("src/plan/a.rs", "use crate as root; fn f() { root::cli::run() }", "root::cli::run: `plan` may use api"),
        ("src/plan/a.rs", "fn f() { crate::runtime::run::<u8>() }", "crate::runtime::run: `plan` may use api"),
        ("src/plan/a.rs", "fn f(a: Vec<crate::cli::A>) {}", "crate::cli::A: `plan` may use api"),
        ("src/plan/a.rs", "fn f() { print!(\"{}\", [crate::cli::A]) }", "crate::cli::A: `plan` may use api"),
        ("src/plan/a.rs", "macro_rules! m { () => { $crate::cli::f() } }", "crate::cli::f: `plan` may use api"),
        ("src/render/a.rs", "use crate::runner;", "crate::runner: `render` may use api, plan"),
        ("src/outcome/a.rs", "use crate::render::pod;", "crate::render::pod: `outcome` may use api, plan"),
        (
            "src/runner/a.rs",
            "use crate::plan::chain;",
            "crate::plan::chain: `runner` may use api, plan::credentials, plan::dependency, plan::failure, plan::image, plan::job, plan::network, plan::observed, plan::path, plan::recipe, plan::text, plan::tree, outcome, remote, boxes",
        ),
        (
            "src/runner/a.rs",
            "use crate::plan;",
            "crate::plan: `runner` may use api, plan::credentials, plan::dependency, plan::failure, plan::image, plan::job, plan::network, plan::observed, plan::path, plan::recipe, plan::text, plan::tree, outcome, remote, boxes",
        ),
        (
            "src/runner/a.rs",
            "use crate::runtime::clock;",
            "crate::runtime::clock: `runner` may use api, plan::credentials, plan::dependency, plan::failure, plan::image, plan::job, plan::network, plan::observed, plan::path, plan::recipe, plan::text, plan::tree, outcome, remote, boxes",
        ),
    ];
    for (path, text, expected) in refused {
        assert_eq!(wrong(path, text), [expected], "{path}: {text}");
    }
    assert_eq!(wrong("src/helpers/a.rs", ""), ["`helpers` is not a layer: tests/layers.rs has the table"]);
}

#[test]
fn pure_layers_touch_nothing_outside() {
    let refused = [
        ("use tokio::time;", "tokio::time"),
        ("#[tokio::test] async fn f() {}", "tokio::test"),
        ("extern crate futures as f;", "futures"),
        ("use kube::{ResourceExt, runtime::watcher};", "kube::runtime::watcher"),
        ("fn f(a: kube::Api<Pod>) {}", "kube::Api"),
        ("use kube::*;", "kube::*"),
        ("use std::{collections::BTreeMap, fs};", "std::fs"),
        ("fn f() { std::env::var(\"A\"); }", "std::env::var"),
        ("fn f() { assert!(std::net::lookup()) }", "std::net::lookup"),
        ("use std::process::Command;", "std::process::Command"),
        ("use std::time::{Duration, Instant};", "std::time::Instant"),
        ("use std::time; fn f(a: time::SystemTime) {}", "time::SystemTime"),
        ("use std::time::{self}; fn f(a: time::Instant) {}", "time::Instant"),
        ("use k8s_openapi::jiff; fn f() { jiff::Timestamp::now(); }", "jiff::Timestamp::now"),
        ("use jiff::Timestamp as T; fn f() { T::now(); }", "T::now"),
    ];
    for (text, expected) in refused {
        for layer in LAYERS {
            let path = if layer.name.is_empty() { "src/lib.rs".to_owned() } else { format!("src/{}/a.rs", layer.name) };
            let found = wrong(&path, text);
            let paths: Vec<&str> = found.iter().filter_map(|line| line.split(": ").next()).collect();
            let due: &[&str] = if layer.pure { &[expected] } else { &[] };
            assert_eq!(paths, due, "`{}`: {text}", layer.name);
        }
    }
}

#[test]
fn render_returns_no_result() {
    for returned in ["Result<Pod, Error>", "io::Result<Pod>", "Option<Result<Pod, Error>>", "impl Fn() -> Result<A, B>"]
    {
        let text = format!("impl A {{ fn f() -> {returned} {{ g() }} }}");
        assert_eq!(wrong("src/render/a.rs", &text).len(), 1, "{returned}");
        assert_eq!(wrong("src/plan/a.rs", &text), [""; 0], "{returned}");
    }
}
