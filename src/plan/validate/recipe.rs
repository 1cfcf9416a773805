//! How a link, or a single build, is built, tested and published.

use std::collections::{BTreeMap, BTreeSet};

use super::source;
use crate::{
    api::{
        common::{RelativePath, SecretVariable, Source, Text},
        recipe::{BuildStep, Packer, Publish, Retry, Timeouts, VerifyStep},
    },
    plan::{
        duration, fill,
        image::{Repository, Tag},
        path::SourcePath,
        placeholder::{Placeholder, Template},
        valid::{ValidPacker, ValidPublish, ValidRecipe, ValidVerify, Variables, VerifyRun},
        validate::problem::Problems,
    },
};

/// What is written, in a link or in a build.
pub(super) struct Written<'a> {
    /// The source, and the path of its field; none where it is missing, which is a problem already.
    pub source: Option<(&'a Source, &'a str)>,
    pub paths: &'a [RelativePath],
    pub build: &'a BuildStep,
    pub verify: &'a [VerifyStep],
    pub publish: Option<&'a Publish>,
    pub timeouts: &'a Timeouts,
    pub retry: Retry,
    /// The placeholders that have a value outside tests.
    pub placeholders: BTreeSet<Placeholder>,
}

pub(super) fn validate(written: &Written<'_>, path: &str, problems: &mut Problems) -> Option<ValidRecipe> {
    let mut allowed = written.placeholders.clone();
    // All parts are looked at before any that is missing ends it: every problem is to be told.
    let source = written.source.and_then(|(source, path)| source::validate(source, path, problems));
    let paths = all_paths(written.paths, &format!("{path}.paths"), problems);
    let packer = build(written.build, &allowed, &format!("{path}.build"), problems);
    allowed.insert(Placeholder::ImageLocal);
    let steps = written.verify.iter().enumerate();
    let verify: Vec<_> =
        steps.map(|(n, step)| verify(step, &allowed, &format!("{path}.verify[{n}]"), problems)).collect();
    let publish = written.publish.map(|publish| validate_publish(publish, &format!("{path}.publish"), problems));
    let [pending, build_time, verify_time] = timeouts(written.timeouts, &format!("{path}.timeouts"), problems);
    let retries = [written.retry.infrastructure, written.retry.build].map(u32::try_from);
    let [Ok(infrastructure_retries), Ok(build_retries)] = retries else {
        problems.add(format_args!("{path}.retry"), "must not be negative");
        return None;
    };
    let packer = packer?;
    let verify = verify.into_iter().collect::<Option<Vec<_>>>()?;
    let recipe = ValidRecipe {
        source: source?,
        paths: deciding_paths(&paths?, &packer, &verify),
        packer,
        verify,
        publish: publish.map_or(Some(None), |publish| publish.map(Some))?,
        pending_timeout: pending?,
        build_timeout: build_time?,
        verify_timeout: verify_time?,
        infrastructure_retries,
        build_retries,
        written_build: written.build.clone(),
        written_verify: written.verify.to_vec(),
    };
    check_weight(&recipe, path, problems);
    Some(recipe)
}

/// Each value may be long, but a job must fit into the annotation in which it reaches the pod.
fn check_weight(recipe: &ValidRecipe, path: &str, problems: &mut Problems) {
    let weight = fill::weight(recipe);
    if weight > fill::HEAVIEST {
        problems.add(
            format_args!("{path}.build"),
            format_args!(
                "and the tests are {weight} bytes long with their placeholders filled, of which {} may be: put long values into files of the source",
                fill::HEAVIEST
            ),
        );
    }
}

/// The paths that decide the result: those that are written and those that the steps name. None written
/// means all of the source, whatever the steps name; so does a step that runs at the root of the source.
fn deciding_paths(written: &[SourcePath], packer: &ValidPacker, verify: &[ValidVerify]) -> BTreeSet<SourcePath> {
    if written.is_empty() || verify.iter().any(|step| step.directory.is_none()) {
        return BTreeSet::new();
    }
    let named = [&packer.template].into_iter().chain(&packer.variable_files);
    let named = named.chain(verify.iter().filter_map(|step| step.directory.as_ref()));
    written.iter().chain(named).cloned().collect()
}

fn all_paths(written: &[RelativePath], path: &str, problems: &mut Problems) -> Option<Vec<SourcePath>> {
    let mut valid = Vec::new();
    for (index, text) in written.iter().enumerate() {
        valid.push(problems.take(format_args!("{path}[{index}]"), text.0.parse::<SourcePath>()));
    }
    valid.into_iter().collect()
}

fn build(
    step: &BuildStep,
    allowed: &BTreeSet<Placeholder>,
    path: &str,
    problems: &mut Problems,
) -> Option<ValidPacker> {
    let Some(packer) = &step.packer else {
        problems.add(path, "set packer: it is the one way to build so far");
        return None;
    };
    validate_packer(packer, allowed, &format!("{path}.packer"), problems)
}

fn validate_packer(
    packer: &Packer,
    allowed: &BTreeSet<Placeholder>,
    path: &str,
    problems: &mut Problems,
) -> Option<ValidPacker> {
    let template = problems.take(format_args!("{path}.template"), packer.template.0.parse::<SourcePath>());
    let variable_files = all_paths(&packer.variable_files, &format!("{path}.variableFiles"), problems);
    let variables = variables((&packer.variables, "variables"), &packer.secret_variables, allowed, path, problems);
    Some(ValidPacker {
        template: template?,
        variables: variables?,
        variable_files: variable_files?,
        only: packer.only.iter().map(|name| name.0.clone()).collect(),
        except: packer.except.iter().map(|name| name.0.clone()).collect(),
    })
}

fn verify(
    step: &VerifyStep,
    allowed: &BTreeSet<Placeholder>,
    path: &str,
    problems: &mut Problems,
) -> Option<ValidVerify> {
    let (run, kind, directory, environment, secrets) = match (&step.molecule, &step.pytest, &step.command) {
        (Some(step), None, None) => {
            let run = Some(VerifyRun::Molecule(step.scenario.0.clone()));
            (run, "molecule", &step.directory, &step.environment, &step.secret_variables)
        }
        (None, Some(step), None) => {
            (Some(VerifyRun::Pytest), "pytest", &step.directory, &step.environment, &step.secret_variables)
        }
        (None, None, Some(step)) => {
            let run = command(&step.arguments, allowed, &format!("{path}.command.arguments"), problems);
            (run, "command", &step.directory, &step.environment, &step.secret_variables)
        }
        _ => {
            problems.add(path, "set exactly one of molecule, pytest, command");
            return None;
        }
    };
    let path = format!("{path}.{kind}");
    let directory =
        directory.as_ref().map(|text| problems.take(format_args!("{path}.directory"), text.0.parse::<SourcePath>()));
    let environment = variables((environment, "environment"), secrets, allowed, &path, problems);
    Some(ValidVerify {
        run: run?,
        directory: directory.map_or(Some(None), |path| path.map(Some))?,
        environment: environment?,
    })
}

fn command(
    arguments: &[Text],
    allowed: &BTreeSet<Placeholder>,
    path: &str,
    problems: &mut Problems,
) -> Option<VerifyRun> {
    if arguments.is_empty() {
        problems.add(path, "must name a program");
    }
    let mut valid = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        valid.push(template(&argument.0, allowed, &format!("{path}[{index}]"), problems));
    }
    valid.into_iter().collect::<Option<_>>().map(VerifyRun::Command)
}

/// Validates variables with written values, in the field of the given name, and those of Secrets.
fn variables(
    (written, field): (&BTreeMap<String, Text>, &str),
    secret: &[SecretVariable],
    allowed: &BTreeSet<Placeholder>,
    path: &str,
    problems: &mut Problems,
) -> Option<Variables> {
    let mut valid = Some(Variables::default());
    for (name, value) in written {
        let path = format!("{path}.{field}.{name}");
        check_variable_name(name, &path, problems);
        match (template(&value.0, allowed, &path, problems), &mut valid) {
            (Some(value), Some(variables)) => drop(variables.values.insert(name.clone(), value)),
            (None, _) => valid = None,
            (Some(_), None) => {}
        }
    }
    for (index, variable) in secret.iter().enumerate() {
        let path = format!("{path}.secretVariables[{index}].name");
        let name = variable.name.to_string();
        check_variable_name(&name, &path, problems);
        if written.contains_key(&name) {
            problems.add(&path, format_args!("«{name}» has a value in {field} already: leave one of them out"));
        }
        let place = (variable.secret_key_ref.name.to_string(), variable.secret_key_ref.key.to_string());
        if let Some(variables) = &mut valid
            && variables.secrets.insert(name.clone(), place).is_some()
        {
            problems.add(&path, format_args!("«{name}» is there twice"));
        }
    }
    valid
}

fn check_variable_name(name: &str, path: &str, problems: &mut Problems) {
    let is_word = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
    let good =
        name.len() <= 128 && name.bytes().all(is_word) && !name.starts_with(|first: char| first.is_ascii_digit());
    if name.is_empty() || !good {
        problems.add(path, "the name of a variable must be letters, digits and _, not a digit first");
    }
}

fn template(text: &str, allowed: &BTreeSet<Placeholder>, path: &str, problems: &mut Problems) -> Option<Template> {
    let template = problems.take(path, Template::parse(text))?;
    for placeholder in template.placeholders().filter(|each| !allowed.contains(each)) {
        let reason = match placeholder {
            Placeholder::ImageLocal => "has a value in tests only: nothing is built yet",
            Placeholder::ParentTag => "has a value only where from is an image with a tag: use $(parent.digest)",
            Placeholder::LinkName | Placeholder::ChainName => "has no value: a single build belongs to no chain",
            _ => "has no value: the link has no from",
        };
        problems.add(path, format_args!("{placeholder} {reason}"));
    }
    Some(template)
}

fn validate_publish(publish: &Publish, path: &str, problems: &mut Problems) -> Option<ValidPublish> {
    let Some(image) = &publish.image else {
        problems.add(path, "set image: it is the one way to publish so far");
        return None;
    };
    let repository = problems.take(format_args!("{path}.image.repository"), image.repository.0.parse::<Repository>());
    if image.tags.is_empty() {
        problems.add(format_args!("{path}.image.tags"), "must hold at least one tag");
    }
    let mut tags = BTreeSet::new();
    for (index, tag) in image.tags.iter().enumerate() {
        tags.extend(problems.take(format_args!("{path}.image.tags[{index}]"), tag.0.parse::<Tag>()));
    }
    let secret = image.secret_ref.as_ref().map(|secret| secret.name.to_string());
    Some(ValidPublish { repository: repository?, tags, secret })
}

fn timeouts(written: &Timeouts, path: &str, problems: &mut Problems) -> [Option<std::time::Duration>; 3] {
    [("pending", &written.pending), ("build", &written.build), ("verify", &written.verify)]
        .map(|(name, text)| problems.take(format_args!("{path}.{name}"), duration::parse(&text.0)))
}
