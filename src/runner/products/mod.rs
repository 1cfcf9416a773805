//! The products of builds: all that the stages do with them, whatever they are.

mod image;
mod registry;

use self::image::Images;
pub(super) use self::image::{Content, Target};

/// The store of the products of a build. Stages make it by `Products::of` alone: that is where a job will choose the
/// kind of product. A second kind is a file beside `image.rs`, and this name then an enum of both.
pub(super) type Products<'c> = Images<'c>;
