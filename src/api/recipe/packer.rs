//! Building with packer.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::common::{Location, RelativePath, SecretVariable, Text, VARIABLE_NAMES};

/// A call of `packer build`. The template must yield one image; where it yields several, `only` picks one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Packer {
    /// The template: a file `*.pkr.hcl`, `*.pkr.json` or `*.json`, or a folder of HCL2, which may be the root (`.`).
    /// It is relative to the root of the source, whatever `directory` says.
    pub template: Location,
    /// The folder in which packer runs, for templates that are written for `cd FOLDER && packer build …`; `.` is the
    /// root of the source. Default: the folder of a template that is a file, and the root for a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Location>,
    /// Values of the template's variables; they may hold placeholders.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = VARIABLE_NAMES)]
    pub variables: BTreeMap<String, Text>,
    /// Variables whose values come from Secrets. Packer reads them from a file that only it can read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub secret_variables: Vec<SecretVariable>,
    /// Files with values of variables, in the order in which packer reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub variable_files: Vec<RelativePath>,
    /// Builds of the template to run: packer's `-only`. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub only: Vec<BuildName>,
    /// Builds and post-processors of the template not to run: packer's `-except`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub except: Vec<BuildName>,
}

/// The name of a build of a packer template, for example `docker.web`; `*` stands for any part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BuildName(
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[a-zA-Z0-9*_][a-zA-Z0-9*_.-]*$"))] pub String,
);
