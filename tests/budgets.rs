//! How long functions and files may be. Tests count only in the share of lines that they are.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used, clippy::panic)]

// Alone, since the rest of tests/support needs kube, which takes long to link.
#[allow(dead_code)]
#[path = "support/sources.rs"]
mod sources;

use std::{fmt, fs, ops::RangeInclusive, path::Path};

use sources::{Source, is_for_tests, test_files_of, test_module};
use syn::{
    Block, ImplItemFn, ItemFn, ItemMod, Signature, TraitItemFn,
    spanned::Spanned,
    visit::{self, Visit},
};

const LONGEST_FUNCTION: usize = 60;
const MEDIAN_FUNCTION: usize = 10;
/// As few functions as this say nothing of the rest.
const TOO_FEW_FOR_A_MEDIAN: usize = 50;
const LONGEST_FILE: usize = 500;

#[test]
fn functions_and_files_are_short() {
    let figures = Figures::of(&sources::all(), lines_of_test_crates());
    println!("{figures}");
    let found = figures.excesses();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn lines_of_test_crates() -> usize {
    let files = sources::rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    files.iter().map(|file| fs::read_to_string(file).expect("text").lines().count()).sum()
}

struct Measured {
    lines: usize,
    /// As a message says it.
    what: String,
}

/// What is known of all code. Functions and files are without tests, the longest function is the last.
struct Figures {
    functions: Vec<Measured>,
    files: Vec<Measured>,
    lines_in_tests: usize,
}

impl Figures {
    fn of(sources: &[Source], lines_of_test_crates: usize) -> Self {
        let test_files: Vec<Vec<String>> = sources.iter().flat_map(test_files_of).collect();
        let is_for_tests = |source: &&Source| test_files.iter().any(|file| source.module.starts_with(file));
        let (for_tests, code): (Vec<_>, Vec<_>) = sources.iter().partition(is_for_tests);
        let mut functions: Vec<_> = code.iter().flat_map(|source| functions(source)).collect();
        functions.sort_by_key(|function| function.lines);
        let files: Vec<_> = code.iter().map(|source| file(source)).collect();
        let in_files: usize = code.iter().map(|source| lines_in_tests(source)).sum();
        let in_test_files: usize = for_tests.iter().map(|source| source.lines).sum();
        Self { functions, files, lines_in_tests: in_files + in_test_files + lines_of_test_crates }
    }

    fn median(&self) -> usize {
        self.functions.get(self.functions.len() / 2).map_or(0, |function| function.lines)
    }

    fn excesses(&self) -> Vec<String> {
        let over = |measured: &[Measured], most: usize| -> Vec<String> {
            let over = measured.iter().filter(|measured| measured.lines > most);
            over.map(|Measured { lines, what }| format!("{what}: {lines} lines, at most {most}")).collect()
        };
        let mut found = over(&self.functions, LONGEST_FUNCTION);
        found.extend(over(&self.files, LONGEST_FILE));
        if self.functions.len() > TOO_FEW_FOR_A_MEDIAN && self.median() > MEDIAN_FUNCTION {
            found.push(format!("the median function: {} lines, at most {MEDIAN_FUNCTION}", self.median()));
        }
        found
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code: usize = self.files.iter().map(|file| file.lines).sum();
        let share = 100 * self.lines_in_tests / (code + self.lines_in_tests).max(1);
        write!(out, "budgets: {} functions, median {} lines, ", self.functions.len(), self.median())?;
        if let Some(longest) = self.functions.last() {
            write!(out, "longest {} ({}), ", longest.lines, longest.what)?;
        }
        write!(out, "{share} % of {} lines in tests", code + self.lines_in_tests)
    }
}

/// The lines of a file that are not tests.
fn file(source: &Source) -> Measured {
    Measured { lines: source.lines - lines_in_tests(source), what: source.path.clone() }
}

fn lines_in_tests(source: &Source) -> usize {
    let modules = source.syntax.items.iter().filter_map(test_module);
    modules.map(|module| length(&lines_of(module))).sum()
}

fn functions(source: &Source) -> Vec<Measured> {
    let mut functions = Functions { path: &source.path, found: Vec::new() };
    functions.visit_file(&source.syntax);
    functions.found
}

struct Functions<'source> {
    path: &'source str,
    found: Vec<Measured>,
}

impl Functions<'_> {
    /// From `fn` to the closing brace, with comments, without what stands before.
    fn add(&mut self, signature: &Signature, body: &Block) {
        let lines = *lines_of(signature).start()..=*lines_of(body).end();
        let what = format!("{}:{} {}", self.path, lines.start(), signature.ident);
        self.found.push(Measured { lines: length(&lines), what });
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn lines_of(syntax: &impl Spanned) -> RangeInclusive<usize> {
    syntax.span().start().line..=syntax.span().end().line
}

fn length(lines: &RangeInclusive<usize>) -> usize {
    lines.end() + 1 - lines.start()
}

/// A function of that many lines.
fn function(lines: usize) -> String {
    format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2))
}

fn figures(text: &str) -> Figures {
    Figures::of(&[Source::new("src/plan/a.rs", text)], 0)
}

#[test]
fn a_function_is_measured_from_its_name_to_its_brace() {
    let text = "/// Text.\n#[must_use]\npub fn f(\n    a: u8,\n) -> u8 {\n    // Why.\n    a\n}";
    let found: Vec<_> = figures(text).functions.iter().map(|one| (one.lines, one.what.clone())).collect();
    assert_eq!(found, [(6, "src/plan/a.rs:3 f".to_owned())]);
}

#[test]
fn methods_and_nested_functions_are_measured_and_tests_are_not() {
    let text = "impl A { fn a() { fn b() {} } }\ntrait T { fn c() {} fn d(); }\nmod m { fn e() {} }\n\
                #[cfg(test)]\nmod tests { fn not() {} }\n#[cfg(not(test))]\nmod real { fn g() {} }";
    assert_eq!(figures(text).functions.len(), 5);
}

#[test]
fn long_functions_and_files_are_refused() {
    assert_eq!(figures(&function(60)).excesses(), [""; 0]);
    assert_eq!(figures(&function(61)).excesses(), ["src/plan/a.rs:1 f: 61 lines, at most 60"]);
    assert_eq!(figures(&"const A: u8 = 0;\n".repeat(500)).excesses(), [""; 0]);
    assert_eq!(figures(&"const A: u8 = 0;\n".repeat(501)).excesses(), ["src/plan/a.rs: 501 lines, at most 500"]);
}

#[test]
fn the_median_counts_once_there_are_enough_functions() {
    assert_eq!(figures(&function(10).repeat(45)).excesses(), [""; 0]);
    let (few, enough) =
        (function(11).repeat(25) + &function(3).repeat(25), function(11).repeat(26) + &function(3).repeat(25));
    assert_eq!(figures(&few).excesses(), [""; 0]);
    assert_eq!(figures(&enough).excesses(), ["the median function: 11 lines, at most 10"]);
}

#[test]
fn tests_are_no_part_of_a_file_wherever_they_are() {
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(600));
    let inside = figures(&format!("{}{tests}", "const A: u8 = 0;\n".repeat(397)));
    assert_eq!(inside.excesses(), [""; 0]);
    assert!(inside.to_string().ends_with("60 % of 1000 lines in tests"), "{inside}");

    let beside = [
        Source::new("src/plan/a.rs", "#[cfg(test)]\nmod tests;\n"),
        Source::new("src/plan/a/tests.rs", &function(700)),
    ];
    assert_eq!(Figures::of(&beside, 0).excesses(), [""; 0]);
}
