//! What a recipe must find in its source.

/// What must be at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Either of them.
    Either,
}

/// Something of the source that a recipe names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The field that names it, below that of the recipe: `build.packer.template`.
    pub field: String,
    /// The path, as all paths of a recipe are: relative to the folder of the source. Empty: that folder.
    pub path: String,
    /// Where it may be instead.
    pub otherwise: Option<String>,
    /// What must be there.
    pub wants: Wants,
}

impl Needed {
    /// Something that a field names.
    pub fn new(field: impl Into<String>, path: impl Into<String>, wants: Wants) -> Self {
        Self { field: field.into(), path: path.into(), otherwise: None, wants }
    }

    /// The same, where it may also be at another path.
    #[must_use]
    pub fn or(self, path: String) -> Self {
        Self { otherwise: Some(path), ..self }
    }

    /// The paths of which one must be there.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        [self.path.as_str()].into_iter().chain(self.otherwise.as_deref())
    }

    /// The same, of an object in this field.
    #[must_use]
    pub fn in_field(self, field: &str) -> Self {
        Self { field: format!("{field}.{}", self.field), ..self }
    }
}
