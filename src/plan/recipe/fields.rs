//! The fields of one object in a spec while it is validated: each is read into its valid form, and what is wrong with
//! it is noted with its path.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use super::variables::{SecretKey, Variables};
use crate::{
    api::common::{RelativePath, SecretVariable, Text},
    plan::{
        path::SourcePath,
        placeholder::{Placeholder, Template},
        validate::problem::Problems,
    },
};

/// The fields below one path.
pub struct Fields<'a> {
    path: String,
    /// The placeholders that have a value here.
    placeholders: &'a BTreeSet<Placeholder>,
    problems: &'a mut Problems,
}

impl<'a> Fields<'a> {
    /// The fields of the object at a path.
    #[must_use]
    pub const fn new(path: String, placeholders: &'a BTreeSet<Placeholder>, problems: &'a mut Problems) -> Self {
        Self { path, placeholders, problems }
    }

    /// The fields of an object that is one of these.
    #[must_use]
    pub fn below(&mut self, field: &str) -> Fields<'_> {
        Fields { path: format!("{}.{field}", self.path), placeholders: self.placeholders, problems: self.problems }
    }

    /// Notes that something is wrong with the object itself.
    pub fn add(&mut self, message: impl fmt::Display) {
        self.problems.add(&self.path, message);
    }

    /// The value, or a noted problem.
    pub fn take<T, E: fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        self.problems.take(format_args!("{}.{field}", self.path), result)
    }

    /// A text with a grammar.
    pub fn parse<T: FromStr<Err: fmt::Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        self.take(field, text.parse())
    }

    /// A path that may be left out.
    pub fn optional_path(&mut self, field: &str, written: Option<&RelativePath>) -> Option<Option<SourcePath>> {
        match written {
            Some(text) => self.parse(field, &text.0).map(Some),
            None => Some(None),
        }
    }

    /// Paths, in their order.
    pub fn paths(&mut self, field: &str, written: &[RelativePath]) -> Option<Vec<SourcePath>> {
        // All are read before one that is wrong ends it: every problem is reported.
        let mut valid = Vec::new();
        for (index, text) in written.iter().enumerate() {
            valid.push(self.parse(&format!("{field}[{index}]"), &text.0));
        }
        valid.into_iter().collect()
    }

    /// Texts with placeholders, in their order.
    pub fn texts(&mut self, field: &str, written: &[Text]) -> Option<Vec<Template>> {
        let mut valid = Vec::new();
        for (index, text) in written.iter().enumerate() {
            valid.push(self.text(&format!("{field}[{index}]"), &text.0));
        }
        valid.into_iter().collect()
    }

    /// A text with placeholders.
    pub fn text(&mut self, field: &str, text: &str) -> Option<Template> {
        let template: Template = self.parse(field, text)?;
        let path = format!("{}.{field}", self.path);
        for placeholder in template.placeholders().filter(|each| !self.placeholders.contains(each)) {
            let reason = match placeholder {
                Placeholder::ImageLocal => "has a value in tests only: nothing is built yet",
                Placeholder::ParentTag => "has a value only where from is an image with a tag: use $(parent.digest)",
                Placeholder::LinkName | Placeholder::ChainName => "has no value: a single build belongs to no chain",
                Placeholder::File(_) => "has no value: files has none of that name",
                _ if self.placeholders.contains(&Placeholder::ParentBox) => {
                    "has no value: from is a file, and in no registry: use $(parent.box) or $(parent.disk)"
                }
                _ => "has no value: the link has no from",
            };
            self.problems.add(&path, format_args!("{placeholder} {reason}"));
        }
        Some(template)
    }

    /// Variables with written values, in the field of the given name, and those of the field `secretVariables`.
    pub fn variables(
        &mut self,
        field: &str,
        written: &BTreeMap<String, Text>,
        secret: &[SecretVariable],
    ) -> Option<Variables<Template>> {
        let mut values = Some(BTreeMap::new());
        for (name, text) in written {
            let place = format!("{field}.{name}");
            self.check_name(&place, name);
            let value = self.text(&place, &text.0);
            values = values.zip(value).map(|(mut values, value)| {
                values.insert(name.clone(), value);
                values
            });
        }
        let secrets = self.secret_variables((field, written), secret);
        Some(Variables { values: values?, secrets })
    }

    fn secret_variables(
        &mut self,
        (field, written): (&str, &BTreeMap<String, Text>),
        secret: &[SecretVariable],
    ) -> BTreeMap<String, SecretKey> {
        let mut valid = BTreeMap::new();
        for (index, variable) in secret.iter().enumerate() {
            let place = format!("secretVariables[{index}].name");
            let name = variable.name.to_string();
            self.check_name(&place, &name);
            let path = format!("{}.{place}", self.path);
            if written.contains_key(&name) {
                self.problems
                    .add(&path, format_args!("«{name}» has a value in {field} already: leave one of them out"));
            }
            let reference = &variable.secret_key_ref;
            let key = SecretKey { secret: reference.name.to_string(), key: reference.key.to_string() };
            if valid.insert(name.clone(), key).is_some() {
                self.problems.add(&path, format_args!("«{name}» is there twice"));
            }
        }
        valid
    }

    fn check_name(&mut self, field: &str, name: &str) {
        let is_word = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
        let good =
            name.len() <= 128 && name.bytes().all(is_word) && !name.starts_with(|first: char| first.is_ascii_digit());
        if name.is_empty() || !good {
            let message = "the name of a variable must be letters, digits and _, not a digit first";
            self.problems.add(format_args!("{}.{field}", self.path), message);
        }
    }
}
