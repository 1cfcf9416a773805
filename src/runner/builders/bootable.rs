//! A disk that boots an image: its layers in one file system, with a boot loader before it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use ring::digest::{SHA256, digest};
use tokio::task::spawn_blocking;

use super::tool;
use crate::{
    api::condition::Reason,
    boxes::{
        bootable::{self, Boot, Files, Identity, Step},
        flatten::{self, Image, Limits, Usage},
    },
    plan::{failure::Failure, image::Reference, job::Parent},
    runner::{
        context::Context,
        engine::of_pull,
        products::{Boxes, Disk, mirrored},
        report::local,
    },
};

/// The most entries of all layers of an image: some ten times those of a large distribution.
const MOST_ENTRIES: usize = 4_000_000;
/// The time of the file system: the same image makes the same disk. It is that of reproducible builds that have none.
const EPOCH: u64 = 315_532_800;

/// Makes the disk of an image. `wanted` is its size in bytes; `None`: what the image needs.
///
/// # Errors
/// The image is not there, holds no kernel, or does not fit.
pub(super) async fn make(
    context: &Context,
    boxes: &Boxes<'_>,
    parent: &Parent,
    wanted: Option<u64>,
) -> Result<Disk, Failure> {
    let folder = boxes.made("disk")?;
    let (layers, files) = (folder.join("layers"), Files::within(&folder));
    pull(context, parent, &layers).await?;
    let (boot, usage) = {
        let _step = context.log.step("merging the layers of the image");
        merge(&layers, &files, boxes.most()).await?
    };
    // The archive has all of them, and the disk is to have room.
    remove(fs::remove_dir_all(&layers))?;
    let size = bootable::disk_size(usage, wanted).map_err(|why| Failure::new(Reason::BuildFailed, why.to_string()))?;
    if size.bytes > boxes.most() {
        let message = format!(
            "a disk of {} MiB is more than the profile's resources.storage: make the image smaller, or ask for a profile with more",
            size.bytes >> 20
        );
        return Err(Failure::new(Reason::StorageLimitExceeded, message));
    }
    context.log.say(format_args!("the disk has {} MiB, and boots {}", size.bytes >> 20, told(&boot)));
    let identity = identity(&parent.reference, size.bytes);
    let failed = |error: io::Error| local("the disk cannot be written", &error);
    File::create(&files.disk).and_then(|disk| disk.set_len(size.bytes)).map_err(failed)?;
    fs::write(&files.early_config, bootable::early_config(&boot, identity)).map_err(failed)?;
    run(context, "making the file system", bootable::file_system(&files, identity, size, EPOCH)).await?;
    remove(fs::remove_file(&files.root))?;
    run(context, "making the boot loader", bootable::core_image(&files)).await?;
    install(&files, identity, size).map_err(|why| Failure::new(Reason::BuildFailed, why))?;
    Ok(boxes.raw(files.disk))
}

fn told(boot: &Boot) -> String {
    match boot {
        Boot::Menu => "what its /boot/grub/grub.cfg says".to_owned(),
        Boot::Kernel { kernel, initrd } => format!("{kernel} with {initrd}"),
    }
}

/// Of the same image and size the disk is the same.
fn identity(reference: &str, size: u64) -> Identity {
    let image = reference.split_once('@').map_or(reference, |(_, digest)| digest);
    let hash = digest(&SHA256, format!("{image} {size}").as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
    Identity::new(bytes)
}

/// Fetches the layers of the image, without their compression.
async fn pull(context: &Context, parent: &Parent, layers: &Path) -> Result<(), Failure> {
    let _step = context.log.step(format!("pulling {}", parent.reference));
    let certificates = certificates(context, parent, &layers.with_file_name("certificates"))?;
    let certificates = certificates.as_deref();
    if let Some(mirrored) = mirrored(&parent.reference, &context.job.registry) {
        match copy(context, &mirrored, (None, certificates), layers).await {
            Ok(()) => return Ok(()),
            Err(failure) => context.log.say(failure.message),
        }
    }
    copy(context, &parent.reference, (parent.credentials.as_deref(), certificates), layers).await
}

/// A folder with the certificates that registries alone are trusted by, as skopeo takes it; `None` where there are none.
fn certificates(context: &Context, parent: &Parent, folder: &Path) -> Result<Option<PathBuf>, Failure> {
    let files = [&context.job.registry.certificate_authority, &parent.certificate_authority];
    let unreadable = |error: io::Error| local("the certificates cannot be read", &error);
    let texts: Vec<_> =
        files.into_iter().flatten().map(fs::read_to_string).collect::<Result<_, _>>().map_err(unreadable)?;
    let text = texts.join("\n");
    if text.trim().is_empty() {
        return Ok(None);
    }
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(folder.join("registries.crt"), text));
    written.map_err(|error| local("the workspace cannot be written", &error))?;
    Ok(Some(folder.to_owned()))
}

async fn copy(
    context: &Context,
    reference: &str,
    (credentials, certificates): (Option<&str>, Option<&Path>),
    layers: &Path,
) -> Result<(), Failure> {
    let parsed: Option<Reference> = reference.parse().ok();
    let registry = parsed.map(|parsed| parsed.repository.registry).unwrap_or_default();
    let plain = context.job.registry.insecure.contains(&registry);
    let mut arguments = options(credentials, certificates, plain);
    arguments.extend([format!("docker://{reference}"), format!("dir:{}", layers.display())]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let pulled = tool::run(context, "skopeo", &arguments, &[]).await;
    pulled.map_err(|failure| of_pull(reference, &context.job.registry.platform, &failure.message))
}

/// How skopeo copies. By its digest, no signature says more of an image.
fn options(credentials: Option<&str>, certificates: Option<&Path>, plain: bool) -> Vec<String> {
    let fixed = ["copy", "--quiet", "--insecure-policy", "--dest-decompress", "--retry-times=3"];
    let credentials = credentials.map(|folder| format!("--src-authfile={folder}/config.json"));
    let certificates = certificates.map(|folder| format!("--src-cert-dir={}", folder.display()));
    let plain = plain.then(|| "--src-tls-verify=false".to_owned());
    fixed.map(str::to_owned).into_iter().chain(credentials).chain(certificates).chain(plain).collect()
}

/// Writes what all layers make together as one archive.
async fn merge(layers: &Path, files: &Files, most: u64) -> Result<(Boot, Usage), Failure> {
    let (layers, root) = (layers.to_owned(), files.root.clone());
    let merged = spawn_blocking(move || merged(&layers, &root, most)).await;
    merged.map_err(|error| local("merging the layers", &io::Error::other(error)))?
}

fn merged(layers: &Path, root: &Path, most: u64) -> Result<(Boot, Usage), Failure> {
    let unusable = |why: String| Failure::new(Reason::BuildFailed, why);
    let unreadable = |error: io::Error| local("the layers cannot be read", &error);
    let manifest = fs::read(layers.join("manifest.json")).map_err(unreadable)?;
    let names = flatten::layer_files(&manifest).map_err(|error| unusable(error.to_string()))?;
    let opened: io::Result<Vec<File>> = names.iter().map(|name| File::open(layers.join(name))).collect();
    let limits = Limits { entries: MOST_ENTRIES, bytes: most };
    let mut image = Image::read(opened.map_err(unreadable)?, limits).map_err(flattened)?;
    let boot = bootable::boot(image.tree()).map_err(|why| unusable(why.to_string()))?;
    let mut archive = BufWriter::new(File::create(root).map_err(unreadable)?);
    image.write(&mut archive).map_err(flattened)?;
    archive.flush().map_err(unreadable)?;
    Ok((boot, image.tree().usage()))
}

/// A full disk is no fault of the image.
fn flattened(error: flatten::Error) -> Failure {
    match error {
        flatten::Error::Unreadable { error, .. } => local("the layers cannot be read", &error),
        flatten::Error::Unwritable(error) => local("the flattened image cannot be written", &error),
        error => Failure::new(Reason::BuildFailed, error.to_string()),
    }
}

async fn run(context: &Context, what: &str, step: Step) -> Result<(), Failure> {
    let _step = context.log.step(what);
    let arguments: Vec<&str> = step.arguments.iter().map(String::as_str).collect();
    tool::run(context, step.program, &arguments, &step.environment).await
}

fn install(files: &Files, identity: Identity, size: bootable::DiskSize) -> Result<(), String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let (sector, core) = (read(&Files::boot_sector())?, read(&files.core)?);
    let mut disk = OpenOptions::new().write(true).open(&files.disk).map_err(|error| error.to_string())?;
    bootable::install(&mut disk, &sector, &core, identity, size).map_err(|error| error.to_string())
}

fn remove(removed: io::Result<()>) -> Result<(), Failure> {
    removed.map_err(|error| local("the workspace cannot be written", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_reached_as_the_job_says() {
        let always = "copy --quiet --insecure-policy --dest-decompress --retry-times=3";
        assert_eq!(options(None, None, false).join(" "), always);
        assert_eq!(
            options(Some("/s/pull"), Some(Path::new("/w/certificates")), true).join(" "),
            format!(
                "{always} --src-authfile=/s/pull/config.json --src-cert-dir=/w/certificates --src-tls-verify=false"
            )
        );
    }
}
