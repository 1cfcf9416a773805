//! Boxes that packer makes: it boots the disk of the parent, and the box is among the files that it leaves.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    ground::Ground,
    template_run::{Ended, built},
};
use crate::{
    api::{boxes::BoxFormat, build::Stage, condition::Reason},
    boxes::{self, Inspected, Refusal},
    plan::{failure::Failure, job::Parent, observed::Report, recipe::packer::Packer},
    runner::{
        context::Context,
        machine::Started,
        products::{Boxes, blocking},
        report::local,
    },
};

/// The smallest file that may be a raw disk, in bytes: others, such as checksums, have no form by which they could be
/// told from one.
const SMALLEST_RAW: u64 = 1 << 20;
/// How many files that are no box are told of.
const MOST_TOLD: usize = 3;

const NOTHING: &str = "packer ended well and made no box: the qemu builder leaves a disk, and the post-processor vagrant \
                       makes a Vagrant box of it; compress leaves an archive alone, unless with \
                       keep_input_artifact = true; artifice drops files that are missing; and build.packer.only must \
                       name a build of the template";

const ADVICE_ON_SIZE: &str = " (packer's qemu builder makes each disk one of 40 GiB, unless disk_size says otherwise)";

/// A file that packer left.
struct File {
    build: String,
    /// As packer names it.
    name: String,
    path: PathBuf,
    inspected: Result<Inspected, Refusal>,
}

/// Runs packer, and puts the box that it made where the product is.
///
/// # Errors
/// Why there is no box.
pub(in crate::runner::builders) async fn make(
    context: &Context,
    boxes: &Boxes<'_>,
    recipe: &Packer<String>,
    report: &mut Report,
) -> Result<(), Failure> {
    if let Some(parent) = &context.job.parent {
        bring(boxes, parent).await?;
    }
    let started = Started::prepare(context, Stage::Build).await?;
    let Ended { outcome, folder, left_out } = built(context, Ground::Machines(started), recipe).await?;
    report.left_out = left_out;
    let mut files = Vec::new();
    for (build, name) in outcome.files() {
        files.extend(file(boxes, &folder, build, name).await?);
    }
    let File { name, path, .. } = pick(files)?;
    context.log.say(format_args!("packer made {name}"));
    take(&path, &boxes.product())
}

/// Puts the files of the parent where placeholders say.
async fn bring(boxes: &Boxes<'_>, parent: &Parent) -> Result<(), Failure> {
    let failed = |error: io::Error| local("the parent cannot be written to the workspace", &error);
    let folder = boxes.folder("parent");
    fs::create_dir_all(&folder).map_err(failed)?;
    let file = folder.join("box");
    boxes.pull(parent, &file).await?;
    let inspected = boxes.inspect(&file).await?;
    let unpacked = boxes.disk_of(&file, &inspected, &folder.join("unpacked")).await?;
    let disk = folder.join("disk");
    // Of a box that is a disk, another name of it; of a Vagrant box, the file that was unpacked.
    if unpacked.path() == file { fs::hard_link(&file, &disk) } else { fs::rename(unpacked.path(), &disk) }
        .map_err(failed)?;
    let sha256 = {
        let disk = disk.clone();
        blocking(move || boxes::checksum(&disk)).await?
    };
    fs::write(folder.join("disk.sha256"), format!("{sha256}  disk\n")).map_err(failed)
}

/// A file of packer's as it is; `None` where it is none, or has been taken away since.
async fn file(boxes: &Boxes<'_>, folder: &Path, build: &str, name: &str) -> Result<Option<File>, Failure> {
    let path = folder.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let inspected = boxes.look(&path).await?;
    Ok(Some(File { build: build.to_owned(), name: name.to_owned(), path, inspected }))
}

impl File {
    /// Whether it is meant as a Vagrant box, though one may be refused.
    fn is_vagrant(&self) -> bool {
        match &self.inspected {
            Ok(inspected) => inspected.format == BoxFormat::Vagrant,
            Err(_) => Path::new(&self.name).extension().is_some_and(|extension| extension == "box"),
        }
    }

    fn is_disk(&self) -> bool {
        match &self.inspected {
            Ok(Inspected { format: BoxFormat::Qcow2, .. }) => true,
            Ok(Inspected { format: BoxFormat::Raw, size, .. }) => *size >= SMALLEST_RAW,
            Ok(_) | Err(_) => false,
        }
    }

    /// It, if it is a box that may be used.
    fn good(self) -> Result<Self, Failure> {
        let Err(refusal) = &self.inspected else { return Ok(self) };
        let advice = if matches!(refusal, Refusal::DiskTooLarge { .. }) { ADVICE_ON_SIZE } else { "" };
        Err(Failure::new(Reason::BoxRefused, format!("{}: {refusal}{advice}", self.name)))
    }

    /// Why it is no box, in a sentence.
    fn refusal(&self) -> Option<String> {
        let refusal = self.inspected.as_ref().err()?;
        Some(format!("{}: {refusal}", self.name))
    }
}

/// The one box among the files: a Vagrant box if there is one, or else a disk.
fn pick(files: Vec<File>) -> Result<File, Failure> {
    let nothing = nothing(&files);
    let (vagrant, others): (Vec<_>, Vec<_>) = files.into_iter().partition(File::is_vagrant);
    let made = if vagrant.is_empty() { others.into_iter().filter(File::is_disk).collect() } else { vagrant };
    let mut made = made.into_iter();
    match (made.next(), made.next()) {
        (Some(file), None) => file.good(),
        (None, _) => Err(nothing),
        (Some(first), Some(second)) => Err(several(&first, &second)),
    }
}

fn nothing(files: &[File]) -> Failure {
    let refusals: Vec<_> = files.iter().filter_map(File::refusal).take(MOST_TOLD).collect();
    let message = if refusals.is_empty() { NOTHING.to_owned() } else { format!("{NOTHING}. {}", refusals.join(". ")) };
    Failure::new(Reason::NoImage, message)
}

fn several(first: &File, second: &File) -> Failure {
    let advice = if first.build == second.build {
        "let the post-processor vagrant make one box of them, or name the one file with the post-processor artifice"
    } else {
        "pick one build with build.packer.only"
    };
    let message = format!(
        "the template made several boxes, {} in the build {} and {} in the build {}: {advice}",
        first.name, first.build, second.name, second.build
    );
    Failure::new(Reason::SeveralImages, message)
}

/// Moves a file, if need be to another volume.
fn take(from: &Path, to: &Path) -> Result<(), Failure> {
    let moved = || {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                // Holes become zeros: of a raw disk, that is all that is lost.
                fs::copy(from, to)?;
                fs::remove_file(from)
            }
            moved => moved,
        }
    };
    moved().map_err(|error| local(&format!("{} cannot be moved to the product", from.display()), &error))
}

#[cfg(test)]
mod tests;
