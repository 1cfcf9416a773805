//! A version of a Vagrant box in a package registry.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::jiff::Timestamp;

use super::{fields::Fields, steps::Build, tag::TagTemplate};
use crate::{
    api::{
        boxes::{BoxFormat, BoxProvider},
        recipe as api,
    },
    plan::{
        gitea::BoxAddress,
        image::Tag,
        placeholder::Template,
        vagrant::{BoxError, check_version},
        validate::problem::Problems,
    },
};

/// A time of as many digits as all have until the year 2286: it decides what a version may be.
const SOME_TIME: Timestamp = Timestamp::constant(1_000_000_000, 0);

/// One file of a version of a box: as it is written, or, with `T` = [`Tag`], for one build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoxPackage<T = TagTemplate> {
    /// Where the box is.
    pub address: BoxAddress,
    /// Its version.
    pub version: T,
    /// The provider whose file it is: a version may have one for each.
    pub provider: BoxProvider,
    /// The Secret with the right to upload.
    pub secret: String,
}

impl BoxPackage {
    /// Validates what is written. `None` where something is wrong that leaves no valid form.
    #[must_use]
    pub fn validate(written: &api::PublishGitea, mut fields: Fields<'_>) -> Option<Self> {
        let server = fields.parse("url", &written.url.0);
        let tag = fields.parse("tag", &written.tag.0);
        let version = fields.take("version", version(&written.version.0));
        let secret = written.secret_ref.name.to_string();
        Some(Self {
            address: BoxAddress { server: server?, tag: tag? },
            version: version?,
            provider: written.provider,
            secret,
        })
    }

    /// What is written, if it is valid.
    #[must_use]
    pub fn of(written: &api::PublishGitea) -> Option<Self> {
        let mut problems = Problems::default();
        let valid = Self::validate(written, Fields::new(String::new(), &BTreeSet::new(), &mut problems));
        valid.filter(|_| problems.is_empty())
    }

    /// The same for a build that was made then; `None` where the version holds a time that nobody knows.
    #[must_use]
    pub fn filled(&self, created: Option<Timestamp>) -> Option<BoxPackage<Tag>> {
        let Self { address, version, provider, secret } = self;
        let version = version.filled(created)?;
        Some(BoxPackage { address: address.clone(), version, provider: *provider, secret: secret.clone() })
    }

    /// What is wrong with it for a build whose product is known by what is written; `None` where only the product
    /// tells.
    #[must_use]
    pub fn misfit(&self, build: &Build<Template>) -> Option<String> {
        let Build::Box(step) = build else { return None };
        match (step.format, step.provider) {
            (BoxFormat::Vagrant, Some(made)) if made != self.provider => {
                Some(format!("is for {:?}, and build.box makes a box for {made:?}", self.provider))
            }
            (BoxFormat::Vagrant, _) => None,
            (format, _) => Some(format!("is of a Vagrant box, and build.box makes {format:?}: write publish.box")),
        }
    }
}

/// Reads a version as it is written.
fn version(text: &str) -> Result<TagTemplate, String> {
    let version: TagTemplate = text.parse().map_err(|_| BoxError::Version.to_string())?;
    let some = version.filled(Some(SOME_TIME)).map(|filled| filled.to_string());
    check_version(some.as_deref().unwrap_or(text)).map_err(|error| error.to_string())?;
    Ok(version)
}

/// As its file is named.
impl<T: fmt::Display> fmt::Display for BoxPackage<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.address.file(&self.version, self.provider))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(changes: &Value) -> Value {
        let mut written = json!({"url": "https://Git.example/", "tag": "team-a/web", "version": "0.1.{{timestamp}}",
            "provider": "Libvirt", "secretRef": {"name": "gitea"}});
        written.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        written
    }

    /// The valid form of what is written, and what is wrong with it.
    fn validated(changes: &Value) -> (Option<BoxPackage>, Vec<String>) {
        let (none, mut problems) = (BTreeSet::new(), Problems::default());
        let written = serde_json::from_value(written(changes)).unwrap();
        let valid = BoxPackage::validate(&written, Fields::new("gitea".to_owned(), &none, &mut problems));
        (valid, problems.into_vec().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_build_has_a_file_of_its_own_where_the_version_holds_its_time() {
        let (valid, problems) = validated(&json!({}));
        assert_eq!(problems, [""; 0]);
        let valid = valid.unwrap();
        let address = "https://git.example/api/packages/team-a/vagrant/web";
        assert_eq!(valid.to_string(), format!("{address}/0.1.{{{{timestamp}}}}/libvirt.box"));
        let at = |second| Timestamp::from_second(second).ok();
        assert_eq!(
            valid.filled(at(1_795_862_400)).unwrap().to_string(),
            format!("{address}/0.1.1795862400/libvirt.box")
        );
        assert_eq!(valid.filled(None), None);
        let fixed = validated(&json!({"version": "1.0.0-rc.1", "provider": "VirtualBox"})).0.unwrap();
        assert_eq!(fixed.filled(None).unwrap().to_string(), format!("{address}/1.0.0-rc.1/virtualbox.box"));
    }

    #[test]
    fn everything_wrong_is_told() {
        let (valid, problems) =
            validated(&json!({"url": "https://bob:x@git.example", "tag": "web", "version": "latest"}));
        assert_eq!(valid, None);
        let fields: Vec<_> = problems.iter().filter_map(|problem| problem.split_once(": ")).collect();
        assert_eq!(
            fields.iter().map(|(field, _)| *field).collect::<Vec<_>>(),
            ["gitea.url", "gitea.tag", "gitea.version"]
        );
        for version in
            ["v1.0", "1.0_1", "1.0.{{ timestamp }}", "{{timestamp}}.{{timestamp}}", "1234567890{{timestamp}}"]
        {
            let (_, problems) = validated(&json!({"version": version}));
            assert!(
                matches!(&problems[..], [one] if one.starts_with("gitea.version: must be a version")),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn what_build_box_makes_must_be_what_is_published() {
        let build = |step: &Value| {
            let (none, mut problems) = (BTreeSet::new(), Problems::default());
            let step = serde_json::from_value(step.clone()).unwrap();
            Build::validate(&step, Fields::new("build".to_owned(), &none, &mut problems)).unwrap()
        };
        for (step, expected) in [
            (json!({"box": {}}), None),
            (json!({"packer": {"template": "a.json"}}), None),
            (
                json!({"box": {"provider": "VirtualBox"}}),
                Some("is for Libvirt, and build.box makes a box for VirtualBox"),
            ),
            (
                json!({"box": {"format": "Raw"}}),
                Some("is of a Vagrant box, and build.box makes Raw: write publish.box"),
            ),
        ] {
            let found = validated(&json!({})).0.unwrap().misfit(&build(&step));
            assert_eq!(found.as_deref(), expected, "{step}");
        }
    }
}
