//! From what is written to a recipe.

use std::collections::BTreeSet;

use super::{
    definition::Recipe,
    fields::Fields,
    file::InputFile,
    limits::Limits,
    parent::{Parent, Place, placeholders},
    publish::Destination,
    source::Source,
    steps::{Build, HEAVIEST, Steps},
    verify::Verify,
};
use crate::{
    api::{
        common::{self, NO_PATTERN, RelativePath},
        recipe::{self as api, BuildStep, Publish, Retry, Timeouts, VerifyStep},
    },
    plan::{
        placeholder::{Placeholder, Template},
        validate::problem::Problems,
    },
};

/// What is written, in a link or in a build.
pub struct Written<'a> {
    /// Where it stands.
    pub place: Place<'a>,
    /// The field `from`.
    pub from: Option<&'a api::Parent>,
    /// The source, and the path of its field; none where it is missing.
    pub source: Option<(&'a common::Source, &'a str)>,
    /// The field `paths`.
    pub paths: &'a [RelativePath],
    /// The field `files`.
    pub files: &'a [api::InputFile],
    /// The field `build`.
    pub build: &'a BuildStep,
    /// The field `verify`.
    pub verify: &'a [VerifyStep],
    /// The field `publish`.
    pub publish: Option<&'a Publish>,
    /// The field `timeouts`.
    pub timeouts: &'a Timeouts,
    /// The field `retry`.
    pub retry: Retry,
}

/// Validates what is written in the object at a path. `None` where something is wrong that leaves no valid form.
pub fn validate(written: &Written<'_>, path: &str, problems: &mut Problems) -> Option<Recipe> {
    // All parts are read before any that is missing ends it: every problem is reported.
    let parent = written.from.map(|from| {
        Parent::validate(from, written.place, Fields::new(format!("{path}.from"), &BTreeSet::new(), problems))
    });
    let mut outside_tests = placeholders(parent.as_ref().map(Option::as_ref), written.place);
    outside_tests.extend(written.files.iter().map(|file| Placeholder::File(file.name.to_string())));
    let mut in_tests = outside_tests.clone();
    in_tests.insert(Placeholder::ImageLocal);
    let source = written
        .source
        .map(|(source, path)| Source::validate(source, Fields::new(path.to_owned(), &outside_tests, problems)));
    let mut fields = Fields::new(path.to_owned(), &outside_tests, problems);
    if source.is_none() {
        fields.below("source").add("set a source here, or spec.source for all links");
    }
    let paths = fields.paths("paths", written.paths);
    if written.paths.iter().any(|path| path.0.contains('*')) {
        fields.below("paths").add(NO_PATTERN);
    }
    let files = InputFile::validate(written.files, &mut fields);
    let build = Build::validate(written.build, fields.below("build"));
    if written.build.machine_box.is_some() && written.from.is_none() {
        fields.below("from").add("set what the box is made of: build.box makes it of a parent");
    }
    let mut fields = Fields::new(path.to_owned(), &in_tests, problems);
    let steps = written.verify.iter().enumerate();
    let verify: Vec<_> = steps.map(|(n, step)| Verify::validate(step, fields.below(&format!("verify[{n}]")))).collect();
    let publish = written.publish.map(|publish| Destination::validate(publish, fields.below("publish")));
    check_product(publish.as_ref().and_then(Option::as_ref), build.as_ref(), fields.below("publish"));
    let limits = Limits::validate(written.timeouts, written.retry, &mut fields);
    let steps = Steps { build: build?, verify: verify.into_iter().collect::<Option<_>>()? };
    let recipe = Recipe {
        parent: parent.map_or(Some(None), |parent| parent.map(Some))?,
        source: source??,
        paths: steps.deciding_paths(paths.as_deref()?),
        written_paths: paths?,
        files: files?,
        steps,
        publish: publish.map_or(Some(None), |publish| publish.map(Some))?,
        limits: limits?,
        written_build: written.build.clone(),
        written_verify: written.verify.to_vec(),
    };
    check_weight(&recipe, &mut fields);
    Some(recipe)
}

/// Where what is built is known from what is written, it must be what is to be published.
fn check_product(publish: Option<&Destination>, build: Option<&Build<Template>>, mut fields: Fields<'_>) {
    let Some((publish, build)) = publish.zip(build) else { return };
    if let Some(misfit) = publish.misfit(build) {
        fields.below(publish.field()).add(misfit);
    }
}

/// Each value may be long, but a job must fit into the annotation in which it reaches the pod.
fn check_weight(recipe: &Recipe, fields: &mut Fields<'_>) {
    let weight = recipe.steps.weight();
    if weight > HEAVIEST {
        fields.below("build").add(format_args!(
            "and the tests are {weight} bytes long with their placeholders filled, of which {HEAVIEST} may be: put long values into files of the source"
        ));
    }
}
