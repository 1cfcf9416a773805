//! `imagechain crd`.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::api::crd;

pub(super) fn print(out: &mut impl Write) -> io::Result<()> {
    for definition in crd::all() {
        write!(out, "---\n{}", yaml(&definition)?)?;
    }
    Ok(())
}

pub(super) fn write(folder: &Path) -> io::Result<()> {
    for definition in crd::all() {
        let file = folder.join(format!("{}.yaml", definition.spec.names.plural));
        fs::write(&file, yaml(&definition)?)
            .map_err(|error| io::Error::other(format!("writing {}: {error}", file.display())))?;
    }
    Ok(())
}

fn yaml(definition: &CustomResourceDefinition) -> io::Result<String> {
    let text = serde_saphyr::to_string(definition).map_err(io::Error::other)?;
    Ok(format!("{}\n", text.trim_end()))
}
