//! The template that packer gets: the user's, or a copy beside it where packer would not take that.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    call::{Version, place},
    program::Program,
    template::{self, Kind},
};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, tree::of_submodule},
    runner::{context::Context, report::local, source},
};

/// What packer is given.
pub(super) struct Template {
    /// Where packer runs.
    pub(super) folder: PathBuf,
    /// Its argument.
    pub(super) argument: PathBuf,
    /// Whether it asks for plugins that packer can install.
    pub(super) wants_plugins: bool,
    /// All text of it.
    pub(super) text: String,
}

/// Looks at the template that the recipe names, and makes a copy of it where that is needed.
pub(super) async fn template(
    packer: &Program<'_>,
    version: &Version,
    root: &Path,
    written: &str,
) -> Result<Template, Failure> {
    let context = packer.context;
    let path = source::place(context, written)?;
    let files = files(&path).map_err(|error| match (error.kind(), source::submodule(context, written)) {
        (_, Some(submodule)) => Failure::new(Reason::SubmoduleNotFetched, of_submodule(written, &submodule)),
        (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, None) => Failure::new(
            Reason::TemplateInvalid,
            format!("the source has no file {written}: correct build.packer.template"),
        ),
        _ => local(&format!("the template {written} cannot be read"), &error),
    })?;
    let plugins: Vec<String> = files.iter().flat_map(|(_, text)| template::required_plugins(text)).collect();
    let text = files.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    let given = if !plugins.is_empty() && version.number < template::FIRST_WITH_PLUGINS {
        without_plugins(context, &path, &plugins, version)?
    } else if path.is_file() && template::kind(written) == Kind::Json {
        fixed(packer, root, &path, &text).await?
    } else {
        path
    };
    let (folder, argument) = place(root, &given);
    let wants_plugins = !plugins.is_empty() && version.number >= template::FIRST_WITH_PLUGINS;
    Ok(Template { folder, argument, wants_plugins, text })
}

/// The files of a template, with their texts: itself, or those in HCL of a folder.
fn files(path: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    if !path.is_dir() {
        return Ok(vec![(path.to_owned(), fs::read_to_string(path)?)]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.to_string_lossy().ends_with(".pkr.hcl") && file.is_file() {
            found.push((file.clone(), fs::read_to_string(&file)?));
        }
    }
    Ok(found)
}

/// For a packer that has its plugins built in, and takes the block for an error.
fn without_plugins(context: &Context, path: &Path, plugins: &[String], version: &Version) -> Result<PathBuf, Failure> {
    let missing = template::not_built_in(plugins);
    if !missing.is_empty() {
        let message = format!(
            "packer {} does not know required_plugins, and has no plugin {} built in: this builder image is too old \
             for this template",
            version.text,
            missing.join(", ")
        );
        return Err(Failure::new(Reason::BuilderUnsuitable, message));
    }
    context.log.say(format_args!(
        "packer {} does not know required_plugins: it gets a copy of the template without them, since it has {} built in",
        version.text,
        plugins.join(", ")
    ));
    let copy = beside(path);
    copied(path, &copy).map_err(|error| local("the template cannot be copied", &error))?;
    let texts = files(&copy).map_err(|error| local("the template cannot be read", &error))?;
    for (file, text) in texts {
        if let Some(text) = template::without_required_plugins(&text) {
            // Anew: where the user's is a link, the copy is one, too.
            fs::remove_file(&file)
                .and_then(|()| fs::write(&file, text))
                .map_err(|error| local("the template cannot be written", &error))?;
        }
    }
    Ok(copy)
}

/// What `packer fix` makes of an older template, if that says something else.
async fn fixed(packer: &Program<'_>, root: &Path, path: &Path, before: &str) -> Result<PathBuf, Failure> {
    let context = packer.context;
    let (folder, argument) = place(root, path);
    let call = ["fix", "-validate=false", &argument.to_string_lossy()].map(str::to_owned);
    let mut after = String::new();
    let mut lines = |line: &str| {
        after.push_str(line);
        after.push('\n');
    };
    let status = packer.run(&folder, &call, &mut lines).await?;
    // What it cannot read, `validate` explains.
    if !status.success() {
        return Ok(path.to_owned());
    }
    let changes = template::fixes(before, &after);
    if changes.is_empty() {
        return Ok(path.to_owned());
    }
    context.log.say("packer gets a copy of the template as `packer fix` mends it; better commit it so:");
    for change in changes.iter().take(20) {
        context.log.say(format_args!("  {change}"));
    }
    let copy = beside(path);
    fs::write(&copy, after).map_err(|error| local("the template cannot be written", &error))?;
    Ok(copy)
}

/// The name of a copy, in the same folder: relative paths mean the same.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".imagechain-{name}"))
}

fn copied(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(from)?.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
        } else {
            copied(&from, &to)?;
        }
    }
    Ok(())
}
