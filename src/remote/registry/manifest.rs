//! Manifests: the few fields of them that decide something.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

use crate::{
    api::boxes::{ArtifactKind, BOX_ARTIFACT},
    plan::image::Digest,
};

/// The media type of the manifests that we write.
pub(super) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media types of images and indexes: those of the OCI image specification 1.1 and of Docker's
/// "Image Manifest Version 2, Schema 2".
const IMAGES: [&str; 2] = [IMAGE, "application/vnd.docker.distribution.manifest.v2+json"];
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// What `BuildKit` marks the manifests by that only say something about another one of the same index.
const ABOUT_ANOTHER: &str = "vnd.docker.reference.type";

/// Docker has dropped it: engines pull it only when they are told to.
const SCHEMA_1: &str = "its manifest is of schema 1, which present engines do not pull";

/// What is wrong with a box that is not one file.
pub(super) const NOT_ONE_FILE: &str = "its manifest is that of a machine box, and names other than one file";

/// The value of `Accept`.
pub(super) fn accepted() -> String {
    [IMAGES, INDEXES].concat().join(", ")
}

/// Whether a media type is that of one image.
pub(super) fn is_image(media_type: &str) -> bool {
    IMAGES.contains(&media_type)
}

/// What is under a digest or tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Manifest {
    /// Of an image, or of an artifact in the form of one.
    Image(Parts),
    Index(Vec<Child>),
}

/// What a manifest that is no index refers to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Its `artifactType` (OCI image specification 1.1, "Image Manifest"); images have none.
    pub(super) artifact_type: Option<String>,
    pub(super) config: Blob,
    pub(super) layers: Vec<Blob>,
}

/// What a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    /// In bytes.
    pub(super) size: u64,
}

/// What is the same wherever it is staged or published: what was tested is known by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content<'m> {
    pub(super) kind: ArtifactKind,
    /// Of an image that of its config, which is its ID; of a box that of its file.
    pub(super) digest: &'m Digest,
}

impl Parts {
    /// What it is known by; `None` where it says that it is a box and is not one file. An index has no content of its
    /// own, whatever it says that it is.
    pub(super) fn content(&self) -> Option<Content<'_>> {
        match (self.kind(), self.layers.as_slice()) {
            (kind @ ArtifactKind::Image, _) => Some(Content { kind, digest: &self.config.digest }),
            (kind @ ArtifactKind::Box, [file]) => Some(Content { kind, digest: &file.digest }),
            (ArtifactKind::Box, _) => None,
        }
    }

    /// What it is. Whatever says that it is something else is run, or refused, by an engine.
    pub(super) fn kind(&self) -> ArtifactKind {
        match self.artifact_type.as_deref() {
            Some(BOX_ARTIFACT) => ArtifactKind::Box,
            _ => ArtifactKind::Image,
        }
    }

    /// The size of the layers, in bytes. What a registry says is not added up unseen.
    pub(super) fn size(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size))
    }
}

/// A manifest of an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) digest: Digest,
    /// As `linux/amd64`, with the variant where there is one.
    platform: String,
    /// It is not an image to run, but says something about one.
    pub(super) is_about_another: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: u8,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<WrittenDescriptor>,
    layers: Option<Vec<WrittenDescriptor>>,
    manifests: Option<Vec<WrittenDescriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<WrittenPlatform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct WrittenPlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl fmt::Display for WrittenPlatform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(formatter, "/{variant}"))
    }
}

/// The fields of an image's config that its platform is in.
#[derive(Deserialize)]
struct WrittenConfig {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

/// Why a text is no manifest that we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// No registry would give it.
    NoManifest(&'static str),
    /// It is one, and of a form that is refused for good.
    Unsupported(&'static str),
}

/// Reads a manifest, and its media type where it says one.
pub(super) fn parse(body: &[u8]) -> Result<(Manifest, Option<String>), Unusable> {
    use Unusable::{NoManifest, Unsupported};
    let written: Written =
        serde_json::from_slice(body).map_err(|_| NoManifest("gives something that is no manifest"))?;
    match written.schema_version {
        2 => {}
        1 => return Err(Unsupported(SCHEMA_1)),
        _ => return Err(NoManifest("gives a manifest of another version than 1 and 2")),
    }
    let manifest = match (written.config, written.layers, written.manifests) {
        // One text that is an image to some and an index to others is an attack (CVE-2021-41190).
        (Some(config), Some(layers), None) => parts(written.artifact_type, config, layers).map(Manifest::Image),
        (None, None, Some(manifests)) => manifests.into_iter().map(child).collect::<Option<_>>().map(Manifest::Index),
        _ => return Err(NoManifest("gives a manifest that is neither of one image nor an index")),
    };
    let manifest = manifest.ok_or(Unsupported("its manifest names digests other than sha256"))?;
    Ok((manifest, written.media_type))
}

fn parts(artifact_type: Option<String>, config: WrittenDescriptor, layers: Vec<WrittenDescriptor>) -> Option<Parts> {
    // Such layers are where their URLs lead, and no registry has them (Windows' base layers). An artifact has none.
    let is_here = |layer: &WrittenDescriptor| {
        let is_elsewhere = layer.media_type.contains("nondistributable") || layer.media_type.contains(".foreign.");
        artifact_type.is_some() || !is_elsewhere
    };
    let layers = layers.into_iter().filter(is_here).map(blob).collect::<Option<_>>()?;
    Some(Parts { config: blob(config)?, layers, artifact_type })
}

fn blob(written: WrittenDescriptor) -> Option<Blob> {
    Some(Blob { digest: written.digest.parse().ok()?, size: written.size, media_type: written.media_type })
}

fn child(written: WrittenDescriptor) -> Option<Child> {
    let platform = written.platform.map_or_else(String::new, |platform| platform.to_string());
    let is_about_another = written.annotations.contains_key(ABOUT_ANOTHER);
    Some(Child { digest: written.digest.parse().ok()?, platform, is_about_another })
}

/// The manifest for a platform: exactly it, else with any variant of it.
pub(super) fn of_platform(children: &[Child], platform: &str) -> Option<Digest> {
    let images = || children.iter().filter(|child| !child.is_about_another);
    let variant = format!("{platform}/");
    let exact = images().find(|child| child.platform == platform);
    exact.or_else(|| images().find(|child| child.platform.starts_with(&variant))).map(|child| child.digest.clone())
}

/// The platform of an image, as its config says it; `None` where it says none. Not every builder of images writes
/// it, and engines take such an image for whatever they are.
pub(super) fn platform_of(config: &[u8]) -> Option<String> {
    let written: WrittenConfig = serde_json::from_slice(config).ok()?;
    let architecture = written.architecture.filter(|text| !text.is_empty())?;
    let os = written.os.filter(|text| !text.is_empty()).unwrap_or_else(|| "linux".to_owned());
    let variant = written.variant.filter(|text| !text.is_empty());
    let platform = WrittenPlatform { os, architecture, variant };
    Some(platform.to_string())
}

/// Whether an image of one platform is of use where another is wanted: a variant counts where both name one.
pub(super) fn fits(found: &str, wanted: &str) -> bool {
    let mut pairs = found.split('/').zip(wanted.split('/'));
    pairs.all(|(found, wanted)| found == wanted)
}

/// The platforms of an index, for a message.
pub(super) fn platforms(children: &[Child]) -> String {
    let names: Vec<&str> =
        children.iter().filter(|child| !child.is_about_another).map(|child| child.platform.as_str()).take(16).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn descriptor(letter: char, more: &Value) -> Value {
        let mut made = json!({"mediaType": "x", "digest": digest(letter), "size": 7});
        made.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        made
    }

    fn index(platforms: &[(char, &str, &str, Option<&str>)]) -> Vec<Child> {
        let one = |(letter, os, architecture, variant): &(char, &str, &str, Option<&str>)| {
            let platform = json!({"os": os, "architecture": architecture, "variant": variant});
            descriptor(*letter, &json!({"platform": platform}))
        };
        let manifests: Vec<Value> = platforms.iter().map(one).collect();
        let text = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        match parse(text.as_bytes()).unwrap().0 {
            Manifest::Index(children) => children,
            Manifest::Image(_) => panic!("an index"),
        }
    }

    #[test]
    fn an_image_has_a_config_and_the_layers_that_a_registry_has() {
        let foreign = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"});
        let none = json!({});
        let text = json!({"schemaVersion": 2, "mediaType": IMAGES[0], "config": descriptor('a', &none),
            "layers": [descriptor('b', &none), descriptor('c', &foreign)]});
        let blob = |letter| Blob { media_type: "x".to_owned(), digest: digest(letter).parse().unwrap(), size: 7 };
        let (manifest, media_type) = parse(text.to_string().as_bytes()).unwrap();
        let parts = Parts { artifact_type: None, config: blob('a'), layers: vec![blob('b')] };
        assert_eq!((parts.size(), manifest), (7, Manifest::Image(parts)));
        assert_eq!(media_type.as_deref(), Some(IMAGES[0]));
    }

    #[test]
    fn an_image_is_known_by_its_config_and_a_box_by_its_file() {
        let (none, foreign) =
            (json!({}), json!({"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar"}));
        let (b, c, elsewhere) = (descriptor('b', &none), descriptor('c', &none), descriptor('c', &foreign));
        for (artifact_type, layers, expected) in [
            (None, vec![&b], Some((ArtifactKind::Image, 'a'))),
            (None, vec![&b, &c], Some((ArtifactKind::Image, 'a'))),
            (Some("application/vnd.example.other"), vec![&b], Some((ArtifactKind::Image, 'a'))),
            (Some(BOX_ARTIFACT), vec![&b], Some((ArtifactKind::Box, 'b'))),
            (Some(BOX_ARTIFACT), vec![], None),
            (Some(BOX_ARTIFACT), vec![&b, &c], None),
            (Some(BOX_ARTIFACT), vec![&b, &elsewhere], None),
        ] {
            let text = json!({"schemaVersion": 2, "artifactType": artifact_type, "config": descriptor('a', &none),
                "layers": layers});
            let Manifest::Image(parts) = parse(text.to_string().as_bytes()).unwrap().0 else { panic!("no index") };
            let expected = expected.map(|(kind, letter)| (kind, digest(letter)));
            assert_eq!(parts.content().map(|found| (found.kind, found.digest.to_string())), expected, "{text}");
        }
        let index = json!({"schemaVersion": 2, "artifactType": BOX_ARTIFACT, "manifests": [b]}).to_string();
        assert!(matches!(parse(index.as_bytes()).unwrap().0, Manifest::Index(_)));
    }

    #[test]
    fn the_platform_is_found_and_what_is_about_it_is_not() {
        let children = index(&[
            ('a', "linux", "arm64", Some("v8")),
            ('b', "linux", "amd64", Some("v3")),
            ('c', "linux", "amd64", None),
        ]);
        for (platform, expected) in [
            ("linux/amd64", Some('c')),
            ("linux/amd64/v3", Some('b')),
            ("linux/arm64", Some('a')),
            ("linux/arm", None),
            ("windows/amd64", None),
        ] {
            assert_eq!(of_platform(&children, platform), expected.map(|l| digest(l).parse().unwrap()), "{platform}");
        }
        assert_eq!(platforms(&children), "linux/arm64/v8, linux/amd64/v3, linux/amd64");

        let about = json!({"platform": {"os": "linux", "architecture": "amd64"}, "annotations": {ABOUT_ANOTHER: "x"}});
        let text = json!({"schemaVersion": 2, "manifests": [descriptor('a', &about)]}).to_string();
        let Manifest::Index(children) = parse(text.as_bytes()).unwrap().0 else { panic!("an index") };
        assert_eq!((of_platform(&children, "linux/amd64"), platforms(&children)), (None, "none".to_owned()));
    }

    #[test]
    fn other_texts_are_refused() {
        let none = json!({});
        let (config, one) = (descriptor('a', &none), json!([descriptor('b', &none)]));
        for text in [
            "<html>".to_owned(),
            String::new(),
            json!({}).to_string(),
            json!({"schemaVersion": 1, "manifests": []}).to_string(),
            json!({"schemaVersion": 3, "manifests": []}).to_string(),
            json!({"schemaVersion": 2}).to_string(),
            json!({"schemaVersion": 2, "config": config}).to_string(),
            json!({"schemaVersion": 2, "config": config, "layers": one, "manifests": one}).to_string(),
            json!({"schemaVersion": 2, "config": {"digest": "sha512:0", "size": 1}, "layers": []}).to_string(),
            json!({"schemaVersion": 2, "config": {"digest": digest('a'), "size": -1}, "layers": []}).to_string(),
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_no_engine_pulls_is_refused_for_good() {
        let none = json!({});
        let schema_1 = json!({"schemaVersion": 1, "name": "library/debian", "tag": "6", "architecture": "amd64",
            "fsLayers": [{"blobSum": digest('a')}], "history": [{"v1Compatibility": "{}"}], "signatures": []});
        let other_digest = json!({"schemaVersion": 2, "layers": [descriptor('a', &none)],
            "config": {"digest": format!("sha512:{}", "a".repeat(128)), "size": 1}});
        for (text, expected) in [(schema_1, "schema 1"), (other_digest, "other than sha256")] {
            let Err(Unusable::Unsupported(why)) = parse(text.to_string().as_bytes()) else { panic!("{text}") };
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn the_platform_of_an_image_is_in_its_config() {
        for (config, platform) in [
            (json!({"os": "linux", "architecture": "arm64", "variant": "v8"}), Some("linux/arm64/v8")),
            (json!({"os": "linux", "architecture": "amd64", "config": {}}), Some("linux/amd64")),
            (json!({"architecture": "amd64", "variant": ""}), Some("linux/amd64")),
            (json!({"os": "linux", "architecture": ""}), None),
            (json!({}), None),
            (json!([]), None),
        ] {
            assert_eq!(platform_of(config.to_string().as_bytes()).as_deref(), platform, "{config}");
        }
        for (found, wanted, fit) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm/v7", "linux/arm/v6", false),
            ("linux/arm64", "linux/amd64", false),
            ("windows/amd64", "linux/amd64", false),
            ("linux/arm", "linux/arm64", false),
        ] {
            assert_eq!(fits(found, wanted), fit, "{found} for {wanted}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse(&body), platform_of(&body));
        }
    }
}
