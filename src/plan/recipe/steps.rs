//! What the stages of a build do: one build tool, and the test steps. Every question about them is answered here, so
//! that none of the tools and tests can be forgotten by whoever asks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    fields::Fields,
    needed::Needed,
    tool::Tool,
    values::Values,
    variables::{SecretKey, Variables},
    verify::Verify,
};
use crate::{
    api::{build::Stage, recipe::BuildStep},
    plan::{path::SourcePath, placeholder::Template},
};

/// The most that the steps may weigh ([`Steps::weight`]), in bytes. A job stands in an annotation, of which an object
/// may have 256 KiB in all (`TotalAnnotationSizeLimitB` of Kubernetes' API machinery); what else is in a job
/// is bounded by the schema, and well below the rest.
pub const HEAVIEST: usize = 192 << 10;

/// The file with the values of the build tool's variables that come from Secrets, below the folder of secrets: a JSON
/// object. Packer tells the format by the extension.
const BUILD_VARIABLES: &str = "variables.json";

/// What the stages do. `T` is as in [`Tool`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Steps<T> {
    /// How it is built.
    pub build: Build<T>,
    /// How it is tested, in this order.
    pub verify: Vec<Verify<T>>,
}

/// Declares the build tools, each by its type and by the module that has it. The field of the spec has the name of the
/// module. A tool has `validate` and `fill` and is a [`Tool`]; nothing else here knows which tools there are.
macro_rules! build_tools {
    ($($(#[$doc:meta])+ $tool:ident = $module:ident,)+) => {
        /// How something is built.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub enum Build<T> {
            $($(#[$doc])+ $tool(super::$module::$tool<T>),)+
        }

        impl Build<Template> {
            /// Validates what is written. `None` where something is wrong that leaves no valid form.
            pub fn validate(written: &BuildStep, mut fields: Fields<'_>) -> Option<Self> {
                let mut found = Vec::new();
                $(if let Some(tool) = &written.$module {
                    found.push(super::$module::$tool::validate(tool, fields.below(stringify!($module))).map(Self::$tool));
                })+
                if found.len() != 1 {
                    fields.add(exactly_one(&[$(stringify!($module)),+]));
                    return None;
                }
                found.pop().flatten()
            }

            fn fill(&self, values: &Values) -> Build<String> {
                match self {
                    $(Self::$tool(tool) => Build::$tool(tool.fill(values)),)+
                }
            }
        }

        impl<T> Build<T> {
            fn tool(&self) -> &dyn Tool<T> {
                match self {
                    $(Self::$tool(tool) => tool,)+
                }
            }

            /// What of the source it must find, each with its field below `build`.
            fn needs(&self) -> impl Iterator<Item = Needed> {
                let name = match self {
                    $(Self::$tool(_) => stringify!($module),)+
                };
                self.tool().needs().into_iter().map(move |needed| needed.in_field(name))
            }
        }
    };
}

build_tools! {
    /// By packer.
    Packer = packer,
}

fn exactly_one(tools: &[&str]) -> String {
    match tools {
        [only] => format!("set {only}: it is the one way to build so far"),
        _ => format!("set exactly one of {}", tools.join(", ")),
    }
}

/// A file with values of Secrets, for one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile<'a> {
    /// The stage that sees it.
    pub stage: Stage,
    /// Where it is, below the folder of secrets.
    pub path: String,
    /// What is in it.
    pub content: SecretContent<'a>,
}

/// What a file with values of Secrets holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretContent<'a> {
    /// A JSON object: values by the names of variables.
    Json(&'a BTreeMap<String, SecretKey>),
    /// One value, as it is.
    Value(&'a SecretKey),
}

impl Steps<Template> {
    /// With values for their placeholders.
    #[must_use]
    pub fn fill(&self, values: &Values) -> Steps<String> {
        Steps { build: self.build.fill(values), verify: self.verify.iter().map(|step| step.fill(values)).collect() }
    }

    /// How much of a job the steps can become, in bytes, whatever their placeholders are filled with.
    #[must_use]
    pub fn weight(&self) -> usize {
        serde_json::to_string(&self.fill(&Values::longest())).map_or(usize::MAX, |text| text.len())
    }
}

impl<T> Steps<T> {
    /// The texts that may hold placeholders.
    pub fn texts(&self) -> impl Iterator<Item = &T> {
        self.build.tool().texts().chain(self.verify.iter().flat_map(Verify::texts))
    }

    /// The paths that decide the result: those that are written and those that the steps name. None written
    /// means all of the source, whatever the steps name; so does a template that is the root of the source, and a test
    /// step that runs there.
    #[must_use]
    pub fn deciding_paths(&self, written: &[SourcePath]) -> BTreeSet<SourcePath> {
        if self.verify.iter().any(|step| step.directory.is_none()) {
            return BTreeSet::new();
        }
        self.used_paths(written)
    }

    /// The paths that are used: those that are written, and those that the steps name; none written means all of the
    /// source. Unlike what decides the result, a test step at the root of the source changes nothing here.
    #[must_use]
    pub fn used_paths(&self, written: &[SourcePath]) -> BTreeSet<SourcePath> {
        if written.is_empty() {
            return BTreeSet::new();
        }
        let Some(named) = self.build.tool().paths() else { return BTreeSet::new() };
        let folders = self.verify.iter().filter_map(|step| step.directory.as_ref());
        written.iter().chain(named).chain(folders).cloned().collect()
    }

    /// What of the source the steps must find.
    #[must_use]
    pub fn needs(&self) -> Vec<Needed> {
        let of_build = self.build.needs().map(|needed| needed.in_field("build"));
        let tests = self.verify.iter().enumerate();
        let of_tests = tests.flat_map(|(index, step)| {
            step.needs().into_iter().map(move |needed| needed.in_field(&format!("verify[{index}]")))
        });
        of_build.chain(of_tests).collect()
    }

    /// The files with values of Secrets. No two have the same path.
    #[must_use]
    pub fn secret_files(&self) -> Vec<SecretFile<'_>> {
        let tests = self.verify.iter().enumerate();
        let of_tests = tests.flat_map(|(index, step)| secret_environment(index + 1, &step.environment));
        self.build.secret_file().into_iter().chain(of_tests.map(|(_, file)| file)).collect()
    }
}

impl<T> Build<T> {
    /// The file with the values of the tool's variables that come from Secrets; `None` where none does.
    #[must_use]
    pub fn secret_file(&self) -> Option<SecretFile<'_>> {
        let secrets = &self.tool().variables().secrets;
        let (path, content) = (BUILD_VARIABLES.to_owned(), SecretContent::Json(secrets));
        (!secrets.is_empty()).then_some(SecretFile { stage: Stage::Build, path, content })
    }
}

/// The variables of a test step's environment that come from Secrets, each with its file. Steps count from 1, as
/// messages number them.
pub fn secret_environment<T>(
    number: usize,
    environment: &Variables<T>,
) -> impl Iterator<Item = (&String, SecretFile<'_>)> {
    environment.secrets.iter().map(move |(name, key)| {
        let (path, content) = (format!("verify/{number}/{name}"), SecretContent::Value(key));
        (name, SecretFile { stage: Stage::Verify, path, content })
    })
}
