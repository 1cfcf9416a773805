//! Placeholders in values: a closed list, put in as text. No shell and no template engine reads them.

use std::{borrow::Cow, fmt, str::FromStr};

use thiserror::Error;

use super::name::is_label;

/// What the placeholders of files begin with.
const FILES: &str = "files.";

/// Declares the placeholders with their names; those of files have names that a link gives them.
macro_rules! placeholders {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// What can be put into a value.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Placeholder {
            $($(#[$doc])+ $variant,)+
            /// The path of a file of `files`, by its name.
            File(String),
        }

        impl Placeholder {
            /// Every placeholder but those of files.
            pub const FIXED: &'static [Self] = &[$(Self::$variant,)+];

            /// What stands between `$(` and `)`.
            #[must_use]
            pub fn name(&self) -> Cow<'static, str> {
                match self {
                    $(Self::$variant => Cow::Borrowed($name),)+
                    Self::File(name) => Cow::Owned(format!("{FILES}{name}")),
                }
            }

            fn of(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => {
                        let file = name.strip_prefix(FILES).filter(|file| is_label(file))?;
                        Some(Self::File(file.to_owned()))
                    }
                }
            }
        }
    };
}

placeholders! {
    /// The parent as repository@digest.
    ParentReference = "parent.reference",
    /// The parent's repository.
    ParentRepository = "parent.repository",
    /// The parent's tag as the chain writes it; only where `from` is an image.
    ParentTag = "parent.tag",
    /// The parent's digest.
    ParentDigest = "parent.digest",
    /// The name under which the build's engine finds the parent.
    ParentLocal = "parent.local",
    /// The path of the parent's file; only where the parent is a box.
    ParentBox = "parent.box",
    /// The path of the parent's disk, unpacked; only where the parent is a box.
    ParentDisk = "parent.disk",
    /// The checksum of that disk, as packer's `iso_checksum` takes it; only where the parent is a box.
    ParentChecksum = "parent.checksum",
    /// The name under which the build's engine finds what was built; only in tests.
    ImageLocal = "image.local",
    /// The name of the link.
    LinkName = "link.name",
    /// The name of the chain.
    ChainName = "chain.name",
    /// The name of the build.
    BuildName = "build.name",
    /// The commit of a git source, or the hash of another's content.
    SourceRevision = "source.revision",
    /// The folder in the pod that all paths are relative to.
    SourcePath = "source.path",
}

impl fmt::Display for Placeholder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "$({})", self.name())
    }
}

/// What is wrong with a placeholder.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlaceholderError {
    /// It is not on the list.
    #[error("holds $({0}), which is none of the placeholders {list}: write $$({0}) if it is meant as it stands", list = list())]
    Unknown(String),
    /// It does not end.
    #[error("holds $( without a ): write $$( if it is meant as it stands")]
    Unclosed,
}

fn list() -> String {
    let names: Vec<_> = Placeholder::FIXED.iter().map(ToString::to_string).collect();
    format!("{}, $({FILES}NAME)", names.join(", "))
}

/// A value with its placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Placeholder),
}

impl FromStr for Template {
    type Err = PlaceholderError;

    fn from_str(text: &str) -> Result<Self, PlaceholderError> {
        Self::parse(text)
    }
}

impl Template {
    /// Reads a value. `$$(` stands for `$(`; any other `$` stands for itself.
    ///
    /// # Errors
    /// What is wrong with its first wrong placeholder.
    pub fn parse(text: &str) -> Result<Self, PlaceholderError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("$(") {
            if let Some(before) = before.strip_suffix('$') {
                pieces.push(Piece::Text(format!("{before}$(")));
                rest = after;
                continue;
            }
            let (name, after) = after.split_once(')').ok_or(PlaceholderError::Unclosed)?;
            let found = Placeholder::of(name).ok_or_else(|| PlaceholderError::Unknown(name.to_owned()))?;
            pieces.extend([Piece::Text(before.to_owned()), Piece::Value(found)]);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The placeholders, as often as they stand there.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Value(placeholder) => Some(placeholder),
            Piece::Text(_) => None,
        })
    }

    /// The value, if it has no placeholder.
    #[must_use]
    pub fn plain(&self) -> Option<String> {
        self.placeholders().next().is_none().then(|| self.fill(|_| Cow::Borrowed("")))
    }

    /// The value with something put in for each placeholder. What is put in is not read again.
    pub fn fill<'v>(&self, value: impl Fn(&Placeholder) -> Cow<'v, str>) -> String {
        let parts = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => Cow::Borrowed(text.as_str()),
            Piece::Value(placeholder) => value(placeholder),
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(text: &str) -> Result<String, PlaceholderError> {
        Template::parse(text).map(|template| template.fill(Placeholder::name))
    }

    #[test]
    fn values_are_filled() {
        for (text, filled) in [
            ("", ""),
            ("plain $ $x ${x} `id` {0.__class__}", "plain $ $x ${x} `id` {0.__class__}"),
            ("$(link.name)", "link.name"),
            ("a$(link.name)b$(chain.name)", "alink.namebchain.name"),
            ("$$(link.name)", "$(link.name)"),
            ("$$$(link.name)", "$$(link.name)"),
            ("$(link.name)$$(x)$(build.name)", "link.name$(x)build.name"),
            ("$(files.iso):$(files.guest-additions)", "files.iso:files.guest-additions"),
        ] {
            assert_eq!(fill(text), Ok(filled.to_owned()), "{text}");
        }
    }

    #[test]
    fn others_are_named() {
        for (text, name) in [
            ("$(id)", "id"),
            ("a $(parent.Tag)", "parent.Tag"),
            ("$()", ""),
            ("$($(link.name))", "$(link.name"),
            ("$(files.)", "files."),
            ("$(files.../x)", "files.../x"),
        ] {
            assert_eq!(fill(text), Err(PlaceholderError::Unknown(name.to_owned())), "{text}");
        }
        assert_eq!(fill("$(link.name"), Err(PlaceholderError::Unclosed));
        let message = fill("$(id)").unwrap_err().to_string();
        assert!(
            message.contains("$(parent.reference)") && message.contains("$(files.NAME)") && message.contains("$$(id)"),
            "{message}"
        );
    }

    proptest! {
        #[test]
        fn nothing_panics_and_text_without_placeholders_stays(text in "\\PC*") {
            let filled = fill(&text);
            if !text.contains("$(") {
                prop_assert_eq!(filled, Ok(text));
            }
        }

        #[test]
        fn what_is_put_in_is_not_read_again(value in "\\PC*") {
            let template = Template::parse("<$(link.name)>").unwrap();
            prop_assert_eq!(template.fill(|_| Cow::Borrowed(value.as_str())), format!("<{value}>"));
        }
    }
}
