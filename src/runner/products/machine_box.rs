//! Products that are boxes: files of the workspace.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use tokio::{process::Command, task::spawn_blocking};

use super::{
    registry,
    store::{Pushed, Store},
};
use crate::{
    api::{
        boxes::{BOX_ARTIFACT, BOX_CONFIG, BoxFormat, BoxProvider},
        condition::Reason,
    },
    boxes::{self, Checked, Inspected, Refusal},
    plan::{
        failure::Failure,
        image::{Digest, Reference, Repository},
        job::{Job, Machine, Parent, Staging},
    },
    remote::registry::{Pull, Push},
    runner::{
        context::Context,
        machine::{Boot, Bus, DiskFormat, Nic},
        process::{Tail, ending},
        progress::Progress,
        report::local,
    },
};

/// The boxes of a build.
pub(crate) struct Boxes<'c> {
    context: &'c Context,
    machine: Machine,
}

/// The disk of a box, ready to be booted.
pub(crate) struct Disk {
    path: PathBuf,
    format: DiskFormat,
    /// Whether the guest knows hardware of virtual machines alone, or that of `VirtualBox`.
    provider: Option<BoxProvider>,
    machine: Machine,
}

impl<'c> Boxes<'c> {
    /// The boxes of the build that the stage is of.
    pub(crate) const fn of(context: &'c Context, machine: Machine) -> Self {
        Self { context, machine }
    }

    /// The file of the product.
    pub(crate) fn product(&self) -> PathBuf {
        self.folder("product").join("box")
    }

    /// A folder of the workspace, beside the source.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.context.places.workspace.join(name)
    }

    /// What there is to know of the file of a box. A box may be as large as the disk of the build.
    pub(crate) async fn inspect(&self, path: &Path) -> Result<Inspected, Failure> {
        self.look(path).await?.map_err(|refusal| refused(&refusal))
    }

    /// The same of a file that need not be a box: why it is none is no failure yet.
    pub(crate) async fn look(&self, path: &Path) -> Result<Result<Inspected, Refusal>, Failure> {
        let (path, most) = (path.to_owned(), self.most());
        let look = move || match boxes::inspect(&path, most) {
            Err(local @ Refusal::Local { .. }) => Err(local),
            looked => Ok(looked),
        };
        blocking(look).await
    }

    /// The most bytes that a disk may have: a file with holes may be large, and take little.
    pub(crate) const fn most(&self) -> u64 {
        self.machine.storage
    }

    /// The architecture that is built for.
    pub(crate) fn architecture(&self) -> &str {
        architecture(&self.context.job.registry.platform)
    }

    /// A folder of the workspace, made.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn made(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.folder(name);
        fs::create_dir_all(&folder).map_err(|error| local("the workspace cannot be written", &error))?;
        Ok(folder)
    }

    /// A disk that is there as it is.
    pub(crate) const fn raw(&self, path: PathBuf) -> Disk {
        Disk { path, format: DiskFormat::Raw, provider: None, machine: self.machine }
    }

    /// The disk of the product: of a Vagrant box, it is unpacked.
    pub(crate) async fn disk(&self) -> Result<Disk, Failure> {
        let product = self.product();
        let inspected = self.inspect(&product).await?;
        self.disk_of(&product, &inspected, &self.folder("unpacked")).await
    }

    /// The first disk of a box; a Vagrant box is unpacked into a folder.
    ///
    /// # Errors
    /// The disk is damaged, whatever its header says.
    pub(crate) async fn disk_of(&self, path: &Path, inspected: &Inspected, folder: &Path) -> Result<Disk, Failure> {
        let disk = self.first_disk(path, inspected, folder).await?;
        self.check(&disk).await?;
        Ok(disk)
    }

    async fn first_disk(&self, path: &Path, inspected: &Inspected, folder: &Path) -> Result<Disk, Failure> {
        let Inspected { format, provider, .. } = *inspected;
        let disk = |path: PathBuf, format| Disk { path, format, provider, machine: self.machine };
        match format {
            BoxFormat::Qcow2 => Ok(disk(path.to_owned(), DiskFormat::Qcow2)),
            BoxFormat::Raw => Ok(disk(path.to_owned(), DiskFormat::Raw)),
            BoxFormat::Vagrant => {
                fs::create_dir_all(folder).map_err(|error| local("the box cannot be unpacked", &error))?;
                let (path, most, folder) = (path.to_owned(), self.most(), folder.to_owned());
                let unpacked = blocking(move || boxes::unpack(&path, &folder, most)).await?;
                let first = unpacked.disks.into_iter().next();
                let first = first.ok_or_else(|| Failure::new(Reason::BoxRefused, "the box has no disk"))?;
                let format =
                    if provider == Some(BoxProvider::VirtualBox) { DiskFormat::Vmdk } else { DiskFormat::Qcow2 };
                Ok(disk(first, format))
            }
        }
    }

    /// Lets `qemu-img` compare the tables of a disk with each other and with its length.
    async fn check(&self, disk: &Disk) -> Result<(), Failure> {
        let mut command = Command::new("qemu-img");
        command.args(["check", "-q", "-f", disk.format.name()]).arg(&disk.path);
        let mut tail = Tail::default();
        let status = self.context.processes.run(command, &mut |line| tail.push(line)).await?;
        match boxes::checked(status.code()) {
            Checked::Good | Checked::NotCheckable => Ok(()),
            Checked::Damaged(defect) => {
                let message = format!("{}: {}", Refusal::Disk { name: disk.name(), defect }, tail.last(3));
                Err(Failure::new(Reason::BoxRefused, message))
            }
            Checked::Unfinished => {
                let message = format!("qemu-img check ended with {}: {}", ending(status), tail.last(3));
                Err(Failure::new(Reason::StageInterrupted, message))
            }
        }
    }

    /// Fetches the box that the build stands on, unless the stage `source` has done it.
    pub(crate) async fn pull(&self, parent: &Parent, path: &Path) -> Result<(), Failure> {
        if parent.is_fetched {
            return Ok(());
        }
        let (repository, digest) = parts(&parent.reference)?;
        let _step = self.context.log.step(format!("pulling the box {}", parent.reference));
        let registry = registry::client(&self.context.job, parent.certificate_authority.as_deref())?;
        let credentials = registry::credentials(parent.credentials.as_deref())?;
        let pull = Pull {
            repository: &repository,
            digest: &digest,
            artifact_type: BOX_ARTIFACT,
            most: self.most(),
            credentials: &credentials,
        };
        let progress = Progress::of(&self.context.log);
        let pulled = registry.pull_artifact(&pull, path, &|done, all| progress.tell(done, Some(all))).await;
        pulled.map(drop).map_err(|error| Failure::new(error.reason(), error.to_string()))
    }

    /// Pushes the product to the staging reference.
    pub(crate) async fn push(&self, tested: &str, staging: &Staging) -> Result<Pushed, Failure> {
        let product = self.product();
        let inspected = self.inspect(&product).await?;
        let config = serde_json::to_vec(&inspected.config(self.architecture()));
        let config = config.map_err(|error| local("the configuration of the box", &io::Error::other(error)))?;
        let place = format!("{}:{}", staging.repository, staging.tag);
        let invalid =
            |what: &str| Failure::new(Reason::RegistryUnavailable, format!("{what} is no place in a registry"));
        let (repository, tag) = (staging.repository.parse(), staging.tag.parse());
        let (repository, tag) = (repository.map_err(|_| invalid(&place))?, tag.map_err(|_| invalid(&place))?);
        let credentials = registry::credentials(staging.credentials.as_deref())?;
        let title = title(&self.context.job, inspected.format);
        let push = Push {
            repository: &repository,
            tag: &tag,
            artifact_type: BOX_ARTIFACT,
            config: &config,
            config_type: BOX_CONFIG,
            file: &product,
            file_type: inspected.format.media_type(),
            title: &title,
            annotations: &BTreeMap::new(),
            credentials: &credentials,
        };
        let _step = self.context.log.step(format!("pushing {place}"));
        let registry = registry::client(&self.context.job, staging.certificate_authority.as_deref())?;
        let progress = Progress::of(&self.context.log);
        let pushed = registry.push_artifact(&push, &|done, all| progress.tell(done, Some(all))).await;
        let pushed = pushed.map_err(|error| Failure::new(error.reason(), error.to_string()))?;
        if pushed.content.to_string() != tested {
            let message = format!("the box {} was pushed, and {tested} was tested: it is not used", pushed.content);
            return Err(Failure::new(Reason::ImageMismatch, message));
        }
        Ok(Pushed { digest: pushed.digest.to_string(), size: i64::try_from(pushed.size).unwrap_or(i64::MAX) })
    }
}

impl Store for Boxes<'_> {
    fn name(&self) -> String {
        "the box of the build".to_owned()
    }

    async fn content(&self) -> Result<Option<String>, Failure> {
        let product = self.product();
        if !product.exists() {
            return Ok(None);
        }
        self.inspect(&product).await.map(|inspected| Some(format!("sha256:{}", inspected.sha256)))
    }
}

impl Disk {
    /// A machine of it, with what the profile grants.
    pub(crate) fn boot(&self, folder: PathBuf) -> Boot {
        let Machine { memory, processors, .. } = self.machine;
        let (bus, nic) = match self.provider {
            Some(BoxProvider::VirtualBox) => (Bus::Sata, Nic::E1000),
            Some(BoxProvider::Libvirt) | None => (Bus::Virtio, Nic::Virtio),
        };
        Boot {
            disk: self.path.clone(),
            format: self.format,
            memory: u32::try_from(memory).unwrap_or(u32::MAX),
            processors: u32::try_from(processors).unwrap_or(1),
            bus,
            nic,
            folder,
            shows_console: true,
        }
    }

    /// The name of its file.
    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How it is stored.
    pub(crate) const fn format(&self) -> DiskFormat {
        self.format
    }
}

/// Reads or writes a large file beside the work of the stage, which has to hear of its end meanwhile.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Failure> {
    let done = spawn_blocking(work).await.map_err(|error| local("reading a box", &io::Error::other(error)))?;
    done.map_err(|refusal| match refusal {
        Refusal::Local { doing, error } => local(&doing, &error),
        refusal => refused(&refusal),
    })
}

fn refused(refusal: &Refusal) -> Failure {
    Failure::new(Reason::BoxRefused, refusal.to_string())
}

/// The repository and the digest of a reference.
fn parts(reference: &str) -> Result<(Repository, Digest), Failure> {
    let parsed: Option<Reference> = reference.parse().ok();
    let parts = parsed.and_then(|parsed| Some((parsed.repository, parsed.digest?)));
    parts.ok_or_else(|| Failure::new(Reason::SpecInvalid, format!("{reference} is no box by its digest")))
}

/// The architecture of a platform such as `linux/amd64`.
fn architecture(platform: &str) -> &str {
    platform.split('/').nth(1).unwrap_or(platform)
}

/// The name of the file for who pulls it by other tools.
fn title(job: &Job, format: BoxFormat) -> String {
    let extension = match format {
        BoxFormat::Vagrant => "box",
        BoxFormat::Qcow2 => "qcow2",
        BoxFormat::Raw => "img",
    };
    format!("{}.{extension}", job.link.as_deref().unwrap_or(&job.build))
}
