//! Look-ups and promotions of boxes in the package registry of Gitea.

use super::{Lookups, Used, parsed, used::Answered};
use crate::{
    plan::{
        chain::Promotion,
        credentials::gitea::GiteaSecret,
        failure::Failure,
        image::{Digest, Reference, Tag},
        lookup::{Found, Stray},
        recipe::BoxPackage,
        resolve::of_reference,
        valid::ValidProfile,
    },
    remote::{
        gitea::{self, Credentials, Gitea, Package, Settings},
        registry::Tested,
    },
};

/// A way to a server, and who we are there.
struct Access {
    gitea: Gitea,
    credentials: Credentials,
}

impl Lookups {
    /// Whether the version has the file that was uploaded, whose digest is `shown`.
    pub(super) async fn check_package(
        &self,
        namespace: &str,
        (package, shown): (&BoxPackage<Tag>, &str),
        profile: Option<&ValidProfile>,
    ) -> Result<Answered, Used<Failure>> {
        let Used { outcome: secret, secret_version } = self.reader.gitea(namespace, &package.secret).await?;
        let with_secret = |outcome| Used { outcome, secret_version: secret_version.clone() };
        let access = self.gitea(&secret, &package.secret, profile).await.map_err(with_secret)?;
        let found = access.gitea.file(&place(package), &access.credentials).await;
        let leads_to = found.map(|digest| digest.map(|digest| digest.to_string()));
        let strays = leads_to.map(|leads_to| {
            let stray = Stray { tag: package.version.to_string(), leads_to };
            if stray.leads_to.as_deref() == Some(shown) { Vec::new() } else { vec![stray] }
        });
        let outcome = strays.map(Found::Strays).map_err(|error| failure(&error));
        Ok(Used { outcome, secret_version })
    }

    /// Uploads a verified box. The answer is whether that was there.
    pub(super) async fn upload(
        &self,
        namespace: &str,
        (wanted, package): (&Promotion, &BoxPackage<Tag>),
        profile: Option<&ValidProfile>,
    ) -> Result<Answered, Used<Failure>> {
        let Used { outcome: secret, secret_version } = self.reader.gitea(namespace, &package.secret).await?;
        let with_secret = |outcome| Used { outcome, secret_version: secret_version.clone() };
        let access = self.gitea(&secret, &package.secret, profile).await.map_err(with_secret)?;
        let source = self.staging(profile).await?;
        let registry = self.registry((&wanted.profile, profile), &[&source]).await?;
        let staged: Reference = parsed(&wanted.staged)?;
        let promotion = gitea::Promotion {
            registry: &registry,
            tested: Tested {
                repository: &staged.repository,
                digest: &parsed::<Digest>(of_reference(&wanted.staged))?,
                kind: wanted.kind,
                content: &parsed::<Digest>(&wanted.content)?,
                credentials: &source.credentials,
            },
            package: place(package),
            credentials: &access.credentials,
        };
        let outcome = match access.gitea.promote(&promotion).await {
            Ok(_) => Ok(Found::Presence(true)),
            Err(error) if error.is_gone() => Ok(Found::Presence(false)),
            Err(error) => Err(failure(&error)),
        };
        Ok(Used { outcome, secret_version })
    }

    /// The client with the settings of a profile, and what the Secret adds to them.
    async fn gitea(&self, secret: &GiteaSecret, name: &str, profile: Option<&ValidProfile>) -> Result<Access, Failure> {
        let credentials = Credentials::new(&secret.identity, name).map_err(|error| failure(&error))?;
        let network = self.network(profile).await?.trusting(secret.authority.as_deref());
        let settings = Settings { network, ..Settings::default() };
        let gitea = self.servers_of_packages.get(&format!("{settings:?}"), || Gitea::new(settings));
        Ok(Access { gitea: gitea.map_err(|error| failure(&error))?, credentials })
    }
}

const fn place(package: &BoxPackage<Tag>) -> Package<'_> {
    Package { address: &package.address, version: &package.version, provider: package.provider }
}

fn failure(error: &gitea::Error) -> Failure {
    Failure::new(error.reason(), error.to_string())
}
