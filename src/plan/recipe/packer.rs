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

impl<T> Packer<T> {
    /// The folder in which packer runs, as all paths of a recipe are: the one that is written, or as the template is a
    /// file or a folder of files. Empty: the folder of the source.
    #[must_use]
    pub fn runs_in(&self, template_is_folder: bool) -> &str {
        let above = self.template.below_root().rsplit_once('/').map_or("", |(folder, _)| folder);
        let own = if template_is_folder { "" } else { above };
        self.directory.as_ref().map_or(own, Location::below_root)
    }
}

impl<T> Tool<T> for Packer<T> {
    fn variables(&self) -> Option<&Variables<T>> {
        Some(&self.variables)
    }

    fn paths(&self) -> Option<Vec<&SourcePath>> {
        // Not `directory`: what counts of a folder in which much else may lie is for `paths` to say.
        Some([self.template.path()?].into_iter().chain(&self.variable_files).collect())
    }

    fn needs(&self) -> Vec<Needed> {
        let files = self.variable_files.iter().enumerate();
        let files =
            files.map(|(index, file)| Needed::new(format!("variableFiles[{index}]"), file.as_str(), Wants::File));
        let directory = self.directory.iter();
        let directory = directory.map(|directory| Needed::new("directory", directory.below_root(), Wants::Folder));
        let template = Needed::new("template", self.template.below_root(), Wants::Either);
        [template].into_iter().chain(directory).chain(files).collect()
    }
}
