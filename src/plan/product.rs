//! What comes out of a build. It is staged in a registry by digest, whatever kind it is of; what was built, tested and
//! pushed is the same if its content is.

use super::{
    failure::Failure,
    placeholder::{Placeholder, Template},
    recipe::{Build, Recipe},
    valid::ValidProfile,
};
use crate::api::{
    boxes::{ArtifactContent, ArtifactKind},
    build::Artifact,
    chain::Verified,
    common::{Digest, ImageReference},
    condition::Reason,
    profile::Hypervisor,
};

/// A product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its kind.
    pub kind: ArtifactKind,
    /// The digest of its content: of an image that of its configuration, of a box that of its file. What was tested is
    /// known by it.
    pub content: String,
    /// Where it is staged, as repository@digest.
    pub reference: String,
    /// The size of its layers as they are in the registry, in bytes.
    pub size: i64,
}

impl Product {
    /// As a build's status holds it.
    #[must_use]
    pub fn of(artifact: &Artifact) -> Self {
        Self {
            kind: artifact.content.kind,
            content: artifact.content.digest().to_owned(),
            reference: artifact.reference.to_string(),
            size: artifact.size,
        }
    }

    /// For a build's status.
    #[must_use]
    pub fn artifact(&self) -> Artifact {
        let digest = self.reference.split_once('@').map_or("", |(_, digest)| digest);
        let short = digest.split_once(':').map_or(digest, |(_, hash)| hash);
        Artifact {
            reference: ImageReference(self.reference.clone()),
            digest: Digest(digest.to_owned()),
            short_digest: short.get(..12).unwrap_or(short).to_owned(),
            content: ArtifactContent::new(self.kind, &self.content),
            size: self.size,
        }
    }
}

/// The kind of what builds with a hypervisor, or without one, make.
#[must_use]
pub const fn kind(hypervisor: Option<Hypervisor>) -> ArtifactKind {
    match hypervisor {
        None => ArtifactKind::Image,
        Some(Hypervisor::Qemu) => ArtifactKind::Box,
    }
}

/// Something that a link is built on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentProduct {
    /// Its kind.
    pub kind: ArtifactKind,
    /// Where it is, as repository@digest; `None` of a file that is in no registry.
    pub reference: Option<String>,
}

impl ParentProduct {
    /// The last verified product of a link.
    #[must_use]
    pub fn of(verified: &Verified) -> Self {
        Self { kind: verified.content.kind, reference: Some(verified.reference.to_string()) }
    }
}

/// Whether a recipe fits the kind of product that its profile makes, and its parent. `name` is that of the profile.
///
/// # Errors
/// What does not fit, and what to change.
pub fn check(
    recipe: &Recipe,
    (name, profile): (&str, &ValidProfile),
    parent: Option<ArtifactKind>,
) -> Result<(), Failure> {
    let wrong = |message: String| Err(Failure::new(Reason::SpecInvalid, message));
    let made = kind(profile.hypervisor);
    if let Some(publish) = recipe.publish.as_ref().filter(|publish| publish.kind() != made) {
        return wrong(format!(
            "the BuildProfile «{name}» makes {}: write publish.{} instead of publish.{}",
            plural(made),
            made.noun(),
            publish.field()
        ));
    }
    check_files(recipe, name, made, parent)?;
    check_tests(recipe, name, made)?;
    match (&recipe.steps.build, made, parent) {
        (Build::Packer(_), ArtifactKind::Image, Some(ArtifactKind::Box)) => wrong(format!(
            "it stands on a box, and the BuildProfile «{name}» makes images: name a profile with a hypervisor"
        )),
        (Build::Packer(_), ArtifactKind::Box, Some(ArtifactKind::Image)) => wrong(
            "it stands on an image, and packer starts machines from boxes: make a box of the image by a link with build.box, and stand on that".to_owned(),
        ),
        (Build::Box(_), ArtifactKind::Image, _) => wrong(format!(
            "build.box makes a box, and the BuildProfile «{name}» makes images: name a profile with a hypervisor"
        )),
        (Build::Box(step), ArtifactKind::Box, Some(ArtifactKind::Box)) if step.size.is_some() => {
            wrong("build.box.size is for disks that are made of an image, and it stands on a box: leave it out".to_owned())
        }
        (Build::Packer(_) | Build::Box(_), ..) => Ok(()),
    }
}

/// Refuses what means nothing for a product of its kind: names in an engine that is not there, and a login to a container.
fn check_tests(recipe: &Recipe, name: &str, made: ArtifactKind) -> Result<(), Failure> {
    const NAMES: [Placeholder; 2] = [Placeholder::ParentLocal, Placeholder::ImageLocal];
    let wrong = |message: String| Err(Failure::new(Reason::SpecInvalid, message));
    match made {
        ArtifactKind::Image => match recipe.steps.verify.iter().position(|step| step.login.is_some()) {
            Some(index) => wrong(format!(
                "verify[{index}].login is for machines, and the BuildProfile «{name}» makes images: leave it out"
            )),
            None => Ok(()),
        },
        ArtifactKind::Box => {
            match recipe.steps.texts().flat_map(Template::placeholders).find(|placeholder| NAMES.contains(placeholder))
            {
                Some(placeholder) => wrong(format!(
                    "{placeholder} is a name in a container engine, and the BuildProfile «{name}» has none: packer finds the \
                     parent in $(parent.disk), and tests find the machine by the variable IMAGECHAIN_SSH_CONFIG"
                )),
                None => Ok(()),
            }
        }
    }
}

/// Refuses placeholders for files of a box where there is none.
fn check_files(recipe: &Recipe, name: &str, made: ArtifactKind, parent: Option<ArtifactKind>) -> Result<(), Failure> {
    let Some(file) = file_of_box(recipe) else { return Ok(()) };
    let why = match (made, parent) {
        (ArtifactKind::Image, _) => {
            format!(
                "the BuildProfile «{name}» makes images: name a profile with a hypervisor, or use $(parent.reference)"
            )
        }
        (ArtifactKind::Box, Some(ArtifactKind::Image)) => {
            "it stands on an image: make a box of the image by a link with build.box, and stand on that".to_owned()
        }
        (ArtifactKind::Box, _) if matches!(recipe.steps.build, Build::Box(_)) => {
            "build.box makes no files of its parent: leave it out".to_owned()
        }
        (ArtifactKind::Box, Some(ArtifactKind::Box) | None) => return Ok(()),
    };
    Err(Failure::new(Reason::SpecInvalid, format!("{file} is for boxes, and {why}")))
}

/// The first placeholder of a recipe that stands for a file of a parent that is a box.
fn file_of_box(recipe: &Recipe) -> Option<&Placeholder> {
    const FILES: [Placeholder; 3] = [Placeholder::ParentBox, Placeholder::ParentDisk, Placeholder::ParentChecksum];
    recipe.steps.texts().flat_map(Template::placeholders).find(|placeholder| FILES.contains(placeholder))
}

/// A kind in a sentence.
const fn plural(kind: ArtifactKind) -> &'static str {
    match kind {
        ArtifactKind::Image => "images",
        ArtifactKind::Box => "boxes",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{build::ImageBuild, profile::BuildProfile},
        plan::{recipe::Destination, validate},
    };

    fn profile(hypervisor: bool) -> ValidProfile {
        let mut spec = json!({"images": {"builder": "r.example/builder:1"}, "executionNamespace": "builds"});
        if hypervisor {
            spec["engine"] = json!("None");
            spec["hypervisor"] = json!("Qemu");
        }
        let object = json!({
            "apiVersion": "imagechain.dev/v1alpha1", "kind": "BuildProfile", "metadata": {"name": "p"}, "spec": spec,
        });
        validate::profile(&serde_json::from_value::<BuildProfile>(object).unwrap()).unwrap()
    }

    fn recipe(build: &Value, publish: Option<ArtifactKind>) -> Recipe {
        let object = json!({
            "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "b"},
            "spec": {
                "profile": "p", "source": {"configMap": {"name": "files"}}, "from": {"image": "debian:13"}, "build": build,
            },
        });
        let build = validate::build(&serde_json::from_value::<ImageBuild>(object).unwrap()).unwrap();
        let publish = publish.and_then(|kind| {
            let tags = json!({kind.noun(): {"repository": "r.example/a", "tags": ["1"]}});
            Destination::of(&serde_json::from_value(tags).unwrap())
        });
        Recipe { publish, ..build.recipe }
    }

    #[test]
    fn a_recipe_must_fit_its_profile_and_its_parent() {
        const IMAGE: Option<ArtifactKind> = Some(ArtifactKind::Image);
        const BOX: Option<ArtifactKind> = Some(ArtifactKind::Box);
        let (packer, made) = (json!({"packer": {"template": "a.json"}}), json!({"box": {}}));
        let sized = json!({"box": {"size": "8Gi"}});
        let no_size = "build.box.size is for disks that are made of an image, and it stands on a box: leave it out";
        let on_box = "it stands on a box, and the BuildProfile «p» makes images: name a profile with a hypervisor";
        let on_image = "it stands on an image, and packer starts machines from boxes: make a box of the image by a link \
                        with build.box, and stand on that";
        let no_boxes = "build.box makes a box, and the BuildProfile «p» makes images: name a profile with a hypervisor";
        let to_box = "the BuildProfile «p» makes images: write publish.image instead of publish.box";
        let to_image = "the BuildProfile «p» makes boxes: write publish.box instead of publish.image";
        for (build, hypervisor, parent, publish, expected) in [
            (&packer, false, None, None, ""),
            (&packer, false, IMAGE, IMAGE, ""),
            (&packer, false, IMAGE, BOX, to_box),
            (&packer, false, BOX, IMAGE, on_box),
            (&packer, false, BOX, BOX, to_box),
            (&packer, true, None, BOX, ""),
            (&packer, true, BOX, BOX, ""),
            (&packer, true, IMAGE, BOX, on_image),
            (&packer, true, BOX, IMAGE, to_image),
            (&made, true, IMAGE, BOX, ""),
            (&made, true, BOX, None, ""),
            (&made, true, IMAGE, IMAGE, to_image),
            (&made, false, IMAGE, None, no_boxes),
            (&made, false, BOX, IMAGE, no_boxes),
            (&made, false, IMAGE, BOX, to_box),
            (&sized, true, IMAGE, None, ""),
            (&sized, true, BOX, None, no_size),
        ] {
            let checked = check(&recipe(build, publish), ("p", &profile(hypervisor)), parent);
            let failure = checked.err();
            assert!(failure.as_ref().is_none_or(|failure| failure.reason == Reason::SpecInvalid), "{failure:?}");
            let told = failure.map_or(String::new(), |failure| failure.message);
            assert_eq!(told, expected, "{build} hypervisor: {hypervisor} on {parent:?} to {publish:?}");
        }
    }

    #[test]
    fn what_means_nothing_for_a_kind_is_refused_and_not_ignored() {
        let packer = json!({"packer": {"template": "a.json"}});
        let with = |step: Value| {
            let steps = serde_json::from_value(json!([step])).unwrap();
            let object = json!({
                "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "b"},
                "spec": {"profile": "p", "source": {"configMap": {"name": "files"}}, "build": packer},
            });
            let mut build: ImageBuild = serde_json::from_value(object).unwrap();
            build.spec.verify = steps;
            validate::build(&build).unwrap().recipe
        };
        let login = with(json!({"pytest": {}, "login": {"user": "root"}}));
        let named = with(json!({"command": {"arguments": ["true", "$(image.local)"]}}));
        for (recipe, hypervisor, expected) in [
            (&login, true, ""),
            (&login, false, "verify[0].login is for machines, and the BuildProfile «p» makes images: leave it out"),
            (&named, false, ""),
            (
                &named,
                true,
                "$(image.local) is a name in a container engine, and the BuildProfile «p» has none: packer finds the \
                 parent in $(parent.disk), and tests find the machine by the variable IMAGECHAIN_SSH_CONFIG",
            ),
        ] {
            let checked = check(recipe, ("p", &profile(hypervisor)), None);
            assert_eq!(checked.err().map_or(String::new(), |failure| failure.message), expected);
        }
    }

    #[test]
    fn files_of_a_box_are_for_links_that_stand_on_one() {
        const IMAGE: Option<ArtifactKind> = Some(ArtifactKind::Image);
        const BOX: Option<ArtifactKind> = Some(ArtifactKind::Box);
        let no_hypervisor = "is for boxes, and the BuildProfile «p» makes images: name a profile with a hypervisor, or use \
                        $(parent.reference)";
        let no_box = "is for boxes, and it stands on an image: make a box of the image by a link with build.box, and \
                        stand on that";
        for file in ["$(parent.box)", "$(parent.disk)", "$(parent.checksum)"] {
            let packer = json!({"packer": {"template": "a.json", "variables": {"disk": format!("x{file}")}}});
            for (hypervisor, parent, expected) in [
                (true, BOX, String::new()),
                (true, IMAGE, format!("{file} {no_box}")),
                (false, IMAGE, format!("{file} {no_hypervisor}")),
                (false, BOX, format!("{file} {no_hypervisor}")),
            ] {
                let checked = check(&recipe(&packer, None), ("p", &profile(hypervisor)), parent);
                let told = checked.err().map_or(String::new(), |failure| failure.message);
                assert_eq!(told, expected, "{file} hypervisor: {hypervisor} on {parent:?}");
            }
        }
    }

    #[test]
    fn a_product_is_known_by_what_its_kind_is_known_by() {
        let product = |kind| Product {
            kind,
            content: "sha256:c".to_owned(),
            reference: "r.example/a@sha256:0123456789abcdef".to_owned(),
            size: 7,
        };
        let written = |kind| serde_json::to_value(product(kind).artifact()).unwrap();
        let image = json!({
            "reference": "r.example/a@sha256:0123456789abcdef", "digest": "sha256:0123456789abcdef",
            "shortDigest": "0123456789ab", "imageId": "sha256:c", "size": 7,
        });
        assert_eq!(written(ArtifactKind::Image), image, "as every version has written it");
        let mut made = image;
        made.as_object_mut().unwrap().remove("imageId");
        made["kind"] = json!("Box");
        made["contentDigest"] = json!("sha256:c");
        assert_eq!(written(ArtifactKind::Box), made);
        for kind in [ArtifactKind::Image, ArtifactKind::Box] {
            assert_eq!(Product::of(&serde_json::from_value(written(kind)).unwrap()), product(kind));
        }
    }
}
