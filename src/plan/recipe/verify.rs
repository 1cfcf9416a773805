//! The test steps of a recipe.

use serde::{Deserialize, Serialize};

use super::{
    command::Command,
    fields::Fields,
    molecule::Molecule,
    needed::{Needed, Wants},
    values::Values,
    variables::{SecretKey, Variables},
};
use crate::{
    api::{
        common::RelativePath,
        recipe::{self as api, Environment, VerifyStep},
    },
    plan::{path::SourcePath, placeholder::Template},
};

/// The variable that tells molecule to look for scenarios elsewhere.
const GLOB: &str = "MOLECULE_GLOB";

/// One test step. `T` is as in [`super::tool::Tool`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verify<T> {
    /// What runs.
    pub test: Test<T>,
    /// The folder of the source in which it runs; `None`: the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<SourcePath>,
    /// Its environment. Each value that comes from a Secret is in a file of its own, which only this stage sees.
    pub environment: Variables<T>,
    /// How it logs in to a machine; `None`: as Vagrant does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// How tests log in to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The private key or password; `None`: the keys that Vagrant publishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretKey>,
}

impl Login {
    fn of(written: &api::Login) -> Self {
        let secret = written.secret_key_ref.as_ref();
        let secret = secret.map(|key| SecretKey { secret: key.name.to_string(), key: key.key.to_string() });
        Self { user: written.user.clone(), secret }
    }
}

/// What a test step runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Test<T> {
    /// molecule.
    Molecule(Molecule),
    /// pytest with testinfra.
    Pytest,
    /// A program of the builder image.
    Command(Command<T>),
}

impl Verify<Template> {
    /// Validates what is written. `None` where something is wrong that leaves no valid form.
    pub fn validate(step: &VerifyStep, mut fields: Fields<'_>) -> Option<Self> {
        let login = step.login.as_ref().map(Login::of);
        let valid = match (&step.molecule, &step.pytest, &step.command) {
            (Some(step), None, None) => {
                let test = Some(Test::Molecule(Molecule::of(step)));
                Self::of(test, step.directory.as_ref(), &step.environment, fields.below("molecule"))
            }
            (None, Some(step), None) => {
                Self::of(Some(Test::Pytest), step.directory.as_ref(), &step.environment, fields.below("pytest"))
            }
            (None, None, Some(step)) => {
                let mut fields = fields.below("command");
                let test = Command::validate(step, &mut fields).map(Test::Command);
                Self::of(test, step.directory.as_ref(), &step.environment, fields)
            }
            _ => {
                fields.add("set exactly one of molecule, pytest, command");
                None
            }
        };
        valid.map(|valid| Self { login, ..valid })
    }

    fn of(
        test: Option<Test<Template>>,
        directory: Option<&RelativePath>,
        environment: &Environment,
        mut fields: Fields<'_>,
    ) -> Option<Self> {
        let directory = fields.optional_path("directory", directory);
        let Environment { environment, secret_variables } = environment;
        let environment = fields.variables("environment", environment, secret_variables);
        Some(Self { test: test?, directory: directory?, environment: environment?, login: None })
    }

    /// With values for its placeholders.
    #[must_use]
    pub fn fill(&self, values: &Values) -> Verify<String> {
        let test = match &self.test {
            Test::Molecule(molecule) => Test::Molecule(molecule.clone()),
            Test::Pytest => Test::Pytest,
            Test::Command(command) => Test::Command(command.fill(values)),
        };
        let (directory, login) = (self.directory.clone(), self.login.clone());
        Verify { test, directory, environment: self.environment.fill(values), login }
    }
}

impl<T> Verify<T> {
    /// What of the source it must find, each with its field below that of the step.
    #[must_use]
    pub fn needs(&self) -> Vec<Needed> {
        let folder = self.directory.as_ref().map(SourcePath::as_str);
        let named = folder.map(|folder| Needed::new("directory", folder, Wants::Folder));
        let (kind, scenario) = match &self.test {
            Test::Molecule(molecule) => ("molecule", Some(molecule).filter(|_| !self.environment.has(GLOB))),
            Test::Pytest => ("pytest", None),
            Test::Command(_) => ("command", None),
        };
        let scenario = scenario.map(|molecule| {
            let [usual, of_collection] = molecule.folders(folder);
            Needed::new("scenario", usual, Wants::Folder).or(of_collection)
        });
        named.into_iter().chain(scenario).map(|needed| needed.in_field(kind)).collect()
    }

    /// Its texts that may hold placeholders.
    pub fn texts(&self) -> impl Iterator<Item = &T> {
        let arguments = match &self.test {
            Test::Command(command) => command.arguments.as_slice(),
            Test::Molecule(_) | Test::Pytest => &[],
        };
        arguments.iter().chain(self.environment.values.values())
    }
}
