//! The template that packer gets: the user's, and what it reads in place of files of it where it would not take them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    call::{Version, place},
    contents::{self, Contents, without},
    elsewhere,
    overlay::Overlay,
    program::Program,
    template::{self, Kind},
};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, path::Location, recipe::packer::Packer, tree::of_submodule},
    runner::{context::Context, report::local, source},
};

/// What packer is given.
pub(super) struct Template {
    /// As the recipe names it.
    pub(super) written: String,
    /// The root of the source.
    pub(super) root: PathBuf,
    /// Where it is.
    path: PathBuf,
    /// Where packer runs.
    pub(super) folder: PathBuf,
    /// Its argument.
    pub(super) argument: PathBuf,
    /// What it reads in place of the user's files.
    pub(super) overlay: Overlay,
    /// Whether it asks for plugins that packer can install.
    pub(super) wants_plugins: bool,
    /// The post-processors that packer does not see.
    pub(super) left_out: Vec<String>,
    /// The file that may hold further ones.
    unclear: Option<PathBuf>,
    /// All text of it.
    pub(super) text: String,
}

/// A file of a template.
struct File {
    path: PathBuf,
    /// As it is.
    own: String,
    /// As packer gets it, with what must be taken out still in it.
    text: String,
    contents: Contents,
}

/// Looks at the template that the recipe names, and at what packer must not see of it.
pub(super) async fn template(
    packer: &Program<'_>,
    version: &Version,
    recipe: &Packer<String>,
) -> Result<Template, Failure> {
    let context = packer.context;
    let root = clean(&source::root(context)?);
    let path = clean(&source::place(context, recipe.template.as_str())?);
    let directory = directory(context, recipe.directory.as_ref())?;
    let (folder, argument) = place(&root, &path, directory);
    let mut files = files(&path).map_err(|error| unreadable(context, &root, recipe, &error))?;
    for file in &mut files {
        if template::kind(&file.path.to_string_lossy()) == Kind::Json {
            file.text = fixed(packer, &folder, &argument, &file.own).await?;
        }
        file.contents = contents::read(template::kind(&file.path.to_string_lossy()), &file.text);
    }
    let plugins: Vec<String> = files.iter().flat_map(|file| file.contents.plugins.names.clone()).collect();
    let installs = version.number >= template::FIRST_WITH_PLUGINS;
    if !plugins.is_empty() && !installs {
        check_plugins(context, &plugins, version)?;
    }
    let left_out = left_out(context, &files);
    Ok(Template {
        written: recipe.template.as_str().to_owned(),
        folder,
        argument,
        overlay: overlay(&files, installs),
        wants_plugins: !plugins.is_empty() && installs,
        left_out,
        unclear: files.iter().find(|file| file.contents.may_hide_uploads()).map(|file| file.path.clone()),
        text: files.iter().map(|file| file.own.as_str()).collect::<Vec<_>>().join("\n"),
        path,
        root,
    })
}

impl Template {
    /// Where packer runs, for people.
    pub(super) fn place(&self) -> String {
        elsewhere::name(&self.root, &self.folder)
    }

    /// What to do about a complaint of packer's, if that is known.
    pub(super) fn advice(&self, complaint: &str) -> Option<String> {
        let elsewhere = || elsewhere::advice(&self.root, &self.folder, &self.path, complaint);
        self.is_part(complaint).or_else(|| occupied(complaint)).or_else(|| doubled(complaint)).or_else(elsewhere)
    }

    /// One file of several was named, and packer reads no others then.
    fn is_part(&self, complaint: &str) -> Option<String> {
        let folder = self.path.parent().filter(|_| self.path.is_file() && complaint.contains("Unknown source"))?;
        let of_folder = files(folder).ok().filter(|files| files.len() > 1)?;
        let others = of_folder.iter().filter(|file| file.path != self.path);
        let names: Vec<_> =
            others.filter_map(|file| file.path.file_name()).map(|name| name.to_string_lossy()).collect();
        let below = folder.strip_prefix(&self.root).unwrap_or(folder).display().to_string();
        let below = if below.is_empty() { "." } else { &below };
        Some(format!("packer reads this one file, and not {}: set build.packer.template: {below}", names.join(", ")))
    }

    /// Refuses what could publish by itself without being found here.
    pub(super) fn check_uploads(&self) -> Result<(), Failure> {
        let Some(path) = &self.unclear else { return Ok(()) };
        let message = format!(
            "{} may have post-processors that push, and it cannot be told which: write each as a block of its own \
             (no dynamic), or leave those out that push",
            path.strip_prefix(&self.root).unwrap_or(path).display()
        );
        Err(Failure::new(Reason::TemplateInvalid, message))
    }
}

/// The source has the folder that packer would write to. It is not deleted, as packer would with `-force`: that may be
/// any folder of the source.
fn occupied(complaint: &str) -> Option<String> {
    let (_, rest) = complaint.split_once("Output directory '")?;
    let (folder, _) = rest.split_once("' already exists")?;
    Some(format!("{folder} is in the source: remove it there, or set another output_directory"))
}

/// What `packer fix` makes of a checksum that says by itself what it is, and of its type besides.
fn doubled(complaint: &str) -> Option<String> {
    let advice = "$(parent.checksum) says by itself of what kind it is: leave out iso_checksum_type";
    ["md5", "sha1", "sha256", "sha512"]
        .iter()
        .any(|kind| complaint.contains(&format!("{kind}:file:")))
        .then(|| advice.to_owned())
}

/// A path without the `.` at its end that stands for a root.
fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The folder that the recipe has packer run in. `..` in packer's argument begins where it really is.
fn directory(context: &Context, written: Option<&Location>) -> Result<Option<PathBuf>, Failure> {
    let Some(written) = written else { return Ok(None) };
    let folder = source::place(context, written.as_str())?;
    match fs::canonicalize(&folder) {
        Ok(folder) if folder.is_dir() => Ok(Some(folder)),
        Ok(_) | Err(_) => {
            let message = format!("the source has no folder {}: correct build.packer.directory", written.as_str());
            Err(Failure::new(Reason::TemplateInvalid, message))
        }
    }
}

fn unreadable(context: &Context, root: &Path, recipe: &Packer<String>, error: &io::Error) -> Failure {
    let written = recipe.template.as_str();
    if let Some(submodule) = source::submodule(context, written) {
        return Failure::new(Reason::SubmoduleNotFetched, of_submodule(written, &submodule));
    }
    if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        return local(&format!("the template {written} cannot be read"), error);
    }
    let directory = recipe.directory.as_ref().map(|directory| Path::new(directory.as_str()).join(written));
    let advice = match directory.filter(|path| root.join(path).exists()) {
        Some(path) => format!("it is relative to the root of the source, not to directory: write {}", path.display()),
        None => "correct build.packer.template".to_owned(),
    };
    Failure::new(Reason::TemplateInvalid, format!("the source has no file {written}: {advice}"))
}

/// The files of a template: itself, or those in HCL of a folder.
fn files(path: &Path) -> io::Result<Vec<File>> {
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        let entries: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
        paths = entries.into_iter().map(|entry| entry.path()).filter(|path| is_of_folder(path)).collect();
        paths.sort();
    }
    let read = |path: PathBuf| {
        let own = fs::read_to_string(&path)?;
        Ok(File { path, text: own.clone(), own, contents: Contents::default() })
    };
    paths.into_iter().map(read).collect()
}

fn is_of_folder(path: &Path) -> bool {
    template::kind(&path.to_string_lossy()) != Kind::Json && path.is_file()
}

/// What packer reads in place of files.
fn overlay(files: &[File], installs_plugins: bool) -> Overlay {
    let mut overlay = Overlay::default();
    for File { path, own, text, contents } in files {
        let mut parts = vec![&contents.uploads];
        parts.extend((!installs_plugins).then_some(&contents.plugins));
        let text = without(text, &parts);
        if text != *own {
            overlay.put(path.clone(), text);
        }
    }
    overlay
}

/// For a packer that has its plugins built in, and takes the block for an error.
fn check_plugins(context: &Context, plugins: &[String], version: &Version) -> Result<(), Failure> {
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
        "packer {} does not know required_plugins: it reads the template without them, since it has {} built in",
        version.text,
        plugins.join(", ")
    ));
    Ok(())
}

/// What publishes by itself, each kind once.
fn left_out(context: &Context, files: &[File]) -> Vec<String> {
    let mut names: Vec<String> = files.iter().flat_map(|file| file.contents.uploads.names.clone()).collect();
    names.sort();
    names.dedup();
    if !names.is_empty() {
        context.log.say(format_args!(
            "packer reads the template without its post-processors {}: nothing is published before the tests. Write \
             under publish.image where the image goes",
            names.join(", ")
        ));
    }
    names
}

/// What `packer fix` makes of an older template, if that says something else.
async fn fixed(packer: &Program<'_>, folder: &Path, argument: &Path, own: &str) -> Result<String, Failure> {
    let context = packer.context;
    let call = ["fix", "-validate=false", &argument.to_string_lossy()].map(str::to_owned);
    let mut after = String::new();
    let mut lines = |line: &str| {
        after.push_str(line);
        after.push('\n');
    };
    let status = packer.run(folder, &call, &mut lines).await?;
    let changes = template::fixes(own, &after);
    // What it cannot read, `validate` explains.
    if !status.success() || changes.is_empty() {
        return Ok(own.to_owned());
    }
    context.log.say("packer reads the template as `packer fix` mends it; better commit it so:");
    for change in changes.iter().take(20) {
        context.log.say(format_args!("  {change}"));
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_of_machines_have_advice() {
        // Complaints of packer 1.6.6.
        let told = occupied(
            "Failed to prepare build: \"qemu\" * Output directory 'output-qemu' already exists. It must not exist.",
        );
        assert!(told.unwrap().starts_with("output-qemu is in the source: remove it there"));
        assert_eq!(occupied("Output format must be qcow2"), None);
    }
}
