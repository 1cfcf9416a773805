//! Building with packer.

use serde::{Deserialize, Serialize};

use super::{
    fields::Fields,
    needed::{Needed, Wants},
    tool::Tool,
    values::Values,
    variables::Variables,
};
use crate::{
    api::recipe as api,
    plan::{path::SourcePath, placeholder::Template},
};

/// A call of packer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Packer<T> {
    /// The template.
    pub template: SourcePath,
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
        let variable_files = fields.paths("variableFiles", &written.variable_files);
        let variables = fields.variables("variables", &written.variables, &written.secret_variables);
        Some(Self {
            template: template?,
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
            variables: self.variables.fill(values),
            variable_files: self.variable_files.clone(),
            only: self.only.clone(),
            except: self.except.clone(),
        }
    }
}

impl<T> Packer<T> {
    /// The folder in which packer runs, as all paths of a recipe are, when the template is a file or a folder of files.
    /// Empty: the folder of the source.
    #[must_use]
    pub fn runs_in(&self, template_is_folder: bool) -> &str {
        let above = self.template.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
        if template_is_folder { "" } else { above }
    }
}

impl<T> Tool<T> for Packer<T> {
    fn variables(&self) -> &Variables<T> {
        &self.variables
    }

    fn paths(&self) -> Vec<&SourcePath> {
        [&self.template].into_iter().chain(&self.variable_files).collect()
    }

    fn needs(&self) -> Vec<Needed> {
        let files = self.variable_files.iter().enumerate();
        let files =
            files.map(|(index, file)| Needed::new(format!("variableFiles[{index}]"), file.as_str(), Wants::File));
        [Needed::new("template", self.template.as_str(), Wants::Either)].into_iter().chain(files).collect()
    }
}
