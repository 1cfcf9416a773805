//! What the stages of a build do: one build tool, and the test steps. Every question about them is answered here, so
//! that none of the tools and tests can be forgotten by whoever asks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    fields::Fields,
    needed::Needed,
    scope::Scope,
    tool::Tool,
    values::Values,
    variables::{SecretKey, Variables},
    verify::{Login, Verify},
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

/// Declares the build tools, each by its type, the module that has it and its field of the spec; in Rust, the field has
/// the name of the module. A tool has `validate` and `fill` and is a [`Tool`]; nothing else here knows which tools there
/// are.
macro_rules! build_tools {
    ($($(#[$doc:meta])+ $tool:ident = $module:ident, $field:literal;)+) => {
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
                    found.push(super::$module::$tool::validate(tool, fields.below($field)).map(Self::$tool));
                })+
                if found.len() != 1 {
                    fields.add(format_args!("set exactly one of {}", [$($field),+].join(", ")));
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
                    $(Self::$tool(_) => $field,)+
                };
                self.tool().needs().into_iter().map(move |needed| needed.in_field(name))
            }
        }
    };
}

build_tools! {
    /// By packer.
    Packer = packer, "packer";
    /// A box of the parent, without packer.
    Box = machine_box, "box";
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
    /// means all of the source, whatever the steps name, unless the tool reads none of it; so does a template that is the
    /// root of the source, and a test step that runs there.
    #[must_use]
    pub fn deciding_paths(&self, written: &[SourcePath]) -> Scope {
        if self.verify.iter().any(|step| step.directory.is_none()) {
            return Scope::All;
        }
        self.used_paths(written)
    }

    /// The paths that are used: those that are written, and those that the steps name; none written means all of the
    /// source, unless the tool reads none of it. Unlike what decides the result, a test step at the root of the source
    /// changes nothing here.
    #[must_use]
    pub fn used_paths(&self, written: &[SourcePath]) -> Scope {
        if written.is_empty() && self.build.tool().uses_source() {
            return Scope::All;
        }
        let Some(named) = self.build.tool().paths() else { return Scope::All };
        let folders = self.verify.iter().filter_map(|step| step.directory.as_ref());
        Scope::Only(written.iter().chain(named).chain(folders).cloned().collect())
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
        let of_tests = tests.flat_map(|(index, step)| {
            let environment = secret_environment(index + 1, &step.environment).map(|(_, file)| file);
            environment.chain(secret_login(index + 1, step.login.as_ref()))
        });
        self.build.secret_file().into_iter().chain(of_tests).collect()
    }
}

impl<T> Build<T> {
    /// The file with the values of the tool's variables that come from Secrets; `None` where none does.
    #[must_use]
    pub fn secret_file(&self) -> Option<SecretFile<'_>> {
        let secrets = &self.tool().variables()?.secrets;
        let (path, content) = (BUILD_VARIABLES.to_owned(), SecretContent::Json(secrets));
        (!secrets.is_empty()).then_some(SecretFile { stage: Stage::Build, path, content })
    }
}

/// The file with the key or password of a test step's login, where it comes from a Secret. No variable has its name, in
/// which there is a dash.
#[must_use]
pub fn secret_login(number: usize, login: Option<&Login>) -> Option<SecretFile<'_>> {
    let key = login?.secret.as_ref()?;
    Some(SecretFile {
        stage: Stage::Verify,
        path: format!("verify/{number}/log-in"),
        content: SecretContent::Value(key),
    })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::plan::validate::problem::Problems;

    fn steps(build: &Value, verify: &Value) -> Steps<Template> {
        let (none, mut problems) = (BTreeSet::new(), Problems::default());
        let build = serde_json::from_value(build.clone()).unwrap();
        let build = Build::validate(&build, Fields::new("build".to_owned(), &none, &mut problems)).unwrap();
        let verify: Vec<_> = serde_json::from_value::<Vec<crate::api::recipe::VerifyStep>>(verify.clone()).unwrap();
        let verify = verify
            .iter()
            .map(|step| Verify::validate(step, Fields::new("verify".to_owned(), &none, &mut problems)).unwrap());
        let steps = Steps { build, verify: verify.collect() };
        assert_eq!(problems.into_vec(), []);
        steps
    }

    #[test]
    fn there_is_one_way_to_build() {
        for written in [json!({}), json!({"packer": {"template": "a"}, "box": {}})] {
            let (none, mut problems) = (BTreeSet::new(), Problems::default());
            let build = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(Build::validate(&build, Fields::new("build".to_owned(), &none, &mut problems)), None);
            let told: Vec<_> = problems.into_vec().iter().map(ToString::to_string).collect();
            assert_eq!(told, ["build: set exactly one of packer, box"], "{written}");
        }
    }

    #[test]
    fn what_a_test_logs_in_with_is_a_file_of_the_stage_verify() {
        let key = |name: &str| json!({"name": name, "key": "k"});
        let verify = json!([
            {"pytest": {}, "login": {"user": "vagrant"}},
            {"pytest": {}},
            {
                "command": {"arguments": ["a"], "secretVariables": [{"name": "TOKEN", "secretKeyRef": key("vault")}]},
                "login": {"user": "debian", "secretKeyRef": key("ssh")},
            },
        ]);
        let steps = steps(&json!({"box": {}}), &verify);
        let users: Vec<_> =
            steps.verify.iter().map(|step| step.login.as_ref().map(|login| login.user.as_str())).collect();
        assert_eq!(users, [Some("vagrant"), None, Some("debian")]);
        let files: Vec<_> = steps
            .secret_files()
            .into_iter()
            .map(|file| {
                let SecretContent::Value(key) = file.content else { panic!("a box has no variables") };
                format!("{:?} {} {}", file.stage, file.path, key.secret)
            })
            .collect();
        assert_eq!(files, ["Verify verify/3/TOKEN vault", "Verify verify/3/log-in ssh"]);
        let read: Steps<String> = serde_json::from_value(json!(steps.fill(&Values::default()))).unwrap();
        assert_eq!(read, steps.fill(&Values::default()), "a job has them as they are");
    }

    #[test]
    fn a_job_without_logins_is_as_it_was() {
        let written =
            json!(steps(&json!({"packer": {"template": "a"}}), &json!([{"pytest": {}}])).fill(&Values::default()));
        assert!(written["verify"][0].get("login").is_none(), "{written}");
    }

    #[test]
    fn a_box_of_the_parent_reads_none_of_the_source_unless_its_tests_do() {
        let only = |paths: &[&str]| Scope::Only(paths.iter().map(|path| path.parse().unwrap()).collect());
        let (made, packer) = (json!({"box": {}}), json!({"packer": {"template": "a"}}));
        let tests = json!([{"pytest": {"directory": "tests"}}]);
        for (build, verify, written, expected) in [
            (&made, &json!([]), vec![], only(&[])),
            (&made, &json!([]), vec!["x"], only(&["x"])),
            (&made, &tests, vec![], only(&["tests"])),
            (&made, &json!([{"pytest": {}}]), vec![], Scope::All),
            (&packer, &json!([]), vec![], Scope::All),
            (&packer, &tests, vec!["x"], only(&["a", "tests", "x"])),
        ] {
            let written: Vec<SourcePath> = written.iter().map(|path| path.parse().unwrap()).collect();
            assert_eq!(steps(build, verify).deciding_paths(&written), expected, "{build} {verify} {written:?}");
        }
    }
}
