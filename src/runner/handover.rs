//! What one stage leaves for the next: which image it made or tested.

use std::{fs, path::PathBuf};

use super::{context::Context, products::Products, report::local};
use crate::{
    api::{build::Stage, condition::Reason},
    plan::failure::Failure,
};

/// Records the image that a stage made or tested.
///
/// # Errors
/// The workspace cannot be written.
pub(super) fn leave(context: &Context, stage: Stage, image: &str) -> Result<(), Failure> {
    fs::write(file(context, stage), image).map_err(|error| local("the workspace cannot be written", &error))
}

/// The image that the stage before recorded. The engine must still find it under its name: a program of the user
/// could have given that name to another image.
///
/// # Errors
/// Nothing was recorded, or the name belongs to another image now.
pub(super) async fn take(context: &Context, products: &Products<'_>, before: Stage) -> Result<String, Failure> {
    let image = fs::read_to_string(file(context, before))
        .map_err(|error| local(&format!("what the stage {} made is not known", before.container()), &error))?;
    match products.find(&context.job.image).await? {
        Some(found) if found == image => Ok(image),
        found => {
            let found = found.unwrap_or_else(|| "nothing".to_owned());
            let message = format!("{} is {found} in the engine, and {image} was built", context.job.image);
            Err(Failure::new(Reason::ImageMismatch, message))
        }
    }
}

fn file(context: &Context, stage: Stage) -> PathBuf {
    context.places.state().join(format!("{}.image", stage.container()))
}
