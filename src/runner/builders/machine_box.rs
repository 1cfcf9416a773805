//! Building a box.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{bootable, packer, tool};
use crate::{
    api::{
        boxes::{ArtifactKind, BoxFormat, BoxProvider},
        condition::Reason,
    },
    boxes::{self, Hardware, Inspected, Parts, Refusal},
    plan::{
        failure::Failure,
        job::{Machine, Parent},
        observed::Report,
        recipe::{Build, machine_box},
    },
    runner::{
        context::Context,
        machine::DiskFormat,
        products::{Boxes, Disk, blocking},
        report::local,
    },
};

/// What a box for `VirtualBox` has when it is started first; a Vagrantfile may say otherwise.
const SHIPPED: Hardware = Hardware { processors: 2, memory: 1024 };

/// Builds the box. The answer is the digest of its file.
pub(super) async fn build(context: &Context, machine: Machine, report: &mut Report) -> Result<String, Failure> {
    let boxes = Boxes::of(context, machine);
    match &context.job.steps.build {
        Build::Box(step) => Making { context, boxes: &boxes, step }.run().await?,
        Build::Packer(recipe) => packer::make_box(context, &boxes, recipe, report).await?,
    }
    // Whatever the program said that made it: what pushes it is another user.
    fs::set_permissions(boxes.product(), fs::Permissions::from_mode(0o644))
        .map_err(|error| local("the box cannot be read by who pushes it", &error))?;
    let inspected = boxes.inspect(&boxes.product()).await?;
    context.log.say(format_args!(
        "built a box: {:?}, {} MiB, a disk of {} MiB, sha256 {}",
        inspected.format,
        inspected.size.div_ceil(1 << 20),
        inspected.virtual_size.div_ceil(1 << 20),
        inspected.sha256
    ));
    Ok(format!("sha256:{}", inspected.sha256))
}

/// Making a box of the parent.
struct Making<'m> {
    context: &'m Context,
    boxes: &'m Boxes<'m>,
    step: &'m machine_box::Box<String>,
}

impl Making<'_> {
    async fn run(&self) -> Result<(), Failure> {
        let parent = self.context.job.parent.as_ref();
        let parent =
            parent.ok_or_else(|| Failure::new(Reason::SpecInvalid, "build.box makes a box of a parent: set from"))?;
        let disk = match parent.kind {
            ArtifactKind::Box => self.of_box(parent).await?,
            ArtifactKind::Image => bootable::make(self.context, self.boxes, parent, self.step.size).await?,
        };
        self.convert(&disk).await
    }

    /// The disk of the box that it stands on.
    async fn of_box(&self, parent: &Parent) -> Result<Disk, Failure> {
        let file = self.boxes.made("parent")?.join("box");
        self.boxes.pull(parent, &file).await?;
        let inspected = self.boxes.inspect(&file).await?;
        self.boxes.disk_of(&file, &inspected, &self.boxes.folder("parent/unpacked")).await
    }

    /// Writes the disk as the box that is wanted.
    async fn convert(&self, disk: &Disk) -> Result<(), Failure> {
        self.boxes.made("product")?;
        let (product, most) = (self.boxes.product(), self.boxes.most());
        match (self.step.format, self.step.provider) {
            (BoxFormat::Qcow2, _) => self.written(disk, DiskFormat::Qcow2, &product).await,
            (BoxFormat::Raw, _) => self.written(disk, DiskFormat::Raw, &product).await,
            (BoxFormat::Vagrant, Some(BoxProvider::VirtualBox)) => {
                let stream = self.boxes.made("packed")?.join("box-disk001.vmdk");
                self.written(disk, DiskFormat::Vmdk, &stream).await?;
                let ovf = stream.with_file_name("box.ovf");
                self.packed(move |architecture, out| {
                    boxes::write_ovf(&stream, &ovf, SHIPPED)?;
                    boxes::pack(Parts::VirtualBox { ovf: &ovf }, Some(architecture), most, out)
                })
                .await
            }
            (BoxFormat::Vagrant, _) => {
                let qcow2 = self.boxes.made("packed")?.join("box.img");
                self.written(disk, DiskFormat::Qcow2, &qcow2).await?;
                self.packed(move |architecture, out| {
                    boxes::pack(Parts::Libvirt { disk: &qcow2 }, Some(architecture), most, out)
                })
                .await
            }
        }
    }

    /// Writes the disk in another format. Each byte that a machine sees of it stays the same.
    async fn written(&self, disk: &Disk, format: DiskFormat, path: &Path) -> Result<(), Failure> {
        let _step = self.context.log.step(format!("writing the disk as {}", format.name()));
        let [from, to] = [disk.path(), path].map(|path| path.display().to_string());
        let options: &[&str] = if format == DiskFormat::Vmdk { &["-o", "subformat=streamOptimized"] } else { &[] };
        let convert = ["convert", "-f", disk.format().name(), "-O", format.name()];
        self.qemu_img(&[&convert, options, &[&from, &to]].concat()).await?;
        self.qemu_img(&["compare", "-f", disk.format().name(), "-F", format.name(), &from, &to]).await
    }

    async fn qemu_img(&self, arguments: &[&str]) -> Result<(), Failure> {
        tool::run(self.context, "qemu-img", arguments, &[]).await
    }

    /// Packs a Vagrant box.
    async fn packed(
        &self,
        pack: impl FnOnce(&str, &Path) -> Result<Inspected, Refusal> + Send + 'static,
    ) -> Result<(), Failure> {
        let _step = self.context.log.step("packing the box");
        let (out, architecture) = (self.boxes.product(), self.boxes.architecture().to_owned());
        blocking(move || pack(&architecture, &out)).await.map(drop)
    }
}
