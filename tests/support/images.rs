//! Images and boxes of a few bytes, pushed to a real registry.

use std::collections::BTreeSet;

use flate2::{Compression, GzBuilder};
use imagechain::{
    api::boxes::{BOX_ARTIFACT, BOX_CONFIG, BoxConfig, BoxFormat, BoxProvider},
    plan::image::Digest,
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub digest: Digest,
    /// The digest of the configuration of an image; of all else none.
    pub image: Option<Digest>,
    pub body: Vec<u8>,
    pub media_type: &'static str,
}

/// The configuration of an image of one layer.
fn config(content: &[u8], architecture: &str) -> String {
    json!({"architecture": architecture, "os": "linux", "about": Digest::of(content).to_string()}).to_string()
}

/// The ID of an image of one layer, pushed or not.
pub fn image_id(content: &[u8]) -> Digest {
    Digest::of(config(content, "amd64").as_bytes())
}

/// A Vagrant box with this content: the same content makes the same box.
pub fn vagrant_box(content: &[u8], provider: BoxProvider) -> Vec<u8> {
    let metadata = json!({"provider": provider.name(), "format": "qcow2", "virtual_size": 1}).to_string();
    archive(&[("metadata.json", metadata.as_bytes()), ("box.img", content)])
}

/// A compressed archive of some files.
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzBuilder::new().write(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len().try_into().expect("a size"));
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).expect("an entry");
    }
    archive.into_inner().expect("an archive").finish().expect("an archive")
}

/// A repository, as somebody sees it who pushes images: by plain HTTP.
pub struct Pusher {
    http: Client,
    base: String,
    login: Option<(String, String)>,
}

impl Pusher {
    pub fn new(registry: &str, repository: &str, login: Option<(&str, &str)>) -> Self {
        // Whoever builds a client of reqwest needs a provider of TLS, used or not.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let http = Client::builder().no_proxy().build().expect("a client");
        Self { http, base: format!("http://{registry}/v2/{repository}"), login }
    }

    pub fn request(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, url);
        match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    /// Pushes an image of one layer.
    pub async fn image(&self, content: &[u8], tag: &str) -> Pushed {
        self.image_for(content, "amd64", tag).await
    }

    /// Pushes an image of one layer, for an architecture.
    pub async fn image_for(&self, content: &[u8], architecture: &str, tag: &str) -> Pushed {
        let config = self.blob(config(content, architecture).as_bytes()).await;
        let layer = self.blob(content).await;
        let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer]});
        let image = config["digest"].as_str().map(|digest| digest.parse().expect("a digest"));
        Pushed { image, ..self.manifest(&manifest, IMAGE, Some(tag)).await }
    }

    /// Pushes a box of one file, as a build pod does: a disk, or, with a provider, a Vagrant box.
    pub async fn machine_box(&self, file: &[u8], provider: Option<BoxProvider>, tag: &str) -> Pushed {
        let format = if provider.is_some() { BoxFormat::Vagrant } else { BoxFormat::Raw };
        let config = BoxConfig { format, provider, architecture: "amd64".to_owned(), virtual_size: 1 << 20 };
        let config = self.blob_of(&serde_json::to_vec(&config).expect("JSON"), BOX_CONFIG).await;
        let layer = self.blob_of(file, format.media_type()).await;
        let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "artifactType": BOX_ARTIFACT, "config": config,
            "layers": [layer]});
        self.manifest(&manifest, IMAGE, Some(tag)).await
    }

    /// Pushes an index of images by platform, such as `("linux", "amd64")`.
    pub async fn index(&self, images: &[(&Pushed, &str, &str)], tag: &str) -> Pushed {
        let manifest = |(pushed, os, architecture): &(&Pushed, &str, &str)| {
            json!({"mediaType": IMAGE, "digest": pushed.digest.to_string(), "size": pushed.body.len(),
                "platform": {"os": os, "architecture": architecture}})
        };
        let manifests: Vec<Value> = images.iter().map(manifest).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.manifest(&index, INDEX, Some(tag)).await
    }

    /// Pushes an artifact of some files that is described as it should not be.
    pub async fn artifact(&self, artifact_type: &str, files: &[&[u8]], tag: &str) -> Pushed {
        let config = self.blob(b"{}").await;
        let mut layers = Vec::new();
        for file in files {
            layers.push(self.blob(file).await);
        }
        let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "artifactType": artifact_type, "config": config,
            "layers": layers});
        self.manifest(&manifest, IMAGE, Some(tag)).await
    }

    async fn manifest(&self, manifest: &Value, media_type: &'static str, tag: Option<&str>) -> Pushed {
        let body = manifest.to_string().into_bytes();
        let digest = Digest::of(&body);
        let pushed = Pushed { digest, image: None, body, media_type };
        self.put(&pushed, tag.unwrap_or(&pushed.digest.to_string())).await;
        pushed
    }

    /// Puts a manifest under a tag or digest.
    pub async fn put(&self, pushed: &Pushed, name: &str) {
        let request = self.request(Method::PUT, &format!("{}/manifests/{name}", self.base));
        let answer = request.header("Content-Type", pushed.media_type).body(pushed.body.clone()).send().await;
        assert_eq!(answer.expect("an answer").status(), StatusCode::CREATED);
    }

    pub async fn blob(&self, content: &[u8]) -> Value {
        self.blob_of(content, LAYER).await
    }

    async fn blob_of(&self, content: &[u8], media_type: &str) -> Value {
        let digest = Digest::of(content).to_string();
        let opened =
            self.request(Method::POST, &format!("{}/blobs/uploads/", self.base)).send().await.expect("an answer");
        let location = opened.headers()["location"].to_str().expect("an address").to_owned();
        let put = self.request(Method::PUT, &format!("{location}&digest={digest}")).body(content.to_vec());
        assert_eq!(put.send().await.expect("an answer").status(), StatusCode::CREATED);
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    /// The digest that a tag or digest leads to.
    pub async fn digest(&self, name: &str) -> Option<Digest> {
        self.read(name).await.map(|body| Digest::of(&body))
    }

    /// The manifest that a tag or digest leads to.
    pub async fn read(&self, name: &str) -> Option<Vec<u8>> {
        let request = self.request(Method::GET, &format!("{}/manifests/{name}", self.base));
        let answer = request.header("Accept", format!("{IMAGE}, {INDEX}")).send().await.expect("an answer");
        let status = answer.status();
        let body = answer.bytes().await.expect("a body");
        (status == StatusCode::OK).then(|| body.to_vec())
    }

    /// The tags that there are.
    pub async fn tags(&self) -> BTreeSet<String> {
        let answer = self.request(Method::GET, &format!("{}/tags/list", self.base)).send().await.expect("an answer");
        let body: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        let tags = body["tags"].as_array().expect("a list").iter();
        tags.map(|tag| tag.as_str().expect("a text").to_owned()).collect()
    }

    /// Deletes a manifest.
    pub async fn delete(&self, digest: &Digest) {
        let answer = self.request(Method::DELETE, &format!("{}/manifests/{digest}", self.base)).send().await;
        assert_eq!(answer.expect("an answer").status(), StatusCode::ACCEPTED);
    }
}
