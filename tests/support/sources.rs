//! The files of `src/` as syntax, for the tests that measure our own code.

use std::{
    fs,
    path::{Path, PathBuf},
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
