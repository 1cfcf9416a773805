//! The facts that a cluster holds, read with the rights of whoever asks.

use std::{collections::BTreeMap, io, path::PathBuf};

use k8s_openapi::{api::core::v1::ConfigMap, jiff::Timestamp};
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::runtime::{Builder, Runtime};

use super::facts::{Ask, Inventory, entries};
use crate::{
    api::{CHAIN_LABEL, build::ImageBuild, chain::ImageChain, profile::BuildProfile},
    plan::{
        chain::config_map_sources,
        lookup::{Answer, Subject},
        resolve::ConfigMapFact,
        valid::ValidProfile,
    },
    remote::network::Network,
    runtime::{
        client::{self, Cluster},
        clock,
        lookups::{Lookups, Reader},
        metrics::Metrics,
    },
};

/// Which cluster, and where in it.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Compare with the cluster: what it has built, and what sources and base images are now.
    #[arg(long)]
    pub cluster: bool,
    /// The kubeconfig; without it, the one that kubectl uses.
    #[arg(long, requires = "cluster", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in it; without it, the current one.
    #[arg(long, requires = "cluster")]
    context: Option<String>,
    /// The namespace of chains whose file names none; without it, that of the context.
    #[arg(short, long, requires = "cluster")]
    namespace: Option<String>,
}

/// A cluster to ask.
pub(super) struct Live {
    runtime: Runtime,
    lookups: Lookups,
    client: Client,
    namespace: String,
    /// Where git works; it goes with us.
    _scratch: tempfile::TempDir,
}

impl Live {
    pub fn new(place: &Place) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let cluster = Cluster::Kubeconfig { path: place.kubeconfig.clone(), context: place.context.clone() };
        let made = runtime.block_on(async {
            let config = client::config(&cluster).await?;
            let namespace = config.default_namespace.clone();
            Ok((client::client(config, CONCURRENCY, &Metrics::default())?, namespace))
        });
        let (client, namespace) = made.map_err(|error: client::Error| io::Error::other(error))?;
        let scratch = tempfile::tempdir()?;
        let reader = Reader::new(client.clone(), "you".to_owned());
        let lookups = Lookups::new(reader, scratch.path().to_owned(), Network::default());
        let namespace = place.namespace.clone().unwrap_or(namespace);
        Ok(Self { runtime, lookups, client, namespace, _scratch: scratch })
    }

    /// Adds what the cluster knows to the chains of files.
    pub fn complete(&self, inventory: &mut Inventory) -> io::Result<()> {
        self.runtime
            .block_on(self.read(inventory))
            .map_err(|error| io::Error::other(format!("reading the cluster: {error}")))
    }

    async fn read(&self, inventory: &mut Inventory) -> Result<(), kube::Error> {
        for chain in &mut inventory.chains {
            let namespace = chain.metadata.namespace.get_or_insert_with(|| self.namespace.clone()).clone();
            let chains: Api<ImageChain> = Api::namespaced(self.client.clone(), &namespace);
            if let Some(live) = chains.get_opt(&chain.name_any()).await? {
                overlay(chain, live);
            }
            let builds: Api<ImageBuild> = Api::namespaced(self.client.clone(), &namespace);
            let labelled = ListParams::default().labels(&format!("{CHAIN_LABEL}={}", chain.name_any()));
            inventory.builds.extend(builds.list(&labelled).await?.items);
            for name in config_map_sources(&chain.spec) {
                let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
                let fact = maps.get_opt(&name).await?.map_or(ConfigMapFact::Missing, |map| entries(&map));
                inventory.config_maps.entry((Some(namespace.clone()), name)).or_insert(fact);
            }
        }
        let profiles = Api::<BuildProfile>::all(self.client.clone()).list(&ListParams::default()).await?;
        let profiles = profiles.items.into_iter().map(|profile| (profile.name_any(), profile));
        // Those of the files are what is asked about.
        let written = std::mem::take(&mut inventory.profiles);
        inventory.profiles = profiles.chain(written).collect::<BTreeMap<_, _>>();
        self.read_others(inventory).await
    }

    /// All other chains: links may stand on them, and own tags. Who may not see those of other namespaces
    /// sees those of this one.
    async fn read_others(&self, inventory: &mut Inventory) -> Result<(), kube::Error> {
        let all = Api::<ImageChain>::all(self.client.clone()).list(&ListParams::default()).await;
        let found = match all {
            Err(kube::Error::Api(status)) if status.code == 403 => {
                Api::<ImageChain>::namespaced(self.client.clone(), &self.namespace).list(&ListParams::default()).await?
            }
            other => other?,
        };
        let is_asked = |other: &ImageChain| {
            inventory
                .chains
                .iter()
                .any(|chain| chain.name_any() == other.name_any() && chain.namespace() == other.namespace())
        };
        inventory.others = found.items.into_iter().filter(|other| !is_asked(other)).collect();
        Ok(())
    }
}

/// How many requests may run at once.
const CONCURRENCY: usize = 8;

/// The chain as it would be after `kubectl apply`: the object of the cluster with the spec of the file.
fn overlay(written: &mut ImageChain, live: ImageChain) {
    let changed = written.spec != live.spec;
    let annotations = written.metadata.annotations.take();
    written.metadata = live.metadata;
    written.metadata.annotations.get_or_insert_default().extend(annotations.unwrap_or_default());
    written.metadata.generation = written.metadata.generation.map(|number| number + i64::from(changed));
    written.status = live.status;
}

impl Ask for Live {
    fn ask(&self, namespace: Option<&str>, subject: &Subject, profile: Option<&ValidProfile>) -> Option<Answer> {
        let namespace = namespace.unwrap_or(&self.namespace);
        let answered = self.runtime.block_on(self.lookups.find(namespace, subject, profile));
        Some(Answer { at: clock::now(), result: answered.outcome, failures: 1 })
    }

    fn now(&self) -> Option<Timestamp> {
        Some(clock::now())
    }
}
