//! What a link is to be built from, or what is lacking.

use super::{
    facts::circle,
    planner::Planner,
    view::{Hold, View, known},
};
use crate::{
    api::{
        boxes::ArtifactKind,
        build::Inputs,
        chain::{LinkState, OnFailure},
        common::ImageReference,
        condition::Reason,
    },
    plan::{
        product::{self, ParentProduct},
        recipe::{Destination, Origin, Parent},
        resolve::{self, Files, ProfileFact},
        valid::{ValidLink, ValidProfile},
    },
};

impl<'a> Planner<'_, 'a> {
    /// What a link is to be built from now; its key is still missing.
    pub(super) fn inputs(&mut self, view: &mut View<'a>) -> Result<Inputs, Hold> {
        // All is asked before the first that is missing ends it: one round of look-ups for all.
        let profile = ProfileFact::known(self.scene.profiles.get(&view.link.profile), &view.link.profile);
        let files = self.files(view);
        let profile = known(profile, "the profile")?;
        let images = [&profile.builder, &profile.engine_image].map(|image| {
            resolve::artifact(ArtifactKind::Image, image, (&view.link.profile, profile), None, &mut self.knowledge)
        });
        let parent = self.parent(view.link, profile);
        check_place(view.link, profile)?;
        self.check_outputs(view.link)?;
        let Files { revision, hash } = files?;
        let [builder, engine] = images.map(|image| known(image, "an image of the profile"));
        let parent = parent?;
        let parent_kind = parent.as_ref().map(|parent| parent.kind);
        product::check(&view.link.recipe, (&view.link.profile, profile), parent_kind)
            .map_err(|failure| Hold::new(LinkState::Stalled, failure.reason, &failure.message))?;
        let inputs = Inputs {
            key: String::new(),
            parent: parent.and_then(|parent| parent.reference).map(ImageReference),
            revision,
            files: hash,
            platform: profile.platform.clone(),
            builder: ImageReference(builder?),
            engine: ImageReference(engine?),
            isolation: profile.isolation,
            container_engine: profile.engine,
            hypervisor: profile.hypervisor,
            parent_kind: parent_kind.unwrap_or_default(),
            request: self.token.clone(),
            replaces: None,
        };
        Ok(inputs)
    }

    fn files(&mut self, view: &mut View<'a>) -> Result<Files, Hold> {
        let recipe = &view.link.recipe;
        let remembered = self.previous(&view.link.name).filter(|_| self.remembers);
        let remembered = remembered.and_then(|each| each.files.as_deref());
        let files = resolve::files(recipe, &self.git, self.scene.config_maps, remembered, &mut self.knowledge);
        let files = known(files, "the source")?;
        view.files = Some(files.hash.clone());
        Ok(files)
    }

    /// The parent.
    fn parent(&mut self, link: &ValidLink, profile: &ValidProfile) -> Result<Option<ParentProduct>, Hold> {
        let Some(Parent { origin, secret, .. }) = &link.recipe.parent else { return Ok(None) };
        let mut look_up = |kind, reference| {
            let profile = (link.profile.as_str(), profile);
            let found = resolve::artifact(kind, reference, profile, secret.as_deref(), &mut self.knowledge);
            let found = known(found, &format!("the base {}", kind.noun()))?;
            Ok(ParentProduct { kind, reference: Some(found) })
        };
        let found = match origin {
            Origin::Image(image) => look_up(ArtifactKind::Image, image),
            Origin::Box(machine_box) => look_up(ArtifactKind::Box, machine_box),
            Origin::File(_) => Ok(ParentProduct { kind: ArtifactKind::Box, reference: None }),
            Origin::Link(below) => self.parent_link(*below),
            Origin::Chain { chain, link: other } => self.other_chain(&link.name, chain, other),
            // Only a build has one.
            Origin::Sibling(name) => Err(Hold::new(LinkState::Stalled, Reason::SpecInvalid, name)),
        };
        found.map(Some)
    }

    /// The product of an earlier link: of its present inputs; or, after a failure and where the chain says so,
    /// the last one that passed its tests.
    fn parent_link(&self, below: usize) -> Result<ParentProduct, Hold> {
        let Some(parent) = self.views.get(below) else {
            return Err(Hold::new(LinkState::Blocked, Reason::WaitingForParent, "its parent is looked at first"));
        };
        let name = &parent.link.name;
        match (&parent.current, &parent.verified) {
            (Some(verified), _) => Ok(ParentProduct::of(verified)),
            (None, Some(last)) if parent.fails() && self.scene.chain.on_failure == OnFailure::Continue => {
                Ok(ParentProduct::of(last))
            }
            _ if parent.fails() => Err(Hold::of_parent(name)),
            _ => {
                let message = format!("it stands on «{name}», which is not verified yet");
                Err(Hold::new(LinkState::Blocked, Reason::WaitingForParent, message))
            }
        }
    }

    fn other_chain(&self, own: &str, chain: &str, link: &str) -> Result<ParentProduct, Hold> {
        if let Some(circle) = circle((&self.scene.chain.name, own), self.scene.chains) {
            let message = format!("links wait for each other in a circle: {}", circle.join(" → "));
            return Err(Hold::new(LinkState::Stalled, Reason::DependencyCycle, message));
        }
        let stalled = |message| Hold::new(LinkState::Stalled, Reason::ChainNotFound, message);
        let other = self.scene.chains.get(chain);
        let other = other.ok_or_else(|| stalled(format!("there is no ImageChain «{chain}» in this namespace")))?;
        let other = other.links.get(link);
        let other = other.ok_or_else(|| stalled(format!("the ImageChain «{chain}» has no link «{link}»")))?;
        other.verified.clone().ok_or_else(|| {
            let message = format!("it stands on {chain}/{link}, which has no verified image yet");
            Hold::new(LinkState::Blocked, Reason::WaitingForParent, message)
        })
    }

    fn check_outputs(&self, link: &ValidLink) -> Result<(), Hold> {
        let Some(publish) = &link.recipe.publish else { return Ok(()) };
        let owner = |output| self.scene.taken.get(&output).map(|owner| (output, owner));
        let taken = publish.outputs().into_iter().find_map(owner);
        taken.map_or(Ok(()), |(output, owner)| {
            let message = format!("{output} belongs to {owner}: publish elsewhere");
            Err(Hold::new(LinkState::Stalled, Reason::OutputConflict, message))
        })
    }
}

/// Whether what a link makes has a place that can be published from.
fn check_place(link: &ValidLink, profile: &ValidProfile) -> Result<(), Hold> {
    let stalled = |reason, message| Err(Hold::new(LinkState::Stalled, reason, message));
    let publish = link.recipe.publish.as_ref();
    match (&profile.staging, publish, publish.and_then(Destination::repository)) {
        (None, None, _) => stalled(
            Reason::StagingMissing,
            format!("set publish, or let the BuildProfile «{}» name a staging repository", link.profile),
        ),
        (None, Some(publish), None) => stalled(
            Reason::StagingMissing,
            format!(
                "publish.{} takes what is staged in a registry: let the BuildProfile «{}» name a staging repository",
                publish.field(),
                link.profile
            ),
        ),
        (Some(staging), _, Some(repository)) if staging.repository.registry != repository.registry => {
            let (staged, published) = (&staging.repository.registry, &repository.registry);
            let message = format!("publish on {staged}, where the profile stages, not on {published}");
            stalled(Reason::StagingNotMountable, message)
        }
        _ => Ok(()),
    }
}
