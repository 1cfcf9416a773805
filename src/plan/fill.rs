//! Recipes with their placeholders filled in, as the runner gets them.

use std::collections::BTreeMap;

use super::{
    job::{Packer, Run, SECRETS, Step},
    path::SourcePath,
    placeholder::{Placeholder, Template},
    valid::{ValidPacker, ValidRecipe, ValidVerify, Variables, VerifyRun},
};

/// The most that a recipe may weigh ([`weight`]), in bytes. A job stands in an annotation, of which an object
/// may have 256 KiB in all (`TotalAnnotationSizeLimitB` of Kubernetes' API machinery); what else is in a job
/// is bounded by the schema, and well below the rest.
pub const HEAVIEST: usize = 192 << 10;

/// The longest value of a placeholder, in bytes: the name of an image.
const LONGEST_VALUE: usize = 512;

/// The file with the values of packer's variables that come from Secrets, below [`SECRETS`]. Packer tells
/// the format by the extension.
pub const SECRET_VARIABLES: &str = "variables.json";

/// What is put in for placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<Placeholder, String>);

impl FromIterator<(Placeholder, String)> for Values {
    fn from_iter<I: IntoIterator<Item = (Placeholder, String)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Values {
    /// The text with the values put in. Validation has seen to it that each of them is there.
    fn fill(&self, template: &Template) -> String {
        template.fill(|placeholder| self.0.get(&placeholder).map_or("", String::as_str))
    }

    fn fill_all(&self, variables: &Variables) -> BTreeMap<String, String> {
        variables.values.iter().map(|(name, value)| (name.clone(), self.fill(value))).collect()
    }
}

/// The call of packer.
#[must_use]
pub fn packer(packer: &ValidPacker, values: &Values) -> Packer {
    Packer {
        template: packer.template.to_string(),
        variables: values.fill_all(&packer.variables),
        variable_files: packer.variable_files.iter().map(ToString::to_string).collect(),
        secret_variables: (!packer.variables.secrets.is_empty()).then(|| format!("{SECRETS}/{SECRET_VARIABLES}")),
        only: packer.only.clone(),
        except: packer.except.clone(),
    }
}

/// The test steps.
#[must_use]
pub fn verify(steps: &[ValidVerify], values: &Values) -> Vec<Step> {
    steps.iter().enumerate().map(|(index, step)| fill_step(index, step, values)).collect()
}

fn fill_step(index: usize, step: &ValidVerify, values: &Values) -> Step {
    let path = |name: &String| (name.clone(), format!("{SECRETS}/{}", secret_environment(index, name)));
    Step {
        run: match &step.run {
            VerifyRun::Molecule(scenario) => Run::Molecule(scenario.clone()),
            VerifyRun::Pytest => Run::Pytest,
            VerifyRun::Command(arguments) => {
                Run::Command(arguments.iter().map(|argument| values.fill(argument)).collect())
            }
        },
        directory: step.directory.as_ref().map(SourcePath::to_string),
        environment: values.fill_all(&step.environment),
        secret_environment: step.environment.secrets.keys().map(path).collect(),
    }
}

/// The file with the value of a variable of a test step's environment, below [`SECRETS`]. Steps count from 1,
/// as people are told of them.
#[must_use]
pub fn secret_environment(index: usize, name: &str) -> String {
    format!("verify/{}/{name}", index + 1)
}

/// How much of a job a recipe can become, in bytes, whatever its placeholders are filled with.
#[must_use]
pub fn weight(recipe: &ValidRecipe) -> usize {
    let longest = "x".repeat(LONGEST_VALUE);
    let values: Values = Placeholder::ALL.iter().map(|placeholder| (*placeholder, longest.clone())).collect();
    let filled = (packer(&recipe.packer, &values), verify(&recipe.verify, &values));
    serde_json::to_string(&filled).map_or(usize::MAX, |text| text.len())
}
