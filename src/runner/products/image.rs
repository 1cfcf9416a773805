//! Products that are images: the engine holds them.

use super::{Pushed, Store, registry};
use crate::{
    api::condition::Reason,
    plan::{
        failure::Failure,
        image::{Reference, Repository},
        job::{Parent, Registry, Staging},
    },
    runner::{
        context::Context,
        engine::{Containers, Engine, HUB, Image},
    },
};

/// The images of the engine.
pub(crate) struct Images<'c> {
    context: &'c Context,
    engine: &'c Engine<'c>,
}

impl<'c> Images<'c> {
    /// The images of the engine that the stage uses.
    pub(crate) const fn of(context: &'c Context, engine: &'c Engine<'c>) -> Self {
        Self { context, engine }
    }

    /// Pulls the parent of a build, by a mirror where there is one, and gives it the name that recipes use.
    pub(crate) async fn import_parent(&self, parent: &Parent) -> Result<(), Failure> {
        let platform = &self.context.job.registry.platform;
        let _step = self.context.log.step(format!("pulling {} as {}", parent.reference, parent.local_name));
        if let Some(mirrored) = mirrored(&parent.reference, &self.context.job.registry) {
            match self.engine.pull(&mirrored, platform).await {
                Ok(()) => return self.engine.tag(&mirrored, &parent.local_name).await,
                Err(failure) => self.context.log.say(failure.message),
            }
        }
        self.engine.pull(&parent.reference, platform).await?;
        self.engine.tag(&parent.reference, &parent.local_name).await
    }

    /// The ID of the image of that name; `None` where there is none.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.engine.image(name).await?.map(|image| image.id))
    }

    /// What the image of that name is made of; `None` where there is none.
    pub(crate) async fn look(&self, name: &str) -> Result<Option<Content>, Failure> {
        Ok(self.engine.image(name).await?.map(Content))
    }

    /// What an image is made of.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) async fn layers(&self, name: &str) -> Result<Content, Failure> {
        self.look(name)
            .await?
            .ok_or_else(|| Failure::new(Reason::NoImage, format!("{name} is not in the engine any more")))
    }

    /// Whether a container ran of the image of that name, or of one that stands on it. `None` where it cannot be told:
    /// what ran was removed.
    pub(crate) async fn ran(&self, name: &str, containers: &Containers) -> Option<bool> {
        let (own, mut all_known) = (self.look(name).await.ok()??, true);
        for image in containers.images() {
            match self.look(image).await.ok()? {
                Some(other) if other.stands_on(&own) => return Some(true),
                found => all_known &= found.is_some(),
            }
        }
        all_known.then_some(false)
    }

    /// Gives an image a name.
    pub(crate) async fn name(&self, image: &str, name: &str) -> Result<(), Failure> {
        self.engine.tag(image, name).await
    }

    /// Starts a container of the image of that name, for tests that connect to it.
    pub(crate) async fn start_for_test(&self, container: String, name: &str) -> Result<Target<'c>, Failure> {
        self.engine.start(&container, name).await?;
        Ok(Target { engine: self.engine, container })
    }

    /// Pushes an image to the staging reference. The registry must then hold exactly that image.
    pub(crate) async fn push(&self, image: &str, staging: &Staging) -> Result<Pushed, Failure> {
        let name = format!("{}:{}", staging.repository, staging.tag);
        self.engine.tag(image, &name).await?;
        let digest = {
            let _step = self.context.log.step(format!("pushing {name}"));
            self.engine.push(&name).await?
        };
        let size = registry::check_image(&self.context.job, staging, &digest, image).await?;
        Ok(Pushed { digest, size })
    }
}

impl Store for Images<'_> {
    fn name(&self) -> String {
        format!("{} in the engine", self.context.job.image)
    }

    async fn content(&self) -> Result<Option<String>, Failure> {
        self.find(&self.context.job.image).await
    }
}

/// What an image is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content(Image);

impl Content {
    /// Whether it has all that another image is made of, with or without more on top.
    pub(crate) fn stands_on(&self, other: &Self) -> bool {
        self.0.layers.starts_with(&other.0.layers)
    }
}

/// A container of the image that tests connect to.
pub(crate) struct Target<'c> {
    engine: &'c Engine<'c>,
    container: String,
}

impl Target<'_> {
    /// The host, as testinfra names it.
    pub(crate) fn host(&self) -> String {
        format!("docker://{}", self.container)
    }

    /// The name of the container.
    pub(crate) fn name(&self) -> &str {
        &self.container
    }

    /// Removes it, if it is there.
    pub(crate) async fn remove(self) {
        self.engine.remove(&self.container).await;
    }
}

/// Where a mirror has an image. Docker itself asks mirrors of its Hub only.
pub(crate) fn mirrored(reference: &str, registry: &Registry) -> Option<String> {
    let reference: Reference = reference.parse().ok()?;
    let mirror =
        registry.mirrors.get(&reference.repository.registry).filter(|_| reference.repository.registry != HUB)?;
    let repository = Repository { registry: mirror.clone(), path: reference.repository.path.clone() };
    Some(Reference { repository, ..reference }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_stands_on_what_its_layers_begin_with() {
        let content = |layers: &[&str]| {
            Content(Image { id: String::new(), layers: layers.iter().map(|&layer| layer.to_owned()).collect() })
        };
        let parent = content(&["a", "b"]);
        for (layers, expected) in [
            (["a", "b", "c"].as_slice(), true),
            (&["a", "b"], true),
            (&["a"], false),
            (&["a", "c", "b"], false),
            (&["c", "a", "b"], false),
            (&[], false),
        ] {
            assert_eq!(content(layers).stands_on(&parent), expected, "{layers:?}");
        }
        assert!(content(&["x"]).stands_on(&content(&[])), "all stands on nothing");
    }

    #[test]
    fn a_mirror_is_asked_where_docker_does_not() {
        let mirrors = [("docker.io", "m.example"), ("quay.io", "m.example:5000")];
        let registry = Registry {
            platform: "linux/amd64".to_owned(),
            mirrors: mirrors.map(|(of, at)| (of.to_owned(), at.to_owned())).into(),
            insecure: vec![],
            certificate_authority: None,
        };
        let digest = format!("sha256:{}", "0".repeat(64));
        for (reference, expected) in [
            (format!("quay.io/a/b@{digest}"), Some(format!("m.example:5000/a/b@{digest}"))),
            (format!("docker.io/library/debian@{digest}"), None),
            (format!("r.example/a@{digest}"), None),
        ] {
            assert_eq!(mirrored(&reference, &registry), expected, "{reference}");
        }
    }
}
