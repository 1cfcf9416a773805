//! Which layer may use which, and what the pure ones may not touch.
//!
//! Tests of a layer are part of it: what they need from outside belongs in `tests/`.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used, clippy::panic)]

// Alone, since the rest of tests/support needs kube, which takes long to link.
#[allow(dead_code)]
#[path = "support/sources.rs"]
mod sources;

use std::mem;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use sources::Source;
use syn::{
    ItemExternCrate, ItemMod, ItemUse, ReturnType, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

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
    // Grammars of `plan`, no decisions.
    Layer { name: "remote", may_use: Only(&["api", "plan::git", "plan::image"]), pure: false, infallible: false },
    Layer { name: "view", may_use: Only(&["api", "plan"]), pure: true, infallible: false },
    Layer {
        name: "runner",
        // Words and names of `plan`, no decisions.
        may_use: Only(&[
            "api",
            "plan::dependency",
            "plan::failure",
            "plan::image",
            "plan::job",
            "plan::observed",
            "plan::path",
            "plan::recipe",
            "plan::text",
            "outcome",
            "remote",
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

/// A path that a file names; from `crate` on where it is ours.
struct Mention {
    path: Vec<String>,
    line: usize,
    /// In the type that a function returns.
    is_returned: bool,
}

/// Collects what a file names.
struct Reader {
    module: Vec<String>,
    mentions: Vec<Mention>,
    /// What `use` made short, or gave another name.
    imports: Vec<(String, Vec<String>)>,
    in_return_type: bool,
}

impl Reader {
    fn read(source: &Source) -> Self {
        let module = source.module.clone();
        let mut reader = Self { module, mentions: Vec::new(), imports: Vec::new(), in_return_type: false };
        reader.visit_file(&source.syntax);
        reader
    }

    /// The path as it is written, and with each import that may be meant by its first segment.
    fn meanings(&self, mention: &Mention) -> Vec<Vec<String>> {
        let mut meanings = vec![mention.path.clone()];
        if let [first, rest @ ..] = mention.path.as_slice() {
            let meant = self.imports.iter().filter(|(name, _)| name == first);
            meanings.extend(meant.map(|(_, path)| [path.as_slice(), rest].concat()));
        }
        meanings
    }

    fn mention(&mut self, path: &[String], span: Span) {
        let (path, line) = (self.absolute(path), span.start().line);
        self.mentions.push(Mention { path, line, is_returned: self.in_return_type });
    }

    fn import(&mut self, name: &str, path: &[String], span: Span) {
        self.imports.push((name.to_owned(), self.absolute(path)));
        self.mention(path, span);
    }

    fn absolute(&self, path: &[String]) -> Vec<String> {
        let mut module = self.module.clone();
        let mut rest = path;
        while let [first, after @ ..] = rest {
            match first.as_str() {
                "self" => {}
                "super" => drop(module.pop()),
                _ => break,
            }
            rest = after;
        }
        if rest.len() == path.len() { path.to_vec() } else { [&["crate".to_owned()], &*module, rest].concat() }
    }

    fn use_tree(&mut self, tree: &UseTree, before: &[String]) {
        let then = |name: &Ident| match name.to_string() {
            // `use a::{self}` is `use a`.
            own if own == "self" && !before.is_empty() => before.to_vec(),
            other => [before, &[other]].concat(),
        };
        match tree {
            UseTree::Path(path) => self.use_tree(&path.tree, &then(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.use_tree(tree, before)),
            UseTree::Glob(glob) => self.mention(&[before, &["*".to_owned()]].concat(), glob.span()),
            UseTree::Name(name) => {
                let path = then(&name.ident);
                self.import(path.last().map_or("", String::as_str), &path, name.span());
            }
            UseTree::Rename(rename) => self.import(&rename.rename.to_string(), &then(&rename.ident), rename.span()),
        }
    }

    /// A path outside `use`. One name alone may be a variable; if it is an import, that was mentioned.
    fn path(&mut self, names: &[Ident]) {
        if let [first, rest @ ..] = names
            && (self.in_return_type || !rest.is_empty())
        {
            self.mention(&names.iter().map(Ident::to_string).collect::<Vec<_>>(), first.span());
        }
    }

    /// What macros are given is not parsed: a path is names with `::` between them.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut names = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(name) if colons == 2 => names.push(name),
                TokenTree::Ident(name) => self.path(&mem::replace(&mut names, vec![name])),
                TokenTree::Group(group) => {
                    self.path(&mem::take(&mut names));
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.path(&mem::take(&mut names)),
            }
            colons = 0;
        }
        self.path(&names);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.use_tree(&item.tree, &[]);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        let name = item.rename.as_ref().map_or(&item.ident, |(_, name)| name);
        self.import(&name.to_string(), &[item.ident.to_string()], name.span());
    }

    fn visit_return_type(&mut self, returned: &'ast ReturnType) {
        let outside = mem::replace(&mut self.in_return_type, true);
        visit::visit_return_type(self, returned);
        self.in_return_type = outside;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(&path.segments.iter().map(|segment| segment.ident.clone()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.tokens(tokens.clone());
    }
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
            "crate::plan::chain: `runner` may use api, plan::dependency, plan::failure, plan::image, plan::job, plan::observed, plan::path, plan::recipe, plan::text, outcome, remote",
        ),
        (
            "src/runner/a.rs",
            "use crate::plan;",
            "crate::plan: `runner` may use api, plan::dependency, plan::failure, plan::image, plan::job, plan::observed, plan::path, plan::recipe, plan::text, outcome, remote",
        ),
        (
            "src/runner/a.rs",
            "use crate::runtime::clock;",
            "crate::runtime::clock: `runner` may use api, plan::dependency, plan::failure, plan::image, plan::job, plan::observed, plan::path, plan::recipe, plan::text, outcome, remote",
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
