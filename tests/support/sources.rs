//! The files of `src/` as syntax, for the tests that measure our own code.

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, ImplItem, Item, ItemConst, ItemEnum, ItemExternCrate, ItemFn, ItemImpl, ItemMacro, ItemMod, ItemStatic,
    ItemStruct, ItemTrait, ItemType, ItemUse,
};

/// A Rust file.
pub struct Source {
    /// From the root of the repository, or what a test calls its snippet.
    pub path: String,
    /// Where the file is in the crate: `["plan", "status"]`; empty for the roots.
    pub module: Vec<String>,
    /// How many lines it has.
    pub lines: usize,
    /// What it says.
    pub syntax: syn::File,
}

impl Source {
    /// Reads text as the file of that path, which need not exist.
    pub fn new(path: &str, text: &str) -> Self {
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), module: module(path), lines: text.lines().count(), syntax }
    }
}

/// Every file under `src/`, by path.
pub fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = rust_files(&root.join("src"));
    files.sort();
    let source = |file: &PathBuf| {
        let path = file.strip_prefix(root).expect("a file of ours").to_str().expect("a readable path");
        Source::new(path, &fs::read_to_string(file).expect("text"))
    };
    files.iter().map(source).collect()
}

/// The files without their tests: without the items behind `#[cfg(test)]`, and without the files that these declare.
pub fn code(sources: Vec<Source>) -> Vec<Source> {
    let test_files: Vec<Vec<String>> = sources.iter().flat_map(test_files_of).collect();
    let is_code = |source: &Source| !test_files.iter().any(|file| source.module.starts_with(file));
    let mut code: Vec<Source> = sources.into_iter().filter(is_code).collect();
    for source in &mut code {
        leave_tests_out(&mut source.syntax.items);
    }
    code
}

fn leave_tests_out(items: &mut Vec<Item>) {
    items.retain(|item| !is_for_tests(attributes(item)));
    for item in items {
        match item {
            Item::Mod(ItemMod { content: Some((_, inside)), .. }) => leave_tests_out(inside),
            Item::Impl(block) => block.items.retain(|item| match item {
                ImplItem::Fn(function) => !is_for_tests(&function.attrs),
                _ => true,
            }),
            _ => {}
        }
    }
}

/// The files that a file declares for tests alone: `#[cfg(test)] mod …;`.
pub fn test_files_of(source: &Source) -> Vec<Vec<String>> {
    let modules = source.syntax.items.iter().filter_map(test_module).filter(|module| module.content.is_none());
    modules.map(|module| [source.module.as_slice(), &[module.ident.to_string()]].concat()).collect()
}

/// A module that is compiled for tests alone.
pub fn test_module(item: &Item) -> Option<&ItemMod> {
    match item {
        Item::Mod(module) if is_for_tests(&module.attrs) => Some(module),
        _ => None,
    }
}

/// `#[cfg(test)]` is among them.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    let says_test = |attribute: &Attribute| attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"));
    attributes.iter().any(|attribute| attribute.path().is_ident("cfg") && says_test(attribute))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(ItemConst { attrs, .. })
        | Item::Enum(ItemEnum { attrs, .. })
        | Item::ExternCrate(ItemExternCrate { attrs, .. })
        | Item::Fn(ItemFn { attrs, .. })
        | Item::Impl(ItemImpl { attrs, .. })
        | Item::Macro(ItemMacro { attrs, .. })
        | Item::Mod(ItemMod { attrs, .. })
        | Item::Static(ItemStatic { attrs, .. })
        | Item::Struct(ItemStruct { attrs, .. })
        | Item::Trait(ItemTrait { attrs, .. })
        | Item::Type(ItemType { attrs, .. })
        | Item::Use(ItemUse { attrs, .. }) => attrs,
        _ => &[],
    }
}

/// The Rust files in a folder and in those below it.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let here = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    here.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}

fn module(path: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
    let is_folder = module.last().is_some_and(|name| name == "mod");
    if is_folder || module == ["lib"] || module == ["main"] {
        module.pop();
    }
    module
}
