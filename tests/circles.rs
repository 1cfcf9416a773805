//! No circle of files under `src/`: where two files need each other, neither can be read, tested or moved alone.
//!
//! A file needs another one if its code names an item that is defined there, by `use` or by a path. `mod` alone
//! names nothing, a re-export counts for the file that it leads to, tests do not count. Method calls and the
//! paths within string literals are not seen. A module and the modules in it are files like any others: if a
//! child names what its parent defines, and the parent names what the child defines, that is a circle.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used, clippy::panic)]

// Alone, since the rest of tests/support needs kube, which takes long to link.
#[allow(dead_code)]
#[path = "support/paths.rs"]
mod paths;
#[allow(dead_code)]
#[path = "support/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};

use paths::Reader;
use proc_macro2::{TokenStream, TokenTree};
use sources::Source;
use syn::Item;

#[test]
fn no_two_files_need_each_other() {
    let found = Graph::of(&Modules::of(&sources::code(sources::all()))).circles();
    assert!(found.is_empty(), "{} circles:\n{}", found.len(), found.join("\n"));
}

/// The files of the crate by their modules.
struct Modules(BTreeMap<Vec<String>, Module>);

struct Module {
    /// Of its file.
    path: String,
    names: Reader,
    /// The names of the items in the file.
    defined: BTreeSet<String>,
}

impl Modules {
    fn of(sources: &[Source]) -> Self {
        // The program is a crate of its own, which no path of ours leads to.
        let files = sources.iter().filter(|source| source.path != "src/main.rs");
        Self(files.map(|source| (source.module.clone(), Module::of(source))).collect())
    }

    /// The name is a module's, an item's or an import's there.
    fn knows(&self, module: &[String], name: &str) -> bool {
        let is_item = |here: &Module| here.defined.contains(name) || here.imported(name).next().is_some();
        self.0.contains_key(&child(module, name)) || self.0.get(module).is_some_and(is_item)
    }
}

impl Module {
    fn of(source: &Source) -> Self {
        let names = Reader::read(source);
        let is_imported = |name: &String| names.imports.iter().any(|(own, _)| own == name);
        let in_macros = source.syntax.items.iter().flat_map(given_to_macro).filter(|name| !is_imported(name));
        let defined = source.syntax.items.iter().filter_map(defined).chain(in_macros).collect();
        Self { path: source.path.clone(), names, defined }
    }

    /// What `use` calls by that name.
    fn imported(&self, name: &str) -> impl Iterator<Item = &Vec<String>> {
        self.names.imports.iter().filter(move |(own, _)| own == name).map(|(_, path)| path)
    }

    /// The modules of which it imports everything.
    fn globs(&self) -> impl Iterator<Item = &[String]> {
        self.names.mentions.iter().filter_map(|mention| match mention.path.as_slice() {
            [module @ .., last] if last == "*" => Some(module),
            _ => None,
        })
    }

    /// The paths that may lead to another file.
    fn paths(&self) -> impl Iterator<Item = Vec<String>> {
        let names_item = |path: &Vec<String>| path.last().is_some_and(|last| last != "*");
        let written = self.names.mentions.iter().map(|mention| mention.path.clone()).filter(names_item);
        // One name alone is an import, which is written already, or comes by a glob.
        written.chain(self.names.heads.iter().map(|name| vec![name.clone()]))
    }
}

fn child(module: &[String], name: &str) -> Vec<String> {
    [module, &[name.to_owned()]].concat()
}

/// The name that an item has in its module.
fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Mod(item) if item.content.is_some() => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// The names that a macro is given: those of the items that it makes are among them.
fn given_to_macro(item: &Item) -> Vec<String> {
    match item {
        Item::Macro(item) if item.ident.is_none() => names_in(item.mac.tokens.clone()),
        _ => Vec::new(),
    }
}

fn names_in(tokens: TokenStream) -> Vec<String> {
    let names = |token| match token {
        TokenTree::Ident(name) => vec![name.to_string()],
        TokenTree::Group(group) => names_in(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => Vec::new(),
    };
    tokens.into_iter().flat_map(names).collect()
}

/// Finds where what a path names is defined, through all re-exports.
struct Search<'m> {
    modules: &'m Modules,
    /// What was followed already: re-exports may lead to each other.
    seen: BTreeSet<(Vec<String>, Vec<String>)>,
    /// File and name; two where a name is a type in one place and a macro or a module in another.
    found: BTreeSet<(&'m str, String)>,
}

/// Whether a name that no item has is taken for one that an attribute makes, as `CustomResource` does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    IsGenerated,
    /// By a glob nothing is sure to be there.
    IsElsewhere,
}

impl<'m> Search<'m> {
    fn path(modules: &'m Modules, from: &[String], path: &[String]) -> BTreeSet<(&'m str, String)> {
        let mut search = Self { modules, seen: BTreeSet::new(), found: BTreeSet::new() };
        search.follow(from, path, Unknown::IsGenerated);
        search.found
    }

    fn follow(&mut self, from: &[String], path: &[String], unknown: Unknown) {
        match path {
            [root, rest @ ..] if root == "crate" => self.inside(&[], rest, unknown),
            [first, ..] if self.modules.knows(from, first) => self.inside(from, path, unknown),
            // Of another crate or the language, or a variable.
            _ if unknown == Unknown::IsGenerated => self.globs(from, path),
            _ => {}
        }
    }

    fn inside(&mut self, module: &[String], path: &[String], unknown: Unknown) {
        let [name, rest @ ..] = path else { return };
        let Some(here) = self.modules.0.get(module) else { return };
        if !self.seen.insert((module.to_vec(), path.to_vec())) {
            return;
        }
        let child = child(module, name);
        if !rest.is_empty() && self.modules.0.contains_key(&child) {
            return self.inside(&child, rest, unknown);
        }
        if here.defined.contains(name) {
            self.found.insert((&here.path, name.clone()));
        }
        here.imported(name).for_each(|leads_to| self.follow(module, &[leads_to, rest].concat(), unknown));
        if self.modules.knows(module, name) {
            return;
        }
        let before = self.found.len();
        self.globs(module, path);
        if unknown == Unknown::IsGenerated && self.found.len() == before {
            self.found.insert((&here.path, name.clone()));
        }
    }

    fn globs(&mut self, module: &[String], path: &[String]) {
        let Some(here) = self.modules.0.get(module) else { return };
        here.globs().for_each(|glob| self.follow(module, &[glob, path].concat(), Unknown::IsElsewhere));
    }
}

/// Which file needs which, and the names for which it does.
struct Graph<'m>(BTreeMap<&'m str, BTreeMap<&'m str, BTreeSet<String>>>);

impl<'m> Graph<'m> {
    fn of(modules: &'m Modules) -> Self {
        let mut graph = Self(BTreeMap::new());
        for (module, file) in &modules.0 {
            for (to, name) in file.paths().flat_map(|path| Search::path(modules, module, &path)) {
                if to != file.path {
                    graph.0.entry(&file.path).or_default().entry(to).or_default().insert(name);
                }
            }
        }
        graph
    }

    /// The files to which arrows lead from a file, over others or not.
    fn reached(&self, from: &'m str) -> BTreeSet<&'m str> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            let arrows = self.0.get(file).into_iter().flatten();
            next.extend(arrows.map(|(&to, _)| to).filter(|to| reached.insert(*to)));
        }
        reached
    }

    /// The largest sets of files in which each leads to each, with the arrows within.
    fn circles(&self) -> Vec<String> {
        let reached: BTreeMap<&str, BTreeSet<&str>> = self.0.keys().map(|&file| (file, self.reached(file))).collect();
        let leads = |from: &str, to: &str| reached.get(from).is_some_and(|reached| reached.contains(to));
        let with = |file: &str| -> BTreeSet<&str> {
            self.0.keys().copied().filter(|other| leads(file, other) && leads(other, file)).collect()
        };
        let circles: BTreeSet<BTreeSet<&str>> =
            self.0.keys().map(|file| with(file)).filter(|files| !files.is_empty()).collect();
        circles.iter().map(|files| self.arrows(files)).collect()
    }

    /// A line per arrow between these files.
    fn arrows(&self, files: &BTreeSet<&str>) -> String {
        let mut lines = vec![format!("{} files:", files.len())];
        for from in files {
            let arrows = self.0.get(from).into_iter().flatten().filter(|(to, _)| files.contains(*to));
            lines.extend(arrows.map(|(to, names)| {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("  {from} -> {to}: {}", names.join(", "))
            }));
        }
        lines.join("\n")
    }
}

/// The circles of files with these texts, in a crate.
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let root = ("src/lib.rs", "mod a; mod b; mod c; mod d; mod e;");
    let sources = [&[root], files].concat().iter().map(|(path, text)| Source::new(path, text)).collect();
    Graph::of(&Modules::of(&sources::code(sources))).circles()
}

/// The arrows of a file to others, all of which need it.
fn arrows((from, text): (&str, &str), others: &[(&str, &str)]) -> Vec<String> {
    let back = format!("use {}::Back;", module_of(from));
    let texts: Vec<String> = others.iter().map(|(_, text)| format!("{text}\n{back}")).collect();
    let others = others.iter().zip(&texts).map(|((path, _), text)| (*path, text.as_str()));
    let files: Vec<(&str, &str)> = others.chain([(from, text)]).collect();
    let found = circles(&files).join("\n");
    let own = found.lines().filter_map(|line| line.trim().strip_prefix(&format!("{from} -> ")));
    own.map(str::to_owned).collect()
}

fn module_of(path: &str) -> String {
    format!("crate::{}", Source::new(path, "").module.join("::")).trim_end_matches(':').to_owned()
}

#[test]
fn a_circle_is_reported_with_its_arrows_and_their_names() {
    let files = [
        ("src/a.rs", "use crate::b::{B, f}; pub struct A; fn g(d: super::d::D) {}"),
        ("src/b.rs", "use crate::c::C; pub struct B; pub fn f() {}"),
        ("src/c.rs", "use crate::a::A; pub struct C;"),
        ("src/d.rs", "use crate::e::E; pub struct D;"),
        ("src/e.rs", "use crate::d::D; pub struct E;"),
    ];
    let expected = [
        "3 files:\n  src/a.rs -> src/b.rs: B, f\n  src/b.rs -> src/c.rs: C\n  src/c.rs -> src/a.rs: A",
        "2 files:\n  src/d.rs -> src/e.rs: E\n  src/e.rs -> src/d.rs: D",
    ];
    assert_eq!(circles(&files), expected);
}

#[test]
fn circles_that_share_a_file_are_one() {
    let files = [
        ("src/a.rs", "use crate::{b::B, c::C}; pub struct A;"),
        ("src/b.rs", "use crate::a::A; pub struct B;"),
        ("src/c.rs", "use crate::a::A; pub struct C;"),
    ];
    let found = circles(&files);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("3 files:"), "{found:?}");
}

#[test]
fn a_parent_and_its_child_can_be_a_circle() {
    let child = ("src/a/b.rs", "use super::A; pub struct B;");
    let circle = ["2 files:\n  src/a/b.rs -> src/a/mod.rs: A\n  src/a/mod.rs -> src/a/b.rs: B"];
    let none: [&str; 0] = [];
    for (parent, expected) in [
        ("mod b; pub struct A;", &none[..]),
        ("mod b; pub struct A; use b::B;", &circle),
        ("mod b; pub struct A; pub use b::B;", &circle),
        ("mod b; pub struct A; fn f() -> b::B { b::B }", &circle),
        // What the child takes from its parent is not the parent's own.
        ("mod b; use b::B; use std::fmt::Arguments as A;", &none),
    ] {
        assert_eq!(circles(&[("src/a/mod.rs", parent), child]), expected, "{parent}");
    }
}

#[test]
fn files_that_do_not_need_each_other_are_no_circle() {
    let back = "use crate::a::A; pub struct B; impl B { pub fn f(&self) {} }";
    for text in [
        "",
        "mod b;",
        "use crate::b;",
        "use crate::b as other; use super::b::{self};",
        "use std::b::B; use b::B as C; fn f(b: Vec<B>) {}",
        "fn f(b: impl Into<u8>) { b.f(); let b = 1; g(b) }",
        "// crate::b::B\n/// [`crate::b::B`]\nconst C: &str = \"crate::b::B\";",
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "#[cfg(test)] use crate::b::B; #[cfg(test)] fn f() { crate::b::f() }",
        "mod inner { #[cfg(test)] mod tests { use crate::b::B; } }",
        "impl A { #[cfg(test)] fn f() -> crate::b::B { g() } }",
        "pub(in crate::b) struct C;",
        "fn f() { Self::B; self::B }",
    ] {
        let text = format!("pub struct A; {text}");
        assert_eq!(circles(&[("src/a.rs", &text), ("src/b.rs", back)]), [""; 0], "{text}");
    }
    let declared = [
        ("src/a.rs", "#[cfg(test)] mod tests; pub struct A; pub fn f() {}"),
        ("src/a/tests.rs", "mod deep; use super::*;"),
        ("src/a/tests/deep.rs", "use crate::b::B;"),
        ("src/b.rs", back),
    ];
    assert_eq!(circles(&declared), [""; 0]);
}

#[test]
fn an_item_is_found_however_it_is_named() {
    let b = "pub struct B; pub enum E { One } pub fn f() {} pub const C: u8 = 1; pub mod inner { pub struct I; }";
    for (text, names) in [
        ("use crate::b::B;", "B"),
        ("use super::b::B as _;", "B"),
        ("use crate::{b::{B, f as g}};", "B, f"),
        ("use crate::b::E::One;", "E"),
        ("use crate::b::inner::I;", "inner"),
        ("use crate::b::*; fn g(b: B) { C }", "B, C"),
        ("use crate::*; fn g() { b::f() }", "f"),
        ("use crate::b; fn g() { b::f() }", "f"),
        ("use crate::b as other; fn g() -> other::B { h() }", "B"),
        ("use crate::b::{self}; static D: u8 = b::C;", "C"),
        ("fn g(b: &[super::b::B]) {}", "B"),
        ("fn g() { crate::b::B::new::<u8>() }", "B"),
        ("fn g() { super::b::E::One }", "E"),
        ("fn g() { use crate::b::f; f() }", "f"),
        ("fn g() { println!(\"{}\", crate::b::C) }", "C"),
        ("macro_rules! m { () => { $crate::b::f() } }", "f"),
        ("impl crate::b::B { fn g() {} }", "B"),
        ("impl From<super::b::B> for A {}", "B"),
        ("mod inner { fn g() { super::super::b::f() } }", "f"),
        ("#[cfg(not(test))] use crate::b::B;", "B"),
        // Attributes make items that are in no text.
        ("use crate::b::Generated;", "Generated"),
        ("use crate::b; fn g() -> b::Generated { h() }", "Generated"),
    ] {
        let expected = [format!("src/b.rs: {names}")];
        assert_eq!(arrows(("src/a.rs", text), &[("src/b.rs", b)]), expected, "{text}");
    }
}

#[test]
fn a_re_export_counts_for_the_file_it_leads_to() {
    let folder = |text| ("src/b/mod.rs", text);
    let (c, d) = (("src/b/c.rs", "mod d; pub struct C; pub fn c() {} words! { W }"), ("src/b/c/d.rs", "pub struct D;"));
    for (text, parent, expected) in [
        ("use crate::b::C;", "mod c; pub use c::C;", "src/b/c.rs: C"),
        ("use crate::b::{C as X};", "mod c; pub use self::c::C;", "src/b/c.rs: C"),
        ("use crate::b::Y;", "mod c; pub use crate::b::c::C as Y;", "src/b/c.rs: C"),
        ("use crate::b; fn g(c: b::C) {}", "mod c; pub use c::{C};", "src/b/c.rs: C"),
        ("use super::b::C;", "mod c; use c::C;", "src/b/c.rs: C"),
        ("use crate::b::C;", "mod c; pub use c::*;", "src/b/c.rs: C"),
        ("use crate::b::W;", "mod c; pub use c::*;", "src/b/c.rs: W"),
        ("use crate::b::*; fn g() -> C { h() }", "mod c; pub use c::*;", "src/b/c.rs: C"),
        ("use crate::b::C;", "mod c; use c::C; words! { C }", "src/b/c.rs: C"),
        ("use crate::b::P;", "mod c; pub use c::*; pub struct P;", "src/b/mod.rs: P"),
        ("use crate::b::other::C;", "mod c; pub use self::c as other;", "src/b/c.rs: C"),
        ("use crate::b::D;", "mod c; pub use c::d::D;", "src/b/c/d.rs: D"),
        // A function that is called as its module is, and a type as a macro.
        ("use crate::b; fn g() { b::c() }", "mod c; pub use c::c;", "src/b/c.rs: c"),
        ("use crate::b::c; fn g() { c() }", "mod c; pub use c::c;", "src/b/c.rs: c"),
        (
            "use crate::b::Error;",
            "mod c; use thiserror::Error; #[derive(Error)] pub struct Error;",
            "src/b/mod.rs: Error",
        ),
    ] {
        assert_eq!(arrows(("src/a.rs", text), &[folder(parent), c, d]), [expected], "{text} {parent}");
    }
    let elsewhere = [
        ("use crate::b::Duration;", "use std::time::Duration;"),
        ("use crate::b::c;", "pub mod c;"),
        ("use crate::b::X;", "mod c; pub use c::Y as X; pub use self::X as Y;"),
    ];
    for (text, parent) in elsewhere {
        let found = arrows(("src/a.rs", text), &[folder(parent), ("src/b/c.rs", "pub use super::X as Y;")]);
        assert_eq!(found, [""; 0], "{text} {parent}");
    }
}
