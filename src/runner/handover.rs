//! What one stage leaves for the next: which product it made or tested.

use std::{fs, path::PathBuf};

use super::{context::Context, products::Store, report::local};
use crate::{
    api::{build::Stage, condition::Reason},
    plan::failure::Failure,
};

/// Records the product that a stage made or tested, by the digest of its content.
///
/// # Errors
/// The workspace cannot be written.
pub(super) fn leave(context: &Context, stage: Stage, made: &str) -> Result<(), Failure> {
    fs::write(file(context, stage), made).map_err(|error| local("the workspace cannot be written", &error))
}

/// The product that the stage before recorded, by the digest of its content. It must still be where it was: a program of
/// the user could have put another one there.
///
/// # Errors
/// Nothing was recorded, or there is another one now.
pub(super) async fn take(context: &Context, store: &impl Store, before: Stage) -> Result<String, Failure> {
    let made = fs::read_to_string(file(context, before))
        .map_err(|error| local(&format!("what the stage {} made is not known", before.container()), &error))?;
    match store.content().await? {
        Some(found) if found == made => Ok(made),
        found => {
            let found = found.unwrap_or_else(|| "nothing".to_owned());
            let message = format!("{} is {found}, and {made} was built", store.name());
            Err(Failure::new(Reason::ImageMismatch, message))
        }
    }
}

fn file(context: &Context, stage: Stage) -> PathBuf {
    context.places.state().join(format!("{}.product", stage.container()))
}
