//! What the stages are to do.

use super::{
    attempt::Attempt,
    part::{FILES, GIT, PULL, PULL_AUTHORITY, PUSH, PUSH_AUTHORITY, pull, push},
};
use crate::plan::{
    build::{PUBLISH_TIMEOUT, source_timeout},
    credentials::AUTHORITY,
    job::{
        BOX_FILE, FILES_FOLDER, FORMAT, Job, Machine, Network, PARENT_BOX, PARENT_CHECKSUM, PARENT_DISK, Parent,
        Registry, RemoteFile, SECRETS, Source, Staging, Timeouts, WORKSPACE,
    },
    path::SourcePath,
    placeholder::Placeholder,
    recipe::{self, Values},
    valid::{ValidNetwork, ValidProfile},
};

/// What a stage needs beside the memory of its machine, in bytes: for ansible or pytest, and for the hypervisor itself.
const BESIDE_MACHINE: u64 = 768 << 20;

impl Attempt<'_> {
    pub(super) fn job(&self) -> Job {
        let (values, recipe) = (self.values(), &self.build.recipe);
        Job {
            format: FORMAT,
            build: self.name.to_owned(),
            chain: self.link.map(|(chain, _)| chain.to_owned()),
            link: self.link.map(|(_, link)| link.to_owned()),
            attempt: self.number,
            source: self.source(),
            revision: self.inputs.revision.clone(),
            files: self.inputs.files.clone(),
            uses: recipe.used_paths(),
            fetch: self.fetch(),
            file_cache: self.operator.file_cache.filter(|_| recipe.fetches_files()).map(str::to_owned),
            parent: self.parent(),
            steps: recipe.steps.fill(&values),
            engine: self.inputs.container_engine,
            machine: self.machine(),
            image: self.image(),
            staging: self.staging(),
            registry: self.registry(),
            network: self.network(),
            timeouts: self.timeouts(),
        }
    }

    /// The name that the image gets in the engine when it is built.
    fn image(&self) -> String {
        format!("imagechain.local/{}:{}", self.local_folder(), self.name)
    }

    fn source(&self) -> Source {
        match &self.build.recipe.source {
            recipe::Source::Git { url, revision, directory, secret } => Source::Git {
                url: url.clone(),
                written: revision.clone(),
                directory: directory.as_ref().map(SourcePath::to_string),
                credentials: secret.as_ref().map(|_| secret_path(GIT)),
            },
            recipe::Source::ConfigMap(_) | recipe::Source::Inline(_) => Source::Files(secret_path(FILES)),
        }
    }

    fn parent(&self) -> Option<Parent> {
        let recipe::Parent { origin, local_name, layers, .. } = self.build.recipe.parent.as_ref()?;
        let file = origin.file().map(|file| file.url.to_string());
        Some(Parent {
            kind: self.inputs.parent_kind,
            is_fetched: file.is_some(),
            reference: file.or_else(|| self.inputs.parent.as_ref().map(ToString::to_string))?,
            local_name: local_name.clone(),
            layers: *layers,
            credentials: pull(self).map(|_| secret_path(PULL)),
            // An engine knows it by its place.
            certificate_authority: pull(self)
                .filter(|_| self.inputs.hypervisor.is_some())
                .map(|_| secret_path(PULL_AUTHORITY)),
        })
    }

    fn fetch(&self) -> Vec<RemoteFile> {
        let recipe = &self.build.recipe;
        let parent = recipe.parent.as_ref().and_then(|parent| parent.origin.file());
        let parent = parent.map(|file| (BOX_FILE.to_owned(), file));
        let files = recipe.files.iter().map(|input| (path_of_file(&input.name), &input.file));
        let remote = |(path, file): (String, &recipe::RemoteFile)| RemoteFile {
            url: file.url.to_string(),
            sha256: file.sha256.to_string(),
            path,
        };
        parent.into_iter().chain(files).map(remote).collect()
    }

    fn machine(&self) -> Option<Machine> {
        let ValidProfile { memory_bytes, milli_cpu, storage_bytes, .. } = self.profile;
        self.inputs.hypervisor?;
        Some(Machine {
            memory: memory_bytes.saturating_sub(BESIDE_MACHINE) >> 20,
            processors: milli_cpu.div_ceil(1000),
            storage: *storage_bytes,
        })
    }

    fn staging(&self) -> Staging {
        Staging {
            repository: self.target.repository.to_string(),
            tag: self.pod_name(),
            credentials: push(self).map(|_| secret_path(PUSH)),
            certificate_authority: push(self).map(|_| secret_path(PUSH_AUTHORITY)),
        }
    }

    fn registry(&self) -> Registry {
        Registry {
            platform: self.profile.platform.clone(),
            mirrors: self.profile.mirrors.clone(),
            insecure: self.profile.insecure.iter().cloned().collect(),
            certificate_authority: self.profile.certificate_authority.as_ref().map(|_| secret_path(AUTHORITY)),
        }
    }

    fn network(&self) -> Network {
        let ValidNetwork { certificate_authority, proxy } = &self.profile.network;
        let certificate_authority = certificate_authority.as_ref().map(|_| secret_path(AUTHORITY));
        Network { certificate_authority, proxy: proxy.clone().unwrap_or_default() }
    }

    fn timeouts(&self) -> Timeouts {
        let recipe = &self.build.recipe;
        Timeouts {
            source: source_timeout(recipe).as_secs(),
            build: recipe.limits.build.as_secs(),
            verify: recipe.limits.verify.as_secs(),
            publish: PUBLISH_TIMEOUT.as_secs(),
        }
    }

    fn values(&self) -> Values {
        let recipe = &self.build.recipe;
        let parent = recipe.parent.as_ref().zip(self.inputs.parent.as_ref());
        let mut values = parent.map_or_else(Vec::new, |(parent, reference)| parent.values(&reference.0));
        values.extend(recipe.parent.iter().flat_map(|_| files_of_parent()));
        let file = |name: &String| (Placeholder::File(name.clone()), format!("{WORKSPACE}/{}", path_of_file(name)));
        values.extend(recipe.files.iter().map(|input| file(&input.name)));
        values.extend([
            (Placeholder::ImageLocal, self.image()),
            (Placeholder::BuildName, self.name.to_owned()),
            (Placeholder::SourceRevision, self.inputs.revision.clone()),
            (Placeholder::SourcePath, self.source().path()),
        ]);
        if let Some((chain, link)) = self.link {
            values.extend([(Placeholder::ChainName, chain.to_owned()), (Placeholder::LinkName, link.to_owned())]);
        }
        values.into_iter().collect()
    }
}

/// Where a file of another server is put, below the workspace.
fn path_of_file(name: &str) -> String {
    format!("{FILES_FOLDER}/{name}")
}

/// Where the files of a parent are that is a box.
fn files_of_parent() -> [(Placeholder, String); 3] {
    [
        (Placeholder::ParentBox, PARENT_BOX.to_owned()),
        (Placeholder::ParentDisk, PARENT_DISK.to_owned()),
        (Placeholder::ParentChecksum, format!("file:{PARENT_CHECKSUM}")),
    ]
}

fn secret_path(path: &str) -> String {
    format!("{SECRETS}/{path}")
}
