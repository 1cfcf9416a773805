//! Building with packer.

use serde::{Deserialize, Serialize};

use super::{fields::Fields, tool::Tool, values::Values, variables::Variables};
use crate::{
    api::recipe as api,
    plan::{
        path::{Location, SourcePath},
        placeholder::Template,
    },
};

/// A call of packer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Packer<T> {
    /// The template.
    pub template: Location,
    /// The folder in which packer runs; `None`: as the template is a file or a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Location>,
    /// Its variables.
    pub variables: Variables<T>,
    /// Files of the source with values of variables, in order.
    pub variable_files: Vec<SourcePath>,
    /// Packer's `-only`.
    pub only: Vec<String>,
    /// Packer's `-except`.
    pub except: Vec<String>,
}

impl Packer<Template> {
    /// Validates what is written. `None` where something is wrong that leaves no valid form.
    #[must_use]
    pub fn validate(written: &api::Packer, mut fields: Fields<'_>) -> Option<Self> {
        let template = fields.parse("template", &written.template.0);
        let directory = written.directory.as_ref().map(|directory| fields.parse("directory", &directory.0));
        let variable_files = fields.paths("variableFiles", &written.variable_files);
        let variables = fields.variables("variables", &written.variables, &written.secret_variables);
        Some(Self {
            template: template?,
            directory: directory.map_or(Some(None), |directory| directory.map(Some))?,
            variables: variables?,
            variable_files: variable_files?,
            only: written.only.iter().map(|name| name.0.clone()).collect(),
            except: written.except.iter().map(|name| name.0.clone()).collect(),
        })
    }

    /// With values for its placeholders.
    #[must_use]
    pub fn fill(&self, values: &Values) -> Packer<String> {
        Packer {
            template: self.template.clone(),
            directory: self.directory.clone(),
            variables: self.variables.fill(values),
            variable_files: self.variable_files.clone(),
            only: self.only.clone(),
            except: self.except.clone(),
        }
    }
}

impl<T> Tool<T> for Packer<T> {
    fn variables(&self) -> &Variables<T> {
        &self.variables
    }

    fn paths(&self) -> Option<Vec<&SourcePath>> {
        // Not `directory`: what counts of a folder in which much else may lie is for `paths` to say.
        Some([self.template.path()?].into_iter().chain(&self.variable_files).collect())
    }
}
