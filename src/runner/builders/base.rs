//! Whether a product stands on its parent. Otherwise look-ups would watch an image that has no part in it.

use crate::{
    api::{condition::Reason, recipe::Layers},
    plan::{failure::Failure, job::Parent},
    runner::products::{Content, Images},
};

/// The parent of a build, in the engine.
pub(super) struct Base<'b> {
    parent: &'b Parent,
    /// As it was before the user's programs had the engine.
    content: Content,
}

impl<'b> Base<'b> {
    /// Puts the parent into the engine.
    pub(super) async fn import(products: &Images<'_>, parent: &'b Parent) -> Result<Self, Failure> {
        products.import_parent(parent).await?;
        Ok(Self { parent, content: products.layers(&parent.local_name).await? })
    }

    /// Makes sure that the product stands on it, unless the link says that it need not. `pulled` is the base that the
    /// builder pulled by itself.
    pub(super) async fn check(&self, products: &Images<'_>, image: &str, pulled: Option<&str>) -> Result<(), Failure> {
        let content = products.layers(image).await?;
        if self.parent.layers == Layers::Any || content.stands_on(&self.content) {
            return Ok(());
        }
        let own = match pulled {
            Some(name) => products.look(name).await?.filter(|own| content.stands_on(own)).and(pulled),
            None => None,
        };
        Err(self.mismatch(image, own))
    }

    /// `own` is the base that it stands on instead, where that is known.
    fn mismatch(&self, image: &str, own: Option<&str>) -> Failure {
        let Parent { reference, .. } = self.parent;
        let what = own.map_or_else(
            || format!("the image {image} does not stand on its parent {reference}: its layers begin with others"),
            |own| format!("the image stands on {own}, not on its parent {reference} ({image} was built)"),
        );
        let message = format!(
            "{what}. Build on the parent: variables: {{base: \"$(parent.reference)\"}}, and image = var.base in the \
             template. Or set from.layers: Any, if the build brings its own base or squashes its layers"
        );
        Failure::new(Reason::ImageMismatch, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::boxes::ArtifactKind;

    #[test]
    fn both_images_are_named_with_what_to_do() {
        let parent = Parent {
            kind: ArtifactKind::Image,
            reference: "docker.io/library/debian@sha256:0".to_owned(),
            is_fetched: false,
            local_name: "imagechain.local/web:parent".to_owned(),
            layers: Layers::Inherited,
            credentials: None,
            certificate_authority: None,
        };
        let content = Content::default();
        let base = Base { parent: &parent, content };
        let told = base.mismatch("sha256:1", Some("debian:12-slim"));
        assert_eq!(told.reason, Reason::ImageMismatch);
        assert_eq!(
            told.message,
            "the image stands on debian:12-slim, not on its parent docker.io/library/debian@sha256:0 (sha256:1 was \
             built). Build on the parent: variables: {base: \"$(parent.reference)\"}, and image = var.base in the \
             template. Or set from.layers: Any, if the build brings its own base or squashes its layers"
        );
        let told = base.mismatch("sha256:1", None).message;
        assert!(
            told.starts_with("the image sha256:1 does not stand on its parent docker.io/library/debian@"),
            "{told}"
        );
    }
}
