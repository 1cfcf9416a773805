//! Recipes: what a link, or a single build, is built on, how it is built, tested and published.
//!
//! One recipe has one type: `T` in [`Steps`] is a template as long as placeholders are in it, and a text in the job of
//! an attempt. A build tool is one file here and a line in the list of [`steps`]; a test step is one file and an arm in
//! each `match` of [`verify`].

pub mod command;
mod definition;
mod fields;
pub mod file;
pub mod limits;
pub mod machine_box;
pub mod molecule;
mod needed;
mod output;
pub mod package;
pub mod packer;
pub mod parent;
pub mod publish;
mod scope;
pub mod source;
pub mod steps;
mod tag;
pub mod tool;
mod validate;
pub mod values;
pub mod variables;
pub mod verify;

pub use definition::Recipe;
pub use fields::Fields;
pub use file::{InputFile, RemoteFile};
pub use limits::Limits;
pub use needed::{Needed, Wants};
pub use output::OutputKey;
pub use package::BoxPackage;
pub use parent::{Origin, Parent, Place};
pub use publish::{Destination, RegistryTags};
pub use scope::Scope;
pub use source::Source;
pub use steps::{Build, SecretContent, SecretFile, Steps};
pub use tag::TagTemplate;
pub use validate::{Written, validate};
pub use values::Values;
pub use variables::{SecretKey, Variables};
pub use verify::{Login, Test, Verify};
