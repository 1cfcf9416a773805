//! The paths that a file names, for the tests that say which part of our code may know which.

use std::{collections::BTreeSet, mem};

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::{
    ItemExternCrate, ItemMod, ItemUse, ReturnType, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::sources::Source;

/// A path that a file names; from `crate` on where it is ours.
pub struct Mention {
    /// Its segments. `*` is the last one of a glob.
    pub path: Vec<String>,
    /// Where it is.
    pub line: usize,
    /// In the type that a function returns.
    pub is_returned: bool,
}

/// Collects what a file names.
pub struct Reader {
    module: Vec<String>,
    /// All paths: those of `use`, and those of at least two names elsewhere.
    pub mentions: Vec<Mention>,
    /// What `use` made short, or gave another name.
    pub imports: Vec<(String, Vec<String>)>,
    /// The first names of paths outside `use`: an import or a glob may be meant, or a variable.
    pub heads: BTreeSet<String>,
    in_return_type: bool,
}

impl Reader {
    /// Reads a file, with its tests if they are still there.
    pub fn read(source: &Source) -> Self {
        let module = source.module.clone();
        let mut reader =
            Self { module, mentions: Vec::new(), imports: Vec::new(), heads: BTreeSet::new(), in_return_type: false };
        reader.visit_file(&source.syntax);
        reader
    }

    /// The path as it is written, and with each import that may be meant by its first segment.
    pub fn meanings(&self, mention: &Mention) -> Vec<Vec<String>> {
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
        let [first, rest @ ..] = names else { return };
        self.heads.insert(first.to_string());
        if self.in_return_type || !rest.is_empty() {
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
